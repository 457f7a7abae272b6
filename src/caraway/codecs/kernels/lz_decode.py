"""LZ tokens to pixels (spec/lz.md 2.2): all types, with palettes and row order.

Widths of a unit are bytes in memory: 4 for colours (3 in a literal), 2 for RGB16, 1 for indices and alpha.
"""

import cython
from cython.cimports.caraway.codecs.kernels.lz import (
    A8,
    DONE,
    ENDS_EARLY,
    FAR,
    HEADER_BYTES,
    LITERAL_OUTSIDE,
    MATCH_OUTSIDE,
    PLT1_BE,
    PLT1_LE,
    PLT4_BE,
    PLT4_LE,
    PLT8,
    RGB16,
    RGBA,
    SMALL,
    WIDE,
    Picture,
    Source,
    Stream,
    Target,
)
from cython.cimports.caraway.codecs.kernels.shim import (
    HAS_MATCHES,
    Recent,
    copy16,
    copy32,
    exchange,
    expand_bgr8,
    fill8,
    load16,
    load32,
    put_alpha,
    recent_begin,
    recent_match,
    store16,
    store32,
    swap_555_16,
)
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AsString, PyBytes_FromStringAndSize
from cython.cimports.cpython.long import PyLong_AsUnsignedLongMask
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memset

from caraway.errors import CodecError


def decode(
    payload: object,
    type: cython.int,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    stride: cython.Py_ssize_t,
    top_down: cython.bint,
    palette: object,
    word_bytes: cython.int,
) -> bytes:
    """The rows of a picture, the top one first, from a payload whose header says the rest and has been checked.

    palette: words, for indexed types; pixels are their low `word_bytes` bytes (4: x = 0).
    """
    pixel_bytes: cython.Py_ssize_t = 4
    if type <= PLT8:
        pixel_bytes = word_bytes
    elif type == RGB16:
        pixel_bytes = 2
    elif type == A8:
        pixel_bytes = 1
    view: Py_buffer
    PyObject_GetBuffer(payload, cython.address(view), PyBUF_SIMPLE)
    try:
        _check_plausible(view.len, stride * height if type <= PLT8 else width * height)
        data: bytes = PyBytes_FromStringAndSize(cython.NULL, width * height * pixel_bytes)
        out = cython.cast(Target, PyBytes_AsString(data))
        _fill(cython.address(view), out, type, width, height, stride, top_down, palette, word_bytes)
        return data
    finally:
        PyBuffer_Release(cython.address(view))


def decode_into(
    payload: object,
    type: cython.int,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    stride: cython.Py_ssize_t,
    top_down: cython.bint,
    rows: object,
) -> None:
    """Decode RGB24 or RGB32, as `decode`, to the memory `rows`: what becomes of it is undefined if it fails."""
    view: Py_buffer
    memory: Py_buffer
    PyObject_GetBuffer(payload, cython.address(view), PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(rows, cython.address(memory), PyBUF_WRITABLE)
        try:
            _check_size(memory.len, 4 * width * height)
            _check_plausible(view.len, width * height)
            out = cython.cast(Target, memory.buf)
            _fill(cython.address(view), out, type, width, height, stride, top_down, None, 4)
        finally:
            PyBuffer_Release(cython.address(memory))
    finally:
        PyBuffer_Release(cython.address(view))


@cython.cfunc
@cython.exceptval(-1)
def _fill(
    view: cython.pointer[Py_buffer],
    out: Target,
    type: cython.int,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    stride: cython.Py_ssize_t,
    top_down: cython.bint,
    palette: object,
    word_bytes: cython.int,
) -> cython.int:
    """Decode a payload to rows of memory."""
    stream: Stream
    picture: Picture
    words: uint32_t[256]
    outcome: cython.int
    picture.type, picture.width, picture.height, picture.stride = type, width, height, stride
    picture.top_down = top_down
    picture.units = width * height
    if type <= PLT8:
        picture.units = stride * height
        _read_palette(words, palette, type, 0xFFFFFF if word_bytes == 4 else 0xFFFF)
    stream.at = cython.cast(Source, view.buf) + HEADER_BYTES
    stream.end = cython.cast(Source, view.buf) + view.len
    plane: Target = cython.NULL
    if type <= PLT8 or type == RGBA:
        plane = cython.cast(Target, malloc(picture.units + 1))
        if plane == cython.NULL:
            raise MemoryError
    if width * height <= SMALL:
        outcome = _decode(cython.address(stream), cython.address(picture), out, plane, words, word_bytes)
    else:
        with cython.nogil:
            outcome = _decode(cython.address(stream), cython.address(picture), out, plane, words, word_bytes)
    free(plane)
    _check(outcome, cython.address(stream), view.len)
    return 0


def decode_alpha(
    payload: object, colours: object, width: cython.Py_ssize_t, height: cython.Py_ssize_t, top_down: cython.bint
) -> bytes:
    """The packed 32-bit rows `colours` with the alpha of an XXXA payload, whose header has been checked."""
    view: Py_buffer
    source: Py_buffer
    stream: Stream
    outcome: cython.int
    y: cython.Py_ssize_t
    units: cython.Py_ssize_t = width * height
    PyObject_GetBuffer(payload, cython.address(view), PyBUF_SIMPLE)
    try:
        _check_plausible(view.len, units)
        PyObject_GetBuffer(colours, cython.address(source), PyBUF_SIMPLE)
        try:
            _check_size(source.len, 4 * units)
            data: bytes = PyBytes_FromStringAndSize(cython.cast(cython.p_char, source.buf), 4 * units)
        finally:
            PyBuffer_Release(cython.address(source))
        out = cython.cast(Target, PyBytes_AsString(data))
        plane = cython.cast(Target, malloc(units))
        if plane == cython.NULL:
            raise MemoryError
        stream.at = cython.cast(Source, view.buf) + HEADER_BYTES
        stream.end = cython.cast(Source, view.buf) + view.len
        with cython.nogil:
            outcome = _bytes(cython.address(stream), plane, units)
            if outcome == DONE:
                for y in range(height):
                    put_alpha(out + 4 * width * (y if top_down else height - 1 - y), plane + width * y, width)
        free(plane)
        _check(outcome, cython.address(stream), view.len)
        return data
    finally:
        PyBuffer_Release(cython.address(view))


@cython.cfunc
@cython.exceptval(-1)
def _check_plausible(size: cython.Py_ssize_t, units: cython.Py_ssize_t) -> cython.int:
    """A byte of input stands for 255 units at most: a header alone takes no memory."""
    if units > 255 * (size - HEADER_BYTES):
        raise CodecError(f"LZ: payload ends at byte {size}, too early for {units} units")
    return 0


@cython.cfunc
@cython.exceptval(-1)
def _check_size(size: cython.Py_ssize_t, needed: cython.Py_ssize_t) -> cython.int:
    if size < needed:
        raise CodecError(f"LZ: picture needs {needed} bytes, got {size}")
    return 0


@cython.cfunc
@cython.exceptval(-1)
def _check(outcome: cython.int, stream: cython.pointer[Stream], size: cython.Py_ssize_t) -> cython.int:
    left: cython.Py_ssize_t = stream.end - stream.at
    if outcome == DONE and left > 0:
        raise CodecError(f"LZ: {left} bytes after the end of the image")
    if outcome == ENDS_EARLY:
        raise CodecError(f"LZ: payload ends at byte {size}, before the image does")
    if outcome == LITERAL_OUTSIDE:
        raise CodecError(f"LZ: literal at byte {size - left} runs over the end")
    if outcome == MATCH_OUTSIDE:
        raise CodecError(f"LZ: match before byte {size - left} reaches outside the image")
    return 0


@cython.cfunc
@cython.exceptval(-1)
def _read_palette(words: cython.pointer[uint32_t], palette: object, type: cython.int, mask: uint32_t) -> cython.int:
    """The words of all indices that the type has; 4-bit indices wrap around, others without an entry are 0."""
    place: cython.int
    indices: cython.int = 256 if type == PLT8 else 16 if type >= PLT4_LE else 2
    known: cython.int = min(len(palette), indices)
    for place in range(known):
        words[place] = cython.cast(uint32_t, PyLong_AsUnsignedLongMask(palette[place])) & mask
    for place in range(known, indices):
        words[place] = words[place - known] if indices == 16 else 0
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _decode(
    stream: cython.pointer[Stream],
    picture: cython.pointer[Picture],
    out: Target,
    plane: Target,
    words: cython.pointer[uint32_t],
    word_bytes: cython.int,
) -> cython.int:
    """plane: room for a byte a unit, for indices and alpha."""
    outcome: cython.int
    row_bytes: cython.Py_ssize_t = picture.width * 4
    type: cython.int = picture.type
    if type <= PLT8:
        outcome = _bytes(stream, plane, picture.units)
        if outcome == DONE:
            _look_up(picture, out, plane, words, word_bytes)
        return outcome
    if type == RGB16:
        row_bytes = picture.width * 2
        outcome = _words(stream, out, picture.units)
    elif type == A8:
        row_bytes = picture.width
        outcome = _bytes(stream, out, picture.units)
    else:
        outcome = _colours(stream, out, picture.units)
    if outcome == DONE and type == RGBA:
        outcome = _bytes(stream, plane, picture.units)
        if outcome == DONE:
            put_alpha(out, plane, picture.units)
    if outcome == DONE and not picture.top_down:
        _flip(out, row_bytes, picture.height)
    return outcome


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _flip(rows: Target, row_bytes: cython.Py_ssize_t, height: cython.Py_ssize_t) -> cython.void:
    top: Target = rows
    bottom: Target = rows + row_bytes * (height - 1)
    while top < bottom:
        exchange(top, bottom, row_bytes)
        top += row_bytes
        bottom -= row_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _look_up(
    picture: cython.pointer[Picture],
    out: Target,
    plane: Target,
    words: cython.pointer[uint32_t],
    word_bytes: cython.int,
) -> cython.void:
    """Colours of indices. What a row that is cut short leaves out has index 0."""
    type: cython.int = picture.type
    bits: cython.int = 1 if type <= PLT1_BE else 4 if type <= PLT4_BE else 8
    per_byte: cython.Py_ssize_t = 8 // bits
    low_first: cython.bint = type in (PLT1_LE, PLT4_LE)
    y: cython.Py_ssize_t
    x: cython.Py_ssize_t
    there: cython.Py_ssize_t = min(picture.width, picture.stride * per_byte)
    row: Source
    to: Target
    place: cython.int
    byte: uint32_t
    for y in range(picture.height):
        row = plane + picture.stride * y
        to = out + picture.width * word_bytes * (y if picture.top_down else picture.height - 1 - y)
        if bits == 8:
            if word_bytes == 4:
                for x in range(there):
                    store32(to + 4 * x, words[row[x]])
            else:
                for x in range(there):
                    store16(to + 2 * x, words[row[x]])
            continue
        for x in range(there):
            place = x & (per_byte - 1)
            byte = row[x // per_byte] >> bits * (place if low_first else per_byte - 1 - place)
            byte = words[byte & ((1 << bits) - 1)]
            if word_bytes == 4:
                store32(to + 4 * x, byte)
            else:
                store16(to + 2 * x, byte)
        for x in range(there, picture.width):
            if word_bytes == 4:
                store32(to + 4 * x, words[0])
            else:
                store16(to + 2 * x, words[0])


def read_colours(tokens, size, out, units):
    """Decode `units` colours to 4 bytes each, x = 0; the bytes that their tokens take, or -1 if they are damaged."""
    stream: Stream
    stream.at, stream.end = tokens, tokens + size
    if _colours(cython.address(stream), out, units) != DONE:
        return -1
    return stream.at - tokens


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _colours(stream: cython.pointer[Stream], out: Target, units: cython.Py_ssize_t) -> cython.int:
    return _read_tokens(stream, out, units, 4)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _words(stream: cython.pointer[Stream], out: Target, units: cython.Py_ssize_t) -> cython.int:
    return _read_tokens(stream, out, units, 2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _bytes(stream: cython.pointer[Stream], out: Target, units: cython.Py_ssize_t) -> cython.int:
    return _read_tokens(stream, out, units, 1)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _read_tokens(
    stream: cython.pointer[Stream], out: Target, units: cython.Py_ssize_t, unit: cython.Py_ssize_t
) -> cython.int:
    """Decode one token stream of `units` units to as many times `unit` bytes."""
    at: Source = stream.at
    end: Source = stream.end
    to: Target = out
    stop: Target = out + units * unit
    coded: cython.Py_ssize_t = 3 if unit == 4 else unit
    bias: cython.Py_ssize_t = 0 if unit == 4 else 3 - unit
    control: cython.Py_ssize_t
    count: cython.Py_ssize_t
    back: cython.Py_ssize_t
    byte: cython.Py_ssize_t
    while to < stop:
        if end - at < 2:
            return ENDS_EARLY
        control = at[0]
        at += 1
        if control < 32:
            count = control + 1
            if count * unit > stop - to or count * coded > end - at:
                stream.at = at
                return LITERAL_OUTSIDE
            if stop - to >= 128 and end - at >= 128:
                _copy_wide(to, at, count, unit)
            else:
                _copy_exactly(to, at, count, unit)
            at += count * coded
            to += count * unit
            continue
        count = control >> 5
        back = (control & 31) << 8
        if count == 7:
            byte = 255
            while byte == 255:
                if end - at < 2:
                    return ENDS_EARLY
                byte = at[0]
                at += 1
                count += byte
        back += at[0]
        at += 1
        if back == FAR - 1:
            if end - at < 2:
                return ENDS_EARLY
            back += (cython.cast(cython.Py_ssize_t, at[0]) << 8) + at[1]
            at += 2
        back = (back + 1) * unit
        count = (count + bias) * unit
        if back > to - out or count > stop - to:
            stream.at = at
            return MATCH_OUTSIDE
        _repeat(to, back, count, stop - to, unit)
        to += count
        if HAS_MATCHES and unit == 4 and to - out >= WIDE and stop - to >= WIDE and end - at >= WIDE and at[0] >= 32:
            stream.at = at
            to = _matches(stream, to, out, stop)
            at = stream.at
    stream.at = at
    return DONE


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _matches(stream: cython.pointer[Stream], to: Target, out: Target, stop: Target) -> Target:
    """Decode matches of colours, up to a token that is another, rare, wrong or near an end; gives what is next."""
    at: Source = stream.at
    safe: Source = stream.end - 8
    recent: Recent
    word: uint32_t
    control: uint32_t
    extended: uint32_t
    count: cython.Py_ssize_t
    back: cython.Py_ssize_t
    recent_begin(cython.address(recent), to)
    while at < safe:
        word = load32(at)
        control = word & 255
        extended = control > 223
        count = (control >> 5) + (word >> 8 & 255 & -extended)
        back = ((control & 31) << 8 | word >> (8 + 8 * extended) & 255) + 1
        # A control byte of literals gives 0, a count that goes on beyond its first byte the most.
        if not 0 < count < 7 + 255 or back == FAR or 4 * back > to - out or 4 * count + 64 > stop - to:
            break
        at += 2 + extended
        recent_match(cython.address(recent), to, back, count)
        to += 4 * count
    stream.at = at
    return to


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _copy_wide(to: Target, at: Source, count: cython.Py_ssize_t, unit: cython.Py_ssize_t) -> cython.void:
    """The units of a literal, where 128 bytes can be read and written."""
    place: cython.Py_ssize_t
    if unit == 4:
        for place in range(0, count, 8):
            expand_bgr8(to + 4 * place, at + 3 * place)
    elif unit == 2:
        for place in range(0, count, 16):
            swap_555_16(to + 2 * place, at + 2 * place)
    else:
        copy32(to, at)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _copy_exactly(to: Target, at: Source, count: cython.Py_ssize_t, unit: cython.Py_ssize_t) -> cython.void:
    while count > 0:
        if unit == 4:
            store32(to, at[0] | cython.cast(uint32_t, at[1]) << 8 | cython.cast(uint32_t, at[2]) << 16)
            at += 3
        elif unit == 2:
            store16(to, cython.cast(uint32_t, at[0] & 127) << 8 | at[1])
            at += 2
        else:
            to[0] = at[0]
            at += 1
        to += unit
        count -= 1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _repeat(
    to: Target, back: cython.Py_ssize_t, size: cython.Py_ssize_t, room: cython.Py_ssize_t, unit: cython.Py_ssize_t
) -> cython.void:
    """Copy `size` bytes from `back` bytes before, which may be fewer. `room`: how many could be written."""
    end: Target = to + size
    wide: Target = end if room - size >= 32 else end - 32
    period: cython.Py_ssize_t
    pixel: uint32_t
    if back < 32:
        if unit == 4 and back == 4:
            pixel = load32(to - 4)
            while to < wide:
                fill8(to, pixel)
                to += 32
        elif unit == 1 and back == 1:
            memset(to, (to - 1)[0], size)
            return
        elif size > 16:
            # What repeats also repeats after a multiple.
            period = back
            while period < 16:
                period += back
            wide = to + (period - back)
            while to < wide:
                _copy_unit(to, back, unit)
                to += unit
            back = period
            wide = end if room - size >= 32 else end - 32
            while to < wide:
                copy16(to, to - back)
                to += 16
    else:
        while to < wide:
            copy32(to, to - back)
            to += 32
    while to < end:
        _copy_unit(to, back, unit)
        to += unit


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _copy_unit(to: Target, back: cython.Py_ssize_t, unit: cython.Py_ssize_t) -> cython.void:
    if unit == 4:
        store32(to, load32(to - back))
    elif unit == 2:
        store16(to, load16(to - back))
    else:
        to[0] = (to - back)[0]
