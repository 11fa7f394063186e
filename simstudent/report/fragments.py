"""Tables inside hand-written Markdown, made anew from rollout folders: everything between two markers is ours.

``<!-- report LABEL TABLE -->`` ... ``<!-- /report -->``; LABEL is that of a folder, TABLE a section's key
(docs/report.md); after it, ``methods=a,b`` keeps these rows only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from simstudent.errors import SimstudentError
from simstudent.evaluation.numbers import Section, table
from simstudent.evaluation.tables import STUDENTS

_OPEN = re.compile(r"<!-- *report +(?P<label>\S+) +(?P<key>[\w-]+)(?: +methods=(?P<methods>\S+))? *-->")
_CLOSE = re.compile(r"<!-- */report *-->")


def fill(path: Path, tables: Mapping[str, Sequence[Section]]) -> tuple[int, int]:
    """Write the tables into the file. How many were written, and how many were left: their label was not given.

    Raises SimstudentError, and writes nothing, for a marker that is not closed or names no table or method.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    out: list[str] = []
    filled, left, at = 0, 0, 0
    while at < len(lines):
        line = lines[at]
        out.append(line)
        at += 1
        place = f"{path}, line {at}"
        if _CLOSE.search(line):
            raise SimstudentError(f"{place}: '<!-- /report -->' closes nothing")
        match = _OPEN.search(line)
        if match is None:
            if re.search(r"<!-- *report\b", line):
                raise SimstudentError(f"{place}: write <!-- report LABEL TABLE --> (docs/report.md)")
            continue
        end = next((n for n in range(at, len(lines)) if _CLOSE.search(lines[n]) or _OPEN.search(lines[n])), len(lines))
        if end == len(lines) or _OPEN.search(lines[end]):
            raise SimstudentError(f"{place}: this marker is not closed; put <!-- /report --> after its table")
        if match["label"] in tables:
            out += ["", _table(match, tables[match["label"]], place), ""]
            filled += 1
        else:
            out += lines[at:end]
            left += 1
        out.append(lines[end])
        at = end + 1
    partial = path.with_name(path.name + ".partial")
    partial.write_text("\n".join(out), encoding="utf-8")
    partial.replace(path)
    return filled, left


def _table(match: re.Match[str], sections: Sequence[Section], place: str) -> str:
    found = next((s for s in sections if s.key == match["key"]), None)
    if found is None:
        raise SimstudentError(f"{place}: no table '{match['key']}'; there are: {', '.join(s.key for s in sections)}")
    rows = found.rows
    if match["methods"]:
        wanted = match["methods"].split(",")
        missing = [m for m in wanted if m not in {row[0] for row in rows}]
        if missing:
            known = ", ".join(dict.fromkeys(row[0] for row in rows))
            raise SimstudentError(f"{place}: no method '{missing[0]}' in this table; there are: {known}")
        rows = tuple(row for row in rows if row[0] in wanted or row[0] == STUDENTS)
    return table(found.headings, rows)
