"""MATPOWER case files (.m, version 2): statements to matrices, without executing anything.

Case files are MATLAB functions. Many distribution cases end with statements that
rescale the matrices, kW to MW and ohm to per unit; they are computed here. What is
not understood is an error where it touches the power flow: a case whose last lines
are skipped would be wrong by a factor of 1000.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gridtwin.errors import Finding, NetworkError, UnsafeFileError, raise_errors
from gridtwin.grid.matpower_formula import DO, Array, Expression, Unread, Value, Workspace
from gridtwin.grid.matpower_text import StatementError, Token, read_statements

LARGEST_FILE_MB = 64
LARGEST, SMALLEST = 1e9, 1e-6
"""Bounds of a quantity in MW, kV or per unit; beyond them stands a slip, and squares lose all digits."""
INDEX_FUNCTIONS = {
    "idx_bus": (
        "PQ=1 PV=2 REF=3 NONE=4 BUS_I=1 BUS_TYPE=2 PD=3 QD=4 GS=5 BS=6 BUS_AREA=7 VM=8 VA=9 BASE_KV=10 ZONE=11 "
        "VMAX=12 VMIN=13 LAM_P=14 LAM_Q=15 MU_VMAX=16 MU_VMIN=17"
    ),
    "idx_brch": (
        "F_BUS=1 T_BUS=2 BR_R=3 BR_X=4 BR_B=5 RATE_A=6 RATE_B=7 RATE_C=8 TAP=9 SHIFT=10 BR_STATUS=11 PF=14 QF=15 "
        "PT=16 QT=17 MU_SF=18 MU_ST=19 ANGMIN=12 ANGMAX=13 MU_ANGMIN=20 MU_ANGMAX=21"
    ),
    "idx_gen": (
        "GEN_BUS=1 PG=2 QG=3 QMAX=4 QMIN=5 VG=6 MBASE=7 GEN_STATUS=8 PMAX=9 PMIN=10 MU_PMAX=22 MU_PMIN=23 MU_QMAX=24 "
        "MU_QMIN=25 PC1=11 PC2=12 QC1MIN=13 QC1MAX=14 QC2MIN=15 QC2MAX=16 RAMP_AGC=17 RAMP_10=18 RAMP_30=19 "
        "RAMP_Q=20 APF=21"
    ),
    "idx_cost": "PW_LINEAR=1 POLYNOMIAL=2 MODEL=1 STARTUP=2 SHUTDOWN=3 NCOST=4 COST=5",
}
"""MATPOWER's functions that name the columns of its matrices, with their results in order."""
COLUMNS = {
    "bus": "BUS_I BUS_TYPE PD QD GS BS BUS_AREA VM VA BASE_KV ZONE VMAX VMIN".split(),
    "gen": "GEN_BUS PG QG QMAX QMIN VG MBASE GEN_STATUS PMAX PMIN".split(),
    "branch": "F_BUS T_BUS BR_R BR_X BR_B RATE_A RATE_B RATE_C TAP SHIFT BR_STATUS".split(),
    "dcline": (
        "F_BUS T_BUS BR_STATUS PF PT QF QT VF VT PMIN PMAX QMINF QMAXF QMINT QMAXT LOSS0 LOSS1"  # of idx_dcline
    ).split(),
}
"""Columns that a matrix of version 2 has at least; further ones hold results and limits that are not read."""
ELECTRIC = frozenset(["version", "baseMVA", *COLUMNS])
"""Fields of a case that decide the power flow; a statement about them is understood or refused."""
KNOWN_FIELDS = ELECTRIC | {
    *("gencost", "dclinecost", "areas", "bus_name", "branch_name", "gen_name", "gentype", "genfuel", "bus_info"),
    *("gen_info", "branch_info", "case_info", "order", "et", "success", "f", "reserves", "softlims", "userfcn"),
    *("A", "l", "u", "N", "fparm", "H", "Cw", "z0", "zl", "zu", "contingencies", "storage_info"),
}
"""Fields that have no part in a power flow or are read here."""
CONTROL = frozenset(
    ["if", "for", "while", "switch", "try", "parfor", "do", "global", "persistent", "unwind_protect", "else", "case"]
)
PRINTING = frozenset(["disp", "fprintf", "printf", "warning", "clc", "format", "more"])
"""Commands that change nothing."""


@dataclass(frozen=True, eq=False)
class MatpowerCase:
    """The matrices of a case as tables with MATPOWER's column names; `line` is the line of the file.

    Parameters
    ----------
    file : Path
        Where it was read.
    name : str
        Name of the case.
    base_mva : float
        Base power of the per-unit values. [MVA]
    bus, gen, branch, dcline : DataFrame
        One row per row of the file, from 0.
    findings : tuple of Finding
        What was not read.
    """

    file: Path
    name: str
    base_mva: float
    bus: pd.DataFrame
    gen: pd.DataFrame
    branch: pd.DataFrame
    dcline: pd.DataFrame
    findings: tuple[Finding, ...]


def read_matpower_file(file: Path) -> MatpowerCase:
    """Read the matrices of a case file and apply its closing statements.

    Raises
    ------
    NetworkError
        If a statement is not understood, a matrix is missing or has another shape, or
        its values cannot be; the findings name file and line.
    """
    text = _read_text(file)
    try:
        case = _build_case(file, run_statements(read_statements(text)))
        raise_errors(check_case(case), NetworkError)
        return case
    except StatementError as error:
        where = f"{file}:{error.line}" if error.line else str(file)
        finding = Finding(error.what, where, error.expected, _shorten(error.got), error.do, "error", "GT-N41")
        raise NetworkError([finding]) from None


def _read_text(file: Path) -> str:
    if not file.is_file():
        raise NetworkError([Finding("no such file", where=str(file), severity="error", code="GT-N40")])
    megabytes = file.stat().st_size / 1e6
    if megabytes > LARGEST_FILE_MB:
        expected, got = f"at most {LARGEST_FILE_MB} MB", f"{megabytes:.0f} MB"
        do = "The file was not read."
        raise UnsafeFileError([Finding("the file is too large", str(file), expected, got, do, "error", "GT-N40")])
    # names in comments come in all encodings; outside comments and texts the replacement is refused as unknown
    return file.read_text(encoding="utf-8-sig", errors="replace")


def _shorten(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def run_statements(statements: Iterable[list[Token]]) -> Workspace:
    """Compute the statements of a case file one after the other.

    Raises
    ------
    StatementError
        At the first statement that is not understood and may matter to a power flow.
    """
    workspace = Workspace()
    for statement in statements:
        _run(statement, workspace)
        if workspace.finished:
            break
    return workspace


def _run(statement: list[Token], workspace: Workspace) -> None:
    first = statement[0]
    sign = _find_assignment(statement)
    if first.kind == "name" and first.text in CONTROL:
        raise StatementError("a case with a program flow is not read", first.line, got=first.text, do=DO)
    if first.kind == "name" and first.text == "function":
        _read_header(statement, workspace)
    elif sign is None:
        _run_command(statement, workspace)
    elif first.text == "[":
        _assign_results(statement[:sign], statement[sign + 1 :], workspace)
    else:
        _assign(statement[:sign], statement[sign + 1 :], workspace)


def _find_assignment(statement: list[Token]) -> int | None:
    """Place of the equals sign outside brackets."""
    depth = 0
    for place, token in enumerate(statement):
        if token.kind == "operator":
            depth += (token.text in "([{") - (token.text in ")]}")
            if token.text == "=" and depth == 0:
                return place
    return None


def _quote(tokens: list[Token]) -> str:
    """The beginning of a statement, for messages."""
    return _shorten(" ".join(token.text for token in tokens[:20]).replace("\n", " "), 60)


def _read_header(statement: list[Token], workspace: Workspace) -> None:
    """`function mpc = case9`; a second function can only be called, so the case ends there."""
    if workspace.name:
        workspace.finished = True
        return
    kinds = [token.kind for token in statement[:4]]
    if kinds != ["name", "name", "operator", "name"] or statement[2].text != "=":
        raise StatementError(
            "the function does not return one case",
            statement[0].line,
            expected="function mpc = <name>",
            got=_quote(statement),
            do="Cases of version 1 have one result per matrix; save such a case with savecase of MATPOWER.",
        )
    workspace.case, workspace.name = statement[1].text, statement[3].text


def _run_command(statement: list[Token], workspace: Workspace) -> None:
    first, word = statement[0], statement[0].text
    if first.kind == "name" and word in PRINTING:
        return
    if len(statement) == 1 and word in ("end", "endfunction", "return"):
        workspace.finished = True
    elif len(statement) == 1 and word == "define_constants":
        for function in INDEX_FUNCTIONS:
            workspace.variables |= _index_names(function)
    else:
        raise StatementError("a statement is not understood", first.line, got=_quote(statement), do=DO)


def _index_names(function: str) -> dict[str, Value]:
    pairs = (entry.split("=") for entry in INDEX_FUNCTIONS[function].split())
    return {name: np.array([[float(number)]]) for name, number in pairs}


def _assign_results(target: list[Token], source: list[Token], workspace: Workspace) -> None:
    """`[PQ, PV, REF] = idx_bus`: names by the order of the results."""
    names = [token.text for token in target if token.kind == "name" or token.text == "~"]
    if workspace.case in names or not names:
        raise StatementError("an assignment is not understood", target[0].line, got=_quote(target), do=DO)
    function = source[0].text if source else ""
    if function in INDEX_FUNCTIONS and [token.text for token in source[1:]] in ([], ["(", ")"]):
        results = _index_names(function).values()
        if len(names) > len(results):
            raise StatementError(f"{function} has fewer results", target[0].line, expected=f"{len(results)} names")
        workspace.variables |= dict(zip(names, results, strict=False))
    else:
        reason = StatementError("a function is not understood", target[0].line, got=_quote(source), do=DO)
        workspace.variables |= {name: Unread(reason) for name in names}


def _assign(target: list[Token], source: list[Token], workspace: Workspace) -> None:
    """An assignment to a variable, a field of the case, or some of its rows and columns."""
    names, place = _read_target(target, workspace)
    is_case = names[0] == workspace.case
    owner, name = (workspace.fields, names[1]) if is_case else (workspace.variables, names[0])
    lines: list[int] = []
    try:
        if len(names) > 1 + is_case:
            raise StatementError("a structure is not read", target[0].line, got=_quote(target))
        value, lines = _value_of(source, workspace)
        owner[name] = _replace_part(owner.get(name), value, place, source, workspace=workspace) if place else value
    except StatementError as reason:
        if is_case and name in ELECTRIC:
            raise
        owner[name] = Unread(reason)
    if is_case and not place:
        workspace.lines[name] = lines


def _read_target(target: list[Token], workspace: Workspace) -> tuple[list[str], list[Token]]:
    """Names of a variable or of the case and its field, and the tokens of its index."""
    names = [token.text for token in target[:1] if token.kind == "name"]
    place = 1
    while [token.text for token in target[place : place + 1]] == ["."] and len(target) > place + 1:
        names.append(target[place + 1].text)
        place += 2
    rest = target[place:]
    if not names or (rest and rest[0].text not in ("(", "{")) or names == [workspace.case]:
        line = target[0].line if target else 0
        raise StatementError("an assignment is not understood", line, got=_quote(target), do=DO)
    return names, rest


def _value_of(source: list[Token], workspace: Workspace) -> tuple[Value, list[int]]:
    """The value of the right side, and the lines of its rows where it is a matrix."""
    if len(source) == 1 and source[0].kind == "text":
        return source[0].text, []
    expression = Expression(source, workspace)
    return expression.value(), expression.lines


def _replace_part(
    old: Value | None, new: Value, place: list[Token], source: list[Token], *, workspace: Workspace
) -> Array:
    """A copy of a matrix with some rows and columns replaced, or deleted by `[]`."""
    line = place[0].line
    if not isinstance(old, np.ndarray) or not isinstance(new, np.ndarray):
        raise StatementError("a part of an unknown matrix is assigned", line, got=_quote(place))
    index = Expression(place, workspace).index_of(old)
    if len(index) != 2:
        raise StatementError("rows and columns are expected", line, got=_quote(place))
    workspace.spend(old.shape, line)
    rows, columns = index
    if new.size == 0 and len(source) == 1:
        axis = 0 if len(set(columns)) == old.shape[1] else 1
        if len(set(index[1 - axis])) != old.shape[1 - axis]:
            raise StatementError("only whole rows or columns can be deleted", line, got=_quote(place))
        return np.delete(old, index[axis], axis=axis)
    shape = (len(rows), len(columns))
    # MATLAB also takes a row for a column here
    if new.size != 1 and [n for n in new.shape if n > 1] != [n for n in shape if n > 1]:
        raise StatementError("the parts have different sizes", line, expected=f"{shape}", got=f"{new.shape}")
    changed = old.copy()
    changed[np.ix_(rows, columns)] = new.item() if new.size == 1 else new.reshape(shape)
    return changed


def _build_case(file: Path, workspace: Workspace) -> MatpowerCase:
    _check_version(workspace)
    tables = {name: _read_table(name, workspace) for name in COLUMNS}
    base = workspace.fields.get("baseMVA")
    if not isinstance(base, np.ndarray) or base.shape != (1, 1) or not SMALLEST <= base.item() <= LARGEST:
        raise StatementError("the case has no base power", 0, expected=f"{workspace.case}.baseMVA above 0 MVA")
    name = workspace.name or file.stem
    return MatpowerCase(file, name, float(base.item()), **tables, findings=tuple(_left_out(file, workspace)))


def _check_version(workspace: Workspace) -> None:
    # a struct without the field may be of either version, which have the columns read here in common
    version = workspace.fields.get("version", "2")
    number = version.item() if isinstance(version, np.ndarray) and version.size == 1 else version
    if number not in ("2", 2.0):
        raise StatementError(
            "the case has another version",
            0,
            expected=f"{workspace.case}.version = '2'",
            got=_shorten(str(number)),
            do="Save the case with savecase of MATPOWER.",
        )


def _read_table(name: str, workspace: Workspace) -> pd.DataFrame:
    """A matrix as a table; optional only for DC lines and, in a case of one bus, branches."""
    columns = COLUMNS[name]
    matrix = workspace.fields.get(name, np.empty((0, 0)))
    lines = workspace.lines.get(name, [])
    if not isinstance(matrix, np.ndarray) or (matrix.size == 0 and name in ("bus", "gen")):
        raise StatementError(f"the case has no {name} matrix", 0, expected=f"{workspace.case}.{name} = [ … ]")
    if matrix.size == 0:
        return pd.DataFrame(columns=[*columns, "line"], dtype=float).astype({"line": int})
    if matrix.shape[1] < len(columns):
        line = lines[0] if lines else 0
        expected, got = f"at least {len(columns)}", str(matrix.shape[1])
        raise StatementError(f"the {name} matrix has too few columns", line, expected=expected, got=got)
    table = pd.DataFrame(matrix[:, : len(columns)], columns=pd.Index(columns, dtype=object))
    table["line"] = lines if len(lines) == len(table) else 0
    return table


def _left_out(file: Path, workspace: Workspace) -> list[Finding]:
    """Fields of the case that are not read; three-phase parts of MATPOWER 8 would be missing from the network."""
    three_phase = sorted(name for name in workspace.fields if name.endswith("3p") or name == "buslink")
    if three_phase:
        raise StatementError("three-phase parts of a case are not read", 0, got=", ".join(three_phase))
    unknown = sorted(workspace.fields.keys() - KNOWN_FIELDS)
    if not unknown:
        return []
    shown = _shorten(", ".join(unknown))
    what = "fields of the case are unknown and left out"
    do = "Check that they have no part in the power flow."
    return [Finding(what, str(file), got=shown, do=do, code="GT-N43")]


def check_case(case: MatpowerCase) -> list[Finding]:
    """Values that a power flow cannot start from; all reasons at once, those of the buses first."""
    rules = [*_bus_rules(), *([] if _broken(case, _bus_rules()) else _element_rules(case.bus))]
    return _broken(case, rules)


Rule = tuple[str, str, Callable[[pd.DataFrame], pd.Series], str]
"""Table, column, what holds for its rows, and that in words."""


def _bus_rules() -> list[Rule]:
    return [
        ("bus", "BUS_I", lambda bus: (bus["BUS_I"] >= 1) & (bus["BUS_I"] % 1 == 0), "a whole number above 0"),
        ("bus", "BUS_I", lambda bus: ~bus["BUS_I"].duplicated(), "a number that no other bus has"),
        ("bus", "BUS_TYPE", lambda bus: bus["BUS_TYPE"].isin([1, 2, 3, 4]), "1, 2, 3 or 4"),
        ("bus", "BASE_KV", lambda bus: _is_size(bus["BASE_KV"]), "0 kV or above"),
        *_finite("bus", ["PD", "QD", "GS", "BS", "VA"]),
    ]


def _element_rules(bus: pd.DataFrame) -> list[Rule]:
    held = bus.loc[bus["BUS_TYPE"].isin([2, 3]), "BUS_I"]
    vn_kv = bus.set_index("BUS_I")["BASE_KV"]

    def has_set_point(gen: pd.DataFrame) -> pd.Series:
        return (gen["VG"] > 0) | (gen["GEN_STATUS"] <= 0) | ~gen["GEN_BUS"].isin(held)

    def has_impedance(branch: pd.DataFrame) -> pd.Series:
        """A branch without impedance joins two buses; one with a tap besides has no meaning."""
        one_level = branch["F_BUS"].map(vn_kv) == branch["T_BUS"].map(vn_kv)
        joins = one_level & branch["TAP"].isin([0, 1]) & (branch["SHIFT"] == 0)
        return joins | (branch["BR_R"] != 0) | (branch["BR_X"] != 0)

    known = "the number of a bus"
    return [
        ("gen", "GEN_BUS", lambda gen: gen["GEN_BUS"].isin(bus["BUS_I"]), known),
        ("gen", "VG", has_set_point, "above 0 pu"),
        *_finite("gen", ["PG", "QG", "VG", "GEN_STATUS"]),
        ("branch", "F_BUS", lambda branch: branch["F_BUS"].isin(bus["BUS_I"]), known),
        ("branch", "T_BUS", lambda branch: branch["T_BUS"].isin(bus["BUS_I"]), known),
        ("branch", "T_BUS", lambda branch: branch["T_BUS"] != branch["F_BUS"], "another bus than F_BUS"),
        ("branch", "TAP", lambda branch: _is_size(branch["TAP"]), "0 or above"),
        ("branch", "BR_X", has_impedance, "an impedance, since the branch is a transformer"),
        *_finite("branch", ["BR_R", "BR_X", "BR_B", "SHIFT", "BR_STATUS"]),
        ("dcline", "F_BUS", lambda dcline: dcline["F_BUS"].isin(bus["BUS_I"]), known),
        ("dcline", "T_BUS", lambda dcline: dcline["T_BUS"].isin(bus["BUS_I"]), known),
        *_finite("dcline", ["BR_STATUS", "PF", "QF", "QT", "LOSS0", "LOSS1"]),
    ]


def _finite(table: str, columns: list[str]) -> list[Rule]:
    def is_finite(name: str) -> Callable[[pd.DataFrame], pd.Series]:
        return lambda rows: rows[name].abs() <= LARGEST

    return [(table, name, is_finite(name), "a number") for name in columns]


def _is_size(column: pd.Series) -> pd.Series:
    """Whether values are 0, which stands for a default, or can be divided by."""
    return (column == 0) | column.between(SMALLEST, LARGEST)


def _broken(case: MatpowerCase, rules: list[Rule]) -> list[Finding]:
    """One error per rule that does not hold, at its first row."""
    findings = []
    for name, column, holds, expected in rules:
        table: pd.DataFrame = getattr(case, name)
        wrong = np.flatnonzero(~holds(table))
        if len(wrong):
            row = wrong[0]
            where = f"{case.file}:{table['line'].iloc[row]}: {name}, row {row + 1}"
            got = f"{table[column].iloc[row]:g}" + (f", and {len(wrong) - 1} more rows" if len(wrong) > 1 else "")
            findings.append(Finding(f"{column} cannot be", where, expected, got, "", "error", "GT-N42"))
    return findings
