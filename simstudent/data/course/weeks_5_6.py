"""The made-up course's weeks 5 and 6: lists and text. ``exercises`` explains the mark-up."""

from __future__ import annotations

from simstudent.data.course.exercises import Exercise

SECOND = Exercise(
    id="second-largest",
    week=5,
    level=1.3,
    entry="second_largest",
    statement=(
        "Write a function second_largest(numbers) that returns the second largest value in a list of whole numbers. "
        "Equal values count once, so for [9, 9, 4] the answer is 4. If there is no second largest value, return None. "
        "The numbers can be negative."
    ),
    tests=(
        ("([3, 8, 5],)", "5"),
        ("([9, 9, 4],)", "4"),
        ("([4, 10, 2, 7],)", "7"),
        ("([-5, -2, -9],)", "-5"),
        ("([6, 6],)", "None"),
        ("([1],)", "None"),
        ("([],)", "None"),
        ("([2, 1],)", "1"),
    ),
    ways=(
        """
def second_largest(numbers):
    different = []
    for number in numbers:
        # every value once
        if number not in different:
        #~ -
            different.append(number)
    if len(different) < 2:
    #~ if len(numbers) < 2:
    #~ if different == []:
        return None
    different.sort()
    #~ different = different.sort()
    #~ -
    return different[-2]
    #~ return different[1]
    #~ return different[2]
""",
        """
def second_largest(numbers):
    largest = None
    #~ largest = 0
    second = None
    #~ second = 0
    for number in numbers:
        if largest is None or number > largest:
        #~ if number > largest:
            second = largest
            #~ -
            largest = number
        elif number != largest and (second is None or number > second):
        #~ elif number > second:
        #~ elif second is None or number > second:
            second = number
    return second
""",
        """
def second_largest(numbers):
    values = sorted(set(numbers))
    #~ values = sorted(numbers)
    # too short: there is no second one
    if len(values) < 2:
    #~ if len(values) == 0:
        return None
        #~ return 0
    return values[-2]
    #~ return values[1]
    #~ return values[2]
""",
        """
def second_largest(numbers):
    if len(numbers) < 2:
        return None
    largest = max(numbers)
    second = None
    #~ second = 0
    for number in numbers:
        if number != largest:
        #~ if number < largest and number > second:
            if second is None or number > second:
            #~ if number > second:
                second = number
    return second
""",
    ),
)

PALINDROME = Exercise(
    id="is-palindrome",
    week=5,
    level=0.9,
    entry="is_palindrome",
    statement=(
        "A palindrome reads the same forwards and backwards. Write a function is_palindrome(text) that returns True if "
        "text is a palindrome and False if it is not. Ignore spaces and the difference between small and capital "
        "letters. The empty text is a palindrome."
    ),
    tests=(
        ("('level',)", "True"),
        ("('python',)", "False"),
        ("('Anna',)", "True"),
        ("('never odd or even',)", "True"),
        ("('',)", "True"),
        ("('Step on no Pets',)", "True"),
        ("('abca',)", "False"),
    ),
    ways=(
        """
def is_palindrome(text):
    clean = text.lower().replace(" ", "")
    #~ clean = text.lower()
    #~ clean = text
    return clean == clean[::-1]
    #~ return text == text[::-1]
    #~ return clean == clean.reverse()
""",
        """
def is_palindrome(text):
    text = text.replace(" ", "")
    #~ text.replace(" ", "")
    text = text.lower()
    #~ text.lower()
    #~ -
    backwards = ""
    # build the text the other way round
    for letter in text:
        backwards = letter + backwards
        #~ backwards = backwards + letter
    if text == backwards:
        return True
    else:
        return False
""",
        """
def is_palindrome(text):
    text = text.lower()
    #~ -
    clean = ""
    for letter in text:
        if letter != " ":
            clean += letter
    # compare from both ends
    for i in range(len(clean)):
        if clean[i] != clean[len(clean) - 1 - i]:
        #~ if clean[i] != clean[-i]:
        #~ if clean[i] != clean[len(clean) - i]:
            return False
    return True
""",
    ),
)

UNTIL = Exercise(
    id="until-stop",
    week=6,
    level=1.2,
    statement=(
        "Write a program that reads whole numbers, one a line, until it reads the word stop. Then it prints how many "
        "numbers there were, their sum and the largest of them, in three lines such as Count: 3, Sum: 12 and "
        "Largest: 7. The numbers may be negative. If there was no number at all, it prints only No numbers."
    ),
    tests=(
        ("4\n7\n1\nstop\n", "Count: 3\nSum: 12\nLargest: 7\n"),
        ("stop\n", "No numbers\n"),
        ("-8\n-3\nstop\n", "Count: 2\nSum: -11\nLargest: -3\n"),
        ("5\nstop\n", "Count: 1\nSum: 5\nLargest: 5\n"),
        ("0\n0\nstop\n", "Count: 2\nSum: 0\nLargest: 0\n"),
        ("10\n-2\n30\n-4\nstop\n", "Count: 4\nSum: 34\nLargest: 30\n"),
    ),
    ways=(
        """
count = 0
total = 0
largest = None
#~ largest = 0
line = input()
while line != "stop":
    number = int(line)
    #~ number = line
    count += 1
    total += number
    if largest is None or number > largest:
    #~ if number > largest:
        largest = number
    line = input()
    #~ -
if count == 0:
#~ if total == 0:
    print("No numbers")
else:
    print("Count:", count)
    print("Sum:", total)
    print("Largest:", largest)
""",
        """
numbers = []
while True:
    line = input()
    if line == "stop":
        break
    numbers.append(int(line))
    #~ numbers.append(line)
# was there anything?
if len(numbers) == 0:
    print("No numbers")
else:
    print("Count:", len(numbers))
    print("Sum:", sum(numbers))
    print("Largest:", max(numbers))
    #~ print("Largest:", numbers[-1])
""",
        """
numbers = []
entry = input()
while entry != "stop":
#~ while int(entry) != "stop":
    numbers.append(int(entry))
    entry = input()
    #~ -
if numbers:
    total = 0
    largest = numbers[0]
    #~ largest = 0
    for number in numbers:
        total = total + number
        if number > largest:
            largest = number
    print(f"Count: {len(numbers)}")
    #~ print(f"Count: {number}")
    print(f"Sum: {total}")
    print(f"Largest: {largest}")
else:
    print("No numbers")
""",
    ),
)

AVERAGE = Exercise(
    id="average-above",
    week=6,
    level=1.0,
    entry="average_above",
    statement=(
        "Write a function average_above(scores, limit). It returns the average of those scores that are greater than "
        "limit, rounded to 2 decimals. Scores equal to the limit are left out. If no score is greater than the limit, "
        "return 0."
    ),
    tests=(
        ("([10, 20, 30], 15)", "25.0"),
        ("([1, 2, 3], 5)", "0"),
        ("([], 0)", "0"),
        ("([4, 4, 9], 4)", "9.0"),
        ("([7, 8, 8], 1)", "7.67"),
        ("([-3, -1, 2], -2)", "0.5"),
    ),
    ways=(
        """
def average_above(scores, limit):
    total = 0
    count = 0
    for score in scores:
        if score > limit:
        #~ if score >= limit:
            total += score
            count += 1
    # do not divide by zero
    if count == 0:
    #~ if scores == []:
        return 0
    return round(total / count, 2)
    #~ return round(total / len(scores), 2)
    #~ return total / count
""",
        """
def average_above(scores, limit):
    chosen = []
    for score in scores:
        if score > limit:
            chosen.append(score)
            #~ chosen = score
            #~ chosen.append(scores)
    if len(chosen) == 0:
    #~ if len(scores) == 0:
        return 0
    average = sum(chosen) / len(chosen)
    #~ average = sum(chosen) / len(scores)
    #~ average = chosen / len(chosen)
    return round(average, 2)
    #~ return average
""",
        """
def average_above(scores, limit):
    chosen = [score for score in scores if score > limit]
    #~ chosen = [score for score in scores if limit]
    if not chosen:
    #~ if not scores:
        return 0
    return round(sum(chosen) / len(chosen), 2)
    #~ return sum(chosen) / len(chosen)
    #~ return round(sum(chosen) / len(scores), 2)
""",
    ),
)

EXERCISES = (SECOND, PALINDROME, UNTIL, AVERAGE)
