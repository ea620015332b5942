"""The command line: one short function per verb, heavy imports inside.

Exit codes: 0 done; 1 limits violated and `--fail-on` given; 2 input invalid;
3 not converged or infeasible. `energy run` passes on the exit code of its command,
`energy check` ends with 1 where a statement is not complete.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridtwin import __version__
from gridtwin.errors import ConvergenceError, Finding, GridtwinError, InfeasibleError

if TYPE_CHECKING:
    from gridtwin.scenario_file import ScenarioFile

app = typer.Typer(
    help="Where will my network be tight tomorrow, what can flexibility do about it, and what does it cost?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
energy_app = typer.Typer(help="Energy of computing: measure a command, say what can be measured, check a statement.",
                         no_args_is_help=True)  # fmt: skip
app.add_typer(energy_app, name="energy")
ScenarioPath = Annotated[Path, typer.Argument(help="A scenario folder or its scenario.toml.")]
RunPath = Annotated[Path, typer.Argument(help="The folder of a finished run.")]
PACKAGED = Path(__file__).parent / "packaged_scenarios"
CHECKOUT = Path(__file__).parent.parent / "scenarios"


class FailOn(StrEnum):
    """Which limit violations make the exit code 1."""

    FORECAST = "forecast"
    SCHEDULED = "forecast_scheduled"


@app.command()
def check(scenario: ScenarioPath) -> None:
    """Read and check everything a scenario names; write nothing."""
    from gridtwin.study import check_study, expected_seconds

    source = _read(scenario)
    findings = check_study(source)
    for finding in findings:
        typer.echo(f"{finding.severity}: {finding}")
    typer.echo(
        f"{source.name}: ready to run, {len(findings)} findings, about {expected_seconds(source.scenario):.0f} s."
    )


@app.command()
def run(
    scenario: ScenarioPath,
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/<scenario name>.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a finished run in that folder.")] = False,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 if limits are violated in this case.")] = None,
) -> None:
    """Run a scenario: forecast, power flow, congestion, schedule, balancing, report."""
    source = _read(scenario)
    folder = out or Path("runs") / source.name
    outcome = _run_with_progress(source, folder, overwrite=overwrite)
    typer.echo(f"\n{outcome.verdict}\n\nReport: {folder / 'report.html'}")
    if not outcome.solved:
        _complain("\n".join(f"not converged: {doubt}" for doubt in outcome.doubts))
        raise typer.Exit(3)
    if fail_on and outcome.violated[fail_on.value]:
        raise typer.Exit(1)


@app.command()
def report(run_folder: RunPath) -> None:
    """Render report.html again from a finished run."""
    from gridtwin.report.run_folder import write_report

    typer.echo(f"Report: {write_report(run_folder)}")


@app.command()
def explain(
    run_folder: RunPath,
    asset: Annotated[str, typer.Argument(help="Name of a branch, bus or asset.")],
    at: Annotated[str, typer.Option(help="Local time, e.g. 2016-12-13T18:00.")],
) -> None:
    """Say why an asset is where it is at one time: limit, probability, contributors, schedule."""
    from gridtwin.report.explain import explain_asset
    from gridtwin.report.run_folder import read_run

    typer.echo(explain_asset(read_run(run_folder), asset, at))


@app.command()
def compare(first: RunPath, second: RunPath) -> None:
    """Key figures of two runs side by side."""
    from gridtwin.report.compare import compare_runs, comparison_text
    from gridtwin.report.run_folder import read_run

    typer.echo(comparison_text(compare_runs(read_run(first), read_run(second))))


@app.command()
def backtest(
    scenario: ScenarioPath,
    model: Annotated[list[str] | None, typer.Option(help="A model, may be repeated. Default: the scenario's.")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="Local days before the scenario's first day.")] = 28,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: runs/<scenario name>_backtest.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a finished backtest there.")] = False,
) -> None:
    """Forecast past days by several models and rank them: skill against seconds and joules."""
    source = _read(scenario)
    folder = out or Path("runs") / f"{source.name}_backtest"
    models = model or [source.scenario.forecast.model]
    text = _backtest_with_progress(source, models, days, folder, overwrite=overwrite)
    typer.echo(f"{text}\n\nLeaderboard: {folder / 'leaderboard.html'}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the new scenario folder.")],
    template: Annotated[str, typer.Option(help="Packaged scenario to start from.")] = "suburb_day_ahead",
) -> None:
    """Copy a packaged, commented scenario to start from."""
    import shutil

    target, source = Path(name), _packaged(template)
    if target.exists():
        raise GridtwinError(
            [Finding("the folder exists already", where=str(target), do="Choose another name.", severity="error")]
        )
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    typer.echo(f"{target / 'scenario.toml'} is yours to change. Then: gridtwin run {target}")


@app.command()
def schema() -> None:
    """Print the JSON schema of scenario.toml, for editors."""
    from gridtwin.scenario import Scenario

    typer.echo(json.dumps(Scenario.model_json_schema(), indent=2))


@energy_app.command("run", context_settings={"allow_interspersed_args": False})
def energy_run(
    command: Annotated[list[str], typer.Argument(help="Program and its arguments, after --.")],
    job: Annotated[str | None, typer.Option(help="Name in the statement. Default: the program's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the statement as JSON.")] = None,
    every: Annotated[float | None, typer.Option(min=0.05, help="Keep the energy of periods this long. [s]")] = None,
    samples: Annotated[Path | None, typer.Option(help="Write the periods as CSV instead of into the JSON.")] = None,
    board: Annotated[list[int] | None, typer.Option(help="Accelerator board that it uses. Default: all.")] = None,
) -> None:
    """Run a command and tell what energy it took, its child processes included."""
    from gridtwin.ai_energy.run_command import run_command

    if samples is not None and every is None:
        raise GridtwinError([Finding("--samples needs a length of the periods", do="Add --every 1.", severity="error")])
    try:
        statement = run_command(command, job=job, every_seconds=every, boards=board)
    except OSError as error:
        _complain(f"{command[0]}: {error.strerror or error}")
        raise typer.Exit(127 if isinstance(error, FileNotFoundError) else 126) from None
    from gridtwin.ai_energy.run_statement import run_text, write_run

    write_run(statement, out, samples)
    typer.echo(run_text(statement), err=True)
    raise typer.Exit(statement.exit_code)


@energy_app.command("probe")
def energy_probe(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say before a run how well its energy can be known on this machine, and why not better."""
    from gridtwin.ai_energy.probe import probe_machine, probe_text

    outlook = probe_machine()
    typer.echo(outlook.model_dump_json(indent=2) if as_json else probe_text(outlook))


@energy_app.command("check")
def energy_check(
    statement: Annotated[Path, typer.Argument(help="A statement, as JSON.")],
    rules: Annotated[str, typer.Option(help="Name of a rule set, or the path of an own one.")] = "gpai_form",
) -> None:
    """Check a statement against rules for reporting energy; exit with 1 if something is missing."""
    from gridtwin.ai_energy.rule_check import check_statement_file

    text, complete = check_statement_file(statement, rules)
    typer.echo(text)
    raise typer.Exit(0 if complete else 1)


@energy_app.command("report")
def energy_report(
    statement: Annotated[Path, typer.Argument(help="A statement as JSON, or a CSV of CodeCarbon.")],
    out: Annotated[Path, typer.Option(help="File to write: .html, .md, .json, .yaml or .csv.")] = Path("energy.html"),
    form: Annotated[
        str | None,
        typer.Option(help="html, markdown, json, boamps, spdx, model-card or documentation-form. Default: by ending."),
    ] = None,
    rules: Annotated[list[str] | None, typer.Option(help="Rule sets that it is checked against on the page.")] = None,
) -> None:
    """Write a statement as a page, as text, or in the form of others."""
    from gridtwin.report.statement_files import read_any_statement, write_statement

    typer.echo(f"Written: {write_statement(read_any_statement(statement), out, form, rules or ())}")


@energy_app.command("schema")
def energy_schema() -> None:
    """Print the JSON schema of an energy statement."""
    from gridtwin.ai_energy.statement_schema import schema_json

    typer.echo(schema_json())


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"gridtwin {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: errors become one clear message and an exit code."""
    try:
        app()
    except GridtwinError as error:
        _complain(str(error))
        sys.exit(3 if isinstance(error, ConvergenceError | InfeasibleError) else 2)


def _complain(text: str) -> None:
    for line in text.splitlines():
        typer.secho(line, err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)


def _read(path: Path) -> ScenarioFile:
    from gridtwin.scenario_file import read_scenario

    return read_scenario(path)


def _packaged(template: str) -> Path:
    folder = PACKAGED if PACKAGED.is_dir() else CHECKOUT
    names = sorted(path.parent.name for path in folder.glob("*/scenario.toml"))
    if template in names:
        return folder / template
    raise GridtwinError(
        [Finding("there is no such packaged scenario", expected=" or ".join(names), got=template, severity="error")]
    )


def _run_with_progress(source: ScenarioFile, folder: Path, *, overwrite: bool) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("loading libraries", total=None)
        from gridtwin.study import STAGES, run_and_write

        bar.update(task, total=len(STAGES) + 1, completed=1)
        advance: Callable[[str], None] = lambda stage: bar.update(  # noqa: E731
            task, description=stage, completed=STAGES.index(stage) + 1
        )
        outcome = run_and_write(source, folder, overwrite=overwrite, progress=advance)
        bar.update(task, completed=len(STAGES) + 1, description="done")
    return outcome


def _backtest_with_progress(
    source: ScenarioFile, models: list[str], days: int, folder: Path, *, overwrite: bool
) -> str:
    from rich.console import Console

    with Console(stderr=True).status("loading libraries") as status:
        from gridtwin.study import backtest_and_write

        return backtest_and_write(source, models, days, folder, overwrite=overwrite, progress=status.update)


if __name__ == "__main__":
    main()
