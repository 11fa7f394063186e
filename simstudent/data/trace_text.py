"""The text of a trace, as the published models of Pencil Code students write and read it (Ross et al. 2025).

``title``, mask tokens, ``<start>``, then a block for each state of the program::

    CODE 1 (2020-11-18 04:07:48):
    pen red
    CODE 2 (2020-11-18 04:08:24):
    pen red
    fd 100<|endoftext|>
"""

from __future__ import annotations

import re
from dataclasses import dataclass

START, MASK, PAD, END = "<start>", "<mask>", "<pad>", "<|endoftext|>"
_HEADER = re.compile(r"^CODE (\d+) \((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\):\n", re.MULTILINE)
_BEGUN = re.compile(r"^CODE \d+(?: (?:\([\d: -]*(?:\)(?::\n?)?)?)?)?\Z", re.MULTILINE)  # a header cut off anywhere


@dataclass(frozen=True, slots=True)
class Trace:
    """The states of a program, each with the number and the time of its block.

    ``complete``: the text came to its end token. If not, the trace is censored: nobody knows how it would have gone on.
    """

    title: str
    programs: tuple[str, ...]
    timestamps: tuple[str, ...]
    numbers: tuple[int, ...]
    complete: bool


def parse(text: str) -> Trace:
    """The trace in a text.

    A block begins with its header at the start of a line; the newline before the next header belongs to no program. A
    state that was still being written when the text was cut is left out, and so is an empty last one.
    """
    head, found, body = text.partition(START)
    if not found:  # the text alone
        match = _HEADER.search(text)
        head, body = (text[: match.start()], text[match.start() :]) if match else (text, "")
    title = head.partition(MASK)[0].strip()
    body, end, _ = body.partition(END)
    if not end:
        body = re.sub(f"(?:{re.escape(PAD)})+\\Z", "", body)
    headers = list(_HEADER.finditer(body))
    stops = [header.start() for header in headers[1:]]
    if not end:
        begun = _BEGUN.search(body, headers[-1].end()) if headers else None
        stops += [begun.start()] if begun else []
    else:
        stops += [len(body)]
    blocks = [(h, body[h.end() : stop].removesuffix("\n")) for h, stop in zip(headers, stops, strict=False)]
    if end and blocks and not blocks[-1][1].strip():
        del blocks[-1]
    return Trace(
        title,
        tuple(code for _, code in blocks),
        tuple(header[2] for header, _ in blocks),
        tuple(int(header[1]) for header, _ in blocks),
        bool(end),
    )
