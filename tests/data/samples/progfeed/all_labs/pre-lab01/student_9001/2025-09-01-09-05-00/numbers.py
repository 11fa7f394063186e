import math


def mean(xs):
    # Name: Ann Example
    return sum(xs) / len(xs)


def between(low, x, high):
    return low < x < high
