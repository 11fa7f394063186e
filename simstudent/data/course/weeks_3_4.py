"""The made-up course's weeks 3 and 4: loops over numbers and text. ``exercises`` explains the mark-up."""

from __future__ import annotations

from simstudent.data.course.exercises import Exercise

COUNTDOWN = Exercise(
    id="countdown",
    week=3,
    level=0.8,
    statement=(
        "Write a program that reads a whole number n and counts down from n to 1, one number a line, and then prints "
        "Liftoff! on the last line. Leave out every number that can be divided by 5. If n is smaller than 1, the "
        "program prints only the line Nothing to count."
    ),
    tests=(
        ("3\n", "3\n2\n1\nLiftoff!\n"),
        ("1\n", "1\nLiftoff!\n"),
        ("6\n", "6\n4\n3\n2\n1\nLiftoff!\n"),
        ("0\n", "Nothing to count\n"),
        ("-4\n", "Nothing to count\n"),
        ("11\n", "11\n9\n8\n7\n6\n4\n3\n2\n1\nLiftoff!\n"),
    ),
    ways=(
        """
n = int(input())
if n < 1:
    print("Nothing to count")
else:
    while n > 0:
        # leave out 5, 10, 15 ...
        if n % 5 != 0:
        #~ if n % 5 == 0:
        #~ if n != 5:
            print(n)
        n = n - 1
    print("Liftoff!")
""",
        """
n = int(input())
if n >= 1:
    for i in range(n, 0, -1):
    #~ for i in range(n):
    #~ for i in range(n, 1, -1):
    #~ for i in range(n, 0):
    #~ for i in range(1, n + 1):
        if i % 5 != 0:
        #~ if i / 5 != 0:
            print(i)
    print("Liftoff!")
else:
    print("Nothing to count")
""",
        """
start = int(input())
number = start
while number >= 1:
    if number % 5 == 0:
        number -= 1
        #~ -
        continue
    print(number)
    number -= 1
# did we count at all?
if start >= 1:
#~ if number >= 1:
    print("Liftoff!")
else:
    print("Nothing to count")
""",
    ),
)

VOWELS = Exercise(
    id="count-vowels",
    week=3,
    level=0.8,
    entry="count_vowels",
    statement=(
        "Write a function count_vowels(text) that returns how many vowels there are in text. The vowels are a, e, i, o "
        "and u, and capital letters count as well. An empty text has no vowels, so the function returns 0 for it."
    ),
    tests=(
        ("('banana',)", "3"),
        ("('',)", "0"),
        ("('rhythm',)", "0"),
        ("('AEIOU',)", "5"),
        ("('Every Umbrella',)", "5"),
        ("('queue up',)", "5"),
    ),
    ways=(
        """
def count_vowels(text):
    count = 0
    # look at every letter
    for letter in text.lower():
    #~ for letter in text:
        if letter in "aeiou":
        #~ if letter == "aeiou":
        #~ if "aeiou" in letter:
            count += 1
    return count
""",
        """
def count_vowels(text):
    vowels = ["a", "e", "i", "o", "u", "A", "E", "I", "O", "U"]
    #~ vowels = ["a", "e", "i", "o", "u"]
    count = 0
    for i in range(len(text)):
        if text[i] in vowels:
        #~ if i in vowels:
        #~ if text in vowels:
            count = count + 1
            #~ count = i + 1
    return count
""",
        """
def count_vowels(text):
    text = text.lower()
    #~ text.lower()
    #~ -
    count = 0
    for letter in text:
        # is it a vowel?
        if letter == "a" or letter == "e" or letter == "i" or letter == "o" or letter == "u":
        #~ if letter == "a" or "e" or "i" or "o" or "u":
            count += 1
    return count
""",
        """
def count_vowels(text):
    text = text.lower()
    #~ text.lower()
    count = 0
    for vowel in "aeiou":
        count += text.count(vowel)
        #~ count = text.count(vowel)
        #~ count += 1
    return count
""",
    ),
)

TRIANGLE = Exercise(
    id="star-triangle",
    week=4,
    level=0.9,
    statement=(
        "Write a program that reads the height of a triangle and draws the triangle with stars: one star in the first "
        "line, two in the second, and so on. Below it, the program prints how many stars it has drawn, for example "
        "Stars: 6 for the height 3. For the height 0 it only prints Stars: 0."
    ),
    tests=(
        ("3\n", "*\n**\n***\nStars: 6\n"),
        ("1\n", "*\nStars: 1\n"),
        ("0\n", "Stars: 0\n"),
        ("5\n", "*\n**\n***\n****\n*****\nStars: 15\n"),
        ("2\n", "*\n**\nStars: 3\n"),
    ),
    ways=(
        """
height = int(input())
stars = 0
for row in range(1, height + 1):
#~ for row in range(height):
    print("*" * row)
    #~ print("*" + row)
    #~ print("*" * height)
    stars += row
    #~ stars += 1
print("Stars:", stars)
""",
        """
height = int(input())
stars = 0
for row in range(height):
    drawing = ""
    #~ -
    # one star more in every row
    for column in range(row + 1):
    #~ for column in range(row):
    #~ for column in range(height):
        drawing += "*"
        stars += 1
    print(drawing)
print("Stars: " + str(stars))
#~ print("Stars: " + stars)
""",
        """
height = int(input())
row = 1
stars = 0
while row <= height:
    print(row * "*")
    stars = stars + row
    #~ stars = row
    row = row + 1
print("Stars:", stars)
#~ print("Stars:", row)
""",
        """
height = int(input())
total = 0
for row in range(1, height + 1):
    for star in range(row):
        print("*", end="")
        #~ print("*")
        total += 1
    print()
    #~ -
print(f"Stars: {total}")
#~ print("Stars: {total}")
""",
    ),
)

DIGITS = Exercise(
    id="digit-sum",
    week=4,
    level=1.0,
    entry="digit_sum",
    statement=(
        "The digit sum of 472 is 4 + 7 + 2 = 13. Write a function digit_sum(number) that returns the digit sum of a "
        "whole number. For a negative number, ignore the minus sign: digit_sum(-23) is 5."
    ),
    tests=(
        ("(472,)", "13"),
        ("(7,)", "7"),
        ("(0,)", "0"),
        ("(1000,)", "1"),
        ("(-23,)", "5"),
        ("(98765,)", "35"),
    ),
    ways=(
        """
def digit_sum(number):
    number = abs(number)
    #~ -
    #~ abs(number)
    total = 0
    while number > 0:
    #~ while number > 10:
        digit = number % 10
        total += digit
        # cut off the last digit
        number = number // 10
        #~ number = number / 10
    return total
""",
        """
def digit_sum(number):
    total = 0
    for digit in str(abs(number)):
    #~ for digit in str(number):
    #~ for digit in number:
        total += int(digit)
        #~ total += digit
    return total
""",
        """
def digit_sum(number):
    if number < 0:
        number = -number
        #~ number = number * 1
    digits = str(number)
    #~ digits = number
    total = 0
    # add them one by one
    for i in range(len(digits)):
        total = total + int(digits[i])
        #~ total = total + digits[i]
        #~ total = total + i
    return total
""",
    ),
)

EXERCISES = (COUNTDOWN, VOWELS, TRIANGLE, DIGITS)
