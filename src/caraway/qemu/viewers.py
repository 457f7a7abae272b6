"""Who looks at a VM, as QMP's `query-spice` lists it, and when those viewers have linked to a migration's target.

Nothing tells an orchestrator that a viewer has answered; what can be seen is that the target lists its links
(spec/migration.md 6.5, spec/qemu-host.md 14.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from caraway.wire.constants import ChannelType

CORE = frozenset({ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS})
"""Channels without which a viewer has not followed; one of another type may be missing on the target."""

QUIET = 1.0
"""Seconds without a new link after which channels that are not core are taken for missing on the target."""


@dataclass(frozen=True, order=True, slots=True)
class Link:
    """One channel of one viewer."""

    connection_id: int
    """Of the viewer; unsigned, although QEMU prints it signed. A linked viewer has the same one on the target."""
    channel_type: int
    channel_id: int

    @classmethod
    def of(cls, member: Mapping[str, Any]) -> Link:
        """From an entry of `channels` of query-spice, or the `client` of SPICE_INITIALIZED."""
        return cls(member["connection-id"] & 0xFFFFFFFF, member["channel-type"], member["channel-id"])

    @property
    def channel(self) -> str:
        """Such as `display 0`."""
        known = self.channel_type in set(ChannelType)
        return f"{ChannelType(self.channel_type).name.lower() if known else self.channel_type} {self.channel_id}"


Links = frozenset[Link]


def links_of(query_spice: Mapping[str, Any]) -> Links:
    """The links that query-spice lists."""
    return frozenset(map(Link.of, query_spice.get("channels", ())))


def viewers_of(links: Iterable[Link]) -> set[int]:
    """Connection ids."""
    return {link.connection_id for link in links}


def present(links: Iterable[Link]) -> Links:
    """Those of viewers with a main channel: libspice-server goes on listing parked links of viewers that have left."""
    links = frozenset(links)
    there = viewers_of(link for link in links if link.channel_type == ChannelType.MAIN)
    return frozenset(link for link in links if link.connection_id in there)


def core(links: Iterable[Link]) -> Links:
    """Those that decide."""
    return frozenset(link for link in links if link.channel_type in CORE)


def describe(links: Iterable[Link]) -> str:
    """Names of channels, in order."""
    return ", ".join(link.channel for link in sorted(links))


class LinkWatch:
    """Follows the target's SPICE events and says when the viewers of the source have linked.

    Times are seconds of one monotonic clock.
    """

    def __init__(self, began: float) -> None:
        self.slowest = 0.0
        """Seconds that the slowest link took from the target's accept to authentication: about two round trips."""
        self.has_connection = False
        """Somebody at least reached the target's port."""
        self.last = began
        """When the latest link was authenticated."""
        self._accepted: dict[tuple[str, str], float] = {}

    def hear(self, event: Mapping[str, Any], now: float) -> None:
        """Take an event of the target."""
        client = event.get("data", {}).get("client", {})
        peer = (str(client.get("host")), str(client.get("port")))
        match event["event"]:
            case "SPICE_CONNECTED":
                self.has_connection = True
                self._accepted[peer] = now
            case "SPICE_INITIALIZED":
                self.last = now
                self.slowest = max(self.slowest, now - self._accepted.pop(peer, now))
            case "SPICE_DISCONNECTED":
                self._accepted.pop(peer, None)

    def ready_at(self, source: Links, target: Links) -> float | None:
        """When the migration may begin if nothing changes until then; None: core channels are missing.

        source, target: what query-spice lists. After its last link a viewer still has to hear that it was accepted,
        and its answer has to reach the source: that takes no longer than a link did.
        """
        missing = source - target
        if core(missing):
            return None
        if not source:
            return self.last
        if missing:
            return self.last + max(QUIET, 3 * self.slowest)
        return self.last + self.slowest
