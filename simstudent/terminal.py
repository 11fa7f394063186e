"""What all commands take from their command lines and tell in the same way."""

from __future__ import annotations

import argparse


def say(text: str) -> None:
    """Tell at once, also where the output goes into a log."""
    print(text, flush=True)


def positive(text: str) -> int:
    """A whole number from 1 on (argparse's ``type``)."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
