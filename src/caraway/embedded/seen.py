"""What a guest has seen of its keyboard and pointer, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from caraway.wire.messages.inputs import MouseButton, MouseButtons

MAX_SEEN = 1 << 16
"""Events that are remembered: what comes before is forgotten."""


class Key(NamedTuple):
    """A key went down or up. code: its PC/XT set 1 scancode, the first byte highest."""

    code: int
    down: bool


class Placed(NamedTuple):
    """The pointer is at a pixel."""

    x: int
    y: int
    buttons: MouseButtons


class Moved(NamedTuple):
    """The mouse was moved so far."""

    dx: int
    dy: int
    buttons: MouseButtons


class Button(NamedTuple):
    """A button went down or up."""

    button: MouseButton
    down: bool


Event: TypeAlias = Key | Placed | Moved | Button
_KINDS = {kind.__name__: kind for kind in (Key, Placed, Moved, Button)}


class Seen(deque[Event]):
    """The events, oldest first."""

    def __init__(self) -> None:
        super().__init__(maxlen=MAX_SEEN)

    @property
    def keys(self) -> list[Key]:
        """Those of the keyboard."""
        return [event for event in self if isinstance(event, Key)]

    @property
    def pointer(self) -> list[Placed | Moved | Button]:
        """Those of the mouse or tablet."""
        return [event for event in self if not isinstance(event, Key)]

    def save(self) -> list[list[Any]]:
        """The events as JSON's types."""
        return [[type(event).__name__, *(int(value) for value in event)] for event in self]

    def load(self, saved: Sequence[Sequence[Any]]) -> None:
        """Have seen what `save` told."""
        self.clear()
        for name, *values in saved:
            match _KINDS[name]:
                case kind if kind is Key:
                    self.append(Key(int(values[0]), bool(values[1])))
                case kind if kind is Button:
                    self.append(Button(MouseButton(values[0]), bool(values[1])))
                case kind if kind is Placed:
                    self.append(Placed(int(values[0]), int(values[1]), MouseButtons(values[2])))
                case _:
                    self.append(Moved(int(values[0]), int(values[1]), MouseButtons(values[2])))
