"""The tables, walked: nothing that can happen is forgotten, nothing in them is dead."""

import enum
import inspect
import itertools

import pytest

from caraway.migration.client import IGNORED, OUT_OF_PLACE, TABLE, ClientMigration
from caraway.migration.events import (
    ChannelLost,
    ChannelOpened,
    Closed,
    LinkFailed,
    LinkUp,
    Reconnected,
    ReconnectFailed,
    TargetAlive,
)
from caraway.migration.handover import TABLE as CHANNEL_TABLE
from caraway.migration.handover import ChannelHandover, Stage, Step
from caraway.migration.machine import Always
from caraway.migration.source import TABLE as SOURCE_TABLE
from caraway.migration.source import WAITS as SOURCE_WAITS
from caraway.migration.source import SourceMigration
from caraway.migration.source import State as SourceState
from caraway.migration.source import Wait as SourceWait
from caraway.migration.states import WAITS, ChannelDue, State, Wait
from caraway.migration.table import diagram, trigger_name
from caraway.migration.target import TABLE as TARGET_TABLE
from caraway.migration.target import WAITS as TARGET_WAITS
from caraway.migration.target import State as TargetState
from caraway.migration.target import TargetArrival
from caraway.migration.target import Wait as TargetWait
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

EVENTS = (ChannelLost, ChannelOpened, Closed, LinkFailed, LinkUp, Reconnected, ReconnectFailed, TargetAlive)
MESSAGES = (
    Init,
    Migrate,
    MigrateBegin,
    MigrateBeginSeamless,
    MigrateCancel,
    MigrateData,
    MigrateDstSeamlessAck,
    MigrateDstSeamlessNack,
    MigrateEnd,
    MigrateSwitchHost,
)
TABLES = [
    (TABLE, State.IDLE),
    (CHANNEL_TABLE, Stage.LIVE),
    (SOURCE_TABLE, SourceState.IDLE),
    (TARGET_TABLE, TargetState.ARRIVING),
]
DUE = {State.LINKING, State.LINKED_SEMI, State.LINKED_SEAMLESS, State.SWITCHING_SEAMLESS}
"""States in which a channel may have a deadline."""


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("trigger", [*EVENTS, *MESSAGES], ids=trigger_name)
def test_every_state_knows_what_to_do_about_every_event(state, trigger):
    known = (state, trigger) in TABLE
    ignored = state in IGNORED.get(trigger, ())
    out_of_place = state in OUT_OF_PLACE.get(trigger, ())
    assert known + ignored + out_of_place == 1


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("wait", Wait)
def test_deadlines_run_where_they_are_handled(state, wait):
    assert ((state, wait) in TABLE) == (wait in WAITS[state])


@pytest.mark.parametrize("state", State)
def test_channel_deadlines(state):
    assert ((state, ChannelDue) in TABLE) == (state in DUE)


@pytest.mark.parametrize(
    ("table", "waits", "states", "kinds"),
    [(SOURCE_TABLE, SOURCE_WAITS, SourceState, SourceWait), (TARGET_TABLE, TARGET_WAITS, TargetState, TargetWait)],
)
def test_servers_deadlines_run_where_they_are_handled(table, waits, states, kinds):
    for state, wait in itertools.product(states, kinds):
        assert ((state, wait) in table) == (wait in waits.get(state, ()))


def test_table_knows_nothing_else():
    assert {trigger for _, trigger in TABLE} <= {*EVENTS, *MESSAGES, *Wait, Always, ChannelDue}


def test_completion_edges_leave_their_state_and_have_a_guard():
    for (state, trigger), edges in TABLE.items():
        for edge in edges if trigger is Always else ():
            assert edge.when is not None
            assert edge.next is not state


def test_only_the_last_edge_has_no_guard():
    for table, _ in TABLES:
        for edges in table.values():
            assert all(edge.when is not None for edge in edges[:-1])
    for edges in [*TABLE.values(), *CHANNEL_TABLE.values()]:
        assert all(edge.when is not None for edge in edges[:-1])


@pytest.mark.parametrize(("table", "initial"), TABLES)
def test_every_state_can_be_reached(table, initial):
    reached, new = set(), {initial}
    while new:
        reached |= new
        new = {edge.next for (state, _), edges in table.items() for edge in edges if state in reached} - reached
    assert reached == set(type(initial))


@pytest.mark.parametrize("machine", [ClientMigration, ChannelHandover, SourceMigration, TargetArrival])
def test_no_guard_or_action_is_dead(machine):
    classes = [cls for cls in machine.__mro__ if cls.__module__.startswith("caraway.migration")]
    source = "".join(inspect.getsource(inspect.getmodule(cls)) for cls in classes)
    methods = [name for cls in classes for name in vars(cls) if name.startswith("_") and not name.endswith("__")]
    assert [name for name in methods if f".{name}" not in source] == []


def test_stages_take_only_the_steps_that_make_sense():
    impossible = {(Stage.SWAPPED, step) for step in Step if step is not Step.SETTLE}
    impossible |= {(Stage.LIVE, step) for step in Step if step not in (Step.LINK, Step.DROP)}
    assert not impossible & set(CHANNEL_TABLE)
    stages_with_a_link = (Stage.LINKING, Stage.WAITING, Stage.PARKED, Stage.AWAITING_DATA)
    assert all((stage, Step.DROP) in CHANNEL_TABLE for stage in stages_with_a_link)


@pytest.mark.parametrize(("table", "initial"), TABLES)
def test_diagrams_show_every_edge(table, initial):
    full, leaving = diagram(table, initial), diagram(table, initial, loops=False)
    edges = list(itertools.chain.from_iterable(table.values()))
    assert full.count("<br/>") + full.count(": ") == len(edges)
    assert len(leaving) < len(full)
    for state in type(initial):
        assert isinstance(state, enum.Enum)
        assert "".join(word.capitalize() for word in state.name.split("_")) in full


def test_diagram_reads_like_the_specification():
    text = diagram(TABLE, State.IDLE, loops=False)
    assert text.startswith("stateDiagram-v2\n  [*] --> Idle\n")
    assert "  SwitchingSemi --> Idle: INIT / finish semi\n" in text
