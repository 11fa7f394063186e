"""Training rows as an HTML page to read like a chat: who says what, what is trained, what the window has cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simstudent.dialogue.encode import Encoded, Encoder, Row, Segment
from simstudent.dialogue.serialize import Dialogue, Turn
from simstudent.html import document, text


@dataclass(frozen=True, slots=True)
class Shown:
    """A dialogue and its rows. ``side`` is that of the split."""

    dialogue: Dialogue
    encoded: Encoded
    student: str
    assignment: str
    side: str


def page(name: str, shown: Sequence[Shown], encoder: Encoder) -> str:
    """The whole page; it holds students' programs and needs nothing but itself."""
    articles = "".join(_article(s, row, encoder) for s in shown for row in s.encoded.rows)
    left_out = "".join(
        f"<p class=note>{text(key)}: turn {number + 1} does not fit the window and is left out</p>"
        for s in shown
        for key, number in s.encoded.unfit
    )
    rows = sum(len(s.encoded.rows) for s in shown)
    bar = (
        f"<header><h1>{text(name)}</h1><form>"
        f"{_select('student', [s.student for s in shown])}{_select('assignment', [s.assignment for s in shown])}"
        f"{_select('side', [s.side for s in shown])}"
        "<label><input type=checkbox id=template> template text</label></form>"
        f"<nav><button type=button id=back aria-label='previous (k)'>&#8593;</button>"
        "<button type=button id=on aria-label='next (j)'>&#8595;</button>"
        f"<span id=count>{rows} rows</span> "
        "<small>j, k: next, previous; t: template text; /: filter</small></nav></header>"
    )
    foot = "<p>This page holds students' programs. Treat it as you treat your logs.</p>"
    return document(name, f"{bar}<main>{left_out}{articles}</main>{foot}", style=_STYLE, script=_SCRIPT)


def _select(name: str, values: Sequence[str]) -> str:
    options = "".join(f'<option value="{text(v)}">{text(v)}</option>' for v in sorted(set(values)))
    return f"<label>{name} <select id={name}><option value=''>all</option>{options}</select></label>"


def _article(shown: Shown, row: Row, encoder: Encoder) -> str:
    segments = encoder.segments(shown.dialogue, row)
    trained = sum(len(s.ids) for s in segments if s.trained)
    cut = _cut(shown.dialogue, row, encoder) if row.first else ""
    body = "".join(_messages(shown.dialogue, segments, encoder, cut))
    return (
        f'<article tabindex=-1 data-student="{text(shown.student)}" data-assignment="{text(shown.assignment)}" '
        f'data-side="{text(shown.side)}"><h2>{text(shown.student)} <span>&middot; {text(shown.assignment)}</span></h2>'
        f"<p class=facts>{text(shown.side)}, {len(row.ids):,} of {encoder.window:,} tokens, "
        f"<b>{trained:,} trained</b> in {len(row.targets)} turn{'s' * (len(row.targets) != 1)}</p>{body}</article>"
    )


def _messages(dialogue: Dialogue, segments: Sequence[Segment], encoder: Encoder, cut: str) -> Iterator[str]:
    """The bubbles of a row; the user's parts before an answer are one message, the template's text stands between."""
    user: list[Segment] = []
    for n, s in enumerate(segments):
        if s.part in ("earlier", "assignment", "reaction", "header"):
            user.append(s)
            following = segments[n + 1].part if n + 1 < len(segments) else ""
            if following in ("earlier", "assignment", "header"):
                continue
            opens = any(u.part == "assignment" for u in user)
            words = "".join(
                _answer(encoder.decode(u.ids)) if u.part == "earlier" else _prose(encoder.decode(u.ids), u.part)
                for u in user
            )
            told = "state" if encoder.traces else _answerer(dialogue.turns, user[0].turn)
            label = ("title" if encoder.traces else "assignment") if opens else told
            yield _bubble("user", label, sum(len(u.ids) for u in user), words)
            yield cut if opens else ""
            user = []
        elif s.part == "template":
            yield f"<div class=tpl>{text(encoder.decode(s.ids))}</div>" if s.ids else ""
        elif s.part == "system":
            yield _bubble("system", "system", len(s.ids), _prose(encoder.decode(s.ids)))
        else:
            assert s.turn is not None
            words = encoder.decode(s.ids[:-1])
            # A trace's programs stand there as they are, without a fence.
            body = f"<pre><code>{_highlighted(words)}</code></pre>" if encoder.traces and words else _answer(words)
            body += f"<i class=end>{text(encoder.decode(s.ids[-1:]))}</i>"
            label = _label(dialogue.turns, s.turn) + ("" if s.trained else " (context)")
            yield _bubble("student trained" if s.trained else "student", label, len(s.ids), body)


def _label(turns: Sequence[Turn], number: int) -> str:
    kind = turns[number].kind
    if kind in ("words", "give_up", "end"):
        return {"words": "student says", "give_up": "student gives up", "end": "the end"}[kind]
    count = sum(t.has_program for t in turns[: number + 1])
    return f"student, submission {count}" if kind == "program" else f"student, request for a hint {count}"


def _answerer(turns: Sequence[Turn], number: int | None) -> str:
    return "feedback" if number is None or turns[number].kind == "program" else "answer"


def _bubble(kind: str, label: str, tokens: int, body: str) -> str:
    return f'<section class="{kind}"><h3>{label} <small>{tokens:,} tokens</small></h3>{body}</section>'


def _cut(dialogue: Dialogue, row: Row, encoder: Encoder) -> str:
    """Where the window begins, and what it left out, folded away."""
    dropped = dialogue.turns[: row.first]
    tokens = sum(len(encoder.turn(t)) for t in dropped)
    inside = "".join(f"{_answer(t.answer)}{_prose(t.reaction or '')}" for t in dropped)
    turns = f"{row.first} earlier turn{'s' * (row.first != 1)}"
    return f"<details class=cut><summary>window: {turns} ({tokens:,} tokens) not in view</summary>{inside}</details>"


_BLOCK = re.compile(r"^(`{3,})([^\n`]*)\n(.*?\n?)^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_TOKEN = re.compile(
    r"(?P<c>#[^\n]*)|(?P<s>'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\")"
    r"|(?P<k>\b(?:and|as|assert|break|class|continue|def|del|elif|else|except|False|finally|for|from|global|if|import|in|is"
    r"|lambda|None|nonlocal|not|or|pass|raise|return|True|try|while|with|yield)\b)|(?P<n>\b\d[\d._]*\b)",
    re.DOTALL,
)


def _answer(words: str) -> str:
    """An answer with its code blocks set as code."""
    parts, at = [], 0
    for match in _BLOCK.finditer(words):
        parts.append(_prose(words[at : match.start()].strip("\n")))
        form, code = match[2].strip(), match[3]
        inner = _diff(code) if form == "diff" else _highlighted(code)
        parts.append(f"<pre title='{text(form)}'><code>{inner}</code></pre>")
        at = match.end()
    return "".join(parts) + _prose(words[at:].strip("\n"))


def _prose(words: str, part: str = "") -> str:
    return f'<p class="{part}">{text(words.strip())}</p>' if words.strip() else ""


def _highlighted(code: str) -> str:
    parts, at = [], 0
    for match in _TOKEN.finditer(code):
        parts.append(f"{text(code[at : match.start()])}<span class={match.lastgroup}>{text(match[0])}</span>")
        at = match.end()
    return "".join(parts) + text(code[at:])


def _diff(code: str) -> str:
    marks = {"+": "add", "-": "del", "@": "c"}
    lines = (f"<span class={marks.get(line[:1], 'same')}>{text(line)}</span>" for line in code.splitlines())
    return "\n".join(lines)


_STYLE = """
:root{--user:#7aa7d833;--green:#1a7f37;--greenish:#2da44e22;--kw:#a626a4;--str:#50743a;--num:#b76b01;--com:#777}
@media(prefers-color-scheme:dark){:root{
--green:#3fb950;--greenish:#3fb95026;--kw:#d2a8ff;--str:#a5d6a7;--num:#ffb86c;--com:#999}}
header{position:sticky;top:0;z-index:1;background:Canvas;border-bottom:1px solid var(--line);padding:.25rem 0 .5rem}
header h1{margin:.25rem 0}form,nav{display:flex;flex-wrap:wrap;gap:.4rem .9rem;align-items:center}
select,button{font:inherit;max-width:14rem}nav small{opacity:.7}button{min-width:2.5rem;min-height:2rem}
article{padding:0 0 1.5rem;border-bottom:1px solid var(--line);scroll-margin-top:9rem;outline:none}
article.at>h2{text-decoration:underline;text-decoration-color:var(--green);text-underline-offset:.3rem}
h2{overflow-wrap:anywhere}h2 span{font-weight:400}.facts{margin:-.6rem 0 .6rem}.facts b{color:var(--green)}
section{border-radius:.7rem;padding:.4rem .8rem;margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
section h3{font-size:.8rem;margin:0;opacity:.75;font-weight:600}section small{font-weight:400;font-size:.8rem}
section p,.cut p{margin:.2rem 0;white-space:pre-wrap}section pre{margin:.3rem 0}
.system{background:var(--soft)}.user{background:var(--user);margin-right:3rem}.header{font-style:italic}
.student{margin-left:3rem;margin-left:max(1rem,calc(100% - 46rem));border:1px dashed var(--line)}
.trained{border:1px solid var(--green);border-left-width:.35rem;background:var(--greenish)}
.end{font:.75rem ui-monospace,monospace;opacity:.8}.trained .end{color:var(--green)}
.tpl{display:none;font:.75rem/1.3 ui-monospace,monospace;white-space:pre-wrap;opacity:.65;padding-left:.5rem}
.tpls .tpl{display:block}
.cut{border-top:2px dashed #c60;margin:.75rem 0;padding:.25rem 0}.cut summary{color:#c60;cursor:pointer}
.cut[open]{opacity:.75}
pre,code{font:.9rem/1.4 ui-monospace,monospace}
.k{color:var(--kw)}.s{color:var(--str)}.n{color:var(--num)}.c{color:var(--com)}
.add{background:#2da44e44}.del{background:#cf222e33}
@media(max-width:40rem){body{padding:.5rem}header{position:static}article{scroll-margin-top:0}.user{margin-right:1rem}.student{margin-left:1rem}
nav small{display:none}select{max-width:8rem}}
"""

_SCRIPT = """
const all=[...document.querySelectorAll('article')],names=['student','assignment','side'];
const by=id=>document.getElementById(id);
let at=-1;const seen=()=>all.filter(a=>!a.hidden);
function filter(){for(const a of all)a.hidden=names.some(n=>by(n).value&&a.dataset[n]!==by(n).value);
at=-1;by('count').textContent=seen().length+' rows'}
function go(step){const list=seen();if(!list.length)return;at=Math.max(0,Math.min(list.length-1,at+step));
all.forEach(a=>a.classList.remove('at'));list[at].classList.add('at');list[at].scrollIntoView();list[at].focus({preventScroll:true});
by('count').textContent=(at+1)+' of '+list.length+' rows'}
function template(){document.body.classList.toggle('tpls',by('template').checked)}
names.forEach(n=>by(n).addEventListener('change',filter));by('template').addEventListener('change',template);
by('on').addEventListener('click',()=>go(1));by('back').addEventListener('click',()=>go(-1));
document.addEventListener('keydown',e=>{if(e.ctrlKey||e.metaKey||e.altKey)return;
if(e.key==='Escape'){document.activeElement.blur();return}
if(/^(SELECT|INPUT)$/.test(document.activeElement.tagName))return;
if(e.key==='j')go(1);else if(e.key==='k')go(-1);else if(e.key==='/'){e.preventDefault();by('student').focus()}
else if(e.key==='t'){by('template').checked^=1;template()}});
"""
