"""Vectors of lanes: what lets one kernel line compute eight or sixteen steps.

A compiler fills vector registers only where it can prove that two arrays do not
overlap and that a loop is worth it. Here it is told instead: `Lanes(16)` is a type
of sixteen doubles that lives in registers, and `load`, `store`, `+`, `fma`, `select`
are one machine instruction for every eight (AVX-512), four (AVX2) or two (NEON) of
them. The width stands in the type, so the same kernel compiles for any width; a
lane goes through the same operations with the same roundings at every width.

    half = load(array, row, width) * 0.5      # row of an (element, lane) array
    store(array, row, fma(half, half, half))

`width` is an argument such as `LANES_16`, a tuple whose length is the width.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

LANES_4, LANES_8, LANES_16 = (None,) * 4, (None,) * 8, (None,) * 16
"""Widths: pass one as `width`."""

_door = {"cache": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner = njit(**_door, _nrt=False, forceinline=True)
"""For functions that only other kernels call. They become part of their caller, and count no references to arrays:
a counter that is touched in the innermost loop costs more than the arithmetic. They cannot allocate."""
apart = njit(**_door, _nrt=False)
"""For large functions with several callers: compiled once."""
allocating = njit(**_door)
"""For functions that allocate arrays."""


class Lanes(types.Type):  # type: ignore[misc]
    """`width` doubles in registers."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(f"Lanes({width})")


class Mask(types.Type):  # type: ignore[misc]
    """`width` truth values in registers."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(f"Mask({width})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, ir.VectorType(ir.DoubleType(), lanes.width))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, mask: Mask) -> None:
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.width))


# How a value becomes a vector ---------------------------------------------------------------------


def _width_of(*kinds: types.Type) -> int:
    return next(kind.width for kind in kinds if isinstance(kind, Lanes))


def _spread(builder: Any, value: Any, width: int) -> Any:
    """The same number in every lane."""
    vector = ir.VectorType(value.type, width)
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width))


def _vectors(builder: Any, kinds: Any, values: Any, width: int) -> list[Any]:
    pairs = zip(kinds, values, strict=True)
    return [value if isinstance(kind, Lanes) else _spread(builder, value, width) for kind, value in pairs]


def _fma(builder: Any, width: int, a: Any, b: Any, c: Any) -> Any:
    vector = ir.VectorType(ir.DoubleType(), width)
    function = ir.FunctionType(vector, [vector] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.fma.v{width}f64"), [a, b, c])


def _unary_llvm(builder: Any, name: str, value: Any, width: int) -> Any:
    vector = ir.VectorType(ir.DoubleType(), width)
    function = ir.FunctionType(vector, [vector])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.v{width}f64"), [value])


# Arithmetic ---------------------------------------------------------------------------------------


def _register_operator(symbol: Callable[..., Any], instruction: str) -> None:
    """`lanes op lanes`, `lanes op number` and `number op lanes`."""

    @infer_global(symbol)
    class _Typing(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) != 2 or not any(isinstance(arg, Lanes) for arg in args):
                return None
            if not all(isinstance(arg, (Lanes, types.Float)) for arg in args):
                return None
            return signature(Lanes(_width_of(*args)), *args)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = _vectors(builder, sig.args, args, sig.return_type.width)
        return getattr(builder, instruction)(a, b)

    for pair in ((Lanes, Lanes), (Lanes, types.Float), (types.Float, Lanes)):
        lower_builtin(symbol, *pair)(lower)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register_operator(_symbol, _instruction)


@intrinsic
def fma(typing, a, b, c):  # type: ignore[no-untyped-def]
    """A * b + c with one rounding."""
    width = _width_of(a, b, c)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return _fma(builder, width, *_vectors(builder, sig.args, args, width))

    return signature(Lanes(width), a, b, c), codegen


@intrinsic
def fnma(typing, a, b, c):  # type: ignore[no-untyped-def]
    """C - a * b with one rounding."""
    width = _width_of(a, b, c)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        first, second, third = _vectors(builder, sig.args, args, width)
        return _fma(builder, width, builder.fneg(first), second, third)

    return signature(Lanes(width), a, b, c), codegen


@intrinsic
def root(typing, a):  # type: ignore[no-untyped-def]
    """Square root."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return _unary_llvm(builder, "sqrt", args[0], a.width)

    return signature(a, a), codegen


@intrinsic
def magnitude(typing, a):  # type: ignore[no-untyped-def]
    """Absolute value."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return _unary_llvm(builder, "fabs", args[0], a.width)

    return signature(a, a), codegen


# Comparison and choice ----------------------------------------------------------------------------


def _comparison(symbol: str, unordered: bool = False) -> Any:
    @intrinsic
    def compare(typing, a, b):  # type: ignore[no-untyped-def]
        width = _width_of(a, b)

        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            first, second = _vectors(builder, sig.args, args, width)
            return (builder.fcmp_unordered if unordered else builder.fcmp_ordered)(symbol, first, second)

        return signature(Mask(width), a, b), codegen

    return compare


greater = _comparison(">")
"""a > b per lane; false beside a NaN."""
at_most = _comparison("<=")
"""a <= b per lane; false beside a NaN."""


@intrinsic
def select(typing, mask, a, b):  # type: ignore[no-untyped-def]
    """A where the mask holds, else b."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        first, second = _vectors(builder, sig.args[1:], args[1:], mask.width)
        return builder.select(args[0], first, second)

    return signature(Lanes(mask.width), mask, a, b), codegen


def _mask_operation(instruction: str) -> Any:
    @intrinsic
    def combine(typing, a, b):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return getattr(builder, instruction)(args[0], args[1])

        return signature(a, a, b), codegen

    return combine


both = _mask_operation("and_")
"""Both masks hold."""
either = _mask_operation("or_")
"""One mask holds."""


@intrinsic
def negate(typing, mask):  # type: ignore[no-untyped-def]
    """The mask does not hold."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.not_(args[0])

    return signature(mask, mask), codegen


@intrinsic
def any_lane(typing, mask):  # type: ignore[no-untyped-def]
    """Whether the mask holds in any lane."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        bits = builder.bitcast(args[0], ir.IntType(mask.width))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return signature(types.boolean, mask), codegen


@inner
def larger(a, b):  # type: ignore[no-untyped-def]
    """The larger of two per lane; b beside a NaN in a."""
    return select(greater(a, b), a, b)


# Memory -------------------------------------------------------------------------------------------


def _place(context: Any, builder: Any, array_type: Any, array: Any, index: Any, stride: int) -> Any:
    """Address of element `index * stride`, without the check for negative numbers."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [builder.mul(index, ir.Constant(index.type, stride))])


@intrinsic
def item(typing, array, index):  # type: ignore[no-untyped-def]
    """array[index] of a contiguous array, for an index that is known to be valid."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        index = context.cast(builder, args[1], sig.args[1], types.intp)
        return builder.load(_place(context, builder, sig.args[0], args[0], index, 1))

    return signature(array.dtype, array, index), codegen


@intrinsic
def load(typing, array, row, width):  # type: ignore[no-untyped-def]
    """Row of an (element, lane) array as lanes."""
    vector = ir.VectorType(ir.DoubleType(), len(width))

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        index = context.cast(builder, args[1], sig.args[1], types.intp)
        place = _place(context, builder, sig.args[0], args[0], index, len(width))
        return builder.load(builder.bitcast(place, vector.as_pointer()), align=8)

    return signature(Lanes(len(width)), array, row, width), codegen


@intrinsic
def store(typing, array, row, value):  # type: ignore[no-untyped-def]
    """Write lanes into a row of an (element, lane) array."""
    vector = ir.VectorType(ir.DoubleType(), value.width)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        index = context.cast(builder, args[1], sig.args[1], types.intp)
        place = _place(context, builder, sig.args[0], args[0], index, value.width)
        builder.store(args[2], builder.bitcast(place, vector.as_pointer()), align=8)
        return context.get_dummy_value()

    return signature(types.void, array, row, value), codegen


def _scattered(context: Any, builder: Any, kinds: Any, values: Any, lane: int) -> Any:
    """Address of `rows[lane] + column` in a contiguous table; arguments are table, rows, column."""
    table, rows, column = values[:3]
    column = context.cast(builder, column, kinds[2], types.intp)
    starts = context.make_array(kinds[1])(context, builder, rows).data
    start = builder.load(builder.gep(starts, [ir.Constant(column.type, lane)]))
    return builder.gep(context.make_array(kinds[0])(context, builder, table).data, [builder.add(start, column)])


@intrinsic
def gather(typing, table, rows, column, width):  # type: ignore[no-untyped-def]
    """Element `column` of a different row of a table in every lane; `rows` says where the rows begin."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        lanes = ir.Constant(ir.VectorType(ir.DoubleType(), len(width)), ir.Undefined)
        for lane in range(len(width)):
            value = builder.load(_scattered(context, builder, sig.args, args, lane))
            value = context.cast(builder, value, table.dtype, types.float64)
            lanes = builder.insert_element(lanes, value, ir.Constant(ir.IntType(32), lane))
        return lanes

    return signature(Lanes(len(width)), table, rows, column, width), codegen


@intrinsic
def scatter(typing, table, rows, column, value):  # type: ignore[no-untyped-def]
    """Write every lane into element `column` of its row; `rows` says where the rows begin."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        for lane in range(value.width):
            number = builder.extract_element(args[3], ir.Constant(ir.IntType(32), lane))
            builder.store(number, _scattered(context, builder, sig.args, args, lane))
        return context.get_dummy_value()

    return signature(types.void, table, rows, column, value), codegen


@intrinsic
def spread(typing, number, width):  # type: ignore[no-untyped-def]
    """The same number in every lane."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return _spread(builder, args[0], len(width))

    return signature(Lanes(len(width)), types.float64, width), codegen


@allocating
def lane_rows(rows, width):  # type: ignore[no-untyped-def]
    """An uninitialised (rows, lane) array at a multiple of 64 bytes.

    A vector that straddles two cache lines costs two accesses.
    """
    count = rows * len(width)
    flat = np.empty(count + 7, dtype=np.float64)
    first = (-(flat.ctypes.data // 8)) % 8
    return flat[first : first + count].reshape(rows, len(width))


# Functions ----------------------------------------------------------------------------------------


ATAN = (
    *(-0.3333333333333312, 0.19999999999940893, -0.14285714279250245, 0.11111110744919658),
    *(-0.09090896809064027, 0.07692045330902225, -0.06662951813629191, 0.05846878297330872),
    *(-0.05035102456601552, 0.03796525745386593, -0.017805397205419446),
)
"""Coefficients of z, z², ... in arctan(t) / t with z = t², from interpolation in the Chebyshev points of
0 <= t <= tan(pi/8) with 50 digits; relative error below 1.3e-18 before rounding."""


@inner
def atan2(y, x, width):  # type: ignore[no-untyped-def]
    """Angle of (x, y) in every lane, within 4e-16 of its value. [rad]

    Tangents above tan(pi/8) are reduced by one reflection and one turn of pi/4, both
    before the only division.
    """
    ax, ay = magnitude(x), magnitude(y)
    steep = greater(ay, ax)
    high, low = select(steep, ay, ax), select(steep, ax, ay)
    turned = greater(low, high * 0.41421356237309503)
    t = select(turned, low - high, low) / select(turned, low + high, select(greater(high, 0.0), high, 1.0))
    z = t * t
    series = fma(z, ATAN[10], spread(ATAN[9], width))
    for k in range(8, -1, -1):
        series = fma(series, z, ATAN[k])
    angle = fma(t * z, series, t) + select(turned, 0.7853981633974483, spread(0.0, width))
    angle = select(steep, 1.5707963267948966 - angle, angle)
    angle = select(greater(0.0, x), 3.141592653589793 - angle, angle)
    return select(greater(0.0, y), 0.0 - angle, angle)
