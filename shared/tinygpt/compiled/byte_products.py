"""Products of bytes, 64 at once, summed in 32-bit integers: a processor does this four times as fast as with floats.

`Bytes` are 64 numbers of 8 bits. `Sums` are sixteen numbers of 32 bits, each for four adjacent bytes. All sums are
exact, so they are the same whichever instructions a processor has: one on x86 with VNNI (`vpdpbusd`), else several.
"""

# ruff: noqa: ARG001 - an intrinsic is given the types of its arguments, and not all of them matter

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from tinygpt.compiled.lanes import (
    FLOATS,
    INTS,
    LANES,
    WIDE,
    Generate,
    VectorType,
    each_of_four,
    intrinsic,
    lanes,
    lanes4,
    pointer_to,
    splat_to,
)

BYTES_A_SUM = WIDE // LANES
_BYTE, _INT = ir.IntType(8), ir.IntType(32)
_BYTES = ir.VectorType(_BYTE, WIDE)

_bytes, _sums = VectorType("Bytes", _BYTES), VectorType("Sums", INTS)
_bytes4, _sums4 = types.UniTuple(_bytes, 4), types.UniTuple(_sums, 4)


@intrinsic
def splat_bytes(typing: Any, array: Any, index: Any) -> tuple[Any, Generate]:
    """Four bytes of a C-contiguous array, the first at `index`, a tuple, repeated sixteen times."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        four = builder.load(pointer_to(context, builder, array, index, arguments, _INT), align=1)
        return builder.bitcast(splat_to(builder, INTS, four), _BYTES)

    return _bytes(array, index), generate


@intrinsic
def load_bytes4(typing: Any, array: Any, index: Any) -> tuple[Any, Generate]:
    """256 bytes of a C-contiguous array, the first at `index`, a tuple."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        start = pointer_to(context, builder, array, index, arguments, _BYTES)
        parts = [builder.load(builder.gep(start, [ir.Constant(_INT, i)]), align=1) for i in range(4)]
        return context.make_tuple(builder, _bytes4, parts)

    return _bytes4(array, index), generate


@intrinsic
def to_integers(typing: Any, value: Any) -> tuple[Any, Generate]:
    """16 floats as the nearest integers. NaN becomes any integer."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        name = f"llvm.lrint.v{LANES}i32.v{LANES}f32"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(INTS, [FLOATS]), name)
        return builder.call(function, [arguments[0]])

    return _sums(lanes), generate


@intrinsic
def store_bytes(typing: Any, array: Any, index: Any, value: Any) -> tuple[Any, Generate]:
    """array[index ... index + 15] = value, `Sums` of -128 to 127."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        stored = ir.VectorType(_BYTE, LANES)
        pointer = pointer_to(context, builder, array, index, arguments, stored)
        builder.store(builder.trunc(arguments[2], stored), pointer, align=1)
        return context.get_dummy_value()

    return types.void(array, index, _sums), generate


@intrinsic
def store_unsigned(typing: Any, array: Any, index: Any, source: Any, at: Any) -> tuple[Any, Generate]:
    """array[index ... index + 3] = source[at ... at + 3] + 128"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        four = builder.load(pointer_to(context, builder, source, at, arguments[2:], _INT), align=1)
        flipped = builder.xor(four, ir.Constant(_INT, 0x80808080))
        builder.store(flipped, pointer_to(context, builder, array, index, arguments, _INT), align=1)
        return context.get_dummy_value()

    return types.void(array, index, source, at), generate


@intrinsic
def add_sums(typing: Any, a: Any, b: Any) -> tuple[Any, Generate]:
    """a + b"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return builder.add(*arguments)

    return _sums(_sums, _sums), generate


@intrinsic
def total_of_sums(typing: Any, a: Any) -> tuple[Any, Generate]:
    """The sum of the 16 numbers."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        signature = ir.FunctionType(_INT, [INTS])
        name = f"llvm.vector.reduce.add.v{LANES}i32"
        return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments)

    return types.int32(_sums), generate


@intrinsic
def splat_sums4(typing: Any, number: Any) -> tuple[Any, Generate]:
    """A number 64 times."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, _sums4, [splat_to(builder, INTS, arguments[0])] * 4)

    return _sums4(types.int32), generate


@intrinsic
def add_products4(typing: Any, unsigned: Any, signed: Any, sums: Any) -> tuple[Any, Generate]:
    """Add to each of 64 sums the products of four adjacent bytes of `unsigned` (0 to 255, 256 of them) with four bytes
    of `signed` (-128 to 127)."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        unsigned4, signed, sums4 = arguments
        add = _add_products(context)

        def one(sums: Any, unsigned: Any) -> Any:
            return add(builder, sums, unsigned, signed)

        return each_of_four(context, builder, _sums4, one, sums4, unsigned4)

    return _sums4(_bytes4, _bytes, _sums4), generate


@intrinsic
def add_sums4(typing: Any, a: Any, b: Any) -> tuple[Any, Generate]:
    """a + b"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        return each_of_four(context, builder, _sums4, builder.add, *arguments)

    return _sums4(_sums4, _sums4), generate


@intrinsic
def as_floats4(typing: Any, sums: Any) -> tuple[Any, Generate]:
    """64 sums as floats."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        def one(part: Any) -> Any:
            return builder.sitofp(part, FLOATS)

        return each_of_four(context, builder, lanes4, one, *arguments)

    return lanes4(_sums4), generate


def _add_products(context: Any) -> Callable[[ir.IRBuilder, Any, Any, Any], Any]:
    """The function that adds products of unsigned and signed bytes to sums, for the processor that numba compiles for.
    `NUMBA_CPU_NAME` may name another processor than this machine's."""
    features = context.codegen()._tm_features.split(",")
    if "+avx512vnni" in features:
        return _by_vnni
    return _by_half_vnni if "+avxvnni" in features else _by_products_of_16_bits


def _by_vnni(builder: ir.IRBuilder, sums: Any, unsigned: Any, signed: Any) -> Any:
    signature = ir.FunctionType(INTS, [INTS, _BYTES, _BYTES])
    instruction = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(instruction, [sums, unsigned, signed])


def _by_half_vnni(builder: ir.IRBuilder, sums: Any, unsigned: Any, signed: Any) -> Any:
    """In registers of half the width (AVX-VNNI)."""
    ints, bytes_ = ir.VectorType(_INT, LANES // 2), ir.VectorType(_BYTE, WIDE // 2)
    signature = ir.FunctionType(ints, [ints, bytes_, bytes_])
    instruction = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx512.vpdpbusd.256")
    halves = []
    for half in (0, 1):
        sides = [_half(builder, side, half) for side in (sums, unsigned, signed)]
        halves.append(builder.call(instruction, sides))
    return builder.shuffle_vector(*halves, ir.Constant(INTS, list(range(LANES))))


def _half(builder: ir.IRBuilder, vector: Any, half: int) -> Any:
    width = vector.type.count // 2
    places = ir.Constant(ir.VectorType(_INT, width), [half * width + i for i in range(width)])
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), places)


def _by_products_of_16_bits(builder: ir.IRBuilder, sums: Any, unsigned: Any, signed: Any) -> Any:
    """The bytes at even places as 16 bits, then those at odd places. Pairs of their products are summed at once
    (`pmaddwd` on x86)."""
    shorts = ir.VectorType(ir.IntType(16), WIDE // 2)
    eight = ir.Constant(shorts, [8] * shorts.count)
    unsigned, signed = (builder.bitcast(side, shorts) for side in (unsigned, signed))
    even = builder.lshr(builder.shl(unsigned, eight), eight), builder.ashr(builder.shl(signed, eight), eight)
    odd = builder.lshr(unsigned, eight), builder.ashr(signed, eight)
    for sides in (even, odd):
        products = builder.mul(*(builder.sext(side, ir.VectorType(_INT, shorts.count)) for side in sides))
        for place in (0, 1):
            chosen = ir.Constant(INTS, list(range(place, shorts.count, 2)))
            every_second = builder.shuffle_vector(products, ir.Constant(products.type, ir.Undefined), chosen)
            sums = builder.add(sums, every_second)
    return sums
