"""What the terminal and the page show."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from simstudent.dialogue.encode import Encoder, encode
from simstudent.dialogue.page import Shown, page
from simstudent.dialogue.printable import printable
from simstudent.dialogue.serialize import Dialogue, Turn, fence
from tests.dialogue.templates import with_template

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" ' & \x1b[2J\n```\n</pre>"


def test_a_program_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\n\tc\x9b") == "a\ufffd[2Jb\ufffd\n\tc\ufffd"


class Tags(HTMLParser):
    """Elements by name, their attributes, and the text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


def shown(turns: tuple[Turn, ...], name: str = "s", window: int = 4000) -> tuple[str, Encoder]:
    e = Encoder(with_template("bytes", "headers"), window=window, answer_tokens=100)
    d = Dialogue(f"{name}/a", "You are a student.", f"Write f. {HOSTILE}", turns)
    return page(f"p {HOSTILE}", [Shown(d, encode(e, [d]), name, name, "train")], e), e


def test_nothing_that_a_student_wrote_becomes_markup() -> None:
    turns = (Turn(fence(HOSTILE), HOSTILE), Turn(HOSTILE, HOSTILE, "words"), Turn(fence(HOSTILE, HOSTILE[:9]), None))
    hostile, _ = shown(turns, HOSTILE)
    plain, _ = shown((Turn(fence("x"), "y"), Turn("x", "y", "words"), Turn(fence("x"), None)))
    tags = Tags(hostile)
    assert tags.tags.count("script") == Tags(plain).tags.count("script") == 1
    assert "img" not in tags.tags
    assert not any(name.startswith("on") for name, _ in tags.attributes)
    assert not any(name in ("src", "href") for name, _ in tags.attributes), "nothing is fetched"
    assert "alert(1)" in tags.words
    assert "\x1b" not in hostile


def test_the_page_counts_tokens_marks_what_is_trained_and_shows_the_cut() -> None:
    turns = tuple(Turn(fence("#" * 90 + str(n)), f"{n} of 9 tests passed.") for n in range(6))
    text, e = shown(turns, window=700)
    d = Dialogue("s/a", "You are a student.", f"Write f. {HOSTILE}", turns)
    rows = encode(e, [d]).rows
    assert len(rows) > 1
    assert text.count("<article") == len(rows)
    trained = [len(e.answer(turns[n])) for row in rows for n in row.targets]
    assert [int(n) for n in re.findall(r'class="student trained"><h3>[^<]*<small>(\d+) tokens', text)] == trained
    assert text.count("(context)") == sum(len(range(row.first, row.targets[-1] + 1)) - len(row.targets) for row in rows)
    assert text.count("<details class=cut>") == sum(row.first > 0 for row in rows)
    assert f"window: {rows[1].first} earlier turn" in text
