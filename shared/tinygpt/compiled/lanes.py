"""`Lanes`: sixteen numbers that the processor handles at once (SIMD), as a type for compiled functions.

They are loaded from arrays and stored to them, added, multiplied and so on, number by number: `load(x, (row, i)) * 2.0`
is `x[row, i : i + 16] * 2.0` without the temporary array. A processor with narrower registers takes several for them.
`load4` and its like handle four `Lanes`, 64 numbers, as a tuple.

All arithmetic is in float32. Arrays may hold less: bfloat16 as uint16, the upper half of a float32, and int8.
"""

# ruff: noqa: ARG001 - an intrinsic is given the types of its arguments, and not all of them matter

import operator
from collections.abc import Callable
from typing import Any

import numba.core.datamodel.models
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import overload, register_model

LANES = 16
WIDE = 4 * LANES
"""Numbers in the four `Lanes` that `load4` loads."""

_FLOAT, _INT, _INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)
_STORED = {
    types.float32: _FLOATS,
    types.uint16: ir.VectorType(ir.IntType(16), LANES),
    types.int8: ir.VectorType(ir.IntType(8), LANES),
}
Generate = Callable[[Any, ir.IRBuilder, Any, Any], Any]
"""Writes the LLVM instructions of a call: of context, builder, signature and arguments, the result's value."""


class LanesType(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name=f"Lanes({LANES})")


_lanes = LanesType()
_lanes4 = types.UniTuple(_lanes, 4)


@register_model(LanesType)
class _LanesModel(numba.core.datamodel.models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, _FLOATS)


def _intrinsic(function: Callable[..., tuple[Any, Generate]]) -> Any:
    """A function of compiled code that is given as its signature and the instructions it stands for."""
    return numba.extending.intrinsic(function)


@_intrinsic
def load(typing: Any, array: Any, index: Any) -> tuple[Any, Generate]:
    """The 16 numbers of a C-contiguous array from `index`, a tuple, on."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return _load(builder, _pointer(context, builder, array, index, arguments), array.dtype)

    return _lanes(array, index), generate


@_intrinsic
def load4(typing: Any, array: Any, index: Any) -> tuple[Any, Generate]:
    """The 64 numbers of a C-contiguous array from `index`, a tuple, on."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        start = _pointer(context, builder, array, index, arguments)
        loaded = [_load(builder, _further(builder, start, i), array.dtype) for i in range(4)]
        return context.make_tuple(builder, _lanes4, loaded)

    return _lanes4(array, index), generate


@_intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> tuple[Any, Generate]:
    """array[index ... index + 15] = value"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        _store(builder, arguments[2], _pointer(context, builder, array, index, arguments), array.dtype)
        return context.get_dummy_value()

    return types.void(array, index, _lanes), generate


@_intrinsic
def store_one(typing: Any, array: Any, index: Any, number: Any) -> tuple[Any, Generate]:
    """array[index] = number"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, index, arguments)
        stored = _narrow(builder, _splat(builder, arguments[2]), array.dtype)
        element = builder.extract_element(stored, ir.Constant(_INT, 0))
        builder.store(element, builder.bitcast(pointer, element.type.as_pointer()))
        return context.get_dummy_value()

    return types.void(array, index, types.float32), generate


@_intrinsic
def store4(typing: Any, array: Any, index: Any, value: Any) -> tuple[Any, Generate]:
    """array[index ... index + 63] = value"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        start = _pointer(context, builder, array, index, arguments)
        for i in range(4):
            value = builder.extract_value(arguments[2], i)
            _store(builder, value, _further(builder, start, i), array.dtype)
        return context.get_dummy_value()

    return types.void(array, index, _lanes4), generate


@_intrinsic
def splat(typing: Any, number: Any) -> tuple[Any, Generate]:
    """`number` sixteen times."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0])

    return _lanes(types.float32), generate


@_intrinsic
def splat4(typing: Any, number: Any) -> tuple[Any, Generate]:
    """`number` 64 times."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, _lanes4, [_splat(builder, arguments[0])] * 4)

    return _lanes4(types.float32), generate


@_intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> tuple[Any, Generate]:
    """a * b + c, rounded once where the processor can. `a` may be a number."""
    is_number = isinstance(a, types.Number)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        factor = _splat(builder, arguments[0]) if is_number else arguments[0]
        return _call(builder, "llvm.fmuladd", factor, arguments[1], arguments[2])

    return _lanes(types.float32 if is_number else _lanes, _lanes, _lanes), generate


@_intrinsic
def multiply_add4(typing: Any, a: Any, b: Any, c: Any) -> tuple[Any, Generate]:
    """a * b + c, of 64 numbers each. `a` may be one number."""
    is_number = isinstance(a, types.Number)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        factors, terms, sums = arguments
        factor = _splat(builder, factors) if is_number else None
        results = []
        for i in range(4):
            term, sum_ = (builder.extract_value(four, i) for four in (terms, sums))
            results.append(_call(builder, "llvm.fmuladd", factor or builder.extract_value(factors, i), term, sum_))
        return context.make_tuple(builder, _lanes4, results)

    return _lanes4(types.float32 if is_number else _lanes4, _lanes4, _lanes4), generate


@_intrinsic
def total(typing: Any, a: Any) -> tuple[Any, Generate]:
    """The sum of the 16 numbers: halves added to halves, so always in the same order."""
    return types.float32(_lanes), _reduction(lambda builder, left, right: builder.fadd(left, right))


@_intrinsic
def largest(typing: Any, a: Any) -> tuple[Any, Generate]:
    """The largest of the 16 numbers."""
    return types.float32(_lanes), _reduction(lambda builder, left, right: _call(builder, "llvm.maxnum", left, right))


@_intrinsic
def maximum(typing: Any, a: Any, b: Any) -> tuple[Any, Generate]:
    """The larger of each two numbers."""
    return _elementwise("llvm.maxnum", 2)


@_intrinsic
def at_least(typing: Any, a: Any, least: Any) -> tuple[Any, Generate]:
    """The larger of each two numbers, and NaN where `a` is."""

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        number, bound = arguments
        return builder.select(builder.fcmp_ordered("<", number, bound), bound, number)

    return _lanes(_lanes, _lanes), generate


@_intrinsic
def absolute(typing: Any, a: Any) -> tuple[Any, Generate]:
    return _elementwise("llvm.fabs", 1)


@_intrinsic
def copy_sign(typing: Any, a: Any, sign: Any) -> tuple[Any, Generate]:
    """`a` with the signs of `sign`."""
    return _elementwise("llvm.copysign", 2)


@_intrinsic
def nearest_integer(typing: Any, a: Any) -> tuple[Any, Generate]:
    return _elementwise("llvm.rint", 1)


@_intrinsic
def power_of_two(typing: Any, exponent: Any) -> tuple[Any, Generate]:
    """2 to the power of integers from -126 to 127, by writing them where a float32 has its exponent."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        biased = builder.add(builder.fptosi(arguments[0], _INTS), ir.Constant(_INTS, [127] * LANES))
        return builder.bitcast(builder.shl(biased, ir.Constant(_INTS, [23] * LANES)), _FLOATS)

    return _lanes(_lanes), generate


def _add_operator(operation: Callable[[Any, Any], Any], instruction: str) -> None:
    """Let `Lanes` be operated on with one another and with numbers, on either side."""

    def apply(typing: Any, a: Any, b: Any) -> tuple[Any, Generate]:
        numbers = [isinstance(side, types.Number) for side in (a, b)]

        def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
            sides = [
                _splat(builder, value) if is_number else value
                for value, is_number in zip(arguments, numbers, strict=True)
            ]
            return getattr(builder, instruction)(*sides)

        return _lanes(*(types.float32 if is_number else _lanes for is_number in numbers)), generate

    applied = _intrinsic(apply)

    def choose(a: Any, b: Any) -> Any:
        if _lanes in (a, b):
            return lambda a, b: applied(a, b)
        return None

    overload(operation, strict=False)(choose)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _add_operator(_operation, _instruction)


def _pointer(context: Any, builder: ir.IRBuilder, array: Any, index: Any, arguments: Any) -> Any:
    """To the element of `arguments[0]`, an array, at `arguments[1]`, a tuple."""
    unpacked = context.make_array(array)(context, builder, arguments[0])
    at = [
        context.cast(builder, value, index_type, types.intp)
        for value, index_type in zip(cgutils.unpack_tuple(builder, arguments[1]), index, strict=True)
    ]
    pointer = cgutils.get_item_pointer(context, builder, array, unpacked, at, wraparound=False, boundscheck=False)
    return builder.bitcast(pointer, _STORED[array.dtype].as_pointer())


def _further(builder: ir.IRBuilder, pointer: Any, count: int) -> Any:
    return builder.gep(pointer, [ir.Constant(_INDEX, count)])


def _load(builder: ir.IRBuilder, pointer: Any, dtype: Any) -> Any:
    stored = builder.load(pointer, align=dtype.bitwidth // 8)
    if dtype == types.uint16:
        return builder.bitcast(builder.shl(builder.zext(stored, _INTS), ir.Constant(_INTS, [16] * LANES)), _FLOATS)
    return builder.sitofp(builder.sext(stored, _INTS), _FLOATS) if dtype == types.int8 else stored


def _store(builder: ir.IRBuilder, value: Any, pointer: Any, dtype: Any) -> None:
    builder.store(_narrow(builder, value, dtype), pointer, align=dtype.bitwidth // 8)


def _narrow(builder: ir.IRBuilder, value: Any, dtype: Any) -> Any:
    """As it is stored: in bfloat16 the nearest, of two the one whose last bit is 0."""
    if dtype != types.uint16:
        return value
    bits = builder.bitcast(value, _INTS)
    upper = builder.lshr(bits, ir.Constant(_INTS, [16] * LANES))
    odd = builder.and_(upper, ir.Constant(_INTS, [1] * LANES))
    rounded = builder.add(builder.add(bits, odd), ir.Constant(_INTS, [0x7FFF] * LANES))
    return builder.trunc(builder.lshr(rounded, ir.Constant(_INTS, [16] * LANES)), _STORED[dtype])


def _splat(builder: ir.IRBuilder, number: Any) -> Any:
    first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_INTS, [0] * LANES))


def _call(builder: ir.IRBuilder, name: str, *arguments: Any) -> Any:
    signature = ir.FunctionType(_FLOATS, [_FLOATS] * len(arguments))
    function = cgutils.get_or_insert_function(builder.module, signature, f"{name}.v{LANES}f32")
    return builder.call(function, arguments)


def _elementwise(name: str, arguments: int) -> tuple[Any, Generate]:
    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        return _call(builder, name, *values)

    return _lanes(*[_lanes] * arguments), generate


def _reduction(combine: Callable[[ir.IRBuilder, Any, Any], Any]) -> Generate:
    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        value, unused = arguments[0], ir.Constant(_FLOATS, ir.Undefined)
        half = LANES // 2
        while half:
            order = ir.Constant(_INTS, [(i + half) % LANES for i in range(LANES)])
            value = combine(builder, value, builder.shuffle_vector(value, unused, order))
            half //= 2
        return builder.extract_element(value, ir.Constant(_INT, 0))

    return generate
