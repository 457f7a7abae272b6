"""The SPICE server: a guest's screen, keys, sound and ports, served to every client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caraway.lazy import importer

if TYPE_CHECKING:
    from caraway.server.display_options import DisplayOptions
    from caraway.server.framebuffer import FramebufferGuest
    from caraway.server.guest import Display, Guest, Playback, Port, Record
    from caraway.server.server import Server
    from caraway.server.signal import Signal
    from caraway.wire.messages.inputs import KeyboardModifiers, MouseButton, MouseButtons

_LAZY = {
    "Display": "caraway.server.guest",
    "DisplayOptions": "caraway.server.display_options",
    "FramebufferGuest": "caraway.server.framebuffer",
    "Guest": "caraway.server.guest",
    "KeyboardModifiers": "caraway.wire.messages.inputs",
    "MouseButton": "caraway.wire.messages.inputs",
    "MouseButtons": "caraway.wire.messages.inputs",
    "Playback": "caraway.server.guest",
    "Port": "caraway.server.guest",
    "Record": "caraway.server.guest",
    "Server": "caraway.server.server",
    "Signal": "caraway.server.signal",
}

__all__ = [
    "Display",
    "DisplayOptions",
    "FramebufferGuest",
    "Guest",
    "KeyboardModifiers",
    "MouseButton",
    "MouseButtons",
    "Playback",
    "Port",
    "Record",
    "Server",
    "Signal",
]

__getattr__ = importer(globals(), _LAZY)
