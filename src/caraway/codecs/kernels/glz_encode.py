"""GLZ: from pixels to tokens, and the images of a server's dictionary (spec/lz.md 3.3, 3.5).

For each image there is its plane of units: words b, g, r, 0, words of 15 bits, or bytes of indices. With alpha, a plane
of bytes of it follows. A table leads from a hash of the next units to the last place, in any image, that has the same.
"""

import cython
from cython.cimports.caraway.codecs.kernels.glz_encode import GLZ_HASH, PLANE_SLACK, TABLE_BITS, Plane
from cython.cimports.caraway.codecs.kernels.glz_images import GLZ_FEW_PIXELS, Image, Images, begin, find, put
from cython.cimports.caraway.codecs.kernels.shim import (
    alike32,
    load16,
    load32,
    load64,
    pack_bgr8,
    store16,
    store32,
)
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AsString, PyBytes_FromStringAndSize
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.libc.string import memcpy, memset


@cython.cclass
class Dictionary:
    """Planes of units by image id. One call at a time."""

    images: Images
    owners: dict
    table: cython.pointer[uint64_t]
    busy: cython.bint

    def __cinit__(self):
        self.owners = {}
        self.table = cython.cast(cython.pointer[uint64_t], calloc(1 << TABLE_BITS, cython.sizeof(uint64_t)))
        if not begin(cython.address(self.images)) or self.table == cython.NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.images.slots)
        free(self.table)

    def __contains__(self, id: object) -> bool:
        return id in self.owners

    def drop(self, id: uint64_t) -> None:
        """Remove an image that is there."""
        if self.busy:
            raise RuntimeError("a GLZ dictionary encodes one image at a time")
        del self.owners[id]
        self.images.slots[id & self.images.mask].units = cython.NULL

    def encode(
        self, pixels: object, id: uint64_t, head: uint64_t, type: cython.int, width: cython.int, alpha: cython.bint
    ) -> bytes:
        """Add an image and give its tokens.

        pixels: of `width` bytes, 4, 2 or 1, rows without padding. head: oldest image to refer to, if it has the same
        `type`. alpha: encode it too. Ids must be close to each other.
        """
        image: Image
        plane: Plane
        if self.busy:
            raise RuntimeError("a GLZ dictionary encodes one image at a time")
        units: bytes = _units_of(pixels, width, alpha)
        image.id = id
        image.units = cython.cast(cython.pointer[uint8_t], PyBytes_AsString(units))
        image.count = len(pixels) // width
        image.type = type
        plane.units = image.units
        plane.count = image.count
        plane.table = self.table
        plane.images = cython.address(self.images)
        plane.id = id
        plane.head = head
        plane.type = type
        plane.alpha = False
        # A literal for each unit, the control bytes, and what the last wide store writes too much. Matches are shorter.
        room: cython.size_t = (width + alpha) * plane.count + plane.count // 16 + 64
        out = cython.cast(cython.pointer[uint8_t], malloc(room))
        if out == cython.NULL or not put(cython.address(self.images), image):
            free(out)
            raise MemoryError
        self.owners[id] = units
        plane.out = out
        self.busy = True
        if plane.count <= GLZ_FEW_PIXELS:
            _encode(cython.address(plane), width, alpha)
        else:
            with cython.nogil:
                _encode(cython.address(plane), width, alpha)
        self.busy = False
        tokens: bytes = PyBytes_FromStringAndSize(cython.cast(cython.p_char, out), plane.out - out)
        free(out)
        return tokens


@cython.cfunc
def _units_of(pixels: object, width: cython.int, alpha: cython.bint) -> bytes:
    """The planes of an image."""
    view: Py_buffer
    PyObject_GetBuffer(pixels, cython.address(view), PyBUF_SIMPLE)
    size: uint64_t = view.len
    planes: bytes = PyBytes_FromStringAndSize(
        cython.NULL, size + PLANE_SLACK + (size // 4 + PLANE_SLACK if alpha else 0)
    )
    source = cython.cast(cython.pointer[cython.const[uint8_t]], view.buf)
    out = cython.cast(cython.pointer[uint8_t], PyBytes_AsString(planes))
    if size <= 4 * GLZ_FEW_PIXELS:
        _pick(out, source, size, width, alpha)
    else:
        with cython.nogil:
            _pick(out, source, size, width, alpha)
    PyBuffer_Release(cython.address(view))
    return planes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _pick(
    out: cython.pointer[uint8_t],
    source: cython.pointer[cython.const[uint8_t]],
    size: uint64_t,
    width: cython.int,
    alpha: cython.bint,
) -> cython.void:
    at: uint64_t
    if width == 4:
        for at in range(size // 4):
            store32(out + 4 * at, load32(source + 4 * at) & 0xFFFFFF)
    elif width == 2:
        for at in range(size // 2):
            store16(out + 2 * at, load16(source + 2 * at) & 0x7FFF)
    else:
        memcpy(out, source, size)
    out += size
    memset(out, 0, PLANE_SLACK)
    if alpha:
        out += PLANE_SLACK
        for at in range(size // 4):
            out[at] = source[4 * at + 3]
        memset(out + size // 4, 0, PLANE_SLACK)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _encode(plane: cython.pointer[Plane], width: cython.int, alpha: cython.bint) -> cython.void:
    # Of constant width each, so that each is compiled on its own.
    if width == 1:
        _write_tokens(plane, 1)
    elif width == 2:
        _write_tokens(plane, 2)
    else:
        _write_tokens(plane, 4)
    if alpha:
        plane.alpha = True
        plane.units += 4 * plane.count + PLANE_SLACK
        _write_tokens(plane, 1)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _write_tokens(plane: cython.pointer[Plane], width: uint64_t) -> cython.void:
    """Code units greedily: at each, the match with the last place, in any image, whose next units began alike."""
    first: cython.pointer[cython.const[uint8_t]] = plane.units
    source: cython.pointer[cython.const[uint8_t]]
    other: cython.pointer[cython.const[Image]]
    table: cython.pointer[uint64_t] = plane.table
    out: cython.pointer[uint8_t] = plane.out
    count: uint64_t = plane.count
    bias: uint64_t = 0 if width == 4 else 3 - width
    own: uint64_t = plane.id << 32
    at: uint64_t = 0
    literals: uint64_t = 0
    place: uint64_t
    entry: uint64_t
    back: uint64_t
    word: uint64_t
    length: uint64_t
    limit: uint64_t
    offset: uint64_t
    distance: uint64_t
    cost: uint64_t
    same: uint64_t
    while at + 4 <= count:
        word = load64(first + at * width)
        place = _place(first + at * width, word, width)
        entry = table[place]
        table[place] = own | at
        back = cython.cast(uint32_t, entry)
        entry >>= 32
        if entry == own >> 32 and back < at:
            source = first + back * width
            limit = count - at
            distance = 0
        else:
            # Ids count modulo 2**32 here: no window is as long.
            distance = cython.cast(uint32_t, plane.id - entry)
            other = find(plane.images, plane.id - distance)
            if (
                other == cython.NULL
                or distance == 0
                or distance > plane.id - plane.head
                or distance >= 1 << 24
                or other.type != plane.type
                or back + 4 > other.count
            ):
                at += 1 + _stride(at - literals)
                continue
            source = other.units + back * width
            if plane.alpha:
                source += 4 * other.count + PLANE_SLACK
            limit = other.count - back
            if limit > count - at:
                limit = count - at
        word ^= load64(source)
        if width != 4:
            word = cython.cast(uint32_t, word)
        if word:
            at += 1 + _stride(at - literals)
            continue
        length = 2 if width >= 2 else 4
        same = 32
        while same == 32 and length < limit:
            same = alike32(first + (at + length) * width, source + length * width)
            length += same // width
        if length > limit:
            length = limit
        while at > literals and back > 0 and _alike(first + (at - 1) * width, source - width, width):
            at -= 1
            back -= 1
            source -= width
            length += 1
        offset = back if distance else at - back - 1
        cost = 3
        if offset < 4096:
            cost += (distance >= 64) + (distance >= 1 << 14) + (distance >= 1 << 22)
        else:
            cost += (distance > 0) + (distance >= 1 << 8) + (distance >= 1 << 16) + (offset >= 1 << 17)
        if not _pays(length, cost, width):
            at += 1
            continue
        out = _write_literals(out, first, width, literals, at)
        out = _write_match(out, length - bias, offset, distance)
        at += length
        literals = at
        if at + 4 <= count:
            source = first + (at - 2) * width
            table[_place(source, load64(source), width)] = own | (at - 2)
            source += width
            table[_place(source, load64(source), width)] = own | (at - 1)
    plane.out = _write_literals(out, first, width, literals, count)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _stride(literals: uint64_t) -> uint64_t:
    """How many units to pass over after so many without a match: what matches behind them is found from its middle."""
    literals >>= 5
    return literals if literals < 3 else 3


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _place(source: cython.pointer[cython.const[uint8_t]], word: uint64_t, width: uint64_t) -> uint64_t:
    """Place in the table of what begins with the 8 bytes `word` at unit `at`: of 3 pixels, or of 4 bytes."""
    if width == 4:
        word = (word ^ cython.cast(uint64_t, load32(source + 8)) << 24) << 8
    elif width == 2:
        word <<= 16
    else:
        word <<= 32
    return word * GLZ_HASH >> (64 - TABLE_BITS)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _alike(
    one: cython.pointer[cython.const[uint8_t]], other: cython.pointer[cython.const[uint8_t]], width: uint64_t
) -> cython.bint:
    if width == 4:
        return load32(one) == load32(other)
    if width == 2:
        return load16(one) == load16(other)
    return one[0] == other[0]


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _pays(length: uint64_t, cost: uint64_t, width: uint64_t) -> cython.bint:
    """Whether a match is shorter than its units as literals, even where it parts two literals."""
    if width == 4:
        return 3 * length > cost + (length >= 7) + 1
    if width == 2:
        return 2 * length > cost + 1 + (length >= 8)
    return length > cost + 1 + (length >= 9)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _write_literals(
    out: cython.pointer[uint8_t],
    first: cython.pointer[cython.const[uint8_t]],
    width: uint64_t,
    at: uint64_t,
    end: uint64_t,
) -> cython.pointer[uint8_t]:
    count: uint64_t
    step: uint64_t
    while at < end:
        count = end - at if end - at < 32 else 32
        out[0] = cython.cast(uint8_t, count - 1)
        out += 1
        if width == 4:
            for step in range(0, count, 8):
                pack_bgr8(out + 3 * step, first + 4 * (at + step))
            out += 3 * count
        elif width == 2:
            for step in range(count):
                out[0] = first[2 * (at + step) + 1]
                out[1] = first[2 * (at + step)]
                out += 2
        else:
            memcpy(out, first + at, count)
            out += count
        at += count
    return out


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _write_match(
    out: cython.pointer[uint8_t], length: uint64_t, offset: uint64_t, image: uint64_t
) -> cython.pointer[uint8_t]:
    extra: uint64_t
    control: uint64_t = (length if length < 7 else 7) << 5 | offset & 15
    byte: uint64_t
    if offset < 4096 and image < 64 and length < 7 + 255:
        out[0] = cython.cast(uint8_t, control)
        out[1] = cython.cast(uint8_t, length - 7)
        out += 2 if length >= 7 else 1
        out[0] = cython.cast(uint8_t, offset >> 4)
        out[1] = cython.cast(uint8_t, image)
        return out + 2
    if offset >= 4096:
        control |= 16
        byte = offset >> 12 & 31
        if offset >= 1 << 17:
            byte |= 32
    else:
        byte = image & 63
        image >>= 6
    out[0] = cython.cast(uint8_t, control)
    out += 1
    if length >= 7:
        length -= 7
        while length >= 255:
            out[0] = 255
            out += 1
            length -= 255
        out[0] = cython.cast(uint8_t, length)
        out += 1
    extra = (image > 0) + (image >= 1 << 8) + (image >= 1 << 16)
    out[0] = cython.cast(uint8_t, offset >> 4 & 255)
    out[1] = cython.cast(uint8_t, byte | extra << 6)
    out += 2
    while extra:
        out[0] = cython.cast(uint8_t, image & 255)
        image >>= 8
        out += 1
        extra -= 1
    if offset >= 1 << 17:
        out[0] = cython.cast(uint8_t, offset >> 17)
        out += 1
    return out
