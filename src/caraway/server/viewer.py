"""A viewer: the channels of one client, and what they share."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from caraway.errors import CarawayError, LinkError, ProtocolError
from caraway.migration.channels import MAIN
from caraway.migration.rehearsal import rehearse
from caraway.server.channel import ServerChannel
from caraway.server.given import Given, GivenKind
from caraway.server.signal import Signal
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.messages.base import Message
from caraway.wire.messages.main import MouseModes

if TYPE_CHECKING:
    from caraway.server.arrival import Arrival
    from caraway.server.guest import Guest
    from caraway.server.server import Server

LOW_BANDWIDTH = 10 << 20
"""Bits a second below which a link counts as slow (spec/wire.md 8)."""

START_LATENCY = 400
"""Milliseconds that a client's media clock is behind the server's (spec/streams.md 5.1)."""


async def _rehearse() -> None:
    for _ in rehearse(Sender.SERVER):
        await asyncio.sleep(0)


class Viewer:
    """One client, from its main channel's link to its end.

    id: the session id that its other channels present.
    address: how logs name it.
    view_only: it may look, and not touch.
    """

    def __init__(self, server: Server, id: int, address: str, *, view_only: bool) -> None:
        self.server, self.id, self.address, self.view_only = server, id, address, view_only
        self.channels: dict[tuple[ChannelType, int], ServerChannel] = {}
        self.mouse_mode = MouseModes.SERVER
        self.mouse_mode_changed: Signal[[]] = Signal()
        self.bit_rate: float | None = None
        """Bits a second of its link, as the net test found."""
        self.round_trip: float | None = None
        """Seconds, as the net test found."""
        self.latency = START_LATENCY
        """Milliseconds that its media clock is behind the server's."""
        self.link_measured: Signal[[]] = Signal()
        self.departed = False
        """Whether it goes on at another host."""
        self.arrival: Arrival | None = None
        """While it comes from another host."""

    @property
    def guest(self) -> Guest:
        """Whom it looks at."""
        return self.server.guest

    @property
    def low_bandwidth(self) -> bool:
        """Whether its link is slow; not before it was measured."""
        return self.bit_rate is not None and self.bit_rate < LOW_BANDWIDTH

    def take_for_slow(self) -> None:
        """Its link was slow at the host that it comes from."""
        if self.bit_rate is None:
            self.bit_rate = LOW_BANDWIDTH - 1
            self.link_measured()

    def media_time(self) -> int:
        """Milliseconds of the server's media clock, which wraps at 2^32."""
        return time.monotonic_ns() // 1_000_000 & 0xFFFFFFFF

    def linked(self, channel: ServerChannel) -> None:
        """A channel's link is made: it begins, or waits for its guest."""
        if self.arrival is None:
            channel.begin()
        else:
            self.arrival.linked(channel)

    def rehearse(self) -> None:
        """Get ready for a hand-over."""
        main = self.channels.get(MAIN)
        if main is not None:
            main.spawn(_rehearse())

    def arrive(self, channel: ServerChannel, message: Message) -> None:
        """The client has sent what only the target of a migration takes. Raises ProtocolError if this is none."""
        if self.arrival is None:
            raise ProtocolError(f"{channel.name}: {message.wire_name()}, and no migration")
        self.arrival.received(channel, message)

    def tell(self, message: Message) -> None:
        """Send on main."""
        main = self.channels.get(MAIN)
        if main is not None:
            try:
                main.send(message)
            except LinkError as error:
                main.fail(error)

    def depart(self) -> None:
        """Hand every channel over to the target of a migration."""
        self.departed = True
        for channel in list(self.channels.values()):
            try:
                channel.depart()
            except CarawayError as error:
                channel.fail(error)

    def hand_over(self) -> None:
        """The guest has stopped: give the state of every channel to the target of a migration."""
        for channel in list(self.channels.values()):
            try:
                state = channel.hand_over()
            except CarawayError as error:
                channel.fail(error)
            else:
                if state is not None:
                    self.server.departures.handed_over(Given(self.id, channel.key, GivenKind.STATE, state))
                if held := channel.held():
                    self.server.departures.handed_over(Given(self.id, channel.key, GivenKind.HELD, held))

    def take_back(self) -> None:
        """The guest goes on here after all."""
        for channel in list(self.channels.values()):
            channel.take_back()

    def let_go(self) -> None:
        """The guest is at the target, and so is the state of the channels."""
        self.departed = True
        for channel in list(self.channels.values()):
            channel.let_go()

    def end(self, reason: str) -> None:
        """Close everything of this viewer."""
        error = LinkError(f"viewer {self.address}: {reason}")
        for channel in list(self.channels.values()):
            channel.fail(error)

    def leave(self) -> None:
        """Tell the client that the server is about to end, then close everything."""
        main = self.channels.get(MAIN)
        if main is not None:
            main.leave()
        self.end("the server ends")

    def measured(self, round_trip: float, bit_rate: float) -> None:
        """The net test is over. round_trip: seconds; bit_rate: bits a second."""
        self.round_trip, self.bit_rate = round_trip, bit_rate
        self.link_measured()
