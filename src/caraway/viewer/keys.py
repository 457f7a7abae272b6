"""From the keys of a window to PC/XT set 1 scancodes, by their place on the keyboard where Qt knows it."""

from __future__ import annotations

import sys

from PySide6.QtCore import Qt

from caraway.client.keyboard import KEYS, strokes
from caraway.errors import KeyNameError

COUNTS_AS_EVDEV = sys.platform not in ("win32", "darwin", "cygwin")
X11_OFFSET = 8
"""X11 and Wayland count keys as evdev does, from 8 on."""

_EVDEV = {code: code for code in range(1, 84)} | {
    86: KEYS["less"],
    87: KEYS["f11"],
    88: KEYS["f12"],
    96: KEYS["kp_enter"],
    97: KEYS["ctrl_r"],
    98: KEYS["kp_divide"],
    99: KEYS["print"],
    100: KEYS["altgr"],
    102: KEYS["home"],
    103: KEYS["up"],
    104: KEYS["pageup"],
    105: KEYS["left"],
    106: KEYS["right"],
    107: KEYS["end"],
    108: KEYS["down"],
    109: KEYS["pagedown"],
    110: KEYS["insert"],
    111: KEYS["delete"],
    119: KEYS["pause"],
    125: KEYS["super"],
    126: KEYS["super_r"],
    127: KEYS["menu"],
}
"""Scancode by evdev's number: the kernel took the first 83 from the PC/XT keyboard."""

_NAMES = {
    Qt.Key.Key_Escape: "esc",
    Qt.Key.Key_Tab: "tab",
    Qt.Key.Key_Backtab: "tab",
    Qt.Key.Key_Backspace: "backspace",
    Qt.Key.Key_Return: "enter",
    Qt.Key.Key_Enter: "kp_enter",
    Qt.Key.Key_Insert: "insert",
    Qt.Key.Key_Delete: "delete",
    Qt.Key.Key_Pause: "pause",
    Qt.Key.Key_Print: "print",
    Qt.Key.Key_Home: "home",
    Qt.Key.Key_End: "end",
    Qt.Key.Key_Left: "left",
    Qt.Key.Key_Up: "up",
    Qt.Key.Key_Right: "right",
    Qt.Key.Key_Down: "down",
    Qt.Key.Key_PageUp: "pageup",
    Qt.Key.Key_PageDown: "pagedown",
    Qt.Key.Key_Shift: "shift",
    Qt.Key.Key_Control: "ctrl",
    Qt.Key.Key_Alt: "alt",
    Qt.Key.Key_AltGr: "altgr",
    Qt.Key.Key_Meta: "super",
    Qt.Key.Key_Menu: "menu",
    Qt.Key.Key_CapsLock: "capslock",
    Qt.Key.Key_NumLock: "numlock",
    Qt.Key.Key_ScrollLock: "scrolllock",
    **{Qt.Key(Qt.Key.Key_F1.value + n): f"f{n + 1}" for n in range(12)},
}


def scancode(native: int, key: int) -> int | None:
    """The scancode of a key; None if guests know no such key.

    native: the windowing system's number of the key, 0 if it has none. key: Qt's name of what it types, used then.
    """
    if native and COUNTS_AS_EVDEV:
        return _EVDEV.get(native - X11_OFFSET)
    name = _NAMES.get(Qt.Key(key)) if key > 0xFF else None
    if name is not None:
        return KEYS[name]
    try:
        return strokes(chr(key).lower())[0][-1] if key <= 0xFF else None
    except KeyNameError:
        return None
