"""The one exception that a user is meant to read."""


class SimstudentError(Exception):
    """Something the user can mend: the message names the file, row or key, and the fix.

    The command line prints it without a traceback and exits with status 2.
    """


def missing_extra(package: str, extra: str) -> SimstudentError:
    """The error for an optional dependency that is not installed, naming the extra that brings it."""
    return SimstudentError(
        f"this needs the Python package '{package}', which is not installed. "
        f'Fix: pip install "simstudent[{extra}]" (in a clone: pip install -e ".[{extra}]")'
    )
