"""QUIC: from code words to pixels (spec/quic.md, whose names it uses).

The bit position is the whole state of the input: before each pixel 57 bits are looked at from there, which hold three
code words of at most 19 bits; longer ones are read apart. The input is a copy with room behind it, so that its end is
looked for once between two updates of the model, which are at most 64 pixels apart.
"""

import cython
from cython.cimports.caraway.codecs.kernels.quic_decode import Bits, Plane
from cython.cimports.caraway.codecs.kernels.quic_tables import (
    QUIC_RESIDUAL_5,
    QUIC_RESIDUAL_8,
    QUIC_RUN_BITS,
    QUIC_TRIGGER,
    Family,
    State,
    family_of,
    reset_model,
    reset_state,
    rnd,
    update,
)
from cython.cimports.caraway.codecs.kernels.shim import (
    leading_zeros64,
    load32,
    load32_big_endian,
    load64_big_endian,
    store16,
    store32,
)
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AsString, PyBytes_FromStringAndSize
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.libc.string import memset

_HEADER = cython.declare(cython.int, 20)
_ROOM = cython.declare(cython.int, 1024)  # 65 literal pixels of 3 code words, a run and 8 bytes looked at
_FEW_PIXELS = cython.declare(cython.int, 4096)

_GRAY = cython.declare(cython.int, 1)
_RGB16 = cython.declare(cython.int, 2)
_RGBA = cython.declare(cython.int, 5)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def peek(bits: cython.pointer(Bits)) -> uint64_t:
    """At least 57 bits from the position on, the first one highest."""
    return load64_big_endian(bits.words + (bits.at >> 3)) << (bits.at & 7)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def long_symbol(bits: cython.pointer(Bits), family: cython.pointer(Family), code: uint64_t) -> uint64_t:
    """Read a symbol of any length."""
    window: uint64_t = peek(bits)
    zeros: uint64_t = leading_zeros64(window)
    prefix: uint64_t = family.prefix[code]
    suffix: uint64_t
    if zeros < prefix:
        bits.at += zeros + code + 1
        window <<= zeros
        return (window >> (63 - code)) + ((zeros - 1) << code)
    suffix = family.suffix[code]
    bits.at += prefix + suffix
    return ((prefix << code) + ((window << prefix) >> (64 - suffix))) & ((1 << family.bits) - 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_length(bits: cython.pointer(Bits), state: cython.pointer(State), most: int64_t) -> int64_t:
    """Read the length of a run; more than `most` means that it is longer than that."""
    length: int64_t = 0
    ones: uint64_t
    window: uint64_t
    while True:
        window = peek(bits)
        if window >> 63 == 0:
            break
        bits.at += 1
        length += cython.cast(int64_t, 1) << QUIC_RUN_BITS[state.mel]
        if length > most:
            return length
        if state.mel < 31:
            state.mel += 1
    ones = QUIC_RUN_BITS[state.mel]
    bits.at += ones + 1
    length += (window >> (62 - ones)) >> 1 if ones else 0
    if state.mel > 0:
        state.mel -= 1
    return length


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def learn(plane: cython.pointer(Plane), x: int64_t) -> cython.void:
    """Update the models with the symbols of column x, and `low`: how many best codes may want long code words."""
    channel: cython.int
    before: cython.int
    previous: uint32_t
    least: cython.int = plane.family.bits - 2
    trigger: uint32_t = QUIC_TRIGGER[plane.state.wm]
    at: cython.pointer(uint8_t) = plane.last + 4 * x
    before_at: cython.pointer(uint8_t) = at - 4
    for channel in range(plane.channels):
        previous = before_at[channel]
        before = plane.models[channel].code[previous]
        if update(cython.address(plane.models[channel]), cython.address(plane.family), trigger, previous, at[channel]):
            plane.low -= before < least
            plane.low += plane.models[channel].code[previous] < least


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def add(plane: cython.pointer(Plane), prediction: uint32_t, residual: uint32_t) -> uint32_t:
    """Sum modulo 2^bits of each component."""
    low: uint32_t = plane.low_bits
    return ((prediction & low) + (residual & low)) ^ ((prediction ^ residual) & plane.high_bit)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def first_pixel(plane: cython.pointer(Plane), bits: cython.pointer(Bits), above: uint32_t) -> uint32_t:
    """Decode the pixel of column 0."""
    channel: cython.int
    symbol: uint64_t
    residual: uint32_t = 0
    for channel in range(plane.channels):
        symbol = long_symbol(bits, cython.address(plane.family), plane.models[channel].code[(plane.last - 4)[channel]])
        plane.last[channel] = cython.cast(uint8_t, symbol)
        residual |= plane.residuals[256 * (channel + 3 - plane.channels) + symbol]
    return add(plane, above, residual)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def literals(
    plane: cython.pointer(Plane),
    bits: cython.pointer(Bits),
    here: cython.pointer(uint32_t),
    above: cython.pointer(uint32_t),
    i: int64_t,
    stop: int64_t,
    runs: cython.bint,
) -> int64_t:
    """Decode the pixel of column i, and those up to `stop` before which no run may begin; says where it ended."""
    last: cython.pointer(uint8_t) = plane.last + 4 * i
    before: cython.pointer(uint8_t) = last - 4
    red: uint64_t = before[0]
    green: uint64_t = before[1]
    blue: uint64_t = before[2]
    left: uint32_t = here[i - 1]
    up: uint32_t
    code: uint64_t
    zeros: uint64_t
    window: uint64_t
    while True:
        window = peek(bits)
        code = plane.models[0].code[red]
        zeros = leading_zeros64(window)
        if zeros > plane.short_zeros[code]:
            red = long_symbol(bits, cython.address(plane.family), code)
            window = peek(bits)
        else:
            red = (window >> (63 - zeros - code)) + ((zeros - 1) << code)
            window = (window << (zeros + code)) << 1
            bits.at += zeros + code + 1
        code = plane.models[1].code[green]
        zeros = leading_zeros64(window)
        if zeros > plane.short_zeros[code]:
            green = long_symbol(bits, cython.address(plane.family), code)
            window = peek(bits)
        else:
            green = (window >> (63 - zeros - code)) + ((zeros - 1) << code)
            window = (window << (zeros + code)) << 1
            bits.at += zeros + code + 1
        code = plane.models[2].code[blue]
        zeros = leading_zeros64(window)
        if zeros > plane.short_zeros[code]:
            blue = long_symbol(bits, cython.address(plane.family), code)
        else:
            blue = (window >> (63 - zeros - code)) + ((zeros - 1) << code)
            bits.at += zeros + code + 1
        last[0] = cython.cast(uint8_t, red)
        last[1] = cython.cast(uint8_t, green)
        last[2] = cython.cast(uint8_t, blue)
        last += 4
        up = above[i]
        left = add(
            plane,
            (left & up) + (((left ^ up) & 0xFEFEFE) >> 1),
            plane.residuals[red] | plane.residuals[256 + green] | plane.residuals[512 + blue],
        )
        here[i] = left
        i += 1
        if i > stop:
            return i
        if runs and above[i - 1] == above[i] and here[i - 2] == left:
            return i


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def bytes_of_plane(
    plane: cython.pointer(Plane),
    bits: cython.pointer(Bits),
    here: cython.pointer(uint32_t),
    above: cython.pointer(uint32_t),
    i: int64_t,
    stop: int64_t,
    runs: cython.bint,
) -> int64_t:
    """As `literals`, for one channel."""
    last: cython.pointer(uint8_t) = plane.last + 4 * i
    symbol: uint64_t = (last - 4)[0]
    while True:
        symbol = long_symbol(bits, cython.address(plane.family), plane.models[0].code[symbol])
        last[0] = cython.cast(uint8_t, symbol)
        last += 4
        here[i] = add(plane, (here[i - 1] + above[i]) >> 1, plane.residuals[512 + symbol])
        i += 1
        if i > stop or (runs and above[i - 1] == above[i] and here[i - 2] == here[i - 1]):
            return i


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def segment(
    plane: cython.pointer(Plane),
    bits: cython.pointer(Bits),
    here: cython.pointer(uint32_t),
    above: cython.pointer(uint32_t),
    i: int64_t,
    end: int64_t,
    y: int64_t,
) -> cython.bint:
    """Decode columns i..end-1; False if the payload ends before, or a run leaves the segment."""
    state: cython.pointer(State) = cython.address(plane.state)
    run_start: int64_t = 0
    stop: int64_t
    last: int64_t
    length: int64_t
    k: int64_t
    pixel: uint32_t
    if i == 0:
        here[0] = first_pixel(plane, bits, above[0] if y else 0)
        if state.wait > 0:
            state.wait -= 1
        else:
            state.wait = rnd(state)
            learn(plane, 0)
        i = 1
    stop = i + state.wait
    while i < end:
        if y and i > 2 and i != run_start and above[i - 1] == above[i] and here[i - 2] == here[i - 1]:
            length = run_length(bits, state, end - i)
            if length > end - i or bits.at > bits.end:
                return False
            state.wait = cython.cast(uint32_t, stop - i)
            run_start = i
            pixel = here[i - 1]
            for k in range(i, i + length):
                here[k] = pixel
            i += length
            if i == end:
                return True
            stop = i + state.wait
            continue
        last = min(stop, end - 1)
        if y and i <= 2:
            last = min(last, 2)
        if plane.channels == 1:
            i = bytes_of_plane(plane, bits, here, above, i, last, y and i > 2)
        elif y and i > 2:
            i = literals(plane, bits, here, above, i, last, True)
        else:
            i = literals(plane, bits, here, above, i, last, False)
        if bits.at > bits.end:
            return False
        if i > stop:
            learn(plane, stop)
            stop = i + rnd(state)
    state.wait = cython.cast(uint32_t, stop - end)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def row(
    plane: cython.pointer(Plane),
    bits: cython.pointer(Bits),
    here: cython.pointer(uint32_t),
    above: cython.pointer(uint32_t),
    width: int64_t,
    y: int64_t,
) -> cython.bint:
    """Decode row y; False as `segment` says. In row 0 `above` is ignored."""
    state: cython.pointer(State) = cython.address(plane.state)
    position: int64_t = 0
    if y:
        store32(plane.last - 4, load32(plane.last))
    else:
        above = here - 1
    while state.wm < 6 and state.wmleft <= width - position:
        if state.wmleft > 0:
            if not segment(plane, bits, here, above, position, position + state.wmleft, y):
                return False
            position += state.wmleft
        state.wm += 1
        state.wmleft = 2048
    if position < width:
        if not segment(plane, bits, here, above, position, width, y):
            return False
        if state.wm < 6:
            state.wmleft -= cython.cast(uint32_t, width - position)
    return bits.at <= bits.end


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def start(
    plane: cython.pointer(Plane), bits: cython.int, channels: cython.int, last: cython.pointer(uint8_t)
) -> cython.void:
    """A plane before its first pixel. `last`: memory, 0, for the row of symbols and one more."""
    code: cython.int
    plane.family = family_of(bits)
    plane.channels = channels
    plane.last = last + 4
    plane.low = 0
    plane.residuals = cython.address(QUIC_RESIDUAL_8[0][0]) if bits == 8 else cython.address(QUIC_RESIDUAL_5[0][0])
    plane.high_bit = 0x808080 if bits == 8 else 0x101010
    plane.low_bits = plane.high_bit - 0x010101
    reset_state(cython.address(plane.state))
    for code in range(channels):
        reset_model(cython.address(plane.models[code]), bits)
    for code in range(bits):
        plane.short_zeros[code] = min(plane.family.prefix[code], 15) - 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def colours(
    bits: cython.pointer(Bits),
    kind: cython.int,
    width: int64_t,
    height: int64_t,
    pixels: cython.pointer(uint32_t),
    memory: cython.pointer(uint8_t),
) -> cython.bint:
    """Decode rows of 32-bit pixels; of alpha, if there is one, row after row in between."""
    colour: Plane
    alpha: Plane
    here: cython.pointer(uint32_t) = pixels
    values: cython.pointer(uint32_t)
    y: int64_t
    start(cython.address(colour), 8, 3, memory)
    start(cython.address(alpha), 8, 1, memory + 4 * (width + 1))
    values = cython.cast(cython.pointer(uint32_t), memory + 8 * (width + 1)) + 1
    for y in range(height):
        if not row(cython.address(colour), bits, here, here - width, width, y):
            return False
        if kind == _RGBA:
            if y:
                join(here - width, values + ((y - 1) & 1) * width, width)
            if not row(cython.address(alpha), bits, values + (y & 1) * width, values + ((y - 1) & 1) * width, width, y):
                return False
        here += width
    if kind == _RGBA:
        join(here - width, values + ((height - 1) & 1) * width, width)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def join(colours: cython.pointer(uint32_t), alphas: cython.pointer(uint32_t), width: int64_t) -> cython.void:
    """Put the alpha values of a row into its pixels, which no row below needs any more."""
    x: int64_t
    for x in range(width):
        colours[x] |= alphas[x] << 24


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
    rows: cython.pointer(uint32_t)
    here: cython.pointer(uint32_t)
    x: int64_t
    y: int64_t
    pixel: uint32_t
    start(cython.address(plane), 5 if kind == _RGB16 else 8, 3 if kind == _RGB16 else 1, memory)
    rows = cython.cast(cython.pointer(uint32_t), memory + 4 * (width + 1)) + 1
    for y in range(height):
        here = rows + (y & 1) * width
        if not row(cython.address(plane), bits, here, rows + ((y - 1) & 1) * width, width, y):
            return False
        if kind == _GRAY:
            for x in range(width):
                out[x] = cython.cast(uint8_t, here[x])
            out += width
        else:
            for x in range(width):
                pixel = here[x]
                store16(out + 2 * x, (pixel >> 6 & 0x7C00) | (pixel >> 3 & 0x3E0) | (pixel & 31))
            out += 2 * width
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
    good: cython.int = -1
    words: int64_t = size >> 2
    memory: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), calloc(width + 1, 20))
    bits.words = cython.cast(cython.pointer(uint8_t), malloc(4 * words + _ROOM))
    if memory != cython.NULL and bits.words != cython.NULL:
        for k in range(words):
            store32(bits.words + 4 * k, load32_big_endian(data + 4 * k))
        memset(bits.words + 4 * words, 0, _ROOM)
        bits.at = 0
        bits.end = 32 * (words - 1)
        if kind in (_GRAY, _RGB16):
            good = narrow(cython.address(bits), kind, width, height, out, memory)
        else:
            good = colours(
                cython.address(bits), kind, width, height, cython.cast(cython.pointer(uint32_t), out), memory
            )
    free(memory)
    free(bits.words)
    return good


def decode(data, kind: cython.int, width: cython.Py_ssize_t, height: cython.Py_ssize_t) -> bytes:
    """Pixels of a payload with that header, which has been checked.

    kind: image type. Gives bytes (GRAY), 16-bit words r5g5b5 (RGB16), b g r 0 or, for RGBA, b g r a.
    Raises EOFError if the payload ends early or a run leaves its segment.
    """
    view: Py_buffer
    good: cython.int = 0
    out: cython.pointer(uint8_t)
    source: cython.pointer(uint8_t)
    size: cython.Py_ssize_t = 1 if kind == _GRAY else 2 if kind == _RGB16 else 4
    pixels: bytes = PyBytes_FromStringAndSize(cython.NULL, width * height * size)
    out = cython.cast(cython.pointer(uint8_t), PyBytes_AsString(pixels))
    PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
    source = cython.cast(cython.pointer(uint8_t), view.buf) + _HEADER
    size = view.len - _HEADER
    if size >= 4:
        if width * height <= _FEW_PIXELS:
            good = image(source, size, kind, width, height, out)
        else:
            with cython.nogil:
                good = image(source, size, kind, width, height, out)
    PyBuffer_Release(cython.address(view))
    if good < 0:
        raise MemoryError
    if good == 0:
        raise EOFError
    return pixels
