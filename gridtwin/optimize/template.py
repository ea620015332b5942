"""From one Pyomo block to the numbers of thousands of devices.

A template writes the model of one device in Pyomo, with mutable parameters. It is read
once: every coefficient, bound and cost becomes a number, a parameter, or a short formula
of parameters. Stamping fills these in for all members at once, with numpy; Pyomo is not
asked again. The same template expands to plain Pyomo too (`expand.py`), and a test holds
both matrices against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.repn import generate_standard_repn

from gridtwin.errors import DataError, Finding
from gridtwin.optimize.block_program import Family, SparseShape
from gridtwin.optimize.formulas import Formulas

PORTS = ("power_kw", "reactive_kvar", "risk_eur")
"""Expressions of a block that coupling rows may use."""
Writer = Callable[[Any], None]
"""Writes the variables and rows of one device into a block that has `step` and its parameters."""


@dataclass(frozen=True)
class Template:
    """A kind of device.

    Parameters
    ----------
    kind : str
        Name in tables.
    write : callable
        Writes the device into a Pyomo block; it must set `power_kw[step]` (consumption positive) and
        `cost_eur`, and may set `reactive_kvar[step]`, `exclusive` (triples of two powers that must not be
        positive at once and the variable that says which) and `semicontinuous` (pairs of a variable
        and the smallest value that it may have beside 0).
    scalars : tuple of str
        Names of parameters with one value per device.
    series : tuple of str
        Names of parameters with one value per step.
    at_end : tuple of str
        Those of them that hold at the end of a step; all others are means over it.
    carry : mapping of str to tuple of str
        Names of scalars that a later plan begins with -> the variables whose sum they are at the end of a
        step; a leading minus subtracts.
    """

    kind: str
    write: Writer
    scalars: tuple[str, ...]
    series: tuple[str, ...]
    at_end: tuple[str, ...] = ()
    carry: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.kind, self.write))


def write_block(template: Template, block: Any, steps: int, values: Mapping[str, Any] | None = None) -> None:
    """Write a device with its parameters into a Pyomo block.

    Parameters
    ----------
    values : mapping, optional
        Value or (step,) values of each parameter; without it the parameters stay symbols.
    """
    block.step = pyo.RangeSet(0, steps - 1)
    block.hours = _declare(block.step, None if values is None else values["hours"])
    for name in template.scalars:
        setattr(block, name, pyo.Param(mutable=True, initialize=1.0 if values is None else float(values[name])))
    for name in template.series:
        setattr(block, name, _declare(block.step, None if values is None else values[name]))
    template.write(block)


def _declare(step: Any, values: Any) -> Any:
    # the value of a symbol is never read; Pyomo wants one to tell a parameter from a hole
    given = 1.0 if values is None else dict(enumerate(np.asarray(values, dtype=float).tolist()))
    return pyo.Param(step, mutable=True, initialize=given)


@dataclass(frozen=True)
class CompiledTemplate:
    """A template read for a number of steps.

    Parameters
    ----------
    template : Template
        What was read.
    steps : int
        Number of steps.
    parameters : dict of str to slice
        Rows of each parameter in the table of values.
    columns : dict of str to list of int
        Columns of each variable, in the order of its index.
    column_component, column_step, row_component, row_step : ndarray
        Which variable or constraint each column or row belongs to, and its step (0 where it has none).
    shape, port_shape : SparseShape
        Rows of a device, and its ports: active power of every step, then reactive power where it has any.
    integer : ndarray of bool, (column,)
        Which columns are whole numbers.
    exclusive : ndarray, (pair, 3)
        Columns of two powers that must not be positive at once, and of the variable that says which.
    semicontinuous : ndarray, (column,)
        Columns that are 0 or at least the value of `smallest`.
    """

    template: Template
    steps: int
    parameters: dict[str, slice]
    columns: dict[str, list[int]]
    row_names: list[str]
    column_component: np.ndarray
    column_step: np.ndarray
    row_component: np.ndarray
    row_step: np.ndarray
    shape: SparseShape
    value: Formulas
    row_lower: Formulas
    row_upper: Formulas
    cost: Formulas
    cost_constant: Formulas
    lower: Formulas
    upper: Formulas
    port_shape: SparseShape
    port_value: Formulas
    port_constant: Formulas
    integer: np.ndarray
    exclusive: np.ndarray
    semicontinuous: np.ndarray
    smallest: Formulas


@lru_cache(maxsize=256)
def compile_template(template: Template, steps: int) -> CompiledTemplate:
    """Read a template once for a number of steps."""
    block = pyo.ConcreteModel(template.kind)
    write_block(template, block, steps)
    place, parameters = _place_parameters(block, template)
    variables = list(block.component_data_objects(pyo.Var, descend_into=True))
    column_of = {id(variable): position for position, variable in enumerate(variables)}
    rows = list(block.component_data_objects(pyo.Constraint, active=True, descend_into=True))
    forms = [_LinearForm.of(row.body, column_of) for row in rows]
    ports = [_LinearForm.of(part, column_of) for part in _ports(block)]
    cost = _LinearForm.of(block.cost_eur, column_of)
    dense_cost: list[Any] = [0.0] * len(variables)
    for column, coefficient in zip(cost.columns, cost.coefficients, strict=True):
        dense_cost[column] = coefficient
    semi = list(getattr(block, "semicontinuous", ()))
    (column_component, column_step), (row_component, row_step) = _place_in_time(variables), _place_in_time(rows)
    exclusive = [[column_of[id(part)] for part in triple] for triple in getattr(block, "exclusive", ())]
    return CompiledTemplate(
        template=template,
        steps=steps,
        parameters=parameters,
        columns={v.name: [column_of[id(part)] for part in v.values()] for v in block.component_objects(pyo.Var)},
        row_names=[row.name for row in rows],
        column_component=column_component,
        column_step=column_step,
        row_component=row_component,
        row_step=row_step,
        shape=_shape(forms),
        value=Formulas([c for form in forms for c in form.coefficients], place),
        row_lower=Formulas([_less(row.lower, form.constant, -np.inf) for row, form in _both(rows, forms)], place),
        row_upper=Formulas([_less(row.upper, form.constant, np.inf) for row, form in _both(rows, forms)], place),
        cost=Formulas(dense_cost, place),
        cost_constant=Formulas([cost.constant], place),
        lower=Formulas([-np.inf if v.lower is None else v.lower for v in variables], place),
        upper=Formulas([np.inf if v.upper is None else v.upper for v in variables], place),
        port_shape=_shape(ports),
        port_value=Formulas([c for port in ports for c in port.coefficients], place),
        port_constant=Formulas([port.constant for port in ports], place),
        integer=np.array([not variable.is_continuous() for variable in variables], dtype=bool),
        exclusive=np.array(exclusive, dtype=np.int64).reshape(-1, 3),
        semicontinuous=np.array([column_of[id(variable)] for variable, _ in semi], dtype=np.int64),
        smallest=Formulas([value for _, value in semi], place),
    )


def _place_in_time(parts: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Component and step of variables or constraints; a second index counts as another component."""
    names: dict[Any, int] = {}
    component, step = [], []
    for part in parts:
        index = part.index()
        time, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        component.append(names.setdefault((part.parent_component().name, rest), len(names)))
        step.append(0 if time is None else int(time))
    return np.array(component, dtype=np.int64), np.array(step, dtype=np.int64)


def _both(rows: list[Any], forms: list[_LinearForm]) -> Iterable[tuple[Any, _LinearForm]]:
    return zip(rows, forms, strict=True)


def _less(bound: Any, constant: Any, missing: float) -> Any:
    return missing if bound is None else bound - constant


def _ports(block: Any) -> list[Any]:
    shown = [block.component(name) for name in PORTS]
    return [part for component in shown if component is not None for part in component.values()]


def _place_parameters(block: Any, template: Template) -> tuple[dict[int, int], dict[str, slice]]:
    place: dict[int, int] = {}
    parameters: dict[str, slice] = {}
    for name in ("hours", *template.scalars, *template.series):
        parts = list(block.component(name).values())
        parameters[name] = slice(len(place), len(place) + len(parts))
        place |= {id(part): len(place) + position for position, part in enumerate(parts)}
    return place, parameters


@dataclass(frozen=True)
class _LinearForm:
    """Coefficients by column, and a constant; numbers or expressions of parameters."""

    columns: list[int]
    coefficients: list[Any]
    constant: Any

    @classmethod
    def of(cls, expression: Any, column_of: Mapping[int, int]) -> _LinearForm:
        form = generate_standard_repn(expression, compute_values=False)
        if not form.is_linear():
            raise DataError(
                [Finding("a template is not linear", expected="linear rows", got=str(expression), severity="error")]
            )
        columns = [column_of[id(variable)] for variable in form.linear_vars]
        order = sorted(range(len(columns)), key=columns.__getitem__)
        return cls([columns[k] for k in order], [form.linear_coefs[k] for k in order], form.constant)


def _shape(forms: list[_LinearForm]) -> SparseShape:
    lengths = [len(form.columns) for form in forms]
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return SparseShape(start, np.array([column for form in forms for column in form.columns], dtype=np.int64))


@dataclass(frozen=True)
class Fleet:
    """All devices of one kind as numbers.

    Parameters
    ----------
    template : Template
        Their kind.
    names, buses : tuple of str
        Name of every device and of its bus.
    values : mapping of str to ndarray
        Scalars (member,) and series (time, member) by name, without `hours`.
    """

    template: Template
    names: tuple[str, ...]
    buses: tuple[str, ...]
    values: Mapping[str, np.ndarray]


def stack_values(compiled: CompiledTemplate, fleet: Fleet, hours: np.ndarray) -> np.ndarray:
    """Table of the parameters of all members. (parameter, member)"""
    last = max(where.stop for where in compiled.parameters.values())
    table = np.empty((last, len(fleet.names)))
    for name, where in compiled.parameters.items():
        table[where] = hours[:, None] if name == "hours" else fleet.values[name]
    return table


@dataclass(frozen=True)
class StampedFleet:
    """A fleet as a family of blocks, with what a solver of whole numbers must know beside it.

    Parameters
    ----------
    fleet, compiled : Fleet and CompiledTemplate
        Where it comes from.
    family : Family
        The continuous blocks; costs include the price of the ports.
    smallest : ndarray, (semicontinuous column, member)
        Smallest value beside 0.
    constant : float
        Part of the cost without a column. [EUR]
    """

    fleet: Fleet
    compiled: CompiledTemplate
    family: Family
    smallest: np.ndarray
    constant: float

    def column(self, variable: str, x: np.ndarray) -> np.ndarray:
        """Values of a variable, (column, member) to (index, member)."""
        return np.asarray(x[self.compiled.columns[variable]])


def stamp_fleet(
    fleet: Fleet, hours: np.ndarray, *, group_of: Mapping[str, int], port_price: np.ndarray | None = None
) -> StampedFleet:
    """Numbers of all members of a fleet from one reading of its template.

    Parameters
    ----------
    fleet : Fleet
        The devices.
    hours : ndarray, (time,)
        Length of each step. [h]
    group_of : mapping
        Group of each bus.
    port_price : ndarray, (time, member), optional
        Price of active power over each step. [EUR/kW]
    """
    compiled = compile_template(fleet.template, len(hours))
    values = stack_values(compiled, fleet, hours)
    shape, port_shape = compiled.shape, compiled.port_shape
    port_value, port_constant = compiled.port_value.evaluate(values), compiled.port_constant.evaluate(values)
    cost, constant = compiled.cost.evaluate(values), float(compiled.cost_constant.evaluate(values).sum())
    if port_price is not None:
        price = np.zeros(port_constant.shape)
        price[: len(port_price)] = port_price
        row = np.repeat(np.arange(port_shape.rows), np.diff(port_shape.start))
        np.add.at(cost, port_shape.column, port_value * price[row])
        constant += float((port_constant * price).sum())
    family = Family(
        name=fleet.template.kind,
        members=fleet.names,
        group=np.array([group_of[bus] for bus in fleet.buses], dtype=np.int64),
        groups=len(group_of),
        shape=shape,
        value=compiled.value.evaluate(values),
        row_lower=compiled.row_lower.evaluate(values),
        row_upper=compiled.row_upper.evaluate(values),
        cost=cost,
        lower=compiled.lower.evaluate(values),
        upper=compiled.upper.evaluate(values),
        port_shape=port_shape,
        port_value=port_value,
        port_constant=port_constant,
    )
    return StampedFleet(fleet, compiled, family, compiled.smallest.evaluate(values), constant)


def read_values(devices: Sequence[Any], template: Template, steps: int) -> dict[str, np.ndarray]:
    """Scalars and series of devices of one kind, from attributes of the parameters' names."""
    scalars = {name: np.array([getattr(d, name) for d in devices], dtype=float) for name in template.scalars}
    series = {
        name: np.column_stack([np.broadcast_to(np.asarray(getattr(d, name), dtype=float), steps) for d in devices])
        for name in template.series
    }
    return scalars | series
