"""Products of bytes, 64 at once, summed in 32-bit integers: what a processor does four times as fast as with floats.

`Bytes` are 64 numbers of 8 bits, `Sums` sixteen of 32 bits, each for four bytes that lie side by side. All is exact, so
that whichever instructions a processor has for it, the sums are the same. On x86 with AVX-512 VNNI that is one,
`vpdpbusd`; elsewhere it is several.
"""

# ruff: noqa: ARG001 - an intrinsic is given the types of its arguments, and not all of them matter

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
    intrinsic,
    lanes,
    lanes4,
    pointer_to,
)

BYTES_A_SUM = WIDE // LANES
_BYTE, _INT = ir.IntType(8), ir.IntType(32)
_BYTES = ir.VectorType(_BYTE, WIDE)

_bytes, _sums = VectorType("Bytes", _BYTES), VectorType("Sums", INTS)
_bytes4, _sums4 = types.UniTuple(_bytes, 4), types.UniTuple(_sums, 4)


def _has_vnni(context: Any) -> bool:
    """Whether the processor that numba compiles for has it: that need not be this machine's (`NUMBA_CPU_NAME`)."""
    return "+avx512vnni" in context.codegen()._tm_features.split(",")


@intrinsic
def splat_bytes(typing: Any, array: Any, index: Any) -> tuple[Any, Generate]:
    """Four bytes of a C-contiguous array from `index`, a tuple, on: sixteen times."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        four = builder.load(pointer_to(context, builder, array, index, arguments, _INT), align=1)
        return builder.bitcast(_splat(builder, four), _BYTES)

    return _bytes(array, index), generate


@intrinsic
def load_bytes4(typing: Any, array: Any, index: Any) -> tuple[Any, Generate]:
    """The 256 bytes of a C-contiguous array from `index`, a tuple, on."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        start = pointer_to(context, builder, array, index, arguments, _BYTES)
        parts = [builder.load(builder.gep(start, [ir.Constant(_INT, i)]), align=1) for i in range(4)]
        return context.make_tuple(builder, _bytes4, parts)

    return _bytes4(array, index), generate


@intrinsic
def round_lanes(typing: Any, value: Any) -> tuple[Any, Generate]:
    """16 floats to the nearest whole numbers, any for NaN."""

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
        return context.make_tuple(builder, _sums4, [_splat(builder, arguments[0])] * 4)

    return _sums4(types.int32), generate


@intrinsic
def add_products4(typing: Any, unsigned: Any, signed: Any, sums: Any) -> tuple[Any, Generate]:
    """To each of 64 sums the products of four of 256 bytes of 0 to 255 with four bytes of -128 to 127."""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        unsigned4, signed, sums4 = arguments
        add = _add_products_vnni if _has_vnni(context) else _add_products
        pairs = [[builder.extract_value(four, i) for four in (sums4, unsigned4)] for i in range(4)]
        parts = [add(builder, sums, unsigned, signed) for sums, unsigned in pairs]
        return context.make_tuple(builder, _sums4, parts)

    return _sums4(_bytes4, _bytes, _sums4), generate


@intrinsic
def add_sums4(typing: Any, a: Any, b: Any) -> tuple[Any, Generate]:
    """a + b"""

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        pairs = [[builder.extract_value(four, i) for four in arguments] for i in range(4)]
        return context.make_tuple(builder, _sums4, [builder.add(*pair) for pair in pairs])

    return _sums4(_sums4, _sums4), generate


@intrinsic
def as_floats4(typing: Any, sums: Any) -> tuple[Any, Generate]:
    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        parts = [builder.sitofp(builder.extract_value(arguments[0], i), FLOATS) for i in range(4)]
        return context.make_tuple(builder, lanes4, parts)

    return lanes4(_sums4), generate


def _splat(builder: ir.IRBuilder, number: Any) -> Any:
    first = builder.insert_element(ir.Constant(INTS, ir.Undefined), number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, ir.Constant(INTS, ir.Undefined), ir.Constant(INTS, [0] * LANES))


def _add_products_vnni(builder: ir.IRBuilder, sums: Any, unsigned: Any, signed: Any) -> Any:
    signature = ir.FunctionType(INTS, [INTS, _BYTES, _BYTES])
    instruction = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(instruction, [sums, unsigned, signed])


def _add_products(builder: ir.IRBuilder, sums: Any, unsigned: Any, signed: Any) -> Any:
    unsigned, signed = (builder.bitcast(side, INTS) for side in (unsigned, signed))
    for place in range(0, 32, 8):  # of each byte in an integer
        up, down = (ir.Constant(INTS, [shift] * LANES) for shift in (24 - place, 24))
        sides = builder.lshr(builder.shl(unsigned, up), down), builder.ashr(builder.shl(signed, up), down)
        sums = builder.add(sums, builder.mul(*sides))
    return sums
