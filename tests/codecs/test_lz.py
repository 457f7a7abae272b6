"""The LZ codec."""

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.codecs import lz
from caraway.codecs.bitmap import Bitmap, PixelFormat, from_indices
from caraway.codecs.lz import LzType
from caraway.errors import CodecError
from support import reference_lz
from support.vectors import load, vectors

FORMATS = [format for format in PixelFormat if format is not PixelFormat.RGB565]


def low_15_bits(data):
    return bytes(byte & 127 if at % 2 else byte for at, byte in enumerate(data))


def black(width, height):
    return Bitmap(width, height, PixelFormat.BGRX32, width * 4, bytes(width * height * 4))


@pytest.mark.parametrize("vector", vectors("lz", "lz_plt"))
def test_vector(vector):
    payload, expected = load(vector)
    width, height = vector["width"], vector["height"]
    if vector["type"] == "xxxa":
        picture = lz.decode_alpha(payload, black(width, height))
        assert bytes(picture.data[3::4]) == expected
        return
    picture = lz.decode(payload, vector.get("palette"))
    assert (picture.width, picture.height) == (width, height)
    if vector["expected_format"].endswith("low15"):
        expected = low_15_bits(expected)
    assert bytes(picture.data) == expected


@pytest.mark.parametrize("top_down", [True, False])
def test_decoding_into_memory(top_down):
    pixels = bytes(range(256)) * 6
    pixels = bytes(0 if at % 4 == 3 else byte for at, byte in enumerate(pixels * 8))
    payload = lz.encode(Bitmap(48, 64, PixelFormat.BGRX32, 192, pixels), top_down=top_down)
    rows = bytearray(b"\7" * (len(pixels) + 4))
    assert lz.decode_into(payload, memoryview(rows)[:-4], 48, 64)
    assert rows == pixels + b"\7" * 4
    with pytest.raises(CodecError, match="needs 12288 bytes, got 12284"):
        lz.decode_into(payload, memoryview(rows)[:-8], 48, 64)
    with pytest.raises(CodecError, match=r"ends at byte|runs over"):
        lz.decode_into(payload[:-9], memoryview(rows), 48, 64)


def test_what_is_not_decoded_into_memory():
    rows = bytearray(64)
    for format in (PixelFormat.BGRA32, PixelFormat.RGB555, PixelFormat.A8):
        payload = lz.encode(Bitmap(4, 4, format, format.row_bytes(4), bytes(64)))
        assert not lz.decode_into(payload, memoryview(rows), 4, 4)
    assert not lz.decode_into(lz.encode(black(4, 4)), memoryview(rows), 2, 8)


# As a decoder with wide copies may see them: runs, near and far matches of all lengths, few literals.
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 300)), min_size=8, max_size=40), st.randoms())
@settings(max_examples=200)
def test_short_matches(steps, random):
    pixels = [random.getrandbits(24) for _ in range(40)]
    tokens = bytearray()
    for at in range(0, 40, 20):
        tokens += bytes([19]) + b"".join(pixel.to_bytes(3, "little") for pixel in pixels[at : at + 20])
    for back, length in steps * 4:
        for _ in range(length):
            pixels.append(pixels[-back])
        code, low = min(length, 7) << 5, bytes([back - 1])
        rest = length - 7
        more = b"" if rest < 0 else b"\xff" * (rest // 255) + bytes([rest % 255])
        tokens += bytes([code]) + more + low
    payload = struct.pack(">7I", lz.MAGIC, lz.VERSION, LzType.RGB32, len(pixels), 1, 4 * len(pixels), 1) + tokens
    expected = b"".join(pixel.to_bytes(4, "little") for pixel in pixels)
    assert lz.decode(payload).data == expected


@pytest.mark.parametrize("vector", vectors("lz", "lz_plt"))
def test_output_is_no_larger_than_the_reference_encoders(vector):
    payload, expected = load(vector)
    *_, number, width, height, stride, top_down = struct.unpack_from(">7I", payload)
    type = LzType(number)
    format = lz.LAYOUT[type]
    if stride != format.row_bytes(width):
        pytest.skip("the rows of the encoder's input were cut short")
    if type <= LzType.PLT8:
        units, _ = reference_lz.read_units(payload, 28, 1, stride * height)
        rows = [b"".join(units[at : at + stride]) for at in range(0, stride * height, stride)]
        expected = b"".join(rows if top_down else rows[::-1])
    elif type is LzType.RGB24:
        expected = b"".join(expected[at : at + 3] for at in range(0, len(expected), 4))
    elif type is LzType.XXXA:
        expected = b"".join(bytes([17, at % 251, 19, alpha]) for at, alpha in enumerate(expected))
    picture = Bitmap(width, height, format, stride, expected, vector.get("palette"))
    encode = lz.encode_alpha if type is LzType.XXXA else lz.encode
    assert len(encode(picture, top_down=bool(top_down))) <= len(payload)


@st.composite
def pictures(draw, formats=FORMATS):
    """Pictures whose rows repeat, so that there are matches near and far, long and short."""
    format = draw(st.sampled_from(formats))
    width, height = draw(st.integers(1, 80)), draw(st.integers(1, 12))
    row_bytes = format.row_bytes(width)
    stride = row_bytes + draw(st.sampled_from([0, 0, 3]))
    random = draw(st.randoms(use_true_random=False))
    parts = [random.randbytes(draw(st.integers(1, 9))) for _ in range(draw(st.integers(1, 6)))]
    data = bytearray()
    while len(data) < stride * height:
        data += random.choice(parts) * random.choice([1, 1, 2, 40])
    palette = [random.getrandbits(24) for _ in range(1 << format.bits)] if format.bits <= 8 else None
    return Bitmap(width, height, format, stride, bytes(data[: stride * height]), palette)


def packed(picture):
    """What a decoder should make of it."""
    row_bytes = picture.format.row_bytes(picture.width)
    starts = range(0, picture.stride * picture.height, picture.stride)
    data = b"".join(picture.data[at : at + row_bytes] for at in starts)
    if picture.format is PixelFormat.BGR24:
        return b"".join(data[at : at + 3] + b"\0" for at in range(0, len(data), 3))
    if picture.format is PixelFormat.BGRX32:
        return b"".join(data[at : at + 3] + b"\0" for at in range(0, len(data), 4))
    if picture.format.bits == 16:
        return low_15_bits(data)
    if picture.format in (PixelFormat.BGRA32, PixelFormat.A8):
        return data
    indexed = Bitmap(picture.width, picture.height, picture.format, row_bytes, data, picture.palette)
    return bytes(from_indices(indexed).data)


@settings(deadline=None)
@given(pictures(), st.booleans())
def test_encoded_pictures_suit_the_plain_decoder(picture, top_down):
    assert reference_lz.decode(lz.encode(picture, top_down=top_down), picture.palette or ()) == packed(picture)


@settings(deadline=None)
@given(pictures(), st.booleans())
def test_round_trip(picture, top_down):
    decoded = lz.decode(lz.encode(picture, top_down=top_down), picture.palette)
    assert (decoded.width, decoded.height) == (picture.width, picture.height)
    assert bytes(decoded.data) == packed(picture)


@settings(deadline=None)
@given(pictures([PixelFormat.BGRA32]), st.booleans())
def test_alpha_round_trip(picture, top_down):
    payload = lz.encode_alpha(picture, top_down=top_down)
    decoded = lz.decode_alpha(payload, black(picture.width, picture.height))
    assert decoded.format is PixelFormat.BGRA32
    assert decoded.data[3::4] == packed(picture)[3::4]
    assert not any(any(decoded.data[component::4]) for component in range(3)), "colours stay"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 7), (31, 1), (33, 1), (1000, 90)])
def test_round_trip_of_sizes(format, width, height):
    row_bytes = format.row_bytes(width)
    row = bytes(13 * at % 251 for at in range(row_bytes))
    data = b"".join(row[y % row_bytes :] + row[: y % row_bytes] for y in range(height))
    palette = list(range(1 << format.bits)) if format.bits <= 8 else None
    picture = Bitmap(width, height, format, row_bytes, data, palette)
    assert bytes(lz.decode(lz.encode(picture), palette).data) == packed(picture)


@st.composite
def token_streams(draw, unit_bytes, units):
    """Valid tokens, without the limits that an encoder has."""
    random = draw(st.randoms(use_true_random=False))
    shortest = {1: 3, 2: 2, 3: 1}[unit_bytes]
    out, filled = bytearray(), 0
    while filled < units:
        room = units - filled
        if filled == 0 or room < shortest or random.random() < 0.4:
            count = random.randint(1, min(32, room))
            out.append(count - 1)
            out += random.randbytes(count * unit_bytes)
        else:
            count = random.randint(shortest, min(room, random.choice([shortest, shortest + 9, 50, 700])) | shortest)
            count = min(count, room)
            distance = random.randint(1, min(filled, random.choice([2, 5, 9, 40, filled])))
            lz_match(out, count - shortest + 1, distance - 1)
        filled += count
    return bytes(out)


def lz_match(out, length, distance):
    """A match as coded: `length` without the bias, `distance` less one."""
    far = distance >= 8191
    out.append(min(length, 7) << 5 | (31 if far else distance >> 8))
    if length >= 7:
        out += b"\xff" * ((length - 7) // 255) + bytes([(length - 7) % 255])
    out += b"\xff" + struct.pack(">H", distance - 8191) if far else bytes([distance & 255])


@st.composite
def payloads(draw):
    """Valid payloads of any type and what belongs to them: data, palette, whether its words have 16 bits."""
    type = draw(st.sampled_from(LzType))
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 40))
    bits = lz.LAYOUT[type].bits
    stride = draw(st.sampled_from([width * bits // 8, (width * bits + 7) // 8]))
    units = stride * height if type <= LzType.PLT8 else width * height
    tokens = draw(token_streams(reference_lz.UNIT_BYTES.get(type, 1), units))
    if type is LzType.RGBA:
        tokens += draw(token_streams(1, units))
    palette = draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=300))
    words = draw(st.sampled_from([PixelFormat.BGRX32, PixelFormat.RGB555, PixelFormat.RGB565]))
    return payload(type, width, height, stride, tokens, top_down=draw(st.integers(0, 1))), palette, words


def both(data, palette, words):
    """The kernel's pixels and the plain decoder's, None for a refusal."""
    results = []
    number, width, height = struct.unpack_from(">8x3I", data)

    def kernel():
        if number == LzType.XXXA:
            return bytes(lz.decode_alpha(data, black(width, height)).data[3::4])
        return bytes(lz.decode(data, palette, palette_format=words).data)

    def plain():
        return reference_lz.decode(data, palette, 4 if words is PixelFormat.BGRX32 else 2)

    for decode in (kernel, plain):
        try:
            results.append(decode())
        except CodecError:
            results.append(None)
    return results


@settings(deadline=None)
@given(payloads())
def test_equals_the_plain_decoder(drawn):
    ours, plain = both(*drawn)
    assert ours is not None
    assert ours == plain


@settings(deadline=None)
@given(payloads(), st.data())
def test_damaged_tokens_give_what_the_plain_decoder_gives(drawn, data):
    damaged, palette, words = drawn
    damaged = bytearray(damaged)
    for _ in range(data.draw(st.integers(0, 3))):
        if len(damaged) > 28:
            damaged[data.draw(st.integers(28, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(28, len(damaged))) :]
    ours, plain = both(bytes(damaged), palette, words)
    assert ours == plain


def payload(type, width, height, stride, tokens, *, magic=lz.MAGIC, version=lz.VERSION, top_down=1):
    return struct.pack(">7I", magic, version, type, width, height, stride, top_down) + tokens


def a8(units, tokens):
    return bytes(lz.decode(payload(LzType.A8, units, 1, units, tokens)).data)


def test_tokens():
    assert a8(3, b"\x02abc") == b"abc"
    assert a8(6, b"\x02abc\x20\x02") == b"abcabc"
    assert a8(4, b"\x00a\x20\x00") == b"aaaa", "source and target overlap"
    assert a8(301, b"\x00a\xe0\xff\x24\x00") == b"a" * 301, "length 7 + 255 + 36, and the bias of 2"


def test_long_distance():
    far = b"x" + b"".join(b"\xe0\xff\xff\xff\xff\xff\x00\x00" for _ in range(7))
    one = 7 + 5 * 255 + 2
    units = 1 + 7 * one
    data = b"\x00" + far + b"\x00y" + b"\x3f\xff" + struct.pack(">H", units - 8191 + 1 - 1) + b"\x00z"
    # The match goes back to unit 0: distance is units + 1, coded as distance - 1 - 8191.
    assert a8(units + 1 + 3 + 1, data) == b"x" * units + b"y" + b"xxx" + b"z"


def test_stride_without_the_last_partial_byte():
    picture = lz.decode(payload(LzType.PLT1_BE, 9, 2, 1, b"\x01\x80\x01"), [1, 2])
    assert [*picture.data[0::4]] == [2, 1, 1, 1, 1, 1, 1, 1, 1] + [1] * 7 + [2, 1]


def test_palette_words_of_16_bits():
    picture = lz.decode(payload(LzType.PLT8, 2, 1, 2, b"\x01\1\0"), [0x1234, 0x7FFF], palette_format=PixelFormat.RGB555)
    assert (picture.format, bytes(picture.data)) == (PixelFormat.RGB555, b"\xff\x7f\x34\x12")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "header"),
        (payload(LzType.A8, 1, 1, 1, b"\0a", magic=1), "magic"),
        (payload(LzType.A8, 1, 1, 1, b"\0a", version=1), "version"),
        (payload(LzType.A8, 1, 1, 1, b"\0a", top_down=2), "top_down"),
        (payload(0, 1, 1, 1, b"\0a"), "unknown type 0"),
        (payload(12, 1, 1, 1, b"\0a"), "unknown type 12"),
        (payload(LzType.A8, 0, 1, 0, b""), "empty"),
        (payload(LzType.A8, 1 << 31, 1 << 31, 1 << 31, b""), "limit"),
        (payload(LzType.A8, 1, 1, 1 << 30, b""), "limit"),
        (payload(LzType.A8, 2, 1, 1, b"\0a"), "row of 2 pixels in 1"),
        (payload(LzType.RGB32, 2, 1, 9, b"\0abc"), "row of 2 pixels in 9"),
        (payload(LzType.PLT1_LE, 8, 1, 2, b"\0a"), "row of 8 pixels in 2"),
        (payload(LzType.XXXA, 1, 1, 4, b"\0a"), "without its picture"),
        (payload(LzType.A8, 1, 1, 1, b"\0ab"), "1 bytes after the end"),
        (payload(LzType.A8, 1, 1, 1, b"\1ab"), "literal"),
        (payload(LzType.A8, 2, 1, 2, b"\1a"), "literal"),
        (payload(LzType.A8, 2, 1, 2, b"\0a"), "payload ends"),
        (payload(LzType.A8, 4, 1, 4, b"\x20\x00"), "outside"),
        (payload(LzType.A8, 4, 1, 4, b"\0a\x20\x01"), "outside"),
        (payload(LzType.A8, 3, 1, 3, b"\0a\x20\x00"), "outside"),
        (payload(LzType.A8, 4, 1, 4, b"\0a\xe0\xff"), "payload ends"),
        (payload(LzType.A8, 4, 1, 4, b"\0a\x3f\xff\0"), "payload ends"),
        (payload(LzType.RGBA, 1, 1, 4, b"\0abc"), "payload ends"),
        (payload(LzType.PLT8, 1, 1, 1, b"\0a"), "palette"),
    ],
)
def test_refused(data, text):
    with pytest.raises(CodecError, match=text):
        lz.decode(data)


def test_alpha_refused():
    alpha = payload(LzType.XXXA, 2, 1, 8, b"\1ab")
    assert bytes(lz.decode_alpha(alpha, black(2, 1)).data) == b"\0\0\0a\0\0\0b"
    with pytest.raises(CodecError, match="picture of 1x2"):
        lz.decode_alpha(alpha, black(1, 2))
    with pytest.raises(CodecError, match="RGB555"):
        lz.decode_alpha(alpha, Bitmap(2, 1, PixelFormat.RGB555, 4, bytes(4)))
    with pytest.raises(CodecError, match="A8 where an alpha plane belongs"):
        lz.decode_alpha(payload(LzType.A8, 2, 1, 2, b"\1ab"), black(2, 1))
    with pytest.raises(CodecError, match="no alpha"):
        lz.encode_alpha(black(1, 1))
    with pytest.raises(CodecError, match="RGB565"):
        lz.encode(Bitmap(1, 1, PixelFormat.RGB565, 2, b"12"))


@settings(deadline=None)
@given(pictures(), st.data())
def test_damaged_payloads_are_decoded_or_refused(picture, data):
    damaged = bytearray(lz.encode(picture))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    try:
        decoded = lz.decode(bytes(damaged), picture.palette, max_pixels=1 << 16)
    except CodecError:
        return
    assert len(decoded.data) == decoded.stride * decoded.height
    assert decoded.width * decoded.height <= 1 << 16


@settings(deadline=None)
@given(pictures())
def test_truncated_payloads_are_refused(picture):
    whole = lz.encode(picture)
    for size in {0, 1, 27, 28, 29, len(whole) // 2, len(whole) - 1}:
        if size < len(whole):
            with pytest.raises(CodecError):
                lz.decode(whole[:size], picture.palette)


@pytest.mark.parametrize("type", [LzType.RGBA, LzType.RGB32, LzType.RGB16, LzType.A8])
def test_header_alone_takes_no_memory(type):
    stride = {LzType.RGB16: 2, LzType.A8: 1}.get(type, 4) << 13
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            lz.decode(payload(type, 1 << 13, 1 << 13, stride, b"\0abc\xe0\xff"))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_size_is_bounded_by_the_caller():
    flat = lz.encode(black(100, 100))
    assert lz.decode(flat, max_pixels=10000).width == 100
    with pytest.raises(CodecError, match="limit 9999 pixels"):
        lz.decode(flat, max_pixels=9999)


def test_pictures_without_all_their_pixels_are_refused():
    black4 = Bitmap(2, 2, PixelFormat.BGRA32, 8, bytes(16))
    short = Bitmap(2, 2, PixelFormat.BGRA32, 8, bytes(15))
    for work in (lz.encode, lz.encode_alpha, lambda picture: lz.decode_alpha(lz.encode_alpha(black4), picture)):
        with pytest.raises(CodecError, match="needs 16 bytes, got 15"):
            work(short)
