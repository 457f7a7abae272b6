"""The display channel, given messages by a server that does as the test says."""

import asyncio
import contextlib
import itertools
import random
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import caraway
from caraway.canvas import raster
from caraway.client import Screenshot, Session
from caraway.client.display import DisplayChannel
from caraway.client.images import MAX_PALETTES
from caraway.client.player import Player
from caraway.client.shared_images import PixmapCache, SharedImages, window_pixels
from caraway.client.streams import Frame, Stream
from caraway.codecs import glz, jpeg, lz, quic
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import CodecError, DeadlineError, LinkError, ProtocolError
from caraway.wire.capabilities import Capabilities
from caraway.wire.capture import load
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import ChannelSerial, ClientMigrateData, Ping, Pong
from caraway.wire.messages.display import (
    DisplayCapability,
    Head,
    ImageCompression,
    Init,
    InvalAllPalettes,
    InvalAllPixmaps,
    InvalList,
    InvalPalette,
    Mark,
    MonitorsConfig,
    PreferredCompression,
    ResourceId,
    StreamActivateReport,
    StreamClip,
    StreamCreate,
    StreamData,
    StreamDestroy,
    StreamDestroyAll,
    StreamFlags,
    StreamReport,
    SurfaceCreate,
    SurfaceDestroy,
    SurfaceFlags,
    SurfaceFormat,
    VideoCodec,
)
from caraway.wire.messages.draw import CopyBits, DrawCopy, DrawFill, Rop, ScaleMode
from caraway.wire.messages.images import (
    BitmapFlags,
    BitmapFormat,
    BitmapImage,
    FromCache,
    FromCacheLossless,
    GlzImage,
    Image,
    ImageFlags,
    JpegImage,
    Lz4Image,
    LzImage,
    LzPaletteImage,
    MaskFlags,
    Palette,
    PatternBrush,
    QMask,
    QuicImage,
    SolidBrush,
    SurfaceImage,
    ZlibGlzImage,
)
from caraway.wire.messages.main import MultiMediaTime
from caraway.wire.messages.shapes import Point, Rect
from support.captures import captures
from support.captures import require as require_capture
from support.fake_server import Linked, fake_server

NO_MASK = QMask(MaskFlags(0), Point(0, 0), None)
CAN_PREFER = {ChannelType.DISPLAY: Capabilities([DisplayCapability.PREF_COMPRESSION])}


def rect(left: int, top: int, width: int, height: int) -> Rect:
    return Rect(top, left, top + height, left + width)


def create(width: int, height: int, surface: int = 0) -> SurfaceCreate:
    return SurfaceCreate(surface, width, height, SurfaceFormat.XRGB32, SurfaceFlags(0 if surface else 1))


def fill(color: int, box: Rect, surface: int = 0) -> DrawFill:
    return DrawFill(surface, box, None, SolidBrush(color), Rop.OP_PUT, NO_MASK)


def copy(payload: Any, width: int, height: int, flags: int = 0, surface: int = 0) -> DrawCopy:
    image = Image(1, ImageFlags(flags), width, height, payload)
    area = rect(0, 0, width, height)
    return DrawCopy(surface, area, None, image, area, Rop.OP_PUT, ScaleMode.INTERPOLATE, NO_MASK)


def raw(width: int, height: int, pixels: bytes) -> BitmapImage:
    empty = Palette(0, [])
    return BitmapImage(BitmapFormat.BIT32, BitmapFlags.TOP_DOWN, width, height, 4 * width, None, empty, pixels)


def indexed(flags: BitmapFlags, palette: Palette | None, palette_id: int | None = None) -> DrawCopy:
    """Two pixels, indices 0 and 1."""
    payload = BitmapImage(BitmapFormat.BIT8, flags | BitmapFlags.TOP_DOWN, 2, 1, 4, palette_id, palette, b"\0\1\0\0")
    return copy(payload, 2, 1)


class Viewed:
    """A session with one display, and the server's end of it."""

    def __init__(self, session: Session, server: Linked) -> None:
        self.session = session
        self.server = server
        self.display = session.display

    async def show(self, *messages: Message) -> Screenshot:
        """The picture once these messages have been processed."""
        self.server.send(*messages)
        await self.settled()
        return self.display.screenshot()

    async def settled(self) -> None:
        self.server.send(Ping(99, 0, b""))
        await self.server.expect(Pong)

    async def fails(self, *messages: Message) -> caraway.CarawayError:
        """What ends the session."""
        self.server.send(*messages)
        with pytest.raises(ProtocolError) as caught:
            await self.session.until(asyncio.Event().wait())
        assert self.session.error is caught.value
        return caught.value


@asynccontextmanager
async def viewed() -> Any:
    async with fake_server("display", on=CAN_PREFER) as server, caraway.connect(server.uri) as session:
        yield Viewed(session, await server.display())


@asynccontextmanager
async def viewed_with_main() -> AsyncIterator[tuple[Viewed, Linked]]:
    async with fake_server("display") as server, caraway.connect(server.uri) as session:
        yield Viewed(session, await server.display()), await server.main()


@asynccontextmanager
async def two_displays() -> AsyncIterator[tuple[Session, Linked, Linked]]:
    async with fake_server("display", "display:1") as server, caraway.connect(server.uri) as session:
        yield session, await server.display(), await server.channel(ChannelType.DISPLAY, 1)


async def test_announces_its_caches() -> None:
    async with viewed() as view:
        init = await view.server.receive()
        assert init == Init(1, 20 << 20, 1, 3 << 20)
        assert window_pixels(50323456) == 6290432
        assert window_pixels(0) == 3 << 20
        assert window_pixels((1 << 32) - 1) == 16 << 20


async def test_wish_is_told_after_the_first_sign_of_the_picture() -> None:
    async with viewed() as view:
        view.display.prefer("lz")
        view.server.send(Ping(1, 0, b""))
        assert [type(await view.server.receive()) for _ in range(2)] == [Init, Pong]
        view.server.send(create(1, 1), Mark())
        assert await view.server.receive() == PreferredCompression(ImageCompression.LZ)
        view.display.prefer(ImageCompression.QUIC)
        assert await view.server.receive() == PreferredCompression(ImageCompression.QUIC)
    async with fake_server("display") as server, caraway.connect(server.uri) as session:
        session.display.prefer("lz")
        display = await server.display()
        display.send(create(1, 1), Mark(), Ping(1, 0, b""))
        assert [type(await display.receive()) for _ in range(2)] == [Init, Pong]


async def test_wish_is_told_the_target_of_a_seamless_migration_again() -> None:
    """It has the channel's state from the source, but not what the client wished for."""
    async with viewed() as view, viewed() as target:
        await target.server.expect(Init)
        view.display.prefer("auto_lz")
        view.display.continue_on(target.display.connection, ClientMigrateData(b"state"))
        assert await target.server.receive() == ClientMigrateData(b"state")
        for message in create(1, 1), Mark():
            await handle(view.display, message.id, message.pack())
        assert await target.server.receive() == PreferredCompression(ImageCompression.AUTO_LZ)


async def test_nothing_is_shown_before_mark() -> None:
    async with viewed() as view:
        with pytest.raises(LinkError, match="no picture yet"):
            view.display.screenshot()
        assert view.display.size == (0, 0)
        view.server.send(create(4, 3), fill(0x112233, rect(0, 0, 4, 3)))
        await view.settled()
        with pytest.raises(LinkError, match="no picture yet"):
            view.display.screenshot()
        with pytest.raises(DeadlineError, match=r"display 0: a first picture: not within 0\.01 s"):
            await view.display.ready(0.01)
        view.server.send(Mark())
        await view.display.ready()
        assert view.display.size == (4, 3)
        assert view.display.screenshot().rgb == b"\x11\x22\x33" * 12


async def test_primary_surface_is_the_one_of_id_0() -> None:
    async with viewed() as view:
        view.server.send(SurfaceCreate(5, 1, 1, SurfaceFormat.XRGB32, SurfaceFlags.PRIMARY), Mark())
        await view.settled()
        assert view.display.size == (0, 0)
        await view.show(create(2, 1), Mark())
        assert view.display.size == (2, 1)


async def test_old_picture_stays_until_the_new_one_is_marked() -> None:
    async with viewed() as view:
        first = await view.show(create(2, 1), fill(0xFF0000, rect(0, 0, 2, 1)), Mark())
        halves = fill(0x00FF00, rect(0, 0, 1, 1)), fill(0x0000FF, rect(0, 1, 1, 1))
        for message in SurfaceDestroy(0), create(1, 2), *halves:
            assert await view.show(message) == first
        assert (await view.show(Mark())).rgb == b"\0\xff\0\0\0\xff"


async def test_old_picture_stays_until_the_new_one_is_drawn() -> None:
    async with viewed() as view:
        first = await view.show(create(2, 1), fill(0xFF0000, rect(0, 0, 2, 1)), Mark())
        for message in SurfaceDestroy(0), create(1, 2), Mark(), fill(0x00FF00, rect(0, 0, 1, 1)):
            assert await view.show(message) == first
        assert (await view.show(fill(0x0000FF, rect(0, 1, 1, 1)))).rgb == b"\0\xff\0\0\0\xff"


async def test_picture_that_stays_empty_is_shown_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.arrival.QUIET", 0.01)
    async with viewed() as view:
        await view.show(create(2, 1), fill(0xFF0000, rect(0, 0, 2, 1)), Mark())
        await view.show(SurfaceDestroy(0), create(1, 1), Mark())
        frames = view.display.frames()
        while (await anext(frames)).rgb != b"\0\0\0":
            pass
        await frames.aclose()


async def test_picture_of_a_new_mode_can_be_waited_for() -> None:
    async with viewed() as view:
        await view.display.arrived()
        await view.show(create(2, 1), fill(0xFF0000, rect(0, 0, 2, 1)), Mark(), SurfaceDestroy(0))
        await view.display.arrived()
        await view.show(create(1, 1), Mark())
        with pytest.raises(DeadlineError, match="the picture of a new mode"):
            await view.display.arrived(0.01)
        arrived = asyncio.ensure_future(view.display.arrived())
        await view.show(fill(0x00FF00, rect(0, 0, 1, 1)))
        await arrived
        assert view.display.screenshot().rgb == b"\0\xff\0"


async def test_screenshot_is_a_copy() -> None:
    async with viewed() as view:
        before = await view.show(create(1, 1), Mark())
        await view.show(fill(0xFFFFFF, rect(0, 0, 1, 1)))
        assert before.rgb == b"\0\0\0"


async def test_drawing_and_copying_in_order() -> None:
    async with viewed() as view:
        picture = await view.show(
            create(4, 1),
            Mark(),
            fill(1, rect(0, 0, 1, 1)),
            CopyBits(0, rect(1, 0, 1, 1), None, Point(0, 0)),
            fill(2, rect(0, 0, 1, 1)),
            CopyBits(0, rect(2, 0, 2, 1), None, Point(0, 0)),
        )
        assert picture.rgb[2::3] == bytes([2, 1, 2, 1])


@pytest.mark.parametrize("size", [(3, 2), (300, 200)], ids=["inline", "in a worker"])
async def test_raw_and_lz_images(size: tuple[int, int]) -> None:
    width, height = size
    pixels = random.Random(7).randbytes(4 * width * height)
    truth = Screenshot(width, height, pixels)
    async with viewed() as view:
        assert await view.show(create(width, height), Mark(), copy(raw(width, height, pixels), width, height)) == truth
        await view.show(fill(0, rect(0, 0, width, height)))
        packed = lz.encode(Bitmap(width, height, PixelFormat.BGRX32, 4 * width, pixels))
        assert await view.show(copy(LzImage(packed), width, height)) == truth


def moved(message: DrawCopy, top: int, clip: list[Rect] | None = None) -> DrawCopy:
    box = rect(0, top, message.box.right, message.box.bottom)
    return DrawCopy(0, box, clip, message.src_bitmap, message.src_area, message.rop, message.scale_mode, NO_MASK)


@pytest.mark.parametrize("codec", [(LzImage, lz.encode), (QuicImage, quic.encode)], ids=["lz", "quic"])
async def test_rows_of_the_surface_are_decoded_in_place(codec: Any) -> None:
    wrap, encode = codec
    colours = random.Random(7).choices(range(1 << 24), k=64)
    pixels = b"".join(colour.to_bytes(4, "little") for colour in colours)
    image = copy(wrap(encode(Bitmap(16, 4, PixelFormat.BGRX32, 64, pixels))), 16, 4)
    async with viewed() as view:
        picture = await view.show(create(16, 9), Mark(), moved(image, 5))
        assert picture == Screenshot(16, 9, bytes(64 * 5) + pixels)
        picture = await view.show(fill(0, rect(0, 0, 16, 9)), moved(image, 2, [rect(1, 3, 5, 1)]))
        assert picture == Screenshot(16, 9, bytes(64 * 3 + 4) + pixels[68:88] + bytes(64 * 6 - 24))
        picture = await view.show(fill(0, rect(0, 0, 16, 9)), moved(image, 7))
        assert picture == Screenshot(16, 9, bytes(64 * 7) + pixels[:128])


@pytest.mark.parametrize("codec", [(LzImage, lz.encode), (QuicImage, quic.encode)], ids=["lz", "quic"])
async def test_half_an_image_is_not_shown(codec: Any) -> None:
    wrap, encode = codec
    pixels = random.Random(7).randbytes(64 * 9)
    payload = encode(Bitmap(16, 9, PixelFormat.BGRX32, 64, pixels))
    half = copy(wrap(payload[: len(payload) // 8 * 4]), 16, 9)
    async with viewed() as view:
        await view.show(create(16, 9), Mark())
        error = await view.fails(half)
        assert isinstance(error, CodecError)
        with pytest.raises(CodecError):
            view.display.screenshot()


async def test_order_holds_although_a_large_image_is_decoded_in_a_worker() -> None:
    pixels = bytes([9, 9, 9, 0]) * (256 * 256)
    packed = lz.encode(Bitmap(256, 256, PixelFormat.BGRX32, 1024, pixels))
    async with viewed() as view:
        view.server.send(create(256, 256), Mark())
        for _ in range(5):
            view.server.send(copy(LzImage(packed), 256, 256), fill(0x050505, rect(0, 0, 1, 256)))
        await view.settled()
        assert set(view.display.screenshot().rgb[: 3 * 256]) == {5, 9}
        assert view.display.screenshot().rgb[:6] == b"\5\5\5\x09\x09\x09"


async def test_palette_cache() -> None:
    cached, plain = BitmapFlags.PAL_CACHE_ME, BitmapFlags(0)
    from_cache = BitmapFlags.PAL_FROM_CACHE
    async with viewed() as view:
        first = await view.show(create(2, 1), Mark(), indexed(cached, Palette(77, [0x010203, 0x040506])))
        assert first.rgb == bytes(range(1, 7))
        await view.show(indexed(plain, Palette(78, [0, 0])))
        assert await view.show(indexed(from_cache, None, 77)) == first
        await view.show(InvalPalette(5))
        assert await view.show(indexed(from_cache, None, 77)) == first
        error = await view.fails(indexed(from_cache, None, 78))
        assert "palette 0x4e is not in the cache" in str(error)


@pytest.mark.parametrize("forget", [InvalPalette(77), InvalAllPalettes()], ids=["one", "all"])
async def test_forgotten_palette(forget: Message) -> None:
    async with viewed() as view:
        await view.show(create(2, 1), Mark(), indexed(BitmapFlags.PAL_CACHE_ME, Palette(77, [0, 0])), forget)
        assert "not in the cache" in str(await view.fails(indexed(BitmapFlags.PAL_FROM_CACHE, None, 77)))


async def test_palettes_without_end() -> None:
    async with viewed() as view:
        view.server.send(create(2, 1), Mark())
        many = [indexed(BitmapFlags.PAL_CACHE_ME, Palette(number + 1, [0, 0])) for number in range(MAX_PALETTES)]
        await view.show(*many, *many)
        error = await view.fails(indexed(BitmapFlags.PAL_CACHE_ME, Palette(1000, [0, 0])))
        assert f"more than {MAX_PALETTES} cached palettes" in str(error)


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (copy(QuicImage(b"whatever"), 1, 1), CodecError, "QUIC"),
        (copy(JpegImage(b"whatever"), 1, 1), CodecError, "JPEG"),
        (copy(GlzImage(b"whatever"), 1, 1), CodecError, "GLZ"),
        (copy(ZlibGlzImage(100, b"whatever"), 1, 1), CodecError, "GLZ"),
        (copy(Lz4Image(b"whatever"), 1, 1), CodecError, "LZ4"),
        (copy(FromCache(), 1, 1), ProtocolError, "there is no image 0x1 in the cache"),
        (copy(LzImage(b""), 1, 1), CodecError, ""),
        (copy(LzImage(bytes(28)), 1, 1), CodecError, ""),
        (copy(raw(2, 1, bytes(8)), 1, 1), CodecError, "image of 1x1 pixels holds 2x1 pixels"),
        (copy(LzImage(b""), 1 << 20, 1 << 20), CodecError, "limit"),
        (copy(LzPaletteImage(BitmapFlags(0), None, None, b""), 1, 1), CodecError, ""),
        (indexed(BitmapFlags(0), None), CodecError, ""),
        (create(1 << 15, 1), ProtocolError, "32768x1"),
        (create(0, 5), ProtocolError, "0x5"),
    ],
    ids=str,
)
async def test_what_cannot_be_drawn_ends_the_session(message: Message, kind: type[ProtocolError], text: str) -> None:
    async with viewed() as view:
        await view.show(create(2, 2), Mark())
        error = await view.fails(message)
        assert isinstance(error, kind)
        assert text in str(error)


async def test_surfaces_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.surfaces.MAX_SURFACE_PIXELS", 300)
    async with viewed() as view:
        await view.show(create(10, 10), Mark(), create(10, 10, 1), create(10, 10, 2))
        await view.show(create(5, 5, 2), SurfaceDestroy(1), create(10, 10, 3))
        assert "4 surfaces of 301 pixels, limits 10000 and 300" in str(await view.fails(create(76, 1, 4)))


async def test_unknown_surface_may_be_destroyed_and_drawn_on() -> None:
    """What is drawn there is lost, but not what it brings for the caches."""
    async with viewed() as view:
        image = copy(raw(1, 1, b"\1\2\3\0"), 1, 1, flags=1, surface=5)
        picture = await view.show(create(1, 1), Mark(), SurfaceDestroy(9), image, copy(FromCache(), 1, 1))
        assert picture.rgb == b"\3\2\1"


def with_brush(payload: Any) -> DrawFill:
    pattern = Image(1, ImageFlags(0), 1, 1, payload)
    return DrawFill(0, rect(0, 0, 1, 1), None, PatternBrush(pattern, Point(0, 0)), Rop.OP_PUT, NO_MASK)


def with_mask(mask: Image) -> DrawFill:
    drawn = QMask(MaskFlags(0), Point(0, 0), mask)
    return DrawFill(0, rect(0, 0, 8, 1), None, SolidBrush(0x0000FF), Rop.OP_PUT, drawn)


def bits(number: int, flags: ImageFlags, palette: Palette | None) -> Image:
    """Eight pixels, the first three and the last of which are 1."""
    how = BitmapFlags.TOP_DOWN
    return Image(number, flags, 8, 1, BitmapImage(BitmapFormat.BIT1_LE, how, 8, 1, 4, None, palette, b"\x87\0\0\0"))


async def test_unknown_surface_as_source_brush_or_mask() -> None:
    """Nothing is drawn, but what else comes with the drawing is there for the caches."""
    async with viewed() as view:
        before = await view.show(create(8, 1), Mark(), fill(0x102030, rect(0, 0, 8, 1)))
        beside = copy(SurfaceImage(5), 1, 1)
        beside.mask = QMask(MaskFlags(0), Point(0, 0), bits(7, ImageFlags.CACHE_ME, None))
        mask = with_mask(Image(1, ImageFlags(0), 8, 1, SurfaceImage(5)))
        assert await view.show(beside, with_brush(SurfaceImage(5)), mask, fill(0xFF, rect(0, 0, 1, 1), 5)) == before
        picture = await view.show(with_mask(Image(7, ImageFlags(0), 8, 1, FromCache())))
        assert picture.rgb == b"".join(b"\0\0\xff" if x in (0, 1, 2, 7) else b"\x10\x20\x30" for x in range(8))


async def test_unknown_stream() -> None:
    async with viewed() as view:
        messages = (StreamClip(49, []), frame(RED), StreamActivateReport(49, 1, 5, 9), StreamDestroy(49))
        before = await view.show(create(16, 16), Mark())
        assert await view.show(*messages, StreamDestroyAll(), *messages) == before
        elsewhere = stream()
        elsewhere.surface_id = 9
        assert await view.show(elsewhere, frame(RED)) == before


@pytest.mark.parametrize("mask_first", [False, True], ids=["source first", "mask first"])
async def test_bits_of_the_cache_are_mask_and_picture(mask_first: bool) -> None:
    kept = bits(3, ImageFlags.CACHE_ME, Palette(0, [0x102030, 0x405060]))
    area = rect(0, 0, 8, 1)
    as_source = DrawCopy(0, area, None, kept, area, Rop.OP_PUT, ScaleMode.INTERPOLATE, NO_MASK)
    known = Image(3, ImageFlags(0), 8, 1, FromCache())
    again = DrawCopy(0, area, None, known, area, Rop.OP_PUT, ScaleMode.INTERPOLATE, NO_MASK)
    ones = [x in (0, 1, 2, 7) for x in range(8)]
    black = fill(0, area)
    async with viewed() as view:
        await view.show(create(8, 1), Mark(), with_mask(kept) if mask_first else as_source)
        picture = await view.show(black, with_mask(known))
        assert picture.rgb == b"".join(b"\0\0\xff" if one else b"\0\0\0" for one in ones)
        picture = await view.show(black, again)
        assert picture.rgb == b"".join(b"\x40\x50\x60" if one else b"\x10\x20\x30" for one in ones)


async def test_cached_colours_are_no_mask() -> None:
    async with viewed() as view:
        await view.show(create(1, 1), Mark(), copy(raw(1, 1, b"\1\1\1\1"), 1, 1, ImageFlags.CACHE_ME))
        before = await view.show(fill(0x203040, rect(0, 0, 1, 1)))
        assert await view.show(with_mask(Image(1, ImageFlags(0), 1, 1, FromCache()))) == before


async def test_pixmap_cache() -> None:
    red, green = raw(1, 1, b"\0\0\xff\0"), raw(1, 1, b"\0\xff\0\0")
    gone = InvalList([ResourceId(1, 1)])
    async with viewed() as view:
        await view.show(create(1, 1), Mark(), copy(red, 1, 1, ImageFlags.CACHE_ME))
        assert (await view.show(fill(0, rect(0, 0, 1, 1)), copy(FromCache(), 1, 1))).rgb == b"\xff\0\0"
        await view.show(copy(green, 1, 1, ImageFlags.CACHE_ME), gone)
        assert (await view.show(fill(0, rect(0, 0, 1, 1)), copy(FromCache(), 1, 1))).rgb == b"\0\xff\0"
        error = await view.fails(gone, copy(FromCache(), 1, 1))
        assert "there is no image 0x1 in the cache" in str(error)


async def test_cache_holds_what_was_agreed_on() -> None:
    async with viewed() as view:
        await view.show(create(1, 1), Mark())
        view.session.images.pixmaps._max_pixels = 3
        three = copy(raw(3, 1, bytes(12)), 3, 1, ImageFlags.CACHE_ME)
        await view.show(three, three)
        one = copy(raw(1, 1, bytes(4)), 1, 1, ImageFlags.CACHE_ME)
        one.src_bitmap.id = 2
        assert "pixmap cache of 4 pixels, agreed on 3" in str(await view.fails(one))


def test_cache_holds_no_more_than_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither padding, nor the message around a picture, nor pictures without end."""
    monkeypatch.setattr("caraway.client.shared_images.MAX_PIXMAPS", 2)
    cache, message = PixmapCache(), bytes(range(16)) * 1000
    cache.put(1, Bitmap(1, 2, PixelFormat.BGRX32, 8000, message), lossy=False)
    cache.put(2, Bitmap(1, 2, PixelFormat.BGRX32, 4, memoryview(message)[4:12]), lossy=False)
    assert [(cache.find(id).stride, cache.find(id).data) for id in (1, 2)] == [
        (4, message[:4] * 2),
        (4, message[4:12]),
    ]
    assert not any(isinstance(cache.find(id).data, memoryview) for id in (1, 2))
    cache.put(2, Bitmap(1, 1, PixelFormat.BGRX32, 4, bytes(4)), lossy=False)
    with pytest.raises(ProtocolError, match="more than 2 images"):
        cache.put(3, Bitmap(1, 1, PixelFormat.BGRX32, 4, bytes(4)), lossy=False)


async def test_all_pixmaps_are_forgotten_once_other_channels_are_so_far() -> None:
    async with two_displays() as (session, first, second):
        first.send(create(1, 1), Mark(), copy(raw(1, 1, bytes(4)), 1, 1, ImageFlags.CACHE_ME))
        first.send(InvalAllPixmaps([ChannelSerial(ChannelType.DISPLAY, 1, 2)]), Ping(7, 0, b""))
        second.send(Ping(1, 0, b""))
        await second.expect(Pong)
        assert len(session.images.pixmaps) == 1
        second.send(Ping(2, 0, b""))
        await first.expect(Pong)
        assert not len(session.images.pixmaps)


async def test_image_of_another_display_is_waited_for() -> None:
    async with two_displays() as (session, first, second):
        first.send(create(1, 1), Mark(), copy(FromCache(), 1, 1), Ping(1, 0, b""))
        red = raw(1, 1, b"\0\0\xff\0")
        second.send(create(1, 1), Mark(), copy(red, 1, 1, ImageFlags.CACHE_ME))
        await first.expect(Pong)
        assert session.displays[0].screenshot().rgb == b"\xff\0\0"


async def test_lossy_image_is_not_enough_where_a_lossless_one_is_wanted() -> None:
    async with two_displays() as (session, first, second):
        lossy = jpeg.encode(Bitmap(8, 8, PixelFormat.BGRX32, 32, bytes([9, 90, 200, 0]) * 64))
        first.send(create(8, 8), Mark(), copy(FromCacheLossless(), 8, 8), Ping(1, 0, b""))
        second.send(create(8, 8), Mark(), copy(JpegImage(lossy), 8, 8, ImageFlags.CACHE_ME), Ping(1, 0, b""))
        await second.expect(Pong)
        assert not session.displays[0].screenshot().rgb.strip(b"\0")
        exact = raw(8, 8, bytes([1, 2, 3, 0]) * 64)
        second.send(copy(exact, 8, 8, ImageFlags.CACHE_REPLACE_ME))
        await first.expect(Pong)
        assert session.displays[0].screenshot().rgb == b"\3\2\1" * 64
        second.send(InvalList([ResourceId(1, 1)]), Ping(2, 0, b""))
        await second.expect(Pong)
        assert not len(session.images.pixmaps)


async def test_image_that_no_other_display_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.shared_images.IMAGE_DEADLINE", 0.01)
    async with two_displays() as (session, first, _):
        first.send(create(1, 1), Mark(), copy(FromCache(), 1, 1))
        with pytest.raises(DeadlineError, match="no image 0x1 in the cache"):
            await session.until(asyncio.Event().wait())


async def test_wait_ends_with_the_last_display_that_could_bring_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.shared_images.IMAGE_DEADLINE", 3600.0)
    async with two_displays() as (session, first, second):
        first.send(create(1, 1), Mark(), copy(FromCache(), 1, 1))
        await waits_for_an_image(session)
        second.close()
        with pytest.raises(ProtocolError, match="no image 0x1 in the cache, and no other display to bring it"):
            await session.until(asyncio.Event().wait())


async def test_displays_that_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.shared_images.IMAGE_DEADLINE", 3600.0)
    async with two_displays() as (session, first, second):
        for display in first, second:
            display.send(create(1, 1), Mark(), copy(FromCache(), 1, 1))
        with pytest.raises(ProtocolError, match="no other display to bring it"):
            await session.until(asyncio.Event().wait())


async def test_wait_ends_with_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.shared_images.IMAGE_DEADLINE", 3600.0)
    async with two_displays() as (session, first, _):
        first.send(create(1, 1), Mark(), copy(FromCache(), 1, 1))
        await waits_for_an_image(session)
        running = session._running[ChannelType.DISPLAY, 0]
        session.end(LinkError("over"))
        async with asyncio.timeout(10):
            await asyncio.wait([running])
        assert str(session.error) == "over"


async def waits_for_an_image(session: Session) -> None:
    while True:
        await asyncio.sleep(0)
        if session.images._waiting:
            return


async def test_glz_image_waits_for_the_one_that_it_refers_to() -> None:
    async with two_displays() as (session, first, second):
        dictionary = glz.Dictionary(1 << 20)
        noise = Bitmap(32, 32, PixelFormat.BGRX32, 128, random.Random(1).randbytes(3 * 1024 + 1024))
        one, two = (copy(GlzImage(dictionary.encode(noise)), 32, 32) for _ in range(2))
        assert len(two.src_bitmap.payload.data) < 1000
        first.send(create(32, 32), Mark(), two, Ping(1, 0, b""))
        second.send(Ping(1, 0, b""))
        await second.expect(Pong)
        second.send(create(32, 32), Mark(), one)
        await first.expect(Pong)
        rgb = session.displays[0].screenshot().rgb
        assert rgb[::3] == noise.data[2::4]


async def test_channel_that_ends_leaves_the_window_to_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window decodes one image at a time, also where nobody waits for it any more."""
    images, dictionary = SharedImages(lambda: 2), glz.Dictionary(1 << 20)
    one, two = (dictionary.encode(Bitmap(4, 4, PixelFormat.BGRX32, 16, bytes(64))) for _ in range(2))
    begun, second_came = threading.Event(), threading.Event()
    decode = glz.Window.decode
    steps = []

    def slow(window: glz.Window, data: bytes, channel: int) -> Bitmap:
        steps.append((channel, "begins"))
        if channel == 1:
            begun.set()
            second_came.wait(0.2)
        else:
            second_came.set()
        bitmap = decode(window, data, channel)
        steps.append((channel, "ends"))
        return bitmap

    monkeypatch.setattr(glz.Window, "decode", slow)
    abandoned = asyncio.ensure_future(images.decode_glz(one, 1, is_small=False))
    await asyncio.to_thread(begun.wait)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    await images.decode_glz(two, 0, is_small=True)
    assert steps == [(1, "begins"), (1, "ends"), (0, "begins"), (0, "ends")]
    assert len(images.window) == 2


async def test_large_payload_is_inflated_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.images.INLINE_PIXELS", 20)
    threads, inflate = [], glz.inflate

    def inflated(data: bytes, size: int) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return inflate(data, size)

    monkeypatch.setattr(glz, "inflate", inflated)
    dictionary = glz.Dictionary(1 << 20)
    async with viewed() as view:
        await view.show(create(8, 8), Mark())
        for pixels in (bytes(256), random.Random(1).randbytes(256)):
            payload = dictionary.encode(Bitmap(8, 8, PixelFormat.BGRX32, 32, pixels))
            await view.show(copy(ZlibGlzImage(len(payload), glz.deflate(payload)), 8, 8))
    assert threads == [True, False]


async def test_images_of_the_last_server_are_left_behind() -> None:
    async with two_displays() as (session, first, _):
        first.send(create(1, 1), Mark(), copy(raw(1, 1, bytes(4)), 1, 1, ImageFlags.CACHE_ME), Ping(1, 0, b""))
        await first.expect(Pong)
        old = session.images
        session.displays[0].reset()
        new = session.images
        session.displays[1].reset()
        assert session.images is new is not old
        assert not len(new.pixmaps)


async def test_surface_as_source() -> None:
    async with viewed() as view:
        picture = await view.show(
            create(2, 1), Mark(), create(2, 1, 7), fill(0xABCDEF, rect(1, 0, 1, 1), 7), copy(SurfaceImage(7), 2, 1)
        )
        assert picture.rgb == b"\0\0\0\xab\xcd\xef"


def frame(color: tuple[int, int, int], time: int = 0) -> StreamData:
    """A JPEG of 16x16 pixels of one colour."""
    pixels = bytes([*reversed(color), 0]) * 256
    return StreamData(49, time, jpeg.encode(Bitmap(16, 16, PixelFormat.BGRX32, 64, pixels), 100))


def stream(codec: VideoCodec = VideoCodec.MJPEG, clip: list[Rect] | None = None) -> StreamCreate:
    return StreamCreate(0, 49, StreamFlags.TOP_DOWN, codec, 0, 16, 16, 16, 16, rect(0, 0, 16, 16), clip)


def color(picture: Screenshot, x: int = 8) -> tuple[int, ...]:
    """Of a pixel in the middle row, roughly."""
    start = 3 * (8 * picture.width + x)
    return tuple(component + 8 >> 4 for component in picture.rgb[start : start + 3])


RED, GREEN, BLACK = (15 << 4, 0, 0), (0, 15 << 4, 0), (0, 0, 0)


async def test_frames_of_a_stream_are_drawn_within_its_clip() -> None:
    async with viewed() as view:
        picture = await view.show(create(16, 16), Mark(), stream(clip=[rect(4, 0, 8, 16)]), frame(RED))
        assert [color(picture, x) for x in (2, 8, 14)] == [(0, 0, 0), (15, 0, 0), (0, 0, 0)]
        picture = await view.show(StreamClip(49, []), frame(GREEN))
        assert color(picture) == (15, 0, 0)
        picture = await view.show(StreamClip(49, None), frame(GREEN), StreamDestroy(49))
        assert [color(picture, x) for x in (2, 8, 14)] == [(0, 15, 0)] * 3


async def test_frame_waits_for_its_time() -> None:
    async with viewed() as view:
        now = view.session.main.multi_media_time
        await view.show(create(16, 16), Mark(), stream(), frame(RED))
        changes = view.display.frames()
        assert color(await anext(changes)) == (15, 0, 0)
        view.server.send(frame(GREEN, now + 200))
        assert color(await view.show()) == (15, 0, 0)
        assert color(await anext(changes)) == (0, 15, 0)
        assert view.session.main.multi_media_time >= now + 200
        await changes.aclose()


async def test_frame_is_shown_once_the_clock_is_set_to_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.streams.MAX_AHEAD", 3600.0)
    async with viewed_with_main() as (view, main):
        later = view.session.main.multi_media_time + 3_000_000
        await view.show(create(16, 16), Mark(), stream(), frame(RED))
        changes = view.display.frames()
        await anext(changes)
        assert color(await view.show(frame(GREEN, later))) == (15, 0, 0)
        main.send(MultiMediaTime(later))
        assert color(await anext(changes)) == (0, 15, 0)
        await changes.aclose()


async def test_large_frames_are_decoded_and_drawn_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large as they are, not as the stream was announced; with the first one the codec is made."""
    decoded, drawn = [], []
    decode, draw = Stream.decode, raster.copy

    def decoding(*arguments: Any) -> Any:
        decoded.append(threading.current_thread() is threading.main_thread())
        return decode(*arguments)

    def drawing(*arguments: Any) -> Any:
        drawn.append(threading.current_thread() is threading.main_thread())
        return draw(*arguments)

    monkeypatch.setattr(Stream, "decode", decoding)
    monkeypatch.setattr(raster, "copy", drawing)
    monkeypatch.setattr("caraway.client.player.INLINE_PIXELS", 255)
    monkeypatch.setattr("caraway.client.painter.INLINE_PIXELS_IF_SLOW", 64)
    small = StreamData(49, 0, jpeg.encode(Bitmap(8, 8, PixelFormat.BGRX32, 32, bytes(256)), 100))
    async with viewed() as view:
        for place in rect(0, 0, 16, 16), rect(0, 0, 8, 8):
            begin = stream()
            begin.stream_width = begin.stream_height = 4
            begin.dest = place
            await view.show(create(16, 16), Mark(), begin, small, small, frame(RED), frame(RED))
    assert decoded == [False, True, True, False] * 2
    assert drawn == [False, False, True, True, True, True, True, True]


async def test_message_that_comes_while_a_frame_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken though nothing comes behind it."""
    show = Player._show_one
    async with viewed() as view:
        await view.show(create(16, 16), Mark(), stream(), frame(RED))

        async def show_late(player: Player, next: Frame) -> None:
            view.server.send(Ping(7, 0, b""))
            _, start, end = view.display.connection.pending.pending()
            while start == end:
                await asyncio.sleep(0)
                _, start, end = view.display.connection.pending.pending()
            await show(player, next)

        view.server.send(frame(GREEN, view.session.main.multi_media_time + 50))
        await view.settled()
        monkeypatch.setattr(Player, "_show_one", show_late)
        async with asyncio.timeout(10):
            assert (await view.server.expect(Pong)).ping_id == 7
        assert color(view.display.screenshot()) == (0, 15, 0)


async def test_frames_that_wait_are_void_once_their_stream_is() -> None:
    async with viewed() as view:
        later = view.session.main.multi_media_time + 100
        await view.show(create(16, 16), Mark(), stream(), frame(RED), frame(GREEN, later), StreamDestroyAll())
        while view.session.main.multi_media_time < later + 20:
            picture = await view.show()
        assert color(picture) == (15, 0, 0)


async def test_damaged_frame_is_left_out() -> None:
    async with viewed() as view:
        broken = StreamData(49, 0, frame(GREEN).data[:-40] + bytes(40))
        picture = await view.show(create(16, 16), Mark(), stream(), frame(RED), StreamData(49, 0, b"no"), broken)
        assert view.session.error is None
        picture = await view.show(frame(GREEN))
        assert color(picture) == (0, 15, 0)


async def test_stream_is_reported_where_the_server_takes_reports() -> None:
    wants = {ChannelType.DISPLAY: Capabilities([DisplayCapability.STREAM_REPORT])}
    for on, count in ((wants, 1), ({}, 0)):
        async with fake_server("display", on=on) as server, caraway.connect(server.uri):
            display = await server.display()
            display.send(create(16, 16), Mark(), stream(), StreamActivateReport(49, 12, 3, 1000))
            display.send(frame(RED), frame(RED), frame(RED), Ping(1, 0, b""))
            answers = []
            while not answers or not isinstance(answers[-1], Pong):
                answers.append(await display.receive())
            reports = [answer for answer in answers if isinstance(answer, StreamReport)]
            assert [(report.unique_id, report.num_frames, report.num_drops) for report in reports] == [
                (12, 3, 0)
            ] * count


async def test_stream_that_cannot_be_decoded_is_declined() -> None:
    wants = {ChannelType.DISPLAY: Capabilities([DisplayCapability.STREAM_REPORT])}
    async with fake_server("display", on=wants) as server, caraway.connect(server.uri):
        display = await server.display()
        display.send(create(16, 16), Mark(), stream(codec=77), StreamActivateReport(49, 12, 5, 1000))  # type: ignore[arg-type]
        report = await display.expect(StreamReport)
        assert (report.stream_id, report.unique_id) == (49, 12)
        assert (report.num_frames, report.num_drops) == (0, 0xFFFFFFFF)


async def test_stream_without_a_decoder_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise CodecError("vp8 video: this FFmpeg has no decoder")

    monkeypatch.setattr("caraway.codecs.video.is_available", lambda: True)
    monkeypatch.setattr("caraway.codecs.video.Decoder", missing)
    wants = {ChannelType.DISPLAY: Capabilities([DisplayCapability.STREAM_REPORT])}
    async with fake_server("display", on=wants) as server, caraway.connect(server.uri):
        display = await server.display()
        display.send(create(16, 16), Mark(), stream(VideoCodec.VP8), frame(RED), Ping(1, 0, b""))
        reports = []
        while not isinstance(answer := await display.receive(), Pong):
            reports += [answer] if isinstance(answer, StreamReport) else []
        assert [(r.stream_id, r.num_frames, r.num_drops) for r in reports] == [(49, 0, 0xFFFFFFFF)]


async def test_monitors() -> None:
    async with viewed() as view:
        heads = [Head(0, 0, 2, 2, 0, 0, 0), Head(1, 0, 2, 2, 2, 0, 0)]
        await view.show(create(4, 2), MonitorsConfig(4, heads), Mark())
        assert [(m.monitor_id, tuple(m.box)) for m in view.display.screen.monitors] == [
            (0, (0, 0, 2, 2)),
            (1, (2, 0, 4, 2)),
        ]


async def test_frames_are_merged_and_end_with_the_session() -> None:
    async with viewed() as view:
        await view.show(create(1, 1), Mark())
        frames = view.display.frames()
        assert (await anext(frames)).rgb == b"\0\0\0"
        view.server.send(*(fill(color, rect(0, 0, 1, 1)) for color in range(1, 50)))
        await view.settled()
        assert (await anext(frames)).rgb == b"\0\0\x31"
        waiting = asyncio.ensure_future(anext(frames))
        await asyncio.sleep(0)
        view.server.close()
        with pytest.raises(LinkError):
            await waiting


async def test_wait_stable() -> None:
    async with viewed() as view:
        view.server.send(create(1, 1), Mark())
        await view.display.wait_stable(0.01)

        async def flicker() -> None:
            while True:
                view.server.send(fill(random.getrandbits(24), rect(0, 0, 1, 1)))
                await asyncio.sleep(0.001)

        flickering = asyncio.ensure_future(flicker())
        with pytest.raises(DeadlineError, match="5 s without a change"):
            await view.display.wait_stable(5, timeout=0.05)
        flickering.cancel()


async def test_session_closed_while_somebody_waits_for_a_picture() -> None:
    async with fake_server("display") as server:
        session = await caraway.connect(server.uri)
        waiting = asyncio.ensure_future(session.display.ready())
        await asyncio.sleep(0)
        await session.aclose()
        with pytest.raises(LinkError, match="the session was closed"):
            await waiting


# hostile messages


class NoConnection:
    """What a channel needs of one that carries nothing."""

    peer = "display 0 of nowhere"
    writable = False
    machine = SimpleNamespace(mini_header=True)


async def handle(channel: DisplayChannel, type: int, body: bytes) -> None:
    waiting = channel._dispatch(type, body)
    if waiting is not None:
        await waiting


def recorded(name: str, limit: int) -> Iterator[tuple[int, bytes]]:
    [path] = [one.values[0] for one in captures() if one.id in (name, "absent")]
    capture = load(require_capture(path))
    count = 0
    for message in capture.frames():
        if message.connection.channel_type == ChannelType.DISPLAY and message.sender is Sender.SERVER:
            yield message.frame.type, bytes(message.frame.body)
            count += 1
            if count == limit:
                return


def mutations(body: bytes, dice: random.Random) -> Iterator[bytes]:
    """Damaged versions: cut, with bytes or whole numbers replaced, or with something in the middle gone."""
    yield body[: dice.randrange(len(body) + 1)]
    for _ in range(4):
        damaged = bytearray(body)
        for _ in range(dice.choice((1, 1, 2, 5))):
            at = dice.randrange(min(len(body), 120))
            if dice.random() < 0.5:
                damaged[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
            else:
                number = dice.choice(
                    (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, dice.getrandbits(32), dice.getrandbits(8))
                )
                damaged[at : at + 4] = struct.pack("<I", number)
        yield bytes(damaged[: len(body)])
    at = dice.randrange(len(body))
    yield body[:at] + body[at + dice.choice((1, 4)) :]


@pytest.mark.parametrize("name", ["draw-off", "draw-lz", "console-lz"])
async def test_damaged_messages_are_drawn_or_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but ProtocolError and CodecError comes out, whatever goes in."""
    monkeypatch.setattr("caraway.client.surfaces.MAX_SURFACE_PIXELS", 1 << 21)
    monkeypatch.setattr("caraway.canvas.surface.MAX_PIXELS", 1 << 20)
    monkeypatch.setattr("caraway.client.images.MAX_PIXELS", 1 << 20)
    dice = random.Random(name)
    session = SimpleNamespace(images=SharedImages(lambda: 1))
    channel = DisplayChannel(session, 0, NoConnection())  # type: ignore[arg-type]
    drawn = refused = 0
    for type, body in recorded(name, 250):
        with_damage = mutations(body, dice) if body else ()
        for attempt in (*with_damage, body):
            try:
                await handle(channel, type, attempt)
                drawn += 1
            except ProtocolError as error:
                assert str(error)  # noqa: PT017
                refused += 1
    assert drawn > 100
    assert refused > 100


async def test_blinking_cursor_is_no_change() -> None:
    async with viewed() as view:
        await view.show(create(40, 40), fill(0x202020, rect(0, 0, 40, 40)), Mark())
        blinking = asyncio.Event()

        async def blink() -> None:
            for color in itertools.cycle((0xFFFFFF, 0x202020)):
                await view.show(fill(color, rect(8, 8, 8, 2)))
                blinking.set()

        task = asyncio.ensure_future(blink())
        await blinking.wait()
        await view.display.wait_stable(0.2, timeout=5)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
