"""Raster operation descriptors as one of the sixteen functions of two bits (spec/canvas.md 3)."""

from collections.abc import Callable

from caraway.wire.messages.draw import Rop

BLACK = 0b0000
PUT = 0b1100
"""The result is A."""
WHITE = 0b1111

BitFunction = Callable[[int, int, int], int]
"""Of operand A, operand B and all ones, all of the same width."""

FUNCTIONS: tuple[BitFunction, ...] = (
    lambda a, b, ones: 0,
    lambda a, b, ones: (a | b) ^ ones,
    lambda a, b, ones: b & ~a,
    lambda a, b, ones: a ^ ones,
    lambda a, b, ones: a & ~b,
    lambda a, b, ones: b ^ ones,
    lambda a, b, ones: a ^ b,
    lambda a, b, ones: (a & b) ^ ones,
    lambda a, b, ones: a & b,
    lambda a, b, ones: a ^ b ^ ones,
    lambda a, b, ones: b,
    lambda a, b, ones: (a ^ ones) | b,
    lambda a, b, ones: a,
    lambda a, b, ones: (b ^ ones) | a,
    lambda a, b, ones: a | b,
    lambda a, b, ones: ones,
)
"""By truth table: bit 2a + b of the index is the result for bits a and b."""

_A, _B = 0b1100, 0b1010


def truth_table(rop: int, invers_a: Rop, invers_b: Rop) -> int:
    """The function that a descriptor names, as an index into FUNCTIONS.

    invers_a, invers_b: which bits of the descriptor invert the message's operands A and B.
    """
    a = _A ^ 15 if rop & invers_a else _A
    b = _B ^ 15 if rop & invers_b else _B
    if rop & Rop.OP_PUT:
        result = a
    elif rop & Rop.OP_OR:
        result = a | b
    elif rop & Rop.OP_AND:
        result = a & b
    elif rop & Rop.OP_XOR:
        result = a ^ b
    elif rop & Rop.OP_BLACKNESS:
        return BLACK
    elif rop & Rop.OP_WHITENESS:
        return WHITE
    elif rop & Rop.OP_INVERS:
        return _B ^ 15
    else:
        return _A
    return result ^ 15 if rop & Rop.INVERS_RES else result
