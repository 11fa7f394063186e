# Made up, in the way that ProgFeed's autograders are written.
import unittest

raise SystemExit("an autograder is read, never run")


class TestLab(unittest.TestCase):
    def test_mean(self):
        """mean() test"""
        passed = 0
        test_cases = [
            ([1, 2, 3], 2.0),
            ([0, 0], 0),
            ([10, 5], (10 + 5) / 2),
            (["a" * i for i in range(3)], 0),
        ]
        for i, (xs, expected) in enumerate(test_cases, start=1):
            result = their.mean(xs)
            if round(result, 2) == round(expected, 2):
                passed += 1
            if result == expected:
                print(i)

    def test_between(self):
        test_cases = [((1, 2, 3), True), ((1, 5, -3), False)]
        for i, ((low, x, high), expected) in enumerate(test_cases, start=1):
            result = their.between(low, x, high)
            if result == expected:
                print(f"Test case {i} passed")

    def test_shout(self):
        test_cases = [("a", "A")]
        for i, (text, expected) in enumerate(test_cases, start=1):
            result = their.shout(text).lower()
            if result == expected:
                print(i)

    def test_write(self):
        test_cases = [(1, "*"), (2, "**")]
        for i, (n, expected) in enumerate(test_cases, start=1):
            their.write(n)
            result = open("stars.txt").read()
            if result == expected:
                print(i)

    def test_read(self):
        test_cases = [([1.0], 1.0)]
        for i, (inputs, expected) in enumerate(test_cases, start=1):
            write_grades(inputs)
            result = their.read()
            if result == expected:
                print(i)
