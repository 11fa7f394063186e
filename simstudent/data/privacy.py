"""What keeps students apart from their names: keyed pseudonyms, and texts scrubbed of what identifies.

What it does not do stands in docs/privacy.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import field_validator

from simstudent.data.pieces import Piece
from simstudent.data.records import Submission, Talk
from simstudent.errors import SimstudentError
from simstudent.section import Section, expand

Scrub = Literal["emails", "urls", "names"]
SHORTEST = 16  # bytes of a key; a shorter one could be guessed, and with it every id


class PrivacySection(Section):
    """``ids``: ``hash`` replaces every student's id by a keyed pseudonym as it is read; ``keep`` keeps ids that are
    pseudonyms already. ``key_file``: the secret, any 16 bytes or more; made at the default place when there is none.
    ``scrub``: what is removed from programs and texts.
    """

    ids: Literal["hash", "keep"] = "hash"
    key_file: Path | None = None
    scrub: tuple[Scrub, ...] = ()

    _path = field_validator("key_file", mode="before")(expand)


def default_key_file() -> Path:
    """``$XDG_CONFIG_HOME/simstudent/pseudonyms.key``, by default under ``~/.config``."""
    root = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(root) / "simstudent" / "pseudonyms.key"


def key(section: PrivacySection, say: Callable[[str], None] = lambda text: None) -> bytes:
    """The secret of the pseudonyms. The one at the default place is made, and said, when it is not there yet.

    Raises SimstudentError when the file cannot be read or made, or its key is too short.
    """
    path = section.key_file or default_key_file()
    try:
        if section.key_file is None and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - its mode
                file.write(secrets.token_hex(32) + "\n")
            say(f"Pseudonyms: a new key was made in {path}; keep it, and keep it from others (docs/privacy.md)")
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        raise SimstudentError(
            f"data.privacy.key_file: there is no file {path}. Make one: "
            f'python -c "import secrets; print(secrets.token_hex(32))" > {path}; chmod 600 {path}'
        ) from None
    except OSError as error:
        raise SimstudentError(f"data.privacy.key_file: {path}: {error.strerror}; name another file") from None
    if len(secret) < SHORTEST:
        raise SimstudentError(f"data.privacy.key_file: {path} holds {len(secret)} bytes; {SHORTEST} are needed")
    return secret


def fingerprint(secret: bytes) -> str:
    """Eight hex digits that tell whether two datasets were made with the same key."""
    return hashlib.sha256(b"simstudent pseudonym key\0" + secret).hexdigest()[:8]


def pseudonym(secret: bytes, student: str) -> str:
    """``s`` and 16 hex digits: HMAC-SHA256 of the id. Two of a million students share one with probability 3e-8."""
    return "s" + hmac.digest(secret, student.encode("utf-8", "surrogatepass"), "sha256").hex()[:16]


# An address begins where no character of one stands before it: a long text without blanks is read once.
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]+@[\w-]{1,63}(?:\.[\w-]{1,63})*\.[^\W\d_]{2,24}\b(?!\()")
_URL = re.compile(
    r"(?i)(\bhttps?://)(?:[^\s/@'\"<>]{1,100}@)?([^\s/'\"<>)]{1,253})(/(?:~|home/|user/|users/|u/|edit/)?)([^\s/'\"<>)]*)"
)
_USER_HOST = re.compile(r"(?i)^([a-z0-9_-]+)\.(pencilcode\.net|github\.io|gitlab\.io|repl\.co)(:\d+)?$")
_USER_SITES = re.compile(r"(?i)^(www\.)?(github\.com|gitlab\.com|bitbucket\.org|replit\.com|gist\.github\.com)$")
# Possessive runs (*+): a line of a million blanks is read once. The value ends where its comment or string does.
_NAME = re.compile(
    r"(?im)^([ \t]*+(?:(?:#++|//++|/?\*++|--|<!--|\"{3}|'{3})[ \t]*+)?[\"']{0,3}(?:(?:student|author|created by"
    r"|written by|made by|user ?name|full ?name|first ?name|last ?name|name|cadet|e-?mail|login|team ?mates?|partner"
    r"|by|student (?:id|no\.?|number))s?)[ \t]*+:[ \t]*+)"
    r"(?=\S)((?:(?!\"{3}|'{3}|\*/|-->)[^\n])+)"
)
_COMMENT = re.compile(r"[ \t]*(#|//|/?\*|--|<!--|\"{3}|'{3})")


def scrub(text: str, what: tuple[Scrub, ...], counts: Counter[str]) -> str:
    """The text less what identifies somebody: e-mail addresses, user names in URLs, ``Name:`` lines in comments.

    ``counts`` grows by what was replaced. Layout and line numbers stay.
    """
    if "urls" in what and "://" in text:
        text = _URL.sub(lambda match: _url(match, counts), text)
    if "emails" in what and "@" in text:
        text, count = _EMAIL.subn("<email>", text)
        counts["emails"] += count
    if "names" in what and ":" in text:
        text = _without_names(text, counts)
    return text


def _url(match: re.Match[str], counts: Counter[str]) -> str:
    """A URL less the user: before an @, in a personal host or path."""
    scheme, host, slash, first = match.groups()
    whole = match.group(0)
    personal = _USER_HOST.match(host)
    if personal:
        host = f"<user>.{personal[2]}{personal[3] or ''}"
    if first and (slash != "/" or _USER_SITES.match(host)):
        first = "<user>"
    if first.startswith("~"):
        first = "<user>"
    cleaned = f"{scheme}{host}{slash}{first}"
    counts["urls"] += cleaned != whole
    return cleaned


def _without_names(text: str, counts: Counter[str]) -> str:
    """``Name: ...`` lines of comments, and of strings of several lines, less the name. Elsewhere they are code."""
    made, at, quotes = [], 0, {'"""': 0, "'''": 0}
    for match in _NAME.finditer(text):
        gap = text[at : match.start()]
        for quote in quotes:
            quotes[quote] += gap.count(quote)
        made.append(gap)
        at = match.start()
        if _COMMENT.match(match[0]) or any(count % 2 for count in quotes.values()):
            counts["names"] += 1
            made.append(f"{match[1]}<name>")
            for quote in quotes:
                quotes[quote] += match[1].count(quote)
            at = match.end()
    return "".join(made) + text[at:]


@dataclasses.dataclass(slots=True)
class Veil:
    """What stands between a source and everything that prints or keeps: pseudonyms and scrubbed texts, with counts."""

    section: PrivacySection
    secret: bytes | None
    counts: Counter[str]

    def __call__(self, piece: Piece) -> Piece:
        """The piece as the rest of the toolkit may see it."""
        if self.secret is not None:
            raw, student = piece.student, pseudonym(self.secret, piece.student)
            kept = tuple(_renamed(s, raw, student) for s in piece.submissions)
            piece = Piece(student, piece.assignment, kept, piece.place, piece.order)
        if self.section.scrub:
            piece = dataclasses.replace(piece, submissions=tuple(map(self._scrubbed, piece.submissions)))
        return piece

    def students(self, raw: Sequence[str]) -> list[str]:
        """Ids as the rest of the toolkit may see them."""
        secret = self.secret
        return list(raw) if secret is None else [pseudonym(secret, student) for student in raw]

    def _scrubbed(self, s: Submission) -> Submission:
        what = self.section.scrub
        return dataclasses.replace(
            s,
            code=scrub(s.code, what, self.counts),
            feedback=None if s.feedback is None else scrub(s.feedback, what, self.counts),
            talk=tuple(Talk(t.role, scrub(t.text, what, self.counts)) for t in s.talk),
            more={name: self._scrubbed_value(value) for name, value in s.more.items()},
        )

    def _scrubbed_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return scrub(value, self.section.scrub, self.counts)
        if isinstance(value, list):
            return [self._scrubbed_value(item) for item in value]
        if isinstance(value, dict):
            return {name: self._scrubbed_value(item) for name, item in value.items()}
        return value


def _renamed(s: Submission, raw: str, student: str) -> Submission:
    """A further column that holds the student's id holds the pseudonym instead."""
    if not s.more or not any(str(value) == raw for value in s.more.values()):
        return s
    return dataclasses.replace(s, more={k: student if str(v) == raw else v for k, v in s.more.items()})


def veil(section: PrivacySection, say: Callable[[str], None] = lambda text: None) -> Veil:
    """The veil that a recipe asks for. Raises SimstudentError when its key cannot be had."""
    return Veil(section, key(section, say) if section.ids == "hash" else None, Counter())


SCRUBS: tuple[str, ...] = get_args(Scrub)
