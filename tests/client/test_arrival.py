"""When the picture of a migration's target replaces that of its source (spec/migration.md 15, D-06 and D-07)."""

import asyncio

import pytest

from caraway.canvas.region import Box
from caraway.canvas.screen import Screen
from caraway.canvas.surface import Surface
from caraway.client.arrival import Arrival, Settling
from caraway.wire.messages.display import SurfaceFormat

WHOLE, LEFT, RIGHT = Box(0, 0, 2, 1), Box(0, 0, 1, 1), Box(1, 0, 2, 1)


class Arriving:
    """A display that showed the red and green picture of the source."""

    def __init__(self) -> None:
        self.screen = Screen()
        self.arrived = asyncio.Event()
        self.screen.begin(picture(b"\1\2\3\0\4\5\6\0"))
        self.screen.mark()
        self.before = self.shown
        self.screen.lost()
        self.arrival = Arrival(self.screen, self.arrived.set, same_size=True)
        self.surface = picture(bytes(8))

    @property
    def shown(self) -> bytes:
        assert self.screen.surface is not None
        return bytes(self.screen.surface.data)

    def begin(self, surface: Surface | None = None) -> None:
        """The target creates and marks its primary."""
        self.surface = surface or self.surface
        self.screen.begin(self.surface)
        self.arrival.begin(self.surface)
        self.arrival.mark()

    def draw(self, pixels: bytes, box: Box) -> None:
        start = 4 * box.left
        self.surface.data[start : start + len(pixels)] = pixels
        self.arrival.drawn([box])

    async def stays(self) -> None:
        """The old picture outlives all deadlines."""
        await asyncio.sleep(0.1)
        assert not self.arrived.is_set()
        assert self.shown == self.before

    async def comes(self) -> None:
        async with asyncio.timeout(10):
            await self.arrived.wait()
        assert self.screen.surface is self.surface


def picture(pixels: bytes) -> Surface:
    surface = Surface(len(pixels) // 4, 1, SurfaceFormat.XRGB32)
    surface.data[:] = pixels
    return surface


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in ("QUIET", 0.01), ("PAINTING", 0.005), ("PATIENCE", 0.03):
        monkeypatch.setattr(f"caraway.client.arrival.{name}", seconds)


async def test_full_drawing_replaces_the_picture_at_once() -> None:
    arriving = Arriving()
    arriving.begin()
    arriving.draw(b"\7\7\7\0\1\1\1\0", WHOLE)
    assert arriving.arrived.is_set()


async def test_parts_on_an_empty_surface_replace_it_once_they_cover_it() -> None:
    arriving = Arriving()
    arriving.screen.begin(arriving.surface)
    arriving.arrival.begin(arriving.surface)
    arriving.draw(bytes(8), WHOLE)
    arriving.arrival.mark()
    arriving.draw(b"\7\7\7\0", LEFT)
    assert not arriving.arrived.is_set()
    arriving.draw(b"\1\1\1\0", RIGHT)
    assert arriving.arrived.is_set()


async def test_part_on_an_empty_surface_is_shown_though_the_guest_goes_on_drawing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("caraway.client.arrival.PATIENCE", 60.0)
    arriving = Arriving()
    arriving.begin()
    arriving.draw(bytes(8), WHOLE)
    async with asyncio.timeout(10):
        while not arriving.arrived.is_set():
            arriving.draw(b"\7\7\7\0", LEFT)
            await asyncio.sleep(0)
    assert arriving.screen.surface is arriving.surface


async def test_what_is_never_drawn_on_never_replaces_it() -> None:
    arriving = Arriving()
    arriving.begin()
    await arriving.stays()
    arriving.draw(b"\7\7\7\0\1\1\1\0", WHOLE)
    await arriving.comes()


async def test_one_colour_of_one_drawing_is_what_a_paused_vm_shows() -> None:
    arriving = Arriving()
    arriving.begin()
    arriving.draw(bytes(8), WHOLE)
    await arriving.stays()
    arriving.draw(b"\7\7\7\0", LEFT)
    await arriving.comes()


async def test_one_colour_of_several_drawings_is_the_guests() -> None:
    arriving = Arriving()
    arriving.begin()
    arriving.draw(bytes(4), LEFT)
    arriving.draw(bytes(4), RIGHT)
    await arriving.comes()


async def test_screen_that_was_of_one_colour_before() -> None:
    arriving = Arriving()
    assert arriving.screen.surface is not None
    arriving.screen.surface.data[:] = bytes(8)
    arriving.begin()
    arriving.draw(bytes(8), WHOLE)
    await arriving.comes()


async def test_part_of_a_picture_has_to_rest() -> None:
    arriving = Arriving()
    arriving.begin()
    arriving.draw(b"\7\7\7\0", LEFT)
    assert not arriving.arrived.is_set()
    await arriving.comes()


async def test_picture_that_never_rests_is_shown_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.arrival.QUIET", 10.0)
    arriving = Arriving()
    arriving.begin(picture(bytes(12)))
    arriving.draw(b"\7\7\7\0", LEFT)
    await arriving.comes()


async def test_surface_that_is_gone_is_not_waited_for() -> None:
    arriving = Arriving()
    arriving.begin()
    arriving.draw(b"\7\7\7\0", LEFT)
    arriving.screen.lost()
    arriving.arrival.begin(None)
    await arriving.stays()


class Moved:
    """A display whose channel went on at the target with the surface that it had."""

    def __init__(self) -> None:
        self.screen = Screen()
        self.surface = Surface(800, 600, SurfaceFormat.XRGB32)
        self.screen.begin(self.surface)
        self.screen.mark()
        self.arrived = asyncio.Event()
        self.settling = Settling(self.screen, self.arrived.set)

    def draw(self, box: Box) -> None:
        start = box.top * self.surface.stride
        self.surface.data[start : start + 8] = b"pixelsss"
        self.settling.drawn([box])

    @property
    def shows_drawing(self) -> bool:
        assert self.screen.surface is not None
        return b"pixels" in self.screen.surface.data


async def test_placeholder_text_is_not_seen_after_a_seamless_move() -> None:
    moved = Moved()
    moved.settling.mark()
    moved.draw(Box(128, 224, 160, 240))
    assert not moved.shows_drawing
    assert not moved.arrived.is_set()
    moved.draw(Box(0, 0, 800, 600))
    assert moved.arrived.is_set()
    assert moved.screen.surface is moved.surface
    assert moved.screen.live


async def test_guest_that_draws_only_where_the_text_would_be() -> None:
    moved = Moved()
    moved.draw(Box(128, 224, 160, 240))
    async with asyncio.timeout(10):
        await moved.arrived.wait()
    assert moved.shows_drawing


async def test_settling_that_is_stopped() -> None:
    moved = Moved()
    moved.draw(Box(128, 224, 160, 240))
    moved.settling.stop()
    await asyncio.sleep(0.1)
    assert not moved.arrived.is_set()
