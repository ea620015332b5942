"""Which model to take? The leaderboard by skill, and by what acting on each forecast costs the network."""

import datetime as dt
from pathlib import Path

import gridtwin as gt
from gridtwin.report.leaderboard import build_leaderboard
from gridtwin.study import read_study_inputs

source = gt.read_scenario(Path(__file__).parent.parent / "scenarios" / "village_pv" / "scenario.toml")
scenario = source.scenario
inputs = read_study_inputs(source)
first, count = scenario.time.first_day, scenario.time.days
days = [first + dt.timedelta(days=k) for k in range(count)]

# the same days forecast by each model, as issued the day before
tested = gt.backtest(
    inputs.profiles, days, ["DayAheadRidge", "SKLearnModel"],
    scenario.forecast.model_copy(update={"paths": 20}), issue=scenario.time.issue, seed=scenario.seed,
    installed_mw=inputs.twin.assets["p_rated_mw"], weather=inputs.forecast_weather, given=inputs.given_forecasts,
    keep_forecasts=True,
)  # fmt: skip

# each forecast makes its own schedule of batteries, PV and heat pumps, which is lived in the same reality
money = gt.value_forecasts(
    inputs.twin, tested.forecasts, inputs.profiles, prices=inputs.prices, declared=inputs.declared,
    sessions=inputs.realised, flexibility=scenario.flexibility, balancing=scenario.balancing, jobs=inputs.jobs,
)  # fmt: skip
scores = {str(model): rows for model, rows in tested.scores.query("day_type == 'all'").groupby("model", sort=False)}
board = build_leaderboard(scores, ledgers=tested.ledgers, money=money)

print(f"{source.name}: {count} days from {first}; perfect foresight "
      f"costs {money.attrs['perfect_foresight']['schedule_eur']:.2f} EUR")  # fmt: skip
print("by skill against the seasonal naive:")
print(board[["skill_percent", "crps_mw", "seconds"]].round(4).to_string())
print("by grid money, beyond perfect foresight:")
columns = ["total_eur", "regret_eur", "imbalance_eur", "breach_eur", "missed_overload_mwh", "needless_dimming_mwh"]
print(board.sort_values("total_eur", kind="stable")[columns].round(3).to_string())
leader, chosen = board.index[0], gt.choose_model(money)
same = "the same model" if leader == chosen else "not the same model"
print(f"Skill would take {leader}, the network {chosen}: {same}.")
price = scenario.flexibility.breach_price_eur_per_kwh
print(f"A kWh beyond a limit counts {price:g} EUR: over {count} days a few of them decide, so choose over more days.")
