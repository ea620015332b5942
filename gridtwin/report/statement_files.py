"""Energy statements in and out: what is read as a statement, and the forms in which one is written."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from gridtwin.ai_energy.codecarbon import codecarbon_statement, read_codecarbon
from gridtwin.ai_energy.exports import boamps_report, documentation_form, model_card_block, spdx_energy
from gridtwin.ai_energy.statement_text import statement_markdown
from gridtwin.ai_energy.workload_statement import WorkloadStatement, read_statement, statement_json
from gridtwin.errors import DataError, Finding
from gridtwin.report.ai_energy_page import render_statement_page

Writer = Callable[[WorkloadStatement, Sequence[str]], str]
FORMS: dict[str, Writer] = {
    "html": render_statement_page,
    "markdown": statement_markdown,
    "json": lambda statement, rules: statement_json(statement),
    "boamps": lambda statement, rules: _json(boamps_report(statement)),
    "spdx": lambda statement, rules: _json(spdx_energy(statement)),
    "model-card": lambda statement, rules: model_card_block(statement),
    "documentation-form": lambda statement, rules: documentation_form(statement).to_csv(index=False),
}
"""Forms of a statement: page, text, statement itself, exports."""
FORM_OF_SUFFIX = {
    ".html": "html",
    ".md": "markdown",
    ".json": "json",
    ".yaml": "model-card",
    ".csv": "documentation-form",
}


def read_any_statement(path: str | Path, run: int = -1) -> WorkloadStatement:
    """A statement from JSON of ours, of a run or of a workload, or from a CSV that CodeCarbon wrote.

    Parameters
    ----------
    path : str or Path
        The file; a name that ends in `.csv` is read as CodeCarbon's.
    run : int
        Row of a CSV, the last one by default.

    Raises
    ------
    DataError
        If the file cannot be read, or has no such row.
    """
    if Path(path).suffix.lower() != ".csv":
        return read_statement(path)
    runs = read_codecarbon(path)
    if not -len(runs) <= run < len(runs):
        raise DataError([Finding("no such run", where=str(path), expected=f"0 to {len(runs) - 1}", got=str(run),
                                 severity="error", code="GT-R20")])  # fmt: skip
    return codecarbon_statement(runs[run])


def write_statement(statement: WorkloadStatement, out: str | Path, form: str | None = None,
                    rules: Sequence[str] = ()) -> Path:  # fmt: skip
    """Write a statement in one of its forms.

    Parameters
    ----------
    out : str or Path
        The file; without `form` its ending says which.
    form : str, optional
        One of `FORMS`.
    rules : sequence of str
        Rule sets that page and text check it against.

    Raises
    ------
    DataError
        If the form is not known.
    """
    file = Path(out)
    text = FORMS[_form(file, form)](statement, rules)
    file.write_text(text, encoding="utf-8")
    return file


def _form(file: Path, form: str | None) -> str:
    chosen = form or FORM_OF_SUFFIX.get(file.suffix.lower(), file.suffix or "no ending")
    if chosen in FORMS:
        return chosen
    close = difflib.get_close_matches(chosen, FORMS, n=1)
    raise DataError([Finding("unknown form of a statement", where=str(file), expected=", ".join(FORMS), got=chosen,
                             do=f"Did you mean {close[0]}?" if close else "Give --form.", severity="error",
                             code="GT-R21")])  # fmt: skip


def _json(values: object) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
