"""Input while a VM moves: what is typed and clicked when neither host has a running VM waits, and is then delivered.

QEMU throws input away while its VM stands still (spec/migration.md 15, D-05). What a client sends before it learns that
the VM has stopped may be lost; a release that is lost leaves a key stuck, so releases of that time are sent again.
Keys are delivered one by one: sent at once, six would overrun the keyboard controller of a PC.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection

from caraway.client import keyboard
from caraway.wire.messages.base import Message
from caraway.wire.messages.inputs import KeyDown, KeyUp, MouseButton, MouseButtons, MousePosition, MousePress

MAX_HELD = 256
"""Messages kept back while a VM moves; a person presses a handful of keys meanwhile."""

UNCERTAIN = 1.0
"""Seconds before input is held in which the VM may have stood still already. To release a key twice does no harm."""

MAX_LET_GO = 32
"""Keys that a person releases in that time."""


class HeldInput:
    """What waits, in its order: the press and the release of a key both, or neither."""

    def __init__(self) -> None:
        self._waiting: deque[Message] | None = None
        self._uncertain: list[int] = []
        """KEY_UP numbers of keys whose release may be lost."""
        self._buttons = MouseButtons(0)
        self._dropped: set[int] = set()
        """KEY_UP numbers of presses for which there was no room."""
        self._let_go: deque[tuple[float, int]] = deque(maxlen=MAX_LET_GO)
        """KEY_UP numbers sent of late, and when."""

    @property
    def active(self) -> bool:
        """Whether input waits."""
        return self._waiting is not None

    def let_go(self, code: int) -> None:
        """A key's release was sent. code: its KEY_UP number."""
        self._let_go.append((time.monotonic(), code))

    def begin(self, pressed: Collection[int], buttons: MouseButtons) -> None:
        """From now on input waits. pressed, buttons: what is down: scancodes of keys, and buttons of the mouse."""
        if self._waiting is None:
            self._waiting = deque()
            self._buttons = buttons
        since = time.monotonic() - UNCERTAIN
        down = {keyboard.key_up(key) for key in pressed}
        self._uncertain = [code for when, code in self._let_go if when > since and code not in down]

    def keep(self, message: Message) -> None:
        """Let a message wait, if there is room for it."""
        waiting = self._waiting
        assert waiting is not None
        if isinstance(message, KeyUp):
            if message.code not in self._dropped and len(waiting) < 2 * MAX_HELD:
                waiting.append(message)
        elif len(waiting) < MAX_HELD:
            waiting.append(message)
        elif isinstance(message, KeyDown):
            self._dropped.add(keyboard.release_of(message.code))

    def open(self, place: tuple[int, int, int] | None) -> None:
        """From now on what waits is to be delivered.

        First come the releases of which nobody knows whether they arrived, and what another QEMU does not know of the
        mouse: its pointer is at (0, 0), and it does nothing about the release of a button that it has not seen pressed.
        place: x, y and display of the pointer, if it is known.
        """
        if self._waiting is not None:
            if place is not None:
                x, y, display = place
                self._waiting.appendleft(MousePosition(x, y, self._buttons, display))
            elif self._buttons:
                last = MouseButton(int(self._buttons).bit_length())
                self._waiting.appendleft(MousePress(last, self._buttons))
            self._waiting.extendleft(KeyUp(code) for code in self._uncertain)
        self._uncertain, self._buttons = [], MouseButtons(0)
        self._dropped.clear()

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
        self._uncertain, self._buttons = [], MouseButtons(0)
        self._dropped.clear()
