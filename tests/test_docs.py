"""What the documentation shows runs: docstring examples, README snippets, examples, scenario scripts."""

from __future__ import annotations

import doctest
import importlib
import os
import re
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
def test_readme_snippets(number: int, tmp_path: Path) -> None:
    run_python("-c", snippets()[number], cwd=REPO)


@pytest.mark.parametrize("file", sorted((REPO / "examples").glob("[0-9]*.py")), ids=lambda file: file.stem)
def test_examples(file: Path, tmp_path: Path) -> None:
    run_python(str(file), cwd=tmp_path)


@pytest.mark.parametrize("file", sorted((REPO / "scenarios").glob("*/run.py")), ids=lambda file: file.parent.name)
def test_scenario_scripts(file: Path, tmp_path: Path) -> None:
    run_python(str(file), cwd=tmp_path)
    assert list(tmp_path.rglob("report.html"))


def run_python(*words: str, cwd: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(file: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (REPO / file).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (REPO / link).exists()]
    assert not missing
