"""The inputs channel: keys and the mouse (spec/messages.md 4)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, get_args

from caraway.client import keyboard
from caraway.client.channel import Channel
from caraway.client.connection import Connection
from caraway.client.deadline import deadline
from caraway.client.held_input import HeldInput
from caraway.errors import CarawayError, PointerModeError
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.handlers import handles
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
BUTTONS: tuple[str, ...] = get_args(Button)

MOTION_WINDOW = 8
"""Motion messages that may be unacknowledged; beyond it motion is merged."""
MOTION_ACK = 4
"""Motion messages that one MOUSE_MOTION_ACK stands for."""

KEY_INTERVAL = 0.02
"""Seconds between keys of typed text: the keyboard controller of a PC holds 16 bytes, and a guest must empty it."""

HELD_INTERVAL = 0.005
"""Seconds between keys that were kept back while the VM moved."""

CLIENT_MOUSE_DEADLINE = 3.0
"""Seconds to wait for the mouse mode CLIENT; a guest that has just booted may not have its tablet yet."""


def _button(name: str) -> MouseButton:
    if name not in BUTTONS:
        raise ValueError(f"there is no button {name!r}; there are {', '.join(BUTTONS)}")
    return MouseButton[name.upper()]


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
        self._place: tuple[int, int, int] | None = None
        """Where the pointer was put last; None if it has been moved by counts since."""
        self._motion = (0, 0)
        self._held = HeldInput()
        self._delivery: asyncio.TimerHandle | None = None
        self._delivered = asyncio.Event()
        self._delivered.set()
        self._next_stroke = 0.0
        """When the keyboard's controller has had time for the last one."""

    def reset(self) -> None:
        self._unacknowledged = 0

    def hold(self) -> None:
        """Keep keys and buttons back: neither host has a running VM."""
        self._stop_delivering()
        self._delivered.clear()
        self._held.begin(self.pressed, self.buttons)

    def release(self) -> None:
        """Deliver what was kept back."""
        self._stop_delivering()
        self._held.open(self._place)
        self._deliver()

    def put_back(self) -> None:
        """Put the pointer where it was: the server has not heeded positions for a while."""
        self._position = self._position or self._place
        self._flush_position()

    def _deliver(self) -> None:
        """Send the next key that was kept back, and what is before it."""
        messages = self._held.next()
        if not messages:
            self.discard()
            self._send_motion()
            self._flush_position()
            return
        for message in messages:
            super().send(message)
            self._held.sent(message)
        self._delivery = asyncio.get_running_loop().call_later(HELD_INTERVAL, self._deliver)

    def _stop_delivering(self) -> None:
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None

    def discard(self) -> None:
        """Forget what was kept back."""
        self._stop_delivering()
        self._held.discard()
        self._delivered.set()

    async def delivered(self) -> None:
        """Wait until nothing is kept back. Raises what ended the channel, if that comes first."""
        await self.until(self._delivered.wait())

    def end(self, error: CarawayError) -> None:
        super().end(error)
        self.discard()

    def send(self, message: Message) -> None:
        if self._held.active:
            self.check()
            self._held.keep(message)
            return
        super().send(message)
        self._held.sent(message)

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
        code = keyboard.scancode(key)
        self.send(KeyDown(keyboard.key_down(code)))
        self.pressed.add(code)

    def key_up(self, key: str | int) -> None:
        """Release a key."""
        code = keyboard.scancode(key)
        self.send(KeyUp(keyboard.key_up(code)))
        self.pressed.discard(code)

    async def press(self, chord: str, *, interval: float = KEY_INTERVAL) -> None:
        """Press keys together, such as `ctrl+alt+delete`, and release them in the opposite order.

        interval: seconds until the next keys are pressed, by whatever call.
        Raises KeyNameError, with the nearest names that there are.
        """
        await self._stroke(keyboard.chord(chord), interval)
        await self._sent()

    async def type(self, text: str, *, interval: float = KEY_INTERVAL) -> None:
        """Type text, as keys of a US layout; a lit Caps Lock is made up for.

        interval: seconds between characters.
        Raises KeyNameError, before anything is typed, if a character is on no key.
        """
        caps_lock = bool(self.modifiers & KeyboardModifiers.CAPS_LOCK)
        for codes in keyboard.strokes(text, caps_lock=caps_lock):
            await self._stroke(codes, interval)
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

    async def _stroke(self, codes: list[int], interval: float) -> None:
        wait = self._next_stroke - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        for code in codes:
            self.key_down(code)
        for code in reversed(codes):
            self.key_up(code)
        self._next_stroke = time.monotonic() + interval

    # mouse

    async def move(self, x: int, y: int, *, display: int = 0) -> None:
        """Put the pointer on a pixel of a display's primary surface.

        Raises ValueError for a pixel that the display does not have, PointerModeError if the guest has no such pointer.
        """
        self._check_place(x, y, display)
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
        if (x is None) != (y is None):
            raise ValueError("a pixel has two coordinates: give x and y, or neither")
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
        self._button(_button(button), down=True)

    def button_up(self, button: Button) -> None:
        self._button(_button(button), down=False)

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

    def _check_place(self, x: int, y: int, display: int) -> None:
        """A pixel must be on the display, as far as that is known."""
        channel: Any = self.session.channels.get((ChannelType.DISPLAY, display))
        width, height = channel.size if channel is not None else (0, 0)
        if x < 0 or y < 0 or (width and (x >= width or y >= height)):
            raise ValueError(f"({x}, {y}) is no pixel of display {display} ({width}x{height})")

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
            self.check()
            raise PointerModeError(
                f"{self.name}: the guest has no absolute pointer (a USB tablet, or an agent); use move_by()"
            ) from None

    def _flush_position(self, *, force: bool = False) -> None:
        if self._position is not None and (force or self._unacknowledged < MOTION_WINDOW):
            x, y, display = self._place = self._position
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
            self._place = None
            self._unacknowledged += 1
            self.send(MouseMotion(dx, dy, self.buttons))

    async def _sent(self) -> None:
        """Wait until the queue is with the socket, so that a caller in a loop cannot outrun a slow link or a move."""
        await self.delivered()
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
