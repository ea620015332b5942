r"""Energy of a forecast, its skill, and what it saves in the network, each in a ledger of its own.

    energy per forecast   E_train / N + E_inf + E_data      N forecasts made before the next training
    skill                 1 - MAE / MAE of the seasonal naive forecast
    break-even            N* = (E_train,A - E_train,B) / (E_inf,B - E_inf,A)

Savings are an effect of the second order (ITU-T L.1480): they need a counterfactual and are never subtracted from
the energy that was used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridtwin.ai_energy.architectures import Variant
from gridtwin.ai_energy.quantity import Quantity, exact, missing, sum_quantities
from gridtwin.ai_energy.quotient import divide, require_numbers
from gridtwin.errors import DataError, Finding


@dataclass(frozen=True)
class ForecastModel:
    """Energy and error of one forecast model.

    Parameters
    ----------
    family, name : str
        Kind of model, and which one.
    training : Quantity
        Energy of one training, with the search for its settings. Any unit of energy.
    inference, data : Quantity
        Energy of one forecast, and of fetching its data, at the same boundary.
    mae, mae_naive : float
        Mean absolute errors of the model and of the seasonal naive forecast on the same days, in one unit.
    """

    family: str
    name: str
    training: Quantity
    inference: Quantity
    data: Quantity
    mae: float
    mae_naive: float


def forecast_skill(mae: float, mae_naive: float) -> float:
    """Share of the error of the seasonal naive forecast that a model takes away.

    Parameters
    ----------
    mae, mae_naive : float
        Mean absolute errors in one unit.

    Returns
    -------
    float
        1 perfect, 0 as the naive forecast, negative when worse. [-]

    Examples
    --------
    >>> forecast_skill(1.5, 2.0)
    0.25
    """
    require_numbers(at_least=0, mae=mae)
    require_numbers(above=0, mae_naive=mae_naive)
    return 1 - mae / mae_naive


def energy_per_forecast(model: ForecastModel, uses: float) -> Quantity:
    """Energy of one forecast with its share of the training.

    Parameters
    ----------
    model : ForecastModel
        Its energies, all of one boundary.
    uses : float
        N, forecasts between two trainings. [1]

    Returns
    -------
    Quantity
        E_train / N + E_inf + E_data; missing where one of them is. [J]

    Examples
    --------
    >>> say = {"kind": "measured", "method": "meter", "boundary": "node"}
    >>> parts = [exact(joules, "J", **say) for joules in (7300.0, 5.0, 1.0)]
    >>> energy_per_forecast(ForecastModel("trees", "lightgbm", *parts, 1.5, 2.0), 365).p50
    26.0
    """
    require_numbers(above=0, uses=uses)
    training = model.training.to("J").scaled(1 / uses)
    return sum_quantities([training, model.inference.to("J"), model.data.to("J")])


def forecast_variants(models: Sequence[ForecastModel], uses: float) -> list[Variant]:
    """Forecast models for `compare_architectures` and `energy_to_quality`: J per forecast against skill.

    Parameters
    ----------
    models : sequence of ForecastModel
        Of one boundary.
    uses : float
        N, forecasts between two trainings. [1]

    Examples
    --------
    >>> from gridtwin.ai_energy.architectures import compare_architectures, energy_to_quality
    >>> say = {"kind": "measured", "method": "meter", "boundary": "node"}
    >>> cheap = [exact(joules, "J", **say) for joules in (100.0, 1.0, 1.0)]
    >>> dear = [exact(joules, "J", **say) for joules in (10000.0, 5.0, 1.0)]
    >>> models = [ForecastModel("linear", "ridge", *cheap, 1.6, 2.0), ForecastModel("net", "small", *dear, 1.5, 2.0)]
    >>> variants = forecast_variants(models, 100)
    >>> energy_to_quality(variants, 0.22)["net"].p50
    106.0
    >>> bool(compare_architectures(variants)["pareto"].all())
    True
    """
    return [
        Variant(model.family, model.name, energy_per_forecast(model, uses), forecast_skill(model.mae, model.mae_naive))
        for model in models
    ]


def break_even_uses(one: ForecastModel, other: ForecastModel) -> Quantity:
    """Number of forecasts after which the model that is dearer to train and cheaper to use has paid off.

    Parameters
    ----------
    one, other : ForecastModel
        In any order, of one boundary.

    Returns
    -------
    Quantity
        N* = (E_train,A - E_train,B) / (E_use,B - E_use,A), with the energy of data in the use; missing where one
        model is cheaper, or as cheap, in both. From the middles: its ends are N* at both lower and both upper ends
        where those exist. [1]

    Examples
    --------
    >>> say = {"kind": "measured", "method": "meter", "boundary": "node"}
    >>> one, two = ([exact(j, "J", **say) for j in joules] for joules in ((1000.0, 1.0, 1.0), (100.0, 4.0, 1.0)))
    >>> break_even_uses(ForecastModel("a", "a", *one, 1, 2), ForecastModel("b", "b", *two, 1, 2)).p50
    300.0
    """
    uses = [sum_quantities([m.inference.to("J"), m.data.to("J")]) for m in (one, other)]
    trainings = [m.training.to("J") for m in (one, other)]
    sum_quantities([*trainings, *uses])  # raises where boundaries differ
    gone = next((q for q in (*trainings, *uses) if q.is_missing), None)
    if gone is not None:
        return missing("1", reason=gone.method)
    points = [_break_even(trainings, uses, end) for end in ("p2_5", "p50", "p97_5")]
    middle = points[1]
    if middle is None:
        return missing("1", reason="one model is no dearer in training and in use: there is no break-even")
    known = [point for point in points if point is not None]
    ends = {"p2_5": min(known), "p50": middle, "p97_5": max(known)}
    kind = max((q.kind for q in (*trainings, *uses)), key=["measured", "calculated", "estimated", "declared"].index)
    return exact(middle, "1", kind="calculated" if kind == "measured" else kind,
                 method="break-even of training and use").model_copy(update=ends)  # fmt: skip


def _break_even(trainings: Sequence[Quantity], uses: Sequence[Quantity], end: str) -> float | None:
    more_training = getattr(trainings[0], end) - getattr(trainings[1], end)
    less_use = getattr(uses[1], end) - getattr(uses[0], end)
    return more_training / less_use if more_training * less_use > 0 else None


@dataclass(frozen=True)
class SavingsLedger:
    """What a study has saved in the network: a ledger of its own, which no energy is netted with.

    Parameters
    ----------
    study : str
        Which study, by its name or hash.
    saved : Quantity
        Energy that was not lost, curtailed or balanced, at the boundary `system`. Any unit of energy.
    counterfactual : str
        What would have happened otherwise, and how that was computed.
    method : str
        How the interval came about, such as a block bootstrap over days.
    """

    study: str
    saved: Quantity
    counterfactual: str
    method: str

    def __post_init__(self) -> None:
        empty = [name for name in ("study", "counterfactual", "method") if not str(getattr(self, name)).strip()]
        if empty:
            raise DataError([Finding("a saving needs its counterfactual", where=", ".join(empty), got="nothing",
                                     do="Say what would have happened otherwise and how you know.", severity="error",
                                     code="GT-E85")])  # fmt: skip
        if self.saved.boundary != "system":
            raise DataError([Finding("savings are counted in the network", where="saved", expected="boundary system",
                                     got=str(self.saved.boundary), severity="error", code="GT-E86")])  # fmt: skip


def energy_return(savings: SavingsLedger, used: Quantity) -> Quantity:
    """Energy saved in the network per energy of the computing: a ratio, not a balance.

    Parameters
    ----------
    savings : SavingsLedger
        With its counterfactual.
    used : Quantity
        Energy of the forecasts and of the study, at any boundary. Any unit of energy.

    Returns
    -------
    Quantity
        EROC. [1]

    Examples
    --------
    >>> saved = exact(2.0, "MWh", kind="estimated", method="replay", boundary="system")
    >>> ledger = SavingsLedger("suburb", saved, "the same week scheduled by the naive forecast", "block bootstrap")
    >>> energy_return(ledger, exact(10.0, "kWh", kind="estimated", method="processor time", boundary="node")).p50
    200.0
    """
    ratio = divide(savings.saved.to("J"), used.to("J"), "1")
    method = f"saved at boundary system by used at boundary {used.boundary}; against: {savings.counterfactual}"
    return ratio.model_copy(update={"method": f"{method}; {ratio.method}"})
