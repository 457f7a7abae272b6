from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.server.rate_control import MAX_DELAY, MAX_FPS, QUALITIES, Arrival, RateControl
from support.simulated_link import Link

M = 1e6
I32 = st.integers(-(2**31), 2**31 - 1)
U32 = st.integers(0, 2**32 - 1)


def at(megabits: float) -> Callable[[float], float]:
    return lambda now: megabits * M


def changes_of_quality(link: Link, seconds: float) -> int:
    frames = link.since(seconds)
    return sum(one.quality != other.quality for one, other in pairwise(frames))


@pytest.mark.parametrize("delay", [0.002, 0.05, 0.2])
@pytest.mark.parametrize("megabits", [0.5, 1, 2, 5, 8])
def test_a_slow_link_gets_what_it_carries_in_time_and_steadily(megabits: float, delay: float) -> None:
    link = Link(at(megabits), delay=delay)
    link.run(30)
    link.run(30)
    assert 0.6 * megabits * M < link.throughput(30) < 1.02 * megabits * M
    assert link.late(30) < 0.05
    assert changes_of_quality(link, 30) <= 3
    rates = [rate for when, rate in link.rates if when > link.now - 30]
    assert max(rates) < 1.4 * min(rates)


@pytest.mark.parametrize("megabits", [20, 100])
def test_a_fast_link_gets_the_best(megabits: float) -> None:
    link = Link(at(megabits))
    link.run(20)
    assert {frame.quality for frame in link.since(10)} == {80}
    assert len(link.since(10)) == pytest.approx(10 * MAX_FPS, abs=2)
    assert link.late(20) == 0


def test_a_link_that_becomes_slow_and_fast_again() -> None:
    link = Link(lambda now: (8 if not 1020 <= now < 1040 else 1) * M)
    link.run(20)
    assert link.throughput(10) > 5 * M
    link.run(20)
    assert 0.5 * M < link.throughput(8) < 1.02 * M
    assert link.late(8) < 0.05
    link.run(60)
    assert link.throughput(10) > 5 * M
    assert link.late(10) < 0.05


def test_a_known_rate_is_kept_from_the_first_frame() -> None:
    link = Link(at(2), known_rate=2 * M)
    link.run(10)
    assert link.late(10) == 0
    assert link.throughput(10) < 2 * M


def test_without_reports_room_tells() -> None:
    link = Link(at(2), reports=False)
    link.run(60)
    assert 1.2 * M < link.throughput(30) < 2.1 * M
    assert link.late(30) < 0.05
    assert changes_of_quality(link, 30) <= 3


def test_a_deep_buffer_on_the_way_is_not_filled() -> None:
    link = Link(at(2), buffer=4_000_000)
    link.run(60)
    assert link.late(30) == 0
    margins = [margin for when, margin in link.margins if when > link.now - 30]
    assert max(margins) - min(margins) < 350


def test_a_slow_source_gets_all_of_its_frames() -> None:
    link = Link(at(8), fps=12)
    link.run(30)
    assert len(link.since(10)) == pytest.approx(120, abs=3)


def test_large_frames_make_the_client_wait_longer() -> None:
    link = Link(at(1), size=120_000, known_rate=1 * M)
    link.run(40)
    assert 400 < link.clock_behind <= MAX_DELAY
    assert link.late(20) < 0.05


def test_frames_follow_each_other_evenly() -> None:
    control = RateControl(0, bit_rate=100 * M)
    times = []
    for frame in range(300):
        now = frame / 60
        if now >= control.next_at:
            control.encoded(1000, frame, now)
            times.append(now)
    assert len(times) == pytest.approx(5 * MAX_FPS, abs=2)
    assert max(after - before for before, after in pairwise(times)) <= 4 / 60


def test_a_report_of_frames_before_the_change_counts_no_more() -> None:
    control = RateControl(0, bit_rate=8 * M)
    now = 0.0
    for frame in range(40):
        now = frame / 20
        control.encoded(40_000, int(now * 1000), now)
    control.report(Arrival(0, 200, 5, 0, 380), 400, now)
    control.report(Arrival(250, 450, 5, 5, -900), 400, now)
    rate = control.byte_rate
    assert rate < 0.8 * M
    control.report(Arrival(500, 700, 5, 5, -1500), 400, now)
    assert control.byte_rate == rate


reports = st.tuples(st.just("report"), st.builds(Arrival, U32, U32, U32, U32, I32), st.integers(0, MAX_DELAY))
frames = st.tuples(st.just("frame"), st.integers(1, 10_000_000), U32)
replacements = st.tuples(st.just("replaced"), st.floats(0, 10), st.just(0))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), reports | frames | replacements), max_size=60))
def test_whatever_is_reported_the_numbers_stay_within_their_bounds(events: list) -> None:
    now = 10.0
    control = RateControl(now)
    for seconds, (what, value, other) in events:
        now += seconds
        if what == "report":
            control.report(value, other, now)
        elif what == "frame":
            control.encoded(value, other, now)
        else:
            control.replaced(now - value, now)
        assert control.quality in QUALITIES
        assert 0 < control.fps <= MAX_FPS
        assert 0 <= control.required_delay <= MAX_DELAY
        assert control.byte_rate >= 4096
        assert control.next_at - now <= 60 * 5
