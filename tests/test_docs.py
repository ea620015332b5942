"""What the documentation shows runs: docstring examples, README snippets, examples."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
MODULES = sorted(
    ".".join(file.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
    for file in (REPO / "gridtwin").rglob("*.py")
    if ">>>" in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (REPO / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_readme_shows_python() -> None:
    assert snippets()


@pytest.mark.parametrize("number", range(len(snippets())))
def test_readme_snippets(number: int) -> None:
    """In an interpreter of its own: a snippet needs nothing that came before."""
    words = [sys.executable, "-c", snippets()[number]]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(words, cwd=REPO, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


EXAMPLES = [
    # The fifth example runs the study of `test_scenarios.py`.
    pytest.param(file, id=file.stem, marks=[pytest.mark.slow] if file.stem.startswith("05") else [])
    for file in sorted((REPO / "examples").glob("[0-9]*.py"))
]


@pytest.mark.parametrize("file", EXAMPLES)
def test_examples(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `python file` does, but in this process: the libraries load longer than most scripts run."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(file), run_name="__main__")


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(file: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (REPO / file).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (REPO / link).exists()]
    assert not missing
