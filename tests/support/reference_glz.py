"""GLZ as it reads in the specification (spec/lz.md 3.3): one token at a time, one pixel at a time."""

import struct

HEADER = struct.Struct(">2IB3IQI")
PIXELS_OF_A_BYTE = {1: 8, 2: 8, 3: 2, 4: 2, 5: 1}
RGB16, RGBA = 6, 9


def decode(payload, images, palette=None):
    """Decode one payload and add its pixels, [b, g, r, x] each in coded order, to `images` under its id.

    images: id to pixels. A reference to an image that is not there is a KeyError with its id.
    Gives id, width, height, rows of pixels from the top.
    """
    _magic, _version, kind, width, height, stride, id, _head = HEADER.unpack_from(payload)
    kind, top_down = kind & 15, kind & 16
    per_unit = PIXELS_OF_A_BYTE.get(kind, 1)
    row = stride * per_unit if per_unit > 1 or kind == 5 else width
    pixels = []
    stream = iter(payload[HEADER.size :])

    def literal():
        if kind <= 5:
            pixels.extend([*palette[index].to_bytes(3, "little"), 0] for index in indices(next(stream), kind))
        elif kind == RGB16:
            word = next(stream) << 8 | next(stream)
            pixels.append([*(v << 3 | v >> 2 for v in (word & 31, word >> 5 & 31, word >> 10 & 31)), 0])
        else:
            pixels.append([next(stream), next(stream), next(stream), 0])

    def copy(source, at):
        for place in range(per_unit):
            pixels.append([*source[at * per_unit + place]])

    units = row // per_unit * height
    bias = 2 if kind <= 5 else 1 if kind == RGB16 else 0
    _tokens(stream, units, bias, literal, copy, lambda: len(pixels) // per_unit, id, images, pixels)
    if kind == RGBA:
        done = 0

        def alpha_literal():
            nonlocal done
            pixels[done][3] = next(stream)
            done += 1

        def alpha_copy(source, at):
            nonlocal done
            pixels[done][3] = source[at][3]
            done += 1

        _tokens(stream, units, 2, alpha_literal, alpha_copy, lambda: done, id, images, pixels)
    assert next(stream, None) is None, "bytes after the end"
    images[id] = pixels
    rows = [pixels[y * row : y * row + width] for y in range(height)]
    return id, width, height, rows if top_down else rows[::-1]


def indices(byte, kind):
    """Palette indices in a byte, left to right."""
    bits = {1: 1, 2: 1, 3: 4, 4: 4, 5: 8}[kind]
    found = [byte >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)]
    return found[::-1] if kind in (2, 4) else found


def _tokens(stream, units, bias, literal, copy, done, id, images, pixels):
    while done() < units:
        control = next(stream)
        if control < 32:
            for _ in range(control + 1):
                literal()
            continue
        length, long, offset = control >> 5, control >> 4 & 1, control & 15
        if length == 7:
            more = 255
            while more == 255:
                more = next(stream)
                length += more
        offset += next(stream) << 4
        byte = next(stream)
        extra = byte >> 6
        if long:
            offset += (byte & 31) << 12
            image = sum(next(stream) << 8 * i for i in range(extra))
            if byte & 32:
                offset += next(stream) << 17
        else:
            image = (byte & 63) + sum(next(stream) << 6 + 8 * i for i in range(extra))
        source, at = (images[id - image], offset) if image else (pixels, done() - offset - 1)
        for i in range(length + bias):
            copy(source, at + i)
    assert done() == units, "a token runs over the end"
