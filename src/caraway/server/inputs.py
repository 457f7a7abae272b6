"""The inputs channel: keys and pointer of a viewer, for the guest (spec/messages.md 4)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from caraway.errors import LinkError, ProtocolError
from caraway.server.channel import ServerChannel
from caraway.server.connection import Connection
from caraway.wire.capabilities import Capabilities, InputsCapability
from caraway.wire.constants import ChannelType
from caraway.wire.framing import Frame
from caraway.wire.messages.common import MigrateFlags, MigrateFlushMark
from caraway.wire.messages.handlers import handles
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
from caraway.wire.messages.main import MouseModes
from caraway.wire.messages.migrate_data import BLOB_VERSION, InputsMigrateData

if TYPE_CHECKING:
    from caraway.server.agent import Agent
    from caraway.server.viewer import Viewer
    from caraway.wire.messages.migrate_data import MigrateDataBlob

MOTIONS_PER_ACK = 4
"""Motions or positions for each acknowledgement: the protocol's own number."""

MAX_HELD = 512
"""Messages that wait for a guest between two hosts. A person does less in the seconds that this takes."""

MAX_HELD_SIZE = 1024
"""Bytes that tell what a viewer holds down: no keyboard has so many keys."""

LOCKS_SETTLE = 2.0
"""Seconds that the guest has to show lamps as a viewer wants them, before it is told how they are."""

EXTENDED, RELEASED = 0xE0, 0x80
PAUSE = b"\xe1\x1d\x45\xe1\x9d\xc5"
"""Pause has no release of its own: it is one sequence."""

LOCK_KEYS = {
    KeyboardModifiers.SCROLL_LOCK: 0x46,
    KeyboardModifiers.NUM_LOCK: 0x45,
    KeyboardModifiers.CAPS_LOCK: 0x3A,
}


class InputsChannel(ServerChannel):
    """What a viewer does with keyboard and pointer. Of one that may only look, nothing reaches the guest."""

    channel_type = ChannelType.INPUTS
    capabilities = Capabilities([InputsCapability.KEY_SCANCODE])
    max_size = 2048
    migrate_flags = MigrateFlags.NEED_FLUSH | MigrateFlags.NEED_DATA_TRANSFER

    def __init__(self, viewer: Viewer, id: int, connection: Connection) -> None:
        super().__init__(viewer, id, connection)
        self._held_keys: dict[bytes, None] = {}
        self._buttons = MouseButtons(0)
        self._place = (0, 0, 0)
        """Of the pointer, as the agent was told: display, x, y."""
        self._motions = 0
        self._settling: asyncio.TimerHandle | None = None
        self._held: deque[Frame] = deque()
        """What the guest is to be told once it runs."""

    def start(self) -> None:
        self.send(Init(self.guest.leds))
        self._follow()

    def restore(self, state: MigrateDataBlob | None) -> None:
        assert isinstance(state, InputsMigrateData)
        self.send(KeyModifiers(self.guest.leds))
        for _ in range(state.motion_count // MOTIONS_PER_ACK):
            self.send(MouseMotionAck())
        self._motions = state.motion_count % MOTIONS_PER_ACK
        self._follow()

    def state(self) -> bytes:
        return InputsMigrateData(BLOB_VERSION, self._motions % MOTIONS_PER_ACK).pack()

    def held(self) -> bytes:
        keys = b"".join(self._held_keys)
        return self._buttons.to_bytes(2, "little") + keys if keys or self._buttons else b""

    def hold(self, data: bytes) -> None:
        if not 2 <= len(data) <= MAX_HELD_SIZE:
            raise ProtocolError(f"{self.name}: {len(data)} bytes of keys held down")
        self._buttons = MouseButtons(int.from_bytes(data[:2], "little")) & ~_WHEEL
        pressed = (_pressed(code) for code in _parted(data[2:]))
        self._held_keys = {key: None for key in pressed if key is not None}

    def _follow(self) -> None:
        self.listen(self.guest.leds_changed, self._leds_changed)
        self.listen(self.guest.running_changed, self._running_changed)

    def hand_over(self) -> bytes | None:
        state = super().hand_over()
        while self._held:
            self._keeps(self._held.popleft())
        return state

    def _keeps(self, frame: Frame) -> bool:
        if super()._keeps(frame):
            return True
        if frame.type in self.before_begin or frame.type == MigrateFlushMark.id:
            return False
        if not (self._held or self.viewer.server.guest_is_away):
            return False
        if len(self._held) < MAX_HELD:
            self._held.append(Frame(frame.type, bytes(frame.body)))
        return True

    def _running_changed(self) -> None:
        if self.guest.running and self._held:
            self.spawn(self._deliver())

    async def _deliver(self) -> None:
        while self._held:
            await self._take(self._held.popleft())

    def closed(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
        if self.viewer.server.departures.moved:
            while self._held:
                self._pass_on(self._held.popleft())
        if self.departed or not self._begun:
            return
        for key in reversed(self._held_keys):
            self.guest.keys(_release(key))
        for button in MouseButton:
            if MouseButtons(1 << button - 1) in self._buttons:
                self._buttons &= ~MouseButtons(1 << button - 1)
                self._release_button(button, self._buttons)

    def _leds_changed(self) -> None:
        if self._settling is None:
            self.send(KeyModifiers(self.guest.leds))

    def _settled(self) -> None:
        self._settling = None
        try:
            self._leds_changed()
        except LinkError as error:
            self.fail(error)

    def _keys(self, scancodes: bytes) -> None:
        """Pass whole scancodes on, and remember which keys are down."""
        if self.viewer.view_only or not scancodes:
            return
        for code in _parted(scancodes):
            pressed = _pressed(code)
            if pressed is not None:
                if code[-1] & RELEASED:
                    self._held_keys.pop(pressed, None)
                else:
                    self._held_keys[pressed] = None
        self.guest.keys(scancodes)

    @handles(KeyDown, KeyUp)
    def _key(self, message: KeyDown | KeyUp) -> None:
        self._keys(message.code.to_bytes(4, "little").partition(b"\0")[0])

    @handles(KeyScancode)
    def _key_scancode(self, message: KeyScancode) -> None:
        self._keys(bytes(message.scancodes))

    @handles(ClientKeyModifiers)
    def _key_modifiers(self, message: ClientKeyModifiers) -> None:
        """The client's lock keys: press those that differ."""
        if self.viewer.view_only:
            return
        wrong = message.modifiers ^ self.guest.leds
        for lamp, key in LOCK_KEYS.items():
            if lamp in wrong:
                self.guest.keys(bytes([key, key | RELEASED]))
        if self._settling is not None:
            self._settling.cancel()
        self._settling = asyncio.get_running_loop().call_later(LOCKS_SETTLE, self._settled)

    @handles(MouseMotion)
    def _mouse_motion(self, message: MouseMotion) -> None:
        self._count()
        if self.viewer.mouse_mode is MouseModes.SERVER and not self.viewer.view_only:
            self.guest.pointer_moved(message.dx, message.dy, message.buttons_state)

    @handles(MousePosition)
    def _mouse_position(self, message: MousePosition) -> None:
        self._count()
        displays = self.guest.displays
        if self.viewer.mouse_mode is not MouseModes.CLIENT or self.viewer.view_only:
            return
        if message.display_id < len(displays):
            display = displays[message.display_id]
            if message.x < display.width and message.y < display.height:
                if self._by_agent:
                    self._place = (message.display_id, message.x, message.y)
                    self._agent.place_pointer(*self._place, message.buttons_state)
                else:
                    self.guest.pointer_placed(display, message.x, message.y, message.buttons_state)

    @handles(MousePress)
    def _mouse_press(self, message: MousePress) -> None:
        if not self.viewer.view_only and message.button in _BUTTONS:
            self._buttons = message.buttons_state & ~_WHEEL
            self._press_button(MouseButton(message.button), message.buttons_state)

    @handles(MouseRelease)
    def _mouse_release(self, message: MouseRelease) -> None:
        if not self.viewer.view_only and message.button in _BUTTONS:
            self._buttons = message.buttons_state & ~_WHEEL
            self._release_button(MouseButton(message.button), message.buttons_state)

    @property
    def _agent(self) -> Agent:
        return self.viewer.server.agent

    @property
    def _by_agent(self) -> bool:
        """Whether the agent moves the pointer: the guest has nothing else that takes positions."""
        absolute = self.viewer.mouse_mode is MouseModes.CLIENT
        return absolute and not self.guest.absolute_pointer and self._agent.gives_pointer

    def _press_button(self, button: MouseButton, buttons: MouseButtons) -> None:
        if self._by_agent:
            self._agent.place_pointer(*self._place, buttons | MouseButtons(1 << button - 1))
        else:
            self.guest.button_pressed(button, buttons)

    def _release_button(self, button: MouseButton, buttons: MouseButtons) -> None:
        if self._by_agent:
            self._agent.place_pointer(*self._place, buttons & ~MouseButtons(1 << button - 1))
        else:
            self.guest.button_released(button, buttons)

    def _count(self) -> None:
        self._motions += 1
        if self._motions % MOTIONS_PER_ACK == 0:
            self.send(MouseMotionAck())


_BUTTONS = frozenset(MouseButton)
_WHEEL = MouseButtons.UP | MouseButtons.DOWN


def _parted(scancodes: bytes) -> list[bytes]:
    """The scancodes of a sequence, one key each."""
    found, at = [], 0
    while at < len(scancodes):
        size = 3 if scancodes[at] == PAUSE[0] else 2 if scancodes[at] == EXTENDED else 1
        found.append(scancodes[at : at + size])
        at += size
    return found


def _pressed(code: bytes) -> bytes | None:
    """The scancode of a key going down, for one that goes down or up; None for what cannot be held."""
    if len(code) > 2 or code[0] == PAUSE[0] or code == bytes([EXTENDED]):
        return None
    return code[:-1] + bytes([code[-1] & ~RELEASED])


def _release(pressed: bytes) -> bytes:
    return pressed[:-1] + bytes([pressed[-1] | RELEASED])
