"""Keys and pointer of a viewer, as the guest gets them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from caraway.server import inputs as server_inputs
from caraway.wire.constants import ChannelType
from caraway.wire.messages.inputs import (
    ClientKeyModifiers,
    Init,
    KeyboardModifiers,
    KeyDown,
    KeyModifiers,
    KeyScancode,
    KeyUp,
    MouseButton,
    MouseButtons,
    MouseMotion,
    MouseMotionAck,
    MousePosition,
    MousePress,
    MouseRelease,
)
from caraway.wire.messages.main import MouseMode, MouseModeRequest, MouseModes
from support.raw_client import RawChannel, raw_client
from support.serving import SeenGuest, serving

CAPS, NUM = KeyboardModifiers.CAPS_LOCK, KeyboardModifiers.NUM_LOCK
LEFT, RIGHT = MouseButtons.LEFT, MouseButtons.RIGHT


class Viewer:
    def __init__(self, guest: SeenGuest, main: RawChannel, inputs: RawChannel) -> None:
        self.guest, self.main, self.inputs = guest, main, inputs

    async def mode(self, mode: MouseModes) -> None:
        self.main.send(MouseModeRequest(mode))
        assert (await self.main.expect(MouseMode)).current_mode == mode


@pytest.fixture
async def viewer() -> AsyncIterator[Viewer]:
    guest = SeenGuest()
    async with serving(guest) as server, raw_client(server.port) as client:
        main = await client.main()
        inputs = await client.link(ChannelType.INPUTS)
        assert (await inputs.expect(Init)).modifiers == KeyboardModifiers(0)
        yield Viewer(guest, main, inputs)


async def test_scancodes_reach_the_guest_as_they_were_sent(viewer: Viewer) -> None:
    viewer.inputs.send(KeyDown(0x1E), KeyUp(0x9E), KeyDown(0x48E0), KeyUp(0xC8E0), KeyDown(0x451DE1), KeyUp(0xC59DE1))
    viewer.inputs.send(KeyScancode(b"\xe0\x48\xe0\xc8"), KeyDown(0), KeyScancode(b""))
    viewer.inputs.send(KeyDown(0x20))
    keys = [codes for _, codes in await viewer.guest.until_seen(8)]
    assert keys == [
        b"\x1e", b"\x9e", b"\xe0\x48", b"\xe0\xc8", b"\xe1\x1d\x45", b"\xe1\x9d\xc5", b"\xe0\x48\xe0\xc8", b"\x20"
    ]  # fmt: skip


async def test_what_is_held_is_released_when_the_viewer_leaves(viewer: Viewer) -> None:
    viewer.inputs.send(KeyDown(0x2A), KeyDown(0x1DE0), KeyDown(0x1E), KeyUp(0x9E), KeyDown(0x451DE1))
    viewer.inputs.send(MousePress(MouseButton.LEFT, LEFT), MousePress(MouseButton.RIGHT, LEFT | RIGHT))
    viewer.inputs.send(MouseRelease(MouseButton.RIGHT, LEFT), MousePress(MouseButton.UP, LEFT | MouseButtons.UP))
    await viewer.guest.until_seen(9)
    viewer.guest.seen.clear()
    await viewer.inputs.aclose()
    released = await viewer.guest.until_seen(3)
    assert released == [("keys", b"\xe0\x9d"), ("keys", b"\xaa"), ("released", MouseButton.LEFT, MouseButtons(0))]


async def test_lock_keys_are_pressed_where_the_lamps_differ(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_inputs, "LOCKS_SETTLE", 0.0)
    viewer.guest.set_leds(NUM)
    assert (await viewer.inputs.expect(KeyModifiers)).modifiers == NUM
    viewer.inputs.send(ClientKeyModifiers(CAPS))
    pressed = await viewer.guest.until_seen(2)
    assert sorted(codes for _, codes in pressed) == [b"\x3a\xba", b"\x45\xc5"]
    assert (await viewer.inputs.expect(KeyModifiers)).modifiers == NUM


async def test_lamps_that_settle_are_told_once(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_inputs, "LOCKS_SETTLE", 0.2)
    viewer.inputs.send(ClientKeyModifiers(CAPS))
    await viewer.guest.until_seen(1)
    viewer.guest.set_leds(NUM)
    viewer.guest.set_leds(CAPS)
    assert (await viewer.inputs.expect(KeyModifiers)).modifiers == CAPS


async def test_each_mouse_mode_has_its_messages(viewer: Viewer) -> None:
    viewer.inputs.send(MousePosition(1, 2, MouseButtons(0), 0), MouseMotion(3, -4, LEFT))
    assert await viewer.guest.until_seen(1) == [("moved", 3, -4, LEFT)]
    await viewer.mode(MouseModes.CLIENT)
    viewer.inputs.send(MouseMotion(5, 6, LEFT), MousePosition(7, 8, RIGHT, 0))
    assert (await viewer.guest.until_seen(2))[1:] == [("placed", 0, 7, 8, RIGHT)]


@pytest.mark.parametrize("place", [(64, 0, 0), (0, 48, 0), (0, 0, 1), (0xFFFFFFFF, 0, 0), (0, 0, 255)])
async def test_places_outside_are_ignored(viewer: Viewer, place: tuple[int, int, int]) -> None:
    await viewer.mode(MouseModes.CLIENT)
    x, y, display = place
    viewer.inputs.send(MousePosition(x, y, LEFT, display), MousePosition(63, 47, LEFT, 0))
    assert await viewer.guest.until_seen(1) == [("placed", 0, 63, 47, LEFT)]


async def test_every_fourth_motion_is_acknowledged(viewer: Viewer) -> None:
    for _ in range(11):
        viewer.inputs.send(MouseMotion(1, 1, MouseButtons(0)))
    await viewer.inputs.expect(MouseMotionAck)
    await viewer.inputs.expect(MouseMotionAck)
    await viewer.guest.until_seen(11)
    viewer.guest.set_leds(NUM)
    assert isinstance(await viewer.inputs.receive(), KeyModifiers)


async def test_a_guest_without_a_tablet_has_no_client_mode(viewer: Viewer) -> None:
    await viewer.mode(MouseModes.CLIENT)
    viewer.guest.set_absolute_pointer(False)
    told = await viewer.main.expect(MouseMode)
    assert (told.supported_modes, told.current_mode) == (MouseModes.SERVER, MouseModes.SERVER)
    viewer.main.send(MouseModeRequest(MouseModes.CLIENT))
    viewer.inputs.send(MouseMotion(1, 1, MouseButtons(0)))
    assert await viewer.guest.until_seen(1) == [("moved", 1, 1, MouseButtons(0))]


async def test_unknown_buttons_are_ignored(viewer: Viewer) -> None:
    for button in (0, 8, 255):
        viewer.inputs.send_raw(MousePress.id, bytes([button, 255, 255]))
    viewer.inputs.send(MousePress(MouseButton.DOWN, MouseButtons.DOWN))
    assert await viewer.guest.until_seen(1) == [("pressed", MouseButton.DOWN, MouseButtons.DOWN)]


@pytest.mark.parametrize(
    "message", [(KeyDown.id, b"\x1e"), (MousePosition.id, bytes(10)), (199, b""), (104, bytes(2049))]
)
async def test_what_is_no_message_ends_the_channel_alone(viewer: Viewer, message: Any) -> None:
    viewer.inputs.send_raw(*message)
    await viewer.inputs.ended()
    viewer.main.send(MouseModeRequest(MouseModes.CLIENT))
    async with asyncio.timeout(10):
        await viewer.main.expect(MouseMode)
