"""The main job, stage by stage. Read this file first.

    read -> observe -> forecast -> power flow -> flexibility -> balancing -> congestion -> report

`run_study` computes and returns, `run_and_write` also writes the run folder, and
`check_study` only reads. This is the one place that knows the whole scenario and
joins the stages.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from gridtwin.ai_energy.ledger import EnergyLedger
from gridtwin.data.control_area import AreaRules, read_control_area
from gridtwin.data.market_rules import MarketRules, read_market_rules
from gridtwin.data.profiles import quality_shares
from gridtwin.data.quality import check_profiles_plausible
from gridtwin.errors import Finding
from gridtwin.forecast.backtest import Backtest, backtest
from gridtwin.forecast.day_ahead import check_forecast, forecast
from gridtwin.forecast.declared import declare_power
from gridtwin.forecast.scores import score_forecast
from gridtwin.grid.inputs import StudyInputs, read_inputs
from gridtwin.grid.reading import Reading
from gridtwin.operate.area_day import run_area_day
from gridtwin.operate.balancing import run_balancing
from gridtwin.operate.congestion import check_congestion_data, find_congestions
from gridtwin.operate.connection import check_connections
from gridtwin.operate.data_centre_impact import (
    check_data_centre_impact,
    find_data_centre_impact,
    list_job_results,
    with_missed_jobs,
)
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.operate.observe import observe_feeder_head
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.optimize.certificate import CERTIFIED_LOSS_PERCENT
from gridtwin.optimize.flexibility import optimize_flexibility
from gridtwin.optimize.flexibility_needs import find_flexibility_needs
from gridtwin.optimize.network_limits import CERTIFIED_LOADING_PERCENT, CERTIFIED_VOLTAGE_PU
from gridtwin.optimize.price_ceiling import AlternativePrice
from gridtwin.report.leaderboard import build_leaderboard, refuse_other_folder, verdict_of, write_leaderboard
from gridtwin.report.results import StudyResults
from gridtwin.report.run_folder import read_run, refuse_finished_run, write_run
from gridtwin.report.verdict import verdict_text
from gridtwin.scenario import Flexibility, Scenario
from gridtwin.scenario_file import ScenarioFile, read_scenario
from gridtwin.time_axis import TimeAxis

STAGES = ("read", "observe", "forecast", "power flow", "flexibility", "balancing", "congestion", "report")
NOT_CONVERGED = ("GT-K01", "GT-O04")
"""Codes of findings about steps without a solution, and about a schedule that its power flow contradicts."""
CERTIFIED = {"loading_percent": CERTIFIED_LOADING_PERCENT, "voltage_pu": CERTIFIED_VOLTAGE_PU,
             "loss_percent": CERTIFIED_LOSS_PERCENT}  # fmt: skip
"""What a certified schedule may show, for the reader of its certificate."""
LEDGER_SCOPE = "the study from reading to congestion, without loading libraries and writing the report"
"""The job that the energy statement is about."""
Progress = Callable[[str], None]


def run_study(source: ScenarioFile | str | Path, *, progress: Progress = lambda stage: None) -> StudyResults:
    """Run the main job of one scenario; nothing is written.

    Parameters
    ----------
    source : ScenarioFile or path
        A scenario folder, its `scenario.toml`, or what `read_scenario` returned.
    progress : callable
        Told the name of each stage as it begins.

    Raises
    ------
    GridtwinError
        With every finding, if an input is invalid.
    """
    source = source if isinstance(source, ScenarioFile) else read_scenario(source)
    scenario, ledger = source.scenario, EnergyLedger()
    stage = partial(_stage, ledger, progress)
    studied = studied_axis(scenario)

    with stage("read"):
        inputs = read_study_inputs(source)
        twin, (area_rules, market_rules) = inputs.twin, read_balancing_rules(source)
    with stage("observe"):
        observed = observe_feeder_head(twin, inputs.profiles, inputs.feeder_head, inputs.unmetered)
        profiles, realised = observed.profiles, observed.profiles.sel(time=studied.times)
    with stage("forecast"):
        predicted = forecast(profiles, studied.local_days, scenario.forecast, issue=scenario.time.issue,
                             seed=scenario.seed, installed_mw=twin.assets["p_rated_mw"],
                             weather=inputs.forecast_weather, given=inputs.given_forecasts)  # fmt: skip
        predicted = declare_power(predicted, profiles, "computing_job")
    with stage("power flow"):
        flows = {"forecast": run_power_flow(twin, predicted), "realised": run_power_flow(twin, realised)}
    with stage("flexibility"):
        plan = optimize_flexibility(twin, predicted, inputs.prices, inputs.declared, scenario.flexibility,
                                     jobs=inputs.jobs)  # fmt: skip
        scheduled = apply_schedule(twin, predicted, plan.schedule)
        flows["forecast_scheduled"] = run_power_flow(twin, scheduled)
    with stage("balancing"):
        balanced = run_balancing(twin, plan.schedule, predicted, realised, inputs.realised, inputs.prices,
                                 scenario.balancing, scenario.flexibility)  # fmt: skip
        around = run_area_day(scheduled, balanced.actual, inputs.prices, area_rules, market_rules, seed=scenario.seed)
        flows["realised_scheduled"] = run_power_flow(twin, balanced.actual)
    with stage("congestion"):
        powers = {"forecast": predicted, "realised": realised, "forecast_scheduled": scheduled,
                  "realised_scheduled": balanced.actual}  # fmt: skip
        congestions = {case: find_congestions(twin, flow, powers[case]) for case, flow in flows.items()}
        connections = check_connections(twin, profiles, scenario.connection)
        impact = find_data_centre_impact(twin, scenario.data_centre, balanced.actual, scheduled)
        needs = find_flexibility_needs(twin, flows["forecast"], predicted, confidence=scenario.flexibility.confidence,
                                       price_ceiling=price_without_flexibility(scenario.flexibility))  # fmt: skip

    unsolved = [finding for case, flow in flows.items() for finding in check_congestion_data(twin, flow, powers[case])]
    findings = (*inputs.findings, *observed.findings, *check_forecast(predicted), *plan.findings, *balanced.findings,
                *around.findings, *check_data_centre_impact(scenario.data_centre, impact),
                *dict.fromkeys(unsolved))  # fmt: skip
    return StudyResults(
        name=source.name,
        scenario=scenario.model_dump(mode="json"),
        twin=twin,
        forecast=predicted,
        realised=realised,
        power_flows=flows,
        congestions=pd.concat(congestions, names=["case"]),
        scores=score_forecast(predicted, realised),
        schedule=plan.schedule,
        unmet=plan.unmet,
        certificate=plan.certificate.as_dict() | {"tolerances": CERTIFIED},
        nodal_prices=plan.prices,
        device_settlement=plan.settlement,
        curtailment=plan.curtailment,
        curtailment_log=plan.curtailment_log,
        causes=plan.causes,
        flexibility_needs=needs,
        balancing=balanced.dataset,
        settlement=balanced.settlement,
        balancing_totals=balanced.totals,
        area=around.dataset,
        area_costs=around.costs,
        area_accounts=around.settlement.accounts,
        actual=balanced.actual,
        prices=inputs.prices,
        weather=inputs.weather,
        connections=connections,
        data_centres=impact,
        data_centre_jobs=list_job_results(inputs.jobs, plan.schedule, plan.unmet, plan.settlement),
        observation=observed.table,
        unmet_realised=with_missed_jobs(balanced.unmet, plan.unmet),
        findings=findings,
        data_quality=quality_shares(profiles),
        ledger=ledger.table(),
        energy=ledger.statement(LEDGER_SCOPE, **scenario.energy.model_dump()).model_dump(mode="json"),
        timings=dict(zip(ledger.table()["step"], ledger.table()["seconds"], strict=True)),
        input_hashes=source.input_hashes(),
    )


@dataclass(frozen=True)
class StudyOutcome:
    """What the command line says about a finished run."""

    folder: Path
    verdict: str
    violated: dict[str, bool]
    """Whether limits are violated, by case."""
    solved: bool
    """Whether every step of every power flow converged, and the schedule with its power flow."""
    doubts: tuple[Finding, ...]
    """What did not converge."""


def run_and_write(
    source: ScenarioFile, folder: Path, *, overwrite: bool = False, progress: Progress = lambda stage: None
) -> StudyOutcome:
    """Run a scenario and write its run folder, whole or not at all."""
    refuse_finished_run(folder, overwrite=overwrite)
    results = run_study(source, progress=progress)
    progress("report")
    run = read_run(write_run(results, folder, overwrite=overwrite))
    violated = set(results.congestions.index.get_level_values("case"))
    solved = all(int(flow["status"].max()) == 0 for flow in results.power_flows.values())
    solved = solved and bool(results.certificate.get("converged", True))
    doubts = tuple(finding for finding in results.findings if finding.code in NOT_CONVERGED)
    by_case = {case: case in violated for case in results.power_flows}
    return StudyOutcome(folder, verdict_text(run), by_case, solved, doubts)


def check_study(source: ScenarioFile) -> tuple[Finding, ...]:
    """Read everything that a scenario names and return what was noticed."""
    findings = read_study_inputs(source).findings
    read_balancing_rules(source)
    return findings


def backtest_scenario(
    source: ScenarioFile, models: Sequence[str], days: int, *, progress: Progress = lambda step: None
) -> Backtest:
    """Forecast the last days before a scenario's first by several models, and score them.

    The series are those of the scenario with its growth, as they are: the feeder head's
    measurement, which scales them in a study, belongs to the studied days alone.

    Parameters
    ----------
    models : sequence of str
        Names as in `forecast.model`; the seasonal naive comes along.
    days : int
        Number of local days.
    """
    scenario = source.scenario
    tested = [scenario.time.first_day - dt.timedelta(days=back) for back in range(days, 0, -1)]
    moved = scenario.time.model_copy(update={"first_day": tested[0], "days": days})
    changed = {"time": moved, "prices": None, "observe": None, "connection": ()}
    inputs = read_study_inputs(replace(source, scenario=scenario.model_copy(update=changed)))
    found = backtest(inputs.profiles, tested, models, scenario.forecast, issue=scenario.time.issue, seed=scenario.seed,
                     installed_mw=inputs.twin.assets["p_rated_mw"], weather=inputs.forecast_weather,
                     given=inputs.given_forecasts, progress=progress)  # fmt: skip
    return replace(found, findings=(*inputs.findings, *found.findings))


def backtest_and_write(
    source: ScenarioFile,
    models: Sequence[str],
    days: int,
    folder: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda step: None,
) -> str:
    """Backtest the models of a scenario, write the leaderboard, whole or not at all, and say who won."""
    refuse_other_folder(folder, overwrite=overwrite)
    tested = backtest_scenario(source, models, days, progress=progress)
    every = tested.scores.query("day_type == 'all'")
    by_model = {str(model): rows for model, rows in every.groupby("model", sort=False)}
    board = build_leaderboard(by_model, ledgers=tested.ledgers)
    time = source.scenario.time
    about = f"{days} local days before {time.first_day}, each issued at {time.issue:%H:%M} of the day before."
    write_leaderboard(folder, board, title=f"Forecasts of {source.name}", about=about, scores=tested.scores,
                      findings=tested.findings, overwrite=overwrite)  # fmt: skip
    return verdict_of(board).text


def read_study_inputs(source: ScenarioFile) -> StudyInputs:
    """Network, profiles, sessions, weather and prices of a scenario, with the findings about them."""
    scenario = source.scenario
    inputs = read_inputs(
        scenario.network,
        scenario.profiles,
        studied_axis(scenario),
        weather=scenario.weather,
        prices=scenario.prices,
        observe=scenario.observe,
        growth=scenario.growth,
        data_centre=scenario.data_centre,
        connection=scenario.connection,
        forecast=scenario.forecast,
        seed=scenario.seed,
        folder=source.folder,
        issue=scenario.time.issue,
        place=source.place,
    )
    plausible = check_profiles_plausible(inputs.profiles, inputs.twin.assets["p_rated_mw"])
    return replace(inputs, findings=(*inputs.findings, *plausible))


def read_balancing_rules(source: ScenarioFile) -> tuple[AreaRules, MarketRules]:
    """The control area around the network, and the rules of its market."""
    balancing, reading = source.scenario.balancing, Reading(source.place)
    area = reading("balancing.area", lambda: read_control_area(balancing.area, source.folder))
    market = reading("balancing.market", lambda: read_market_rules(balancing.market, source.folder))
    reading.raise_faults()
    assert area and market
    return area, market


def studied_axis(scenario: Scenario) -> TimeAxis:
    """The studied local days, 92 to 100 quarter hours each."""
    return TimeAxis.of_days(scenario.time.first_day, scenario.time.days, scenario.time.zone)


def price_without_flexibility(settings: Flexibility) -> AlternativePrice:
    """What the operator would pay instead: energy not delivered, and the compensation of curtailed feed-in."""
    return AlternativePrice(
        "energy not delivered or feed-in curtailed, at the prices of the scenario",
        less_consumption_eur_per_mwh=1e3 * settings.unserved_price_eur_per_kwh,
        more_consumption_eur_per_mwh=1e3 * settings.curtailment_price_eur_per_kwh,
    )


def expected_seconds(scenario: Scenario) -> float:
    """Expected run time of a study on two ordinary cores. [s]"""
    return 15 + 5 * scenario.time.days * scenario.forecast.paths / 50


@contextmanager
def _stage(ledger: EnergyLedger, progress: Progress, name: str) -> Iterator[None]:
    """Announce a stage and book its time and energy."""
    progress(name)
    with ledger.step(name):
        yield
