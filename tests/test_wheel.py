"""What `pip install gridtwin` brings: package data and scenarios inside, found without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
SCENARIOS = sorted(path.parent.name for path in (REPO / "scenarios").glob("*/scenario.toml"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy in which somebody has also run a scenario in its own folder."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("gridtwin", "scenarios"):
        shutil.copytree(REPO / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / file, source / file)
    left = source / "scenarios" / SCENARIOS[0] / "runs" / "old"
    left.mkdir(parents=True)
    (left / "run.json").write_text("{}")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run(words, cwd=source, check=True, capture_output=True)
    (file,) = out.glob("*.whl")
    return file


def test_the_wheel_holds_every_file_that_the_code_opens(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    opened = {
        path.relative_to(REPO).as_posix()
        for pattern in ("gridtwin/data/rule_sets/*.toml", "gridtwin/report/page.*", "gridtwin/py.typed")
        for path in REPO.glob(pattern)
        if path.suffix not in (".py", ".pyc")
    }
    assert {"gridtwin/report/page.css", "gridtwin/report/page.html", "gridtwin/report/page.js"} < opened
    assert {"gridtwin/data/rule_sets/lv_planning.toml", "gridtwin/data/rule_sets/en50160.toml"} < opened
    assert opened <= names


def test_the_wheel_holds_the_scenarios_and_nothing_that_is_not_one(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("gridtwin/packaged_scenarios/")]
    wanted = {
        "gridtwin/packaged_" + path.relative_to(REPO).as_posix()
        for scenario in SCENARIOS
        for path in (REPO / "scenarios" / scenario).iterdir()
        if path.is_file()
    }
    assert set(names) == wanted
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "/runs/" in name or "__pycache__" in name]


def test_an_installed_wheel_starts_from_its_own_scenarios(wheel: Path, tmp_path: Path) -> None:
    """`new` and `check` in an empty folder, with the package from the wheel and only its dependencies from here."""
    target, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)

    def installed(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(target)}
        told = subprocess.run(
            [sys.executable, *words], cwd=empty, env=environment, capture_output=True, text=True, timeout=120
        )
        assert told.returncode == 0, told.stderr
        return told.stdout

    assert Path(installed("-c", "import gridtwin; print(gridtwin.__file__)").strip()).is_relative_to(target)
    assert f"gridtwin {metadata_version(wheel)}" in installed("-m", "gridtwin", "--version")
    installed("-m", "gridtwin", "new", "mine", "--template", "village_pv")
    assert "mine: ready to run" in installed("-m", "gridtwin", "check", "mine")


def metadata_version(wheel: Path) -> str:
    return wheel.name.split("-")[1]
