"""QUIC: from code words to pixels (spec/quic.md, whose names it uses).

The bit position is the whole state of the input: before each pixel 57 bits are looked at from there, which hold three
code words of at most 19 bits; longer ones are read apart. The input is a copy with room behind it, so that its end is
looked for only after a run and between two updates of the model, which are at most 64 literal pixels apart.
"""

import cython
from cython.cimports.caraway.codecs.kernels.quic_tables import (
    QUIC_HIGH_CODES_5,
    QUIC_HIGH_CODES_8,
    QUIC_RESIDUAL_5,
    QUIC_RESIDUAL_8,
    QUIC_RUN_BITS,
    QUIC_RUN_TOTAL,
    QUIC_TRIGGER,
    Family,
    Model,
    State,
    family_of,
    reset_model,
    reset_state,
    rnd,
    update,
)
from cython.cimports.caraway.codecs.kernels.shim import (
    fill8,
    leading_zeros64,
    load32,
    load32_big_endian,
    load64_big_endian,
    store16,
    store32,
)
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytearray import PyByteArray_FromStringAndSize
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.libc.string import memcpy, memset


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def peek(words: cython.pointer(cython.const[uint8_t]), at: uint64_t) -> uint64_t:
    """At least 57 bits from `at` on, the first one highest."""
    return load64_big_endian(words + (at >> 3)) << (at & 7)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def long_symbol(
    words: cython.pointer(cython.const[uint8_t]), at: uint64_t, family: cython.pointer(Family), code: uint64_t
) -> uint64_t:
    """A symbol with a code word of any length: length << 8 | symbol."""
    left: uint64_t = peek(words, at)
    zeros: uint64_t = leading_zeros64(left)
    prefix: uint64_t = family.prefix[code]
    suffix: uint64_t
    if zeros < prefix:
        left <<= zeros
        return (zeros + code + 1) << 8 | (left >> (63 - code)) + ((zeros - 1) << code)
    suffix = family.suffix[code]
    left <<= prefix
    return (prefix + suffix) << 8 | ((prefix << code) + (left >> (64 - suffix))) & ((1 << family.bits) - 1)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def short_symbol(
    window: cython.pointer(Window), plane: cython.pointer(Plane), code: uint64_t, symbol: cython.pointer(uint64_t)
) -> cython.bint:
    """Read a symbol, unless its code word is a long one: of short ones, three are in a fresh window."""
    zeros: uint64_t = leading_zeros64(window.left)
    length: uint64_t = zeros + code
    if cython.cast(uint8_t, zeros) > plane.short_zeros[code]:
        return False
    symbol[0] = (window.left >> (~length & 63)) + ((zeros - 1) << code)
    window.left = (window.left << length) << 1
    window.at += length + 1
    return True


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def short_symbols(
    window: cython.pointer(Window),
    plane: cython.pointer(Plane),
    last: cython.pointer(uint8_t),
    colours: cython.bint,
) -> cython.bint:
    """Read the symbols of a pixel; False if a code word is a long one."""
    before: cython.pointer(uint8_t) = last - 4
    symbol: uint64_t = 0
    if not short_symbol(window, plane, plane.models[0].code[before[0]], cython.address(symbol)):
        return False
    last[0] = cython.cast(uint8_t, symbol)
    if colours:
        if not short_symbol(window, plane, plane.models[1].code[before[1]], cython.address(symbol)):
            return False
        last[1] = cython.cast(uint8_t, symbol)
        if not short_symbol(window, plane, plane.models[2].code[before[2]], cython.address(symbol)):
            return False
        last[2] = cython.cast(uint8_t, symbol)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def long_symbols(
    plane: cython.pointer(Plane),
    words: cython.pointer(cython.const[uint8_t]),
    at: uint64_t,
    last: cython.pointer(uint8_t),
) -> uint64_t:
    """Read the symbols of a pixel, with code words of any length; gives the position behind them."""
    before: cython.pointer(uint8_t) = last - 4
    channel: cython.int
    symbol: uint64_t
    for channel in range(plane.channels):
        symbol = long_symbol(words, at, cython.address(plane.family), plane.models[channel].code[before[channel]])
        at += symbol >> 8
        last[channel] = cython.cast(uint8_t, symbol)
    return at


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def high_symbol(window: cython.pointer(Window), plane: cython.pointer(Plane), code: uint64_t) -> uint8_t:
    """Read a symbol of one of the two highest codes, whose words have 9 bits at most: without a branch."""
    entry: uint64_t = plane.high_codes[(code & 1) << 9 | window.left >> 55]
    window.left <<= entry >> 8
    window.at += entry >> 8
    return cython.cast(uint8_t, entry)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_length(bits: cython.pointer(Bits), state: cython.pointer(State), most: int64_t) -> int64_t:
    """Read the length of a run; a run of more than `most` may not be read to its end."""
    mel: uint64_t = state.mel
    left: uint64_t = peek(bits.words, bits.at)
    ones: uint64_t = leading_zeros64(~left)
    length: int64_t = 0
    width: uint64_t
    while ones >= _ONES and length <= most:
        bits.at += _ONES
        length += QUIC_RUN_TOTAL[mel + _ONES] - QUIC_RUN_TOTAL[mel]
        mel = min(cython.cast(uint64_t, 31), mel + _ONES)
        left = peek(bits.words, bits.at)
        ones = leading_zeros64(~left)
    ones = min(ones, cython.cast(uint64_t, _ONES))
    length += QUIC_RUN_TOTAL[mel + ones] - QUIC_RUN_TOTAL[mel]
    mel = min(cython.cast(uint64_t, 31), mel + ones)
    width = QUIC_RUN_BITS[mel]
    left <<= ones + 1
    length += (left >> 1) >> (63 - width)
    bits.at += ones + 1 + width
    state.mel = cython.cast(uint32_t, mel - (mel > 0))
    return length


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def learn_channel(
    plane: cython.pointer(Plane), channel: cython.int, trigger: uint32_t, previous: uint8_t, symbol: uint8_t
) -> cython.void:
    """Update the model of one channel."""
    model: cython.pointer(Model) = cython.address(plane.models[channel])
    before: cython.int = model.code[previous]
    if update(model, cython.address(plane.family), trigger, previous, symbol):
        plane.low += (model.code[previous] < plane.family.bits - 2) - (before < plane.family.bits - 2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def learn(plane: cython.pointer(Plane), here: cython.pointer(uint8_t)) -> uint32_t:
    """Update the models with the symbols of a column, and `low`: how many best codes may want long code words.

    Gives how many literal pixels pass before the next update.
    """
    trigger: uint32_t = QUIC_TRIGGER[plane.state.wm]
    before: cython.pointer(uint8_t) = here - 4
    learn_channel(plane, 0, trigger, before[0], here[0])
    if plane.channels == 3:
        learn_channel(plane, 1, trigger, before[1], here[1])
        learn_channel(plane, 2, trigger, before[2], here[2])
    return rnd(cython.address(plane.state))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def add(plane: cython.pointer(Plane), prediction: uint32_t, residual: uint32_t) -> uint32_t:
    """Sum modulo 2^bits of each component."""
    low: uint32_t = plane.low_bits
    return ((prediction & low) + (residual & low)) ^ ((prediction ^ residual) & plane.high_bit)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def residual(plane: cython.pointer(Plane), symbols: cython.pointer(uint8_t), colours: cython.bint) -> uint32_t:
    """Of each component."""
    if not colours:
        return plane.residuals[512 + symbols[0]]
    return plane.residuals[symbols[0]] | plane.residuals[256 + symbols[1]] | plane.residuals[512 + symbols[2]]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def first_pixel(plane: cython.pointer(Plane), bits: cython.pointer(Bits), above: uint32_t) -> uint32_t:
    """Decode the pixel of column 0."""
    bits.at = long_symbols(plane, bits.words, bits.at, plane.last)
    return add(plane, above, residual(plane, plane.last, plane.channels == 3))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def fill(plane: cython.pointer(Plane), start: cython.pointer(uint8_t), pixel: uint32_t, size: int64_t) -> cython.void:
    """Repeat a pixel over `size` bytes: 32 at a time, where memory follows that is yet to be written."""
    at: cython.pointer(uint8_t) = start
    end: cython.pointer(uint8_t) = start + size
    if plane.memory_end - end >= 32:
        while at < end:
            fill8(at, pixel)
            at += 32
    else:
        while at < end:
            store32(at, pixel)
            at += 4


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def repeat(
    plane: cython.pointer(Plane),
    bits: cython.pointer(Bits),
    here: cython.pointer(uint8_t),
    above: cython.pointer(uint8_t),
    room: int64_t,
) -> int64_t:
    """Decode runs, one after the other, where one may begin; gives the bytes of their pixels, at most `room`, or -1."""
    pixel: uint32_t = load32(here - 4)
    done: int64_t = 0
    size: int64_t
    while True:
        size = 4 * run_length(bits, cython.address(plane.state), (room - done) >> 2)
        if size > room - done or bits.at > bits.end:
            return -1
        if size == 0:
            return done
        fill(plane, here + done, pixel, size)
        done += size
        if done == room or load32(above + done - 4) != load32(above + done):
            return done


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def stretch(
    plane: cython.pointer(Plane),
    bits: cython.pointer(Bits),
    here: cython.pointer(uint8_t),
    above: cython.pointer(uint8_t),
    i: int64_t,
    end: int64_t,
    runs: cython.bint,
    high: cython.bint,
    colours: cython.bint,
) -> int64_t:
    """Decode columns from i > 0 to before `end`, or until another variant should go on; says where it ended.

    runs: there may be some. high: all codes in use are among the two highest. colours: three channels, else one.
    Columns are counted in bytes. Gives -1 if the payload ends before, or a run leaves the segment.
    """
    last: cython.pointer(uint8_t) = plane.last
    before: cython.pointer(uint8_t) = last - 4
    pixel: uint32_t = load32(here + i - 4)
    up: uint32_t
    size: int64_t
    at: uint64_t
    stop: int64_t = i + 4 * cython.cast(int64_t, plane.state.wait)
    span: int64_t = min(stop, end - 4)
    window: Window
    window.words = bits.words
    window.at = bits.at
    while True:
        up = load32(above + i)
        if runs and load32(above + i - 4) == up and load32(here + i - 8) == pixel:
            bits.at = window.at
            size = repeat(plane, bits, here + i, above + i, end - i)
            window.at = bits.at
            if size < 0:
                return -1
            i += size
            stop += size
            if i == end:
                break
            span = min(stop, end - 4)
            up = load32(above + i)
        at = window.at
        window.left = peek(window.words, at)
        if high:
            last[i] = high_symbol(cython.address(window), plane, plane.models[0].code[before[i]])
            last[i + 1] = high_symbol(cython.address(window), plane, plane.models[1].code[before[i + 1]])
            last[i + 2] = high_symbol(cython.address(window), plane, plane.models[2].code[before[i + 2]])
        elif not short_symbols(cython.address(window), plane, last + i, colours):
            window.at = long_symbols(plane, window.words, at, last + i)
        pixel = add(plane, (pixel & up) + (((pixel ^ up) & 0xFEFEFE) >> 1), residual(plane, last + i, colours))
        store32(here + i, pixel)
        i += 4
        if i > span:
            if window.at > bits.end:
                return -1
            if i > stop:
                stop = i + 4 * cython.cast(int64_t, learn(plane, last + stop))
                if i == end or (colours and runs and high != (plane.low == 0)):
                    break
            elif i == end:
                break
            span = min(stop, end - 4)
    bits.at = window.at
    plane.state.wait = cython.cast(uint32_t, (stop - i) >> 2)
    return i


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def segment(
    plane: cython.pointer(Plane),
    bits: cython.pointer(Bits),
    here: cython.pointer(uint8_t),
    above: cython.pointer(uint8_t),
    i: int64_t,
    end: int64_t,
    y: int64_t,
) -> cython.bint:
    """Decode columns i..end-1, in bytes; False if the payload ends before, or a run leaves the segment."""
    before_runs: int64_t = min(end, 12) if y else end
    if i == 0:
        store32(here, first_pixel(plane, bits, load32(above) if y else 0))
        if plane.state.wait > 0:
            plane.state.wait -= 1
        else:
            plane.state.wait = learn(plane, plane.last)
        i = 4
    if plane.channels == 1:
        if i < before_runs:
            i = stretch(plane, bits, here, above, i, before_runs, False, False, False)
        if 0 <= i < end:
            i = stretch(plane, bits, here, above, i, end, True, False, False)
        return i == end
    if i < before_runs:
        i = stretch(plane, bits, here, above, i, before_runs, False, False, True)
    while 0 <= i < end:
        if plane.low:
            i = stretch(plane, bits, here, above, i, end, True, False, True)
        else:
            i = stretch(plane, bits, here, above, i, end, True, True, True)
    return i == end


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def row(
    plane: cython.pointer(Plane),
    bits: cython.pointer(Bits),
    here: cython.pointer(uint8_t),
    above: cython.pointer(uint8_t),
    width: int64_t,
    y: int64_t,
) -> cython.bint:
    """Decode row y; False as `segment` says. In row 0 `above` is ignored."""
    state: cython.pointer(State) = cython.address(plane.state)
    position: int64_t = 0
    if y:
        store32(plane.last - 4, load32(plane.last))
    else:
        above = here - 4
    while state.wm < 6 and state.wmleft <= width - position:
        if state.wmleft > 0:
            if not segment(plane, bits, here, above, 4 * position, 4 * (position + state.wmleft), y):
                return False
            position += state.wmleft
        state.wm += 1
        state.wmleft = 2048
    if position < width:
        if not segment(plane, bits, here, above, 4 * position, 4 * width, y):
            return False
        if state.wm < 6:
            state.wmleft -= cython.cast(uint32_t, width - position)
    return bits.at <= bits.end


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def start(
    plane: cython.pointer(Plane),
    bits: cython.int,
    channels: cython.int,
    last: cython.pointer(uint8_t),
    memory_end: cython.pointer(uint8_t),
) -> cython.void:
    """A plane before its first pixel. `last`: memory, 0, for the row of symbols and one more."""
    k: cython.int
    plane.family = family_of(bits)
    plane.channels = channels
    plane.last = last + 4
    plane.memory_end = memory_end
    plane.low = 0
    plane.high_bit = 0x808080 if bits == 8 else 0x101010
    plane.low_bits = plane.high_bit - 0x010101
    reset_state(cython.address(plane.state))
    for k in range(channels):
        reset_model(cython.address(plane.models[k]), bits)
    for k in range(bits):
        plane.short_zeros[k] = min(plane.family.prefix[k], 15) - 1
    if bits == 8:
        plane.high_codes = cython.address(QUIC_HIGH_CODES_8[0][0])
        memcpy(plane.residuals, cython.address(QUIC_RESIDUAL_8[0][0]), cython.sizeof(plane.residuals))
    else:
        plane.high_codes = cython.address(QUIC_HIGH_CODES_5[0][0])
        memcpy(plane.residuals, cython.address(QUIC_RESIDUAL_5[0][0]), cython.sizeof(plane.residuals))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def colours(
    bits: cython.pointer(Bits),
    kind: cython.int,
    width: int64_t,
    height: int64_t,
    pixels: cython.pointer(uint8_t),
    memory: cython.pointer(uint8_t),
) -> cython.bint:
    """Decode rows of 32-bit pixels; of alpha, if there is one, row after row in between."""
    colour: Plane
    alpha: Plane
    size: int64_t = 4 * width
    here: cython.pointer(uint8_t) = pixels
    alphas: cython.pointer(uint8_t) = memory + 2 * size + 12
    alphas_above: cython.pointer(uint8_t) = alphas + size + _BESIDE
    y: int64_t
    start(cython.address(colour), 8, 3, memory, pixels + size * height)
    if kind == _RGBA:
        start(cython.address(alpha), 8, 1, memory + size + 4, alphas_above + size + _BESIDE)
    for y in range(height):
        if not row(cython.address(colour), bits, here, here - size, width, y):
            return False
        if kind == _RGBA:
            if y:
                join(here - size, alphas_above, size)
            if not row(cython.address(alpha), bits, alphas, alphas_above, width, y):
                return False
            alphas, alphas_above = alphas_above, alphas
        here += size
    if kind == _RGBA:
        join(here - size, alphas_above, size)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def join(colours: cython.pointer(uint8_t), alphas: cython.pointer(uint8_t), size: int64_t) -> cython.void:
    """Put the alpha values of a row into its pixels, which no row below needs any more."""
    x: int64_t
    for x in range(0, size, 4):
        store32(colours + x, load32(colours + x) | load32(alphas + x) << 24)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def narrow(
    bits: cython.pointer(Bits),
    kind: cython.int,
    width: int64_t,
    height: int64_t,
    out: cython.pointer(uint8_t),
    memory: cython.pointer(uint8_t),
) -> cython.bint:
    """Decode rows of 32-bit pixels that become bytes or 16-bit words."""
    plane: Plane
    size: int64_t = 4 * width
    here: cython.pointer(uint8_t) = memory + size + 8
    above: cython.pointer(uint8_t) = here + size + _BESIDE
    x: int64_t
    y: int64_t
    pixel: uint32_t
    if kind == _GRAY:
        start(cython.address(plane), 8, 1, memory, above + size + _BESIDE)
    else:
        start(cython.address(plane), 5, 3, memory, above + size + _BESIDE)
    for y in range(height):
        if not row(cython.address(plane), bits, here, above, width, y):
            return False
        if kind == _GRAY:
            for x in range(width):
                out[x] = here[4 * x]
            out += width
        else:
            for x in range(width):
                pixel = load32(here + 4 * x)
                store16(out + 2 * x, (pixel >> 6 & 0x7C00) | (pixel >> 3 & 0x3E0) | (pixel & 31))
            out += 2 * width
        here, above = above, here
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def image(
    data: cython.pointer(uint8_t),
    size: int64_t,
    kind: cython.int,
    width: int64_t,
    height: int64_t,
    out: cython.pointer(uint8_t),
) -> cython.int:
    """1, or 0 if the payload ends early or makes no sense, or -1 if there is no memory."""
    bits: Bits
    k: int64_t
    words: int64_t = size >> 2
    good: cython.int = -1 if words else 0
    # A row of symbols for each of two planes, and two rows of pixels that something is beside; before each, a pixel.
    memory: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), calloc(4 * (4 * width + 4) + 2 * _BESIDE, 1))
    bits.words = cython.cast(cython.pointer(uint8_t), malloc(4 * words + _ROOM))
    if words and memory != cython.NULL and bits.words != cython.NULL:
        for k in range(words):
            store32(bits.words + 4 * k, load32_big_endian(data + 4 * k))
        memset(bits.words + 4 * words, 0, _ROOM)
        bits.at = 0
        bits.end = 32 * (words - 1)
        if kind in (_GRAY, _RGB16):
            good = narrow(cython.address(bits), kind, width, height, out, memory)
        else:
            good = colours(cython.address(bits), kind, width, height, out, memory)
    free(memory)
    free(bits.words)
    return good


def decode(data, kind: cython.int, width: cython.Py_ssize_t, height: cython.Py_ssize_t, rows=None):
    """Pixels of a payload with that header, which has been checked.

    kind: image type. rows: memory for the pixels, in which nothing has a meaning if this fails; new if omitted.
    Gives bytes (GRAY), 16-bit words r5g5b5 (RGB16), b g r 0 or, for RGBA, b g r a.
    Raises EOFError if the payload ends early or a run leaves its segment.
    """
    view: Py_buffer
    memory: Py_buffer
    good: cython.int
    size: cython.Py_ssize_t = width * height * (1 if kind == _GRAY else 2 if kind == _RGB16 else 4)
    if rows is None:
        rows = PyByteArray_FromStringAndSize(cython.NULL, size)
    elif len(rows) < size:
        raise ValueError("memory is smaller than the picture")
    PyObject_GetBuffer(rows, cython.address(memory), PyBUF_WRITABLE)
    PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
    out = cython.cast(cython.pointer(uint8_t), memory.buf)
    source = cython.cast(cython.pointer(uint8_t), view.buf) + _HEADER
    if width * height <= _FEW_PIXELS:
        good = image(source, view.len - _HEADER, kind, width, height, out)
    else:
        with cython.nogil:
            good = image(source, view.len - _HEADER, kind, width, height, out)
    PyBuffer_Release(cython.address(memory))
    PyBuffer_Release(cython.address(view))
    if good <= 0:
        raise MemoryError if good else EOFError
    return rows
