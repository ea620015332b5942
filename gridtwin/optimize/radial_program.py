"""The flexibility program of a radial network with the network itself inside.

Limits of a network are few or many. Few are rows over the power of all buses, one dense row each. Where many bind,
the branch flow equations stand in the program once per step and a limit is a row of a few entries:

    sum of devices at bus b on step t = bus_kw[b, t]          coupling row
    flow, voltage of every branch and bus on step t           a member of the network family
    flow or voltage - over[k] <= room[k]                      coupling row, with a breach as without the network

Everything here is what flexible power alone does to flows and voltages. What everything else does, and what the
straight line misses at the base point, is in the room, as in the rows over buses: rooms, breaches, worst breach and
duals keep their meaning, and both programs have one optimum where both are linearised at one point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyomo.environ as pyo
from scipy import sparse

from gridtwin.data.profiles import Profiles
from gridtwin.grid.twin import GridTwin
from gridtwin.kernels.network_arrays import Floats, Ints
from gridtwin.optimize.expand import expand_to_pyomo
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.lindistflow import RadialSlopes, condense, read_state, slopes_at, slopes_of_step, solve_tree
from gridtwin.optimize.model import (
    FlexibilityProblem,
    FlexibilityProgram,
    LimitRows,
    build_flexibility_program,
)
from gridtwin.optimize.radial_network import RadialNetwork, find_edges
from gridtwin.optimize.template import Fleet, StampedFleet, Template, stamp_fleet, write_block

SLOPES = ("p_by_p", "p_by_q", "p_by_v", "q_by_p", "q_by_q", "q_by_v", "v_by_up", "v_by_p", "v_by_q")
"""Parameters of the network's template, one value per edge."""


@dataclass(frozen=True)
class RadialWriter:
    """Writes one step of a tree; trees of one shape are one template.

    Parameters
    ----------
    up : tuple of int
        Edge that feeds each edge, -1 at the root.
    at : tuple of int
        Edge that ends at each flexible bus, negative where that bus is no downstream end.
    """

    up: tuple[int, ...]
    at: tuple[int, ...]

    def __call__(self, block: Any) -> None:
        """Branch flow equations of one step of time; `step` numbers the edges of the tree.

            flow_kw[e]   = bus_kw at e + sum over c behind e of (p_by_p flow_kw + p_by_q flow_kvar + p_by_v volt_kw)[c]
            flow_kvar[e] = bus_kvar at e + sum over c behind e of (q_by_p flow_kw + ...)[c]
            volt_kw[e]   = v_by_up[e] volt_kw[up(e)] - (v_by_p flow_kw + v_by_q flow_kvar)[e]

        Flows are those that arrive downstream. Squared voltage is counted in what a kW changes: numbers of the size
        of the flows, where pu² would vanish in the tolerances of a solver.
        """
        behind: dict[int, list[int]] = {edge: [] for edge in range(-1, len(self.up))}
        for edge, above in enumerate(self.up):
            behind[above].append(edge)
        buses = {edge: [k for k, own in enumerate(self.at) if own == edge] for edge in block.step}
        block.flow_kw, block.flow_kvar, block.volt_kw = (pyo.Var(block.step) for _ in range(3))
        block.bus_kw, block.bus_kvar = (pyo.Var(pyo.RangeSet(0, len(self.at) - 1)) for _ in range(2))

        def passed(b: Any, edge: int, by: str) -> Any:
            parts = ((f"{by}_by_p", b.flow_kw), (f"{by}_by_q", b.flow_kvar), (f"{by}_by_v", b.volt_kw))
            return pyo.quicksum(b.component(name)[c] * change[c] for c in behind[edge] for name, change in parts)

        def voltage(b: Any, edge: int) -> Any:
            above = b.v_by_up[edge] * b.volt_kw[self.up[edge]] if self.up[edge] >= 0 else 0.0
            fall = b.v_by_p[edge] * b.flow_kw[edge] + b.v_by_q[edge] * b.flow_kvar[edge]
            return b.volt_kw[edge] - above + fall == 0

        def arrives(flow: Any, bus: Any, by: str) -> Any:
            return lambda b, e: flow[e] - pyo.quicksum(bus[k] for k in buses[e]) - passed(b, e, by) == 0

        block.active_balance = pyo.Constraint(block.step, rule=arrives(block.flow_kw, block.bus_kw, "p"))
        block.reactive_balance = pyo.Constraint(block.step, rule=arrives(block.flow_kvar, block.bus_kvar, "q"))
        block.fall = pyo.Constraint(block.step, rule=voltage)
        shown = [block.bus_kw, block.bus_kvar, block.flow_kw, block.flow_kvar, block.volt_kw]
        ports = [part for variable in shown for part in variable.values()]
        block.power_kw = pyo.Expression(range(len(ports)), rule=lambda b, k: ports[k])
        block.cost_eur = pyo.Expression(expr=0.0)


@dataclass(frozen=True)
class RadialBlock:
    """A radial network linearised at every step of a horizon, for consumption at some buses.

    Parameters
    ----------
    radial : RadialNetwork
        The tree.
    slopes : RadialSlopes
        (step, edge) each.
    at : ndarray of int, (flexible bus,)
        Edge that ends at each of them.
    voltage_scale : ndarray, (bus,)
        Squared voltage per room of each bus of the twin, infinite where its limits do not count. [pu²/MW]
    unit : ndarray, (edge,)
        Squared voltage that counts as a kW in the program: the fall along the whole way from the root. [pu²/kW]
    """

    radial: RadialNetwork
    slopes: RadialSlopes
    at: Ints
    voltage_scale: Floats
    unit: Floats

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.slopes.p_by_p)

    @property
    def ports(self) -> int:
        """Number of ports of a step: power of both kinds at the buses, then flows of both kinds and voltages."""
        return 2 * len(self.at) + 3 * len(self.radial.up)


def build_radial_block(
    twin: GridTwin, radial: RadialNetwork, profiles_at_base: Profiles, *, buses: list[str], voltage_scale: Floats
) -> RadialBlock:
    """Linearise a radial network at every step of a day, condensed along equal changes at all flexible buses.

    Parameters
    ----------
    profiles_at_base : Profiles
        Operating point of every step, without paths. Consumption positive.
    buses : list of str
        Buses of flexible devices.
    voltage_scale : ndarray, (bus,)
        Squared voltage per room of each bus, see `NetworkLimits.scale`. [pu²/MW]
    """
    at = find_edges(twin, radial, buses)
    slopes = slopes_at(radial, read_state(twin, radial, profiles_at_base))
    each = np.zeros(len(radial.up))
    each[at[at >= 0]] = 1.0
    return RadialBlock(radial, condense(radial, slopes, each), at, voltage_scale, _units(radial))


def _units(radial: RadialNetwork) -> Floats:
    """2 |z| summed from the root. (edge,) [pu²/kW]"""
    way = 2 / np.abs(radial.y[:, 2]) / radial.base_mva / KW_PER_MW
    for edge, above in enumerate(radial.up.tolist()):
        if above >= 0:
            way[edge] += way[above]
    return way


def stamp_network(block: RadialBlock) -> StampedFleet:
    """The network as a family, one member per step of time."""
    slopes, unit, up = block.slopes, block.unit, block.radial.up
    above = np.where(up >= 0, unit[up], 0.0)
    values = {name: getattr(slopes, name) for name in SLOPES[:6]}
    values |= {name: values[name] * unit * KW_PER_MW for name in ("p_by_v", "q_by_v")}
    values["v_by_up"] = above / unit / slopes.v_by_v
    values |= {name: getattr(slopes, name) / slopes.v_by_v / unit / KW_PER_MW for name in ("v_by_p", "v_by_q")}
    names = tuple(f"step {t}" for t in range(block.steps))
    template = Template("network", RadialWriter(tuple(up.tolist()), tuple(block.at.tolist())), (), SLOPES)
    fleet = Fleet(template, names, names, {name: value.T for name, value in values.items()})
    return stamp_fleet(fleet, np.ones(len(up)), group_of={name: t for t, name in enumerate(names)})


def limit_weights(block: RadialBlock, limit: Ints, step: Ints) -> sparse.csr_array:
    """Ports that make up what a limit holds.

    Parameters
    ----------
    limit, step : ndarray of int, (row,)
        Position in the table of `find_network_limits`: forward and reverse of every branch, high and low of every
        bus; and the step.

    Returns
    -------
    csr_array, (row, step * port)
        Weight of each step's ports.
    """
    branches, buses = len(block.radial.edge), len(block.radial.place)
    of_branch = limit < 2 * branches
    flow_row, volt_row = np.flatnonzero(of_branch), np.flatnonzero(~of_branch)
    branch, bus = limit[flow_row] % branches, (limit[volt_row] - 2 * branches) % buses
    sign = np.where(limit[flow_row] < branches, 1.0, -1.0)
    parts = [_flow_entries(block, flow_row, branch, step[flow_row], sign)]
    sign = np.where(limit[volt_row] < 2 * branches + buses, 1.0, -1.0)
    parts.append(_voltage_entries(block, volt_row, bus, step[volt_row], sign))
    row, port, weight = (np.concatenate([part[k].ravel() for part in parts]) for k in range(3))
    weights = sparse.csr_array((weight, (row, port)), shape=(len(limit), block.steps * block.ports))
    weights.eliminate_zeros()
    return weights


_Entries = tuple[np.ndarray, np.ndarray, np.ndarray]


def _flow_entries(block: RadialBlock, row: Ints, branch: Ints, step: Ints, sign: Floats) -> _Entries:
    """Power into a branch at its from or hv side, from what arrives downstream. (3, row) each"""
    radial, slopes = block.radial, block.slopes
    edge = radial.edge[branch]
    at = (step, edge)
    volt = block.unit[edge] * KW_PER_MW
    sent = [
        slopes.p_by_p[at] + 1j * slopes.q_by_p[at],
        slopes.p_by_q[at] + 1j * slopes.q_by_q[at],
        (slopes.p_by_v[at] + 1j * slopes.q_by_v[at]) * volt,
    ]
    arriving = [np.ones(len(edge)), 1j * np.ones(len(edge)), radial.base_mva * radial.shunt[edge].conj() * volt]
    into = np.where(radial.downward[branch], sent, -np.array(arriving))
    weight = sign * np.where(edge >= 0, (radial.share[branch].conj() * into).real, 0.0)
    first = step * block.ports + 2 * len(block.at) + np.maximum(edge, 0)
    port = first + len(radial.up) * np.arange(3)[:, None]
    return np.broadcast_to(row, port.shape), port, weight


def _voltage_entries(block: RadialBlock, row: Ints, bus: Ints, step: Ints, sign: Floats) -> _Entries:
    """Squared voltage in the unit of its room."""
    edge = block.radial.place[bus]
    weight = sign * np.where(edge >= 0, block.unit[edge] * KW_PER_MW / block.voltage_scale[bus], 0.0)
    port = step * block.ports + 2 * len(block.at) + 2 * len(block.radial.up) + np.maximum(edge, 0)
    return row, port, weight


def flexible_part(block: RadialBlock, p_mw: Floats, q_mvar: Floats | None = None) -> Floats:
    """What flexible power alone contributes to every limited quantity.

    Parameters
    ----------
    p_mw, q_mvar : ndarray, (flexible bus, step)
        Consumption at each bus. [MW], [Mvar]

    Returns
    -------
    ndarray, (limit, step)
        In the unit of the rooms: the room of a limit at a schedule and this together are the ceiling in the
        program. [MW]
    """
    ports = np.zeros((block.steps, block.ports))
    consumed = np.zeros((2, len(block.radial.up), block.steps))
    there = block.at >= 0
    for power, at_edges in zip((p_mw, q_mvar), consumed, strict=True):
        if power is not None:
            np.add.at(at_edges, block.at[there], power[there])
    for t in range(block.steps):
        p, q, v = solve_tree(
            block.radial, slopes_of_step(block.slopes, t), consumed[0, :, [t]].T, consumed[1, :, [t]].T
        )
        ports[t, 2 * len(block.at) :] = np.concatenate([p, q, v / (block.unit * KW_PER_MW)[:, None]]).ravel()
    limits = 2 * (len(block.radial.edge) + len(block.radial.place))
    limit, step = (part.ravel() for part in np.indices((limits, block.steps)))
    return np.asarray((limit_weights(block, limit, step) @ ports.ravel()).reshape(limits, block.steps))


def rows_of_block(chosen: np.ndarray, *, scale_kw: Floats) -> LimitRows:
    """Limits of a problem whose network stands in the program: no weights over buses.

    Parameters
    ----------
    chosen : ndarray of bool, (limit, step)
        Which limits may bind.
    scale_kw : ndarray, (limit,)
        What each limit may carry. [kW]
    """
    limit, step = np.nonzero(chosen)
    return LimitRows(limit, step, np.zeros((len(limit), 0)), scale=scale_kw[limit])


# The program -------------------------------------------------------------------------------------


def build_radial_program(problem: FlexibilityProblem, block: RadialBlock) -> FlexibilityProgram:
    """Devices, area, breaches and the network of all steps as one program.

    Parameters
    ----------
    problem : FlexibilityProblem
        Its rows come from `rows_of_block`; all else as without the block.
    block : RadialBlock
        Its buses are those of the problem.

    Returns
    -------
    FlexibilityProgram
        As `build_flexibility_program` gives it, with the network as the last family and
        `bus_kw[b, t] = sum of devices`, likewise for reactive power, as the last coupling rows.
    """
    program = build_flexibility_program(problem)
    network = stamp_network(block)
    links = _Links(problem, program, block)
    devices, others = program.blocks.weights[: len(program.members)], program.blocks.weights[len(program.members) :]
    # families that share their weights go on sharing them: `find_shared_sums` knows them by that
    joined = {id(weight): links.of_devices(links.pad(weight)) for weight in devices}
    weights = (*(joined[id(weight)] for weight in devices), *(links.pad(weight) for weight in others))
    blocks = replace(
        program.blocks,
        families=(*program.blocks.families, network.family),
        weights=(*weights, links.of_network()),
        lower=np.concatenate([program.blocks.lower, np.zeros(links.count)]),
        upper=np.concatenate([program.blocks.upper, np.zeros(links.count)]),
    )
    return replace(program, fleets=(*program.fleets, network), blocks=blocks)


@dataclass(frozen=True)
class _Links:
    """Rows that hand the power of the devices to the network: active (bus, step), then reactive (bus, step)."""

    problem: FlexibilityProblem
    program: FlexibilityProgram
    block: RadialBlock

    @property
    def first(self) -> int:
        return len(self.program.blocks.lower)

    @property
    def count(self) -> int:
        return 2 * len(self.block.at) * self.block.steps

    def pad(self, weight: sparse.csr_array) -> sparse.csr_array:
        """The same weights with empty rows for the links."""
        below = sparse.csr_array((self.count, weight.shape[1]))
        return sparse.csr_array(sparse.vstack([weight, below]))

    def of_devices(self, weight: sparse.csr_array) -> sparse.csr_array:
        """A device's power counts at its bus."""
        buses, steps = len(self.block.at), self.block.steps
        ports = weight.shape[1] // buses
        kinds = ports // steps
        kind, bus, step = (part.ravel() for part in np.indices((kinds, buses, steps)))
        row = self.first + (kind * buses + bus) * steps + step
        link = sparse.csr_array((np.ones(len(row)), (row, bus * ports + kind * steps + step)), shape=weight.shape)
        return sparse.csr_array(weight + link)

    def of_network(self) -> sparse.csr_array:
        """The network takes that power, and shows what the limits hold."""
        block, rows = self.block, self.problem.rows
        kind, bus, step = (part.ravel() for part in np.indices((2, len(block.at), block.steps)))
        port = step * block.ports + kind * len(block.at) + bus
        shape = (self.first + self.count, block.steps * block.ports)
        taken = sparse.csr_array((-np.ones(len(port)), (self.first + np.arange(len(port)), port)), shape=shape)
        shown = sparse.coo_array(limit_weights(block, rows.limit, rows.step))
        held = (shown.data, (self.program.limit_rows.start + shown.row, shown.col))
        return sparse.csr_array(taken + sparse.csr_array(held, shape=shape))


def expand_radial_to_pyomo(problem: FlexibilityProblem, block: RadialBlock) -> pyo.ConcreteModel:
    """The same program in plain Pyomo: `network[t]` of every step, joined by `link` and `network_limit`."""
    model = expand_to_pyomo(problem)
    _add_network(model, block)

    def link(m: Any, kind: int, b: int, t: int) -> Any:
        bus = problem.buses[b]
        if kind:
            return m.bus_kvar[bus, t] - m.network[t].bus_kvar[b] == 0
        return m.bus_kw[bus, t] - m.network[t].bus_kw[b] == 0

    model.link = pyo.Constraint(range(2), range(len(problem.buses)), model.step, rule=link)
    weights = limit_weights(block, problem.rows.limit, problem.rows.step)
    model.del_component("network_limit")

    def holds(m: Any, k: int) -> Any:
        row = sparse.coo_array(weights[[k]])
        ports = [divmod(port, block.ports) for port in row.col.tolist()]
        shown = pyo.quicksum(
            float(w) * m.network[t].power_kw[port] for w, (t, port) in zip(row.data, ports, strict=True)
        )
        return shown + m.breach[k].power_kw[0] <= float(problem.room_kw[k])

    model.network_limit = pyo.Constraint(range(len(problem.rows)), rule=holds)
    return model


def _add_network(model: pyo.ConcreteModel, block: RadialBlock) -> None:
    fleet, alone = stamp_network(block).fleet, {"hours": np.ones(len(block.unit))}
    model.network = pyo.Block(model.step)
    for t in range(block.steps):
        values = {name: value[:, t] for name, value in fleet.values.items()}
        write_block(fleet.template, model.network[t], len(block.radial.up), values | alone)
