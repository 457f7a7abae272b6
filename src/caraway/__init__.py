"""SPICE in Python: client, server and live migration. Consoles that follow the VM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caraway.errors import (
    AuthError,
    CarawayError,
    CodecError,
    DeadlineError,
    EndpointError,
    KeyNameError,
    LinkError,
    MigrationError,
    OutputError,
    PointerModeError,
    ProtocolError,
    TlsError,
)
from caraway.lazy import importer

if TYPE_CHECKING:
    from caraway.client import Screenshot, Session, connect
    from caraway.endpoint import Endpoint
    from caraway.server import FramebufferGuest, Guest, Server

_LAZY = {
    "Endpoint": "caraway.endpoint",
    "FramebufferGuest": "caraway.server",
    "Guest": "caraway.server",
    "Screenshot": "caraway.client",
    "Server": "caraway.server",
    "Session": "caraway.client",
    "connect": "caraway.client",
}

__all__ = [
    "AuthError",
    "CarawayError",
    "CodecError",
    "DeadlineError",
    "Endpoint",
    "EndpointError",
    "FramebufferGuest",
    "Guest",
    "KeyNameError",
    "LinkError",
    "MigrationError",
    "OutputError",
    "PointerModeError",
    "ProtocolError",
    "Screenshot",
    "Server",
    "Session",
    "TlsError",
    "connect",
]

__getattr__ = importer(globals(), _LAZY)
