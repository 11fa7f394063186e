"""The colour names of CSS, and how programs are searched for them."""

from __future__ import annotations

import re
from collections import Counter

_TEXT = """
aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood
cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod
darkgray darkgreen darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen
darkslateblue darkslategray darkturquoise darkviolet deeppink deepskyblue dimgray dodgerblue firebrick
floralwhite forestgreen fuchsia gainsboro ghostwhite gold goldenrod gray green greenyellow honeydew hotpink
indianred indigo ivory khaki lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan
lightgoldenrodyellow lightgray lightgreen lightpink lightsalmon lightseagreen lightskyblue lightslategray
lightsteelblue lightyellow lime limegreen linen magenta maroon mediumaquamarine mediumblue mediumorchid
mediumpurple mediumseagreen mediumslateblue mediumspringgreen mediumturquoise mediumvioletred midnightblue
mintcream mistyrose moccasin navajowhite navy oldlace olive olivedrab orange orangered orchid palegoldenrod
palegreen paleturquoise palevioletred papayawhip peachpuff peru pink plum powderblue purple red rosybrown
royalblue saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue slateblue slategray snow
springgreen steelblue tan teal thistle tomato turquoise violet wheat white whitesmoke yellow yellowgreen
"""
NAMES = tuple(_TEXT.split())
"""The 140 names that browsers have long known, one spelling of gray. The paper has 139 and does not say which."""

_LATER = ("rebeccapurple", *(name.replace("gray", "grey") for name in NAMES if "gray" in name))
_LONGEST_FIRST = "|".join(sorted((*NAMES, *_LATER), key=lambda name: (-len(name), name)))
_WORD = re.compile(rf"\b(?:{_LONGEST_FIRST})\b")
_ANYWHERE = re.compile("|".join(sorted(NAMES, key=lambda name: (-len(name), name))))


def words(code: str) -> Counter[str]:
    """The colours of a program and how often each is named, as whole words: no red in "colored"."""
    return Counter(_WORD.findall(code))


def masked(line: str) -> str:
    """A line with its colours hidden, whole words only."""
    return _WORD.sub("COLOUR", line)


def substrings(code: str) -> dict[str, int]:
    """How often each name occurs anywhere in a program, "blue" in "skyblue" too (the published count)."""
    return {name: count for name in NAMES if (count := code.count(name))}


def masked_anywhere(line: str) -> str:
    """A line with its colours hidden, wherever they stand (the published comparison)."""
    return _ANYWHERE.sub("COLOUR", line)
