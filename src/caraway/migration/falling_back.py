"""A new session where the fast ways have failed or were not offered: switch-host (spec/migration.md 9.6, 9.8 F)."""

from __future__ import annotations

from typing import cast

from caraway.endpoint import Endpoint
from caraway.errors import CarawayError, DeadlineError, MigrationError
from caraway.migration.actions import Disconnect, EndSession, Reconnect
from caraway.migration.events import ChannelLost, LinkFailed, Received, Reconnected, ReconnectFailed
from caraway.migration.fallback import Fallback
from caraway.migration.moving import Moving
from caraway.migration.offer import Offer
from caraway.migration.reports import Mode, Reconnecting
from caraway.migration.states import Elapsed, Happened, Wait
from caraway.wire.link import channel_name
from caraway.wire.messages.main import DstInfo

RECONNECT_PHASE = 60.0
"""Seconds until the session is given up."""
RECONNECT_TRY = 10.0
"""Seconds for one try: as long as `connect` gives a session."""


class FallingBack(Moving):
    """A new session under the living channels, where the fast ways have failed or were not offered."""

    # guards

    def _no_host_left(self, event: Happened) -> bool:
        return self._fallback is None or not self._fallback.hosts

    def _trying(self, event: Happened) -> bool:
        return Wait.TRY in self.timers

    # actions

    def _redirect(self, event: Received) -> None:
        self._destination = self._resolved(cast(DstInfo, event.message))
        self._leave(MigrationError(f"{self.endpoint}: the VM has moved"))

    def _fall_back(self, event: Happened) -> None:
        self._leave(self._reason(event))

    def _fall_back_or_return(self, event: ChannelLost) -> None:
        """The source may have been killed after the move, or only main's connection may have broken."""
        self._leave(event.error, self.endpoint)

    def _leave(self, error: CarawayError, *more: Endpoint) -> None:
        destination = self._destination or self.endpoint
        hosts = list(more)
        if self._policy.offer is Offer.REFUSE:
            error, hosts = MigrationError(f"{self.endpoint}: the VM has moved, and this session is to stay"), []
        elif isinstance(destination, CarawayError):
            error = destination
        elif destination not in hosts:
            hosts.insert(0, destination)
        self._hold_input()
        self._disconnect()
        self._fallback = Fallback(hosts, error)
        self.timers.setdefault(Wait.GIVE_UP, self._after(RECONNECT_PHASE))
        if hosts:
            self._reconnect()

    def _reason(self, event: Happened) -> CarawayError:
        if isinstance(event, ChannelLost | LinkFailed | ReconnectFailed):
            return event.error
        if isinstance(event, Elapsed):
            return DeadlineError(f"{self._target}: {event.wait.value}: not in time")
        errors = [handover.error for handover in self.channels.values() if handover.core and handover.error is not None]
        if errors or not isinstance(event, Received):
            return errors[0] if errors else MigrationError(f"{self.endpoint}: a channel has no link at the target")
        what, where = event.message.wire_name(), channel_name(*event.channel)
        return MigrationError(f"{self.endpoint}: {what} on {where}, for which the target's links are not ready")

    def _disconnect(self) -> None:
        self._act(Disconnect(self.attempt))
        self.channels.clear()
        self._held = None
        self.timers.pop(Wait.TRY, None)
        self.timers.pop(Wait.RETRY, None)

    def _reconnect(self) -> None:
        assert self._fallback is not None
        self._turn.attempt += 1
        self._turn.target = self._fallback.next_host()
        self._alive = False
        self.timers[Wait.TRY] = self._after(RECONNECT_TRY)
        self._act(Reconnect(self.attempt, self._target))
        self._tell(Reconnecting(self._target, self._fallback.error))

    def _reconnect_failed(self, event: Happened) -> None:
        assert self._fallback is not None
        self._disconnect()
        delay = self._fallback.failed(self._reason(event))
        if self._fallback.hosts and delay:
            self.timers[Wait.RETRY] = self._after(delay)
        elif self._fallback.hosts:
            self._reconnect()

    def _retry(self, event: Elapsed) -> None:
        self._reconnect()

    def _arrive(self, event: Reconnected) -> None:
        self._fallback = None
        self._moved(Mode.SWITCH_HOST)

    def _give_up(self, event: Happened) -> None:
        error = self._fallback.error if self._fallback is not None else self._reason(event)
        self.channels.clear()
        self._act(EndSession(self.attempt, MigrationError(f"could not follow the VM: {error}")))

    def _end(self, event: ChannelLost) -> None:
        self._act(EndSession(self.attempt, event.error))

    def _close_all(self, event: Happened) -> None:
        self._disconnect()
