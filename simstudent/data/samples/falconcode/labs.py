"""The problems of the made-up log: statement, autograder script in the course's style, and programs on the way to it.

A program is a template: ``$a`` and so on are variables, which every student names in their own way.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lab:
    """A problem. ``stages``: programs by what is wrong with them; ``paths``: stages in the order students go."""

    id: str
    type: str
    prompt: str
    script: str
    names: dict[str, tuple[str, ...]]
    stages: dict[str, str]
    paths: tuple[tuple[str, ...], ...]
    exam: int = 0
    max_score: int = 100


def script(problem: str, cases: str, points: int) -> str:
    """A script that compares what is printed line by line, with ``points`` for each case."""
    return f'''from cs110 import autograder


def test_passed():
    filename = "{problem}.py"
    cases = [
{cases}
    ]
    points = 0
    for i, (inputs, expected) in enumerate(cases):
        print("Test Case", i + 1, "Inputs:", inputs)
        out, err = autograder.run_script(filename, inputs)
        lines = out.strip().split("\\n")
        matches = autograder.compare_strings(lines, list(expected))
        if matches == len(expected) and len(lines) == len(expected):
            points += {points}
        print()
    return points


if __name__ == "__main__":
    result = test_passed()
    print("Unit Test Returned:", result)
'''


TEMPERATURE = Lab(
    "lsn06_temperature",
    "lab",
    "Read a temperature in degrees Celsius from the keyboard. Print it in degrees Fahrenheit, with one digit after "
    "the point, and then `Freezing` when it is at most 0 degrees Celsius, else `Not freezing`.\n\n"
    "Example: for the input `25` the program prints\n\n```\nFahrenheit: 77.0\nNot freezing\n```",
    script(
        "lsn06_temperature",
        """        (["25"], ["Fahrenheit: 77.0", "Not freezing"]),
        (["0"], ["Fahrenheit: 32.0", "Freezing"]),
        (["-40"], ["Fahrenheit: -40.0", "Freezing"]),
        (["36.6"], ["Fahrenheit: 97.9", "Not freezing"]),""",
        25,
    ),
    {"a": ("celsius", "c", "temp", "degrees"), "b": ("fahrenheit", "f", "result", "fahr")},
    {
        "text": "$a = input()\n$b = $a * 9 / 5 + 32\nprint('Fahrenheit:', $b)\n",
        "whole": "$a = int(input())\n$b = $a * 9 / 5 + 32\nprint('Fahrenheit:', $b)\n",
        "colon": "$a = float(input())\n$b = $a * 9 / 5 + 32\nprint('Fahrenheit:', $b)\nif $a <= 0\n"
        "    print('Freezing')\nelse:\n    print('Not freezing')\n",
        "below": "$a = float(input())\n$b = $a * 9 / 5 + 32\nprint(f'Fahrenheit: {$b:.1f}')\nif $a < 0:\n"
        "    print('Freezing')\nelse:\n    print('Not freezing')\n",
        "digits": "$a = float(input())\n$b = $a * 9 / 5 + 32\nprint('Fahrenheit:', $b)\nif $a <= 0:\n"
        "    print('Freezing')\nelse:\n    print('Not freezing')\n",
        "right": "$a = float(input())\n$b = $a * 9 / 5 + 32\nprint(f'Fahrenheit: {$b:.1f}')\nif $a <= 0:\n"
        "    print('Freezing')\nelse:\n    print('Not freezing')\n",
    },
    (
        ("text", "whole", "digits", "right"),
        ("text", "colon", "digits", "digits", "right"),
        ("whole", "below", "right"),
        ("colon", "below", "below", "right"),
        ("text", "whole", "below", "digits"),
    ),
)

TIP = Lab(
    "lsn06_tip",
    "lab",
    "Read the price of a meal and the tip in percent. Print the tip and the total with two digits after the point:\n\n"
    "```\nTip: 4.50\nTotal: 34.50\n```",
    script(
        "lsn06_tip",
        """        (["30", "15"], ["Tip: 4.50", "Total: 34.50"]),
        (["12.5", "20"], ["Tip: 2.50", "Total: 15.00"]),""",
        50,
    ),
    {"a": ("meal", "price", "cost"), "b": ("percent", "rate", "tip_percent"), "c": ("tip", "t", "tip_amount")},
    {
        "swapped": "$b = float(input())\n$a = float(input())\n$c = $a * $b\nprint('Tip:', $c)\n"
        "print('Total:', $a + $c)\n",
        "digits": "$a = float(input())\n$b = float(input())\n$c = $a * $b / 100\nprint('Tip:', $c)\n"
        "print('Total:', $a + $c)\n",
        "right": "$a = float(input())\n$b = float(input())\n$c = $a * $b / 100\nprint(f'Tip: {$c:.2f}')\n"
        "print(f'Total: {$a + $c:.2f}')\n",
    },
    (("swapped", "digits", "right"), ("digits", "right")),
)

GRADES = Lab(
    "lsn12_grades",
    "lab",
    "The first line of the input is a number of grades; the grades follow, one a line. Print the average with two "
    "digits after the point, the highest grade, and how many grades are at least 60:\n\n"
    "```\nAverage: 80.00\nHighest: 90\nPassing: 3\n```",
    script(
        "lsn12_grades",
        """        (["3", "90", "80", "70"], ["Average: 80.00", "Highest: 90", "Passing: 3"]),
        (["1", "55"], ["Average: 55.00", "Highest: 55", "Passing: 0"]),
        (["4", "10", "20", "30", "100"], ["Average: 40.00", "Highest: 100", "Passing: 1"]),
        (["2", "60", "60"], ["Average: 60.00", "Highest: 60", "Passing: 2"]),
        (["3", "-5", "-1", "-3"], ["Average: -3.00", "Highest: -1", "Passing: 0"]),""",
        20,
    ),
    {
        "a": ("count", "n", "number", "how_many"),
        "b": ("total", "points", "s", "sum_of_grades"),
        "c": ("passing", "passed", "ok"),
        "d": ("highest", "best", "top"),
        "e": ("grade", "g", "score"),
    },
    {
        "name": "$a = int(input())\nfor i in range($a):\n    $e = int(input())\n    $b = $b + $e\n"
        "print('Average:', $b / $a)\n",
        "paren": "$a = int(input())\n$b = 0\nfor i in range($a):\n    $e = int(input()\n    $b = $b + $e\n"
        "print('Average:', $b / $a)\n",
        "average": "$a = int(input())\n$b = 0\nfor i in range($a):\n    $e = int(input())\n    $b = $b + $e\n"
        "print(f'Average: {$b / $a:.2f}')\n",
        "above": "$a = int(input())\n$b = 0\n$c = 0\n$d = 0\nfor i in range($a):\n    $e = int(input())\n"
        "    $b = $b + $e\n    if $e > 60:\n        $c = $c + 1\n    if $e > $d:\n        $d = $e\n"
        "print(f'Average: {$b / $a:.2f}')\nprint('Highest:', $d)\nprint('Passing:', $c)\n",
        "zero": "$a = int(input())\n$b = 0\n$c = 0\n$d = 0\nfor i in range($a):\n    $e = int(input())\n"
        "    $b = $b + $e\n    if $e >= 60:\n        $c = $c + 1\n    if $e > $d:\n        $d = $e\n"
        "print(f'Average: {$b / $a:.2f}')\nprint('Highest:', $d)\nprint('Passing:', $c)\n",
        "right": "$a = int(input())\n$b = 0\n$c = 0\n$d = None\nfor i in range($a):\n    $e = int(input())\n"
        "    $b = $b + $e\n    if $e >= 60:\n        $c = $c + 1\n    if $d is None or $e > $d:\n        $d = $e\n"
        "print(f'Average: {$b / $a:.2f}')\nprint('Highest:', $d)\nprint('Passing:', $c)\n",
    },
    (
        ("name", "average", "above", "zero", "right"),
        ("paren", "name", "average", "zero", "zero", "right"),
        ("average", "above", "above", "zero"),
        ("name", "paren", "average", "above", "right"),
        ("name", "name", "average"),
    ),
)

WORDS = Lab(
    "lsn18_words",
    "lab",
    "Write a function `longest(text)` that returns the longest word of a text, the first of them when there are "
    "several. Read a line, and print `Longest: ` and that word, then `Letters: ` and its length.",
    script(
        "lsn18_words",
        """        (["we fly at dawn"], ["Longest: dawn", "Letters: 4"]),
        (["one three seven"], ["Longest: three", "Letters: 5"]),
        (["a"], ["Longest: a", "Letters: 1"]),
        (["twins twist"], ["Longest: twins", "Letters: 5"]),""",
        25,
    ),
    {"a": ("text", "line", "sentence"), "b": ("best", "longest_word", "w"), "c": ("word", "x", "item")},
    {
        "print": "def longest($a):\n    $b = ''\n    for $c in $a.split():\n        if len($c) > len($b):\n"
        "            $b = $c\n    print($b)\n\nprint('Longest:', longest(input()))\n",
        "last": "def longest($a):\n    $b = ''\n    for $c in $a.split():\n        if len($c) >= len($b):\n"
        "            $b = $c\n    return $b\n\n$b = longest(input())\nprint('Longest:', $b)\n"
        "print('Letters:', len($b))\n",
        "letters": "def longest($a):\n    $b = ''\n    for $c in $a:\n        if len($c) > len($b):\n"
        "            $b = $c\n    return $b\n\n$b = longest(input())\nprint('Longest:', $b)\n"
        "print('Letters:', len($b))\n",
        "loop": "def longest($a):\n    $b = ''\n    words = $a.split()\n    i = 0\n    while i < len(words):\n"
        "        if len(words[i]) > len($b):\n            $b = words[i]\n    return $b\n\n$b = longest(input())\n"
        "print('Longest:', $b)\nprint('Letters:', len($b))\n",
        "right": "def longest($a):\n    $b = ''\n    for $c in $a.split():\n        if len($c) > len($b):\n"
        "            $b = $c\n    return $b\n\n$b = longest(input())\nprint('Longest:', $b)\n"
        "print('Letters:', len($b))\n",
    },
    (
        ("print", "letters", "right"),
        ("letters", "last", "right"),
        ("loop", "print", "last", "right"),
        ("print", "last", "last"),
    ),
)

DISCOUNT = Lab(
    "pex1_discount",
    "lab",
    "Practical exam. Read a price. Prices of 100 and more are reduced by 10 percent. Print `Price: ` and the price to "
    "pay, with two digits after the point.",
    script(
        "pex1_discount",
        """        (["50"], ["Price: 50.00"]),
        (["100"], ["Price: 90.00"]),
        (["250"], ["Price: 225.00"]),
        (["99.99"], ["Price: 99.99"]),""",
        25,
    ),
    {"a": ("price", "p", "cost")},
    {
        "above": "$a = float(input())\nif $a > 100:\n    $a = $a * 0.9\nprint(f'Price: {$a:.2f}')\n",
        "right": "$a = float(input())\nif $a >= 100:\n    $a = $a * 0.9\nprint(f'Price: {$a:.2f}')\n",
    },
    (("above", "right"), ("right",)),
    exam=1,
)

HELLO = Lab(
    "lsn02_hello",
    "skill",
    "Read a name, and print `Hello, ` and the name.",
    script("lsn02_hello", '        (["Ada"], ["Hello, Ada"]),\n        (["Grace"], ["Hello, Grace"]),', 10),
    {"a": ("name", "n")},
    {"comma": "$a = input()\nprint('Hello', $a)\n", "right": "$a = input()\nprint('Hello,', $a)\n"},
    (("comma", "right"), ("right",)),
    max_score=20,
)

GAME = Lab(
    "project1_game",
    "project",
    "Write a guessing game of your own. It is graded by your instructor.",
    "",
    {"a": ("secret", "number")},
    {
        "start": "import random\n$a = random.randint(1, 10)\nprint('Guess!')\n",
        "done": "import random\n$a = random.randint(1, 10)\nwhile int(input('Guess! ')) != $a:\n    print('No.')\n"
        "print('Yes!')\n",
    },
    (("start", "done"),),
)

LABS = (HELLO, TEMPERATURE, TIP, GRADES, WORDS, DISCOUNT, GAME)
