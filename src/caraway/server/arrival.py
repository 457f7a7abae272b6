"""A viewer that comes from another host, before its guest or with it: what `TargetArrival` says is done here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container
from typing import TYPE_CHECKING

from caraway.errors import CarawayError, ProtocolError
from caraway.migration.channels import MAIN
from caraway.migration.target import (
    Action,
    Answer,
    Drop,
    End,
    Event,
    Expect,
    Flushed,
    HandedOver,
    Linked,
    Loaded,
    Lost,
    Read,
    Received,
    Restore,
    Settle,
    Start,
    Started,
    State,
    TargetArrival,
)
from caraway.server.channel import ServerChannel
from caraway.server.given import Given, GivenKind
from caraway.server.signal import Signal
from caraway.wire.framing import Frame
from caraway.wire.messages.base import Message

if TYPE_CHECKING:
    from caraway.server.viewer import Viewer

log = logging.getLogger(__name__)


class Arrival:
    """Of one viewer, until it has arrived or is dropped.

    seamless: whether its channels may go on with the state that the source had.
    tokens: those that viewers may show whose state comes from the source itself.
    """

    def __init__(self, viewer: Viewer, *, seamless: bool, tokens: Container[bytes] = ()) -> None:
        self.viewer = viewer
        self.settled: Signal[[]] = Signal()
        """The viewer has arrived."""
        self.seamless = False
        """Whether it came with its state."""
        guest = viewer.guest
        self._machine = TargetArrival(loaded=not guest.incoming, seamless=seamless, tokens=tokens)
        self._timer: asyncio.TimerHandle | None = None
        self._disconnects = [
            guest.incoming_changed.connect(self._incoming_changed),
            guest.running_changed.connect(self._running_changed),
        ]
        self._running_changed()

    @property
    def state(self) -> State:
        """How far it is."""
        return self._machine.state

    def linked(self, channel: ServerChannel) -> None:
        """A channel has linked."""
        if channel.key == MAIN:
            channel.read()
            self.viewer.rehearse()
        else:
            self._handle(Linked(channel.key))

    def lost(self, channel: ServerChannel) -> None:
        """A channel is over."""
        self._handle(Lost(channel.key))

    def received(self, channel: ServerChannel, message: Message) -> None:
        """A message about migration has come."""
        self._handle(Received(channel.key, message))

    def take_over(self, given: Given) -> None:
        """The source has given something of a channel."""
        channel = self.viewer.channels.get(given.channel)
        if given.kind is GivenKind.STATE:
            self._handle(HandedOver(given.channel, given.data))
        elif given.kind is GivenKind.END:
            self._handle(Flushed(given.channel))
        elif channel is None:
            return
        elif given.kind is GivenKind.HELD:
            self._hold(channel, given.data)
        else:
            channel.give(Frame(given.type, given.data))

    def _hold(self, channel: ServerChannel, data: bytes) -> None:
        try:
            channel.hold(data)
        except ProtocolError as error:
            channel.fail(error)

    def close(self) -> None:
        """The viewer is gone, or has arrived."""
        for disconnect in self._disconnects:
            disconnect()
        self._disconnects.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _incoming_changed(self) -> None:
        if not self.viewer.guest.incoming:
            self._handle(Loaded())
            self._running_changed()

    def _running_changed(self) -> None:
        if self.viewer.guest.running and not self.viewer.guest.incoming:
            self._handle(Started())

    def _handle(self, event: Event) -> None:
        self._execute(self._machine.handle(event, asyncio.get_running_loop().time()))

    def _due(self) -> None:
        self._execute(self._machine.handle_timer(asyncio.get_running_loop().time()))

    def _execute(self, actions: list[Action]) -> None:
        for action in actions:
            try:
                self._do(action)
            except CarawayError as error:
                self.viewer.end(str(error))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._machine.deadline is not None and self._disconnects:
            self._timer = asyncio.get_running_loop().call_at(self._machine.deadline, self._due)

    def _do(self, action: Action) -> None:
        viewer = self.viewer
        if isinstance(action, Answer):
            viewer.channels[MAIN].send(action.message)
        elif isinstance(action, Settle):
            self._settle(action.seamless)
        elif isinstance(action, Drop):
            log.info("viewer %s: %s", viewer.address, action.error)
            self.close()
            viewer.end(str(action.error))
        else:
            channel = viewer.channels.get(action.channel)
            if channel is not None:
                self._change(channel, action)

    def _change(self, channel: ServerChannel, action: Expect | Read | Start | Restore | End) -> None:
        if isinstance(action, End):
            channel.fail(action.error)
            return
        try:
            if isinstance(action, Expect):
                channel.expect(reads=action.reads)
            elif isinstance(action, Read):
                channel.read()
            elif isinstance(action, Start):
                channel.begin()
            else:
                channel.go_on(action.state, reads=action.reads)
        except CarawayError as error:
            channel.fail(error)

    def _settle(self, seamless: bool) -> None:
        self.seamless = seamless
        self.viewer.arrival = None
        self.close()
        log.info("viewer %s has arrived, %s", self.viewer.address, "seamless" if seamless else "its channels anew")
        self.settled()
