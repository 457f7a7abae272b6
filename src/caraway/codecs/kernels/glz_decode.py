"""GLZ: from tokens to pixels, and the images of a client's window (spec/lz.md 3.3)."""

import cython
from cython.cimports.caraway.codecs.kernels.glz_decode import DONE, ENDS_EARLY, MISSING, OUTSIDE, RUNS_OVER, Stream
from cython.cimports.caraway.codecs.kernels.glz_images import GLZ_FEW_PIXELS, Image, Images, begin, find, put
from cython.cimports.caraway.codecs.kernels.shim import (
    HAS_MATCHES,
    Recent,
    copy32,
    expand_bgr8,
    load32,
    load64,
    recent_begin,
    recent_match,
    store32,
    store64,
)
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AsString, PyBytes_FromStringAndSize
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free


@cython.cclass
class Window:
    """Pixels of 4 bytes by image id. One call at a time."""

    images: Images
    owners: dict
    busy: cython.bint

    def __cinit__(self):
        self.owners = {}
        if not begin(cython.address(self.images)):
            raise MemoryError

    def __dealloc__(self):
        free(self.images.slots)

    def put(self, id: uint64_t, pixels: bytes) -> bool:
        """Add an image. False if its id is too far from those that are there."""
        image: Image
        if self.busy:
            raise RuntimeError("a GLZ window decodes one image at a time")
        image.id = id
        image.units = cython.cast(cython.pointer[uint8_t], PyBytes_AsString(pixels))
        image.count = len(pixels) >> 2
        image.type = 0
        if not put(cython.address(self.images), image):
            return False
        self.owners[id] = pixels
        return True

    def drop(self, id: uint64_t) -> None:
        """Remove an image that is there."""
        if self.busy:
            raise RuntimeError("a GLZ window decodes one image at a time")
        del self.owners[id]
        self.images.slots[id & self.images.mask].units = cython.NULL

    def decode(
        self,
        payload: object,
        at: cython.size_t,
        id: uint64_t,
        units: uint64_t,
        literal: uint64_t,
        alpha: cython.bint,
        per_unit: uint64_t,
        palette: bytes,
    ) -> bytes:
        """The pixels of image `id`, whose tokens start at byte `at`; the image is not added.

        units: of the first stream, of `literal` bytes and `per_unit` pixels each: 3, b, g, r; 2, x1r5g5b5; 1, indices
        of `palette`, which has the pixels of every byte. alpha: a stream of alpha follows.
        Raises KeyError with its id if an image is missing, ValueError for corrupt tokens.
        """
        view: Py_buffer
        stream: Stream
        if self.busy:
            raise RuntimeError("a GLZ window decodes one image at a time")
        pixels: bytes = PyBytes_FromStringAndSize(cython.NULL, units * per_unit * 4)
        stream.start = cython.cast(cython.pointer[uint8_t], PyBytes_AsString(pixels))
        stream.out = stream.start
        stream.out_end = stream.start + units * per_unit * 4
        stream.images = cython.address(self.images)
        stream.id = id
        stream.missing = 0
        stream.literal = literal
        stream.alpha = False
        stream.per_unit = per_unit
        stream.palette = cython.cast(cython.pointer[uint8_t], PyBytes_AsString(palette))
        PyObject_GetBuffer(payload, cython.address(view), PyBUF_SIMPLE)
        first = cython.cast(cython.pointer[uint8_t], view.buf)
        stream.at = first + at
        stream.end = first + view.len
        self.busy = True
        if units * per_unit <= GLZ_FEW_PIXELS:
            result = _decode(cython.address(stream), alpha)
        else:
            with cython.nogil:
                result = _decode(cython.address(stream), alpha)
        self.busy = False
        where: cython.size_t = stream.at - first
        left: cython.size_t = stream.end - stream.at
        PyBuffer_Release(cython.address(view))
        if result == MISSING:
            raise KeyError(stream.missing)
        if result == ENDS_EARLY:
            raise ValueError(f"the payload ends in the token at byte {where}")
        if result == RUNS_OVER:
            raise ValueError(f"the token at byte {where} runs over the end of the image")
        if result == OUTSIDE:
            raise ValueError(f"the match at byte {where} reaches outside its image")
        if left:
            raise ValueError(f"{left} bytes after the last pixel")
        return pixels


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _decode(stream: cython.pointer[Stream], alpha: cython.bint) -> cython.int:
    result: cython.int = DONE
    if stream.literal == 3:
        result = _colours(stream)
    if result == DONE:
        result = _units(stream)
    if result == DONE and alpha:
        stream.out = stream.start
        stream.literal = 1
        stream.alpha = True
        result = _units(stream)
    return result


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _earlier(stream: cython.pointer[Stream], distance: uint64_t) -> cython.pointer[cython.const[Image]]:
    """The image so many before this one, or NULL."""
    stream.missing = stream.id - distance
    return find(stream.images, stream.missing)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _colours(stream: cython.pointer[Stream]) -> cython.int:
    """Colour tokens as long as neither end is near, so that wide loads and stores stay inside."""
    at: cython.pointer[cython.const[uint8_t]] = stream.at
    out: cython.pointer[uint8_t] = stream.out
    start: cython.pointer[uint8_t] = stream.start
    out_end: cython.pointer[uint8_t] = stream.out_end
    safe: cython.pointer[cython.const[uint8_t]] = stream.end - 128
    out_safe: cython.pointer[uint8_t] = out_end - 128
    token: cython.pointer[cython.const[uint8_t]]
    source: cython.pointer[cython.const[uint8_t]]
    other: cython.pointer[cython.const[Image]]
    control: uint64_t
    length: uint64_t
    offset: uint64_t
    image: uint64_t
    byte: uint64_t
    word: uint64_t
    room: uint64_t
    result: cython.int = DONE
    if stream.end - at < 128 or out_end - out < 128:
        return DONE
    while at < safe and out <= out_safe:
        token = at
        control = at[0]
        at += 1
        if control < 32:
            expand_bgr8(out, at)
            if control >= 8:
                expand_bgr8(out + 32, at + 24)
                if control >= 16:
                    expand_bgr8(out + 64, at + 48)
                    expand_bgr8(out + 96, at + 72)
            control += 1
            at += 3 * control
            out += 4 * control
            continue
        length = control >> 5
        word = load64(at)
        if length == 7:
            byte = word & 255
            at += 1
            length += byte
            while byte == 255 and at < safe + 112:
                byte = at[0]
                at += 1
                length += byte
            if byte == 255:
                at = token
                break
            word = load64(at)
        at += 2
        offset = (control & 15) | (word & 255) << 4
        byte = word >> 8 & 255
        source = out - 4 * offset - 4
        room = cython.cast(uint64_t, out_end - out) >> 2
        if control & 16 or byte:
            image = word >> 16 & ((cython.cast(uint64_t, 1) << (byte >> 6) * 8) - 1)
            at += byte >> 6
            if control & 16:
                offset += (byte & 31) << 12
                if byte & 32:
                    offset += cython.cast(uint64_t, at[0]) << 17
                    at += 1
                source = out - 4 * offset - 4
            else:
                image = image << 6 | byte & 63
            if image:
                other = _earlier(stream, image)
                if other == cython.NULL:
                    at, result = token, MISSING
                    break
                if offset + length > other.count:
                    at, result = token, OUTSIDE
                    break
                if length > room:
                    at, result = token, RUNS_OVER
                    break
                if other.count - offset < room:
                    room = other.count - offset
                _copy(out, other.units + 4 * offset, length, room)
                out += 4 * length
                continue
        if source < start:
            at, result = token, OUTSIDE
            break
        if offset >= 7 and length + 15 <= room:
            _copy(out, source, length, room)
        elif length > room:
            at, result = token, RUNS_OVER
            break
        elif offset >= 7:
            _copy(out, source, length, room)
        else:
            _repeat(out, offset + 1, length, room)
        out += 4 * length
        if HAS_MATCHES and out <= out_safe and out - start >= 128 and at < safe and at[0] >= 32:
            stream.at, stream.out = at, out
            _matches(stream)
            at, out = stream.at, stream.out
    stream.at = at
    stream.out = out
    return result


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _matches(stream: cython.pointer[Stream]) -> cython.void:
    """Matches of colours within the image, up to a token that is another, rare, wrong or near an end."""
    at: cython.pointer[cython.const[uint8_t]] = stream.at
    safe: cython.pointer[cython.const[uint8_t]] = stream.end - 8
    out: cython.pointer[uint8_t] = stream.out
    recent: Recent
    word: uint32_t
    control: uint32_t
    extended: uint32_t
    last: uint32_t
    length: uint64_t
    back: uint64_t
    recent_begin(cython.address(recent), out)
    while at < safe:
        word = load32(at)
        control = word & 255
        extended = control > 223
        length = (control >> 5) + (word >> 8 & 255 & -extended)
        word >>= 8 + 8 * extended
        last = word >> 8 & 255
        back = ((control & 15) | (word & 255) << 4 | last << 12) + 1
        # A control byte of literals gives 0, a length that goes on beyond its first byte the most.
        if length - 1 >= 6 + 255 or last > (control >> 4 & 1) * 31:
            break
        if 4 * back > cython.cast(uint64_t, out - stream.start):
            break
        if 4 * length + 64 > cython.cast(uint64_t, stream.out_end - out):
            break
        at += 3 + extended
        recent_match(cython.address(recent), out, back, length)
        out += 4 * length
    stream.at = at
    stream.out = out


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _copy(
    out: cython.pointer[uint8_t], source: cython.pointer[cython.const[uint8_t]], length: uint64_t, room: uint64_t
) -> cython.void:
    """Copy pixels from another image, or from 8 or more back. `room`: how many could be copied."""
    end: cython.pointer[uint8_t] = out + 4 * length
    if length + 15 <= room:
        copy32(out, source)
        copy32(out + 32, source + 32)
        while end - out > 64:
            out += 64
            source += 64
            copy32(out, source)
            copy32(out + 32, source + 32)
        return
    while end - out >= 32:
        copy32(out, source)
        out += 32
        source += 32
    while out < end:
        store32(out, load32(source))
        out += 4
        source += 4


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _repeat(out: cython.pointer[uint8_t], distance: uint64_t, length: uint64_t, room: uint64_t) -> cython.void:
    """Repeat the last `distance` pixels, less than 8. `room`: how many could be written."""
    source: cython.pointer[cython.const[uint8_t]] = out - 4 * distance
    pair: uint64_t
    if room < 8:
        while length:
            store32(out, load32(source))
            out += 4
            source += 4
            length -= 1
        return
    if distance == 1:
        pair = load32(source)
        pair |= pair << 32
        store64(out, pair)
        store64(out + 8, pair)
        store64(out + 16, pair)
        store64(out + 24, pair)
    else:
        store64(out, load64(source))
        store64(out + 8, load64(source + 8))
        store64(out + 16, load64(source + 16))
        store64(out + 24, load64(source + 24))
    if length > 8:
        # From here on a multiple of the distance back, of 8 pixels or more.
        distance = cython.cast(uint64_t, 0x0ECA8988) >> (4 * distance - 4) & 15
        _copy(out + 32, out + 32 - 4 * distance, length - 8, room - 8)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _units(stream: cython.pointer[Stream]) -> cython.int:
    """Tokens of any kind, up to the last unit."""
    at: cython.pointer[cython.const[uint8_t]] = stream.at
    out: cython.pointer[uint8_t] = stream.out
    end: cython.pointer[cython.const[uint8_t]] = stream.end
    source: cython.pointer[cython.const[uint8_t]]
    other: cython.pointer[cython.const[Image]]
    per_unit: uint64_t = stream.per_unit
    unit: uint64_t = 4 * per_unit
    unit_bytes: uint64_t = stream.literal
    alpha: cython.bint = stream.alpha
    bias: uint64_t = 3 - unit_bytes
    length: uint64_t
    offset: uint64_t
    image: uint64_t
    byte: uint64_t
    room: uint64_t
    extra: cython.int
    while out < stream.out_end:
        stream.at = at
        room = cython.cast(uint64_t, stream.out_end - out) // unit
        if at >= end:
            return ENDS_EARLY
        byte = at[0]
        at += 1
        if byte < 32:
            length = byte + 1
            if length > room:
                return RUNS_OVER
            if length * unit_bytes > cython.cast(uint64_t, end - at):
                return ENDS_EARLY
            while length:
                if alpha:
                    out[3] = at[0]
                elif unit_bytes == 3:
                    store32(out, at[0] | cython.cast(uint32_t, at[1]) << 8 | cython.cast(uint32_t, at[2]) << 16)
                elif unit_bytes == 2:
                    store32(out, _expanded(cython.cast(uint32_t, at[0]) << 8 | at[1]))
                else:
                    _look_up(out, stream.palette, at[0], per_unit)
                at += unit_bytes
                out += unit
                length -= 1
            continue
        length = byte >> 5
        offset = byte & 31
        if length == 7:
            byte = 255
            while byte == 255:
                if at >= end:
                    return ENDS_EARLY
                byte = at[0]
                at += 1
                length += byte
        length += bias
        if end - at < 2:
            return ENDS_EARLY
        byte = at[1]
        extra = byte >> 6
        if end - at < 2 + extra + (1 if offset & 16 and byte & 32 else 0):
            return ENDS_EARLY
        image = 0
        if extra > 0:
            image = at[2]
        if extra > 1:
            image |= cython.cast(uint64_t, at[3]) << 8
        if extra > 2:
            image |= cython.cast(uint64_t, at[4]) << 16
        if offset & 16:
            offset = (offset & 15) | cython.cast(uint64_t, at[0]) << 4 | (byte & 31) << 12
            if byte & 32:
                offset += cython.cast(uint64_t, at[2 + extra]) << 17
                at += 1
        else:
            offset |= cython.cast(uint64_t, at[0]) << 4
            image = image << 6 | byte & 63
        at += 2 + extra
        if length > room:
            return RUNS_OVER
        if image == 0:
            offset += 1
            if offset > cython.cast(uint64_t, out - stream.start) // unit:
                return OUTSIDE
            source = out - unit * offset
        else:
            other = _earlier(stream, image)
            if other == cython.NULL:
                return MISSING
            if (offset + length) * per_unit > other.count:
                return OUTSIDE
            source = other.units + unit * offset
            if other.count // per_unit - offset < room:
                room = other.count // per_unit - offset
        if alpha:
            while length:
                out[3] = source[3]
                out += 4
                source += 4
                length -= 1
            continue
        if image == 0 and offset * per_unit < 8:
            _repeat(out, offset * per_unit, length * per_unit, room * per_unit)
        else:
            _copy(out, source, length * per_unit, room * per_unit)
        out += unit * length
    stream.at = at
    stream.out = out
    return DONE


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _expanded(word: uint32_t) -> uint32_t:
    """x1r5g5b5 as b, g, r, 0: each component v is v << 3 | v >> 2."""
    spread: uint32_t = (word & 0x7C00) << 9 | (word & 0x3E0) << 6 | (word & 31) << 3
    return spread | spread >> 5 & 0x070707


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _look_up(
    out: cython.pointer[uint8_t], palette: cython.pointer[cython.const[uint8_t]], indices: uint32_t, count: uint64_t
) -> cython.void:
    """The pixels of a byte of indices: `palette` has, for each byte, the words of its pixels from left to right."""
    place: uint64_t
    for place in range(count):
        store32(out + 4 * place, load32(palette + 4 * (indices * count + place)))
