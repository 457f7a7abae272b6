"""Linking the target while the session goes on at the source (spec/migration.md 9.2)."""

from __future__ import annotations

from typing import cast

from caraway.endpoint import Endpoint
from caraway.errors import CarawayError, DeadlineError, MigrationError
from caraway.migration.actions import Ask, Drop, Reply
from caraway.migration.channels import MAIN
from caraway.migration.events import LinkFailed, LinkUp, Received, TargetReceived
from caraway.migration.following import Following
from caraway.migration.handover import LINK_PHASE, Stage, Step
from caraway.migration.offer import Offer
from caraway.migration.reports import Announced, Cancelled, Failed, Linked, Mode
from caraway.migration.states import ChannelDue, Elapsed, Happened, State, Wait
from caraway.wire.capabilities import MainCapability
from caraway.wire.messages.base import Message
from caraway.wire.messages.hand_over import (
    MigrateBeginHandOver,
    MigrateConnectedHandOver,
    MigrateDstDoHandOver,
    MigrateDstHandOverAck,
)
from caraway.wire.messages.main import (
    DstInfo,
    MigrateBeginSeamless,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateConnectError,
    MigrateDstDoSeamless,
)

HANDSHAKE_DEADLINE = 5.0
"""Seconds from DO_SEAMLESS to the target's answer."""


class Linking(Following):
    """From an announcement to parked links, and their upkeep."""

    # guards

    def _main_link_lost(self, event: LinkFailed) -> bool:
        return event.channel == MAIN and self._main.stage is Stage.PARKED

    def _main_may_be_relinked(self, event: LinkFailed) -> bool:
        return self._main_link_lost(event) and self._main.relinks > 0

    def _all_may_be_relinked(self, event: LinkFailed) -> bool:
        handover = self.channels.get(event.channel)
        return handover is not None and handover.stage is Stage.PARKED and self._main.relinks > 0

    def _cannot_link(self, event: Happened) -> bool:
        return any(handover.core and handover.error is not None for handover in self.channels.values())

    def _linked(self, event: Happened) -> bool:
        """All of the core is linked, and no link that is under way could still join it."""
        return Wait.HANDSHAKE not in self.timers and all(
            handover.stage is Stage.PARKED or not (handover.core or handover.stage is Stage.LINKING)
            for handover in self.channels.values()
        )

    def _linked_seamless(self, event: Happened) -> bool:
        return self._agreed and self._linked(event)

    def _core_link_hangs(self, event: ChannelDue) -> bool:
        """Whether the target of a semi-seamless switch may have a link already that is to be made again."""
        handover = self.channels[event.channel]
        return self._version is None and event.channel != MAIN and handover.core and handover.stage is Stage.LINKING

    def _has_held_announcement(self, event: Happened) -> bool:
        return self._held is not None

    # actions

    @property
    def _mode(self) -> Mode:
        return Mode.SEMI_SEAMLESS if self._version is None else Mode.SEAMLESS

    def _announce(self, event: Received) -> None:
        """Begin an attempt; what forbids it shows as an error of main's link."""
        self._drop_links()
        message = cast(DstInfo, event.message)
        self._turn.attempt += 1
        self._turn.link_until = self._after(LINK_PHASE)
        seamless = isinstance(message, MigrateBeginSeamless) and self._policy.offer is Offer.AUTO
        self._version = cast(MigrateBeginSeamless, message).src_mig_version if seamless else None
        self._hand_over = message if seamless and isinstance(message, MigrateBeginHandOver) else None
        destination = self._destination = self._resolved(message)
        if isinstance(destination, CarawayError):
            self._main.error = destination
            return
        self._turn.target = destination
        self._tell(Announced(destination))
        if self._policy.offer.links_early:
            self._main.take(Step.LINK, self._turn)
        else:
            self._main.error = MigrationError(f"{destination}: this session does not link before the VM has moved")

    def _resolved(self, message: DstInfo) -> Endpoint | CarawayError:
        try:
            return self._policy.target(self.endpoint, message)
        except CarawayError as error:
            return error

    def _announce_held(self, event: Happened) -> None:
        assert self._held is not None
        held, self._held = self._held, None
        self._announce(held)

    def _hold_announcement(self, event: Received) -> None:
        self._held = event

    def _forget_held(self, event: Received) -> None:
        self._held = None

    def _link_up(self, event: LinkUp) -> None:
        handover = self.channels.get(event.channel)
        if handover is not None and handover.take(Step.LINKED, self._turn) and event.channel == MAIN:
            self._main_up(event)

    def _main_up(self, event: LinkUp) -> None:
        if MainCapability.SEMI_SEAMLESS_MIGRATE not in event.capabilities:
            self._fail_main(MigrationError(f"{self._target}: the target cannot be linked before the VM has moved"))
            return
        if self._version is not None and MainCapability.SEAMLESS_MIGRATE not in event.capabilities:
            if self.state is State.LINKED_SEAMLESS:
                self._fail_main(MigrationError(f"{self._target}: the target no longer takes over state"))
                return
            self._version = None
        if MainCapability.HAND_OVER not in event.capabilities:
            self._hand_over = None
        if self._version is not None:
            self._act(Ask(self.attempt, self._question(self._version)))
            self.timers[Wait.HANDSHAKE] = min(self._after(HANDSHAKE_DEADLINE), self._turn.link_until)
        for handover in self._others():
            handover.take(Step.LINK, self._turn)

    def _question(self, version: int) -> Message:
        offer = self._hand_over
        if offer is None:
            return MigrateDstDoSeamless(version)
        return MigrateDstDoHandOver(version, offer.announcement, offer.token)

    def _agree(self, event: TargetReceived) -> None:
        del self.timers[Wait.HANDSHAKE]
        self._agreed = True
        if not isinstance(event.message, MigrateDstHandOverAck):
            self._hand_over = None

    def _settle_for_semi(self, event: TargetReceived) -> None:
        del self.timers[Wait.HANDSHAKE]
        self._version = None

    def _break_promise(self, event: TargetReceived) -> None:
        """The source was told seamless, and the target no longer agrees."""
        self._fail_main(MigrationError(f"{self._target}: the target no longer takes over state"))

    def _handshake_failed(self, event: Elapsed) -> None:
        # Not semi-seamless: the target may have accepted, and MIGRATE_END would kill a deployed one.
        self._fail_main(DeadlineError(f"{self._target}: {event.wait.value}: not in time"))

    def _fail_main(self, error: CarawayError) -> None:
        self._act(Drop(self.attempt, MAIN))
        self._main.relinks = 0
        self._main.take(Step.LINK_FAILED, self._turn, error=error)
        self._drop_others()

    def _link_failed(self, event: LinkFailed) -> None:
        handover = self.channels.get(event.channel)
        if handover is not None:
            handover.take(Step.LINK_FAILED, self._turn, error=event.error)

    def _lose_target(self, event: LinkFailed) -> None:
        self._link_failed(event)
        self._drop_others()

    def _link_all_again(self, event: LinkFailed) -> None:
        """The target's side of the attempt is gone.

        With main's link it has dropped the others. Before a semi-seamless switch a deployed one keeps any link that
        breaks: it would use that one rather than the next of the same channel, and crash.
        """
        self._main.relinks = 0
        self._link_failed(event)
        self._turn.link_until = self._after(LINK_PHASE)
        self._begin_with_main()

    def _link_all_in_time(self, event: ChannelDue) -> None:
        self._begin_with_main()

    def _begin_with_main(self) -> None:
        self._drop_links()
        self._turn.attempt += 1
        self._main.take(Step.LINK, self._turn)

    def _channel_due(self, event: ChannelDue) -> None:
        self.channels[event.channel].take(Step.DUE, self._turn)

    def _refuse(self, event: Happened) -> None:
        error = next(h.error for h in self.channels.values() if h.core and h.error is not None)
        self._drop_links()
        self._act(Reply(self.attempt, MigrateConnectError()))
        self._tell(Failed(error))

    def _answer(self, event: Happened) -> None:
        seamless = self.state is State.LINKED_SEAMLESS
        for handover in self.channels.values():
            if handover.pending:
                handover.take(Step.DROP, self._turn)
            handover.relinks = 1 if seamless or handover is self._main else 0
        reply: Message = MigrateConnectedSeamless() if seamless else MigrateConnected()
        if seamless and self._hand_over is not None:
            reply = MigrateConnectedHandOver(self._hand_over.announcement)
        self._act(Reply(self.attempt, reply))
        self._tell(Linked(self._target, self._mode))

    def _cancel(self, event: Received) -> None:
        self._drop_links()
        self._destination = None
        self._tell(Cancelled())

    def _forget_destination(self, event: Received) -> None:
        self._destination = None

    def _drop_links(self) -> None:
        self._main.take(Step.DROP, self._turn)
        self._drop_others()

    def _drop_others(self) -> None:
        for handover in self._others():
            handover.take(Step.DROP, self._turn)
        self.timers.pop(Wait.HANDSHAKE, None)
        self._agreed = False
