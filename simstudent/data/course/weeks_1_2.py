"""The made-up course's weeks 1 and 2: input and output, conditions. ``exercises`` explains the mark-up."""

from __future__ import annotations

from simstudent.data.course.exercises import Exercise

TICKET = Exercise(
    id="ticket-price",
    week=1,
    level=0.8,
    entry="ticket_price",
    statement=(
        "A swimming pool charges by age. Children under 6 swim for free, visitors from 6 to 17 pay 4 euros, visitors "
        "of 65 and older pay 5 euros, and everybody else pays 8 euros. Members get 2 euros off, but nobody ever pays "
        "less than 0. Write a function ticket_price(age, member) that returns the price; member is True or False."
    ),
    tests=(
        ("(5, False)", "0"),
        ("(6, False)", "4"),
        ("(17, True)", "2"),
        ("(18, False)", "8"),
        ("(40, True)", "6"),
        ("(65, False)", "5"),
        ("(3, True)", "0"),
    ),
    ways=(
        """
def ticket_price(age, member):
    if age < 6:
    #~ if age <= 6:
        price = 0
    elif age < 18:
    #~ elif age < 17:
    #~ elif age >= 6 and age < 17:
    #~ elif 6 < age < 17:
        price = 4
    elif age >= 65:
    #~ elif age > 65:
        price = 5
    else:
        price = 8
    # members pay 2 euros less
    if member and price > 0:
    #~ if member:
    #~ if member == "True":
        price = price - 2
    return price
""",
        """
def ticket_price(age, member):
    discount = 0
    if member:
        discount = 2
        #~ discount = -2
    # small children are free
    if age < 6:
        return 0
        #~ return 0 - discount
    if age <= 17:
        return 4 - discount
        #~ return 4
    if age >= 65:
        return 5 - discount
    return 8 - discount
    #~ return 8
""",
        """
def ticket_price(age, member):
    price = 8
    if age < 6:
        price = 0
    elif age >= 6 and age <= 17:
    #~ elif age >= 6 or age <= 17:
    #~ elif age == 6 - 17:
        price = 4
    elif age >= 65:
        price = 5
    if member == True:
        price -= 2
    # never below zero
    return max(price, 0)
    #~ return price
    #~ return min(price, 0)
""",
    ),
)

GREETING = Exercise(
    id="greeting",
    week=1,
    level=0.7,
    statement=(
        "Write a program that reads a first name and then a year of birth, each on a line of its own. It greets the "
        "person and says how old they become in 2030; for Mika and 2010 it prints the two lines 'Hello Mika!' and "
        "'In 2030 you turn 20.'. A third line says 'Full price' for those who turn 18 or more, else 'Half price'. "
        "Print nothing else."
    ),
    tests=(
        ("Mika\n2010\n", "Hello Mika!\nIn 2030 you turn 20.\nFull price\n"),
        ("Oda\n2020\n", "Hello Oda!\nIn 2030 you turn 10.\nHalf price\n"),
        ("Juri\n2012\n", "Hello Juri!\nIn 2030 you turn 18.\nFull price\n"),
        ("Tove\n2013\n", "Hello Tove!\nIn 2030 you turn 17.\nHalf price\n"),
        ("Elio\n1960\n", "Hello Elio!\nIn 2030 you turn 70.\nFull price\n"),
    ),
    ways=(
        """
name = input()
year = int(input())
# how old in 2030
age = 2030 - year
#~ age = year - 2030
print("Hello " + name + "!")
#~ print("Hello", name, "!")
#~ print("Hello name!")
print("In 2030 you turn " + str(age) + ".")
#~ print("In 2030 you turn", age, ".")
if age >= 18:
    print("Full price")
else:
    print("Half price")
""",
        """
name = input()
birth = int(input())
#~ birth = input()
age = 2030 - birth
print(f"Hello {name}!")
#~ print("Hello {name}!")
print(f"In 2030 you turn {age}.")
#~ print("In 2030 you turn {age}.")
if age < 18:
    print("Half price")
else:
    print("Full price")
""",
        """
name = input()
birth = input()
age = 2030 - int(birth)
#~ age = 2030 - birth
print("Hello ", name, "!", sep="")
#~ print("Hello ", name, "!")
print("In 2030 you turn ", age, ".", sep="")
#~ print("In 2030 you turn ", age, ".")
if age >= 18:
    print("Full price")
if age < 18:
    print("Half price")
""",
    ),
)

GRADE = Exercise(
    id="letter-grade",
    week=2,
    level=0.8,
    statement=(
        "Write a program that reads the points of an exam, a whole number from 0 to 100, and prints the grade: A from "
        "90 points on, B from 75, C from 60, D from 50, and F below that. For a number under 0 or over 100 it prints "
        "the word invalid instead."
    ),
    tests=(
        ("95\n", "A\n"),
        ("90\n", "A\n"),
        ("75\n", "B\n"),
        ("61\n", "C\n"),
        ("50\n", "D\n"),
        ("49\n", "F\n"),
        ("101\n", "invalid\n"),
        ("-1\n", "invalid\n"),
    ),
    ways=(
        """
points = int(input())
# first the impossible values
if points < 0 or points > 100:
#~ if points < 0 and points > 100:
#~ if 0 > points > 100:
    print("invalid")
elif points >= 90:
    print("A")
elif points >= 75:
    print("B")
elif points >= 60:
    print("C")
elif points >= 50:
    print("D")
else:
    print("F")
""",
        """
points = int(input())
grade = "F"
if points >= 50:
    grade = "D"
if points >= 60:
    grade = "C"
if points >= 75:
    grade = "B"
if points >= 90:
    grade = "A"
# points that cannot be
if points > 100 or points < 0:
#~ if points > 100:
    grade = "invalid"
print(grade)
""",
        """
points = int(input())
if points > 100:
    print("invalid")
elif points >= 90 and points <= 100:
#~ elif points > 90 and points < 100:
    print("A")
elif points >= 75 and points < 90:
#~ elif points >= 75 and points < 89:
    print("B")
elif points >= 60 and points < 75:
#~ elif points >= 60 or points < 75:
    print("C")
elif points >= 50 and points < 60:
    print("D")
elif points >= 0 and points < 50:
#~ elif points < 50:
    print("F")
else:
    print("invalid")
""",
    ),
)

EXERCISES = (TICKET, GREETING, GRADE)
