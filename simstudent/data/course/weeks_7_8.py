"""The made-up course's weeks 7 and 8: dictionaries. ``exercises`` explains the mark-up."""

from __future__ import annotations

from simstudent.data.course.exercises import Exercise

LETTERS = Exercise(
    id="letter-counts",
    week=7,
    level=1.1,
    entry="letter_counts",
    statement=(
        "Write a function letter_counts(text) that returns a dictionary. Its keys are the letters that occur in text, "
        "as small letters, and its values say how often each occurs. Spaces, digits and punctuation are not counted. "
        "Example: letter_counts('Aha!') returns {'a': 2, 'h': 1}."
    ),
    tests=(
        ("('Aha!',)", "{'a': 2, 'h': 1}"),
        ("('',)", "{}"),
        ("('to be',)", "{'t': 1, 'o': 1, 'b': 1, 'e': 1}"),
        ("('zzz',)", "{'z': 3}"),
        ("('R2 D2, r2!',)", "{'r': 2, 'd': 1}"),
        ("('123 !?',)", "{}"),
    ),
    ways=(
        """
def letter_counts(text):
    counts = {}
    for letter in text.lower():
    #~ for letter in text:
        # only real letters
        if letter.isalpha():
        #~ if letter != " ":
        #~ if letter.isalnum():
            if letter in counts:
                counts[letter] += 1
            else:
                counts[letter] = 1
                #~ counts[letter] = 0
    return counts
""",
        """
def letter_counts(text):
    counts = {}
    for letter in text.lower():
        if letter.isalpha():
        #~ if letter != " ":
            counts[letter] = counts.get(letter, 0) + 1
            #~ counts[letter] = counts[letter] + 1
            #~ counts[letter] = counts.get(letter) + 1
    return counts
""",
        """
def letter_counts(text):
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    text = text.lower()
    #~ text.lower()
    #~ -
    counts = {}
    for letter in alphabet:
    #~ for letter in text:
        number = text.count(letter)
        # leave out letters that do not occur
        if number > 0:
        #~ -
            counts[letter] = number
    return counts
""",
    ),
)

BASKET = Exercise(
    id="basket-total",
    week=8,
    level=1.2,
    entry="basket_total",
    statement=(
        "A shop keeps its prices in a dictionary such as {'apple': 2, 'bread': 3}. Write a function "
        "basket_total(prices, basket), where basket is a dictionary of item names and amounts, that returns what the "
        "basket costs. Items without a price are ignored. If the total is 50 or more, the shop takes 10 off."
    ),
    tests=(
        ("({'apple': 2, 'bread': 3}, {'apple': 4, 'bread': 1})", "11"),
        ("({'apple': 2}, {})", "0"),
        ("({'apple': 2}, {'pear': 3, 'apple': 1})", "2"),
        ("({'lamp': 50}, {'lamp': 1})", "40"),
        ("({'lamp': 49}, {'lamp': 1})", "49"),
        ("({'tea': 6, 'jam': 5}, {'tea': 5, 'jam': 5})", "45"),
        ("({}, {'tea': 2})", "0"),
    ),
    ways=(
        """
def basket_total(prices, basket):
    total = 0
    for item in basket:
        # items without a price are skipped
        if item in prices:
        #~ -
            total += prices[item] * basket[item]
            #~ total += prices[item]
            #~ total += prices[item] + basket[item]
    if total >= 50:
    #~ if total > 50:
        total -= 10
        #~ total = total * 0.9
    return total
""",
        """
def basket_total(prices, basket):
    total = 0
    for item, amount in basket.items():
    #~ for item, amount in basket:
    #~ for item, amount in prices.items():
        price = prices.get(item, 0)
        #~ price = prices[item]
        #~ price = prices.get(item)
        total = total + price * amount
    # discount for big baskets
    if total >= 50:
        return total - 10
        #~ return total - 10 / 100
    else:
        return total
""",
        """
def basket_total(prices, basket):
    total = 0
    for item in prices:
        if item in basket:
        #~ -
            amount = basket[item]
            cost = amount * prices[item]
            #~ cost = amount * prices
            total = total + cost
    discount = 0
    if total >= 50:
        discount = 10
    return total - discount
    #~ return total
""",
    ),
)

WORDS = Exercise(
    id="word-report",
    week=8,
    level=1.1,
    statement=(
        "Write a program that reads one line of text and counts its words. It prints every different word with the "
        "number of times it occurs, in alphabetical order and one a line, like tea: 2. The last line says how many "
        "different words there are, like Different words: 5. Small and capital letters are the same; there is no "
        "punctuation in the text."
    ),
    tests=(
        ("tea and cake and tea\n", "and: 2\ncake: 1\ntea: 2\nDifferent words: 3\n"),
        ("hello\n", "hello: 1\nDifferent words: 1\n"),
        ("No no NO\n", "no: 3\nDifferent words: 1\n"),
        ("\n", "Different words: 0\n"),
        ("he saw the hen and the cat\n", "and: 1\ncat: 1\nhe: 1\nhen: 1\nsaw: 1\nthe: 2\nDifferent words: 6\n"),
        ("b  a   b\n", "a: 1\nb: 2\nDifferent words: 2\n"),
    ),
    ways=(
        """
words = input().lower().split()
#~ words = input().split()
#~ words = input().lower()
#~ words = input().lower().split(" ")
counts = {}
for word in words:
    if word in counts:
        counts[word] += 1
    else:
        counts[word] = 1
        #~ counts[word] = 0
# alphabetical order
for word in sorted(counts):
#~ for word in counts:
    print(word + ": " + str(counts[word]))
    #~ print(word, ":", counts[word])
    #~ print(word + ": " + counts[word])
print("Different words:", len(counts))
#~ print("Different words:", len(words))
""",
        """
text = input().lower()
words = text.split()
#~ words = text.split(" ")
#~ words = list(text)
different = []
for word in words:
    if word not in different:
        different.append(word)
different.sort()
#~ -
#~ different = different.sort()
for word in different:
#~ for word in words:
    print(f"{word}: {words.count(word)}")
    #~ print(f"{word}: {text.count(word)}")
print(f"Different words: {len(different)}")
#~ print(f"Different words: {len(words)}")
""",
        """
line = input()
words = line.lower().split()
counts = {}
for word in words:
    # one more of this word
    counts[word] = counts.get(word, 0) + 1
    #~ counts[word] += 1
    #~ counts[word] = counts.get(word) + 1
for word, number in sorted(counts.items()):
#~ for word, number in counts.items():
#~ for word, number in sorted(counts):
    print(f"{word}: {number}")
    #~ print("{word}: {number}")
print("Different words:", len(counts))
""",
    ),
)

EXERCISES = (LETTERS, BASKET, WORDS)
