"""The listing tells the story: imports follow the alphabet, each heavy library has one home."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gridtwin"
STAGES = ["ai_energy", "data", "forecast", "grid", "kernels", "operate", "optimize", "report"]
FOUNDATION = {
    "errors",
    "nomenclature",
    "rule_file",
    "scenario",
    "scenario_data_centre",
    "scenario_section",
    "time_axis",
    "__init__",
}
HOMES = {
    "pandapower": {"grid"},
    "simbench": {"grid"},
    "darts": {"forecast"},
    "lightgbm": {"forecast"},
    "sklearn": {"forecast"},
    "holidays": {"forecast"},
    "numba": {"kernels"},
    "pyomo": {"optimize"},
    "highspy": {"optimize"},
    "plotly": {"report"},
    "openpyxl": {"report"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports_of(file: Path) -> set[str]:
    """Dotted names of everything that a file imports, at any depth of the code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def stage_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0]


def test_the_folders_are_the_stages() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(STAGES)


@pytest.mark.parametrize("file", [f for f in FILES if stage_of(f) in STAGES], ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_stage_imports_only_stages_above_it(file: Path) -> None:
    stage = stage_of(file)
    for name in imports_of(file):
        if name.split(".")[0] != "gridtwin":
            continue
        part = name.split(".")[1] if "." in name else "__init__"
        if stage == "kernels":
            assert part == "kernels", f"kernels import nothing of ours, got {name}"
        elif part in STAGES:
            assert part == "kernels" or STAGES.index(part) <= STAGES.index(stage), f"{stage} imports {name}"
        else:
            assert part in FOUNDATION, f"{stage} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_heavy_libraries_stay_at_home(file: Path) -> None:
    for name in imports_of(file):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or stage_of(file) in homes, f"{file} imports {name}, which lives in {homes}"


@pytest.mark.parametrize("file", [f for f in FILES if f.name == "__init__.py"], ids=lambda f: str(f.parent.name))
def test_packages_run_nothing_at_import(file: Path) -> None:
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr, ast.FunctionDef, ast.ClassDef)
    assert all(isinstance(node, allowed) for node in ast.parse(file.read_text(encoding="utf-8")).body)


def test_every_public_name_has_a_home() -> None:
    import gridtwin

    for name in gridtwin.__all__:
        assert getattr(gridtwin, name) is not None


def test_only_study_and_edges_know_the_whole_scenario() -> None:
    knows = {file.name for file in FILES if "gridtwin.scenario.Scenario" in imports_of(file)}
    assert knows <= {"study.py", "cli.py", "scenario_file.py"}
