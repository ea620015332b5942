"""Noise from a counter: a number depends on seed, scenario and count only, so that blocks and threads do not matter."""

from __future__ import annotations

import numpy as np

from gridtwin.kernels.lanes import inner

_G1, _G2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S16, _S27, _S30, _S31, _S32 = (np.uint64(n) for n in (16, 27, 30, 31, 32))
_FIELDS, _HALF = np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFFFFFF)
_MEAN, _DEVIATION = 8 * 65535 / 2, np.sqrt(8 * (65536.0**2 - 1) / 12)


@inner
def _mix(z):  # type: ignore[no-untyped-def]
    """The output function of splitmix64 (G. Steele et al., OOPSLA 2014, doi:10.1145/2660193.2660195)."""
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


@inner
def noise_of(seed, scenario, count):  # type: ignore[no-untyped-def]
    """A nearly normal number that only the three words decide: mean 0, deviation 1.

    The sum of eight 16-bit numbers of two hashes (Irwin and Hall): excess kurtosis
    -0.15, never beyond 4.9. Words are uint64, numbers or arrays.
    """
    z = _mix(seed + scenario * _G2) + count * _G1
    first, second = _mix(z), _mix(z ^ _M1)
    pairs = (first & _FIELDS) + ((first >> _S16) & _FIELDS) + (second & _FIELDS) + ((second >> _S16) & _FIELDS)
    total = (pairs & _HALF) + (pairs >> _S32)
    return (total * 1.0 - _MEAN) / _DEVIATION
