"""A library of boards with the names of `pynvml`, whose true power the test knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


class NVMLError(Exception):
    """As the library raises them."""


@dataclass
class FakeBoard:
    """One board over the time that the test sets.

    `watts` is the true power at a time. The sensor shows the mean over `averaging` seconds before the last update,
    of the `seen` share of each `update` seconds.
    """

    watts: Callable[[float], float]
    name: str = "NVIDIA L40S"
    architecture: int | None = 8
    averaging: float = 1.0
    update: float = 0.1
    seen: float = 1.0
    limit_mw: int | None = 400_000
    has_counter: bool = True
    has_power: bool = True
    counter_factor: float = 1.0
    offset_j: float = 1234.0
    grid: float = 1e-3
    lost_j: float = 0.0
    _cache: dict[int, float] = field(default_factory=lambda: {0: 0.0})

    def joules(self, seconds: float) -> float:
        """True energy since the start: midpoints of milliseconds, power is constant over them."""
        steps = round(seconds / self.grid)
        known = max(self._cache)
        total = self._cache[known]
        for i in range(known, steps):
            total += self.watts((i + 0.5) * self.grid) * self.grid
            self._cache[i + 1] = total
        return self._cache[steps] if steps >= 0 else self.watts(0.0) * seconds

    def sensor_w(self, seconds: float) -> float:
        if self.averaging:
            return (self.joules(seconds) - self.joules(seconds - self.averaging)) / self.averaging
        start = seconds // self.update * self.update - self.update
        return (self.joules(start + self.seen * self.update) - self.joules(start)) / (self.seen * self.update)


@dataclass
class FakeNvml:
    """The calls of the library."""

    boards: list[FakeBoard]
    seconds: float = 0.0
    NVMLError = NVMLError

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.boards:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeBoard:  # noqa: N802
        return self.boards[index]

    def nvmlDeviceGetName(self, handle: FakeBoard) -> bytes:  # noqa: N802
        return handle.name.encode()

    def nvmlDeviceGetArchitecture(self, handle: FakeBoard) -> int:  # noqa: N802
        return self._or_not_supported(handle.architecture, handle.architecture is not None)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: FakeBoard) -> int:  # noqa: N802
        return self._or_not_supported(handle.limit_mw, handle.limit_mw is not None)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeBoard) -> int:  # noqa: N802
        joules = handle.offset_j + handle.counter_factor * handle.joules(self.seconds) - handle.lost_j
        return self._or_not_supported(int(1e3 * joules), handle.has_counter)

    def nvmlDeviceGetPowerUsage(self, handle: FakeBoard) -> int:  # noqa: N802
        return self._or_not_supported(round(1e3 * handle.sensor_w(self.seconds)), handle.has_power)

    @staticmethod
    def _or_not_supported(value, supported: bool) -> int:
        if not supported:
            raise NVMLError("Not Supported")
        return value
