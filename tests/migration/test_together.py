"""Client, source, target and notifier together: the viewer ends where the guest runs, or with a reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.errors import CarawayError
from caraway.migration.target import HandedOver
from caraway.wire.messages.common import MigrateData
from caraway.wire.messages.main import ClientMigrateEnd, MigrateSwitchHost
from support.simulated_network import CAPABILITIES, CHANNELS, Play

MOVED = [("announce",), ("setup",), ("active",), ("STOP",), ("load",), ("run", "completed")]
STAYED = [("announce",), ("setup",), ("active",), ("STOP",), ("failed", "die"), ("RESUME",)]
CALLED_OFF = [("announce",), ("setup",), ("active",), ("cancelled", "die")]
STORIES = {"moved": MOVED, "stayed": STAYED, "called off": CALLED_OFF}
MOST_STEPS = 3000

Choose = Callable[[int, int], int]


def play(mode: str, story: str, choose: Choose, *, cuts: bool = False) -> Play:
    """Play to the end. choose: one of so many possibilities, at this step."""
    made = Play(mode, STORIES[story])
    for step in range(MOST_STEPS):
        possible = made.steps()
        if not possible:
            return made
        if cuts:
            possible += made.cuts()
        possible[choose(len(possible), step)]()
    raise AssertionError(f"no end: {made.viewer.machine.state}, {made.viewer.using}")


def check(made: Play, *, may_end: bool = True, may_lack: bool = True) -> None:
    viewer, guest = made.viewer, made.guest
    assert guest is not None
    if viewer.ended is not None:
        assert may_end, viewer.ended
        assert isinstance(viewer.ended, CarawayError)
        assert str(viewer.ended)
        assert not viewer.wires()
    else:
        assert viewer.host is guest, "the viewer is where the guest is not"
        assert may_lack or viewer.using.keys() == set(CHANNELS)
        assert all(wire.server and wire in guest.live for wire in viewer.using.values())
        assert not viewer.held_back, "keys are held back for ever"
        assert len(guest.viewers) == 1
    for host in made.hosts.values():
        assert not host.arrivals, "an arrival without an end"
        assert host is guest or not host.viewers, "a viewer that is left behind"


@pytest.mark.parametrize("mode", CAPABILITIES)
@pytest.mark.parametrize("story", STORIES)
def test_in_order(mode: str, story: str) -> None:
    made = play(mode, story, lambda count, step: 0)
    check(made, may_end=False, may_lack=False)


def test_modes_go_their_own_ways() -> None:
    """What the simulation plays is what it says: state by the client, from server to server, or not at all."""
    sent = {mode: play(mode, "moved", lambda count, step: 0).sent for mode in CAPABILITIES}
    assert {mode: MigrateData in said for mode, said in sent.items()} == {
        "seamless": True,
        "handed over": False,
        "semi-seamless": False,
        "switch-host": False,
    }
    assert HandedOver in sent["handed over"]
    assert ClientMigrateEnd in sent["semi-seamless"]
    assert MigrateSwitchHost in sent["switch-host"]


@pytest.mark.parametrize("mode", CAPABILITIES)
@pytest.mark.parametrize("story", STORIES)
def test_each_thing_out_of_order(mode: str, story: str) -> None:
    """At each step each other possibility: a later message, an act of the hosts, a deadline, or a connection cut."""
    widths: list[int] = []

    def noted(count: int, step: int) -> int:
        widths.append(count)
        return 0

    play(mode, story, noted, cuts=True)
    for at, width in enumerate([*widths]):
        for other in range(1, width):
            made = play(mode, story, lambda count, step: other if step == at else 0, cuts=True)  # noqa: B023
            check(made, may_end=made.troubled, may_lack=made.troubled)


@given(data=st.data(), mode=st.sampled_from([*CAPABILITIES]), story=st.sampled_from([*STORIES]))
def test_any_order(data: st.DataObject, mode: str, story: str) -> None:
    orders = data.draw(st.lists(st.integers(0, 1 << 16), max_size=120))
    made = play(mode, story, lambda count, step: orders[step] % count if step < len(orders) else 0)
    check(made, may_end=made.troubled, may_lack=made.troubled)


@given(data=st.data(), mode=st.sampled_from([*CAPABILITIES]), story=st.sampled_from([*STORIES]))
def test_any_order_with_cuts(data: st.DataObject, mode: str, story: str) -> None:
    orders = data.draw(st.lists(st.integers(0, 1 << 16), max_size=60))
    made = play(mode, story, lambda count, step: orders[step] % count if step < len(orders) else 0, cuts=True)
    check(made)
