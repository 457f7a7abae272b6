"""Every wait ends (spec/migration.md 11.1), and what is tried again meanwhile."""

import pytest

from caraway.errors import DeadlineError, MigrationError
from caraway.migration import ChannelGone, Failed, Mode, Reconnecting, Switched
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
from caraway.migration.events import ChannelOpened, Reconnected, ReconnectFailed, TargetAlive
from caraway.migration.states import State
from caraway.wire.constants import LinkErrorCode
from caraway.wire.link import LinkRefusedError
from caraway.wire.messages.common import Migrate, MigrateData
from caraway.wire.messages.main import MigrateBegin, MigrateConnected, MigrateConnectError
from support.migration_world import (
    ACK,
    BEGIN,
    BEGIN_SEAMLESS,
    CANCEL,
    CURSOR,
    DENIED,
    DISPLAY,
    END,
    INIT,
    INPUTS,
    REFUSED,
    SEMI_ONLY,
    SOURCE,
    SWITCH_HOST,
    UNTRUSTED,
    Script,
)

FLUSHED, STATELESS, DATA = Migrate(3), Migrate(0), MigrateData(b"state")  # type: ignore[arg-type]
TARGET = SOURCE.moved_to("target", 5901)
ELSEWHERE = SOURCE.moved_to("elsewhere", 5902)
SEMI = Mode.SEMI_SEAMLESS


# the link phase


@pytest.mark.parametrize("silent", [MAIN, DISPLAY])
def test_link_phase_ends_after_nine_seconds(silent):
    script = Script(DISPLAY)
    script.get(BEGIN)
    if silent is DISPLAY:
        script.up(MAIN)
    assert script.wait_until(State.IDLE) <= 9.0
    assert Reply(script.attempt, MigrateConnectError()) in script.actions
    assert isinstance(script.told[-1], Failed)
    assert isinstance(script.told[-1].error, DeadlineError)


@pytest.mark.parametrize("error", [REFUSED, DENIED, DeadlineError("slow"), LinkRefusedError(LinkErrorCode.ERROR)])
@pytest.mark.parametrize("channel", [MAIN, DISPLAY])
def test_what_may_pass_is_tried_again_with_fresh_credentials(error, channel):
    script = Script(DISPLAY)
    script.get(BEGIN)
    if channel == DISPLAY:
        script.up(MAIN)
    assert script.fail(channel, error) == []
    assert script.wait() == pytest.approx(0.25)
    assert script.actions == [Link(1, channel, TARGET, fresh=True)]
    script.fail(channel, error)
    assert script.wait() == pytest.approx(0.5)
    assert script.actions == [Link(1, channel, TARGET, fresh=True)]


def test_retries_stay_within_the_link_phase():
    script = Script(DISPLAY)
    script.get(BEGIN)
    since, tries = script.now, 1
    while script.state is State.LINKING:
        script.fail(MAIN)
        if script.state is State.LINKING:
            script.wait()
            tries += 1
    assert 5 <= tries <= 8
    assert 4.0 < script.now - since < 9.0
    assert script.actions[-1] == Reply(1, MigrateConnectError())


def test_try_that_hangs_leaves_time_for_another():
    script = Script(DISPLAY)
    script.get(BEGIN)
    assert script.wait() == pytest.approx(4.0)
    assert script.actions == [Drop(1, MAIN)]
    script.wait()
    assert script.actions == [Link(1, MAIN, TARGET, fresh=True)]


@pytest.mark.parametrize("error", [UNTRUSTED, LinkRefusedError(LinkErrorCode.CHANNEL_NOT_AVAILABLE)])
def test_what_will_not_pass_is_answered_at_once(error):
    script = Script(DISPLAY)
    script.get(BEGIN)
    script.up(MAIN)
    assert script.fail(DISPLAY, error) == [Drop(1, MAIN), Reply(1, MigrateConnectError())]
    assert script.told[-1] == Failed(error)


def test_optional_link_between_tries_is_not_waited_for():
    script = Script(DISPLAY, CURSOR)
    script.get(BEGIN)
    script.up(MAIN)
    script.fail(CURSOR)
    assert script.up(DISPLAY) == [Reply(1, MigrateConnected())]
    assert script.machine.deadline is None


def test_optional_link_that_hangs_delays_the_reply_but_not_too_long():
    script = Script(DISPLAY, CURSOR)
    script.get(BEGIN)
    script.up(MAIN, DISPLAY)
    assert script.wait() == pytest.approx(4.0)
    assert script.actions == [Drop(1, CURSOR), Reply(1, MigrateConnected())]


def test_handshake_that_is_not_answered():
    script = Script(DISPLAY)
    script.get(BEGIN_SEAMLESS)
    script.up(MAIN, DISPLAY)
    assert script.wait() == pytest.approx(5.0)
    assert script.actions == [Drop(1, MAIN), Drop(1, DISPLAY), Reply(1, MigrateConnectError())]
    assert script.state is State.IDLE


def test_parked_links_wait_without_a_deadline():
    assert Script(DISPLAY).linked(SEMI).machine.deadline is None
    assert Script(DISPLAY).linked().machine.deadline is None


def test_handshake_after_relinking_has_a_deadline_too():
    script = Script(DISPLAY).linked()
    script.fail(MAIN)
    script.up(MAIN, DISPLAY)
    script.wait()
    assert script.actions == [Drop(2, MAIN), Drop(2, DISPLAY)]
    assert script.state is State.LINKED_SEAMLESS
    script.get(STATELESS, DISPLAY)
    assert script.actions[-1] == Reconnect(3, TARGET)


def test_main_that_is_lost_twice_is_given_up():
    for mode in (SEMI, Mode.SEAMLESS):
        script = Script(DISPLAY).linked(mode)
        script.fail(MAIN)
        script.up(MAIN, DISPLAY)
        if mode is Mode.SEAMLESS:
            script.target_says(ACK)
        assert script.fail(MAIN) == [Drop(2, DISPLAY)]
        script.get(END)
        assert script.actions[-1] == Reconnect(3, TARGET)


def test_links_made_again_at_a_target_that_can_do_less():
    script = Script(DISPLAY).linked()
    script.fail(MAIN)
    assert script.up(MAIN, capabilities=SEMI_ONLY) == [Drop(2, MAIN)]
    script.get(FLUSHED, DISPLAY)
    assert script.actions[-1] == Reconnect(3, TARGET)


@pytest.mark.parametrize("mode", [SEMI, Mode.SEAMLESS])
def test_relinking_retries_and_ends_in_either_mode(mode):
    script = Script(DISPLAY).linked(mode)
    script.fail(MAIN)
    links = 0
    while script.machine.deadline is not None:
        script.wait()
        links += sum(isinstance(action, Link) for action in script.actions)
    assert links >= 1
    script.get(END)
    assert script.actions[-1] == Reconnect(3, TARGET)


def test_relinking_retries_and_ends():
    script = Script(DISPLAY).linked()
    script.fail(DISPLAY)
    while script.machine.deadline is not None:
        script.wait()
    assert script.state is State.LINKED_SEAMLESS
    script.get(FLUSHED, DISPLAY)
    assert script.actions[-1] == Reconnect(2, TARGET)


@pytest.mark.parametrize("lost", [DISPLAY, CURSOR])
def test_target_of_a_semi_seamless_switch_that_lost_a_link_is_linked_anew(lost):
    """It would use the link that broke, not one that is made again beside it."""
    script = Script(DISPLAY, CURSOR).linked(SEMI)
    script.fail(lost)
    kept = CURSOR if lost == DISPLAY else DISPLAY
    assert script.actions == [Drop(1, MAIN), Drop(1, kept), Link(2, MAIN, TARGET, fresh=True)]
    script.up(MAIN, DISPLAY, CURSOR)
    script.fail(lost)
    assert script.actions == []
    script.get(END)
    assert isinstance(script.actions[-1], Reconnect if lost == DISPLAY else CloseSource)


def test_link_that_hangs_on_the_way_to_a_semi_seamless_switch():
    """The target may have it: all begins anew, as long as there is time."""
    script = Script(DISPLAY)
    script.get(BEGIN)
    script.up(MAIN)
    script.wait()
    assert script.actions == [Drop(1, MAIN), Drop(1, DISPLAY), Link(2, MAIN, TARGET, fresh=True)]
    script.up(MAIN, DISPLAY)
    assert script.actions[-1] == Reply(2, MigrateConnected())


# switching


def test_blob_that_does_not_come():
    script = Script(DISPLAY, INPUTS).linked()
    script.get(FLUSHED, DISPLAY)
    assert script.wait() == pytest.approx(5.0)
    assert script.actions[-1] == Reconnect(2, TARGET)
    assert isinstance(script.told[-1], Reconnecting)
    assert isinstance(script.told[-1].error, DeadlineError)


def test_blob_is_waited_for_from_its_own_flush():
    script = Script(DISPLAY, INPUTS).linked()
    script.get(FLUSHED, DISPLAY)
    script.now += 1.0
    script.get(STATELESS, INPUTS)
    script.on(TargetAlive(1))
    assert script.wait() == pytest.approx(4.0)
    assert script.actions == [Drop(1, DISPLAY), HoldInput(1), Disconnect(1), Reconnect(2, TARGET)]


def test_optional_blob_is_waited_for_from_its_own_flush():
    script = Script(DISPLAY, CURSOR).linked()
    script.get(FLUSHED, CURSOR)
    script.now += 1.0
    script.get(STATELESS, DISPLAY)
    assert script.wait() == pytest.approx(4.0)
    assert [type(action) for action in script.actions] == [Drop, CloseChannel]
    assert script.state is State.SWITCHING_SEAMLESS


def test_optional_blob_that_does_not_come_costs_only_its_channel():
    script = Script(DISPLAY, CURSOR).linked()
    script.get(STATELESS, DISPLAY)
    script.now += 1.0
    script.get(FLUSHED, CURSOR)
    script.now += 1.0
    script.get(FLUSHED, MAIN)
    script.get(DATA, MAIN)
    script.wait()
    assert [type(action) for action in script.actions] == [Drop, CloseChannel, CloseSource, Commit]
    assert isinstance(script.told[-2], ChannelGone)
    assert script.told[-1] == Switched(TARGET, Mode.SEAMLESS)


def test_core_channel_that_does_not_move():
    script = Script(DISPLAY).linked()
    script.get(STATELESS, DISPLAY)
    assert script.wait() == pytest.approx(5.0)
    assert script.actions[-1] == Reconnect(2, TARGET)


def test_optional_channel_that_does_not_move_is_left_behind():
    script = Script(DISPLAY, CURSOR).linked()
    script.get(STATELESS, DISPLAY)
    script.get(STATELESS, MAIN)
    assert script.wait() == pytest.approx(5.0)
    assert [type(action) for action in script.actions] == [Drop, CloseChannel, CloseSource, Commit]


def test_init_that_does_not_come():
    script = Script(DISPLAY).linked(SEMI)
    script.get(END)
    assert script.wait() == pytest.approx(10.0)
    assert script.actions[-1] == Reconnect(2, TARGET)


# input


def test_input_is_released_by_the_first_sign_of_life():
    script = Script(DISPLAY, INPUTS).linked()
    script.get(STATELESS, DISPLAY)
    assert script.actions[0] == HoldInput(1)
    script.get(STATELESS, INPUTS)
    assert script.on(TargetAlive(1)) == [ReleaseInput(1)]
    assert script.on(TargetAlive(1)) == []
    script.get(STATELESS, MAIN)
    assert script.machine.deadline is None


def test_input_waits_for_its_own_channel():
    script = Script(DISPLAY, INPUTS).linked()
    script.get(STATELESS, DISPLAY)
    assert script.on(TargetAlive(1)) == []
    assert script.get(STATELESS, INPUTS)[-1] == ReleaseInput(1)


def test_input_is_held_at_most_250_ms_after_its_swap():
    script = Script(DISPLAY, INPUTS).linked(SEMI)
    script.get(END)
    assert script.actions[0] == HoldInput(1)
    script.now += 3.0
    script.target_says(INIT)
    assert script.wait() == pytest.approx(0.25)
    assert script.actions == [ReleaseInput(1)]
    assert script.machine.deadline is None


def test_life_seen_while_the_new_session_is_made_counts():
    script = Script(DISPLAY, INPUTS)
    script.get(SWITCH_HOST)
    script.on(TargetAlive(1))
    assert script.on(Reconnected(1)) == [Commit(1, ELSEWHERE), ReleaseInput(1)]


def test_life_seen_in_a_try_that_failed_does_not_count():
    script = Script(DISPLAY, INPUTS)
    script.get(SWITCH_HOST)
    script.on(TargetAlive(1))
    script.on(ReconnectFailed(1, REFUSED))
    script.wait()
    assert script.on(Reconnected(2)) == [Commit(2, ELSEWHERE)]


def test_life_and_deadline_of_the_last_move_do_not_count_for_the_next():
    script = Script(DISPLAY, INPUTS).linked()
    for channel in (DISPLAY, INPUTS, MAIN):
        script.get(STATELESS, channel)
    script.linked()
    script.get(FLUSHED, INPUTS)
    assert script.wait() == pytest.approx(5.0)

    script = Script(DISPLAY, INPUTS).linked()
    for channel in (DISPLAY, INPUTS, MAIN):
        script.get(STATELESS, channel)
    assert script.on(TargetAlive(1)) == [ReleaseInput(1)]
    script.linked()
    assert [type(action) for action in script.get(STATELESS, INPUTS)] == [HoldInput, Swap]
    assert script.wait() == pytest.approx(0.25)


@pytest.mark.parametrize("mode", Mode)
def test_input_deadline_survives_the_next_announcement(mode):
    script = Script(DISPLAY, INPUTS).linked(SEMI)
    script.get(END)
    script.target_says(INIT)
    if mode is Mode.SWITCH_HOST:
        script.get(BEGIN)
    else:
        script.linked(mode)
    assert script.wait() == pytest.approx(0.25)
    assert script.actions == [ReleaseInput(2)]


def test_input_does_not_wait_for_the_other_channels():
    script = Script(DISPLAY, INPUTS).linked()
    script.get(STATELESS, INPUTS)
    assert script.wait() == pytest.approx(0.25)
    assert script.actions == [ReleaseInput(1)]
    assert script.state is State.SWITCHING_SEAMLESS


def test_session_without_inputs_releases_in_the_end():
    script = Script(DISPLAY).linked()
    script.get(STATELESS, DISPLAY)
    script.get(STATELESS, MAIN)
    assert script.wait() == pytest.approx(0.25)
    assert script.actions == [ReleaseInput(1)]


def test_released_input_is_held_again_if_the_move_fails_after_all():
    script = Script(DISPLAY, INPUTS).linked()
    script.get(STATELESS, INPUTS)
    script.on(TargetAlive(1))
    script.get(FLUSHED, DISPLAY)
    script.wait()
    assert script.actions == [HoldInput(1), Disconnect(1), Reconnect(2, TARGET)]


# connecting anew


def test_reconnecting_is_retried_with_back_off_for_a_minute():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    delays = []
    while script.state is State.RECONNECTING and len(delays) < 6:
        script.on(ReconnectFailed(script.attempt, DENIED))
        delays.append(script.wait())
        assert script.actions == [Reconnect(script.attempt, ELSEWHERE)]
    assert delays == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0, 4.0])
    assert script.told[-1] == Reconnecting(ELSEWHERE, DENIED)
    assert script.wait_until(State.CLOSED) + sum(delays) == pytest.approx(60.0)
    [end] = [action for action in script.actions if isinstance(action, EndSession)]
    assert isinstance(end.error, MigrationError)


def test_try_to_reconnect_that_hangs_is_ended():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    assert script.wait() == pytest.approx(10.0)
    assert script.actions == [Disconnect(1)]
    assert script.on(Reconnected(1)) == []
    script.wait()
    assert script.actions == [Reconnect(2, ELSEWHERE)]


def test_certificate_that_is_wrong_stays_wrong():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    script.on(ReconnectFailed(1, UNTRUSTED))
    assert isinstance(script.actions[-1], EndSession)
    assert str(UNTRUSTED) in str(script.actions[-1].error)
    assert script.state is State.CLOSED


def test_lost_source_is_tried_beside_the_target():
    script = Script(DISPLAY).linked()
    script.lose(MAIN)
    assert script.actions[-1] == Reconnect(2, TARGET)
    script.on(ReconnectFailed(2, UNTRUSTED))
    assert script.actions[-1] == Reconnect(3, SOURCE)
    script.on(ReconnectFailed(3, REFUSED))
    script.wait()
    assert script.actions == [Reconnect(4, SOURCE)]
    script.on(ChannelOpened(MAIN))
    assert script.on(Reconnected(4)) == [Commit(4, SOURCE)]


def test_after_a_return_to_the_source_the_target_is_forgotten():
    script = Script(DISPLAY).linked()
    script.lose(MAIN)
    script.on(ReconnectFailed(2, REFUSED))
    script.on(Reconnected(3))
    script.get(END)
    assert script.actions[-1] == Reconnect(4, SOURCE)


def test_target_that_is_the_source_is_tried_once_a_round():
    script = Script(DISPLAY)
    script.get(MigrateBegin(5900, 0, "source", None))
    script.lose(MAIN)
    script.on(ReconnectFailed(2, REFUSED))
    assert script.wait() == pytest.approx(0.25)
    assert script.actions == [Reconnect(3, SOURCE)]


def test_failure_counts_once():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    script.on(ReconnectFailed(1, REFUSED))
    assert script.on(ReconnectFailed(1, REFUSED)) == []
    assert script.on(Reconnected(1)) == []
    assert script.wait() == pytest.approx(0.25)


def test_switch_host_between_tries_leaves_one_try():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    script.on(ReconnectFailed(1, REFUSED))
    script.get(SWITCH_HOST)
    assert script.actions[-1] == Reconnect(2, ELSEWHERE)
    assert script.wait() == pytest.approx(10.0)


def test_switch_host_meanwhile_leads_on_without_more_time():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    script.now += 30.0
    script.on(ChannelOpened(MAIN))
    script.get(SWITCH_HOST)
    assert script.actions == [Disconnect(1), Reconnect(2, ELSEWHERE)]
    script.on(ReconnectFailed(2, REFUSED))
    assert script.wait_until(State.CLOSED) == pytest.approx(30.0)


@pytest.mark.parametrize("begin", [BEGIN, BEGIN_SEAMLESS])
def test_announcement_meanwhile_is_held(begin):
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    script.on(ChannelOpened(MAIN))
    assert script.get(begin) == []
    assert script.on(Reconnected(1)) == [Commit(1, ELSEWHERE), Link(2, MAIN, TARGET, fresh=True)]


def test_announcement_held_for_a_session_that_fails_is_void():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    script.get(BEGIN)
    script.on(ReconnectFailed(1, REFUSED))
    script.wait()
    assert script.on(Reconnected(2)) == [Commit(2, ELSEWHERE)]


def test_held_announcement_may_be_called_off():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    script.get(BEGIN)
    script.get(CANCEL)
    assert script.on(Reconnected(1)) == [Commit(1, ELSEWHERE)]


@pytest.mark.parametrize("message", [END, FLUSHED])
def test_new_session_that_is_told_to_move_before_it_stands_has_failed(message):
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    assert script.get(message) == [Disconnect(1)]
    script.wait()
    assert script.actions == [Reconnect(2, ELSEWHERE)]


def test_new_session_that_loses_a_core_channel_has_failed():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    for channel in (MAIN, DISPLAY, CURSOR):
        script.on(ChannelOpened(channel))
    assert [type(action) for action in script.lose(CURSOR)] == [CloseChannel]
    assert script.lose(DISPLAY) == [Disconnect(1)]
    assert script.state is State.RECONNECTING


def test_early_linking_works_again_after_a_fallback():
    script = Script(DISPLAY)
    script.get(SWITCH_HOST)
    script.on(ChannelOpened(MAIN))
    script.on(ChannelOpened(DISPLAY))
    script.on(Reconnected(1))
    script.linked()
    assert script.get(FLUSHED, DISPLAY)[-1] == HoldQueue(2, DISPLAY, flush_mark=True)


def test_early_linking_works_again_after_a_connect_error():
    script = Script(DISPLAY)
    script.get(BEGIN)
    script.fail(MAIN, UNTRUSTED)
    assert script.linked().state is State.LINKED_SEAMLESS


def test_ack_of_the_new_attempt_only():
    script = Script(DISPLAY)
    script.get(BEGIN_SEAMLESS)
    script.up(MAIN, DISPLAY)
    script.get(BEGIN_SEAMLESS)
    script.up(MAIN, DISPLAY)
    assert script.target_says(ACK)[-1].attempt == 2
