"""Where connection requests ask to connect: buses that exist and have supply."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from gridtwin.errors import Finding, ScenarioError, raise_errors
from gridtwin.grid.compile import compile_network
from gridtwin.grid.twin import GridTwin
from gridtwin.scenario import Connection


def check_connection_buses(twin: GridTwin, connections: Sequence[Connection]) -> None:
    """Raise `ScenarioError` with every request at a bus that is unknown or has no supply."""
    supplied = list(twin.buses.index[compile_network(twin).out_bus >= 0]) if connections else []
    findings = [
        _no_supply(number, connection.bus, connection.bus in twin.buses.index, supplied)
        for number, connection in enumerate(connections)
        if connection.bus not in supplied
    ]
    raise_errors(findings, ScenarioError)


def _no_supply(number: int, bus: str, known: bool, supplied: list[str]) -> Finding:
    close = difflib.get_close_matches(bus, supplied, n=1, cutoff=0.3)
    return Finding(
        "the bus has no supply" if known else "there is no such bus",
        where=f"connection.{number}.bus",
        expected="the name of a bus with supply",
        got=bus,
        do=f"Did you mean {close[0]}?" if close else "",
        severity="error",
        code="GT-C10",
    )
