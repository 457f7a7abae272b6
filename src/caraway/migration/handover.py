"""One channel on its way from the source to the target (spec/migration.md 9.2 to 9.4, 11.1).

The link to the target is made and parked while the channel goes on at the source; then the channel moves: at once,
after the source has handed over its state (MIGRATE_DATA), or anew.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from caraway.endpoint import Endpoint
from caraway.errors import AuthError, CarawayError, DeadlineError, LinkError
from caraway.migration.actions import Action, Drop, HoldQueue, Link, Swap
from caraway.migration.channels import MAIN, Channel, is_core
from caraway.migration.table import Edge, Table, choose
from caraway.wire.constants import LinkErrorCode
from caraway.wire.link import LinkRefusedError
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import MigrateFlags

LINK_PHASE = 9.0
"""Seconds until all of a target is linked: the source waits 10, and an answer after that is void."""
LINK_TRY = 4.0
"""Seconds for one try, so that one that hangs leaves time for another."""
DATA_DEADLINE = 5.0
"""Seconds from FLUSH_MARK to MIGRATE_DATA."""
FIRST_DELAY, LONGEST_DELAY = 0.25, 4.0
"""Seconds between tries: the first wait, and where doubling ends."""


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures, at least one."""
    return float(min(FIRST_DELAY * 2 ** min(failures - 1, 16), LONGEST_DELAY))


def worth_retrying(error: CarawayError) -> bool:
    """Whether the same link may succeed later or with fresh credentials; TLS and policy errors stay what they are."""
    if isinstance(error, LinkRefusedError):
        return error.code != LinkErrorCode.CHANNEL_NOT_AVAILABLE
    return isinstance(error, AuthError | LinkError | DeadlineError)


class Stage(enum.Enum):
    """Where a channel is."""

    LIVE = enum.auto()
    """On one host, without a link to another."""
    LINKING = enum.auto()
    """The link to the target is being made."""
    WAITING = enum.auto()
    """The link failed and will be tried again."""
    PARKED = enum.auto()
    """The link to the target stands, unused."""
    AWAITING_DATA = enum.auto()
    """Flushed: the source owes MIGRATE_DATA."""
    SWAPPED = enum.auto()
    """The target's link is in use; other channels may still be on their way."""


class Step(enum.Enum):
    """What can happen to a channel."""

    LINK = enum.auto()
    LINKED = enum.auto()
    LINK_FAILED = enum.auto()
    DUE = enum.auto()
    """The time that the stage may take is over."""
    MIGRATE = enum.auto()
    MIGRATE_DATA = enum.auto()
    START_ANEW = enum.auto()
    """The target is ready for a channel without state."""
    DROP = enum.auto()
    """The attempt is over."""
    SETTLE = enum.auto()
    """The session has moved."""


@dataclass(slots=True)
class Turn:
    """What the session's machine shares with its channels."""

    now: float = 0.0
    actions: list[Action] = field(default_factory=list)
    """What this event has led to so far."""
    attempt: int = 0
    """Number of the attempt under way."""
    target: Endpoint | None = field(default=None, repr=False)
    """Where the attempt leads."""
    link_until: float = 0.0
    """When all of the target must be linked."""


@dataclass(slots=True)
class Happening:
    """A step, and what came with it."""

    step: Step
    turn: Turn
    error: CarawayError | None = None
    flags: MigrateFlags = MigrateFlags(0)  # noqa: RUF009 - immutable
    first: Message | None = None
    """Goes to the target before anything else."""


class ChannelHandover:
    """A channel of the session, and its twin at the target."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.stage = Stage.LIVE
        self.due: float | None = None
        """When the stage has lasted long enough."""
        self.error: CarawayError | None = None
        """Why there is no link to the target, if one was wanted."""
        self.relinks = 0
        """How often a parked link may be made again."""
        self._until = 0.0
        self._failures = 0

    @property
    def core(self) -> bool:
        """Whether the session moves only with this channel."""
        return is_core(self.channel)

    @property
    def pending(self) -> bool:
        """Whether a link may still come to stand."""
        return self.stage in (Stage.LINKING, Stage.WAITING)

    @property
    def usable(self) -> bool:
        """Whether there is a link at the target to go on with."""
        return self.stage in (Stage.PARKED, Stage.AWAITING_DATA, Stage.SWAPPED)

    def take(
        self,
        step: Step,
        turn: Turn,
        *,
        error: CarawayError | None = None,
        flags: MigrateFlags = MigrateFlags(0),  # noqa: B008 - immutable
        first: Message | None = None,
    ) -> bool:
        """Do what the table says. False: this cannot happen now, and nothing was done."""
        happening = Happening(step, turn, error, flags, first)
        edge = choose(TABLE.get((self.stage, step), ()), self, happening)
        if edge is None:
            return False
        if edge.next is not self.stage:
            self.due = None
        self.stage = edge.next
        if edge.action is not None:
            edge.action(self, happening)
        return True

    # guards

    def _time_for_another(self, happening: Happening) -> bool:
        worth = happening.error is None or worth_retrying(happening.error)
        return worth and happening.turn.now + back_off(self._failures + 1) < self._until

    def _may_relink(self, happening: Happening) -> bool:
        return self.relinks > 0

    def _has_data(self, happening: Happening) -> bool:
        return bool(happening.flags & MigrateFlags.NEED_DATA_TRANSFER)

    # actions

    def _link(self, happening: Happening) -> None:
        self._until = happening.turn.link_until
        self._failures = 0
        self.error = None
        self._try(happening.turn, fresh=self.channel == MAIN)

    def _relink(self, happening: Happening) -> None:
        self.relinks -= 1
        self._until = happening.turn.now + LINK_PHASE
        self._failures = 0
        self._try(happening.turn, fresh=True)

    def _try_again(self, happening: Happening) -> None:
        self._try(happening.turn, fresh=True)

    def _try(self, turn: Turn, *, fresh: bool) -> None:
        assert turn.target is not None
        self.due = min(turn.now + LINK_TRY, self._until)
        turn.actions.append(Link(turn.attempt, self.channel, turn.target, fresh))

    def _wait(self, happening: Happening) -> None:
        self._failures += 1
        self.due = happening.turn.now + back_off(self._failures)

    def _drop_and_wait(self, happening: Happening) -> None:
        self._drop(happening)
        self._wait(happening)

    def _give_up(self, happening: Happening) -> None:
        self.error = happening.error or DeadlineError("the target was not linked in time")

    def _drop_and_give_up(self, happening: Happening) -> None:
        self._drop(happening)
        self._give_up(happening)

    def _drop(self, happening: Happening) -> None:
        happening.turn.actions.append(Drop(happening.turn.attempt, self.channel))

    def _forget(self, happening: Happening) -> None:
        self.error = None
        self.relinks = 0

    def _drop_and_forget(self, happening: Happening) -> None:
        self._drop(happening)
        self._forget(happening)

    def _flush(self, happening: Happening) -> None:
        mark = bool(happening.flags & MigrateFlags.NEED_FLUSH)
        happening.turn.actions.append(HoldQueue(happening.turn.attempt, self.channel, mark))
        self.due = happening.turn.now + DATA_DEADLINE

    def _swap(self, happening: Happening) -> None:
        if happening.flags & MigrateFlags.NEED_FLUSH:
            happening.turn.actions.append(HoldQueue(happening.turn.attempt, self.channel, flush_mark=True))
        happening.turn.actions.append(Swap(happening.turn.attempt, self.channel, happening.first, keep=True))

    def _start_anew(self, happening: Happening) -> None:
        happening.turn.actions.append(Swap(happening.turn.attempt, self.channel, happening.first, keep=False))


_H = ChannelHandover

TABLE: Table[Stage, Step] = {
    (Stage.LIVE, Step.LINK): [Edge(_H._link, Stage.LINKING)],
    (Stage.LIVE, Step.DROP): [Edge(_H._forget, Stage.LIVE)],
    (Stage.LINKING, Step.LINKED): [Edge(None, Stage.PARKED)],
    (Stage.LINKING, Step.LINK_FAILED): [
        Edge(_H._wait, Stage.WAITING, when=_H._time_for_another),
        Edge(_H._give_up, Stage.LIVE),
    ],
    (Stage.LINKING, Step.DUE): [
        Edge(_H._drop_and_wait, Stage.WAITING, when=_H._time_for_another),
        Edge(_H._drop_and_give_up, Stage.LIVE),
    ],
    (Stage.LINKING, Step.DROP): [Edge(_H._drop_and_forget, Stage.LIVE)],
    (Stage.WAITING, Step.DUE): [Edge(_H._try_again, Stage.LINKING)],
    (Stage.WAITING, Step.DROP): [Edge(_H._forget, Stage.LIVE)],
    (Stage.PARKED, Step.LINK_FAILED): [
        Edge(_H._relink, Stage.LINKING, when=_H._may_relink),
        Edge(_H._give_up, Stage.LIVE),
    ],
    (Stage.PARKED, Step.MIGRATE): [
        Edge(_H._flush, Stage.AWAITING_DATA, when=_H._has_data),
        Edge(_H._swap, Stage.SWAPPED),
    ],
    (Stage.PARKED, Step.START_ANEW): [Edge(_H._start_anew, Stage.SWAPPED)],
    (Stage.PARKED, Step.DROP): [Edge(_H._drop_and_forget, Stage.LIVE)],
    (Stage.AWAITING_DATA, Step.MIGRATE_DATA): [Edge(_H._swap, Stage.SWAPPED)],
    (Stage.AWAITING_DATA, Step.DUE): [Edge(_H._drop_and_give_up, Stage.LIVE)],
    (Stage.AWAITING_DATA, Step.LINK_FAILED): [Edge(_H._give_up, Stage.LIVE)],
    (Stage.AWAITING_DATA, Step.DROP): [Edge(_H._drop_and_forget, Stage.LIVE)],
    (Stage.SWAPPED, Step.SETTLE): [Edge(_H._forget, Stage.LIVE)],
}
"""Every step that a stage knows. What is not here is out of place there, and changes nothing by itself."""
