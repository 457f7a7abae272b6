"""How a session follows its VM: one machine for the session, one hand-over per channel (spec/migration.md 4, 9, 11.1).

The table holds the edges of spec/migration.md 9.2 and the reactions of 9.8.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import cast

from caraway.errors import ProtocolError
from caraway.migration.actions import Action, Drop
from caraway.migration.channels import MAIN
from caraway.migration.events import (
    ChannelLost,
    ChannelOpened,
    Closed,
    Event,
    LinkFailed,
    LinkUp,
    Received,
    Reconnected,
    ReconnectFailed,
    TargetAlive,
    TargetReceived,
)
from caraway.migration.falling_back import FallingBack
from caraway.migration.handover import Stage
from caraway.migration.machine import Always
from caraway.migration.states import SWITCHING, WAITS, ChannelDue, Elapsed, State, Wait, trigger
from caraway.migration.table import Edge
from caraway.wire.link import channel_name
from caraway.wire.messages.common import Migrate, MigrateData
from caraway.wire.messages.main import (
    Init,
    MigrateBegin,
    MigrateBeginSeamless,
    MigrateCancel,
    MigrateDstSeamlessAck,
    MigrateDstSeamlessNack,
    MigrateEnd,
    MigrateSwitchHost,
)


class ClientMigration(FallingBack):
    """Follows a VM from host to host.

    endpoint: where the session is. It may be replaced by the session as more is learned of it, such as that TLS is
    needed. policy: what is offered and allowed.
    """

    @property
    def deadline(self) -> float | None:
        """When `handle_timer` wants to be called, on the clock of `handle`."""
        dues = [handover.due for handover in self.channels.values() if handover.due is not None]
        return min([*self.timers.values(), *dues], default=None)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take an event. now: seconds, on any clock that only goes forward. Never raises for what a peer sent."""
        self._turn.now, self._turn.actions = now, []
        if getattr(event, "attempt", self.attempt) == self.attempt:
            self._take(event)
        return self._turn.actions

    def handle_timer(self, now: float) -> list[Action]:
        """Take note of the time; of use once `deadline` is reached."""
        self._turn.now, self._turn.actions = now, []
        while (event := self._overdue(now)) is not None:
            self.take(trigger(event), event)
        return self._turn.actions

    def _overdue(self, now: float) -> Elapsed | ChannelDue | None:
        for wait, at in self.timers.items():
            if at <= now:
                del self.timers[wait]
                return Elapsed(cast(Wait, wait))
        for handover in self.channels.values():
            if handover.due is not None and handover.due <= now:
                return ChannelDue(handover.channel)
        return None

    def _take(self, event: Event) -> None:
        if isinstance(event, Received) and self._out_of_place(event):
            name, what = channel_name(*event.channel), event.message.wire_name()
            event = ChannelLost(event.channel, ProtocolError(f"{name} of {self.endpoint}: {what} out of place"))
        elif isinstance(event, TargetReceived) and self._out_of_place(event):
            if self._main.stage is Stage.PARKED:
                self._act(Drop(self.attempt, MAIN))
            what = event.message.wire_name()
            event = LinkFailed(self.attempt, MAIN, ProtocolError(f"main 0 of {self._target}: {what} out of place"))
        self.take(trigger(event), event)

    def _out_of_place(self, event: Received | TargetReceived) -> bool:
        if self.state in OUT_OF_PLACE.get(type(event.message), ()):
            return True
        if isinstance(event.message, MigrateDstSeamlessAck | MigrateDstSeamlessNack):
            return self.state in _AT_WORK and Wait.HANDSHAKE not in self.timers
        if isinstance(event, Received) and isinstance(event.message, MigrateData):
            handover = self.channels.get(event.channel)
            return handover is None or handover.stage is not Stage.AWAITING_DATA
        return False


_M = ClientMigration

TABLE: dict[tuple[State, Hashable], list[Edge[State]]] = {
    # no migration, or none that was announced
    (State.IDLE, MigrateBegin): [Edge(_M._announce, State.LINKING)],
    (State.IDLE, MigrateBeginSeamless): [Edge(_M._announce, State.LINKING)],
    (State.IDLE, MigrateCancel): [Edge(_M._forget_destination, State.IDLE)],
    (State.IDLE, MigrateSwitchHost): [Edge(_M._redirect, State.RECONNECTING)],
    (State.IDLE, Migrate): [Edge(_M._fall_back, State.RECONNECTING)],
    (State.IDLE, MigrateEnd): [Edge(_M._fall_back, State.RECONNECTING)],
    (State.IDLE, ChannelOpened): [Edge(_M._add, State.IDLE)],
    (State.IDLE, ChannelLost): [Edge(_M._end, State.CLOSED, when=_M._of_main), Edge(_M._close, State.IDLE)],
    (State.IDLE, Always): [Edge(_M._announce_held, State.LINKING, when=_M._has_held_announcement)],
    # the target's links are being made
    (State.LINKING, MigrateBegin): [Edge(_M._announce, State.LINKING)],
    (State.LINKING, MigrateBeginSeamless): [Edge(_M._announce, State.LINKING)],
    (State.LINKING, MigrateCancel): [Edge(_M._cancel, State.IDLE)],
    (State.LINKING, MigrateSwitchHost): [Edge(_M._redirect, State.RECONNECTING)],
    (State.LINKING, Migrate): [Edge(_M._fall_back, State.RECONNECTING)],
    (State.LINKING, MigrateEnd): [Edge(_M._fall_back, State.RECONNECTING)],
    (State.LINKING, ChannelOpened): [Edge(_M._add_and_link, State.LINKING)],
    (State.LINKING, ChannelLost): [
        Edge(_M._fall_back_or_return, State.RECONNECTING, when=_M._of_main),
        Edge(_M._close, State.LINKING),
    ],
    (State.LINKING, LinkUp): [Edge(_M._link_up, State.LINKING)],
    (State.LINKING, LinkFailed): [
        Edge(_M._lose_target, State.LINKING, when=_M._main_link_lost),
        Edge(_M._link_failed, State.LINKING),
    ],
    (State.LINKING, ChannelDue): [
        Edge(_M._link_all_in_time, State.LINKING, when=_M._core_link_hangs),
        Edge(_M._channel_due, State.LINKING),
    ],
    (State.LINKING, MigrateDstSeamlessAck): [Edge(_M._agree, State.LINKING)],
    (State.LINKING, MigrateDstSeamlessNack): [Edge(_M._settle_for_semi, State.LINKING)],
    (State.LINKING, Wait.HANDSHAKE): [Edge(_M._handshake_failed, State.LINKING)],
    (State.LINKING, Always): [
        Edge(_M._refuse, State.IDLE, when=_M._cannot_link),
        Edge(_M._answer, State.LINKED_SEAMLESS, when=_M._linked_seamless),
        Edge(_M._answer, State.LINKED_SEMI, when=_M._linked),
    ],
    # the source waits for the VM to move, and will say MIGRATE_END
    (State.LINKED_SEMI, MigrateBegin): [Edge(_M._announce, State.LINKING)],
    (State.LINKED_SEMI, MigrateBeginSeamless): [Edge(_M._announce, State.LINKING)],
    (State.LINKED_SEMI, MigrateCancel): [Edge(_M._cancel, State.IDLE)],
    (State.LINKED_SEMI, MigrateSwitchHost): [Edge(_M._redirect, State.RECONNECTING)],
    (State.LINKED_SEMI, Migrate): [Edge(_M._fall_back, State.RECONNECTING)],
    (State.LINKED_SEMI, MigrateEnd): [
        Edge(_M._fall_back, State.RECONNECTING, when=_M._core_not_parked),
        Edge(_M._start_semi, State.SWITCHING_SEMI),
    ],
    (State.LINKED_SEMI, ChannelOpened): [Edge(_M._add_and_link, State.LINKED_SEMI)],
    (State.LINKED_SEMI, ChannelLost): [
        Edge(_M._fall_back_or_return, State.RECONNECTING, when=_M._of_main),
        Edge(_M._close, State.LINKED_SEMI),
    ],
    (State.LINKED_SEMI, LinkUp): [Edge(_M._link_up, State.LINKED_SEMI)],
    (State.LINKED_SEMI, LinkFailed): [
        Edge(_M._link_all_again, State.LINKED_SEMI, when=_M._all_may_be_relinked),
        Edge(_M._lose_target, State.LINKED_SEMI, when=_M._main_link_lost),
        Edge(_M._link_failed, State.LINKED_SEMI),
    ],
    (State.LINKED_SEMI, ChannelDue): [Edge(_M._channel_due, State.LINKED_SEMI)],
    # the source waits for the VM to move, and will say MIGRATE on every channel
    (State.LINKED_SEAMLESS, MigrateBegin): [Edge(_M._announce, State.LINKING)],
    (State.LINKED_SEAMLESS, MigrateBeginSeamless): [Edge(_M._announce, State.LINKING)],
    (State.LINKED_SEAMLESS, MigrateCancel): [Edge(_M._cancel, State.IDLE)],
    (State.LINKED_SEAMLESS, MigrateSwitchHost): [Edge(_M._redirect, State.RECONNECTING)],
    (State.LINKED_SEAMLESS, Migrate): [
        Edge(_M._fall_back, State.RECONNECTING, when=_M._core_not_parked),
        Edge(_M._start_seamless, State.SWITCHING_SEAMLESS),
    ],
    (State.LINKED_SEAMLESS, MigrateEnd): [Edge(_M._fall_back, State.RECONNECTING)],
    (State.LINKED_SEAMLESS, ChannelOpened): [Edge(_M._add_and_link, State.LINKED_SEAMLESS)],
    (State.LINKED_SEAMLESS, ChannelLost): [
        Edge(_M._fall_back_or_return, State.RECONNECTING, when=_M._of_main),
        Edge(_M._close, State.LINKED_SEAMLESS),
    ],
    (State.LINKED_SEAMLESS, LinkUp): [Edge(_M._link_up, State.LINKED_SEAMLESS)],
    (State.LINKED_SEAMLESS, LinkFailed): [
        Edge(_M._link_all_again, State.LINKED_SEAMLESS, when=_M._main_may_be_relinked),
        Edge(_M._lose_target, State.LINKED_SEAMLESS, when=_M._main_link_lost),
        Edge(_M._link_failed, State.LINKED_SEAMLESS),
    ],
    (State.LINKED_SEAMLESS, ChannelDue): [Edge(_M._channel_due, State.LINKED_SEAMLESS)],
    (State.LINKED_SEAMLESS, MigrateDstSeamlessAck): [Edge(_M._agree, State.LINKED_SEAMLESS)],
    (State.LINKED_SEAMLESS, MigrateDstSeamlessNack): [Edge(_M._break_promise, State.LINKED_SEAMLESS)],
    (State.LINKED_SEAMLESS, Wait.HANDSHAKE): [Edge(_M._handshake_failed, State.LINKED_SEAMLESS)],
    # all but main have no connection until the target's INIT
    (State.SWITCHING_SEMI, MigrateBegin): [Edge(_M._hold_announcement, State.SWITCHING_SEMI)],
    (State.SWITCHING_SEMI, MigrateBeginSeamless): [Edge(_M._hold_announcement, State.SWITCHING_SEMI)],
    (State.SWITCHING_SEMI, MigrateCancel): [Edge(_M._forget_held, State.SWITCHING_SEMI)],
    (State.SWITCHING_SEMI, MigrateSwitchHost): [Edge(_M._redirect, State.RECONNECTING)],
    (State.SWITCHING_SEMI, Migrate): [Edge(_M._fall_back, State.RECONNECTING)],
    (State.SWITCHING_SEMI, MigrateEnd): [Edge(_M._fall_back, State.RECONNECTING)],
    (State.SWITCHING_SEMI, ChannelOpened): [Edge(_M._close_new, State.SWITCHING_SEMI)],
    (State.SWITCHING_SEMI, ChannelLost): [
        Edge(_M._fall_back, State.RECONNECTING, when=_M._of_core),
        Edge(_M._close, State.SWITCHING_SEMI),
    ],
    (State.SWITCHING_SEMI, LinkFailed): [
        Edge(_M._fall_back, State.RECONNECTING, when=_M._core_link_lost),
        Edge(_M._lose_channel, State.SWITCHING_SEMI),
    ],
    (State.SWITCHING_SEMI, Init): [Edge(_M._finish_semi, State.IDLE)],
    (State.SWITCHING_SEMI, Wait.INIT): [Edge(_M._fall_back, State.RECONNECTING)],
    # every channel moves at its own time
    (State.SWITCHING_SEAMLESS, MigrateBegin): [Edge(_M._hold_announcement, State.SWITCHING_SEAMLESS)],
    (State.SWITCHING_SEAMLESS, MigrateBeginSeamless): [Edge(_M._hold_announcement, State.SWITCHING_SEAMLESS)],
    (State.SWITCHING_SEAMLESS, MigrateCancel): [Edge(_M._forget_held, State.SWITCHING_SEAMLESS)],
    (State.SWITCHING_SEAMLESS, MigrateSwitchHost): [Edge(_M._redirect, State.RECONNECTING)],
    (State.SWITCHING_SEAMLESS, Migrate): [
        Edge(_M._fall_back, State.RECONNECTING, when=_M._migrated_before),
        Edge(_M._migrate, State.SWITCHING_SEAMLESS),
    ],
    (State.SWITCHING_SEAMLESS, MigrateData): [Edge(_M._forward, State.SWITCHING_SEAMLESS)],
    (State.SWITCHING_SEAMLESS, MigrateEnd): [Edge(_M._fall_back, State.RECONNECTING)],
    (State.SWITCHING_SEAMLESS, ChannelOpened): [Edge(_M._add, State.SWITCHING_SEAMLESS)],
    (State.SWITCHING_SEAMLESS, ChannelLost): [
        Edge(_M._fall_back, State.RECONNECTING, when=_M._of_core),
        Edge(_M._close, State.SWITCHING_SEAMLESS),
    ],
    (State.SWITCHING_SEAMLESS, LinkUp): [Edge(_M._link_up, State.SWITCHING_SEAMLESS)],
    (State.SWITCHING_SEAMLESS, LinkFailed): [
        Edge(_M._fall_back, State.RECONNECTING, when=_M._core_link_lost),
        Edge(_M._lose_channel, State.SWITCHING_SEAMLESS),
    ],
    (State.SWITCHING_SEAMLESS, ChannelDue): [Edge(_M._channel_due_in_switch, State.SWITCHING_SEAMLESS)],
    (State.SWITCHING_SEAMLESS, Wait.REST): [
        Edge(_M._fall_back, State.RECONNECTING, when=_M._core_not_swapped),
        Edge(_M._leave_rest, State.SWITCHING_SEAMLESS),
    ],
    (State.SWITCHING_SEAMLESS, Always): [
        Edge(_M._fall_back, State.RECONNECTING, when=_M._core_link_missing),
        Edge(_M._finish_seamless, State.IDLE, when=_M._all_swapped),
    ],
    # hosts are tried in turn
    (State.RECONNECTING, MigrateBegin): [Edge(_M._hold_announcement, State.RECONNECTING)],
    (State.RECONNECTING, MigrateBeginSeamless): [Edge(_M._hold_announcement, State.RECONNECTING)],
    (State.RECONNECTING, MigrateCancel): [Edge(_M._forget_held, State.RECONNECTING)],
    (State.RECONNECTING, MigrateSwitchHost): [Edge(_M._redirect, State.RECONNECTING)],
    (State.RECONNECTING, Migrate): [Edge(_M._reconnect_failed, State.RECONNECTING, when=_M._trying)],
    (State.RECONNECTING, MigrateEnd): [Edge(_M._reconnect_failed, State.RECONNECTING, when=_M._trying)],
    (State.RECONNECTING, ChannelOpened): [Edge(_M._add, State.RECONNECTING)],
    (State.RECONNECTING, ChannelLost): [
        Edge(_M._reconnect_failed, State.RECONNECTING, when=_M._of_core),
        Edge(_M._close, State.RECONNECTING),
    ],
    (State.RECONNECTING, Reconnected): [Edge(_M._arrive, State.IDLE, when=_M._trying)],
    (State.RECONNECTING, ReconnectFailed): [Edge(_M._reconnect_failed, State.RECONNECTING, when=_M._trying)],
    (State.RECONNECTING, Wait.TRY): [Edge(_M._reconnect_failed, State.RECONNECTING)],
    (State.RECONNECTING, Wait.RETRY): [Edge(_M._retry, State.RECONNECTING)],
    (State.RECONNECTING, Wait.GIVE_UP): [Edge(_M._give_up, State.CLOSED)],
    (State.RECONNECTING, Always): [Edge(_M._give_up, State.CLOSED, when=_M._no_host_left)],
    # wherever the session is
    **{(state, Closed): [Edge(_M._close_all, State.CLOSED)] for state in State if state is not State.CLOSED},
    **{(state, TargetAlive): [Edge(_M._see_life, state)] for state in State if state is not State.CLOSED},
    **{(state, Wait.INPUT): [Edge(_M._input_deadline, state)] for state in State if Wait.INPUT in WAITS[state]},
}

_QUIET = frozenset({State.IDLE, State.RECONNECTING, State.CLOSED})
_AT_WORK = frozenset(State) - _QUIET

IGNORED: dict[object, frozenset[State]] = {
    Closed: frozenset({State.CLOSED}),
    TargetAlive: frozenset({State.CLOSED}),
    ChannelOpened: frozenset({State.CLOSED}),
    ChannelLost: frozenset({State.CLOSED}),
    # of a link that an action dropped, or was never asked for
    LinkUp: _QUIET | {State.SWITCHING_SEMI},
    LinkFailed: _QUIET,
    Reconnected: frozenset(State) - {State.RECONNECTING},
    ReconnectFailed: frozenset(State) - {State.RECONNECTING},
    # of connections that are closed by now
    MigrateDstSeamlessAck: _QUIET,
    MigrateDstSeamlessNack: _QUIET,
    Init: _QUIET,
    **dict.fromkeys((MigrateBegin, MigrateBeginSeamless, MigrateCancel, MigrateSwitchHost), frozenset({State.CLOSED})),
    **dict.fromkeys((Migrate, MigrateData, MigrateEnd), frozenset({State.CLOSED})),
}
"""What changes nothing in these states."""

OUT_OF_PLACE: dict[object, frozenset[State]] = {
    MigrateData: frozenset(State) - {State.SWITCHING_SEAMLESS, State.CLOSED},
    MigrateDstSeamlessAck: frozenset({State.LINKED_SEMI, *SWITCHING}),
    MigrateDstSeamlessNack: frozenset({State.LINKED_SEMI, *SWITCHING}),
    Init: _AT_WORK - {State.SWITCHING_SEMI},
}
"""What a peer must not say in these states: it counts as the end of the connection that it came on."""

ClientMigration.table = TABLE
