"""pandapower JSON: what pandapower wrote comes back equal; what names a class is refused unread."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandapower as pp
import pandapower.networks
import pandas as pd
import pytest

from gridtwin.errors import NetworkError, UnsafeFileError
from gridtwin.grid.pandapower_json import LARGEST_FILE_MB, read_pandapower_json

EXAMPLES = ["create_cigre_network_lv", "create_cigre_network_mv", "example_multivoltage", "simple_mv_open_ring_net"]


@pytest.fixture(scope="module")
def written() -> dict:
    """The document of a small network; tests change copies of it."""
    return json.loads(pp.to_json(pandapower.networks.create_cigre_network_lv()))


def write(document: object, folder: Path) -> Path:
    file = folder / "net.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return file


def changed_table(written: dict, table: str, change) -> dict:
    """A copy of the document with the inner text of one table changed."""
    document = json.loads(json.dumps(written))
    inner = json.loads(document["_object"][table]["_object"])
    change(inner)
    document["_object"][table]["_object"] = json.dumps(inner)
    return document


def is_input(table: object, name: str) -> bool:
    return isinstance(table, pd.DataFrame) and not name.startswith(("_", "res_"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_tables_and_power_flow_come_back(name, tmp_path) -> None:
    net = getattr(pandapower.networks, name)()
    pp.to_json(net, str(tmp_path / "net.json"))
    read, _ = read_pandapower_json(tmp_path / "net.json")
    for table in [key for key in net.keys() & read.keys() if is_input(net[key], key)]:
        for column in set(net[table]) & set(read[table]):
            ours, theirs = read[table][column], net[table][column]
            assert list(ours.index) == list(theirs.index)
            same = (ours == theirs) | (ours.isna() & theirs.isna())
            if theirs.dtype == float:  # pandas writes 15 decimals
                same |= np.isclose(pd.to_numeric(ours), theirs, rtol=0, atol=1e-15)
            assert same.all(), f"{table}.{column}"
    pp.runpp(net)
    pp.runpp(read)
    # the same equations from values rounded at the fifteenth decimal
    np.testing.assert_allclose(read.res_bus.vm_pu, net.res_bus.vm_pu, rtol=0, atol=1e-12)


def test_what_is_left_out_is_told(written, tmp_path) -> None:
    net = pandapower.networks.create_cigre_network_lv()
    pp.control.ConstControl(net, "load", "p_mw", element_index=[0])
    net.load["private_note"] = 1
    pp.to_json(net, str(tmp_path / "net.json"))
    read, findings = read_pandapower_json(tmp_path / "net.json")
    assert len(read.controller) == 0 and "private_note" not in read.load
    told = " ".join(finding.got for finding in findings)
    assert "controller" in told and "load.private_note" in told


def test_standard_types_with_missing_numbers_come_back(tmp_path) -> None:
    # outside tables pandapower writes NaN as it is, which strict JSON does not know
    net = pandapower.networks.create_cigre_network_lv()
    pp.create_std_type(net, {**net.std_types["line"]["NAYY 4x50 SE"], "q_mm2": np.nan}, "own cable")
    pp.to_json(net, str(tmp_path / "net.json"))
    assert "NaN" in (tmp_path / "net.json").read_text(encoding="utf-8")
    read = read_pandapower_json(tmp_path / "net.json")[0].std_types["line"]["own cable"]
    assert np.isnan(read.pop("q_mm2")) and read.items() <= net.std_types["line"]["own cable"].items()


def test_asset_columns_come_back(tmp_path) -> None:
    net = pandapower.networks.create_cigre_network_lv()
    net.load["kind"], net.load["flexible"], net.load["p_rated_mw"] = "heat_pump", True, 0.01
    net.load["ua_mw_per_k"], net.load["c_mwh_per_k"], net.load["cop"] = 1e-4, 5e-3, 4.0
    pp.to_json(net, str(tmp_path / "net.json"))
    load = read_pandapower_json(tmp_path / "net.json")[0].load
    assert (load["kind"] == "heat_pump").all() and load["flexible"].dtype == bool
    assert (load["p_rated_mw"] == 0.01).all()
    assert (load[["ua_mw_per_k", "c_mwh_per_k", "cop"]] == [1e-4, 5e-3, 4.0]).all(axis=None)


@pytest.mark.parametrize("place", ["top", "scalar", "nested"])
def test_an_unknown_class_is_refused_and_nothing_imported(written, tmp_path, place) -> None:
    document = json.loads(json.dumps(written))
    stranger = {"_module": "wsgiref.simple_server", "_class": "WSGIServer", "_object": {}}
    if place == "top":
        document.update(_module="wsgiref.simple_server", _class="WSGIServer")
    elif place == "scalar":
        document["_object"]["name"] = stranger
    else:
        document["_object"]["std_types"]["line"]["x"] = {"deep": [stranger]}
    assert "wsgiref.simple_server" not in sys.modules
    with pytest.raises(UnsafeFileError, match=r"wsgiref\.simple_server\.WSGIServer"):
        read_pandapower_json(write(document, tmp_path))
    assert "wsgiref.simple_server" not in sys.modules


def test_a_class_inside_a_cell_is_refused(written, tmp_path) -> None:
    def nest(table: dict) -> None:
        table["data"][0][0] = {"_module": "wsgiref.simple_server", "_class": "WSGIServer"}

    with pytest.raises(UnsafeFileError, match="/_object/load/data/0"):
        read_pandapower_json(write(changed_table(written, "load", nest), tmp_path))
    assert "wsgiref.simple_server" not in sys.modules


def test_known_module_with_another_class_is_refused(written, tmp_path) -> None:
    document = json.loads(json.dumps(written))
    document["_object"]["load"]["_class"] = "read_pickle"
    with pytest.raises(UnsafeFileError, match="does not build"):
        read_pandapower_json(write(document, tmp_path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "well-formed"),
        ("[" * 50 + "]" * 50, "too deep"),
        ('{"a": 1, "a": 2}', "key stands twice"),
        ('{"a": Infinity}', "JSON does not know"),
        ('{"_module": "pandapower.auxiliary", "_class": "pandapowerNet", "_obj', "well-formed"),
        ("[]", "no pandapower network"),
        ('{"a": 1' + "0" * 5000 + "}", "well-formed"),
    ],
)
def test_malformed_documents_are_refused(text, reason, tmp_path) -> None:
    with pytest.raises(UnsafeFileError, match=reason):
        read_pandapower_json(write(text, tmp_path))


def test_a_huge_file_is_refused_unread(tmp_path) -> None:
    file = tmp_path / "net.json"
    with file.open("wb") as sparse:
        sparse.truncate((LARGEST_FILE_MB + 1) * 1_000_000)  # takes no room on disk
    with pytest.raises(UnsafeFileError, match="too large"):
        read_pandapower_json(file)


def test_a_truncated_file_is_refused_wherever_it_ends(written, tmp_path) -> None:
    text = json.dumps(written)
    for part in range(1, 16):
        with pytest.raises(UnsafeFileError):
            read_pandapower_json(write(text[: part * len(text) // 16], tmp_path))


def drop_row(table: dict) -> None:
    table["data"].pop()


def widen_row(table: dict) -> None:
    table["data"][2].append(1)


def double_column(table: dict) -> None:
    table["columns"][1] = table["columns"][0]


@pytest.mark.parametrize("change", [drop_row, widen_row, double_column])
def test_a_table_of_another_shape_is_refused(written, tmp_path, change) -> None:
    with pytest.raises(UnsafeFileError, match="/_object/load"):
        read_pandapower_json(write(changed_table(written, "load", change), tmp_path))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("p_mw", "much"),
        ("bus", 1.5),
        ("bus", -1),
        ("bus", 10**30),
        ("bus", None),
        ("in_service", "no"),
        ("p_mw", 10**400),
    ],
)
def test_a_value_of_another_type_names_row_and_column(written, tmp_path, column, value) -> None:
    def replace(table: dict) -> None:
        table["data"][3][table["columns"].index(column)] = value

    # numbers of 400 digits are within what the decoder accepts; they are no quantities
    with pytest.raises(NetworkError, match=f"/_object/load/{column}: row 3"):
        read_pandapower_json(write(changed_table(written, "load", replace), tmp_path))


def test_the_type_is_ours_not_the_files(written, tmp_path) -> None:
    document = json.loads(json.dumps(written))
    document["_object"]["load"]["dtype"] = {"p_mw": "object", "bus": "complex128"}
    load = read_pandapower_json(write(document, tmp_path))[0].load
    assert load["p_mw"].dtype == "float64" and load["bus"].dtype == "uint32"


def test_a_missing_column_is_named(written, tmp_path) -> None:
    def drop(table: dict) -> None:
        position = table["columns"].index("max_i_ka")
        table["columns"].pop(position)
        for row in table["data"]:
            row.pop(position)

    with pytest.raises(NetworkError, match="max_i_ka"):
        read_pandapower_json(write(changed_table(written, "line", drop), tmp_path))


def test_an_old_format_says_what_to_do(written, tmp_path) -> None:
    document = json.loads(json.dumps(written))
    document["_object"]["format_version"] = "2.14.0"
    with pytest.raises(NetworkError, match="save it again with"):
        read_pandapower_json(write(document, tmp_path))
