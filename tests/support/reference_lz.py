"""An LZ decoder to hold the compiled one against: plain Python, a unit at a time (spec/lz.md 2)."""

import struct
from collections.abc import Sequence

from caraway.errors import CodecError

PLT1_LE, PLT1_BE, PLT4_LE, PLT4_BE, PLT8, RGB16, RGB24, RGB32, RGBA, XXXA, A8 = range(1, 12)
UNIT_BYTES = {RGB16: 2, RGB24: 3, RGB32: 3, RGBA: 3}
BIAS = {1: 2, 2: 1, 3: 0}
PER_BYTE = {PLT1_LE: 8, PLT1_BE: 8, PLT4_LE: 2, PLT4_BE: 2, PLT8: 1}


def decode(data: bytes, palette: Sequence[int] = (), word_bytes: int = 4) -> bytes:
    """The rows of a picture, the top one first; of XXXA its alpha bytes. The header must be valid."""
    _magic, _version, type, width, height, stride, top_down = struct.unpack_from(">7I", data)
    units = stride * height if type <= PLT8 else width * height
    coded, at = read_units(data, 28, UNIT_BYTES.get(type, 1), units)
    alpha = [b"\0"] * units
    if type == RGBA:
        plane, at = read_units(data, at, 1, units)
        alpha = plane
    if at != len(data):
        raise CodecError(f"{len(data) - at} bytes left")
    per_row = stride if type <= PLT8 else width
    rows = []
    for y in range(height):
        row = coded[y * per_row : (y + 1) * per_row]
        if type <= PLT8:
            rows.append(b"".join(colours(row, type, width, palette, word_bytes)))
        elif type in (RGB24, RGB32, RGBA):
            rows.append(b"".join(unit + byte for unit, byte in zip(row, alpha[y * width :], strict=False)))
        elif type == RGB16:
            rows.append(b"".join(bytes([unit[1], unit[0] & 127]) for unit in row))
        else:
            rows.append(b"".join(row))
    return b"".join(rows if top_down else rows[::-1])


def colours(row: list[bytes], type: int, width: int, palette: Sequence[int], word_bytes: int) -> list[bytes]:
    """Pixels of a row of indices: 0 where it is too short, and for indices beyond the palette unless they wrap."""
    per_byte = PER_BYTE[type]
    bits = 8 // per_byte
    pixels = []
    for x in range(width):
        place = x % per_byte
        if type in (PLT1_BE, PLT4_BE):
            place = per_byte - 1 - place
        byte = row[x // per_byte][0] if x // per_byte < len(row) else 0
        index = byte >> bits * place & (1 << bits) - 1
        if bits == 4:
            index %= len(palette)
        word = palette[index] if index < len(palette) else 0
        pixels.append((word & (0xFFFFFF if word_bytes == 4 else 0xFFFF)).to_bytes(word_bytes, "little"))
    return pixels


def read_units(data: bytes, at: int, unit_bytes: int, units: int) -> tuple[list[bytes], int]:
    """The units of a token stream of `units` units, and where it ends."""
    out: list[bytes] = []
    try:
        while len(out) < units:
            control = data[at]
            at += 1
            if control < 32:
                for _ in range(control + 1):
                    out.append(data[at : at + unit_bytes])
                    at += unit_bytes
                if at > len(data):
                    raise CodecError("literal")
                continue
            length, distance = control >> 5, (control & 31) << 8
            if length == 7:
                more = 255
                while more == 255:
                    more = data[at]
                    at += 1
                    length += more
            distance += data[at]
            at += 1
            if distance == 8191:
                distance += (data[at] << 8) + data[at + 1]
                at += 2
            for _ in range(length + BIAS[unit_bytes]):
                if distance >= len(out) or len(out) >= units:
                    raise CodecError("match")
                out.append(out[-1 - distance])
    except IndexError:
        raise CodecError("early end") from None
    if len(out) > units:
        raise CodecError("literal")
    return out, at
