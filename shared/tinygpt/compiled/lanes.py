"""`Lanes`: sixteen numbers that the processor handles at once (SIMD), as a type for compiled functions.

`Lanes` are loaded from arrays, stored to arrays, and added, multiplied and so on number by number:
`load(x, (row, i)) * 2.0` is `x[row, i : i + 16] * 2.0` without the temporary array. A processor with narrower registers
uses several of them. `load4` and its like handle four `Lanes`, 64 numbers, as a tuple.

All arithmetic is in float32. Arrays may hold shorter formats: bfloat16 as uint16 (the upper half of a float32), and
int8, which can only be loaded.
"""

# ruff: noqa: ARG001 - an intrinsic is given the types of its arguments, and not all of them matter

import operator
from collections.abc import Callable
from typing import Any

import numba.core.datamodel.models
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import lower_builtin, register_model

LANES = 16
WIDE = 4 * LANES
"""Numbers in the four `Lanes` that `load4` loads."""

_FLOAT, _INT, _INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)
_STORED = {
    types.float32: FLOATS,
    types.uint16: ir.VectorType(ir.IntType(16), LANES),
    types.int8: ir.VectorType(ir.IntType(8), LANES),
}
Generate = Callable[[Any, ir.IRBuilder, Any, Any], Any]
"""Writes the LLVM instructions of a call. Takes context, builder, signature and arguments; returns the result."""


class VectorType(types.Type):  # type: ignore[misc]
    """A type of compiled functions for vectors that LLVM knows as `registers`."""

    def __init__(self, name: str, registers: ir.VectorType) -> None:
        super().__init__(name=name)
        self.registers = registers


@register_model(VectorType)
class _VectorModel(numba.core.datamodel.models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, frontend_type: VectorType) -> None:
        super().__init__(manager, frontend_type, frontend_type.registers)


lanes = VectorType(f"Lanes({LANES})", FLOATS)
lanes4 = types.UniTuple(lanes, 4)


def intrinsic(function: Callable[..., tuple[Any, Generate]]) -> Any:
    """Let compiled code call `function`, which returns the call's signature and what generates its instructions."""
    return numba.extending.intrinsic(function)


@intrinsic
def load(typing: Any, array: Any, index: Any) -> tuple[Any, Generate]:
    """16 numbers of a C-contiguous array, the first one at `index`, a tuple."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return _load(builder, _pointer(context, builder, array, index, arguments), array.dtype)

    return lanes(array, index), generate


@intrinsic
def load4(typing: Any, array: Any, index: Any) -> tuple[Any, Generate]:
    """64 numbers of a C-contiguous array, the first one at `index`, a tuple."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        start = _pointer(context, builder, array, index, arguments)
        loaded = [_load(builder, _further(builder, start, i), array.dtype) for i in range(4)]
        return context.make_tuple(builder, lanes4, loaded)

    return lanes4(array, index), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> tuple[Any, Generate]:
    """array[index ... index + 15] = value"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        _store(builder, arguments[2], _pointer(context, builder, array, index, arguments), array.dtype)
        return context.get_dummy_value()

    return types.void(array, index, lanes), generate


@intrinsic
def store_one(typing: Any, array: Any, index: Any, number: Any) -> tuple[Any, Generate]:
    """array[index] = number"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, index, arguments)
        stored = _narrow(builder, splat_to(builder, FLOATS, arguments[2]), array.dtype)
        element = builder.extract_element(stored, ir.Constant(_INT, 0))
        builder.store(element, builder.bitcast(pointer, element.type.as_pointer()))
        return context.get_dummy_value()

    return types.void(array, index, types.float32), generate


@intrinsic
def store4(typing: Any, array: Any, index: Any, value: Any) -> tuple[Any, Generate]:
    """array[index ... index + 63] = value"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        start = _pointer(context, builder, array, index, arguments)
        for i in range(4):
            value = builder.extract_value(arguments[2], i)
            _store(builder, value, _further(builder, start, i), array.dtype)
        return context.get_dummy_value()

    return types.void(array, index, lanes4), generate


@intrinsic
def splat(typing: Any, number: Any) -> tuple[Any, Generate]:
    """`number` sixteen times."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return splat_to(builder, FLOATS, arguments[0])

    return lanes(types.float32), generate


@intrinsic
def splat4(typing: Any, number: Any) -> tuple[Any, Generate]:
    """`number` 64 times."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, lanes4, [splat_to(builder, FLOATS, arguments[0])] * 4)

    return lanes4(types.float32), generate


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> tuple[Any, Generate]:
    """a * b + c, rounded once if the processor can. `a` may be a number."""
    is_number = isinstance(a, types.Number)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        factor = splat_to(builder, FLOATS, arguments[0]) if is_number else arguments[0]
        return _call(builder, "llvm.fmuladd", factor, arguments[1], arguments[2])

    return lanes(types.float32 if is_number else lanes, lanes, lanes), generate


@intrinsic
def multiply_add4(typing: Any, a: Any, b: Any, c: Any) -> tuple[Any, Generate]:
    """a * b + c, of 64 numbers each. `a` may be one number."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        def one(*parts: Any) -> Any:
            return _call(builder, "llvm.fmuladd", *parts)

        return each_of_four(context, builder, lanes4, one, *_as_fours(context, builder, signature, arguments))

    return lanes4(types.float32 if isinstance(a, types.Number) else lanes4, lanes4, lanes4), generate


@intrinsic
def multiply4(typing: Any, a: Any, b: Any) -> tuple[Any, Generate]:
    """a * b, of 64 numbers each. `a` may be one number."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return each_of_four(context, builder, lanes4, builder.fmul, *_as_fours(context, builder, signature, arguments))

    return lanes4(types.float32 if isinstance(a, types.Number) else lanes4, lanes4), generate


@intrinsic
def total(typing: Any, a: Any) -> tuple[Any, Generate]:
    """The sum of the 16 numbers. Halves are added to halves, so the order is always the same."""
    return types.float32(lanes), _reduction(lambda builder, left, right: builder.fadd(left, right))


@intrinsic
def largest(typing: Any, a: Any) -> tuple[Any, Generate]:
    """The largest of the 16 numbers. NaN is ignored."""
    return types.float32(lanes), _reduction(lambda builder, left, right: _call(builder, "llvm.maxnum", left, right))


@intrinsic
def maximum(typing: Any, a: Any, b: Any) -> tuple[Any, Generate]:
    """The larger of each two numbers."""
    return _elementwise("llvm.maxnum", 2)


@intrinsic
def at_least(typing: Any, a: Any, least: Any) -> tuple[Any, Generate]:
    """The larger of each two numbers; NaN if `a` is NaN."""
    return _bounded("<")


@intrinsic
def at_most(typing: Any, a: Any, most: Any) -> tuple[Any, Generate]:
    """The smaller of each two numbers; NaN if `a` is NaN."""
    return _bounded(">")


@intrinsic
def zero_below(typing: Any, bound: Any, a: Any, value: Any) -> tuple[Any, Generate]:
    """`value` with 0 wherever `a` is below the number `bound`. NaN is never below."""

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        bound, number, value = arguments
        below = builder.fcmp_ordered("<", number, splat_to(builder, FLOATS, bound))
        return builder.select(below, ir.Constant(FLOATS, [0.0] * LANES), value)

    return lanes(types.float32, lanes, lanes), generate


@intrinsic
def larger_magnitude(typing: Any, a: Any, b: Any) -> tuple[Any, Generate]:
    """The larger magnitude of each two numbers; NaN if either is NaN."""

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return _larger_magnitude(builder, *arguments)

    return lanes(lanes, lanes), generate


@intrinsic
def largest_magnitude(typing: Any, a: Any) -> tuple[Any, Generate]:
    """The largest magnitude of the 16 numbers; NaN if one is NaN."""
    return types.float32(lanes), _reduction(_larger_magnitude)


@intrinsic
def first_lanes(typing: Any, a: Any, count: Any, otherwise: Any) -> tuple[Any, Generate]:
    """The first `count` of the 16 numbers, and `otherwise` in place of the others; all 16 if `count` is larger."""

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        number, count, otherwise = arguments
        places = ir.Constant(INTS, list(range(LANES)))
        first = builder.icmp_signed("<", places, splat_to(builder, INTS, builder.trunc(count, _INT)))
        return builder.select(first, number, splat_to(builder, FLOATS, otherwise))

    return lanes(lanes, types.int64, types.float32), generate


@intrinsic
def nearest_integer(typing: Any, a: Any) -> tuple[Any, Generate]:
    """The nearest integers, as floats."""
    return _elementwise("llvm.rint", 1)


@intrinsic
def power_of_two(typing: Any, exponent: Any) -> tuple[Any, Generate]:
    """2 to the power of integers from -126 to 127: they are written into the exponent bits of a float32."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        biased = builder.add(builder.fptosi(arguments[0], INTS), ir.Constant(INTS, [127] * LANES))
        return builder.bitcast(builder.shl(biased, ir.Constant(INTS, [23] * LANES)), FLOATS)

    return lanes(lanes), generate


def _add_operator(operation: Callable[[Any, Any], Any], instruction: str) -> None:
    """Let an operator take `Lanes` on both sides, or `Lanes` and a number."""

    class Typing(AbstractTemplate):  # type: ignore[misc]
        def generic(self, arguments: Any, _: Any) -> Any:
            if lanes in arguments:
                return lanes(*(lanes if side == lanes else types.float32 for side in arguments))
            return None

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        sides = [
            value if side == lanes else splat_to(builder, FLOATS, value)
            for value, side in zip(arguments, signature.args, strict=True)
        ]
        return getattr(builder, instruction)(*sides)

    infer_global(operation)(Typing)
    for sides in ((lanes, lanes), (lanes, types.float32), (types.float32, lanes)):
        lower_builtin(operation, *sides)(generate)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _add_operator(_operation, _instruction)


def _pointer(context: Any, builder: ir.IRBuilder, array: Any, index: Any, arguments: Any) -> Any:
    return pointer_to(context, builder, array, index, arguments, _STORED[array.dtype])


def pointer_to(context: Any, builder: ir.IRBuilder, array: Any, index: Any, arguments: Any, registers: ir.Type) -> Any:
    """A pointer to `registers` that begin at an element of an array: `arguments` are the array and its index."""
    unpacked = context.make_array(array)(context, builder, arguments[0])
    at = [
        context.cast(builder, value, index_type, types.intp)
        for value, index_type in zip(cgutils.unpack_tuple(builder, arguments[1]), index, strict=True)
    ]
    pointer = cgutils.get_item_pointer(context, builder, array, unpacked, at, wraparound=False, boundscheck=False)
    return builder.bitcast(pointer, registers.as_pointer())


def _further(builder: ir.IRBuilder, pointer: Any, count: int) -> Any:
    return builder.gep(pointer, [ir.Constant(_INDEX, count)])


def _load(builder: ir.IRBuilder, pointer: Any, dtype: Any) -> Any:
    stored = builder.load(pointer, align=dtype.bitwidth // 8)
    if dtype == types.uint16:
        return builder.bitcast(builder.shl(builder.zext(stored, INTS), ir.Constant(INTS, [16] * LANES)), FLOATS)
    return builder.sitofp(builder.sext(stored, INTS), FLOATS) if dtype == types.int8 else stored


def _store(builder: ir.IRBuilder, value: Any, pointer: Any, dtype: Any) -> None:
    builder.store(_narrow(builder, value, dtype), pointer, align=dtype.bitwidth // 8)


def _narrow(builder: ir.IRBuilder, value: Any, dtype: Any) -> Any:
    """The value in an array's format: the nearest bfloat16, of two equally near ones the one whose last bit is 0."""
    if dtype != types.uint16:
        return value
    bits = builder.bitcast(value, INTS)
    upper = builder.lshr(bits, ir.Constant(INTS, [16] * LANES))
    odd = builder.and_(upper, ir.Constant(INTS, [1] * LANES))
    rounded = builder.add(builder.add(bits, odd), ir.Constant(INTS, [0x7FFF] * LANES))
    return builder.trunc(builder.lshr(rounded, ir.Constant(INTS, [16] * LANES)), _STORED[dtype])


def splat_to(builder: ir.IRBuilder, registers: ir.VectorType, number: Any) -> Any:
    """`number` everywhere in a vector."""
    unused = ir.Constant(registers, ir.Undefined)
    first = builder.insert_element(unused, number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, unused, ir.Constant(ir.VectorType(_INT, registers.count), None))


def each_of_four(context: Any, builder: ir.IRBuilder, result: Any, operation: Callable[..., Any], *fours: Any) -> Any:
    """A tuple of type `result`: `operation` applied to the first vectors of all `fours`, to the second, and so on."""
    parts = [operation(*(builder.extract_value(four, i) for four in fours)) for i in range(4)]
    return context.make_tuple(builder, result, parts)


def _as_fours(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> list[Any]:
    """The arguments as four `Lanes` each. A number is repeated."""
    return [
        value if kind == lanes4 else context.make_tuple(builder, lanes4, [splat_to(builder, FLOATS, value)] * 4)
        for value, kind in zip(arguments, signature.args, strict=True)
    ]


def _larger_magnitude(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    """Compared as integers, because then the bits of NaN are the largest."""
    left, right = (builder.bitcast(_call(builder, "llvm.fabs", side), INTS) for side in (a, b))
    return builder.bitcast(builder.select(builder.icmp_signed(">", left, right), left, right), FLOATS)


def _call(builder: ir.IRBuilder, name: str, *arguments: Any) -> Any:
    signature = ir.FunctionType(FLOATS, [FLOATS] * len(arguments))
    function = cgutils.get_or_insert_function(builder.module, signature, f"{name}.v{LANES}f32")
    return builder.call(function, arguments)


def _elementwise(name: str, arguments: int) -> tuple[Any, Generate]:
    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        return _call(builder, name, *values)

    return lanes(*[lanes] * arguments), generate


def _bounded(beyond: str) -> tuple[Any, Generate]:
    def generate(_context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        number, bound = arguments
        return builder.select(builder.fcmp_ordered(beyond, number, bound), bound, number)

    return lanes(lanes, lanes), generate


def _reduction(combine: Callable[[ir.IRBuilder, Any, Any], Any]) -> Generate:
    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        value, unused = arguments[0], ir.Constant(FLOATS, ir.Undefined)
        half = LANES // 2
        while half:
            order = ir.Constant(INTS, [(i + half) % LANES for i in range(LANES)])
            value = combine(builder, value, builder.shuffle_vector(value, unused, order))
            half //= 2
        return builder.extract_element(value, ir.Constant(_INT, 0))

    return generate
