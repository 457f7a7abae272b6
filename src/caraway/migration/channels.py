"""Which channel, and how much of a session hangs on it (spec/migration.md 9.8)."""

from __future__ import annotations

from typing import TypeAlias

from caraway.wire.constants import ChannelType

Channel: TypeAlias = tuple[ChannelType, int]
"""Type and id: they name a channel of a session, on either host."""

MAIN: Channel = (ChannelType.MAIN, 0)

CORE = frozenset({ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS})
"""Without these a session has not moved; any other channel may stay behind."""


def is_core(channel: Channel) -> bool:
    """Whether the session moves only with this channel."""
    return channel[0] in CORE
