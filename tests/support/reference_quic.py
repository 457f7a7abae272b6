"""QUIC, slow and obvious (spec/quic.md, whose names it uses): the compiled kernels are held against it.

Coding and decoding are one walk over the pixels; only `Reader` and `Writer` know the direction. Pixels are rows of
tuples of components, in the order in which they are coded.
"""

import math
import struct

MAGIC = 0x43495551
TYPES = {"gray": 1, "rgb16": 2, "rgb24": 3, "rgb32": 4, "rgba": 5}
TRIGGER = (110, 550, 900, 800, 550, 400, 350)
J = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15)
CHAOS = bytes.fromhex(
    "021713150712280e0c202f2c2406120b04132a1d103f39331003050e0f1e1409242d03393d000805290e2b1b2b3b1f23"
    "273c2a260d363e011a030b3d34220730043b160c160832040a062c080b2e1f333511012b2e3c24360a1b272c16291702"
    "2c0028352830102b201c210c1402383e373a12140d37261d391331212f3f3b00233d13192e263c0423011a281c0a050e"
    "19123031143b3e222e072134223a091d08373e3c2524253206030a1c30181a3d391e0b360206322f07112335200c1711"
    "05153137332d341b2719273f16182a343826292938200d181a331b383a25182a0f1c111e1f0f101719362122011d1f32"
    "3515310f2f09003a252d1e0d092d3f15"
)

Pixel = tuple[int, ...]
Rows = list[list[Pixel]]


class Family:
    """The Golomb-Rice codes for `bpc` bits per channel."""

    def __init__(self, bpc: int):
        self.bpc = bpc
        self.mask = (1 << bpc) - 1
        self.prefix = [min(26 - bpc, (1 << (bpc - code)) - 1) for code in range(bpc)]
        self.ngr = [self.prefix[code] << code for code in range(bpc)]
        self.suffix = [math.ceil(math.log2((1 << bpc) - self.ngr[code])) for code in range(bpc)]

    def length(self, symbol: int, code: int) -> int:
        if symbol < self.ngr[code]:
            return (symbol >> code) + 1 + code
        return self.prefix[code] + self.suffix[code]

    def fold(self, residual: int) -> int:
        residual &= self.mask
        return 2 * residual if residual <= self.mask >> 1 else 2 * (self.mask - residual) + 1

    def unfold(self, symbol: int) -> int:
        return self.mask - (symbol >> 1) if symbol & 1 else symbol >> 1


FAMILIES = {8: Family(8), 5: Family(5)}


class Reader:
    """Takes words apart; what it is told to write it ignores."""

    def __init__(self, words: tuple[int, ...]):
        self.bits = "".join(f"{word:032b}" for word in words)
        self.at = 0

    def number(self, bits: int) -> int:
        self.at += bits
        if self.at > len(self.bits) - 32:
            raise EOFError("the payload ends before the image")
        return int("0" + self.bits[self.at - bits : self.at], 2)

    def symbol(self, family: Family, code: int, _symbol: int) -> int:
        zeros = 0
        while zeros < family.prefix[code] and self.number(1) == 0:
            zeros += 1
        if zeros == family.prefix[code]:
            return (family.ngr[code] + self.number(family.suffix[code])) & family.mask
        return (zeros << code) + self.number(code)

    def run(self, state: "State", _length: int) -> int:
        length = 0
        while self.number(1):
            length += 1 << J[state.mel]
            state.mel = min(31, state.mel + 1)
        length += self.number(J[state.mel])
        state.mel = max(0, state.mel - 1)
        return length


class Writer:
    """Joins what it is told."""

    def __init__(self) -> None:
        self.bits: list[str] = []

    def number(self, value: int, bits: int) -> None:
        if bits:
            self.bits.append(f"{value:0{bits}b}")

    def symbol(self, family: Family, code: int, symbol: int) -> int:
        if symbol < family.ngr[code]:
            self.number(1, (symbol >> code) + 1)
            self.number(symbol & ((1 << code) - 1), code)
        else:
            self.number(0, family.prefix[code])
            self.number(symbol - family.ngr[code], family.suffix[code])
        return symbol

    def run(self, state: "State", length: int) -> int:
        left = length
        while left >= 1 << J[state.mel]:
            self.number(1, 1)
            left -= 1 << J[state.mel]
            state.mel = min(31, state.mel + 1)
        self.number(0, 1)
        self.number(left, J[state.mel])
        state.mel = max(0, state.mel - 1)
        return length

    def payload(self) -> bytes:
        bits = "".join(self.bits)
        bits += "0" * (-len(bits) % 32 + 32)
        words = [int(bits[at : at + 32], 2) for at in range(0, len(bits), 32)]
        return struct.pack(f"<{len(words)}I", *words)


class State:
    """What the channels of a plane share."""

    def __init__(self) -> None:
        self.wait = 0
        self.seed = 255
        self.wm = 0
        self.wmleft = 2048
        self.mel = 0

    def rnd(self) -> int:
        self.seed += 1
        return CHAOS[self.seed & 255] & ((1 << self.wm) - 1)


class Channel:
    """Model of a component; `res[x + 1]` is the folded residual of column x."""

    def __init__(self, family: Family, width: int):
        self.buckets = family.bpc
        self.counter = [[0] * family.bpc for _ in range(self.buckets)]
        self.best = [family.bpc - 1] * self.buckets
        self.res = [0] * (width + 1)
        self.family = family

    def bucket(self, x: int) -> int:
        return min(self.buckets - 1, (self.res[x] + 1).bit_length() - 1)

    def update(self, x: int, trigger: int) -> None:
        bucket, symbol = self.bucket(x), self.res[x + 1]
        counter = self.counter[bucket]
        for code in range(self.family.bpc):
            counter[code] += self.family.length(symbol, code)
        least = min(counter)
        self.best[bucket] = max(code for code in range(self.family.bpc) if counter[code] == least)
        if least > trigger:
            counter[:] = [count >> 1 for count in counter]


class Plane:
    """The components that share one state: r, g and b; or alpha, or gray."""

    def __init__(self, coder: Reader | Writer, width: int, height: int, bpc: int, channels: int):
        self.coder = coder
        self.family = FAMILIES[bpc]
        self.width = width
        self.rows: Rows = [[(0,) * channels] * width for _ in range(height)]
        self.state = State()
        self.channels = [Channel(self.family, width) for _ in range(channels)]

    def row(self, y: int, wanted: list[Pixel] | None) -> None:
        """Code row y: `wanted`, or what the reader says."""
        for channel in self.channels:
            channel.res[0] = channel.res[1] if y else 0
        state, position = self.state, 0
        while state.wm < 6 and state.wmleft <= self.width - position:
            if state.wmleft > 0:
                self.segment(y, position, position + state.wmleft, wanted)
                position += state.wmleft
            state.wm += 1
            state.wmleft = 2048
        if position < self.width:
            self.segment(y, position, self.width, wanted)
            if state.wm < 6:
                state.wmleft -= self.width - position

    def segment(self, y: int, i: int, end: int, wanted: list[Pixel] | None) -> None:
        state = self.state
        run_start = 0
        if i == 0:
            self.literal(y, 0, wanted)
            if state.wait > 0:
                state.wait -= 1
            else:
                state.wait = state.rnd()
                self.update(0)
            i = 1
        stop = i + state.wait
        while i < end:
            if run_start != i and self.run_may_start(y, i):
                state.wait = stop - i
                run_start = i
                i += self.run(y, i, end, wanted)
                if i == end:
                    return
                stop = i + state.wait
            else:
                self.literal(y, i, wanted)
                i += 1
                if i == stop + 1:
                    self.update(stop)
                    stop = i + state.rnd()
        state.wait = stop - end

    def run_may_start(self, y: int, i: int) -> bool:
        above, here = self.rows[y - 1], self.rows[y]
        return y > 0 and i > 2 and above[i - 1] == above[i] and here[i - 1] == here[i - 2]

    def run(self, y: int, i: int, end: int, wanted: list[Pixel] | None) -> int:
        here, length = self.rows[y], 0
        while wanted and i + length < end and wanted[i + length] == here[i - 1]:
            length += 1
        length = self.coder.run(self.state, length)
        if length > end - i:
            raise ValueError(f"a run of {length} pixels at {i}, of {end}")
        here[i : i + length] = [here[i - 1]] * length
        return length

    def literal(self, y: int, x: int, wanted: list[Pixel] | None) -> None:
        pixel = []
        for c, channel in enumerate(self.channels):
            left = self.rows[y][x - 1][c] if x else None
            above = self.rows[y - 1][x][c] if y else None
            known = [value for value in (left, above) if value is not None]
            prediction = sum(known) // max(1, len(known))
            symbol = self.family.fold(wanted[x][c] - prediction) if wanted else 0
            symbol = self.coder.symbol(self.family, channel.best[channel.bucket(x)], symbol)
            channel.res[x + 1] = symbol
            pixel.append((prediction + self.family.unfold(symbol)) & self.family.mask)
        self.rows[y][x] = tuple(pixel)

    def update(self, x: int) -> None:
        for channel in self.channels:
            channel.update(x, TRIGGER[self.state.wm])


def planes(coder: Reader | Writer, kind: str, width: int, height: int) -> list[Plane]:
    if kind == "gray":
        return [Plane(coder, width, height, 8, 1)]
    colour = Plane(coder, width, height, 5 if kind == "rgb16" else 8, 3)
    return [colour, Plane(coder, width, height, 8, 1)] if kind == "rgba" else [colour]


def decode(data: bytes) -> tuple[str, int, int, bytes]:
    """Type, width, height and pixels: bytes (gray), u16 (rgb16), b g r 0 (rgb24, rgb32) or b g r a."""
    magic, version, number, width, height = struct.unpack_from("<5I", data)
    assert (magic, version) == (MAGIC, 0)
    kind = {number: kind for kind, number in TYPES.items()}[number]
    reader = Reader(struct.unpack(f"<{len(data) // 4 - 5}I", data[20 : len(data) & ~3]))
    parts = planes(reader, kind, width, height)
    for y in range(height):
        for plane in parts:
            plane.row(y, None)
    return kind, width, height, join(kind, [[pixel for row in plane.rows for pixel in row] for plane in parts])


def encode(kind: str, width: int, height: int, pixels: bytes, writer: Writer | None = None) -> bytes:
    """The payload of such pixels."""
    writer = writer or Writer()
    parts = planes(writer, kind, width, height)
    wanted = split(kind, pixels)
    for y in range(height):
        for plane, values in zip(parts, wanted, strict=True):
            plane.row(y, values[y * width : (y + 1) * width])
    return struct.pack("<5I", MAGIC, 0, TYPES[kind], width, height) + writer.payload()


def join(kind: str, parts: list[list[Pixel]]) -> bytes:
    if kind == "gray":
        return bytes(value for (value,) in parts[0])
    if kind == "rgb16":
        return b"".join((r << 10 | g << 5 | b).to_bytes(2, "little") for r, g, b in parts[0])
    alpha = parts[1] if kind == "rgba" else [(0,)] * len(parts[0])
    return b"".join(bytes((b, g, r, a)) for (r, g, b), (a,) in zip(parts[0], alpha, strict=True))


def split(kind: str, pixels: bytes) -> list[list[Pixel]]:
    if kind == "gray":
        return [[(value,) for value in pixels]]
    if kind == "rgb16":
        words = struct.unpack(f"<{len(pixels) // 2}H", pixels)
        return [[(word >> 10 & 31, word >> 5 & 31, word & 31) for word in words]]
    colour: list[Pixel] = list(zip(pixels[2::4], pixels[1::4], pixels[0::4], strict=True))
    return [colour, [(value,) for value in pixels[3::4]]] if kind == "rgba" else [colour]
