"""The guest's keyboard: PC/XT set 1 scancodes, the lock keys and their lamps, and what a US layout types."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from typing import Any

from caraway.client.keyboard import KEYS, strokes
from caraway.wire.messages.inputs import KeyboardModifiers

SHIFTS = {KEYS["shift"], KEYS["shift_r"]}
CTRLS = {KEYS["ctrl"], KEYS["ctrl_r"]}
_PREFIXES = {0xE0: 2, 0xE1: 3}
"""Bytes of the scancodes that begin so."""
_LOCKS = {
    KEYS["capslock"]: KeyboardModifiers.CAPS_LOCK,
    KEYS["numlock"]: KeyboardModifiers.NUM_LOCK,
    KEYS["scrolllock"]: KeyboardModifiers.SCROLL_LOCK,
}
_TYPED = {
    tuple(strokes(character)[0]): character for character in string.digits + string.ascii_letters + string.punctuation
}
_TYPED |= {(KEYS[name],): character for name, character in [("space", " "), ("tab", "\t"), ("enter", "\n")]}
_TYPED |= {(KEYS["backspace"],): "\b", (KEYS["kp_enter"],): "\n", (KEYS["kp_divide"],): "/"}
_TYPED |= {(KEYS["kp_multiply"],): "*", (KEYS["kp_minus"],): "-", (KEYS["kp_plus"],): "+"}
_KEYPAD = {KEYS[f"kp_{name}"]: name for name in string.digits} | {KEYS["kp_decimal"]: "."}


def events(scancodes: bytes) -> Iterator[tuple[int, bool]]:
    """Each key and whether it goes down; half a scancode at the end is nothing."""
    at = 0
    while at < len(scancodes):
        size = _PREFIXES.get(scancodes[at], 1)
        code = scancodes[at : at + size]
        at += size
        if len(code) == size:
            up = code[-1] & 0x80
            first = code[:1] if size > 1 else b""
            yield int.from_bytes(first + bytes(byte & 0x7F for byte in code[len(first) :]), "big"), not up


class Keyboard:
    """Which keys are held, and which lamps are lit."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.leds = KeyboardModifiers.NUM_LOCK

    @property
    def ctrl(self) -> bool:
        """Whether a Ctrl key is held."""
        return bool(self.held & CTRLS)

    @property
    def shift(self) -> bool:
        """Whether a Shift key is held."""
        return bool(self.held & SHIFTS)

    def key(self, code: int, down: bool) -> str:
        """A key goes down, perhaps once more, or up. Gives the character that it types, or nothing."""
        if not down:
            self.held.discard(code)
            return ""
        if code in _LOCKS and code not in self.held:
            self.leds ^= _LOCKS[code]
        self.held.add(code)
        return self._typed(code)

    def _typed(self, code: int) -> str:
        if code in _KEYPAD:
            return _KEYPAD[code] if self.leds & KeyboardModifiers.NUM_LOCK else ""
        plain = _TYPED.get((code,), "")
        shifted = self.shift != bool(plain.isalpha() and self.leds & KeyboardModifiers.CAPS_LOCK)
        return _TYPED.get((KEYS["shift"], code), plain) if shifted else plain

    def save(self) -> dict[str, Any]:
        """The state as JSON's types."""
        return {"held": sorted(self.held), "leds": int(self.leds)}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Be as `save` told."""
        self.held = {int(code) for code in saved["held"]}
        self.leds = KeyboardModifiers(saved["leds"])
