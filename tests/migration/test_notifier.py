"""The notifier: what a server is told, for the event orders that QEMU shows (spec/migration.md 6.3, 6.4, 13)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.migration.notifier import TABLE, End, MigrationNotifier, Occurrence, Phase, Start, Switch
from caraway.migration.table import diagram

KNOWN = Occurrence.TARGET_KNOWN
DONE, FAILED = End(completed=True), End(completed=False)


def calls(*names: str | Occurrence) -> list[Start | Switch | End]:
    notifier = MigrationNotifier()
    made = []
    for name in names:
        made += notifier.handle(name if isinstance(name, Occurrence) else Occurrence(name))
    return made


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (("setup", "active", "STOP", "completed"), [Start(), Switch(), DONE]),
        (("setup", "active", "pre-switchover", "device", "STOP", "completed"), [Start(), Switch(), DONE]),
        (("setup", "active", "STOP", "pre-switchover", "device", "completed"), [Start(), Switch(), DONE]),
        (("setup", "active", "completed"), [Start(), Switch(), DONE]),
        (("setup", "active", "postcopy-active", "STOP", "completed"), [Start(), Switch(), DONE]),
        (("setup", "active", "STOP", "postcopy-active", "completed"), [Start(), Switch(), DONE]),
        (("setup", "active", "postcopy-active", "completed"), [Start(), Switch(), DONE]),
        (("setup", "active", "postcopy-active", "failed"), [Start(), FAILED]),
        (("setup", "active", "postcopy-active", "cancelled"), [Start(), FAILED]),
        (("setup", "active", "STOP", "failed"), [Start(), Switch(), FAILED]),
        (("setup", "active", "STOP", "cancelled"), [Start(), Switch(), FAILED]),
        (("setup", "failed"), [Start(), FAILED]),
        (("setup", "active", "cancelled"), [Start(), FAILED]),
        (("setup", "active", "STOP", "RESUME", "failed"), [Start(), Switch(), FAILED]),
        (("setup", "active", "STOP", "RESUME", "STOP", "completed"), [Start(), Switch(), Switch(), DONE]),
    ],
)
def test_announced_migrations(events, expected):
    assert calls(KNOWN, *events) == expected


def test_unannounced_migration_is_not_told_of():
    assert calls("setup", "active", "STOP", "completed") == []
    assert calls("setup", "failed", KNOWN, "setup", "STOP", "completed") == [Start(), Switch(), DONE]


def test_target_that_becomes_known_during_the_migration():
    assert calls("setup", "active", KNOWN, "STOP", "completed") == [Start(), Switch(), DONE]


def test_every_end_forgets_the_target():
    assert calls(KNOWN, "setup", "cancelled", "setup", "STOP", "completed") == [Start(), FAILED]


def test_pause_by_hand_before_a_migration_is_no_switch():
    assert calls(KNOWN, "STOP", "RESUME") == []


def test_what_qmp_events_mean():
    assert Occurrence.of("MIGRATION", {"status": "pre-switchover"}) is Occurrence.PRE_SWITCHOVER
    assert Occurrence.of("MIGRATION", {"status": "cancelling"}) is None
    assert Occurrence.of("STOP", {}) is Occurrence.STOP
    assert Occurrence.of("SPICE_CONNECTED", {"status": "completed"}) is None


@given(st.lists(st.sampled_from(Occurrence), max_size=30))
def test_calls_come_in_order_whatever_happens(occurrences):
    notifier = MigrationNotifier()
    running = False
    for occurrence in occurrences:
        for call in notifier.handle(occurrence):
            if isinstance(call, Start):
                assert not running
                running = True
            elif isinstance(call, Switch):
                assert running
            else:
                assert running or call == FAILED
                running = False
        assert running == (notifier.state in (Phase.MIGRATING, Phase.POSTCOPY, Phase.STOPPED))


def test_diagram():
    assert "  TargetKnown --> Migrating: setup / start<br/>active / start\n" in diagram(TABLE, Phase.IDLE)
