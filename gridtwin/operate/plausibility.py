"""How likely each number of a network is a slip, from the field and from its neighbours in the tables.

Each number is weighed as it stands against what it would be without the slip. The
logarithm to base 10 of the odds is the sum of

- the prior odds of the slip (`plausible_ranges.toml`),
- log10 f(x - log10 factor) - log10 f(x) with x the logarithm of the value and f the
  density of such values: the field range, counted as `FIELD_WEIGHT` rows, mixed with
  the other rows of the same table and voltage level,
- half of the same difference among rows of the same standard type, and what the
  catalogue of standard types says: 3 for a value a slip away from it, -2 at it,
- the same difference for ratios that say more than the value alone: length over the
  distance of the ends, power over what the bus is built for (a usual line, the
  transformers that end there), over the rated power and over the network's own table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridtwin.data.plausible import PlausibleData, Range, Slip, read_plausible_ranges
from gridtwin.grid.twin import GridTwin

Floats = NDArray[np.float64]
Text = Callable[[int], str]
"""Text about the row at a place of a table."""
COLUMNS = ["element", "index", "parameter", "value", "expected", "slip", "factor", "odds", "why"]
FIELD_WEIGHT = 3.0
"""So many rows of the own network say as much as the field range. [-]"""
KERNEL_WIDTH = 0.2
"""Spread of sound values around each other. [decades]"""
FIELD_SLOPE = 2.5
"""Decades of density lost per decade outside the field range. [-]"""
FIELD_FLOOR = 1e-7
"""Density that is left at any distance. [per decade]"""
LARGEST_TERM = 6.0
"""No single comparison says more than a million to one."""
GEO_SPREAD = 0.15
"""Lengths must follow the coordinates at least this well, as median distance, to be judged by them. [decades]"""
IMPOSSIBLE_ODDS = 5.0
"""Odds of a slip where the value as it stands contradicts physics: vkr above vk."""
LEAST_ODDS = -4.5
"""Odds from which on no other evidence makes a suspect."""
ODDS_PER_DECADE = 8.0
"""Odds of swapped sides per decade of voltage that the swap brings the windings closer to their buses."""
USUAL_LINE_KA = {"lv": 0.25, "mv": 0.3, "hv": 0.6}
"""Rated current of a line where the network gives no plausible ones. [kA]"""
ASSET_SLIPS = (("p_mw", 1000.0, "kW instead of MW", -1.5), ("p_mw", 0.001, "MW divided by 1000 once too often", -3.0))
ASSET_ELEMENTS = ("load", "sgen", "storage", "gen")


def weigh_slips(twin: GridTwin, powers: pd.DataFrame) -> pd.DataFrame:
    """Every slip that is not out of the question, most likely first.

    Parameters
    ----------
    twin : GridTwin
        Its tables are read, nothing is solved.
    powers : DataFrame
        Index: asset name; columns `p_mw`, `q_mvar` in the step of interest. [MW], [Mvar]

    Returns
    -------
    DataFrame
        Columns `COLUMNS`; `odds` is the logarithm to base 10 of the odds of the slip, `factor` the value over
        the mended one.
    """
    data = read_plausible_ranges()
    parts = [*_weigh_tables(twin, data), *_weigh_transformers(twin, data), *_weigh_assets(twin, powers, data)]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    rows = pd.concat(parts, ignore_index=True).sort_values("odds", ascending=False, kind="stable")
    return rows.drop_duplicates(["element", "index", "parameter"]).reset_index(drop=True)


def log_density(x: Floats, own: Floats, centers: Floats, counts: Floats, field: Range) -> Floats:
    """Logarithm of the density of values around the field range and the other rows.

    Parameters
    ----------
    x : ndarray
        Where, as logarithm to base 10. [decades]
    own : ndarray
        Each value's own row, which does not vouch for itself; NaN where there is none. [decades]
    centers, counts : ndarray
        Values of all rows, and how often they stand. [decades], [-]
    field : Range
        Range met in the field, in the unit of the values.

    Returns
    -------
    ndarray
        [log10 per decade]
    """
    low, high = np.log10(field[0]), np.log10(field[1])
    outside = np.maximum(np.maximum(low - x, x - high), 0.0)
    in_field = np.maximum(10 ** (-FIELD_SLOPE * outside) / (high - low), FIELD_FLOOR)
    near = _kernel(x[:, None] - centers[None, :]) @ counts - np.where(np.isfinite(own), _kernel(x - own), 0.0)
    weight = FIELD_WEIGHT + counts.sum() - np.isfinite(own)
    density: Floats = np.log10((FIELD_WEIGHT * in_field + np.maximum(near, 0.0)) / np.maximum(weight, FIELD_WEIGHT))
    return density


def _kernel(distance: Floats) -> Floats:
    bell: Floats = np.exp(-0.5 * (np.nan_to_num(distance, nan=99.0) / KERNEL_WIDTH) ** 2)
    density: Floats = bell / (KERNEL_WIDTH * np.sqrt(2 * np.pi))
    return density


def _compare(values: pd.Series, factor: float, groups: pd.Series, fields: dict[str, Range]) -> Floats:
    """Density of the mended over that of the given value, by group; 0 where nothing can be said."""
    result = np.zeros(len(values))
    x = np.log10(values.abs().where(values.abs() > 0).to_numpy(dtype=float))
    for group, places in groups.reset_index(drop=True).groupby(groups.to_numpy()).groups.items():
        rows = places.to_numpy()[np.isfinite(x[places])]
        # Two decimals are far finer than the kernel and leave few centers even of thousands of rows.
        centers, counts = np.unique(x[rows].round(2), return_counts=True)
        terms = (centers, counts.astype(float), fields[str(group)])
        own = x[rows].round(2)
        mended = log_density(x[rows] - np.log10(factor), own, *terms)
        result[rows] = mended - log_density(x[rows], own, *terms)
    return np.clip(result, -LARGEST_TERM, LARGEST_TERM)


def _rows(table: pd.DataFrame, slip: Slip, values: pd.Series, odds: Floats, expected: Text, why: Text) -> pd.DataFrame:
    """Rows of one slip that are not out of the question; texts are written for these alone."""
    kept = [int(row) for row in np.flatnonzero(odds > LEAST_ODDS)]
    frame = pd.DataFrame(
        {
            "element": slip.element,
            "index": table.index.to_numpy()[kept],
            "parameter": slip.parameter,
            "value": values.to_numpy()[kept],
            "expected": [expected(row) for row in kept],
            "slip": slip.name,
            "factor": slip.factor,
            "odds": odds[kept],
            "why": [why(row) for row in kept],
        }
    )
    return frame


# Lines and transformers -------------------------------------------------------------------------


def _weigh_tables(twin: GridTwin, data: PlausibleData) -> Iterator[pd.DataFrame]:
    """Slips by a factor in the tables of lines and transformers."""
    for slip in data.slips:
        table = _in_service(twin.net[slip.element])
        if not len(table):
            continue
        values = numbers_of(table, slip.parameter)
        levels = pd.Series(data.levels_of(_lower_voltage(twin, slip.element, table)), index=table.index)
        fields = {level: data.range_of(f"{slip.element}.{slip.parameter}", level) for level in levels.unique()}
        ratio = _compare(values, slip.factor, levels, fields)
        ratio = _mix_standard_types(twin, slip, table, values, ratio)
        if slip.parameter == "length_km":
            ratio = ratio + _compare_with_coordinates(twin, table, values, slip.factor)
        odds = np.where(values.abs() > 0, slip.odds + ratio, -99.0)
        yield _rows(table, slip, values, odds, *_texts_by_level(values, levels, fields))


def _texts_by_level(values: pd.Series, levels: pd.Series, fields: dict[str, Range]) -> tuple[Text, Text]:
    level, value = levels.to_numpy(), values.to_numpy()
    usual = values.groupby(levels).median()
    return (
        lambda row: _range_text(fields[level[row]]),
        lambda row: f"is {value[row]:.4g} where the median of the {level[row]} rows is {usual[level[row]]:.4g}",
    )


def _mix_standard_types(twin: GridTwin, slip: Slip, table: pd.DataFrame, values: pd.Series, ratio: Floats) -> Floats:
    """Add what rows and catalogue entry of the same standard type say; a length is no matter of the type."""
    if slip.parameter == "length_km" or "std_type" not in table:
        return ratio
    types = table["std_type"].where(table["std_type"].notna(), "").astype(str)
    catalogue = twin.net["std_types"].get(slip.element, {})
    listed = types.map(lambda name: float(catalogue.get(name, {}).get(slip.parameter, np.nan) or np.nan))
    # Against the catalogue: at the listed value a slip is out of the question, a factor away it is nearly certain.
    away = np.log10((values.abs() / listed.abs()).where(values.abs() > 0).to_numpy(dtype=float))
    at_slip = np.abs(away - np.log10(slip.factor)) < KERNEL_WIDTH
    at_value = np.abs(away) < KERNEL_WIDTH
    several = (types != "").to_numpy() & (types.map(types.value_counts()).to_numpy() > 2)
    by_type = np.zeros(len(table))
    if several.any():
        anything = {name: (1e-4, 1e4) for name in types.unique()}
        by_type = np.where(several, _compare(values, slip.factor, types, anything) / 2, 0.0)
    return ratio + by_type + np.where(at_slip, 3.0, 0.0) - np.where(at_value, 2.0, 0.0)


def _compare_with_coordinates(twin: GridTwin, table: pd.DataFrame, values: pd.Series, factor: float) -> Floats:
    """Length over the distance of the ends, where the lengths follow the coordinates at all."""
    places = twin.buses.set_index("index")[["x", "y"]]
    start, end = places.reindex(table["from_bus"]).to_numpy(), places.reindex(table["to_bus"]).to_numpy()
    distance = np.hypot(*(end - start).T)
    ratio = (values / distance).where((distance > 0) & (values > 0))
    x = np.log10(ratio)
    if x.count() < 10 or (x - x.median()).abs().median() > GEO_SPREAD:
        return np.zeros(len(table))
    middle = 10 ** x.median()
    groups = pd.Series("all", index=table.index)
    return np.clip(_compare(ratio, factor, groups, {"all": (middle / 30, middle * 30)}), -3.0, 3.0)


def _weigh_transformers(twin: GridTwin, data: PlausibleData) -> Iterator[pd.DataFrame]:
    table = _in_service(twin.net["trafo"])
    if not len(table):
        return
    vk, vkr = numbers_of(table, "vk_percent"), numbers_of(table, "vkr_percent")
    slip = Slip("trafo", "vk_percent/vkr_percent", 1.0, "vk and vkr swapped", 0.0)
    odds = np.where((vkr > vk) & (vkr > 0), IMPOSSIBLE_ODDS, -99.0)
    k, r = vk.to_numpy(), vkr.to_numpy()
    yield _rows(
        table,
        slip,
        vkr,
        odds,
        lambda row: "vkr below vk",
        lambda row: f"hold vkr {r[row]:g} % above vk {k[row]:g} %, a part above the whole",
    )
    yield _weigh_sides(twin, table)


def _weigh_sides(twin: GridTwin, table: pd.DataFrame) -> pd.DataFrame:
    """Windings against the nominal voltages of their buses, as they stand and the other way round."""
    hv, lv = _voltage_at(twin, table["hv_bus"]), _voltage_at(twin, table["lv_bus"])
    vn_hv, vn_lv = numbers_of(table, "vn_hv_kv").to_numpy(), numbers_of(table, "vn_lv_kv").to_numpy()
    given = np.abs(np.log10(vn_hv / hv)) + np.abs(np.log10(vn_lv / lv))
    swapped = np.abs(np.log10(vn_hv / lv)) + np.abs(np.log10(vn_lv / hv))
    odds = np.minimum(ODDS_PER_DECADE * (given - swapped) - 1.0, LARGEST_TERM)
    odds = np.where(swapped < given, odds, -99.0)
    return _rows(
        table,
        Slip("trafo", "hv_bus/lv_bus", 1.0, "sides swapped", 0.0),
        table["hv_bus"],
        odds,
        lambda row: f"hv_bus of about {vn_hv[row]:g} kV",
        lambda row: f"put windings of {vn_hv[row]:g} and {vn_lv[row]:g} kV at buses of {hv[row]:g} and {lv[row]:g} kV",
    )


# Assets -----------------------------------------------------------------------------------------


def _weigh_assets(twin: GridTwin, powers: pd.DataFrame, data: PlausibleData) -> Iterator[pd.DataFrame]:
    """Powers of the step against their peers, a usual line, the rating and the network's own table."""
    assets = twin.assets.join(powers)
    vn_kv = twin.buses["vn_kv"].reindex(assets["bus"]).to_numpy()
    assets["level"], assets["size_mw"] = data.levels_of(vn_kv), assets["p_mw"].abs()
    line_mva = np.sqrt(3) * vn_kv * assets["level"].map(_usual_lines(twin, data)).to_numpy()
    at_bus = twin.buses["index"].reindex(assets["bus"]).map(_transformers_at(twin)).fillna(0.0)
    assets["built_mva"] = np.fmax(line_mva, at_bus.to_numpy())
    for element in ASSET_ELEMENTS:
        rows = assets[(assets["element"] == element) & _serves(twin, assets)]
        if len(rows):
            yield from _weigh_kind(twin, element, rows, data)


def _weigh_kind(twin: GridTwin, element: str, rows: pd.DataFrame, data: PlausibleData) -> Iterator[pd.DataFrame]:
    table = twin.net[element].loc[rows["index"]]
    fields = {level: data.range_of(f"{element}.p_mw", level) for level in rows["level"].unique()}
    everywhere = pd.Series("all", index=rows.index)
    rated = numbers_of(table, "sn_mva").set_axis(rows.index)
    own = (numbers_of(table, "p_mw") * numbers_of(table, "scaling").fillna(1.0)).abs().set_axis(rows.index)
    for parameter, factor, name, prior in ASSET_SLIPS:
        odds = prior + _compare(rows["size_mw"], factor, rows["level"], fields)
        for level, at_level in rows.groupby("level"):
            field = data.range_of("ratio.power_to_bus", str(level))
            places = (rows["level"] == level).to_numpy()
            odds[places] += _field_only(at_level["size_mw"] / at_level["built_mva"], factor, field)
        if factor > 1:  # A small share of the rating is what every asset has at some hour.
            odds += _field_only(rows["size_mw"] / rated, factor, data.range_of("ratio.power_to_rated", ""))
        odds += _field_only(rows["p_mw"].abs() / own, factor, data.range_of("ratio.power_to_table", ""))
        odds = np.where(rows["size_mw"] > 0, odds, -99.0)
        slip = Slip(element, parameter, factor, name, prior)
        yield _rows(table, slip, rows["p_mw"], odds, *_texts_of_powers(rows, fields))
    ratio = (rows["q_mvar"] / rows["p_mw"].where(rows["p_mw"] != 0)).abs()
    field = data.range_of("ratio.reactive_to_active", "")
    odds = np.where(ratio.gt(field[1]), -1.5 + _compare(ratio, 1000.0, everywhere, {"all": field}), -99.0)
    slip = Slip(element, "q_mvar", 1000.0, "kvar instead of Mvar", -1.5)
    shares = ratio.to_numpy()
    yield _rows(
        table,
        slip,
        rows["q_mvar"],
        odds,
        lambda row: f"|q/p| of {_range_text(field)}",
        lambda row: f"is {shares[row]:.4g} times p",
    )


def _texts_of_powers(rows: pd.DataFrame, fields: dict[str, Range]) -> tuple[Text, Text]:
    usual = rows["size_mw"].groupby(rows["level"]).median()
    level, size_mw, built_mva = (rows[name].to_numpy() for name in ("level", "size_mw", "built_mva"))
    return (
        lambda row: _range_text(fields[level[row]]),
        lambda row: (
            f"gives {size_mw[row]:.4g} MW where the median of its peers is {usual[level[row]]:.4g} MW"
            f" and such a bus is built for about {built_mva[row]:.3g} MVA"
        ),
    )


def _field_only(ratio: pd.Series, factor: float, field: Range) -> Floats:
    """The field range alone: rows of a ratio would repeat what the rows of the value say."""
    none = np.zeros(0)
    x = np.log10(ratio.where((ratio > 0) & np.isfinite(ratio)).to_numpy(dtype=float))
    gap = np.full(len(x), np.nan)
    terms = log_density(x - np.log10(factor), gap, none, none, field) - log_density(x, gap, none, none, field)
    return np.nan_to_num(np.clip(terms, -3.0, 3.0), nan=0.0)


def _usual_lines(twin: GridTwin, data: PlausibleData) -> dict[str, float]:
    """Median rated current of the lines of each level, where it is plausible. [kA]"""
    table = _in_service(twin.net["line"])
    levels = data.levels_of(_lower_voltage(twin, "line", table))
    medians = numbers_of(table, "max_i_ka").groupby(levels).median()
    usual = dict(USUAL_LINE_KA)
    for level, i_ka in medians.items():
        low, high = data.range_of("line.max_i_ka", str(level))
        if low <= i_ka <= high:
            usual[str(level)] = float(i_ka)
    return usual


def _transformers_at(twin: GridTwin) -> dict[int, float]:
    """Rated power of all transformers at each bus that has any. [MVA]"""
    table = _in_service(twin.net["trafo"])
    rated = numbers_of(table, "sn_mva") * numbers_of(table, "parallel").fillna(1.0)
    ends = pd.concat([rated.set_axis(table[side].to_numpy()) for side in ("hv_bus", "lv_bus")])
    totals = ends.groupby(level=0).sum()
    return dict(zip(totals.index.to_list(), totals.to_list(), strict=True))


def _serves(twin: GridTwin, assets: pd.DataFrame) -> NDArray[np.bool_]:
    pairs = zip(assets["element"], assets["index"], strict=True)
    return np.array([bool(twin.net[element].at[index, "in_service"]) for element, index in pairs], dtype=bool)


def numbers_of(table: pd.DataFrame, name: str) -> pd.Series:
    """Column as floats, NaN where the column or a value is missing."""
    if name not in table:
        return pd.Series(np.nan, index=table.index)
    return pd.to_numeric(table[name], errors="coerce").astype(float)


def _in_service(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["in_service"].astype(bool)]


def _voltage_at(twin: GridTwin, buses: pd.Series) -> Floats:
    vn_kv: Floats = twin.net["bus"]["vn_kv"].reindex(buses.to_numpy()).to_numpy(dtype=float)
    return vn_kv


def _lower_voltage(twin: GridTwin, element: str, table: pd.DataFrame) -> Floats:
    """Nominal voltage of a line, and of a transformer's lower side, whichever way round it stands. [kV]"""
    start, end = ("from_bus", "to_bus") if element == "line" else ("hv_bus", "lv_bus")
    return np.minimum(_voltage_at(twin, table[start]), _voltage_at(twin, table[end]))


def _range_text(field: Range) -> str:
    return f"{field[0]:g} to {field[1]:g}"
