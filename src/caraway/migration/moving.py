"""Moving to the parked links: all at once anew, or each channel with its state (spec/migration.md 9.3, 9.4)."""

from __future__ import annotations

from typing import cast

from caraway.migration.actions import CloseSource, Commit
from caraway.migration.events import LinkFailed, Received, TargetReceived
from caraway.migration.handover import ChannelHandover, Stage, Step
from caraway.migration.linking import Linking
from caraway.migration.reports import Mode, Switched, Switching
from caraway.migration.states import ChannelDue, Elapsed, Happened, State, Wait
from caraway.wire.constants import ChannelType
from caraway.wire.messages.common import ClientMigrateData, Migrate, MigrateData
from caraway.wire.messages.main import ClientMigrateEnd

INIT_DEADLINE = 10.0
"""Seconds from MIGRATE_END to the target's INIT."""
REST_DEADLINE = 5.0
"""Seconds for the remaining channels, after the first MIGRATE and again after the first swap."""


class Moving(Linking):
    """From the first MIGRATE, or MIGRATE_END, to the last swap."""

    # guards

    def _core_link_lost(self, event: LinkFailed) -> bool:
        handover = self.channels.get(event.channel)
        return handover is not None and handover.core and handover.usable

    def _core_not_parked(self, event: Happened) -> bool:
        return (self.state is State.LINKED_SEAMLESS and not self._agreed) or any(
            handover.core and handover.stage is not Stage.PARKED for handover in self.channels.values()
        )

    def _migrated_before(self, event: Received) -> bool:
        handover = self.channels.get(event.channel)
        return handover is not None and handover.stage in (Stage.AWAITING_DATA, Stage.SWAPPED)

    def _core_link_missing(self, event: Happened) -> bool:
        return any(handover.core and not handover.usable for handover in self.channels.values())

    def _core_not_swapped(self, event: Happened) -> bool:
        return any(handover.core and handover.stage is not Stage.SWAPPED for handover in self.channels.values())

    def _all_swapped(self, event: Happened) -> bool:
        return all(handover.stage is Stage.SWAPPED for handover in self.channels.values())

    # actions

    def _start(self) -> None:
        if self._hand_over is None:
            self._hold_input()
        self._tell(Switching(self._target, self._mode))
        for handover in self.channels.values():
            handover.relinks = 0

    def _start_seamless(self, event: Received) -> None:
        self._start()
        self.timers[Wait.REST] = self._after(REST_DEADLINE)
        self._migrate(event)

    def _migrate(self, event: Received) -> None:
        handover = self.channels.get(event.channel)
        flags = cast(Migrate, event.message).flags
        if handover is None or not handover.take(Step.MIGRATE, self._turn, flags=flags):
            self._leave_behind(event.channel)
        elif handover.stage is Stage.SWAPPED:
            self._swapped(handover)

    def _forward(self, event: Received) -> None:
        handover = self.channels[event.channel]
        data = bytes(cast(MigrateData, event.message).data)
        handover.take(Step.MIGRATE_DATA, self._turn, first=ClientMigrateData(data))
        self._swapped(handover)

    def _swapped(self, handover: ChannelHandover) -> None:
        if sum(h.stage is Stage.SWAPPED for h in self.channels.values()) == 1:
            self.timers[Wait.REST] = self._after(REST_DEADLINE)
        if handover.channel[0] is ChannelType.INPUTS:
            self._input_arrived()

    def _lose_channel(self, event: LinkFailed) -> None:
        handover = self.channels.get(event.channel)
        if handover is not None and (handover.usable or handover.pending):
            self._link_failed(event)
            self._leave_behind(event.channel, event.error)

    def _channel_due_in_switch(self, event: ChannelDue) -> None:
        handover = self.channels[event.channel]
        handover.take(Step.DUE, self._turn)
        if not (handover.core or handover.usable or handover.pending):
            self._leave_behind(event.channel)

    def _leave_rest(self, event: Elapsed) -> None:
        for handover in self._others():
            if handover.stage is not Stage.SWAPPED:
                self._leave_behind(handover.channel)

    def _finish_seamless(self, event: Happened) -> None:
        self._act(CloseSource(self.attempt))
        self._moved(self._mode)

    def _start_semi(self, event: Received) -> None:
        self._start()
        for handover in self._others():
            if handover.stage is not Stage.PARKED:
                self._leave_behind(handover.channel)
        self._main.take(Step.START_ANEW, self._turn, first=ClientMigrateEnd())
        self._act(CloseSource(self.attempt))
        self.timers[Wait.INIT] = self._after(INIT_DEADLINE)

    def _finish_semi(self, event: TargetReceived) -> None:
        for handover in self._others():
            handover.take(Step.START_ANEW, self._turn)
        self._moved(self._mode)

    def _moved(self, mode: Mode) -> None:
        self.endpoint = self._target
        self._destination = None
        for handover in self.channels.values():
            handover.take(Step.SETTLE, self._turn)
        self._act(Commit(self.attempt, self.endpoint))
        self._tell(Switched(self.endpoint, mode))
        if Wait.INPUT not in self.timers:
            self._input_arrived()
