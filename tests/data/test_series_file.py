"""Series files: zone, label, unit and sign as declared, energy kept, every fault told with its place."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridtwin.data.profile_files import read_profile_files
from gridtwin.data.series_file import read_feeder_head, read_prices, read_series, read_weather
from gridtwin.errors import DataError
from gridtwin.scenario import ProfileFile, SeriesFile
from gridtwin.time_axis import TimeAxis

ZONE = "Europe/Berlin"
SUMMER = TimeAxis.of_days(dt.date(2016, 7, 1), 1, ZONE)


def write(folder: Path, times, columns: dict, name: str = "series.csv") -> None:
    table = pd.DataFrame({"time": times, **columns})
    if name.endswith(".parquet"):
        table.to_parquet(folder / name)
    else:
        table.to_csv(folder / name, index=False)


def section(**changes) -> SeriesFile:
    return SeriesFile(**{"file": "series.csv", "unit": "kW", **changes})


def refusal(read) -> str:
    with pytest.raises(DataError) as caught:
        read()
    assert caught.value.findings[0].code.startswith("GT-D")
    return str(caught.value)


# ---- unit and sign


@pytest.mark.parametrize(
    ("unit", "value", "p_mw"),
    [
        ("MW", 0.012, 0.012),
        ("kW", 12.0, 0.012),
        ("kWh", 3.0, 0.012),  # 3 kWh in a quarter hour is 12 kW
        ("MWh", 0.003, 0.012),
    ],
)
@pytest.mark.parametrize(("sign", "factor"), [("consumption", 1), ("generation", -1)])
def test_power_and_energy_become_mw_of_consumption(tmp_path, unit, value, p_mw, sign, factor) -> None:
    write(tmp_path, SUMMER.times, {"p": value})
    read = read_series(section(unit=unit, sign=sign), SUMMER, tmp_path)
    np.testing.assert_allclose(read.values["p"], factor * p_mw, rtol=1e-12)


@pytest.mark.parametrize(("unit", "value"), [("EUR/MWh", 85.0), ("EUR/kWh", 0.085), ("ct/kWh", 8.5)])
def test_prices_become_eur_per_mwh(tmp_path, unit, value) -> None:
    write(tmp_path, SUMMER.times, {"price": value})
    prices = read_prices(section(unit=unit, sign="generation", kind="assumed"), SUMMER, tmp_path)
    np.testing.assert_allclose(prices["price_eur_per_mwh"], 85.0, rtol=1e-12)  # a price has no side
    assert prices.attrs["kind"] == "assumed" and prices["price_eur_per_mwh"].attrs["units"] == "EUR/MWh"


@pytest.mark.parametrize(
    ("unit", "words"), [("", "not declared"), ("kw", "Did you mean kW"), ("EUR/MWh", "kW, MWh, kWh")]
)
def test_a_unit_is_needed_and_must_fit(tmp_path, unit, words) -> None:
    write(tmp_path, SUMMER.times, {"p": 1.0})
    assert words in refusal(lambda: read_feeder_head(section(unit=unit), tmp_path))


# ---- time


@pytest.mark.parametrize("day", [dt.date(2016, 3, 27), dt.date(2016, 7, 1), dt.date(2016, 10, 30)])
@pytest.mark.parametrize("label", ["start", "end"])
@pytest.mark.parametrize("minutes", [15, 60])
def test_local_stamps_keep_the_energy_of_every_day(tmp_path, day, label, minutes) -> None:
    axis = TimeAxis.of_days(day, 1, ZONE)
    around = TimeAxis.of_days(day - dt.timedelta(days=1), 3, ZONE, pd.Timedelta(minutes=minutes))
    energy_kwh = np.random.default_rng(3).uniform(1, 2, around.length)
    stamps = around.local_times + (around.step if label == "end" else pd.Timedelta(0))
    write(tmp_path, stamps.tz_localize(None), {"p": energy_kwh})
    read = read_series(section(unit="kWh", zone=ZONE, label=label), axis, tmp_path)
    inside = np.isin(around.local_times.date, [day])
    assert len(read.values) == axis.length
    # sums of a hundred values of size 1e-3 MWh: a few units of the last digit
    assert read.values["p"].sum() / 4 == pytest.approx(energy_kwh[inside].sum() / 1000, rel=1e-12)


def test_stamps_with_an_offset_need_no_zone(tmp_path) -> None:
    write(tmp_path, [stamp.isoformat() for stamp in SUMMER.local_times], {"p": np.arange(96.0)})
    read = read_series(section(zone="America/New_York"), SUMMER, tmp_path)
    np.testing.assert_allclose(read.values["p"], np.arange(96) / 1000)


def test_parquet_reads_like_csv(tmp_path) -> None:
    values = np.random.default_rng(5).normal(size=96)
    write(tmp_path, SUMMER.times, {"p": values}, "series.parquet")
    pd.DataFrame({"p": values}, index=SUMMER.times).to_parquet(tmp_path / "indexed.parquet")
    write(tmp_path, SUMMER.times, {"p": values})
    frames = [
        read_series(section(file=name), SUMMER, tmp_path).values
        for name in ("series.csv", "series.parquet", "indexed.parquet")
    ]
    for frame in frames[1:]:
        # text keeps 17 digits: the last may differ
        pd.testing.assert_frame_equal(frames[0], frame, check_freq=False, rtol=1e-15)


def test_semicolons_and_a_byte_order_mark_are_read(tmp_path) -> None:
    rows = "\n".join(f"{time};1.5" for time in SUMMER.times)
    (tmp_path / "series.csv").write_text(f'time;"house, north"\n{rows}\n', encoding="utf-8-sig")
    assert (read_series(section(), SUMMER, tmp_path).values["house, north"] == 0.0015).all()


def test_hourly_prices_hold_over_their_hour(tmp_path) -> None:
    hours = TimeAxis.of_days(dt.date(2016, 10, 30), 1, ZONE, pd.Timedelta(hours=1))
    axis = TimeAxis.of_days(dt.date(2016, 10, 30), 1, ZONE)
    write(tmp_path, hours.times, {"price": np.arange(25.0) - 5})  # 25 hours, some negative
    prices = read_prices(section(unit="EUR/MWh"), axis, tmp_path)["price_eur_per_mwh"]
    np.testing.assert_array_equal(prices, np.repeat(np.arange(25.0) - 5, 4))


def test_temperature_runs_straight_between_the_centres_of_the_hours(tmp_path) -> None:
    hours = pd.date_range("2016-06-30 21:00", periods=26, freq="h")
    write(tmp_path, hours, {"temperature": np.arange(26.0)})
    read = read_weather(section(unit="degC"), SUMMER, tmp_path)["temperature_celsius"].to_numpy()
    # the hour from 22:00 is 1 degree in its middle, 22:30; the first quarter, centred at 22:07:30, lies 22.5 min before
    assert read[0] == pytest.approx(1 - 22.5 / 60)
    np.testing.assert_allclose(np.diff(read), 0.25)
    assert read[:4].mean() == pytest.approx(1.0)  # a straight line keeps the mean of the hour


def test_finer_files_are_averaged(tmp_path) -> None:
    times = pd.date_range(SUMMER.start, SUMMER.end, freq="5min", inclusive="left")
    values = np.random.default_rng(6).uniform(size=len(times))
    write(tmp_path, times, {"p": values})
    read = read_series(section(unit="MW"), SUMMER, tmp_path).values["p"]
    np.testing.assert_allclose(read, values.reshape(-1, 3).mean(axis=1), rtol=1e-12)


def test_steps_that_tear_intervals_apart_are_refused(tmp_path) -> None:
    write(tmp_path, pd.date_range("2016-06-30 20:00", periods=200, freq="10min"), {"p": 1.0})
    assert "do not fit" in refusal(lambda: read_series(section(), SUMMER, tmp_path))
    write(tmp_path, pd.date_range("2016-06-30 20:05", periods=200, freq="15min"), {"p": 1.0})
    assert "do not fit" in refusal(lambda: read_series(section(), SUMMER, tmp_path))


@pytest.mark.parametrize(
    ("first", "last", "missing"),
    [
        ("2016-06-30 22:15", "2016-07-02", "2016-06-30 22:00"),
        ("2016-06-30", "2016-07-01 21:30", "2016-07-01 21:45"),
        ("2016-01-01", "2016-01-02", "2016-06-30 22:00"),
    ],
)
def test_the_first_missing_stamp_is_told(tmp_path, first, last, missing) -> None:
    write(tmp_path, pd.date_range(first, last, freq="15min"), {"p": 1.0})
    assert f"{missing}:00 UTC is missing" in refusal(lambda: read_series(section(), SUMMER, tmp_path))


# ---- rows that are out of order, double or missing


def test_unsorted_rows_are_sorted_and_told(tmp_path) -> None:
    values = np.arange(96.0)
    order = np.random.default_rng(4).permutation(96)
    write(tmp_path, SUMMER.times[order], {"p": values[order]})
    read = read_series(section(unit="MW"), SUMMER, tmp_path)
    np.testing.assert_array_equal(read.values["p"], values)
    assert [finding.code for finding in read.findings] == ["GT-D04"]


def test_equal_repeats_are_dropped_and_unequal_ones_refused(tmp_path) -> None:
    times = SUMMER.times.append(SUMMER.times[5:6])
    write(tmp_path, times, {"p": 1.0})
    assert len(read_series(section(), SUMMER, tmp_path).values) == 96
    write(tmp_path, times, {"p": [1.0] * 96 + [2.0]})
    assert f"first {SUMMER.times[5]} UTC" in refusal(lambda: read_series(section(), SUMMER, tmp_path))


@pytest.mark.parametrize("absent", ["empty cells", "no rows"])
def test_short_gaps_are_interpolated_with_a_quality_code(tmp_path, absent) -> None:
    values = np.arange(96.0)
    if absent == "empty cells":
        values[10:14] = np.nan
        write(tmp_path, SUMMER.times, {"p": values})
    else:
        write(tmp_path, SUMMER.times.delete(range(10, 14)), {"p": np.delete(values, range(10, 14))})
    read = read_series(section(unit="MW"), SUMMER, tmp_path)
    np.testing.assert_allclose(read.values["p"], np.arange(96.0))
    assert (np.flatnonzero(read.quality["p"] == 1) == [10, 11, 12, 13]).all()
    assert "4 missing values are interpolated" in str(read.findings[0])


def test_long_gaps_of_power_take_the_same_weekday(tmp_path) -> None:
    times = pd.date_range(SUMMER.start - pd.Timedelta(days=7), SUMMER.end, freq="15min", inclusive="left")
    values = np.arange(float(len(times)))
    values[-50:-40] = np.nan
    write(tmp_path, times, {"p": values})
    read = read_series(section(unit="MW"), SUMMER, tmp_path)
    np.testing.assert_allclose(read.values["p"].iloc[-50:-40], np.arange(len(times))[-50:-40] - 7 * 96)
    assert (read.quality["p"].iloc[-50:-40] == 2).all()


def test_long_gaps_of_prices_and_large_shares_are_refused(tmp_path) -> None:
    values = np.full(96, 50.0)
    values[10:15] = np.nan
    write(tmp_path, SUMMER.times, {"p": values})
    read = lambda: read_prices(section(unit="EUR/MWh"), SUMMER, tmp_path)  # noqa: E731
    assert f"first missing at {SUMMER.times[10]} UTC" in refusal(read)
    values[10:40] = np.nan
    write(tmp_path, SUMMER.times, {"p": values})
    assert "at most 20%" in refusal(read)


def test_gaps_outside_the_axis_do_no_harm(tmp_path) -> None:
    times = pd.date_range("2016-06-29", "2016-07-03", freq="15min")
    values = np.where(times < SUMMER.start - pd.Timedelta(hours=3), np.nan, 1.0)
    write(tmp_path, times, {"p": values})
    read = read_prices(section(unit="EUR/MWh"), SUMMER, tmp_path)
    assert (read["price_eur_per_mwh"] == 1.0).all() and read.attrs["findings"] == ()


def test_infinite_values_are_missing(tmp_path) -> None:
    values = np.full(96, 2.0)
    values[7] = np.inf
    write(tmp_path, SUMMER.times, {"p": values})
    read = read_series(section(unit="MW"), SUMMER, tmp_path)
    assert (read.values["p"] == 2.0).all() and read.quality["p"].iloc[7] == 1


# ---- files that cannot be read


def test_a_missing_file_names_its_neighbour(tmp_path) -> None:
    write(tmp_path, SUMMER.times, {"p": 1.0})
    assert "expected series.csv" in refusal(lambda: read_series(section(file="serie.csv"), SUMMER, tmp_path))


def test_a_missing_column_lists_those_there_are(tmp_path) -> None:
    write(tmp_path, SUMMER.times, {"p": 1.0, "q": 0.0})
    text = refusal(lambda: read_series(section(time_column="tine"), SUMMER, tmp_path))
    assert "got time, p, q" in text and "Did you mean time?" in text
    assert "expected price" in refusal(lambda: read_prices(section(unit="EUR/MWh"), SUMMER, tmp_path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("time,p\n", "no rows"),
        ("time,p\n2016-07-01 00:00,1,5\n2016-07-01 00:15,2,5\n", "Decimal commas"),
        ("time;p\n2016-07-01 00:00;1,5\n2016-07-01 00:15;2,5\n", "decimal points instead of commas"),
        ("time,p\n2016-07-01 00:00,1\n2016-07-01 00:15,many\n", "line 3, column p"),
        ("time,p\n2016-07-01 00:00,1\nyesterday,2\n", "line 3, column time"),
        ("time,p,p\n2016-07-01 00:00,1,2\n", "a column stands twice"),
        ("time,p\n2016-07-01 00:00,1\n", "the step is unknown"),
        ("time,p\n2016-07-01 00:00,1\n2016-07-01 00:15,1\n2016-07-01 00:30,1\n2016-07-01 00:40,1\n", "00:40:00 UTC"),
        ("time,p\n2016-07-01 00:00,\x001\n", ""),
    ],
)
def test_a_broken_csv_is_refused_with_its_place(tmp_path, text, words) -> None:
    (tmp_path / "series.csv").write_text(text, encoding="utf-8")
    assert words in refusal(lambda: read_series(section(), None, tmp_path))


def test_other_formats_and_broken_parquet_are_refused(tmp_path) -> None:
    for name in ("series.xlsx", "series.parquet"):
        (tmp_path / name).write_bytes(b"PAR1 but not really")
        refusal(lambda name=name: read_series(section(file=name), SUMMER, tmp_path))


def test_latin_text_is_refused_not_misread(tmp_path) -> None:
    (tmp_path / "series.csv").write_bytes("time,Straße\n2016-07-01 00:00,1\n".encode("latin-1"))
    assert "readable CSV" in refusal(lambda: read_series(section(), None, tmp_path))


def test_local_stamps_in_the_missing_hour_are_refused(tmp_path) -> None:
    write(tmp_path, pd.date_range("2016-03-27 00:00", periods=96, freq="15min"), {"p": 1.0})
    assert "Give the file's zone" in refusal(lambda: read_series(section(zone=ZONE), None, tmp_path))


# ---- profiles of assets


def profile(**changes) -> ProfileFile:
    return ProfileFile(**{"file": "series.csv", "unit": "kW", **changes})


def test_columns_replace_assets_and_cos_phi_gives_reactive_power(tmp_path) -> None:
    write(tmp_path, SUMMER.times, {"Baker": 10.0, "Smith": 20.0, "Smith q": 5.0})
    read = read_profile_files([profile(cos_phi=0.8)], SUMMER, tmp_path, assets=["Baker", "Smith", "Mill"])
    assert list(read.p_mw) == ["Baker", "Smith"] and (read.quality == 0).all(axis=None)
    np.testing.assert_allclose(read.q_mvar["Baker"], 0.0075)  # tan(arccos 0.8) = 0.75
    np.testing.assert_allclose(read.q_mvar["Smith"], 0.005)


def test_values_are_of_the_kind_that_the_file_declares(tmp_path) -> None:
    write(tmp_path, SUMMER.times, {"Baker": 10.0})
    codes = {kind: read_profile_files([profile(kind=kind)], SUMMER, tmp_path, assets=["Baker"]).quality
             for kind in ("measured", "estimated", "assumed")}  # fmt: skip
    assert [int(table["Baker"].iloc[0]) for table in codes.values()] == [0, 2, 4]


def test_generation_is_negative_and_still_draws_reactive_power(tmp_path) -> None:
    write(tmp_path, SUMMER.times, {"Roof": 4.0})
    read = read_profile_files([profile(cos_phi=0.8, sign="generation")], SUMMER, tmp_path, assets=["Roof"])
    np.testing.assert_allclose(read.p_mw["Roof"], -0.004)
    np.testing.assert_allclose(read.q_mvar["Roof"], 0.003)


def test_unknown_assets_are_named_with_their_neighbours(tmp_path) -> None:
    write(tmp_path, SUMMER.times, {"Bakr": 1.0, "Smth": 1.0})
    text = refusal(lambda: read_profile_files([profile()], SUMMER, tmp_path, assets=["Baker", "Smith"]))
    assert "column Bakr" in text and "expected Baker" in text and "expected Smith" in text


def test_an_asset_belongs_to_one_file(tmp_path) -> None:
    write(tmp_path, SUMMER.times, {"Baker": 1.0})
    write(tmp_path, SUMMER.times, {"Baker": 2.0}, "other.csv")
    files = [profile(), profile(file="other.csv")]
    assert "two files" in refusal(lambda: read_profile_files(files, SUMMER, tmp_path, assets=["Baker"]))


def test_without_files_nothing_is_replaced(tmp_path) -> None:
    assert read_profile_files([], SUMMER, tmp_path, assets=["Baker"]).p_mw.shape == (96, 0)


def test_the_feeder_head_keeps_its_own_axis(tmp_path) -> None:
    times = pd.date_range("2016-07-01", periods=30, freq="h")
    write(tmp_path, times, {"q": 1.0, "p": 250.0})
    read = read_feeder_head(section(), tmp_path)
    assert read.attrs["step"] == "P0DT1H0M0S" and list(read.indexes["time"]) == list(times)
    assert (read["p_mw"] == 0.25).all()
