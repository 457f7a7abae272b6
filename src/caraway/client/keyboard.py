"""Keys: PC/XT set 1 scancodes by name and by the character they type (spec/messages.md 4.1).

SPICE carries the positions of keys, not characters; what a key types is the guest's business. Text is turned into keys
for a guest with a US layout.
"""

from __future__ import annotations

import difflib

from caraway.errors import KeyNameError

EXTENDED = 0xE000
"""The prefix of scancodes of two bytes."""

_ROWS = {
    0x02: "1234567890-=",
    0x10: "qwertyuiop[]",
    0x1E: "asdfghjkl;'`",
    0x2B: "\\zxcvbnm,./",
}
_KEYPAD = ("7", "8", "9", "minus", "4", "5", "6", "plus", "1", "2", "3", "0", "decimal")
_BASES = dict(zip('!@#$%^&*()_+{}:"~|<>?', "1234567890-=[];'`\\,./", strict=True))
_BASES |= {letter.upper(): letter for letter in "abcdefghijklmnopqrstuvwxyz"}
"""The key of each character that needs Shift."""
_CONTROLS = {"\n": "enter", "\r": "enter", "\t": "tab", " ": "space", "\b": "backspace", "\x1b": "esc"}

KEYS: dict[str, int] = {
    character: first + place for first, row in _ROWS.items() for place, character in enumerate(row)
} | {
    "esc": 0x01,
    "backspace": 0x0E,
    "tab": 0x0F,
    "enter": 0x1C,
    "ctrl": 0x1D,
    "shift": 0x2A,
    "shift_r": 0x36,
    "alt": 0x38,
    "space": 0x39,
    "capslock": 0x3A,
    **{f"f{n}": 0x3A + n for n in range(1, 11)},
    "f11": 0x57,
    "f12": 0x58,
    "numlock": 0x45,
    "scrolllock": 0x46,
    **{f"kp_{name}": 0x47 + place for place, name in enumerate(_KEYPAD)},
    "kp_multiply": 0x37,
    "kp_divide": EXTENDED | 0x35,
    "kp_enter": EXTENDED | 0x1C,
    "less": 0x56,
    "ctrl_r": EXTENDED | 0x1D,
    "altgr": EXTENDED | 0x38,
    "home": EXTENDED | 0x47,
    "up": EXTENDED | 0x48,
    "pageup": EXTENDED | 0x49,
    "left": EXTENDED | 0x4B,
    "right": EXTENDED | 0x4D,
    "end": EXTENDED | 0x4F,
    "down": EXTENDED | 0x50,
    "pagedown": EXTENDED | 0x51,
    "insert": EXTENDED | 0x52,
    "delete": EXTENDED | 0x53,
    "super": EXTENDED | 0x5B,
    "super_r": EXTENDED | 0x5C,
    "menu": EXTENDED | 0x5D,
    "print": EXTENDED | 0x37,
    "pause": 0xE11D45,
}
"""Scancode of each key by name, as a number whose highest byte comes first."""

_CODES = frozenset(KEYS.values())

ALIASES = {
    " ": "space",
    "escape": "esc",
    "return": "enter",
    "control": "ctrl",
    "ctrl_l": "ctrl",
    "control_l": "ctrl",
    "control_r": "ctrl_r",
    "shift_l": "shift",
    "alt_l": "alt",
    "alt_r": "altgr",
    "option": "alt",
    "del": "delete",
    "ins": "insert",
    "pgup": "pageup",
    "page_up": "pageup",
    "pgdn": "pagedown",
    "pgdown": "pagedown",
    "page_down": "pagedown",
    "win": "super",
    "windows": "super",
    "meta": "super",
    "cmd": "super",
    "caps_lock": "capslock",
    "num_lock": "numlock",
    "scroll_lock": "scrolllock",
    "bksp": "backspace",
    "printscreen": "print",
    "sysrq": "print",
    "minus": "-",
    "plus": "=",
    "comma": ",",
    "period": ".",
    "dot": ".",
    "slash": "/",
    "backslash": "\\",
}


def scancode(key: str | int) -> int:
    """The scancode of a key by its name, whatever its case; a scancode is checked.

    Raises KeyNameError, with the nearest names that there are.
    """
    if isinstance(key, int):
        if key in _CODES:
            return key
        raise KeyNameError(f"there is no scancode {key:#x}")
    name = key.lower() if len(key) > 1 else key
    code = KEYS.get(ALIASES.get(name, name), KEYS.get(name.lower()))
    if code is None:
        raise KeyNameError(f"there is no key {key!r}{_hint(key)}")
    return code


def _hint(name: str) -> str:
    if name in _BASES:
        return f"; it is shift+{_BASES[name]}"
    if any(part in KEYS for part in name.lower().split("-")):
        return "; keys are joined by +"
    near = difflib.get_close_matches(name.lower(), [*KEYS, *ALIASES], n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def chord(text: str) -> list[int]:
    """The scancodes of keys held together, such as `ctrl+alt+delete`, in the order of pressing.

    A plus sign itself is written `plus`, or as the last character (`ctrl++`).
    """
    if not text:
        raise KeyNameError("a chord without keys")
    names = text.split("+")
    if text == "+" or text.endswith("++"):
        names = [*names[:-2], "plus"]
    names = [name.lower() for name in names]
    codes = [scancode(name) for name in names]
    if "plus" in names and KEYS["shift"] not in codes:
        codes.insert(names.index("plus"), KEYS["shift"])
    return codes


def strokes(text: str, *, caps_lock: bool = False) -> list[list[int]]:
    """The chord that types each character on a US layout. Raises KeyNameError before anything is typed."""
    return [_stroke(character.swapcase() if caps_lock and character.isascii() else character) for character in text]


def _stroke(character: str) -> list[int]:
    if key := _CONTROLS.get(character):
        return [KEYS[key]]
    if character in KEYS:
        return [KEYS[character]]
    base = _BASES.get(character)
    if base is None:
        raise KeyNameError(f"no key of a US keyboard types {character!r}")
    return [KEYS["shift"], KEYS[base]]


def key_down(code: int) -> int:
    """The number that KEY_DOWN carries: the scancode's bytes, the first one lowest."""
    return int.from_bytes(_bytes(code), "little")


def key_up(code: int) -> int:
    """The number that KEY_UP carries: bit 7 set in all bytes but a prefix."""
    return release_of(key_down(code))


def release_of(down: int) -> int:
    """The number of the KEY_UP that belongs to the number of a KEY_DOWN."""
    first, *rest = down.to_bytes((down.bit_length() + 7) // 8, "little")
    return int.from_bytes([first, *(byte | 0x80 for byte in rest)] if rest else [first | 0x80], "little")


def _bytes(code: int) -> bytes:
    return code.to_bytes((code.bit_length() + 7) // 8, "big")
