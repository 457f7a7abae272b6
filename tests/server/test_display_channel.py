import asyncio
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.errors import LinkError, ProtocolError
from caraway.server import capture, damage, display, encoder, scroll
from caraway.server.display_options import DisplayOptions
from caraway.server.guest import Display
from caraway.wire.messages.common import SetAck
from caraway.wire.messages.display import (
    Init,
    InvalAllPalettes,
    Mark,
    MonitorsConfig,
    StreamDestroyAll,
    SurfaceCreate,
    SurfaceDestroy,
)
from caraway.wire.messages.draw import CopyBits, DrawCopy, DrawFill
from caraway.wire.messages.images import GlzImage, JpegImage
from support.viewers import StubServer, StubViewer

WIDTH, HEIGHT = 96, 64


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small displays have many cells, and content is looked for."""
    monkeypatch.setattr(damage, "CELL_WIDTH", 32)
    monkeypatch.setattr(damage, "CELL_HEIGHT", 16)
    monkeypatch.setattr(damage, "_SMALL_WASTE", 16)
    monkeypatch.setattr(encoder, "_SMALLEST_JPEG", 64)
    monkeypatch.setattr(scroll, "MIN_PIXELS", 256)
    monkeypatch.setattr(scroll, "_STRIP", 16)
    monkeypatch.setattr(capture, "_GAP", 8)
    monkeypatch.setattr(capture, "_BAND", 8)
    monkeypatch.setattr(capture, "MIN_INTERVAL", 0)
    monkeypatch.setattr(capture, "REST", 0)
    monkeypatch.setattr(display, "REFINE_DELAY", 0)


def lines(width: int, height: int, seed: int) -> np.ndarray:
    """Lines that differ from each other; those of odd seeds have no flat parts."""
    random = np.random.default_rng(seed)
    run = 1 if seed % 2 else 8
    return random.integers(0, 1 << 24, (height, -(-width // run)), "<u4").repeat(run, axis=1)[:, :width].copy()


async def becomes(viewer: StubViewer, pixels: np.ndarray) -> None:
    """Sooner or later the viewer has these pixels."""
    await viewer.until(lambda: viewer.pixels is not None and np.array_equal(viewer.pixels, pixels & 0xFFFFFF))


places = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(1, 40), st.integers(1, 30))
moves = st.tuples(places, st.integers(-20, 20), st.integers(-20, 20))
small_changes = st.one_of(
    st.tuples(st.just("paint"), places, st.booleans()),
    st.tuples(st.just("copy"), moves, st.booleans()),
    st.tuples(st.just("copy"), moves, st.booleans()),
    st.tuples(st.just("lie"), moves, st.booleans()),
)
readers = st.tuples(st.sampled_from(["stop", "go on"]), st.integers(0, 2), st.booleans())
large_changes = st.one_of(
    st.tuples(st.just("scroll"), st.integers(-20, 20), st.booleans()),
    st.tuples(st.just("resize"), st.tuples(st.integers(1, 120), st.integers(1, 80)), st.booleans()),
)
step = st.integers(0, 19).flatmap(lambda one: large_changes if one == 19 else readers if one > 15 else small_changes)
steps = st.lists(st.tuples(step, st.integers(0, 5)), min_size=5, max_size=30)


@settings(max_examples=60)
@given(
    steps,
    st.sampled_from(["auto_glz", "auto_lz", "glz", "lz", "quic", "off", "lz4"]),
    st.sampled_from(["never", "always"]),
)
def test_viewers_have_the_guests_pixels_in_the_end(steps: list, compression: str, jpeg: str) -> None:
    asyncio.run(play(steps, DisplayOptions(compression, jpeg)))


async def play(steps: list, options: DisplayOptions) -> None:
    pixels = lines(WIDTH, HEIGHT, 0)
    shown = Display(WIDTH, HEIGHT, pixels)
    server = StubServer(shown, options=options)
    viewers = [StubViewer(server, window_pixels=4000) for _ in range(3)]
    for viewer in viewers:
        await becomes(viewer, pixels)
    viewers[2].stop()
    for seed, ((what, how, exact), turns) in enumerate(steps):
        match what:
            case "paint":
                left, top, width, height = how
                pixels[top : top + height, left : left + width] = lines(WIDTH, HEIGHT, seed + 1)[
                    : len(pixels[top : top + height]), : pixels[:, left : left + width].shape[1]
                ]
                shown.damage(*(how if exact else ()))
            case "copy" | "lie":
                (left, top, width, height), dx, dy = how
                right, bottom = min(left + width, shown.width), min(top + height, shown.height)
                if right <= left or bottom <= top:
                    continue
                dx, dy = max(right - shown.width, min(dx, left)), max(bottom - shown.height, min(dy, top))
                if what == "copy":
                    source = pixels[top - dy : bottom - dy, left - dx : right - dx].copy()
                    pixels[top:bottom, left:right] = source
                shown.copy(left, top, right - left, bottom - top, dx, dy)
            case "scroll":
                pixels[:] = np.roll(pixels, how, axis=0 if exact else 1)
                shown.damage()
            case "stop":
                viewers[how].stop()
            case "go on":
                viewers[how].go_on()
            case "resize":
                width, height = how
                pixels = lines(width, height, seed)
                shown.show(width, height, pixels)
        for _ in range(turns):
            await asyncio.sleep(0)
    for viewer in viewers:
        viewer.go_on()
    for viewer in viewers:
        await becomes(viewer, pixels)
    for viewer in viewers:
        await viewer.leave()


def kinds(viewer: StubViewer) -> list[type]:
    return [type(message) for message in viewer.connection.sent if not isinstance(message, SetAck)]


async def test_a_start_is_told_in_order() -> None:
    viewer = StubViewer(StubServer(Display(WIDTH, HEIGHT, lines(WIDTH, HEIGHT, 0))))
    await viewer.until(lambda: Mark in kinds(viewer))
    said = kinds(viewer)
    assert said[:2] == [InvalAllPalettes, SurfaceCreate]
    assert set(said[2:-2]) == {DrawCopy}
    assert said[-2:] == [MonitorsConfig, Mark]
    await viewer.leave()


async def test_a_display_without_pixels_is_not_told_of() -> None:
    shown = Display()
    viewer = StubViewer(StubServer(shown))
    shown.damage()
    for _ in range(5):
        await asyncio.sleep(0)
    assert kinds(viewer) == [InvalAllPalettes]
    await viewer.leave()


async def test_another_size_is_told_in_order_and_shown_once_complete() -> None:
    pixels = lines(WIDTH, HEIGHT, 0)
    shown = Display(WIDTH, HEIGHT, pixels)
    viewer = StubViewer(StubServer(shown))
    await becomes(viewer, pixels)
    viewer.connection.sent.clear()
    shown.show(50, 40, lines(50, 40, 1))
    await viewer.until(lambda: Mark in kinds(viewer))
    said = kinds(viewer)
    assert said[:4] == [SurfaceDestroy, InvalAllPalettes, StreamDestroyAll, SurfaceCreate]
    assert set(said[4:-2]) == {DrawCopy}
    await viewer.leave()


async def test_other_pixels_of_the_same_size_need_no_other_surface() -> None:
    pixels = lines(WIDTH, HEIGHT, 0)
    shown = Display(WIDTH, HEIGHT, pixels)
    viewer = StubViewer(StubServer(shown))
    await becomes(viewer, pixels)
    viewer.connection.sent.clear()
    other = pixels.copy()
    other[3, 5] ^= 1
    shown.show(WIDTH, HEIGHT, other)
    await becomes(viewer, other)
    (drawing,) = viewer.connection.sent
    assert isinstance(drawing, DrawCopy | DrawFill)
    assert (drawing.box.left, drawing.box.top, drawing.box.right, drawing.box.bottom) == (5, 3, 6, 4)
    await viewer.leave()


async def test_what_has_not_changed_is_not_sent() -> None:
    pixels = lines(WIDTH, HEIGHT, 0)
    shown = Display(WIDTH, HEIGHT, pixels)
    viewer = StubViewer(StubServer(shown))
    await becomes(viewer, pixels)
    viewer.connection.sent.clear()
    for _ in range(5):
        shown.damage()
        await asyncio.sleep(0.001)
    assert viewer.connection.sent == []
    await viewer.leave()


async def test_a_scroll_is_a_copy_and_what_is_new() -> None:
    page = lines(WIDTH, 4 * HEIGHT, 3)
    pixels = page[:HEIGHT].copy()
    shown = Display(WIDTH, HEIGHT, pixels)
    viewer = StubViewer(StubServer(shown))
    await becomes(viewer, pixels)
    viewer.connection.sent.clear()
    pixels[:] = page[10 : 10 + HEIGHT]
    shown.damage()
    await becomes(viewer, pixels)
    assert isinstance(viewer.connection.sent[0], CopyBits)
    assert sum(m.box.width * m.box.height for m in viewer.connection.sent if isinstance(m, DrawCopy)) == 10 * WIDTH
    await viewer.leave()


async def test_a_hint_spares_looking() -> None:
    pixels = lines(WIDTH, HEIGHT, 3)
    shown = Display(WIDTH, HEIGHT, pixels)
    viewer = StubViewer(StubServer(shown))
    await becomes(viewer, pixels)
    viewer.connection.sent.clear()
    pixels[20:40, 30:60] = pixels[10:30, 0:30].copy()
    shown.copy(30, 20, 30, 20, 30, 10)
    await becomes(viewer, pixels)
    assert kinds(viewer) == [CopyBits]
    await viewer.leave()


async def test_a_viewer_that_stops_reading_keeps_nobody_waiting_and_nothing_queued() -> None:
    pixels = lines(WIDTH, HEIGHT, 0)
    shown = Display(WIDTH, HEIGHT, pixels)
    server = StubServer(shown)
    slow, quick = StubViewer(server), StubViewer(server)
    await becomes(slow, pixels)
    slow.stop()
    before = slow.connection.sent_bytes
    for seed in range(200):
        pixels[:] = lines(WIDTH, HEIGHT, seed)
        shown.damage()
        await becomes(quick, pixels)
    assert slow.channel.flow.queued == 0
    assert slow.connection.sent_bytes == before
    assert sys.getsizeof(slow.channel.backlog.dirty.boxes) < 1000
    slow.go_on()
    await becomes(slow, pixels)
    assert slow.connection.sent_bytes - before < 2 * 4 * WIDTH * HEIGHT
    for viewer in (slow, quick):
        await viewer.leave()


async def test_viewers_share_what_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    encode = capture.encode
    monkeypatch.setattr(capture, "encode", lambda *args: encoded.append(args) or encode(*args))
    pixels = lines(WIDTH, HEIGHT, 0)
    shown = Display(WIDTH, HEIGHT, pixels)
    server = StubServer(shown)
    viewers = [StubViewer(server) for _ in range(10)]
    for viewer in viewers:
        await becomes(viewer, pixels)
    encoded.clear()
    for seed in range(5):
        pixels[:] = lines(WIDTH, HEIGHT, 100 + seed)
        shown.damage()
        for viewer in viewers:
            await becomes(viewer, pixels)
    assert len(encoded) == 5 * (WIDTH // 32) * (HEIGHT // 16)
    for viewer in viewers:
        await viewer.leave()


async def test_a_display_without_viewers_costs_nothing() -> None:
    shown = Display(WIDTH, HEIGHT)
    server = StubServer(shown)
    viewers = [StubViewer(server), StubViewer(server)]
    assert len(shown.damaged) == 1
    for viewer in viewers:
        await viewer.leave()
    assert len(shown.damaged) == len(shown.copied) == len(shown.resized) == 0
    assert server.captures[shown].box.width == 0


async def test_displays_of_a_viewer_share_their_dictionary() -> None:
    server = StubServer(Display(WIDTH, HEIGHT), Display(WIDTH, HEIGHT), options=DisplayOptions("glz"))
    viewer = StubViewer(server)
    viewer.channels[2, 0] = viewer.channel
    other = StubViewer(server)
    other.channels[2, 0] = viewer.channel
    assert other.channel._shared_dictionary() is viewer.channel.dictionary
    await viewer.until(lambda: Mark in kinds(viewer))
    images = [m.src_bitmap.payload for m in viewer.connection.sent if isinstance(m, DrawCopy)]
    assert all(isinstance(image, GlzImage) for image in images)
    for each in (viewer, other):
        await each.leave()


@pytest.mark.parametrize("window_pixels", [0, -1, 1 << 26])
async def test_a_window_that_cannot_be_is_done_without(window_pixels: int) -> None:
    pixels = lines(WIDTH, HEIGHT, 0)
    viewer = StubViewer(
        StubServer(Display(WIDTH, HEIGHT, pixels), options=DisplayOptions("glz")), window_pixels=window_pixels
    )
    await becomes(viewer, pixels)
    await viewer.leave()


async def test_a_second_init_is_refused() -> None:
    viewer = StubViewer(StubServer(Display(WIDTH, HEIGHT)))
    with pytest.raises(ProtocolError, match="second INIT"):
        viewer.channel._init(Init(1, 0, 1, 1 << 20))
    await viewer.leave()


async def test_a_client_that_says_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "INIT_DEADLINE", 0)
    monkeypatch.setattr(display.DisplayChannel, "_init", lambda self, message: None)
    viewer = StubViewer(StubServer(Display(WIDTH, HEIGHT)))
    with pytest.raises(LinkError, match="no INIT"):
        await viewer.channel._failed
    await viewer.leave()


async def test_loss_only_where_it_is_wanted() -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    soft = (x * 2 << 16 | y * 3 << 8 | x + y).astype("<u4")
    for when, slow, lossy in (
        ("auto", False, False),
        ("auto", True, True),
        ("always", False, True),
        ("never", True, False),
    ):
        server = StubServer(Display(WIDTH, HEIGHT, soft), options=DisplayOptions(jpeg=when))
        viewer = StubViewer(server)
        viewer.low_bandwidth = slow
        await becomes(viewer, soft)
        images = [m.src_bitmap.payload for m in viewer.connection.sent if isinstance(m, DrawCopy)]
        assert any(isinstance(image, JpegImage) for image in images) == lossy
        await viewer.leave()


async def test_a_viewer_that_lacks_what_is_moved_gets_it_where_it_is_now() -> None:
    pixels = lines(WIDTH, HEIGHT, 0)
    shown = Display(WIDTH, HEIGHT, pixels)
    server = StubServer(shown)
    slow, quick = StubViewer(server), StubViewer(server)
    await becomes(slow, pixels)
    slow.stop()
    pixels[10:20, 10:30] = 0x123456
    shown.damage(10, 10, 20, 10)
    await becomes(quick, pixels)
    pixels[35:55, 40:90] = pixels[5:25, 0:50].copy()
    shown.copy(40, 35, 50, 20, 40, 30)
    await becomes(quick, pixels)
    slow.go_on()
    await becomes(slow, pixels)
    assert CopyBits in kinds(slow)
    for viewer in (slow, quick):
        await viewer.leave()
