"""Small drawings of the energy statement: the chain of boundaries, and intervals."""

from __future__ import annotations

from collections.abc import Sequence

from gridtwin.ai_energy.quantity import Boundary, Quantity
from gridtwin.ai_energy.statement_text import SITE_ENERGY, WORKLOAD_ENERGY, Chain, boundary_chain
from gridtwin.ai_energy.statement_values import number_text
from gridtwin.ai_energy.workload_statement import WorkloadStatement
from gridtwin.report.markup import escape

NAMES: dict[Boundary, str] = {
    "device": "Devices",
    "node": "Node",
    "rack": "Rack",
    "it_at_ups": "IT at the UPS",
    "facility": "Data centre",
    "connection_point": "Connection point",
    "system": "With grid losses",
}
ENERGY_UNITS = ("J", "Wh", "kWh", "MWh", "GWh")
BOX, GAP, HEIGHT = 154, 14, 84


def boundary_figure(statement: WorkloadStatement) -> str:
    """The chain of boundaries twice: energies of the workload, and of the data centre as a whole."""
    rows = (
        ("This workload", boundary_chain(statement, WORKLOAD_ENERGY)),
        ("The data centre as a whole", boundary_chain(statement, SITE_ENERGY)),
    )
    shown = [(title, chain) for title, chain in rows if any(chain.values())]
    if not shown:
        return ""
    width, height = len(NAMES) * (BOX + GAP), len(shown) * (HEIGHT + 46)
    body = "".join(_chain(title, chain, number * (HEIGHT + 46)) for number, (title, chain) in enumerate(shown))
    note = "From inside out. A dashed box is not stated; nothing is converted silently from one box to the next."
    return (
        f'<p class="figure-note">{note}</p><div class="scroll"><svg viewBox="0 0 {width} {height}" width="100%" '
        f'class="chain" role="img" aria-label="Boundaries and the energies stated for them">{body}</svg></div>'
    )


def _chain(title: str, chain: Chain, top: int) -> str:
    head = f'<text class="small" x="2" y="{top + 18}" font-size="13">{escape(title)}</text>'
    boxes = [_box(boundary, values, number, top + 28) for number, (boundary, values) in enumerate(chain.items())]
    return head + "".join(boxes)


def _box(boundary: Boundary, values: Sequence[tuple[str, Quantity]], place: int, top: int) -> str:
    left = 2 + place * (BOX + GAP)
    look = values[0][1].kind if values else "empty"
    link = f'<path class="link" d="M{left - GAP} {top + HEIGHT // 2} h{GAP}"/>' if place else ""
    lines = [f"{number_text(readable_energy(value))} {word}".strip() for word, value in values[:2]]
    kinds = ", ".join(dict.fromkeys(value.kind for _, value in values)) or "not stated"
    more = " and more" if len(values) > 2 else ""
    text = [(NAMES[boundary], 20, 13, ""), *((line, 40 + 16 * n, 13, "strong") for n, line in enumerate(lines)),
            (kinds + more, HEIGHT - 9, 12, "small")]  # fmt: skip
    words = "".join(
        f'<text class="{style}" x="{left + 10}" y="{top + down}" font-size="{size}">{escape(line)}</text>'
        for line, down, size, style in text
        if line
    )
    return f'{link}<rect class="box {look}" x="{left}" y="{top}" width="{BOX}" height="{HEIGHT}" rx="8"/>{words}'


def readable_energy(value: Quantity) -> Quantity:
    """An energy in the unit that leaves few digits before the point; others as they are."""
    if value.p50 is None or value.unit not in ("kJ", "MJ", *ENERGY_UNITS):
        return value
    sizes = [value.to(unit) for unit in ENERGY_UNITS]
    return next((size for size in reversed(sizes) if (size.p50 or 0.0) >= 1), sizes[0])


def whisker(value: Quantity) -> str:
    """An interval as a line from -100 % to +200 % of the middle; an arrow where it is longer."""
    if not value.p50 or value.p2_5 is None or value.p97_5 is None:
        return ""
    low, high = sorted((value.p2_5 / value.p50 - 1, value.p97_5 / value.p50 - 1))
    x_low, x_high = (30 + 30 * max(-1.0, min(end, 2.0)) for end in (low, high))
    arrow = '<path class="link" d="M86 3 l4 4 l-4 4"/>' if high > 2 else ""
    return (
        '<svg width="92" height="14" aria-hidden="true"><path class="link" opacity=".35" d="M0 7 h90"/>'
        f'<path d="M{x_low:.1f} 7 H{x_high:.1f}" stroke="var(--accent)" stroke-width="4"/>'
        f'<circle cx="30" cy="7" r="3.5" fill="var(--ink)"/>{arrow}</svg>'
    )
