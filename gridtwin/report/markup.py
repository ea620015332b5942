"""Pieces of markup that the sections of the page are put together from."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field
from typing import Any

from gridtwin.report.figures import Views
from gridtwin.report.html_table import column_title, significant
from gridtwin.report.verdict import VerdictLine

MARKS = {"good": "✓", "watch": "!", "bad": "✕"}


@dataclass
class PageFigures:
    """Figures met while the page is put together; each becomes one block of JSON."""

    blocks: dict[str, str] = field(default_factory=dict)

    def place(self, views: Views, *, title: str, note: str = "") -> str:
        """Markup of one figure with its views; nothing where there is nothing to show."""
        if not views:
            return ""
        name = f"figure-{len(self.blocks) + 1}"
        self.blocks[name] = script_json([_view(label, figure) for label, figure in views.items()])
        return (
            f'{titled_note(title, note)}<div class="views"></div>'
            f'<div class="plot" data-figure="{name}" role="img" aria-label="{escape(title)}"></div>'
        )

    def markup(self) -> str:
        """All blocks, for the end of the page."""
        return "\n".join(
            f'<script type="application/json" id="{name}">{block}</script>' for name, block in self.blocks.items()
        )


def _view(label: str, figure: Any) -> dict[str, Any]:
    values = json.loads(figure.to_json())
    values["layout"].pop("template", None)
    return {"name": label, "data": values["data"], "layout": values["layout"]}


def escape(text: object) -> str:
    """Text as HTML shows it letter by letter."""
    return html.escape(str(text), quote=True)


def script_json(values: Any) -> str:
    """JSON that cannot end the script element around it."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def card(*parts: str) -> str:
    """A framed part of a section; nothing where it is empty."""
    body = "".join(parts)
    return f'<div class="card">{body}</div>' if body else ""


def about_line(text: str) -> str:
    """What a section is about."""
    return f'<p class="about">{escape(text)}</p>'


def titled_note(title: str, note: str = "") -> str:
    """Title of a figure or table and what to know when reading it."""
    return f'<p class="figure-title">{escape(title)}</p><p class="figure-note">{escape(note)}</p>'


def judged_lines(lines: list[VerdictLine]) -> str:
    """Sentences with a mark that says good, watch or bad."""
    rows = (
        f'<p class="{line.tone}"><span class="mark" aria-hidden="true">{MARKS[line.tone]}</span>'
        f"<span><b>{escape(line.lead)}:</b> {escape(line.text)}</span></p>"
        for line in lines
    )
    return f'<div class="verdict">{"".join(rows)}</div>'


def facts(values: dict[str, Any]) -> str:
    """Name and value pairs; the unit moves from the name to its title."""
    rows = "".join(
        f"<div><dt>{escape(column_title(name))}</dt><dd>{escape(_short(value))}</dd></div>"
        for name, value in values.items()
        if isinstance(value, bool | int | float | str) and value != ""
    )
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return significant(value) if isinstance(value, float) else str(value)
