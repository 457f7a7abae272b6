"""Pixels to LZ tokens (spec/lz.md 2.2): matches of our own finding, no larger than what deployed encoders write.

Widths of a unit are bytes in memory: 4 for colours (3 in a literal), 2 for RGB16, 1 for indices and alpha.
"""

import cython
from cython.cimports.caraway.codecs.kernels.lz import (
    FAR,
    FARTHEST,
    HEADER_BYTES,
    KEPT,
    MAX_HASH_BITS,
    RGB16,
    RGB24,
    RGBA,
    SMALL,
    XXXA,
    Source,
    Target,
)
from cython.cimports.caraway.codecs.kernels.shim import (
    copy32,
    load16,
    load32,
    load64,
    pack_bgr8,
    same_of_32,
    swap16_16,
    take_alpha,
    trailing_zeros64,
)
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AsString, PyBytes_FromStringAndSize
from cython.cimports.libc.stdint import uint16_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memcpy, memset

from caraway.errors import CodecError


def encode(header: bytes, rows: object, type: cython.int, units: cython.Py_ssize_t, row: cython.Py_ssize_t) -> bytes:
    """A payload: its header, and the tokens of the packed rows of a picture in coded order.

    rows: `units` pixels of 4 bytes (RGB24, RGB32, RGBA, XXXA) or 2 (RGB16), or bytes.
    """
    view: Py_buffer
    size: cython.Py_ssize_t
    # No token is longer than the literals in its place; wide stores reach a little further.
    most: cython.Py_ssize_t = 4 * units + units // 16 + HEADER_BYTES + 128
    PyObject_GetBuffer(rows, cython.address(view), PyBUF_SIMPLE)
    out = cython.cast(Target, malloc(most))
    try:
        _check_size(view.len, units * (4 if RGB24 <= type <= XXXA else 2 if type == RGB16 else 1))
        if out == cython.NULL:
            raise MemoryError
        memcpy(out, PyBytes_AsString(header), HEADER_BYTES)
        if units <= SMALL:
            size = _encode(out, cython.cast(Source, view.buf), type, units, row)
        else:
            with cython.nogil:
                size = _encode(out, cython.cast(Source, view.buf), type, units, row)
        if size < 0:
            raise MemoryError
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, out), size)
    finally:
        free(out)
        PyBuffer_Release(cython.address(view))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _encode(
    out: Target, rows: Source, type: cython.int, units: cython.Py_ssize_t, row: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """Bytes of the payload, or -1 if there is no memory."""
    to: Target = out + HEADER_BYTES
    if RGB24 <= type <= RGBA:
        to = _write_colours(to, rows, units, row)
    elif type == RGB16:
        to = _write_words(to, rows, units, row)
    elif type != XXXA:
        to = _write_bytes(to, rows, units, row)
    if type in (RGBA, XXXA):
        plane = cython.cast(Target, malloc(units))
        if plane == cython.NULL:
            return -1
        take_alpha(plane, rows, units)
        to = _write_bytes(to, plane, units, row)
        free(plane)
    return to - out


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _write_colours(to: Target, data: Source, units: cython.Py_ssize_t, row: cython.Py_ssize_t) -> Target:
    return _write_tokens(to, data, units, row, 4)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _write_words(to: Target, data: Source, units: cython.Py_ssize_t, row: cython.Py_ssize_t) -> Target:
    return _write_tokens(to, data, units, row, 2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _write_bytes(to: Target, data: Source, units: cython.Py_ssize_t, row: cython.Py_ssize_t) -> Target:
    return _write_tokens(to, data, units, row, 1)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _key(at: Source, unit: cython.Py_ssize_t) -> uint64_t:
    """What finds a match: two colours, two words, or three bytes. Reads 8 bytes of colours, else 4."""
    if unit == 4:
        return load64(at) & cython.cast(uint64_t, 0x00FFFFFF00FFFFFF)
    return load32(at) & (0x7FFF7FFF if unit == 2 else 0xFFFFFF)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _slot(at: Source, unit: cython.Py_ssize_t, shift: cython.int) -> uint64_t:
    """Where in the table three units stand. Reads as many bytes as four have."""
    key: uint64_t = load32(at) & 0xFFFFFF
    if unit == 4:
        key = _key(at, unit) ^ cython.cast(uint64_t, load32(at + 8)) << 40
    elif unit == 2:
        key = load64(at) & cython.cast(uint64_t, 0x7FFF7FFF7FFF)
    return key * cython.cast(uint64_t, 0x9E3779B97F4A7C15) >> shift


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _same(one: Source, other: Source, unit: cython.Py_ssize_t) -> cython.bint:
    """Whether two units are the same, of the bits that count."""
    if unit == 4:
        return (load32(one) ^ load32(other)) & 0xFFFFFF == 0
    if unit == 2:
        return (load16(one) ^ load16(other)) & 0x7FFF == 0
    return one[0] == other[0]


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _length(one: Source, other: Source, end: Source, unit: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """How many units from `one` on equal those from `other` on; `one` is the later place."""
    start: Source = one
    mask: uint64_t = cython.cast(uint64_t, 0xFFFFFFFFFFFFFFFF)
    difference: uint64_t
    same: cython.int
    if unit == 4:
        mask = cython.cast(uint64_t, 0x00FFFFFF00FFFFFF)
    elif unit == 2:
        mask = cython.cast(uint64_t, 0x7FFF7FFF7FFF7FFF)
    while end - one >= 32:
        same = same_of_32(one, other, mask)
        one += same
        if same < 32:
            return (one - start) // unit
        other += 32
    while end - one >= 8:
        difference = (load64(one) ^ load64(other)) & mask
        if difference:
            return (one - start + (trailing_zeros64(difference) >> 3)) // unit
        one += 8
        other += 8
    while one < end and _same(one, other, unit):
        one += unit
        other += unit
    return (one - start) // unit


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _find(
    data: Source,
    at: cython.Py_ssize_t,
    stop: cython.Py_ssize_t,
    up: cython.Py_ssize_t,
    table: cython.pointer[uint16_t],
    shift: cython.int,
    distance: cython.pointer[cython.Py_ssize_t],
    unit: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """The first place from `at` to `stop` where a match may begin: a run, a place of the table, or `up` bytes before.

    distance: to the place of the table, 0 if that is no candidate; of a run, 1.
    """
    here: Source = data + unit * at
    previous: uint64_t = _key(here - unit, unit)
    key: uint64_t
    slot: uint64_t
    back: cython.Py_ssize_t
    while at <= stop:
        key = _key(here, unit)
        if key == previous:
            distance[0] = 1
            return at
        slot = _slot(here, unit, shift)
        back = cython.cast(uint16_t, at - table[slot])
        table[slot] = at
        if _key(here - unit * back, unit) == key or _key(here - up, unit) == key:
            distance[0] = back
            return at
        previous = key
        here += unit
        at += 1
    return at


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _write_tokens(
    to: Target, data: Source, units: cython.Py_ssize_t, row: cython.Py_ssize_t, unit: cython.Py_ssize_t
) -> Target:
    """Code units greedily: at each, the longest of a run, a match above, and one with the last place that began alike.

    row: units of a row.
    """
    table: uint16_t[16384]
    shift: cython.int = 64 - 6
    end: Source = data + units * unit
    last: cython.Py_ssize_t = units - 4
    at: cython.Py_ssize_t = 1
    literals: cython.Py_ssize_t = 0
    least: cython.Py_ssize_t = 3 if unit == 1 else 2
    least_far: cython.Py_ssize_t = 2 if unit == 4 else 3 if unit == 2 else 5
    up: cython.Py_ssize_t
    stop: cython.Py_ssize_t
    length: cython.Py_ssize_t
    above: cython.Py_ssize_t
    distance: cython.Py_ssize_t
    here: Source
    if last < 0:
        return _write_literals(to, data, units, end, unit)
    while shift > 64 - MAX_HASH_BITS and units >> (64 - shift) > 0:
        shift -= 1
    memset(table, 0, cython.cast(cython.Py_ssize_t, 2) << (64 - shift))
    if row > FARTHEST:
        row = 1
    while at <= last:
        stop = min(last, literals + 2 * KEPT)
        up = unit * row
        if at < row:
            up = unit
            stop = min(stop, row - 1)
        while at <= stop:
            at = _find(data, at, stop, up, table, shift, cython.address(distance), unit)
            if at > stop:
                break
            here = data + unit * at
            length = 0
            if distance > 0:
                length = _length(here, here - unit * distance, end, unit)
            if length < least or (distance >= FAR and length < least_far):
                length = 0
            above = _length(here, here - up, end, unit)
            if above >= least and above > length:
                length = above
                distance = up // unit
            if length == 0:
                at += 1
                continue
            while at > literals and at > distance and _same(here - unit, here - unit - unit * distance, unit):
                here -= unit
                at -= 1
                length += 1
            to = _write_literals(to, data + unit * literals, at - literals, end, unit)
            to = _write_match(to, length - (0 if unit == 4 else 3 - unit), distance - 1)
            at += length
            literals = at
            if at <= last:
                here = data + unit * at
                table[_slot(here - 2 * unit, unit, shift)] = at - 2
                table[_slot(here - unit, unit, shift)] = at - 1
            stop = min(last, literals + 2 * KEPT)
            if up != unit * row:
                break
        if at - literals > KEPT:
            length = (at - literals - KEPT) & ~31
            to = _write_literals(to, data + unit * literals, length, end, unit)
            literals += length
    return _write_literals(to, data + unit * literals, units - literals, end, unit)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _write_literals(to: Target, data: Source, units: cython.Py_ssize_t, end: Source, unit: cython.Py_ssize_t) -> Target:
    """end: of the picture."""
    count: cython.Py_ssize_t
    place: cython.Py_ssize_t
    while units > 0:
        count = min(units, 32)
        to[0] = count - 1
        to += 1
        units -= count
        place = 0
        if end - data >= 128:
            if unit == 4:
                for place in range(0, count, 8):
                    pack_bgr8(to + 3 * place, data + 4 * place)
            elif unit == 2:
                for place in range(0, count, 16):
                    swap16_16(to + 2 * place, data + 2 * place)
            else:
                copy32(to, data)
        else:
            for place in range(count):
                if unit == 4:
                    to[3 * place] = data[4 * place]
                    to[3 * place + 1] = data[4 * place + 1]
                    to[3 * place + 2] = data[4 * place + 2]
                elif unit == 2:
                    to[2 * place] = data[2 * place + 1]
                    to[2 * place + 1] = data[2 * place]
                else:
                    to[place] = data[place]
        to += count * (3 if unit == 4 else unit)
        data += count * unit
    return to


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _write_match(to: Target, length: cython.Py_ssize_t, distance: cython.Py_ssize_t) -> Target:
    """Both as coded: without the bias, and less one."""
    high: cython.Py_ssize_t = distance >> 8
    if distance >= FAR - 1:
        high = 31
    if length < 7:
        to[0] = length << 5 | high
        to += 1
    else:
        to[0] = 7 << 5 | high
        to += 1
        length -= 7
        while length >= 255:
            to[0] = 255
            to += 1
            length -= 255
        to[0] = length
        to += 1
    if distance >= FAR - 1:
        distance -= FAR - 1
        to[0] = 255
        to[1] = distance >> 8
        to[2] = distance & 255
        return to + 3
    to[0] = distance & 255
    return to + 1


@cython.cfunc
@cython.exceptval(-1)
def _check_size(size: cython.Py_ssize_t, needed: cython.Py_ssize_t) -> cython.int:
    if size < needed:
        raise CodecError(f"LZ: picture needs {needed} bytes, got {size}")
    return 0
