"""The embedded guest: what it draws and says, that it is deterministic, and that its state can move."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caraway.qemu
from caraway.canvas.region import Box
from caraway.client.keyboard import KEYS, strokes
from caraway.embedded import EmbeddedGuest, font, sound
from caraway.embedded.keyboard import events
from caraway.embedded.memory import PAGE, Memory
from caraway.embedded.seen import Button, Key, Moved, Placed
from caraway.errors import ProtocolError
from caraway.wire.messages.inputs import KeyboardModifiers, MouseButton, MouseButtons

SIZE = (640, 480)


def scancodes(code: int, *, down: bool) -> bytes:
    data = code.to_bytes((code.bit_length() + 7) // 8, "big")
    return data if down else data[:-1] + bytes([data[-1] | 0x80])


def press(guest: EmbeddedGuest, *codes: int) -> None:
    for code in codes:
        guest.keys(scancodes(code, down=True))
    for code in reversed(codes):
        guest.keys(scancodes(code, down=False))


def type_text(guest: EmbeddedGuest, text: str) -> None:
    for codes in strokes(text):
        press(guest, *codes)


def picture(guest: EmbeddedGuest) -> bytes:
    return bytes(guest.display.pixels)[: 4 * guest.display.width * guest.display.height]


class Viewer:
    """Has the picture that damage and copies tell of."""

    def __init__(self, guest: EmbeddedGuest) -> None:
        self.guest = guest
        self.boxes: list[Box] = []
        self.copies: list[Box] = []
        self.pixels = bytearray(picture(guest))
        guest.display.damaged.connect(self.damaged)
        guest.display.copied.connect(self.copied)
        guest.display.resized.connect(self.resized)

    def resized(self) -> None:
        self.pixels = bytearray(picture(self.guest))

    def damaged(self, box: Box) -> None:
        self.boxes.append(box)
        self.fetch(box, self.guest.display.pixels, 0, 0)

    def copied(self, box: Box, dx: int, dy: int) -> None:
        self.copies.append(box)
        self.fetch(box, bytes(self.pixels), dx, dy)

    def fetch(self, box: Box, source: bytes | memoryview, dx: int, dy: int) -> None:
        stride = 4 * self.guest.display.width
        for y in range(box.top, box.bottom):
            at, start = y * stride + 4 * box.left, (y - dy) * stride + 4 * (box.left - dx)
            self.pixels[at : at + 4 * box.width] = source[start : start + 4 * box.width]


@pytest.fixture
def guest() -> EmbeddedGuest:
    return EmbeddedGuest(*SIZE)


def busy(guest: EmbeddedGuest) -> None:
    """Do some of everything."""
    type_text(guest, "first line\n" + "more\n" * 40 + "Last")
    guest.video, guest.tone = 2, True
    guest.pointer_placed(guest.display, 300, 300, MouseButtons(0))
    guest.button_pressed(MouseButton.LEFT, MouseButtons.LEFT)
    guest.copy("a text")
    press(guest, KEYS["capslock"])
    for _ in range(60):
        guest.tick()
    type_text(guest, "\n\nwith video\n")


def test_damage_and_copies_tell_all_that_has_changed(guest: EmbeddedGuest) -> None:
    viewer = Viewer(guest)
    busy(guest)
    assert viewer.copies
    assert viewer.pixels == picture(guest)


def test_the_picture_is_what_painting_all_of_it_gives(guest: EmbeddedGuest) -> None:
    busy(guest)
    before = picture(guest)
    guest._update(guest.display.box)
    assert picture(guest) == before


def test_a_tick_changes_some_digits_only(guest: EmbeddedGuest) -> None:
    viewer = Viewer(guest)
    guest.tick()
    (box,) = viewer.boxes
    assert box.width * box.height < 4000


def test_a_ticking_second_touches_no_more_than_counter_and_clock(guest: EmbeddedGuest) -> None:
    viewer = Viewer(guest)
    for _ in range(25):
        guest.tick()
    assert len(viewer.boxes) == 26
    assert guest.ticks == 25


@pytest.mark.parametrize("size", [(320, 200), (640, 480), (1001, 603), (1280, 800), (1920, 1080)])
def test_video_is_large_and_each_frame_differs(size: tuple[int, int]) -> None:
    guest = EmbeddedGuest(*size)
    guest.video = 1
    viewer = Viewer(guest)
    pictures = set()
    for _ in range(5):
        guest.tick()
        pictures.add(zlib.crc32(picture(guest)))
    assert len(pictures) == 5
    largest = max(viewer.boxes, key=lambda box: box.width * box.height)
    assert largest.width >= 200
    assert largest.height >= 150 or size[1] < 300


def test_same_ticks_and_input_make_the_same_picture() -> None:
    guests = [EmbeddedGuest(*SIZE), EmbeddedGuest(*SIZE)]
    for guest in guests:
        busy(guest)
    assert picture(guests[0]) == picture(guests[1])
    assert guests[0].state() == guests[1].state()


async def test_run_ticks_until_cancelled(guest: EmbeddedGuest) -> None:
    ticked = asyncio.Event()
    guest.display.damaged.connect(lambda box: ticked.set())
    task = asyncio.create_task(guest.run())
    await ticked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert guest.ticks >= 1


@settings(max_examples=20, deadline=None)
@given(st.text([chr(code) for code in range(32, 127)], max_size=30))
def test_what_is_typed_appears(text: str) -> None:
    guest = EmbeddedGuest(320, 200)
    guest._model.terminal.columns = 80
    type_text(guest, text)
    assert guest.typed == text


def test_keys_edit_and_lock(guest: EmbeddedGuest) -> None:
    leds: list[KeyboardModifiers] = []
    guest.leds_changed.connect(lambda: leds.append(guest.leds))
    type_text(guest, "ab")
    press(guest, KEYS["backspace"])
    press(guest, KEYS["capslock"])
    type_text(guest, "xY1")
    press(guest, KEYS["kp_5"])
    press(guest, KEYS["numlock"])
    press(guest, KEYS["kp_5"])
    assert guest.typed == "aXy15"
    assert leds == [KeyboardModifiers.NUM_LOCK | KeyboardModifiers.CAPS_LOCK, KeyboardModifiers.CAPS_LOCK]


def test_a_key_that_repeats_types_again_but_switches_once(guest: EmbeddedGuest) -> None:
    guest.keys(b"\x1e\x1e\x1e\x9e")
    guest.keys(b"\x3d\x3d\x3d\xbd")
    guest.keys(b"\x3a\x3a\xba")
    assert guest.typed == "aaa"
    assert guest.tone
    assert guest.leds & KeyboardModifiers.CAPS_LOCK


def test_scancodes_are_taken_apart() -> None:
    assert list(events(b"\xe0\x1d\xe0\x9d\xe1\x1d\x45\xe1\x9d\xc5\x1e\xe0")) == [
        (0xE01D, True),
        (0xE01D, False),
        (0xE11D45, True),
        (0xE11D45, False),
        (0x1E, True),
    ]


def test_what_was_seen_is_in_order(guest: EmbeddedGuest) -> None:
    press(guest, KEYS["altgr"])
    guest.pointer_placed(guest.display, 5, 6, MouseButtons(0))
    guest.pointer_moved(-9, 3, MouseButtons.LEFT)
    guest.button_pressed(MouseButton.UP, MouseButtons.UP)
    guest.button_released(MouseButton.UP, MouseButtons(0))
    assert list(guest.seen) == [
        Key(0xE038, True),
        Key(0xE038, False),
        Placed(5, 6, MouseButtons(0)),
        Moved(-9, 3, MouseButtons.LEFT),
        Button(MouseButton.UP, True),
        Button(MouseButton.UP, False),
    ]
    assert guest.display.cursor_position == (0, 9)
    assert len(guest.seen.keys) == 2
    assert len(guest.seen.pointer) == 4


def test_the_pointer_is_an_arrow_with_alpha(guest: EmbeddedGuest) -> None:
    cursor = guest.display.cursor
    assert cursor is not None
    assert guest.display.cursor_visible
    alphas = set(cursor.bgra[3::4])
    assert {0, 255} < alphas
    assert all(color <= alpha for color, alpha in zip(cursor.bgra[::4], cursor.bgra[3::4], strict=True))


def test_the_tone_is_of_440_hz_without_a_seam(guest: EmbeddedGuest) -> None:
    heard = bytearray()
    assert guest.playback is not None
    guest.playback.data.connect(heard.extend)
    press(guest, KEYS["f3"])
    for _ in range(25):
        guest.tick()
    left = memoryview(bytes(heard)).cast("h")[::2].tolist()
    assert len(left) == guest.playback.frequency
    rising = sum(before < 0 <= after for before, after in itertools.pairwise(left))
    assert rising in (439, 440)
    step = max(abs(after - before) for before, after in itertools.pairwise(left))
    assert step < 360
    assert guest.playback.playing
    press(guest, KEYS["f3"])
    assert not guest.playback.playing


def test_what_is_heard_is_measured(guest: EmbeddedGuest) -> None:
    viewer = Viewer(guest)
    press(guest, KEYS["f4"])
    assert guest.record is not None
    assert guest.record.recording
    viewer.boxes.clear()
    guest.record.received(b"\xff\x7f" * 960)
    guest.tick()
    assert guest.level == sound.LEVELS
    assert len(viewer.boxes) == 2
    guest.tick()
    assert guest.level == sound.LEVELS - 1
    press(guest, KEYS["f4"])
    assert not guest.record.recording


def test_levels_grow_with_loudness() -> None:
    levels = [sound.level(volume.to_bytes(2, "little", signed=True) * 100) for volume in (0, 1, 30, 1000, 32767)]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert levels[-1] == sound.LEVELS
    assert sound.level(b"") == sound.level(b"\1") == 0


def test_the_echo_port_gives_back_and_heeds_a_slow_viewer(guest: EmbeddedGuest) -> None:
    written: list[bytes] = []
    port = guest.echo
    port.output.connect(written.append)
    port.received(b"hello")
    assert written == [b"hello"]
    port.flooded = True
    port.received(b"more")
    assert port.paused
    port.flooded = False
    port.drained()
    assert not port.paused


def test_while_paused_nothing_happens(guest: EmbeddedGuest) -> None:
    guest.tone = guest.microphone = True
    guest.tick()
    before = picture(guest)
    guest.pause()
    guest.tick()
    type_text(guest, "lost")
    guest.pointer_placed(guest.display, 1, 1, MouseButtons(0))
    assert guest.playback is not None
    assert guest.record is not None
    assert (picture(guest), list(guest.seen), guest.ticks) == (before, [], 1)
    assert not guest.playback.playing
    assert not guest.record.recording
    guest.resume()
    guest.tick()
    assert guest.playback.playing
    assert guest.record.recording


def test_resizing(guest: EmbeddedGuest) -> None:
    sizes: list[tuple[int, int]] = []
    guest.display.resized.connect(lambda: sizes.append((guest.display.width, guest.display.height)))
    assert guest.resize(1000, 700)
    assert guest.resize(1000, 700)
    assert not guest.resize(100, 100)
    assert not guest.resize(8192, 8192)
    assert sizes == [(1000, 700)]
    assert any(picture(guest))


def test_a_state_moves_and_goes_on_the_same(guest: EmbeddedGuest) -> None:
    busy(guest)
    other = EmbeddedGuest(800, 600)
    other.pause()
    viewer = Viewer(other)
    other.restore(guest.state())
    assert viewer.pixels == picture(other) == picture(guest)
    assert list(other.seen) == list(guest.seen)
    assert other.leds == guest.leds
    assert other.display.cursor_position == guest.display.cursor_position
    other.resume()
    for each in (guest, other):
        type_text(each, "after\n")
        each.tick()
    assert picture(other) == picture(guest)
    assert other.state() == guest.state()


def test_the_pixels_of_a_state_are_those_of_its_pages(guest: EmbeddedGuest) -> None:
    other = EmbeddedGuest(*SIZE)
    other.memory.page(3)[:] = b"\x55" * PAGE
    other.restore_devices(guest.device_state())
    assert picture(other)[3 * PAGE : 4 * PAGE] == b"\x55" * PAGE


def test_dirty_pages_are_enough_to_follow(guest: EmbeddedGuest) -> None:
    other = EmbeddedGuest(*SIZE)
    for _ in range(3):
        busy(guest)
        for number in guest.memory.take_dirty():
            other.memory.page(number)[:] = guest.memory.page(number)
    assert other.memory.view == guest.memory.view
    guest.tick()
    few = guest.memory.take_dirty()
    assert 0 < len(few) < 4 * SIZE[0] * SIZE[1] // PAGE


def test_a_written_box_dirties_its_pages_only() -> None:
    memory = Memory(64 * PAGE)
    assert len(memory.take_dirty()) == 64
    memory.wrote(Box(0, 2, 1, 3), PAGE)
    memory.wrote(Box(1023, 4, 1025, 5), 2 * PAGE)
    assert memory.take_dirty() == [2, 8, 9]
    assert memory.take_dirty() == []


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_damaged_state_is_refused(data: st.DataObject) -> None:
    guest = EmbeddedGuest(320, 200, memory=1 << 18)
    state = json.loads(guest.device_state())
    part = state
    while isinstance(part, dict):
        name = data.draw(st.sampled_from(sorted(part)))
        if not isinstance(part[name], dict) or data.draw(st.booleans()):
            part[name] = data.draw(st.sampled_from([None, -1, 1 << 40, "x", [], [[1]], {}]))
            break
        part = part[name]
    try:
        guest.restore_devices(json.dumps(state).encode())
    except ProtocolError:
        return
    guest.tick()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2000), st.binary(max_size=8))
def test_a_state_cut_short_or_of_something_else_is_refused(length: int, tail: bytes) -> None:
    guest = EmbeddedGuest(320, 200, memory=1 << 18)
    with pytest.raises(ProtocolError):
        guest.restore(guest.state()[:length] + tail)


def test_the_font_is_that_of_the_demo_guest() -> None:
    header = (Path(caraway.qemu.__file__).parent / "guest" / "font.h").read_text()
    rows = [bytes.fromhex("".join(re.findall(r"0x(..)", line))) for line in header.splitlines() if "{0x" in line]
    assert [font.glyph(chr(code)) for code in range(32, 127)] == rows
    assert font.glyph("ä") == font.glyph("?")


async def test_a_guest_that_goes_on_ticks_at_once() -> None:
    """It does not wait for the time at which the next would have been."""
    guest = EmbeddedGuest(640, 480, rate=1)
    guest.pause()
    running = asyncio.create_task(guest.run())
    for _ in range(3):
        await asyncio.sleep(0)
    assert guest.ticks == 0
    guest.resume()
    for _ in range(3):
        await asyncio.sleep(0)
    assert guest.ticks == 1
    running.cancel()
