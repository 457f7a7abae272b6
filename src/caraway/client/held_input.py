"""Input while a VM moves: what is typed and clicked when neither host has a running VM waits, and is then delivered.

QEMU throws input away while its VM stands still (spec/migration.md 15, D-05). What a client sends before it learns that
the VM has stopped may be lost; a release that is lost leaves a key or a button stuck, so releases of that time are sent
again.
Keys are delivered one by one: sent at once, six would overrun the keyboard controller of a PC.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection

from caraway.client import keyboard
from caraway.wire.messages.base import Message
from caraway.wire.messages.inputs import (
    KeyDown,
    KeyUp,
    MouseButton,
    MouseButtons,
    MousePosition,
    MousePress,
    MouseRelease,
)

MAX_HELD = 256
"""Messages kept back while a VM moves; a person presses a handful of keys meanwhile."""

UNCERTAIN = 1.0
"""Seconds before input is held in which the VM may have stood still already. To release a key twice does no harm."""

MAX_LET_GO = 32
"""Keys that a person releases in that time."""

UNCERTAIN_BUTTON = 0.05
"""The same for buttons. Another QEMU passes a release on only behind a press, and both are a click to a guest that has
seen the first release: so only as long as a VM is stopped, in most migrations, before a client hears of it."""

WHEEL = (MouseButton.UP, MouseButton.DOWN)


def _bit(button: int) -> MouseButtons:
    return MouseButtons(1 << (button - 1))


class HeldInput:
    """What waits, in its order: the press and the release of a key both, or neither."""

    def __init__(self) -> None:
        self._waiting: deque[Message] | None = None
        self._uncertain: list[int] = []
        """KEY_UP numbers of keys whose release may be lost."""
        self._buttons = MouseButtons(0)
        self._uncertain_buttons = MouseButtons(0)
        """Buttons whose release may be lost."""
        self._down: set[int] = set()
        """KEY_UP numbers of keys that are down once all that waits is delivered."""
        self._dropped: set[int] = set()
        """KEY_UP numbers of presses for which there was no room."""
        self._let_go: deque[tuple[float, int]] = deque(maxlen=MAX_LET_GO)
        """KEY_UP numbers sent of late, and when."""
        self._let_go_buttons: dict[MouseButton, float] = {}
        """When the release of a button was sent last."""

    @property
    def active(self) -> bool:
        """Whether input waits."""
        return self._waiting is not None

    def sent(self, message: Message) -> None:
        """A message was sent."""
        if isinstance(message, KeyUp):
            self._let_go.append((time.monotonic(), message.code))
        elif isinstance(message, MouseRelease) and message.button not in WHEEL:
            self._let_go_buttons[message.button] = time.monotonic()

    def begin(self, pressed: Collection[int], buttons: MouseButtons) -> None:
        """From now on input waits. pressed, buttons: what is down: scancodes of keys, and buttons of the mouse."""
        if self._waiting is None:
            self._waiting = deque()
            self._buttons = buttons
        now = time.monotonic()
        self._down = {keyboard.key_up(key) for key in pressed}
        self._uncertain = [code for when, code in self._let_go if when > now - UNCERTAIN and code not in self._down]
        self._uncertain_buttons = MouseButtons(0)
        for button, when in self._let_go_buttons.items():
            if when > now - UNCERTAIN_BUTTON:
                self._uncertain_buttons |= _bit(button) & ~buttons

    def keep(self, message: Message) -> None:
        """Let a message wait, if there is room for it; releases have room of their own."""
        waiting = self._waiting
        assert waiting is not None
        if isinstance(message, KeyUp):
            if message.code not in self._dropped and len(waiting) < 2 * MAX_HELD:
                waiting.append(message)
                self._down.discard(message.code)
        elif isinstance(message, MouseRelease) and message.button not in WHEEL:
            if len(waiting) < 2 * MAX_HELD:
                waiting.append(message)
        elif len(waiting) < MAX_HELD:
            waiting.append(message)
            if isinstance(message, KeyDown):
                self._down.add(keyboard.release_of(message.code))
        elif isinstance(message, KeyDown) and (code := keyboard.release_of(message.code)) not in self._down:
            self._dropped.add(code)

    def open(self, place: tuple[int, int, int] | None) -> None:
        """From now on what waits is to be delivered.

        First come the releases of which nobody knows whether they arrived, and what another QEMU does not know of the
        mouse: its pointer is at (0, 0), and it does nothing about the release of a button that it has not seen pressed.
        place: x, y and display of the pointer, if it is known.
        """
        if self._waiting is not None:
            first: list[Message] = [KeyUp(code) for code in self._uncertain]
            down = self._buttons | self._uncertain_buttons
            if place is not None:
                x, y, display = place
                first.append(MousePosition(x, y, down, display))
            elif down:
                first.append(MousePress(MouseButton(int(down).bit_length()), down))
            for button in MouseButton:
                if _bit(button) & self._uncertain_buttons:
                    down &= ~_bit(button)
                    first.append(MouseRelease(button, down))
            self._waiting.extendleft(reversed(first))
        self._settle()

    def next(self) -> list[Message]:
        """What is to be delivered now: up to the next key. Nothing waits any more when it is empty."""
        messages: list[Message] = []
        while self._waiting and not (messages and isinstance(messages[-1], KeyDown | KeyUp)):
            messages.append(self._waiting.popleft())
        if not messages:
            self.discard()
        return messages

    def discard(self) -> None:
        """Forget what waits."""
        self._waiting = None
        self._settle()

    def _settle(self) -> None:
        """Nothing is uncertain any more."""
        self._uncertain, self._buttons = [], MouseButtons(0)
        self._uncertain_buttons = MouseButtons(0)
        self._dropped.clear()
