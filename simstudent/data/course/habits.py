"""How a student writes whatever they write: names, spacing, quotes, indentation, comments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from simstudent.data.course.chance import Chance
from simstudent.data.course.exercises import Ideas, Solution
from simstudent.data.course.text import names_in, rename, tokens

# For each name in the solutions: as written there, short, long, camelCase, other.
NAMES: dict[str, tuple[str, ...]] = {
    "total": ("total", "s", "total_sum", "totalSum", "sum", "result", "res"),
    "count": ("count", "c", "counter", "numberOf", "cnt", "n", "result"),
    "counts": ("counts", "d", "count_dict", "myDict", "dictionary", "freq", "result"),
    "letter": ("letter", "c", "char", "ch", "character", "l", "x"),
    "number": ("number", "n", "num", "value", "x", "val"),
    "word": ("word", "w", "one_word", "item", "x"),
    "words": ("words", "ws", "word_list", "wordList", "lst", "all_words"),
    "price": ("price", "p", "cost", "ticketPrice", "final_price"),
    "discount": ("discount", "d", "reduction", "off", "disc"),
    "largest": ("largest", "m", "maximum", "biggest", "max_num", "first"),
    "second": ("second", "s", "second_largest_number", "secondLargest", "second_max", "sec"),
    "different": ("different", "d", "unique", "uniqueList", "seen", "new_list"),
    "values": ("values", "v", "sorted_values", "sortedList", "vals", "lst"),
    "clean": ("clean", "t", "cleaned", "cleanText", "new_text", "s"),
    "backwards": ("backwards", "r", "reversed_text", "reverseText", "rev", "new"),
    "digit": ("digit", "d", "last_digit", "lastDigit", "i", "x"),
    "digits": ("digits", "s", "number_text", "numString", "string"),
    "chosen": ("chosen", "l", "above", "newList", "good_scores", "lst"),
    "score": ("score", "s", "x", "i", "value"),
    "average": ("average", "a", "avg", "mean", "result"),
    "item": ("item", "i", "product", "key", "thing"),
    "amount": ("amount", "a", "quantity", "howMany", "qty"),
    "cost": ("cost", "c", "item_cost", "itemCost", "price"),
    "height": ("height", "h", "n", "size", "triangleHeight"),
    "stars": ("stars", "s", "star_count", "numStars", "count"),
    "drawing": ("drawing", "s", "stars_line", "starLine", "out"),
    "row": ("row", "i", "line_number", "r", "x"),
    "column": ("column", "j", "col", "k", "y"),
    "star": ("star", "j", "k", "x"),
    "points": ("points", "p", "score", "examPoints", "n", "pts"),
    "grade": ("grade", "g", "letter_grade", "finalGrade", "result"),
    "birth": ("birth", "b", "birth_year", "birthYear", "y", "year"),
    "year": ("year", "y", "birth_year", "yearOfBirth", "born"),
    "age": ("age", "a", "new_age", "newAge", "result"),
    "name": ("name", "n", "first_name", "firstName", "nm"),
    "start": ("start", "n", "start_number", "startNumber", "begin"),
    "numbers": ("numbers", "l", "number_list", "numberList", "nums", "lst"),
    "line": ("line", "s", "user_input", "userInput", "inp", "x"),
    "entry": ("entry", "x", "user_input", "userInput", "inp", "data"),
    "vowels": ("vowels", "v", "vowel_list", "vowelList", "vow"),
    "vowel": ("vowel", "v", "x", "one_vowel"),
    "alphabet": ("alphabet", "abc", "all_letters", "allLetters", "alpha"),
    "i": ("i", "i", "index", "i", "j", "x"),
    "text": ("text", "t", "input_text", "userText", "txt", "sentence"),
}


@dataclass(frozen=True, slots=True)
class Habits:
    """One student's way of writing. ``names`` maps a name of the solutions to the student's own word for it."""

    names: Mapping[str, str]
    indent: str
    tight: bool
    tight_commas: bool
    single_quotes: bool
    brackets: bool
    comments: float
    blank_after_def: bool
    final_newline: bool

    def name(self, lines: list[str]) -> dict[str, str]:
        """The student's names for one program: never two for one, never a parameter's or a used builtin's."""
        used = set(names_in(lines))
        fixed = set(re.findall(r"\w+", lines[0])) if lines[0].startswith("def ") else set()
        chosen: dict[str, str] = {}
        for name in sorted(used & set(self.names) - fixed):
            new = self.names[name]
            if new != name and new not in used and new not in chosen.values():
                chosen[name] = new
        return chosen

    def own_version(self, solution: Solution, chance: Chance) -> tuple[list[str], Ideas]:
        """A solution's lines and misunderstandings in the student's names, with or without its comments."""
        names = self.name([line for line in solution.lines if not line.strip().startswith("#")])
        lines: list[str] = []
        moved: dict[int, int] = {}
        for index, line in enumerate(solution.lines):
            if not line.strip().startswith("#") or chance.happens(self.comments):
                moved[index] = len(lines)
                lines.append(rename(line, names))
        ideas = ((moved[index], None if text is None else rename(text, names)) for index, text in solution.ideas)
        return lines, tuple(ideas)

    def write(self, lines: list[str]) -> str:
        """The lines as this student types them."""
        out: list[str] = []
        for line in lines:
            body = line.lstrip(" ")
            depth = len(line) - len(body)
            out.append((self.indent * (depth // 4) + " " * (depth % 4) + self._spaced(body)) if body else "")
            if self.blank_after_def and line.startswith("def ") and len(lines) > 2:
                out.append("")
        return "\n".join(out) + ("\n" if self.final_newline else "")

    def _spaced(self, body: str) -> str:
        if self.brackets and (match := re.fullmatch(r"(if|elif|while) (.*?)(:?)", body)):
            body = f"{match[1]} ({match[2]}){match[3]}"
        pieces = tokens(body)
        out: list[str] = []
        for at, (kind, text) in enumerate(pieces):
            before = pieces[at - 1] if at else ("", "")
            after = pieces[at + 1] if at + 1 < len(pieces) else ("", "")
            if kind == "space":
                around_op = "op" in (before[0], after[0]) and before[1] not in ("return", "in", "and", "or", "if", ",")
                if (self.tight and around_op) or (self.tight_commas and before[1] == ","):
                    continue
            if self.single_quotes and '"' in text and "'" not in text and kind in ("string", "other"):
                text = text.replace('"', "'")
            out.append(text)
        return "".join(out)


def draw_habits(chance: Chance) -> Habits:
    """A student's habits: a leaning towards short, long, camelCase or other names, kept up most of the time."""
    leaning = chance.weighted(((0, 4.0), (1, 2.0), (2, 2.0), (3, 1.0), (4, 1.5)))
    names = {}
    for name, options in NAMES.items():
        wish = leaning if chance.happens(0.7) else chance.below(len(options))
        names[name] = options[min(wish, len(options) - 1)]
    return Habits(
        names=names,
        indent=chance.weighted((("    ", 8.0), ("  ", 1.0), ("\t", 1.0))),
        tight=chance.happens(0.25),
        tight_commas=chance.happens(0.2),
        single_quotes=chance.happens(0.35),
        brackets=chance.happens(0.1),
        comments=chance.weighted(((0.0, 6.0), (0.4, 2.0), (0.9, 1.5))),
        blank_after_def=chance.happens(0.08),
        final_newline=chance.happens(0.7),
    )
