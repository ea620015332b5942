"""Where networks come from: SimBench, pandapower's own examples, or a file."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandapower.networks
from pandapower.auxiliary import pandapowerNet

from gridtwin.data.profiles import Profiles
from gridtwin.errors import DataError, Finding, NetworkError, raise_errors
from gridtwin.grid.matpower import read_matpower
from gridtwin.grid.network_checks import check_network
from gridtwin.grid.pandapower_json import read_pandapower_json
from gridtwin.grid.simbench import read_simbench

FINDINGS_KEY = "gridtwin_findings"
"""Key of the net under which `read_network` leaves what it noticed."""
READERS: dict[str, Callable[[Path], tuple[pandapowerNet, list[Finding]]]] = {
    ".json": read_pandapower_json,
    ".m": read_matpower,
}
"""Reader of a file by the ending of its name."""


@dataclass(frozen=True, eq=False)
class NetworkSource:
    """What one source gives.

    Parameters
    ----------
    net : pandapowerNet
        The checked network, with its findings under `gridtwin_findings`.
    profiles : Profiles or None
        Power of every asset, where the source has it (SimBench).
    findings : tuple of Finding
        What was repaired, left out or doubtful.
    """

    net: pandapowerNet
    profiles: Profiles | None
    findings: tuple[Finding, ...]


def read_network(source: str | Path, base: Path = Path()) -> pandapowerNet:
    """Read and check a network.

    Parameters
    ----------
    source : str or path
        `simbench:<code>`, `pandapower:<function of pandapower.networks>`, or the path of a
        JSON file that pandapower wrote or of a MATPOWER case (.m, version 2).
    base : path
        Folder of relative paths.

    Returns
    -------
    pandapowerNet
        The network; findings are under `net["gridtwin_findings"]`.

    Raises
    ------
    NetworkError
        If the source is unknown, or the network cannot be computed; all reasons at once.

    Examples
    --------
    >>> len(read_network("pandapower:create_cigre_network_lv").load)
    15
    """
    return read_network_and_profiles(source, base=base).net


def read_network_and_profiles(source: str | Path, base: Path = Path()) -> NetworkSource:
    """Read a network and, where the source has them, its profiles, in one go."""
    scheme, _, rest = str(source).partition(":")
    profiles: Profiles | None = None
    findings: list[Finding] = []
    if scheme == "simbench":
        net, profiles, findings = read_simbench(rest)
    elif scheme == "pandapower":
        net = _example_network(rest)
    else:
        net, findings = _read_file(Path(source), base)
    findings += raise_errors(check_network(net), NetworkError)
    net[FINDINGS_KEY] = findings
    return NetworkSource(net, profiles, tuple(findings))


def read_profiles(source: str | Path, base: Path = Path()) -> Profiles:
    """Power of every asset of a network whose source has it.

    Parameters
    ----------
    source : str or path
        `simbench:<code>`; series of your own come with `[[profiles.file]]` of a scenario.
    base : path
        Folder of relative paths.

    Raises
    ------
    DataError
        If the source has no series.
    """
    profiles = read_network_and_profiles(source, base).profiles
    if profiles is None:
        raise DataError(
            [
                Finding(
                    "the source has no series",
                    where=str(source),
                    expected="simbench:<code>",
                    do="Give series of your own as [[profiles.file]] of a scenario.",
                    severity="error",
                )
            ]
        )
    return profiles


def list_example_networks() -> dict[str, Callable[[], pandapowerNet]]:
    """Functions of `pandapower.networks` that make a network without being told anything."""
    functions = inspect.getmembers(pandapower.networks, inspect.isfunction)
    return {name: function for name, function in functions if _is_example(name, function)}


def _is_example(name: str, function: Callable[..., object]) -> bool:
    if name.startswith("_") or not function.__module__.startswith("pandapower.networks."):
        return False
    parameters = inspect.signature(function).parameters.values()
    optional = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    return all(one.default is not one.empty or one.kind in optional for one in parameters)


def _example_network(name: str) -> pandapowerNet:
    examples = list_example_networks()
    if name not in examples:
        near = difflib.get_close_matches(name, examples, n=3, cutoff=0.4)
        raise NetworkError([_unknown(f"pandapower:{name}", "unknown network of pandapower", near)])
    with warnings.catch_warnings():
        # pandapower's older examples run a power flow with columns that it deprecates itself
        warnings.simplefilter("ignore")
        net = examples[name]()
    if not isinstance(net, pandapowerNet):
        raise NetworkError([_unknown(f"pandapower:{name}", "the function does not return a network", [])])
    return net


def _unknown(where: str, what: str, near: list[str]) -> Finding:
    expected = " or ".join(near) or "a function of pandapower.networks without arguments"
    return Finding(what, where, expected, severity="error", code="GT-N20")


def _read_file(path: Path, base: Path) -> tuple[pandapowerNet, list[Finding]]:
    file = path if path.is_absolute() else base / path
    read = READERS.get(file.suffix.lower())
    if read is not None:
        return read(file)
    raise NetworkError(
        [
            Finding(
                "unknown kind of network source",
                where=str(path),
                expected="simbench:<code>, pandapower:<function>, a .json file of pandapower or a .m file of MATPOWER",
                got=file.suffix or str(path),
                do="Save other formats with pandapower.to_json first.",
                severity="error",
                code="GT-N20",
            )
        ]
    )
