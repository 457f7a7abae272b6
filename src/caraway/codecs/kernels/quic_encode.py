"""The QUIC encoder (spec/quic.md): residuals and equality of a row in one pass each, then code words by table.

A pixel is 4 bytes here, b, g, r and one that is not coded, whatever it is outside; the five bits of RGB16 are the high
ones of a byte. Alpha, and GRAY, are rows of bytes. What a run skips keeps the symbols of older rows, hence a row of
symbols is completed from the one above.
"""

import cython
from cython.cimports.caraway.codecs.kernels.quic_tables import (
    QUIC_RUN_BITS,
    QUIC_TRIGGER,
    family_of,
    reset_model,
    reset_state,
    rnd,
    update,
)
from cython.cimports.caraway.codecs.kernels.shim import load16, load32, load64, store32, store64, trailing_zeros64
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, realloc
from cython.cimports.libc.string import memcpy, memset

ALL_EQUAL = cython.declare(uint64_t, 0x0101010101010101)
CODES_8 = cython.declare(Code[8 * 256])
CODES_5 = cython.declare(Code[8 * 256])


def build_codes(codes, bits):
    """The code words of a family: 256 for each code."""
    family: Family = family_of(bits)
    code: cython.int
    symbol: cython.int
    plain: cython.int
    word: cython.int
    for code in range(bits):
        plain = family.prefix[code] << code
        for symbol in range(1 << bits):
            word = (1 << code) | (symbol & ((1 << code) - 1)) if symbol < plain else symbol - plain
            codes[code * 256 + symbol].bits = word
            codes[code * 256 + symbol].length = family.lengths[symbol * 8 + 7 - code]


build_codes(CODES_8, 8)
build_codes(CODES_5, 5)


def start_plane(plane, channels, bits):
    c: cython.int
    bucket: cython.int
    plane.channels = channels
    plane.size = 4 if channels == 3 else 1
    plane.family = family_of(bits)
    plane.codes = CODES_8
    if bits == 5:
        plane.codes = CODES_5
    reset_state(cython.address(plane.state))
    for c in range(channels):
        reset_model(cython.address(plane.channel[c].model), bits)
        for bucket in range(bits):
            select_codes(plane, cython.address(plane.channel[c]), bucket)


def select_codes(plane, channel, bucket):
    """Point the symbols of a bucket to the code words of its best code."""
    first: cython.int = (1 << bucket) - 1
    last: cython.int = 255 if bucket == plane.family.bits - 1 else 2 * first
    codes: cython.pointer(cython.const[Code]) = plane.codes + channel.model.code[first] * 256
    symbol: cython.int
    for symbol in range(first, last + 1):
        channel.codes[symbol] = codes


def learn(plane, column):
    """Update the models with the pixel at `column`."""
    size: cython.Py_ssize_t = plane.size
    symbols: cython.pointer(cython.const[uint8_t]) = plane.symbols + size * column
    trigger: uint32_t = QUIC_TRIGGER[plane.state.wm]
    family: Family = plane.family
    channel: cython.pointer(Channel)
    before: uint8_t
    c: cython.int
    for c in range(plane.channels):
        channel = cython.address(plane.channel[c])
        before = symbols[c - size]
        if update(cython.address(channel.model), cython.address(family), trigger, before, symbols[c]):
            select_codes(plane, channel, family.bucket[before])


def emit(bits, value, length):
    """Append 1 to 32 bits: store the last two words that have any, the last one padded with zeros."""
    bits.last = bits.last << length | value
    bits.size += length
    words: uint64_t = bits.last << 1 << (~bits.size & 31)
    store64(bits.start + (bits.size >> 5) * 4 - 4, words >> 32 | words << 32)


def code_colours(plane, bits, column, end):
    """Code pixels from `column` to before `end`; there is one."""
    stream: Bits = bits[0]
    symbols: cython.pointer(cython.const[uint8_t]) = plane.symbols + 4 * end
    at: cython.Py_ssize_t = 4 * (column - end)
    pixel: uint32_t = load32(symbols + at - 4)
    b: uint32_t = pixel & 255
    g: uint32_t = (pixel >> 8) & 255
    r: uint32_t = (pixel >> 16) & 255
    codes_b: cython.pointer(cython.const[Code]) = plane.channel[0].codes[b]
    codes_g: cython.pointer(cython.const[Code]) = plane.channel[1].codes[g]
    codes_r: cython.pointer(cython.const[Code]) = plane.channel[2].codes[r]
    length_gb: cython.uint
    length: cython.uint
    value: uint64_t
    while True:
        pixel = load32(symbols + at)
        b = pixel & 255
        g = (pixel >> 8) & 255
        r = (pixel >> 16) & 255
        length_gb = codes_g[g].length + codes_b[b].length
        length = length_gb + codes_r[r].length
        value = cython.cast(uint64_t, codes_g[g].bits) << codes_b[b].length | codes_b[b].bits
        if unlikely(length > 32):
            emit(cython.address(stream), codes_r[r].bits, codes_r[r].length)
            emit(cython.address(stream), codes_g[g].bits, codes_g[g].length)
            emit(cython.address(stream), codes_b[b].bits, codes_b[b].length)
        else:
            emit(cython.address(stream), cython.cast(uint64_t, codes_r[r].bits) << length_gb | value, length)
        codes_b = plane.channel[0].codes[b]
        codes_g = plane.channel[1].codes[g]
        codes_r = plane.channel[2].codes[r]
        at += 4
        if at == 0:
            break
    bits[0] = stream


def code_bytes(plane, bits, column, end):
    """As `code_colours`, for one channel."""
    symbols: cython.pointer(cython.const[uint8_t]) = plane.symbols
    codes: cython.pointer(cython.const[Code]) = plane.channel[0].codes[symbols[column - 1]]
    symbol: uint8_t
    while column < end:
        symbol = symbols[column]
        emit(bits, codes[symbol].bits, codes[symbol].length)
        codes = plane.channel[0].codes[symbol]
        column += 1


def code_run(plane, bits, length):
    ones: cython.uint = 0
    run_bits: cython.uint = QUIC_RUN_BITS[plane.state.mel]
    while length >> run_bits:
        length -= cython.cast(cython.Py_ssize_t, 1) << run_bits
        ones += 1
        if plane.state.mel < 31:
            plane.state.mel += 1
        run_bits = QUIC_RUN_BITS[plane.state.mel]
    while unlikely(ones > 16):
        emit(bits, 0xFFFF, 16)
        ones -= 16
    emit(bits, ((1 << ones) - 1) << (run_bits + 1) | length, ones + 1 + run_bits)
    if plane.state.mel > 0:
        plane.state.mel -= 1


def equal_from(plane, column, end):
    """Number of pixels from `column` on, before `end`, that equal the one before `column`."""
    start: cython.Py_ssize_t = column
    differing: uint64_t
    while column < end:
        differing = load64(plane.equal + column) ^ ALL_EQUAL
        if differing:
            column += trailing_zeros64(differing) >> 3
            break
        column += 8
    return (column if column < end else end) - start


def next_run(plane, column, end):
    """Where a run may start, from `column` on; `end` if that is not before it."""
    starts: uint64_t
    while column < end:
        starts = load64(plane.runs + column)
        if starts:
            column += trailing_zeros64(starts) >> 3
            break
        column += 8
    return column if column < end else end


def code_segment(plane, bits, column, end):
    """Code pixels from `column` to before `end` with one mask index; row 0 has nowhere a run may start."""
    size: cython.Py_ssize_t = plane.size
    stop: cython.Py_ssize_t = column + plane.state.wait
    literals_end: cython.Py_ssize_t
    run: cython.Py_ssize_t
    skipped: cython.int = 0
    while column < end:
        literals_end = next_run(plane, column + skipped, stop + 1 if stop < end else end)
        if column < literals_end:
            if plane.channels == 3:
                code_colours(plane, bits, column, literals_end)
            else:
                code_bytes(plane, bits, column, literals_end)
            skipped = 0
            column = literals_end
            if column > stop:
                learn(plane, stop)
                stop = column + rnd(cython.address(plane.state))
                continue
            if column == end:
                break
        run = equal_from(plane, column, end)
        code_run(plane, bits, run)
        if run == 0:
            skipped = 1
            continue
        memcpy(plane.symbols + column * size, plane.old_symbols + column * size, run * size)
        column += run
        stop += run
    plane.state.wait = stop - end


def code_row(plane, bits, width):
    column: cython.Py_ssize_t = 0
    while plane.state.wm < 6 and plane.state.wmleft <= width - column:
        if plane.state.wmleft > 0:
            code_segment(plane, bits, column, column + plane.state.wmleft)
            column += plane.state.wmleft
        plane.state.wm += 1
        plane.state.wmleft = 2048
    if column < width:
        code_segment(plane, bits, column, width)
        if plane.state.wm < 6:
            plane.state.wmleft -= width - column


def predict(plane, row, above, y, width):
    """Fill in the symbols of a row."""
    size: cython.Py_ssize_t = plane.size
    symbols: cython.pointer(uint8_t) = plane.symbols
    at: cython.Py_ssize_t
    for at in range(size):
        symbols[at] = fold(row[at] - above[at] if y else row[at])
        symbols[at - size] = plane.old_symbols[at] if y else 0
    if y == 0:
        above = row - size
    if plane.family.bits == 8:
        for at in range(size, size * width):
            symbols[at] = fold(row[at] - average(row[at - size], above[at]))
        return
    for at in range(size, size * width):
        symbols[at] = fold(row[at] - (average(row[at - size], above[at]) & HIGH_5)) >> 3
    for at in range(size):
        symbols[at] >>= 3


def compare(plane, row, y, width):
    """Fill in where a pixel equals its left neighbour, and where a run may start."""
    column: cython.Py_ssize_t
    equal: cython.pointer(uint8_t) = plane.equal
    equal_above: cython.pointer(uint8_t) = plane.equal_above
    runs: cython.pointer(uint8_t) = plane.runs
    if plane.channels == 1:
        for column in range(1, width):
            equal[column] = row[column] == row[column - 1]
    else:
        for column in range(1, width):
            equal[column] = ((load32(row + 4 * column) ^ load32(row + 4 * column - 4)) & 0xFFFFFF) == 0
    if y == 0:
        return
    for column in range(3, width):
        runs[column] = equal_above[column] & equal[column - 1]


def expand24(to, row, width):
    column: cython.Py_ssize_t
    for column in range(width):
        to[4 * column] = row[3 * column]
        to[4 * column + 1] = row[3 * column + 1]
        to[4 * column + 2] = row[3 * column + 2]
    return to


def expand16(to, row, width):
    column: cython.Py_ssize_t
    pixel: uint32_t
    for column in range(width):
        pixel = load16(row + 2 * column)
        store32(to + 4 * column, (pixel & 0x1F) << 3 | (pixel & 0x3E0) << 6 | (pixel & 0x7C00) << 9)
    return to


def take_alpha(to, row, width):
    column: cython.Py_ssize_t
    for column in range(width):
        to[column] = row[4 * column + 3]


def reserve(bits, capacity):
    """Have room for `capacity` bytes, or for more; tell whether there was memory."""
    if capacity <= bits.capacity:
        return True
    start: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), realloc(bits.start, 2 * capacity))
    if start == cython.NULL:
        return False
    bits.start, bits.capacity = start, 2 * capacity
    return True


def place_rows(plane, rows, pitch):
    """Give a plane five rows of zeros."""
    plane.symbols = rows
    plane.old_symbols = rows + pitch
    plane.equal = rows + 2 * pitch
    plane.equal_above = rows + 3 * pitch
    plane.runs = rows + 4 * pitch


def encode_row(plane, bits, row, above, y, width):
    plane.symbols, plane.old_symbols = plane.old_symbols, plane.symbols
    plane.equal, plane.equal_above = plane.equal_above, plane.equal
    predict(plane, row, above, y, width)
    compare(plane, row, y, width)
    code_row(plane, bits, width)


def encode_rows(bits, planes, rows, data, type, width, height, stride):
    """Append all rows; tell whether there was memory for them.

    rows: zeroed, ROWS of `4 * width` bytes with MARGIN before each and after the last.
    """
    pitch: cython.Py_ssize_t = 4 * width + MARGIN
    colours: cython.pointer(Plane) = planes
    alone: cython.pointer(Plane) = planes + 1
    row: cython.pointer(cython.const[uint8_t]) = data
    above: cython.pointer(cython.const[uint8_t]) = data
    converted: cython.pointer(uint8_t)
    y: cython.Py_ssize_t
    start_plane(colours, 3, 5 if type == RGB16 else 8)
    place_rows(colours, rows, pitch)
    start_plane(alone, 1, 8)
    place_rows(alone, rows + 5 * pitch, pitch)
    for y in range(height):
        if not reserve(bits, (bits.size >> 3) + PIXEL_BYTES * width + MARGIN):
            return False
        converted = rows + (10 + (y & 1)) * pitch
        above, row = row, data + y * stride
        if type == GRAY:
            encode_row(alone, bits, row, above, y, width)
            continue
        if type == RGB16:
            row = expand16(converted, row, width)
        elif type == RGB24:
            row = expand24(converted, row, width)
        encode_row(colours, bits, row, above, y, width)
        if type == RGBA:
            take_alpha(converted, row, width)
            encode_row(alone, bits, converted, rows + (10 + (~y & 1)) * pitch, y, width)
    return True


def encode_image(bits, data, type, width, height, stride):
    """The whole payload; tells whether there was memory for it."""
    if not reserve(bits, 20 + width * height // 2):
        return False
    planes: cython.pointer(Plane) = cython.cast(
        cython.pointer(Plane), calloc(1, 2 * cython.sizeof(Plane) + ROWS * (4 * width + MARGIN) + MARGIN)
    )
    if planes == cython.NULL:
        return False
    store32(bits.start, QUIC_MAGIC)
    store32(bits.start + 4, 0)
    store32(bits.start + 8, type)
    store32(bits.start + 12, width)
    store32(bits.start + 16, height)
    bits.size = 160
    bits.last = height
    rows: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), planes + 2) + MARGIN
    done: cython.bint = encode_rows(bits, planes, rows, data, type, width, height, stride)
    free(planes)
    if done:
        bits.size = ((bits.size + 31) & ~31) + 32
        store32(bits.start + (bits.size >> 3) - 4, 0)
    return done


def encode(
    data, type: cython.int, width: cython.Py_ssize_t, height: cython.Py_ssize_t, stride: cython.Py_ssize_t
) -> bytes:
    """The payload of a picture of a type (spec/quic.md 2).

    data: contiguous buffer that is known to hold `height` rows of pixels, `stride` bytes from a row to the next.
    """
    view: Py_buffer
    bits: Bits
    done: cython.bint
    memset(cython.address(bits), 0, cython.sizeof(Bits))
    PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
    pixels: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), view.buf)
    try:
        if width * height < FEW_PIXELS:
            done = encode_image(cython.address(bits), pixels, type, width, height, stride)
        else:
            with cython.nogil:
                done = encode_image(cython.address(bits), pixels, type, width, height, stride)
        if not done:
            raise MemoryError
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, bits.start), bits.size >> 3)
    finally:
        free(bits.start)
        PyBuffer_Release(cython.address(view))
