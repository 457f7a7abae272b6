"""Every order of events: short ones exhaustively, long ones by chance. `World` holds what must always be so."""

import pickle

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from caraway.migration.actions import CloseChannel, CloseSource, Drop, HoldQueue, Link, Reply
from caraway.migration.channels import MAIN
from caraway.migration.events import Closed, LinkUp, Received, TargetReceived
from caraway.migration.states import State
from caraway.wire.messages.main import MigrateConnected
from support.migration_world import ACK, BEGIN, BEGIN_SEAMLESS, CURSOR, DISPLAY, INPUTS, MODERN, REFUSED, World

DEPTH_FROM_THE_START = 7
DEPTH_ONCE_LINKED = 4

AT_REST = (State.IDLE, State.LINKED_SEMI, State.LINKED_SEAMLESS, State.CLOSED)


def linked(begin, *channels) -> World:
    world = World(*channels)
    world.feed(Received(MAIN, begin))
    world.feed(LinkUp(1, MAIN, MODERN))
    if begin is BEGIN_SEAMLESS:
        world.feed(TargetReceived(1, ACK))
    for channel in channels:
        world.feed(LinkUp(1, channel, MODERN))
    return world


@pytest.mark.parametrize(
    ("start", "depth", "fewest"),
    [
        (lambda: World(DISPLAY), DEPTH_FROM_THE_START, 3000),
        (lambda: linked(BEGIN, DISPLAY, INPUTS, CURSOR), DEPTH_ONCE_LINKED, 500),
        (lambda: linked(BEGIN_SEAMLESS, DISPLAY, INPUTS, CURSOR), DEPTH_ONCE_LINKED, 1000),
    ],
    ids=["from the start", "linked semi-seamless", "linked seamless"],
)
def test_all_orders_of_events(start, depth, fewest):
    """All sequences of that many events, except behind a state that was seen before."""
    first = start()
    seen, level = {first.key()}, [(pickle.dumps(first), ())]
    reached = {first.machine.state}
    for _ in range(depth):
        following = []
        for frozen, path in level:
            for event in pickle.loads(frozen).possible():
                world = pickle.loads(frozen)
                try:
                    world.feed(event)
                except Exception as error:
                    raise AssertionError(f"after {[*path, event]}") from error
                if world.key() not in seen:
                    seen.add(world.key())
                    reached.add(world.machine.state)
                    following.append((pickle.dumps(world), (*path, event)))
        level = following
    assert len(seen) >= fewest, "the search has become shallow"
    assert {State.RECONNECTING, State.CLOSED, State.LINKING} <= reached


class AnyOrder(RuleBasedStateMachine):
    """A session of several channels with peers that say anything at any time."""

    @initialize(channels=st.sets(st.sampled_from([DISPLAY, INPUTS, CURSOR, (DISPLAY[0], 1), (CURSOR[0], 1)])))
    def connect(self, channels):
        self.world = World(*sorted(channels))

    @precondition(lambda self: not self.world.ended)
    @rule(data=st.data())
    def something_happens(self, data):
        self.world.feed(data.draw(st.sampled_from(list(self.world.possible()))))

    @precondition(lambda self: self.world.machine.state is State.LINKING)
    @rule(data=st.data())
    def linking_goes_on(self, data):
        """What leads on, more often than chance would have it."""
        good = [e for e in self.world.possible() if isinstance(e, LinkUp | TargetReceived)]
        if good:
            self.world.feed(data.draw(st.sampled_from(good)))

    @rule(share=st.floats(0.0, 0.99))
    def time_passes(self, share):
        """Less than a deadline."""
        deadline = self.world.machine.deadline
        if deadline is not None:
            self.world.now += max(0.0, deadline - self.world.now) * share
            assert self.world.machine.handle_timer(self.world.now) == []

    @rule()
    def what_is_over_changes_nothing(self):
        machine, key = self.world.machine, self.world.key()
        for event in self.world.stale():
            assert machine.handle(event, self.world.now) == []
        assert self.world.key() == key

    @precondition(lambda self: not self.world.ended)
    @rule()
    def the_user_closes(self):
        world = self.world
        actions = world.machine.handle(Closed(), world.now)
        assert [type(action).__name__ for action in actions] == ["Disconnect"]
        assert world.machine.deadline is None
        world.ended = True

    @invariant()
    def left_alone_it_comes_to_rest(self):
        """Every wait ends: without further events a state is reached that only the source, or the user, ends."""
        world = pickle.loads(pickle.dumps(self.world)) if hasattr(self, "world") else None
        for _ in range(200):
            if world is None or world.ended or world.machine.deadline is None:
                break
            world.feed(None)
        else:
            raise AssertionError("it waits again and again")
        assert world is None or world.machine.state in (
            State.IDLE,
            State.LINKED_SEMI,
            State.LINKED_SEAMLESS,
            State.CLOSED,
        )


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_the_checks_themselves_check():
    world = linked(BEGIN, DISPLAY)
    with pytest.raises(AssertionError, match="second link"):
        world.do(Link(1, DISPLAY, world.machine.endpoint))
    with pytest.raises(AssertionError, match="no such link"):
        world.do(Drop(1, CURSOR))
    with pytest.raises(AssertionError, match="thrown away"):
        world.do(CloseChannel(1, DISPLAY, REFUSED))
    world.do(HoldQueue(1, MAIN, flush_mark=True))
    with pytest.raises(AssertionError, match="after FLUSH_MARK"):
        world.do(Reply(1, MigrateConnected()))
    with pytest.raises(AssertionError, match="still to come"):
        world.do(CloseSource(1))
