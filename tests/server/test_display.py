"""Our own client looks at displays over a real socket: its picture must be the guest's in every pixel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

import caraway
from caraway.client import Session
from caraway.server import Display, DisplayOptions, FramebufferGuest, Guest, Server
from caraway.server.damage import CELL_HEIGHT, CELL_WIDTH, MAX_BOXES
from caraway.server.display import DisplayChannel
from caraway.wire.constants import ChannelType

RANDOM = np.random.default_rng(20)


def photo(width: int, height: int) -> np.ndarray:
    """Soft colours with some noise: what QUIC is for."""
    y, x = np.mgrid[0:height, 0:width]
    noise = RANDOM.integers(0, 4, (height, width))
    words = (x * 255 // width + noise) << 16 | (y * 255 // height + noise) << 8 | (x + y) // 4 % 256
    return (words & 0xFFFFFF).astype("<u4")


def text(width: int, height: int) -> np.ndarray:
    """Black marks on white: what LZ is for."""
    words = np.full((height, width), 0xFFFFFF, "<u4")
    for row in range(4, height - 8, 12):
        marks = RANDOM.integers(0, 3, (8, width // 8)).repeat(4, axis=1) == 0
        words[row : row + 8, : marks.shape[1]][marks] = 0x101010
    return words


def mixed(width: int, height: int) -> np.ndarray:
    """Some of both."""
    words = text(width, height)
    words[height // 4 : height // 2, width // 4 :] = photo(width - width // 4, height // 2 - height // 4)
    return words


@asynccontextmanager
async def serving(guest: Guest, **options: Any) -> AsyncIterator[Server]:
    async with Server(guest, port=0, sharing="share", **options) as server:
        yield server


def viewing(server: Server) -> Any:
    return caraway.connect(f"spice://localhost:{server.port}", channels=["display"])


def rgb(pixels: np.ndarray) -> bytes:
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 4)[:, :, 2::-1].tobytes()


async def shows(session: Session, pixels: np.ndarray, display: int = 0) -> None:
    """Sooner or later the picture is this one."""
    height, width = pixels.shape
    truth = rgb(pixels)
    async with asyncio.timeout(20):
        async for picture in session.displays[display].frames():
            if (picture.width, picture.height) == (width, height) and picture.rgb == truth:
                return


async def test_a_viewer_sees_the_whole_picture_of_a_guest_that_does_nothing() -> None:
    pixels = mixed(700, 500)
    async with serving(FramebufferGuest(700, 500, pixels)) as server, viewing(server) as session:
        await session.display.ready()
        assert session.display.screenshot().rgb == rgb(pixels)


async def test_the_first_picture_that_is_shown_is_complete() -> None:
    pixels = photo(1300, 800)
    async with serving(FramebufferGuest(1300, 800, pixels)) as server, viewing(server) as session:
        async for picture in session.display.frames():
            assert picture.rgb == rgb(pixels)
            break


async def test_damage_reaches_the_viewer() -> None:
    pixels = mixed(640, 480)
    guest = FramebufferGuest(640, 480, pixels)
    async with serving(guest) as server, viewing(server) as session:
        await shows(session, pixels)
        for step in range(20):
            left, top = int(RANDOM.integers(0, 600)), int(RANDOM.integers(0, 440))
            pixels[top : top + 40, left : left + 40] = step * 0x0A0501
            guest.damage(left, top, 40, 40)
            await shows(session, pixels)


async def test_rows_may_have_padding() -> None:
    padded = np.zeros((200, 320), "<u4")
    padded[:, :300] = mixed(300, 200)
    guest = FramebufferGuest(300, 200, padded, stride=1280)
    async with serving(guest) as server, viewing(server) as session:
        await shows(session, padded[:, :300])
        padded[50:100, 20:40] = 0xFF00FF
        guest.damage(20, 50, 20, 50)
        await shows(session, padded[:, :300])


@pytest.mark.parametrize("compression", ["off", "auto_glz", "auto_lz", "quic", "glz", "lz", "lz4"])
async def test_every_compression_shows_the_same(compression: str) -> None:
    pixels = mixed(800, 600)
    guest = FramebufferGuest(800, 600, pixels)
    async with serving(guest, display=DisplayOptions(compression)) as server, viewing(server) as session:
        await shows(session, pixels)
        pixels[:] = np.roll(pixels[::-1], 100, axis=1)
        guest.damage()
        await shows(session, pixels)
        pixels[10:12, 10:11] ^= 0xFFFFFF
        guest.damage()
        await shows(session, pixels)


async def test_a_viewer_may_prefer_another_compression() -> None:
    pixels = mixed(400, 300)
    guest = FramebufferGuest(400, 300, pixels)
    async with serving(guest) as server, viewing(server) as session:
        for compression in ("off", "quic", "lz", "glz", "lz4", "auto_lz", "auto_glz"):
            session.display.prefer(compression)
            pixels[:] = pixels[::-1] ^ 0x111111
            guest.damage()
            await shows(session, pixels)


async def test_loss_is_made_good_once_the_screen_is_still() -> None:
    pixels = photo(640, 480)
    guest = FramebufferGuest(640, 480, pixels)
    async with serving(guest, display=DisplayOptions(jpeg="always")) as server, viewing(server) as session:
        await session.display.ready()
        assert session.display.screenshot().rgb != rgb(pixels)
        await shows(session, pixels)


async def test_a_scroll() -> None:
    page = text(500, 2000)
    pixels = page[:400].copy()
    guest = FramebufferGuest(500, 400, pixels)
    async with serving(guest) as server, viewing(server) as session:
        await shows(session, pixels)
        for top in range(30, 300, 30):
            pixels[:] = page[top : top + 400]
            guest.damage()
            await shows(session, pixels)
        pixels[:370] = pixels[30:].copy()
        guest.display.copy(0, 0, 500, 370, 0, -30)
        await shows(session, pixels)


async def test_other_sizes() -> None:
    pixels = mixed(640, 480)
    guest = FramebufferGuest(640, 480, pixels)
    async with serving(guest) as server, viewing(server) as session:
        await shows(session, pixels)
        for width, height in ((800, 600), (31, 17), (1, 1), (1024, 768), (1024, 768)):
            pixels = mixed(width, height) if width > 40 else photo(width, height)
            guest.show(width, height, pixels)
            await shows(session, pixels)


async def test_a_guest_that_shows_nothing_at_first() -> None:
    guest = FramebufferGuest(0, 0)
    async with serving(guest) as server, viewing(server) as session:
        pixels = mixed(320, 200)
        guest.show(320, 200, pixels)
        await shows(session, pixels)
        guest.show(0, 0)
        guest.show(200, 320, other := mixed(200, 320))
        await shows(session, other)


async def test_two_displays() -> None:
    left, right = mixed(640, 480), mixed(320, 600)
    guest = Guest(Display(640, 480, left), Display(320, 600, right))
    async with serving(guest, display=DisplayOptions("glz")) as server, viewing(server) as session:
        await session.displays[1].ready()
        await shows(session, left)
        await shows(session, right, 1)
        for _ in range(5):
            left[:] = left[::-1] ^ 3
            right[:] = np.roll(right, 7, axis=1) ^ 5
            for display in guest.displays:
                display.damage()
            await shows(session, left)
            await shows(session, right, 1)


async def test_two_viewers() -> None:
    pixels = mixed(640, 480)
    guest = FramebufferGuest(640, 480, pixels)
    async with serving(guest) as server, viewing(server) as one:
        await shows(one, pixels)
        pixels[100:200] ^= 0x123456
        guest.damage(0, 100, 640, 100)
        async with viewing(server) as other:
            for _ in range(5):
                await shows(one, pixels)
                await shows(other, pixels)
                pixels[:] = np.roll(pixels, 40, axis=0)
                pixels[:40] ^= 0x1234
                guest.damage()
        await shows(one, pixels)


async def test_a_viewer_that_stops_reading_costs_others_nothing() -> None:
    pixels = photo(1280, 800)
    guest = FramebufferGuest(1280, 800, pixels)
    async with serving(guest, display=DisplayOptions("off", streaming="off")) as server, viewing(server) as stuck:
        await shows(stuck, pixels)
        (viewer,) = server.viewers.values()
        channel = viewer.channels[ChannelType.DISPLAY, 0]
        assert isinstance(channel, DisplayChannel)
        stuck.display.connection._transport.pause_reading()
        async with viewing(server) as other:
            for _ in range(12):
                pixels ^= 0x030507
                guest.damage()
                await shows(other, pixels)
            assert channel.flow.queued <= 4 * CELL_WIDTH * CELL_HEIGHT + 1000
            assert not channel.flow.room
            assert len(channel.backlog.dirty.boxes) <= MAX_BOXES
        stuck.display.connection._transport.resume_reading()
        await shows(stuck, pixels)
