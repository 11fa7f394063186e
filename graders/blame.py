"""Whose doing an exception in a course's own code is: the code's, or that of what a program answered."""

from __future__ import annotations

_OWN = (NameError, ImportError, SyntaxError, OSError)


def own_fault(error: BaseException) -> bool:
    """Whether only the code's own text can have brought this about: a name that there is not, a module, a file.

    A local variable that no branch has set is another matter: a loop over a program's output may have found nothing.
    """
    return isinstance(error, _OWN) and not isinstance(error, UnboundLocalError)
