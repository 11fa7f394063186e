def total(xs):
    return xs[0]
