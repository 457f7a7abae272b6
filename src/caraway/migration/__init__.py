"""How a viewer follows its VM: state machines without sockets or clocks (spec/migration.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caraway.lazy import importer

if TYPE_CHECKING:
    from caraway.migration.client import ClientMigration
    from caraway.migration.offer import Offer, Policy
    from caraway.migration.reports import (
        Announced,
        Cancelled,
        ChannelGone,
        Failed,
        Linked,
        Mode,
        Reconnecting,
        Report,
        Switched,
        Switching,
    )

__all__ = [
    "Announced",
    "Cancelled",
    "ChannelGone",
    "ClientMigration",
    "Failed",
    "Linked",
    "Mode",
    "Offer",
    "Policy",
    "Reconnecting",
    "Report",
    "Switched",
    "Switching",
]

_MODULES = {"ClientMigration": "client", "Offer": "offer", "Policy": "offer"}

__getattr__ = importer(globals(), {name: f"{__name__}.{_MODULES.get(name, 'reports')}" for name in __all__})
