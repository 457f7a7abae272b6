"""The source: every rule of spec/migration.md 4 and 7, and what is better here than in deployed servers."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caraway.errors import DeadlineError, MigrationError, ProtocolError
from caraway.migration.destination import Destination
from caraway.migration.reports import Mode
from caraway.migration.source import LEAVE_DEADLINE, LINK_DEADLINE, SourceMigration, State
from caraway.migration.source_events import (
    Announce,
    Cut,
    HandOver,
    LetGo,
    LinksDone,
    MoveChannels,
    Moved,
    Outcome,
    Over,
    Replied,
    Resumed,
    Returned,
    Send,
    Stayed,
    Stopped,
    TakeBack,
    Tell,
    ViewerCame,
    ViewerFailed,
    ViewerGone,
    ViewerLeft,
    ViewerLinked,
)
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.messages.hand_over import MigrateBeginHandOver, MigrateConnectedHandOver
from caraway.wire.messages.main import (
    MigrateBegin,
    MigrateBeginSeamless,
    MigrateCancel,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateConnectError,
    MigrateEnd,
    MigrateSwitchHost,
)

SEMI, SEAMLESS, HAND_OVER = (
    MainCapability.SEMI_SEAMLESS_MIGRATE,
    MainCapability.SEAMLESS_MIGRATE,
    MainCapability.HAND_OVER,
)
NEW = Capabilities([SEMI, SEAMLESS])
OWN = Capabilities([SEMI, SEAMLESS, HAND_OVER])
OLDER = Capabilities([SEMI])
OLDEST = Capabilities()
A, B = Destination("a", 1), Destination("b", 2)
TOKEN = bytes(16)


class Source:
    """The machine, a clock, and what it did."""

    def __init__(self, *viewers: Capabilities) -> None:
        self.machine = SourceMigration()
        self.now = 0.0
        for id, capabilities in enumerate(viewers, 1):
            self.do(ViewerCame(id, capabilities))

    def do(self, event: object) -> list[object]:
        return [self._short(action) for action in self.machine.handle(event, self.now)]  # type: ignore[arg-type]

    def wait(self, seconds: float) -> list[object]:
        self.now += seconds
        return [self._short(action) for action in self.machine.handle_timer(self.now)]

    def _short(self, action: object) -> object:
        """Messages by their class; reports as they are."""
        if isinstance(action, Send):
            return type(action.message), action.viewer
        return action.report if isinstance(action, Tell) else action

    def announce(self, destination: Destination = A, number: int = 1, **options: object) -> list[object]:
        return self.do(Announce(number, destination, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("capabilities", "seamless", "begin"),
    [
        (NEW, True, [(MigrateBeginSeamless, 1)]),
        (NEW, False, [(MigrateBegin, 1)]),
        (OLDER, True, [(MigrateBegin, 1)]),
        (OLDEST, True, [LinksDone(1)]),
    ],
)
def test_what_a_viewer_is_told(capabilities, seamless, begin):
    assert Source(capabilities).announce(seamless=seamless) == begin


def test_nobody_to_tell():
    source = Source()
    assert source.announce() == [LinksDone(1)]
    assert source.do(Moved()) == [Over(1, Outcome.COMPLETED)]


@pytest.mark.parametrize(
    ("reply", "mode", "at_the_end"),
    [
        (MigrateConnectedSeamless(), Mode.SEAMLESS, MoveChannels(1)),
        (MigrateConnected(), Mode.SEMI_SEAMLESS, (MigrateEnd, 1)),
    ],
)
def test_linked_viewer_is_sent_on(reply, mode, at_the_end):
    source = Source(NEW)
    source.announce()
    assert source.do(Replied(1, reply)) == [ViewerLinked(1, 1, mode), LinksDone(1)]
    assert source.machine.deadline is None
    assert source.do(Moved()) == [at_the_end]
    assert source.do(ViewerGone(1)) == [ViewerLeft(1, 1), Over(1, Outcome.COMPLETED)]


def test_viewer_that_could_not_link_connects_anew():
    source = Source(NEW)
    source.announce()
    failed, done = source.do(Replied(1, MigrateConnectError()))
    assert isinstance(failed, ViewerFailed)
    assert isinstance(failed.error, MigrationError)
    assert done == LinksDone(1)
    assert source.do(Moved()) == [(MigrateSwitchHost, 1)]


def test_viewer_that_does_not_answer():
    source = Source(NEW)
    source.announce()
    assert source.machine.deadline == LINK_DEADLINE
    failed, done = source.wait(LINK_DEADLINE)
    assert isinstance(failed, ViewerFailed)
    assert isinstance(failed.error, DeadlineError)
    assert done == LinksDone(1)
    assert source.do(Replied(1, MigrateConnectedSeamless())) == [(MigrateCancel, 1)]
    assert source.do(Replied(1, MigrateConnectError())) == []
    assert source.do(Moved()) == [(MigrateSwitchHost, 1)]


def test_answer_that_comes_twice_is_void():
    source = Source(NEW)
    source.announce()
    source.do(Replied(1, MigrateConnected()))
    assert source.do(Replied(1, MigrateConnected())) == [(MigrateCancel, 1)]
    assert source.do(Moved()) == [(MigrateSwitchHost, 1)]


def test_seamless_that_was_not_offered():
    source = Source(OLDER)
    source.announce()
    cut, done = source.do(Replied(1, MigrateConnectedSeamless()))
    assert isinstance(cut, Cut)
    assert isinstance(cut.error, ProtocolError)
    assert done == LinksDone(1)


def test_agreement_dies_with_its_announcement():
    source = Source(NEW)
    source.announce()
    source.do(Replied(1, MigrateConnectedSeamless()))
    assert source.do(Stayed()) == [(MigrateCancel, 1), Over(1, Outcome.CANCELLED)]
    assert source.announce(B, 2) == [(MigrateBeginSeamless, 1)]
    assert source.do(Moved()) == [(MigrateSwitchHost, 1)]


def test_agreement_dies_with_its_viewer():
    source = Source(NEW)
    source.announce()
    source.do(Replied(1, MigrateConnectedSeamless()))
    source.do(ViewerGone(1))
    source.do(ViewerCame(1, NEW))
    assert source.do(Moved()) == [(MigrateSwitchHost, 1)]


def test_second_announcement_waits_for_the_first_ones_answers():
    source = Source(NEW)
    source.announce(A, 1)
    assert source.announce(B, 2) == []
    assert source.announce(A, 3) == [Over(2, Outcome.REPLACED)]
    told = source.do(Replied(1, MigrateConnected()))
    assert told == [
        ViewerLinked(1, 1, Mode.SEMI_SEAMLESS),
        LinksDone(1),
        (MigrateCancel, 1),
        Over(1, Outcome.REPLACED),
        (MigrateBeginSeamless, 1),
    ]
    assert source.do(Replied(1, MigrateConnectedSeamless())) == [ViewerLinked(3, 1, Mode.SEAMLESS), LinksDone(3)]


def test_guest_goes_where_it_was_last_said_to_go():
    source = Source(NEW)
    source.announce(A, 1)
    source.announce(B, 2)
    over, sent = source.do(Moved())
    assert over == Over(1, Outcome.REPLACED)
    assert sent == (MigrateSwitchHost, 1)
    assert source.machine.destination == B


def test_answers_to_what_was_called_off():
    source = Source(NEW, NEW)
    source.announce()
    assert source.do(Stayed()) == [Over(1, Outcome.CANCELLED)]
    assert source.machine.state is State.RECALLING
    assert source.announce(B, 2) == []
    assert source.do(Replied(1, MigrateConnected())) == [(MigrateCancel, 1)]
    assert source.do(Replied(2, MigrateConnectError())) == [(MigrateBeginSeamless, 1), (MigrateBeginSeamless, 2)]


def test_viewer_that_comes_later():
    source = Source(NEW)
    source.announce()
    source.do(Replied(1, MigrateConnected()))
    assert source.do(ViewerCame(2, NEW)) == []
    assert source.do(ViewerCame(3, NEW, complete=True)) == [(MigrateBeginSeamless, 3)]
    assert source.do(Moved()) == [(MigrateEnd, 1), (MigrateSwitchHost, 2), (MigrateSwitchHost, 3)]


def test_viewer_that_does_not_leave_is_cut_off():
    source = Source(NEW)
    source.announce()
    source.do(Moved())
    cut, failed, over = source.wait(LEAVE_DEADLINE)
    assert isinstance(cut, Cut)
    assert isinstance(failed, ViewerFailed)
    assert over == Over(1, Outcome.COMPLETED)


def test_viewer_of_a_guest_that_has_left_is_sent_after_it():
    source = Source()
    source.announce()
    source.do(Moved())
    assert source.do(ViewerCame(1, NEW)) == [(MigrateSwitchHost, 1)]
    assert any(isinstance(action, Cut) for action in source.wait(LEAVE_DEADLINE))
    assert source.do(Returned()) == []
    assert source.do(ViewerCame(2, NEW)) == []


def test_state_goes_from_server_to_server():
    source = Source(OWN, NEW)
    assert source.announce(token=TOKEN) == [(MigrateBeginHandOver, 1), (MigrateBeginSeamless, 2)]
    assert source.do(Replied(1, MigrateConnectedHandOver(7))) == []
    assert source.do(Replied(1, MigrateConnectedHandOver(1))) == [ViewerLinked(1, 1, Mode.SEAMLESS)]
    source.do(Replied(2, MigrateConnectedSeamless()))
    assert source.do(Stopped()) == [HandOver(1)]
    assert source.do(Resumed()) == [TakeBack(1)]
    assert source.do(Stopped()) == [HandOver(1)]
    assert source.do(Moved()) == [LetGo(1), MoveChannels(2)]


def test_state_that_was_handed_over_in_vain():
    source = Source(OWN)
    source.announce(token=TOKEN)
    source.do(Replied(1, MigrateConnectedHandOver(1)))
    source.do(Stopped())
    assert source.do(Stayed()) == [TakeBack(1), (MigrateCancel, 1), Over(1, Outcome.CANCELLED)]


def test_link_that_comes_when_the_guest_has_stopped():
    source = Source(OWN)
    source.announce(token=TOKEN)
    source.do(Stopped())
    assert source.do(Replied(1, MigrateConnectedHandOver(1))) == [
        ViewerLinked(1, 1, Mode.SEAMLESS),
        HandOver(1),
        LinksDone(1),
    ]


VIEWERS = st.integers(1, 3)
REPLIES = [MigrateConnected(), MigrateConnectedSeamless(), MigrateConnectError()]


class EveryOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: each announcement is over once, and nobody is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = SourceMigration()
        self.now = 0.0
        self.numbers = 0
        self.here: set[int] = set()
        self.open: set[int] = set()
        self.handed: set[int] = set()

    def _take(self, actions: list[object]) -> None:
        for action in actions:
            if isinstance(action, Tell) and isinstance(action.report, Over):
                assert action.report.announcement in self.open
                self.open.discard(action.report.announcement)
            elif isinstance(action, HandOver):
                assert action.viewer not in self.handed
                self.handed.add(action.viewer)
            elif isinstance(action, TakeBack | LetGo):
                self.handed.remove(action.viewer)
            elif isinstance(action, Cut):
                self.here.discard(action.viewer)
                self.handed.discard(action.viewer)
            if isinstance(action, Send | HandOver | LetGo | MoveChannels | TakeBack):
                assert action.viewer in self.here

    def _do(self, event: object) -> None:
        self._take(self.machine.handle(event, self.now))  # type: ignore[arg-type]

    @precondition(lambda self: self.machine.state not in (State.LEAVING, State.MOVED))
    @rule(seamless=st.booleans(), token=st.sampled_from([None, TOKEN]))
    def announce(self, seamless: bool, token: bytes | None) -> None:
        self.numbers += 1
        self.open.add(self.numbers)
        self._do(Announce(self.numbers, A, seamless, token))

    @rule(id=VIEWERS, capabilities=st.sampled_from([OWN, NEW, OLDER, OLDEST]), complete=st.booleans())
    def come(self, id: int, capabilities: Capabilities, complete: bool) -> None:
        if id not in self.here:
            self.here.add(id)
            self._do(ViewerCame(id, capabilities, complete))

    @rule(id=VIEWERS)
    def leave(self, id: int) -> None:
        if id in self.here:
            self.here.discard(id)
            self.handed.discard(id)
            self._do(ViewerGone(id))

    @rule(id=VIEWERS, reply=st.sampled_from(REPLIES))
    def reply(self, id: int, reply: object) -> None:
        self._do(Replied(id, reply))  # type: ignore[arg-type]

    @rule(id=VIEWERS, back=st.integers(0, 1))
    def reply_with_a_number(self, id: int, back: int) -> None:
        self._do(Replied(id, MigrateConnectedHandOver(max(self.numbers - back, 0))))

    @rule(event=st.sampled_from([Moved(), Stayed(), Stopped(), Resumed(), Returned()]))
    def happen(self, event: object) -> None:
        self._do(event)

    @rule(seconds=st.sampled_from([1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._take(self.machine.handle_timer(self.now))

    @invariant()
    def waits_have_deadlines(self) -> None:
        waits = self.machine.state in (State.ASKING, State.RECALLING, State.LEAVING)
        assert not waits or self.machine.deadline is not None

    @invariant()
    def quiet_when_idle(self) -> None:
        if self.machine.state in (State.IDLE, State.MOVED):
            assert not self.open
            assert not self.handed


EveryOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestEveryOrder = EveryOrder.TestCase
