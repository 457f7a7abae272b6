"""The target: every rule of spec/migration.md 8, and R9 to R11."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from caraway.errors import DeadlineError, ProtocolError
from caraway.migration.channels import MAIN
from caraway.migration.target import (
    ARRIVAL_DEADLINE,
    Answer,
    Drop,
    End,
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
from caraway.wire.constants import ChannelType
from caraway.wire.messages.common import ClientMigrateData
from caraway.wire.messages.hand_over import MigrateDstDoHandOver, MigrateDstHandOverAck
from caraway.wire.messages.main import (
    ClientMigrateEnd,
    MigrateDstDoSeamless,
    MigrateDstSeamlessAck,
    MigrateDstSeamlessNack,
)
from caraway.wire.messages.migrate_data import BLOB_VERSION, InputsMigrateData

INPUTS, CURSOR = (ChannelType.INPUTS, 0), (ChannelType.CURSOR, 0)
MAIN_STATE = b"MNMD" + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(53)
INPUTS_STATE = InputsMigrateData(BLOB_VERSION, 3).pack()
TOKEN = bytes(16)


class Target:
    """The machine, a clock, and what it did in short."""

    def __init__(self, **options: object) -> None:
        self.machine = TargetArrival(**options)  # type: ignore[arg-type]
        self.now = 0.0

    def do(self, *events: object) -> list[object]:
        said: list[object] = []
        for event in events:
            said += map(_short, self.machine.handle(event, self.now))  # type: ignore[arg-type]
        return said

    def wait(self, seconds: float) -> list[object]:
        self.now += seconds
        return [_short(action) for action in self.machine.handle_timer(self.now)]


def _short(action: object) -> object:
    if isinstance(action, Answer):
        return type(action.message)
    if isinstance(action, Restore):
        return "restore", action.channel, action.reads
    if isinstance(action, End):
        return "end", action.channel, type(action.error)
    if isinstance(action, Drop):
        return "drop", type(action.error)
    return action


def said(message: object, channel: object = MAIN) -> Received:
    return Received(channel, message)  # type: ignore[arg-type]


SEAMLESS, END = said(MigrateDstDoSeamless(1)), said(ClientMigrateEnd())
MAIN_DATA, INPUTS_DATA = said(ClientMigrateData(MAIN_STATE)), said(ClientMigrateData(INPUTS_STATE), INPUTS)
HAND_OVER = said(MigrateDstDoHandOver(1, 7, TOKEN))


@pytest.mark.parametrize("loaded_first", [False, True])
def test_semi_seamless_begins_when_guest_and_viewer_are_here(loaded_first):
    target = Target()
    target.do(Linked(INPUTS))
    first, last = (Loaded(), END) if loaded_first else (END, Loaded())
    assert target.do(first) == []
    assert target.do(last) == [Start(MAIN), Start(INPUTS), Settle(False)]


def test_seamless_goes_on_channel_by_channel():
    target = Target()
    target.do(Linked(INPUTS))
    assert target.do(SEAMLESS) == [MigrateDstSeamlessAck, Expect(MAIN, True), Expect(INPUTS, True)]
    assert target.do(Linked(CURSOR)) == [Expect(CURSOR, True)]
    assert target.do(INPUTS_DATA) == []
    assert target.do(Loaded()) == [("restore", INPUTS, True), ("restore", CURSOR, True)]
    assert target.do(MAIN_DATA) == [("restore", MAIN, True), Settle(True)]


def test_blob_before_the_guest_and_after_it():
    target = Target(loaded=True)
    target.do(SEAMLESS, Linked(INPUTS))
    assert target.do(MAIN_DATA) == [("restore", MAIN, True)]
    assert target.do(INPUTS_DATA) == [("restore", INPUTS, True), Settle(True)]


@pytest.mark.parametrize(("options", "version"), [({}, 2), ({"seamless": False}, 1)])
def test_declined(options, version):
    target = Target(**options)
    assert target.do(said(MigrateDstDoSeamless(version))) == [MigrateDstSeamlessNack]
    assert target.do(END, Loaded()) == [Start(MAIN), Settle(False)]


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ([SEAMLESS], SEAMLESS),
        ([SEAMLESS], END),
        ([said(MigrateDstDoSeamless(9))], SEAMLESS),
        ([END], SEAMLESS),
        ([END], END),
        ([], MAIN_DATA),
        ([], INPUTS_DATA),
        ([END], MAIN_DATA),
        ([SEAMLESS, MAIN_DATA], MAIN_DATA),
        ([HAND_OVER], MAIN_DATA),
        ([SEAMLESS], said(ClientMigrateData(b""), CURSOR)),
        ([END, Loaded()], MAIN_DATA),
    ],
)
def test_out_of_place(before, message):
    target = Target(tokens=[TOKEN])
    target.do(Linked(INPUTS), Linked(CURSOR), *before)
    assert target.do(message) == [("end", message.channel, ProtocolError)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAIN_STATE[:-1],
        b"XXXX" + MAIN_STATE[4:],
        MAIN_STATE[:4] + (2).to_bytes(4, "little") + MAIN_STATE[8:],
        INPUTS_STATE,
    ],
)
def test_state_that_is_none(data):
    target = Target(loaded=True)
    target.do(SEAMLESS)
    assert target.do(said(ClientMigrateData(data))) == [("end", MAIN, ProtocolError)]


def test_lost_channel_is_not_waited_for():
    target = Target(loaded=True)
    target.do(SEAMLESS, Linked(INPUTS), MAIN_DATA)
    assert target.do(Lost(INPUTS)) == [Settle(True)]


def test_lost_main_ends_the_arrival():
    target = Target()
    target.do(Linked(INPUTS))
    [(what, _)] = target.do(Lost(MAIN))  # type: ignore[misc]
    assert what == "drop"
    assert target.machine.over


@pytest.mark.parametrize("before", [[], [SEAMLESS], [HAND_OVER]])
def test_arrival_that_never_settles(before):
    target = Target(tokens=[TOKEN])
    target.do(*before)
    assert target.machine.deadline is None
    target.do(Loaded(), Started())
    assert target.machine.deadline == ARRIVAL_DEADLINE
    assert target.wait(ARRIVAL_DEADLINE) == [("drop", DeadlineError)]
    assert target.machine.deadline is None


def test_state_from_the_source():
    target = Target(tokens=[TOKEN])
    target.do(Linked(INPUTS))
    assert target.do(HAND_OVER) == [MigrateDstHandOverAck, Expect(MAIN, False), Expect(INPUTS, False)]
    assert target.do(HandedOver(INPUTS, b"nonsense")) == [("end", INPUTS, ProtocolError)]
    assert target.do(HandedOver(MAIN, MAIN_STATE), HandedOver(INPUTS, INPUTS_STATE)) == []
    # It stopped again, and is another now.
    assert target.do(HandedOver(INPUTS, INPUTS_STATE)) == []
    assert target.do(Loaded()) == [("restore", MAIN, False), ("restore", INPUTS, False)]
    assert target.do(Flushed(INPUTS)) == [Read(INPUTS)]
    assert target.do(Flushed(MAIN)) == [Read(MAIN), Settle(True)]


def test_stranger_with_a_token_that_is_not_expected():
    target = Target(tokens=[bytes(15) + b"\1"])
    assert target.do(HAND_OVER) == [MigrateDstSeamlessAck, Expect(MAIN, True)]


CHANNELS = st.sampled_from([MAIN, INPUTS, CURSOR])


class EveryOrder(RuleBasedStateMachine):
    """Whatever comes in whatever order: nothing begins before the guest is here, and nothing begins twice."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = TargetArrival(tokens=[TOKEN])
        self.now = 0.0
        self.loaded = False
        self.begun: set[object] = set()
        self.there: set[object] = {MAIN}

    def _do(self, event: object) -> None:
        self._look(self.machine.handle(event, self.now))  # type: ignore[arg-type]

    def _look(self, actions: list[object]) -> None:
        for action in actions:
            if isinstance(action, Start | Restore):
                assert self.loaded
                assert action.channel not in self.begun
                assert action.channel in self.there
                self.begun.add(action.channel)
            elif isinstance(action, Settle):
                assert self.begun == self.there

    @rule(channel=st.sampled_from([INPUTS, CURSOR]))
    def link(self, channel: object) -> None:
        if channel not in self.there and not self.machine.over:
            self.there.add(channel)
            self._do(Linked(channel))  # type: ignore[arg-type]

    @rule(channel=st.sampled_from([INPUTS, CURSOR]))
    def lose(self, channel: object) -> None:
        if channel in self.there:
            self.there.discard(channel)
            self.begun.discard(channel)
            self._do(Lost(channel))  # type: ignore[arg-type]

    @rule(event=st.sampled_from([SEAMLESS, END, HAND_OVER, MAIN_DATA, INPUTS_DATA, Started()]))
    def happen(self, event: object) -> None:
        self._do(event)

    @rule(channel=CHANNELS, data=st.sampled_from([MAIN_STATE, INPUTS_STATE, b""]))
    def hand_over(self, channel: object, data: bytes) -> None:
        self._do(HandedOver(channel, data))  # type: ignore[arg-type]

    @rule(channel=CHANNELS)
    def flush(self, channel: object) -> None:
        self._do(Flushed(channel))  # type: ignore[arg-type]

    @rule()
    def load(self) -> None:
        self.loaded = True
        self._do(Loaded())

    @rule(seconds=st.sampled_from([1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._look(self.machine.handle_timer(self.now))

    @invariant()
    def settled_for_good(self) -> None:
        if self.machine.state is State.DROPPED:
            assert self.machine.deadline is None


EveryOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestEveryOrder = EveryOrder.TestCase
