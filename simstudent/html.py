"""What our HTML pages share: one look, and text that cannot become markup. No page needs a network."""

from __future__ import annotations

from html import escape

from simstudent.dialogue.printable import printable

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
html{background:Canvas;color:CanvasText}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}
td:not(.n){overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
pre{background:var(--soft);padding:.5rem;overflow-x:auto;border-radius:.3rem;margin:.25rem 0 .75rem}
.note{border-left:.25rem solid #c60;padding-left:.75rem}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def text(words: str) -> str:
    """Text for an element or a quoted attribute: no markup, no control characters."""
    return escape(printable(words))


def document(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """A page of its own. ``body`` is markup, ``title`` text."""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{POLICY}">'
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head><body>{body}"
        f"{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )
