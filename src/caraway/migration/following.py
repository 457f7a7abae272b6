"""What every part of following a VM shares: the session's channels, the attempt, and input that is held back."""

from __future__ import annotations

from collections.abc import Iterable

from caraway.endpoint import Endpoint
from caraway.errors import CarawayError, MigrationError
from caraway.migration.actions import Action, CloseChannel, HoldInput, ReleaseInput, Tell
from caraway.migration.channels import MAIN, Channel
from caraway.migration.events import ChannelLost, ChannelOpened, LinkFailed, Received, TargetAlive
from caraway.migration.fallback import Fallback
from caraway.migration.handover import LINK_PHASE, ChannelHandover, Stage, Step, Turn
from caraway.migration.machine import Machine
from caraway.migration.offer import Policy
from caraway.migration.reports import ChannelGone, Report
from caraway.migration.states import WAITS, Elapsed, State, Wait
from caraway.wire.link import channel_name
from caraway.wire.messages.hand_over import MigrateBeginHandOver

INPUT_DEADLINE = 0.25
"""Seconds after the inputs channel has moved until input is sent, guest or no guest (spec/migration.md 15, D-05)."""


class Following(Machine[State]):
    """Channels, attempt and input of a session that may move."""

    waits = WAITS

    def __init__(self, endpoint: Endpoint, policy: Policy = Policy()) -> None:  # noqa: B008 - immutable
        super().__init__(State.IDLE)
        self.endpoint = endpoint
        self.channels = {MAIN: ChannelHandover(MAIN)}
        self._policy = policy
        self._turn = Turn()
        self._destination: Endpoint | CarawayError | None = None
        """Of the newest announcement, until it is fulfilled or called off: the address, or why this client refuses."""
        self._held: Received | None = None
        """An announcement that came before this move was over."""
        self._version: int | None = None
        """What DO_SEAMLESS says; None if the target is linked for semi-seamless."""
        self._agreed = False
        """The target has answered ACK."""
        self._hand_over: MigrateBeginHandOver | None = None
        """The announcement, if the source gives the channels' state to the target itself; None if this client does."""
        self._fallback: Fallback | None = None
        self._holds_input = False
        self._alive = False
        """The guest was seen to run at the target while input was held."""

    @property
    def attempt(self) -> int:
        """Number of the attempt under way, or of the last one."""
        return self._turn.attempt

    @property
    def _main(self) -> ChannelHandover:
        return self.channels.setdefault(MAIN, ChannelHandover(MAIN))

    @property
    def _target(self) -> Endpoint:
        assert self._turn.target is not None
        return self._turn.target

    def _act(self, action: Action) -> None:
        self._turn.actions.append(action)

    def _tell(self, report: Report) -> None:
        self._act(Tell(self.attempt, report))

    def _after(self, seconds: float) -> float:
        return self._turn.now + seconds

    def _others(self) -> Iterable[ChannelHandover]:
        return [handover for channel, handover in self.channels.items() if channel != MAIN]

    # guards

    def _of_main(self, event: ChannelLost | LinkFailed) -> bool:
        return event.channel == MAIN

    def _of_core(self, event: ChannelLost) -> bool:
        handover = self.channels.get(event.channel)
        return handover is not None and handover.core

    # actions: channels come and go

    def _add(self, event: ChannelOpened) -> None:
        self.channels.setdefault(event.channel, ChannelHandover(event.channel))

    def _add_and_link(self, event: ChannelOpened) -> None:
        self._add(event)
        if self._main.stage is Stage.PARKED:
            if self.state is not State.LINKING:
                self._turn.link_until = self._after(LINK_PHASE)
            self.channels[event.channel].take(Step.LINK, self._turn)

    def _close(self, event: ChannelLost) -> None:
        if event.channel in self.channels:
            self._leave_behind(event.channel, event.error)

    def _close_new(self, event: ChannelOpened) -> None:
        self._leave_behind(event.channel, MigrationError(f"{channel_name(*event.channel)}: the VM has moved"))

    def _leave_behind(self, channel: Channel, error: CarawayError | None = None) -> None:
        """The channel does not come along."""
        handover = self.channels.pop(channel, None)
        if handover is not None:
            error = error or handover.error
            handover.take(Step.DROP, self._turn)
        error = error or MigrationError(f"{channel_name(*channel)}: not linked at {self._target}")
        self._act(CloseChannel(self.attempt, channel, error))
        if self.state is not State.IDLE:
            self._tell(ChannelGone(channel, error))

    # actions: input

    def _hold_input(self) -> None:
        if not self._holds_input:
            self._act(HoldInput(self.attempt))
        self._holds_input = True
        self._alive = False
        self.timers.pop(Wait.INPUT, None)

    def _input_arrived(self) -> None:
        if self._holds_input:
            self.timers[Wait.INPUT] = self._after(INPUT_DEADLINE)
            if self._alive:
                self._release_input()

    def _see_life(self, event: TargetAlive) -> None:
        self._alive = True
        if Wait.INPUT in self.timers:
            self._release_input()

    def _input_deadline(self, event: Elapsed) -> None:
        self._release_input()

    def _release_input(self) -> None:
        self.timers.pop(Wait.INPUT, None)
        if self._holds_input:
            self._holds_input = False
            self._act(ReleaseInput(self.attempt))
