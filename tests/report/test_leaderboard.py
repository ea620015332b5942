"""The leaderboard: order and sums by hand, a page that opens offline, a folder that is whole or not there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridtwin.ai_energy.ledger import EnergyLedger
from gridtwin.errors import DataError, GridtwinError
from gridtwin.report import leaderboard as module
from gridtwin.report.leaderboard import (
    COST_COLUMNS,
    SCORE_COLUMNS,
    build_leaderboard,
    front_of,
    leaderboard_figure,
    write_leaderboard,
)


def scores_of(skill: float, pinball_mw: float = 0.002) -> pd.DataFrame:
    values = dict.fromkeys(SCORE_COLUMNS, 1.0) | {"skill_percent": skill, "pinball_mw": pinball_mw}
    return pd.DataFrame([{"level": "total", "name": "total", **values}, {"level": "kind", "name": "pv", **values}])


def ledger_of(model: float, paths: float, joules: float) -> pd.DataFrame:
    """Two windows: model and paths twice each, half of everything in each; reading belongs to no model."""
    half = [("backtest / model", model / 2), ("paths", paths / 2)]
    rows = [("read", 100.0, 1e6, 1e6, 1e6, "measured", "")]
    for name, seconds in half * 2:
        rows.append((name, seconds, joules / 8, joules / 4, joules / 2, "estimated", ""))
    return pd.DataFrame(
        rows, columns=["step", "seconds", "joules_p2_5", "joules_p50", "joules_p97_5", "kind", "method"]
    )


SCORES = {"naive": scores_of(0.0), "ridge <b>": scores_of(30.0), "trees": scores_of(31.0), "slow": scores_of(29.0)}
LEDGERS = {"ridge <b>": ledger_of(1.0, 0.5, 20.0), "trees": ledger_of(30.0, 2.0, 900.0), "slow": ledger_of(60, 1, 2000)}
MONEY = pd.DataFrame({"total_eur": [10.0, 40.0], "regret_eur": [8.0, 30.0]}, index=["ridge <b>", "trees"])


@pytest.fixture
def board() -> pd.DataFrame:
    return build_leaderboard(SCORES, ledgers=LEDGERS, money=MONEY)


def test_best_skill_first_with_what_it_takes(board: pd.DataFrame) -> None:
    assert list(board.index) == ["trees", "ridge <b>", "slow", "naive"]
    ridge = board.loc["ridge <b>"]
    assert (ridge["model_seconds"], ridge["paths_seconds"], ridge["seconds"]) == (1.0, 0.5, 1.5)
    assert (ridge["model_joules"], ridge["paths_joules"], ridge["joules"]) == (10.0, 10.0, 20.0)
    assert (ridge["joules_p2_5"], ridge["joules_p97_5"], ridge["energy_kind"]) == (10.0, 40.0, "estimated")
    assert board.loc["naive", list(COST_COLUMNS)[:-1]].isna().all()
    assert board.loc["ridge <b>", "total_eur"] == 10.0 and np.isnan(board.loc["slow", "total_eur"])
    assert board["on_front"].to_dict() == {"trees": True, "ridge <b>": True, "slow": False, "naive": False}


def test_a_real_ledger_and_another_row() -> None:
    ledger = EnergyLedger()
    for step in ("model", "paths"):
        with ledger.step(step):
            sum(range(10_000))
    board = build_leaderboard({"model": scores_of(5.0)}, ledgers={"model": ledger.table()}, name="pv")
    assert board.loc["model", "model_seconds"] > 0 and board.loc["model", "energy_kind"]
    with pytest.raises(DataError, match="same row"):
        build_leaderboard(SCORES, name="wind")
    with pytest.raises(DataError, match="no model"):
        build_leaderboard({})


def test_energy_that_is_not_known_stays_unknown() -> None:
    gap = ledger_of(1.0, 1.0, 8.0)
    gap.loc[1, "joules_p50"] = np.nan
    assert np.isnan(build_leaderboard({"a": scores_of(1.0)}, ledgers={"a": gap}).loc["a", "joules"])


def test_the_front_keeps_equals_and_drops_the_unknown() -> None:
    assert front_of(np.array([5.0, 5.0, 4.0]), np.array([1.0, 1.0, 1.0])).tolist() == [True, True, False]
    assert front_of(np.array([5.0, np.nan]), np.array([np.nan, 1.0])).tolist() == [False, False]


def test_the_figure_holds_models_with_a_known_cost(board: pd.DataFrame) -> None:
    figure = leaderboard_figure(board, "joules")
    front, *points = figure.data
    assert list(front.x) == [20.0, 900.0] and list(front.y) == [30.0, 31.0]
    assert [point.name for point in points] == ["trees", "ridge &lt;b&gt;", "slow"]
    assert points[1].error_x.array == (20.0,) and points[1].error_x.arrayminus == (10.0,)
    assert figure.layout.xaxis.type == "log" and figure.layout.xaxis.title.text.endswith("[J]")


def test_the_page_opens_offline_and_says_who_leads(board: pd.DataFrame, tmp_path: Path) -> None:
    page = write_leaderboard(tmp_path / "board", board, title="Suburb <i>", about="28 days").read_text(encoding="utf-8")
    assert "Suburb &lt;i&gt;" in page and "ridge &lt;b&gt;" in page and "ridge <b>" not in page
    assert "trees, skill 31.0 %, 1.0 points before ridge &lt;b&gt;; in grid money ridge &lt;b&gt; costs least" in page
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)  # the drawing library names its home page
    assert not re.search(r"""(src|href)\s*=\s*["']https?:""", markup)
    views = json.loads(re.search(r'id="figure-1">(.*?)</script>', page, re.DOTALL)[1])
    assert [view["name"] for view in views] == ["Seconds", "Energy"]
    stored = pd.read_parquet(tmp_path / "board" / "leaderboard.parquet").set_index("model")
    pd.testing.assert_frame_equal(stored, board)
    assert len(pd.read_csv(tmp_path / "board" / "leaderboard.csv")) == 4


def test_scores_alone_make_a_page(tmp_path: Path) -> None:
    page = write_leaderboard(tmp_path / "board", build_leaderboard(SCORES), title="Scores").read_text(encoding="utf-8")
    assert "Training" not in page.split("<footer>")[0].split("<main")[1]
    assert len(page) < 200_000  # no figure, so no drawing library either


def test_the_folder_is_whole_or_not_there(board: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "board"
    write_leaderboard(folder, board, title="first")
    with pytest.raises(GridtwinError, match="holds a leaderboard"):
        write_leaderboard(folder, board, title="second")
    with monkeypatch.context() as patched:
        patched.setattr(module, "render_leaderboard", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_leaderboard(folder, board, title="broken", overwrite=True)
    assert "first" in (folder / "leaderboard.html").read_text(encoding="utf-8")
    write_leaderboard(folder, board, title="second", overwrite=True)
    assert "second" in (folder / "leaderboard.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["board"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(GridtwinError, match="not a leaderboard"):
        write_leaderboard(tmp_path / "other", board, title="third", overwrite=True)
