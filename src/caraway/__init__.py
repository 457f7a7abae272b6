"""SPICE in Python: client, server and live migration. Consoles that follow the VM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caraway.errors import (
    AuthError,
    CarawayError,
    CodecError,
    DeadlineError,
    EndpointError,
    LinkError,
    MigrationError,
    PointerModeError,
    ProtocolError,
    TlsError,
)

if TYPE_CHECKING:
    from caraway.client import KeyNameError, Screenshot, Session, connect
    from caraway.endpoint import Endpoint

_LAZY = {
    "Endpoint": "caraway.endpoint",
    "KeyNameError": "caraway.client",
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
    "PointerModeError",
    "ProtocolError",
    "Screenshot",
    "Session",
    "TlsError",
    "connect",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import caraway` costs nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'caraway' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
