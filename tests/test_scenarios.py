"""Every scenario runs and meets its `expected.toml`."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

SCENARIOS = Path(__file__).parent.parent / "scenarios"
FOLDERS = sorted(path.parent for path in SCENARIOS.glob("*/scenario.toml"))


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A scenario folder and the folder of its run."""
    from gridtwin.scenario_file import read_scenario
    from gridtwin.study import run_and_write

    folder: Path = request.param
    out = tmp_path_factory.mktemp("runs") / folder.name
    run_and_write(read_scenario(folder), out)
    return folder, out


def test_there_are_scenarios() -> None:
    assert {folder.name for folder in FOLDERS} >= {"suburb_day_ahead", "village_pv"}


def test_key_figures_are_as_expected(finished: tuple[Path, Path]) -> None:
    folder, out = finished
    expected = tomllib.loads((folder / "expected.toml").read_text(encoding="utf-8"))["figure"]
    summary = pd.read_parquet(out / "tables" / "summary.parquet")
    found = {(row.name, row.case or ""): row.value for row in summary.itertuples(index=False)}
    values = [float(found[figure["name"], figure.get("case", "")]) for figure in expected]
    off = [
        (value, figure)
        for value, figure in zip(values, expected, strict=True)
        if not abs(value - figure["value"]) <= figure["tolerance"]
    ]
    assert not off


def test_the_page_is_one_offline_file(finished: tuple[Path, Path]) -> None:
    page = (finished[1] / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!")
    # plotly names its makers in links that charts of this kind never show
    library = get_plotlyjs().replace("</script", "<\\/script")
    assert page.count(library) == 1
    page = page.replace(library, "")
    for word in ('src="http', "src='http", 'href="http', "@import"):
        assert word not in page


def test_every_overload_of_the_base_case_is_gone_or_named(finished: tuple[Path, Path]) -> None:
    """What still breaks a limit in the scheduled forecast at the asked confidence stands in `unmet` with its price."""
    from gridtwin.report.run_folder import read_run

    run = read_run(finished[1])
    congestions, unmet = run.table("congestions"), run.table("unmet")
    before = congestions[congestions["case"] == "forecast"]
    after = congestions[congestions["case"] == "forecast_scheduled"]
    assert len(before), "the scenario shows no congestion to begin with"
    confidence = tomllib.loads((finished[0] / "scenario.toml").read_text(encoding="utf-8"))
    confidence = confidence.get("flexibility", {}).get("confidence", 0.9)
    left = after[after["probability"] > 2 * (1 - confidence) + 1e-9]  # two days, the agreed share of paths on each
    named = set(unmet.loc[unmet["what"] == "network limit", "asset"]) if len(unmet) else set()
    assert set(left["asset"]) <= named


def test_every_workload_has_its_statement(finished: tuple[Path, Path]) -> None:
    """Their energies sum to what the site drew at its connection; the losses booked to them to those of the site."""
    from gridtwin.ai_energy.workload_statement import read_statement
    from gridtwin.report.run_folder import read_run

    run, folder = read_run(finished[1]), finished[1] / "statements"
    assert (folder / "computing_of_this_study.json").is_file() and "Energy statements" in (
        finished[1] / "report.html"
    ).read_text(encoding="utf-8")
    sites = run.table("data_centres")
    stated = [read_statement(file) for file in folder.glob("*.json") if not file.name.startswith("computing")]
    assert bool(stated) == bool(len(sites))
    for site in sites.itertuples():
        own = [statement for statement in stated if statement.site.name == site.site]
        assert len(own) == 5 and {s.training.energy.boundary for s in own} == {"connection_point"}
        assert sum(s.training.energy.to("MWh").p50 for s in own) == pytest.approx(site.e_connection_mwh, rel=1e-9)
        booked = sum(s.grid.loss_energy.to("MWh").p50 for s in own)
        assert booked == pytest.approx(site.losses_booked_mwh, rel=1e-9)


@pytest.mark.parametrize(
    "finished",
    [
        pytest.param(folder, id=folder.name, marks=[] if folder.name == "village_pv" else [pytest.mark.slow])
        for folder in FOLDERS
    ],
    indirect=True,
)
def test_same_seed_same_tables(finished: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but measured time and energy are equal to the bit in a second run, by the scenario's own script."""
    folder, out = finished
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(folder / "run.py"), run_name="__main__")
    second = tmp_path / "runs" / folder.name
    assert (second / "report.html").is_file()
    names = sorted(file.name for file in (out / "tables").glob("*.parquet"))
    assert names == sorted(file.name for file in (second / "tables").glob("*.parquet"))
    for name in set(names) - {"energy.parquet", "energy_value.parquet", "summary.parquet"}:
        first = pd.read_parquet(out / "tables" / name)
        pd.testing.assert_frame_equal(first, pd.read_parquet(second / "tables" / name), check_exact=True, obj=name)
