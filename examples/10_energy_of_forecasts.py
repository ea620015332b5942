"""Two families of forecast models on one feeder: what each takes, how good it is, and which is worth it."""

import datetime as dt

import gridtwin as gt
from gridtwin.ai_energy.architectures import Variant, compare_architectures, energy_ratio, energy_to_quality
from gridtwin.ai_energy.forecast_value import forecast_skill
from gridtwin.grid.simbench import read_simbench
from gridtwin.report.ai_energy_figures import energy_quality_figure
from gridtwin.scenario import Forecast

net, profiles, _ = read_simbench("1-LV-rural1--2-sw")
rated = gt.build_twin(net, rules=gt.read_rules("lv_planning")).assets["p_rated_mw"]
days = [dt.date(2016, 11, 16), dt.date(2016, 11, 17)]


def predict(model, history_days):
    settings = Forecast(model=model, history_days=history_days, calibration_days=14, paths=20)
    return gt.forecast(profiles, days, settings, issue=dt.time(12), seed=1, installed_mw=rated)


predict("SKLearnModel", 30)  # what is loaded once belongs to no model
variants = []
for model, family in (("SKLearnModel", "ridge"), ("LightGBMModel", "trees")):
    for history_days in (30, 60, 120):
        with gt.measure_energy(f"{family}, {history_days} days") as measured:
            predicted = predict(model, history_days)
        scores = gt.score_forecast(predicted, profiles.sel(time=predicted["time"]))
        total = scores[scores["level"] == "total"].iloc[0]
        skill = forecast_skill(total["mae_mw"], total["mae_naive_mw"])
        variants.append(Variant(family, f"{history_days} days", measured.energy, skill))

table = compare_architectures(variants)
print(table[["family", "name", "energy_p50", "quality", "kind", "pareto"]].round(3).to_string())
wanted = min(max(v.quality for v in variants if v.family == family) for family in ("ridge", "trees"))
ratio = energy_ratio(energy_to_quality(variants, wanted), "trees", "ridge")
print(f"to reach a skill of {wanted:.2f} trees take {ratio.p50:.1f} times the energy of ridge")
energy_quality_figure(table, quality="Skill against the seasonal naive").write_html("energy_quality.html")
