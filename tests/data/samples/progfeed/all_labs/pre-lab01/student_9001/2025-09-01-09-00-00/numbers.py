import math


def mean(xs):
    return sum(xs)


def between(low, x, high):
    return low < x < high
