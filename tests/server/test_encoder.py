import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.codecs.glz import Dictionary
from caraway.server.encoder import Codec, Settings, choose, encode, is_gradual, solid_color
from caraway.wire.messages.display import ImageCompression
from caraway.wire.messages.images import (
    BitmapImage,
    GlzImage,
    Image,
    ImageFlags,
    JpegImage,
    Lz4Image,
    LzImage,
    QuicImage,
    ZlibGlzImage,
)
from support.drawings import Drawings, done

C = ImageCompression


def picture(words: np.ndarray) -> Bitmap:
    return Bitmap(words.shape[1], words.shape[0], PixelFormat.BGRX32, words.strides[0], bytes(words.tobytes()))


def noise(width: int = 64, height: int = 48) -> Bitmap:
    return picture(np.random.default_rng(1).integers(0, 1 << 24, (height, width), "<u4"))


def photo(width: int = 64, height: int = 48) -> Bitmap:
    y, x = np.mgrid[0:height, 0:width]
    return picture((x << 16 | y << 8 | x + y).astype("<u4"))


def flat(width: int = 64, height: int = 48) -> Bitmap:
    return picture(np.full((height, width), 0x336699, "<u4"))


def test_photos_are_gradual_and_text_is_not() -> None:
    assert is_gradual(photo())
    assert is_gradual(noise())
    assert not is_gradual(flat())


def test_a_picture_of_one_colour() -> None:
    assert solid_color(flat()) == 0x336699
    assert solid_color(photo()) is None
    for at in (0, 63, 64 * 20, 64 * 48 - 1):
        words = np.full(64 * 48, 0xFF336699, "<u4")
        assert solid_color(picture(words.reshape(48, 64))) == 0x336699
        words[at] ^= 1
        assert solid_color(picture(words.reshape(48, 64))) is None


@pytest.mark.parametrize(
    ("image", "settings", "codec"),
    [
        (photo(), Settings(C.OFF), Codec.RAW),
        (photo(), Settings(C.AUTO_GLZ), Codec.QUIC),
        (photo(), Settings(C.AUTO_LZ), Codec.QUIC),
        (photo(), Settings(C.QUIC), Codec.QUIC),
        (photo(), Settings(C.GLZ), Codec.GLZ),
        (photo(), Settings(C.LZ), Codec.LZ),
        (photo(), Settings(C.LZ4, lz4=True), Codec.LZ4),
        (photo(), Settings(C.LZ4), Codec.LZ),
        (flat(), Settings(C.AUTO_GLZ), Codec.GLZ),
        (flat(), Settings(C.AUTO_LZ), Codec.LZ),
        (flat(), Settings(C.QUIC), Codec.QUIC),
        (flat(2, 100), Settings(C.QUIC), Codec.RAW),
        (photo(2, 100), Settings(C.AUTO_LZ), Codec.LZ),
        (photo(3, 4), Settings(C.LZ), Codec.RAW),
        (photo(), Settings(C.AUTO_LZ, lossy=True), Codec.JPEG),
        (flat(), Settings(C.AUTO_LZ, lossy=True), Codec.LZ),
        (photo(20, 20), Settings(C.AUTO_LZ, lossy=True), Codec.QUIC),
        (photo(), Settings(C.LZ, lossy=True), Codec.LZ),
    ],
)
def test_the_codec_of_a_picture(image: Bitmap, settings: Settings, codec: Codec) -> None:
    assert choose(image, settings) is codec


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        (Codec.RAW, BitmapImage),
        (Codec.QUIC, QuicImage),
        (Codec.LZ, LzImage),
        (Codec.GLZ, GlzImage),
        (Codec.LZ4, Lz4Image),
        (Codec.JPEG, JpegImage),
    ],
)
def test_the_payload_of_a_codec(codec: Codec, payload: type) -> None:
    assert type(encode(flat(), codec, Settings(C.GLZ), Dictionary(1 << 16))) is payload


def test_nothing_is_larger_than_raw() -> None:
    for codec in (Codec.QUIC, Codec.LZ4):
        assert isinstance(encode(noise(5, 5), codec, Settings(C.LZ)), BitmapImage)


def test_without_a_dictionary_or_room_in_it_glz_is_lz() -> None:
    assert isinstance(encode(flat(), Codec.GLZ, Settings(C.GLZ)), LzImage)
    small = Dictionary(64 * 48)
    assert isinstance(encode(flat(), Codec.GLZ, Settings(C.GLZ), small), LzImage)
    assert small.next_id == 0


def test_glz_is_deflated_where_that_is_smaller() -> None:
    words = np.random.default_rng(1).integers(0, 2, (48, 64), "<u4") * 0xFFFFFF
    payload = encode(picture(words), Codec.GLZ, Settings(C.GLZ, zlib=True), Dictionary(1 << 16))
    assert isinstance(payload, ZlibGlzImage)
    assert len(payload.data) < payload.glz_size


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 9),
    st.sampled_from([Codec.RAW, Codec.QUIC, Codec.LZ, Codec.GLZ, Codec.LZ4]),
    st.booleans(),
)
def test_any_piece_of_a_picture_comes_out_as_it_went_in(
    width: int, height: int, left: int, codec: Codec, zlib: bool
) -> None:
    words = np.random.default_rng(width * height).integers(0, 4, (60, 60), "<u4") * 0x123456
    data = memoryview(words.tobytes())[240 * left + 4 * left :]
    piece = Bitmap(width, height, PixelFormat.BGRX32, 240, data)
    if codec is Codec.QUIC and min(width, height) < 3:
        codec = Codec.LZ
    payload = encode(piece, codec, Settings(C.GLZ, lz4=True, zlib=zlib), Dictionary(1 << 16))
    drawings = Drawings()
    surface = drawings.surfaces.create(0, width, height, 32)
    image = Image(1, ImageFlags(0), width, height, payload)
    decoded = done(drawings._painter._images.decode(image, drawings.surfaces.get(0) or surface))
    rows = np.frombuffer(bytes(decoded.data), "<u4").reshape(height, -1)[:, :width] & 0xFFFFFF
    assert np.array_equal(rows, words[left : left + height, left : left + width] & 0xFFFFFF)
