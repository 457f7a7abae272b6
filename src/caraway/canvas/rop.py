"""Raster operation descriptors as one of the 256 functions of three bits (spec/canvas.md 3, 12).

Bit 4a + 2b + d of a function is its result for the bits a, b and d of its operands A, B and the destination.
"""

from caraway.wire.messages.draw import Rop

BLACK = 0x00
PUT = 0xF0
"""The result is A."""
WHITE = 0xFF

OP_PUT = int(Rop.OP_PUT)
_A, _DESTINATION = 0xF0, 0xAA
_PUT, _OR, _AND, _XOR, _BLACKNESS, _WHITENESS, _INVERS, _INVERS_RES = map(
    int,
    (
        Rop.OP_PUT,
        Rop.OP_OR,
        Rop.OP_AND,
        Rop.OP_XOR,
        Rop.OP_BLACKNESS,
        Rop.OP_WHITENESS,
        Rop.OP_INVERS,
        Rop.INVERS_RES,
    ),
)


def truth_table(rop: int, invers_a: int, invers_b: int) -> int:
    """The function of operand A and the destination that a descriptor names.

    invers_a, invers_b: which bits of the descriptor invert the message's first operand and its second.
    """
    rop = int(rop)
    a = _A ^ 255 if rop & int(invers_a) else _A
    b = _DESTINATION ^ 255 if rop & int(invers_b) else _DESTINATION
    if rop & _PUT:
        result = a
    elif rop & _OR:
        result = a | b
    elif rop & _AND:
        result = a & b
    elif rop & _XOR:
        result = a ^ b
    elif rop & _BLACKNESS:
        return BLACK
    elif rop & _WHITENESS:
        return WHITE
    elif rop & _INVERS:
        return _DESTINATION ^ 255
    else:
        return _A
    return result ^ 255 if rop & _INVERS_RES else result
