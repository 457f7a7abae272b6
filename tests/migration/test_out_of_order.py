"""Events outside the regular path: one test for every row of spec/migration.md 9.8."""

import pytest

from caraway.errors import LinkError, ProtocolError
from caraway.migration import Cancelled, ChannelGone, Mode, Switched
from caraway.migration.actions import (
    CloseChannel,
    CloseSource,
    Commit,
    Disconnect,
    Drop,
    EndSession,
    HoldInput,
    HoldQueue,
    Link,
    Reconnect,
    ReleaseInput,
    Reply,
    Swap,
)
from caraway.migration.channels import MAIN
from caraway.migration.events import ChannelOpened, Closed, ReconnectFailed, TargetAlive
from caraway.migration.states import State
from caraway.wire.messages.common import Migrate, MigrateData
from caraway.wire.messages.main import MigrateConnected, MigrateConnectedSeamless, MigrateConnectError
from support.migration_world import (
    ACK,
    BEGIN,
    BEGIN_SEAMLESS,
    CANCEL,
    CURSOR,
    DISPLAY,
    END,
    INIT,
    INPUTS,
    NACK,
    REFUSED,
    SOURCE,
    SWITCH_HOST,
    UNTRUSTED,
    Script,
)

FLUSHED, STATELESS, DATA = Migrate(3), Migrate(0), MigrateData(b"state")  # type: ignore[arg-type]
TARGET = SOURCE.moved_to("target", 5901)
ELSEWHERE = SOURCE.moved_to("elsewhere", 5902)
SEMI, SEAMLESS = Mode.SEMI_SEAMLESS, Mode.SEAMLESS


def linking(begin=BEGIN_SEAMLESS) -> Script:
    script = Script(DISPLAY, INPUTS, CURSOR)
    script.get(begin)
    script.up(MAIN)
    return script


def linked(mode: Mode) -> Script:
    return Script(DISPLAY, INPUTS, CURSOR).linked(mode)


def switching_semi() -> Script:
    script = linked(SEMI)
    script.get(END)
    return script


def switching_seamless() -> Script:
    script = linked(SEAMLESS)
    script.get(FLUSHED, DISPLAY)
    return script


def falls_back(script: Script, *hosts) -> None:
    """F: everything is closed and a new session is begun, at each of the hosts in turn."""
    attempt = script.attempt
    assert Disconnect(attempt - 1) in script.actions
    assert script.actions[-1] == Reconnect(attempt, hosts[0])
    assert script.state is State.RECONNECTING
    assert not any(isinstance(action, HoldQueue | Swap | Reply) for action in script.actions)
    for number, host in enumerate(hosts[1:], 1):
        script.on(ReconnectFailed(script.attempt, REFUSED))
        assert script.actions[-1] == Reconnect(attempt + number, host)


# BEGIN


def test_begin_while_linking_starts_over_and_is_replied_to_once():
    script = linking()
    script.get(BEGIN)
    assert script.actions == [
        Drop(1, MAIN),
        Drop(1, DISPLAY),
        Drop(1, INPUTS),
        Drop(1, CURSOR),
        Link(2, MAIN, TARGET, fresh=True),
    ]
    script.up(MAIN, DISPLAY, INPUTS, CURSOR)
    assert script.actions[-1] == Reply(2, MigrateConnected())
    assert sum(isinstance(action, Reply) for action in script.actions) == 1


@pytest.mark.parametrize("begin", [BEGIN, BEGIN_SEAMLESS])
@pytest.mark.parametrize("mode", [SEMI, SEAMLESS])
def test_begin_while_linked_starts_over_and_is_replied_to_again(mode, begin):
    script = linked(mode)
    script.get(begin)
    assert script.actions[-2:] == [Drop(1, CURSOR), Link(2, MAIN, TARGET, fresh=True)]
    script.up(MAIN, DISPLAY, INPUTS, CURSOR)
    if begin is BEGIN_SEAMLESS:
        assert script.target_says(ACK) == [Reply(2, MigrateConnectedSeamless())]
    else:
        assert script.actions[-1] == Reply(2, MigrateConnected())


def test_begin_while_switching_semi_is_held_until_the_session_has_moved():
    script = switching_semi()
    assert script.get(BEGIN_SEAMLESS) == []
    assert script.target_says(INIT)[-2:] == [Commit(1, TARGET), Link(2, MAIN, TARGET, fresh=True)]
    assert script.state is State.LINKING


@pytest.mark.parametrize("begin", [BEGIN, BEGIN_SEAMLESS])
def test_begin_while_switching_seamless_is_held_until_the_session_has_moved(begin):
    script = switching_seamless()
    script.get(STATELESS, MAIN)
    assert script.get(begin) == []
    script.get(STATELESS, CURSOR)
    script.get(STATELESS, INPUTS)
    assert script.get(DATA, DISPLAY)[-2:] == [Commit(1, TARGET), Link(2, MAIN, TARGET, fresh=True)]


# CANCEL


def test_cancel_when_idle_is_ignored():
    script = Script()
    assert script.get(CANCEL) == []
    assert script.state is State.IDLE


def test_cancel_while_linking_drops_the_attempt_without_a_reply():
    script = linking()
    assert script.get(CANCEL) == [Drop(1, MAIN), Drop(1, DISPLAY), Drop(1, INPUTS), Drop(1, CURSOR)]
    assert script.told[-1] == Cancelled()
    assert script.state is State.IDLE


@pytest.mark.parametrize("mode", [SEMI, SEAMLESS])
def test_cancel_while_linked_drops_the_links(mode):
    script = linked(mode)
    assert script.get(CANCEL) == [Drop(1, MAIN), Drop(1, DISPLAY), Drop(1, INPUTS), Drop(1, CURSOR)]
    assert script.state is State.IDLE


@pytest.mark.parametrize("switching", [switching_semi, switching_seamless])
def test_cancel_while_switching_is_ignored(switching):
    script = switching()
    before = script.state
    assert script.get(CANCEL) == []
    assert script.state is before


def test_cancel_calls_off_an_announcement_that_is_held():
    script = switching_semi()
    script.get(BEGIN)
    script.get(CANCEL)
    assert script.target_says(INIT)[-1] == Commit(1, TARGET)
    assert script.state is State.IDLE


# SWITCH_HOST


def test_switch_host_while_linking_drops_the_attempt_without_a_reply():
    script = linking()
    script.get(SWITCH_HOST)
    falls_back(script, ELSEWHERE)


@pytest.mark.parametrize("mode", [SEMI, SEAMLESS])
def test_switch_host_while_linked_drops_the_links_first(mode):
    script = linked(mode)
    script.get(SWITCH_HOST)
    falls_back(script, ELSEWHERE)


@pytest.mark.parametrize("switching", [switching_semi, switching_seamless])
def test_switch_host_while_switching_goes_to_the_address_in_the_message(switching):
    script = switching()
    script.get(SWITCH_HOST)
    falls_back(script, ELSEWHERE)


# MIGRATE


def test_migrate_when_idle_connects_anew_to_the_current_host():
    script = Script()
    script.get(FLUSHED, DISPLAY)
    falls_back(script, SOURCE)


def test_migrate_after_a_failed_link_phase_connects_anew_to_the_announced_host():
    script = Script()
    script.get(BEGIN_SEAMLESS)
    script.fail(MAIN, UNTRUSTED)
    assert script.actions == [Reply(1, MigrateConnectError())]
    script.get(FLUSHED, MAIN)
    falls_back(script, TARGET)


@pytest.mark.parametrize("state", ["linking", "linked semi"])
def test_migrate_before_a_seamless_agreement_connects_anew(state):
    script = linking() if state == "linking" else linked(SEMI)
    script.get(FLUSHED, DISPLAY)
    falls_back(script, TARGET)


def test_migrate_without_a_link_for_a_core_channel_connects_anew():
    script = linked(SEAMLESS)
    script.fail(DISPLAY)
    script.fail(DISPLAY, UNTRUSTED)
    script.get(FLUSHED, MAIN)
    falls_back(script, TARGET)


@pytest.mark.parametrize("first", [True, False])
def test_migrate_on_an_optional_channel_without_a_link_closes_only_that(first):
    script = Script(DISPLAY, CURSOR)
    script.get(BEGIN_SEAMLESS)
    script.up(MAIN)
    script.fail(CURSOR, UNTRUSTED)
    script.up(DISPLAY)
    script.target_says(ACK)
    if not first:
        script.get(FLUSHED, DISPLAY)
    script.get(STATELESS, CURSOR)
    assert script.actions[first:] == [CloseChannel(1, CURSOR, script.actions[-1].error)]
    assert isinstance(script.told[-1], ChannelGone)
    if first:
        script.get(FLUSHED, DISPLAY)
    script.get(DATA, DISPLAY)
    assert script.get(STATELESS, MAIN)[-2:] == [CloseSource(1), Commit(1, TARGET)]


def test_migrate_from_the_target_before_its_init_connects_anew():
    script = switching_semi()
    script.get(FLUSHED, MAIN)
    falls_back(script, TARGET)


@pytest.mark.parametrize("swapped", [True, False])
def test_second_migrate_on_a_channel_connects_anew(swapped):
    script = switching_seamless()
    if swapped:
        script.get(DATA, DISPLAY)
    script.get(FLUSHED, DISPLAY)
    falls_back(script, TARGET)


# MIGRATE_END


def test_migrate_end_when_idle_connects_anew():
    script = Script()
    script.get(END)
    falls_back(script, SOURCE)


@pytest.mark.parametrize("state", ["linking", "linked seamless"])
def test_migrate_end_never_reaches_a_target_that_was_asked_for_seamless(state):
    script = linking() if state == "linking" else linked(SEAMLESS)
    script.get(END)
    falls_back(script, TARGET)


def test_migrate_end_with_mains_target_link_dead_connects_anew():
    script = linked(SEMI)
    script.fail(MAIN)
    script.get(END)
    falls_back(script, TARGET)


@pytest.mark.parametrize("switching", [switching_semi, switching_seamless])
def test_migrate_end_while_switching_connects_anew(switching):
    script = switching()
    script.get(END)
    falls_back(script, TARGET)


# MIGRATE_DATA


def test_migrate_data_unasked_ends_that_channel():
    for script in (Script(DISPLAY, CURSOR), linking(), linked(SEMI), linked(SEAMLESS)):
        script.get(DATA, CURSOR)
        close = script.actions[-1]
        assert isinstance(close, CloseChannel)
        assert close.channel == CURSOR
        assert isinstance(close.error, ProtocolError)


def test_migrate_data_unasked_on_main_ends_an_idle_session():
    script = Script()
    [end] = script.get(DATA, MAIN)
    assert isinstance(end, EndSession)
    assert isinstance(end.error, ProtocolError)


def test_migrate_data_without_its_migrate_while_switching():
    script = switching_seamless()
    assert [type(action) for action in script.get(DATA, CURSOR)] == [Drop, CloseChannel]
    script.get(DATA, INPUTS)
    falls_back(script, TARGET)


# what the target says


@pytest.mark.parametrize("answer", [ACK, NACK])
def test_unexpected_answer_counts_as_the_end_of_the_targets_link(answer):
    script = linking()
    script.target_says(ACK)
    script.target_says(answer)
    assert script.actions[0] == Drop(1, MAIN)
    assert script.actions[-1] == Reply(1, MigrateConnectError())

    script = linked(SEMI)
    script.target_says(answer)
    assert script.actions[0] == Drop(1, MAIN)
    assert script.actions[-1] == Link(2, MAIN, TARGET, fresh=True)

    for script in (switching_semi(), switching_seamless()):
        script.target_says(answer)
        falls_back(script, TARGET)


def test_early_init_counts_as_the_end_of_the_targets_link():
    script = linking()
    assert script.target_says(INIT)[-1] == Reply(1, MigrateConnectError())
    script = linked(SEMI)
    assert script.target_says(INIT)[-1] == Link(2, MAIN, TARGET, fresh=True)
    script = switching_seamless()
    script.target_says(INIT)
    falls_back(script, TARGET)


# channels come and go at the source


def test_new_channel_while_linking_is_linked_too():
    script = linking(BEGIN)
    script.up(DISPLAY, INPUTS)
    new = (CURSOR[0], 1)
    assert script.on(ChannelOpened(new)) == [Link(1, new, TARGET)]
    assert script.up(CURSOR) == []
    assert script.fail(new, UNTRUSTED) == [Reply(1, MigrateConnected())]


def test_new_core_channel_that_cannot_be_linked_is_an_error():
    script = linking(BEGIN)
    new = (DISPLAY[0], 1)
    script.on(ChannelOpened(new))
    assert script.fail(new, UNTRUSTED)[-1] == Reply(1, MigrateConnectError())


def test_new_channel_before_mains_link_waits_for_it():
    script = Script(DISPLAY)
    script.get(BEGIN)
    assert script.on(ChannelOpened(CURSOR)) == []
    assert script.up(MAIN) == [Link(1, DISPLAY, TARGET), Link(1, CURSOR, TARGET)]


@pytest.mark.parametrize("mode", [SEMI, SEAMLESS])
def test_new_channel_while_linked_is_linked_too(mode):
    script = linked(mode)
    new = (CURSOR[0], 1)
    assert script.on(ChannelOpened(new)) == [Link(1, new, TARGET)]
    assert script.up(new) == []


def test_new_channel_while_switching():
    new = (CURSOR[0], 1)
    [close] = switching_semi().on(ChannelOpened(new))
    assert isinstance(close, CloseChannel)
    script = switching_seamless()
    assert script.on(ChannelOpened(new)) == []
    assert isinstance(script.get(STATELESS, new)[0], CloseChannel)


def test_link_that_comes_to_stand_while_switching_serves():
    script = linked(SEAMLESS)
    script.fail(CURSOR)
    script.get(FLUSHED, DISPLAY)
    script.up(CURSOR)
    assert script.get(STATELESS, CURSOR) == [Swap(1, CURSOR, None, keep=True)]


def test_source_channel_that_ends_takes_its_twin_along():
    error = LinkError("gone")
    script = linking(BEGIN)
    assert script.lose(CURSOR, error) == [Drop(1, CURSOR), CloseChannel(1, CURSOR, error)]
    script = linked(SEAMLESS)
    assert script.lose(DISPLAY, error) == [Drop(1, DISPLAY), CloseChannel(1, DISPLAY, error)]
    assert script.state is State.LINKED_SEAMLESS


def test_last_missing_channel_that_ends_at_the_source_completes_the_links():
    script = linking(BEGIN)
    script.up(DISPLAY, INPUTS)
    assert script.lose(CURSOR)[-1] == Reply(1, MigrateConnected())


@pytest.mark.parametrize("flushed", [True, False])
def test_source_channel_that_ends_before_its_blob(flushed):
    script = switching_seamless()
    if flushed:
        script.get(FLUSHED, CURSOR)
    assert [type(action) for action in script.lose(CURSOR)] == [Drop, CloseChannel]
    script.lose(DISPLAY)
    falls_back(script, TARGET)


# the source's main ends


def test_end_of_the_source_is_the_end_of_an_idle_session():
    script, error = Script(), LinkError("gone")
    assert script.lose(MAIN, error) == [EndSession(0, error)]
    assert script.state is State.CLOSED


def test_end_of_the_source_while_linking_or_linked_tries_the_target_then_the_source():
    for script in (linking(), linked(SEMI), linked(SEAMLESS)):
        script.lose(MAIN)
        falls_back(script, TARGET, SOURCE)


def test_end_of_the_sources_main_before_its_blob_connects_anew():
    script = switching_seamless()
    script.lose(MAIN)
    falls_back(script, TARGET)


# a target link fails


def test_core_link_that_ends_while_linking_is_a_connect_error():
    script = linking()
    script.up(DISPLAY)
    script.fail(DISPLAY)
    assert script.actions[-1] == Reply(1, MigrateConnectError())
    assert script.state is State.IDLE


def test_optional_link_that_fails_while_linking_is_left_out():
    script = linking(BEGIN)
    script.fail(CURSOR, UNTRUSTED)
    assert script.up(DISPLAY, INPUTS) == [Reply(1, MigrateConnected())]


def test_first_failure_ends_the_attempt_and_later_ones_are_ignored():
    script = linking()
    assert script.fail(DISPLAY, UNTRUSTED)[-1] == Reply(1, MigrateConnectError())
    assert script.fail(INPUTS, UNTRUSTED) == []
    assert script.fail(MAIN) == []
    assert script.state is State.IDLE


def test_parked_link_that_ends_is_made_again_once():
    script = linked(SEAMLESS)
    assert script.fail(INPUTS) == [Link(1, INPUTS, TARGET, fresh=True)]
    assert script.up(INPUTS) == []
    assert script.fail(INPUTS) == []
    script.get(FLUSHED, MAIN)
    falls_back(script, TARGET)


def test_link_made_again_in_time_serves():
    script = Script(DISPLAY).linked()
    script.fail(DISPLAY)
    script.up(DISPLAY)
    script.get(STATELESS, DISPLAY)
    script.get(STATELESS, MAIN)
    assert script.told[-1] == Switched(TARGET, SEAMLESS)


def test_after_the_end_of_mains_target_link_everything_is_linked_again():
    script = linked(SEAMLESS)
    assert script.fail(MAIN) == [
        Drop(1, DISPLAY),
        Drop(1, INPUTS),
        Drop(1, CURSOR),
        Link(2, MAIN, TARGET, fresh=True),
    ]
    script.up(MAIN, DISPLAY, INPUTS, CURSOR)
    assert script.target_says(ACK) == []
    assert script.get(FLUSHED, DISPLAY)[-1] == HoldQueue(2, DISPLAY, flush_mark=True)


def test_links_made_again_must_end_in_the_mode_that_was_reported():
    script = linked(SEAMLESS)
    script.fail(MAIN)
    script.up(MAIN, DISPLAY, INPUTS, CURSOR)
    assert [type(action) for action in script.target_says(NACK)] == [Drop] * 4
    script.get(FLUSHED, DISPLAY)
    falls_back(script, TARGET)


def test_migrate_before_the_handshake_is_repeated_connects_anew():
    script = linked(SEAMLESS)
    script.fail(MAIN)
    script.up(MAIN, DISPLAY, INPUTS, CURSOR)
    script.get(FLUSHED, DISPLAY)
    falls_back(script, TARGET)


@pytest.mark.parametrize("switching", [switching_semi, switching_seamless])
def test_optional_target_link_that_ends_while_switching_is_dropped(switching):
    script = switching()
    [close] = script.fail(CURSOR)
    assert isinstance(close, CloseChannel)
    assert close.channel == CURSOR


@pytest.mark.parametrize("switching", [switching_semi, switching_seamless])
def test_core_target_link_that_ends_while_switching_connects_anew(switching):
    script = switching()
    script.fail(INPUTS)
    falls_back(script, TARGET)


def test_optional_target_link_that_ends_while_its_blob_is_awaited():
    script = switching_seamless()
    script.get(FLUSHED, CURSOR)
    assert [type(action) for action in script.fail(CURSOR)] == [CloseChannel]


def test_swapped_channel_that_ends_while_switching():
    script = switching_semi()
    assert [type(action) for action in script.lose(CURSOR)] == [Drop, CloseChannel]
    script = switching_seamless()
    script.get(STATELESS, CURSOR)
    assert [type(action) for action in script.lose(CURSOR)] == [CloseChannel]
    script = switching_semi()
    script.lose(MAIN)
    falls_back(script, TARGET)


# the user closes


def test_user_closes():
    scripts = [Script(), linking(), linked(SEMI), linked(SEAMLESS), switching_semi(), switching_seamless(), Script()]
    scripts[-1].get(SWITCH_HOST)
    for script in scripts:
        assert script.on(TargetAlive(script.attempt)) == []
        assert script.on(Closed()) == [Disconnect(script.attempt)]
        assert script.state is State.CLOSED
        assert script.machine.deadline is None
        assert script.get(BEGIN) == []


def test_reply_is_the_one_for_what_the_target_said():
    assert Reply(1, MigrateConnectedSeamless()) != Reply(1, MigrateConnected())
    script = linking()
    script.target_says(ACK)
    assert script.up(DISPLAY, INPUTS, CURSOR) == [Reply(1, MigrateConnectedSeamless())]


def test_fallback_holds_input_until_the_guest_is_there():
    script = Script()
    script.get(END)
    assert script.actions[0] == HoldInput(0)
    assert not any(isinstance(action, ReleaseInput) for action in script.actions)
