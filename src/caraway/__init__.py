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

_LAZY = {
    "Endpoint": "caraway.endpoint",
    "Screenshot": "caraway.client",
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
    "KeyNameError",
    "LinkError",
    "MigrationError",
    "OutputError",
    "PointerModeError",
    "ProtocolError",
    "Screenshot",
    "Session",
    "TlsError",
    "connect",
]

__getattr__ = importer(globals(), _LAZY)
