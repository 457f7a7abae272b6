"""The inputs channel: keys and the mouse (spec/messages.md 4)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal

from caraway.client import keyboard
from caraway.client.channel import Channel, handles
from caraway.client.connection import Connection
from caraway.client.deadline import deadline
from caraway.errors import CarawayError
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.inputs import (
    Init,
    KeyboardModifiers,
    KeyDown,
    KeyModifiers,
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

if TYPE_CHECKING:
    from caraway.client.session import Session

Button = Literal["left", "middle", "right", "side", "extra"]

MOTION_WINDOW = 8
"""Motion messages that may be unacknowledged; beyond it motion is merged."""
MOTION_ACK = 4
"""Motion messages that one MOUSE_MOTION_ACK stands for."""

KEY_INTERVAL = 0.02
"""Seconds between keys of typed text: the keyboard controller of a PC holds 16 bytes, and a guest must empty it."""

UNCERTAIN = 1.0
"""Seconds before input is held during which the VM may have stood still already: QEMU throws away what comes then, and
a key whose release is lost is stuck. Releasing a key twice does no harm."""

MAX_LET_GO = 32
"""Keys that a person releases in that time."""

MAX_HELD = 256
"""Messages kept back while a VM moves; a person presses a handful of keys meanwhile."""

CLIENT_MOUSE_DEADLINE = 3.0
"""Seconds to wait for the mouse mode CLIENT; a guest that has just booted may not have its tablet yet."""


class PointerModeError(CarawayError):
    """The guest has no absolute pointer, so positions mean nothing to it."""


class InputsChannel(Channel):
    """A keyboard and a mouse. What is sent arrives in the order of the calls."""

    channel_type = ChannelType.INPUTS

    def __init__(self, session: Session, id: int, connection: Connection) -> None:
        super().__init__(session, id, connection)
        self.modifiers = KeyboardModifiers(0)
        """The keyboard's lamps, as the guest sets them."""
        self.buttons = MouseButtons(0)
        self.pressed: set[int] = set()
        """Scancodes of the keys held."""
        self._unacknowledged = 0
        self._position: tuple[int, int, int] | None = None
        self._motion = (0, 0)
        self._held: deque[Message] | None = None
        self._uncertain: list[int] = []
        self._dropped: set[int] = set()
        """KEY_UP numbers of presses for which there was no room."""
        self._let_go: deque[tuple[float, int]] = deque(maxlen=MAX_LET_GO)
        """Keys released of late: when, and which."""

    def reset(self) -> None:
        self._unacknowledged = 0

    def hold(self) -> None:
        """Keep keys and buttons back: neither host has a running VM."""
        if self._held is None:
            self._held = deque()
            self._uncertain = [key for when, key in self._let_go if when > time.monotonic() - UNCERTAIN]

    def release(self) -> None:
        """Deliver what was kept back, in its order, behind the releases of which nobody knows whether they arrived."""
        held, self._held = self._held, None
        self._dropped.clear()
        for key in self._uncertain:
            if key not in self.pressed:
                self.send(KeyUp(keyboard.key_up(key)))
        for message in held or ():
            self.send(message)
        self._send_motion()
        self._flush_position()

    def discard(self) -> None:
        """Forget what was kept back."""
        self._held = None

    def send(self, message: Message) -> None:
        if self._held is None:
            super().send(message)
            return
        self.check()
        if self._keeps(message, len(self._held)):
            self._held.append(message)

    def _keeps(self, message: Message, held: int) -> bool:
        """Whether there is room for it; the release of a key is kept if and only if its press was."""
        if isinstance(message, KeyUp):
            return message.code not in self._dropped and held < 2 * MAX_HELD
        if isinstance(message, KeyDown) and held >= MAX_HELD:
            self._dropped.add(keyboard.release_of(message.code))
        return held < MAX_HELD

    async def aclose(self) -> None:
        """Close once the server has read all keys and the last position."""
        with contextlib.suppress(CarawayError):
            self._flush_motion()
            self._flush_position(force=True)
        await self.flush()
        await self.connection.finish()

    # keys

    def key_down(self, key: str | int) -> None:
        """Press a key, by name or scancode; calling it again repeats the key. Raises KeyNameError."""
        code = keyboard.scancode(key) if isinstance(key, str) else key
        self.send(KeyDown(keyboard.key_down(code)))
        self.pressed.add(code)

    def key_up(self, key: str | int) -> None:
        """Release a key."""
        code = keyboard.scancode(key) if isinstance(key, str) else key
        self.send(KeyUp(keyboard.key_up(code)))
        self.pressed.discard(code)
        self._let_go.append((time.monotonic(), code))

    async def press(self, chord: str) -> None:
        """Press keys together, such as `ctrl+alt+delete`, and release them in the opposite order.

        Raises KeyNameError, with the nearest names that there are.
        """
        self._stroke(keyboard.chord(chord))
        await self._sent()

    async def type(self, text: str, *, interval: float = KEY_INTERVAL) -> None:
        """Type text, as keys of a US layout; a lit Caps Lock is made up for.

        interval: seconds between characters.
        Raises KeyNameError, before anything is typed, if a character is on no key.
        """
        caps_lock = bool(self.modifiers & KeyboardModifiers.CAPS_LOCK)
        for number, codes in enumerate(keyboard.strokes(text, caps_lock=caps_lock)):
            if number:
                await asyncio.sleep(interval)
            self._stroke(codes)
        await self._sent()

    @contextlib.asynccontextmanager
    async def holding(self, chord: str) -> AsyncIterator[None]:
        """Hold keys while the block runs."""
        codes = keyboard.chord(chord)
        try:
            for code in codes:
                self.key_down(code)
            yield
        finally:
            for code in reversed(codes):
                if code in self.pressed and self.error is None:
                    self.key_up(code)

    def _stroke(self, codes: list[int]) -> None:
        for code in codes:
            self.key_down(code)
        for code in reversed(codes):
            self.key_up(code)

    # mouse

    async def move(self, x: int, y: int, *, display: int = 0) -> None:
        """Put the pointer on a pixel of a display's primary surface. Raises PointerModeError if the guest cannot."""
        await self._client_mode()
        self._flush_motion()
        self._position = (x, y, display)
        self._flush_position()
        await self._sent()

    async def move_by(self, dx: int, dy: int) -> None:
        """Move the pointer by counts of a mouse; how far it gets is the guest's business."""
        if self.session.main.mouse_mode != MouseModes.SERVER:
            raise PointerModeError(
                f"{self.name}: the pointer is absolute; use move(x, y), or connect(mouse_mode='server')"
            )
        self._motion = (self._motion[0] + dx, self._motion[1] + dy)
        self._send_motion()
        await self._sent()

    async def click(
        self, x: int | None = None, y: int | None = None, button: Button = "left", *, count: int = 1
    ) -> None:
        """Press and release a button, at a pixel or where the pointer is; `count` 2 is a double click."""
        if x is not None and y is not None:
            await self.move(x, y)
        for _ in range(count):
            self.button_down(button)
            self.button_up(button)
        await self._sent()

    async def scroll(self, steps: int) -> None:
        """Turn the wheel: up by positive steps, down by negative ones."""
        wheel = MouseButton.UP if steps > 0 else MouseButton.DOWN
        for _ in range(abs(steps)):
            self._button(wheel, down=True)
            self._button(wheel, down=False)
        await self._sent()

    async def drag(self, start: tuple[int, int], end: tuple[int, int], button: Button = "left") -> None:
        """Press a button at one pixel and release it at another."""
        await self.move(*start)
        self.button_down(button)
        try:
            await self.move(*end)
        finally:
            self.button_up(button)
        await self._sent()

    def button_down(self, button: Button) -> None:
        self._button(MouseButton[button.upper()], down=True)

    def button_up(self, button: Button) -> None:
        self._button(MouseButton[button.upper()], down=False)

    def _button(self, button: MouseButton, *, down: bool) -> None:
        self._flush_motion()
        self._flush_position(force=True)
        bit = MouseButtons(1 << (button - 1))
        if down:
            self.buttons |= bit
            self.send(MousePress(button, self.buttons))
        else:
            self.buttons &= ~bit
            self.send(MouseRelease(button, self.buttons))

    async def _client_mode(self) -> None:
        main = self.session.main
        if not self.session.wants_client_mouse:
            raise PointerModeError(f"{self.name}: the session was made with mouse_mode='server'; use move_by()")
        try:
            async with deadline(CLIENT_MOUSE_DEADLINE, f"{self.name}: the mouse mode CLIENT"):
                while main.mouse_mode != MouseModes.CLIENT:
                    main.mouse_mode_changed.clear()
                    await self.until(main.mouse_mode_changed.wait())
        except TimeoutError:
            raise PointerModeError(
                f"{self.name}: the guest has no absolute pointer (a USB tablet, or an agent); use move_by()"
            ) from None

    def _flush_position(self, *, force: bool = False) -> None:
        if self._position is not None and (force or self._unacknowledged < MOTION_WINDOW):
            x, y, display = self._position
            self._position = None
            self._unacknowledged += 1
            self.send(MousePosition(x, y, self.buttons, display))

    def _send_motion(self) -> None:
        if self._motion != (0, 0) and self._unacknowledged < MOTION_WINDOW:
            self._flush_motion()

    def _flush_motion(self) -> None:
        if self._motion != (0, 0):
            dx, dy = self._motion
            self._motion = (0, 0)
            self._unacknowledged += 1
            self.send(MouseMotion(dx, dy, self.buttons))

    async def _sent(self) -> None:
        """Wait until the queue is with the socket, so that a caller in a loop cannot outrun a slow link."""
        await self.until(self.flow.drained())

    @handles(Init)
    def _init(self, message: Init) -> None:
        self.modifiers = message.modifiers

    @handles(KeyModifiers)
    def _key_modifiers(self, message: KeyModifiers) -> None:
        self.modifiers = message.modifiers

    @handles(MouseMotionAck)
    def _mouse_motion_ack(self, message: MouseMotionAck) -> None:
        self._unacknowledged = max(0, self._unacknowledged - MOTION_ACK)
        self._send_motion()
        self._flush_position()
