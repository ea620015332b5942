"""Open other lines of a feeder, so that it stays a tree and loses least: a mixed-integer program, checked by AC.

The feeder of M. E. Baran and F. F. Wu, IEEE Trans. Power Delivery 4(2), 1989, doi:10.1109/61.25627. Losses
r (P² + Q²) / V² are quadratic and the solver is linear: the squares lie above tangents, and tangents are added
where a solution lies below the curve. The program knows neither the voltage drop nor the power of the losses; AC
power flows of every exchange of one open line around its solution make up for that.
"""

import math
from collections.abc import Iterator

import networkx as nx
import pandapower as pp
import pandapower.networks as pn
import pyomo.environ as pyo
from pandapower.topology import create_nxgraph

KW = 1000  # per MW; in MW, losses come close to the tolerances of the solver
LARGEST_KW = 6000  # more than the feeder draws
FIRST_TANGENTS_KW = (50, 150, 400, 800, 1500, 2500, 4000)
ROUNDS = 20
CLOSE_ENOUGH = 1e-3  # of the losses


def build_reconfiguration(net: pp.pandapowerNet) -> pyo.ConcreteModel:
    """Least losses over all trees that supply every bus from the source."""
    source = int(net.ext_grid["bus"].iloc[0])
    ends = {line: (int(row["from_bus"]), int(row["to_bus"])) for line, row in net.line.iterrows()}
    r_ohm = net.line["r_ohm_per_km"] * net.line["length_km"]
    load_kw = KW * net.load.groupby("bus")[["p_mw", "q_mvar"]].sum()
    v_kv = net.bus["vn_kv"][source] * net.ext_grid["vm_pu"].iloc[0]

    model = pyo.ConcreteModel()
    model.line_of = {arc: line for line, (i, j) in ends.items() for arc in ((i, j), (j, i))}
    model.arcs = pyo.Set(initialize=list(model.line_of), dimen=2)
    model.kinds = pyo.Set(initialize=["p_mw", "q_mvar"])
    model.used = pyo.Var(model.arcs, domain=pyo.Binary)  # power flows from the first bus to the second
    model.flow = pyo.Var(model.arcs, model.kinds, bounds=(0, LARGEST_KW))
    model.square = pyo.Var(model.arcs, model.kinds, domain=pyo.NonNegativeReals)

    @model.Constraint(model.arcs, model.kinds)
    def only_where_used(model, i, j, kind):
        return model.flow[i, j, kind] <= LARGEST_KW * model.used[i, j]

    @model.Constraint(list(net.bus.index))
    def one_way_in(model, bus):
        # with power to deliver at every bus, this leaves neither rings nor islands
        return sum(model.used[i, j] for i, j in model.arcs if j == bus) == (0 if bus == source else 1)

    @model.Constraint(list(load_kw.index), model.kinds)
    def balance(model, bus, kind):
        into = sum(model.flow[i, j, kind] for i, j in model.arcs if j == bus)
        return into - sum(model.flow[i, j, kind] for i, j in model.arcs if i == bus) == load_kw.loc[bus, kind]

    model.tangents = pyo.ConstraintList()
    for i, j in model.arcs:
        for kind in model.kinds:
            for at_kw in FIRST_TANGENTS_KW:
                add_tangent(model, i, j, kind, at_kw)
    weight = {(i, j): r_ohm[line] / v_kv**2 / KW for (i, j), line in model.line_of.items()}
    model.loss_kw = pyo.Objective(expr=sum(weight[i, j] * model.square[i, j, kind] for i, j, kind in model.square))
    model.weight = weight
    return model


def add_tangent(model: pyo.ConcreteModel, i: int, j: int, kind: str, at_kw: float) -> None:
    """The square lies above its tangent at one flow; where the arc is unused, above zero."""
    tangent = 2 * at_kw * model.flow[i, j, kind] - at_kw**2 * model.used[i, j]
    model.tangents.add(model.square[i, j, kind] >= tangent)


def find_open_lines(model: pyo.ConcreteModel) -> set[int]:
    """Solve, add tangents where squares are too small, and again."""
    solver = pyo.SolverFactory("appsi_highs")
    solver.options = {"mip_rel_gap": CLOSE_ENOUGH, "threads": 1}
    for _ in range(ROUNDS):
        solver.solve(model)
        flow = {key: part.value for key, part in model.flow.items()}
        short = {key: flow[key] ** 2 - model.square[key].value for key in flow}
        missing_kw = sum(model.weight[i, j] * max(0.0, gap) for (i, j, _), gap in short.items())
        if missing_kw <= CLOSE_ENOUGH * pyo.value(model.loss_kw):
            break
        for key, gap in short.items():
            if model.weight[key[:2]] * gap > CLOSE_ENOUGH / 100:
                add_tangent(model, *key, flow[key])
    used = {model.line_of[arc] for arc, part in model.used.items() if part.value > 0.5}
    return set(model.line_of.values()) - used


def losses_kw(net: pp.pandapowerNet, open_lines: set[int]) -> float:
    """Losses by AC power flow; endless where a tree is too long to carry its loads."""
    net.line["in_service"] = ~net.line.index.isin(list(open_lines))
    try:
        pp.runpp(net)
    except pp.LoadflowNotConverged:
        return math.inf
    return KW * float(net.res_line["pl_mw"].sum())


def exchanges(net: pp.pandapowerNet, open_lines: set[int]) -> Iterator[set[int]]:
    """All trees that differ in one open line: close it, and open another line of the ring."""
    for closing in sorted(open_lines):
        net.line["in_service"] = ~net.line.index.isin(list(open_lines - {closing}))
        ring = nx.find_cycle(create_nxgraph(net))
        for *_, (_, opening) in ring:
            yield open_lines - {closing} | {opening}


def improve_by_exchange(net: pp.pandapowerNet, open_lines: set[int]) -> set[int]:
    """Exchange open lines while AC losses fall."""
    best = open_lines
    while True:
        nearby = min(exchanges(net, best), key=lambda lines: losses_kw(net, lines))
        if losses_kw(net, nearby) >= losses_kw(net, best) - 1e-6:
            return best
        best = nearby


def numbers(lines: set[int]) -> str:
    """As the literature counts lines: from 1."""
    return "-".join(str(line + 1) for line in sorted(lines))


net = pn.case33bw()
open_before = set(net.line.index[~net.line["in_service"]])
open_by_program = find_open_lines(build_reconfiguration(net))
open_after = improve_by_exchange(net, open_by_program)

print(f"{'':<12}{'losses kW':>10}{'lowest pu':>11}  open lines")
for case, lines in (("before", open_before), ("program", open_by_program), ("after", open_after)):
    loss_kw = losses_kw(net, lines)
    print(f"{case:<12}{loss_kw:>10.3f}{net.res_bus['vm_pu'].min():>11.5f}  {numbers(lines)}")
print(f"opened {numbers(open_after - open_before)}, closed {numbers(open_before - open_after)}")
