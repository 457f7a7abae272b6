"""How a viewer follows its VM: state machines without sockets or clocks (spec/migration.md)."""

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
