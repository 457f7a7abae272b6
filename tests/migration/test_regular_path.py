"""The regular edges of spec/migration.md 9.2 to 9.6: who is told what, and in which order."""

from caraway.migration import Announced, Cancelled, ChannelGone, Failed, Linked, Mode, Reconnecting, Switched, Switching
from caraway.migration.actions import (
    Ask,
    CloseChannel,
    CloseSource,
    Commit,
    Disconnect,
    Drop,
    HoldInput,
    HoldQueue,
    Link,
    Reconnect,
    ReleaseInput,
    Reply,
    Swap,
)
from caraway.migration.channels import MAIN
from caraway.migration.events import ChannelOpened, Reconnected, TargetAlive
from caraway.migration.states import State
from caraway.wire.messages.common import ClientMigrateData, Migrate, MigrateData
from caraway.wire.messages.main import (
    ClientMigrateEnd,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateDstDoSeamless,
)
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
    MODERN,
    NACK,
    SEMI_ONLY,
    SOURCE,
    SWITCH_HOST,
    Script,
)

FLUSHED, STATELESS = Migrate(3), Migrate(0)  # type: ignore[arg-type]
TARGET = SOURCE.moved_to("target", 5901)
ELSEWHERE = SOURCE.moved_to("elsewhere", 5902)


def test_announcement_links_main_first_then_all_others():
    script = Script(DISPLAY, INPUTS, CURSOR)
    assert script.get(BEGIN_SEAMLESS) == [Link(1, MAIN, TARGET, fresh=True)]
    assert script.up(MAIN) == [
        Ask(1, MigrateDstDoSeamless(1)),
        Link(1, DISPLAY, TARGET),
        Link(1, INPUTS, TARGET),
        Link(1, CURSOR, TARGET),
    ]
    assert script.up(DISPLAY, INPUTS, CURSOR) == []
    assert script.target_says(ACK) == [Reply(1, MigrateConnectedSeamless())]
    assert script.state is State.LINKED_SEAMLESS
    assert script.told == [Announced(TARGET), Linked(TARGET, Mode.SEAMLESS)]


def test_other_links_do_not_wait_for_the_handshake():
    script = Script(DISPLAY)
    script.get(BEGIN_SEAMLESS)
    script.up(MAIN)
    script.target_says(ACK)
    assert script.up(DISPLAY) == [Reply(1, MigrateConnectedSeamless())]


def test_plain_announcement_is_semi_seamless():
    script = Script(DISPLAY)
    script.get(BEGIN)
    assert script.up(MAIN) == [Link(1, DISPLAY, TARGET)]
    assert script.up(DISPLAY) == [Reply(1, MigrateConnected())]
    assert script.state is State.LINKED_SEMI


def test_target_that_declines_state_is_linked_semi_seamless():
    script = Script(DISPLAY)
    script.get(BEGIN_SEAMLESS)
    script.up(MAIN, DISPLAY)
    assert script.target_says(NACK) == [Reply(1, MigrateConnected())]
    assert script.told[-1] == Linked(TARGET, Mode.SEMI_SEAMLESS)


def test_target_without_the_capability_is_not_asked():
    script = Script(DISPLAY)
    script.get(BEGIN_SEAMLESS)
    assert script.up(MAIN, capabilities=SEMI_ONLY) == [Link(1, DISPLAY, TARGET)]
    assert script.up(DISPLAY) == [Reply(1, MigrateConnected())]


def test_session_with_only_main_can_link():
    script = Script(CURSOR)
    script.machine.channels.pop(CURSOR)
    script.get(BEGIN)
    assert script.up(MAIN) == [Reply(1, MigrateConnected())]


def test_seamless_switch_channel_by_channel():
    script = Script(DISPLAY, INPUTS, CURSOR).linked()
    script.told.clear()
    assert script.get(FLUSHED, DISPLAY) == [HoldInput(1), HoldQueue(1, DISPLAY, flush_mark=True)]
    assert script.get(STATELESS, CURSOR) == [Swap(1, CURSOR, None, keep=True)]
    assert script.get(FLUSHED, MAIN) == [HoldQueue(1, MAIN, flush_mark=True)]
    assert script.get(MigrateData(b"main's"), MAIN) == [Swap(1, MAIN, ClientMigrateData(b"main's"), keep=True)]
    assert script.get(MigrateData(b"display's"), DISPLAY) == [
        Swap(1, DISPLAY, ClientMigrateData(b"display's"), keep=True)
    ]
    assert script.get(FLUSHED, INPUTS) == [HoldQueue(1, INPUTS, flush_mark=True)]
    assert script.get(MigrateData(b""), INPUTS) == [
        Swap(1, INPUTS, ClientMigrateData(b""), keep=True),
        CloseSource(1),
        Commit(1, TARGET),
    ]
    assert script.told == [Switching(TARGET, Mode.SEAMLESS), Switched(TARGET, Mode.SEAMLESS)]
    assert script.state is State.IDLE
    assert script.machine.endpoint == TARGET


def test_flush_without_state_and_state_without_flush():
    script = Script(DISPLAY).linked()
    assert script.get(Migrate(1), DISPLAY)[1:] == [  # type: ignore[arg-type]
        HoldQueue(1, DISPLAY, flush_mark=True),
        Swap(1, DISPLAY, None, keep=True),
    ]
    assert script.get(Migrate(2), MAIN) == [HoldQueue(1, MAIN, flush_mark=False)]  # type: ignore[arg-type]


def test_semi_seamless_switch():
    script = Script(DISPLAY, INPUTS).linked(Mode.SEMI_SEAMLESS)
    script.told.clear()
    assert script.get(END) == [HoldInput(1), Swap(1, MAIN, ClientMigrateEnd(), keep=False), CloseSource(1)]
    assert script.target_says(INIT) == [
        Swap(1, DISPLAY, None, keep=False),
        Swap(1, INPUTS, None, keep=False),
        Commit(1, TARGET),
    ]
    assert script.told == [Switching(TARGET, Mode.SEMI_SEAMLESS), Switched(TARGET, Mode.SEMI_SEAMLESS)]


def test_cancel_drops_the_targets_links_and_forgets_the_target():
    script = Script(DISPLAY).linked()
    assert script.get(CANCEL) == [Drop(1, MAIN), Drop(1, DISPLAY)]
    assert script.told[-1] == Cancelled()
    assert script.state is State.IDLE
    assert script.machine.endpoint == SOURCE
    script.get(END)
    assert script.actions[-1] == Reconnect(2, SOURCE)


def test_switch_host():
    script = Script(DISPLAY, INPUTS)
    assert script.get(SWITCH_HOST) == [HoldInput(0), Disconnect(0), Reconnect(1, ELSEWHERE)]
    assert isinstance(script.told[-1], Reconnecting)
    for channel in (MAIN, DISPLAY, INPUTS):
        assert script.on(ChannelOpened(channel)) == []
    assert script.on(Reconnected(1)) == [Commit(1, ELSEWHERE)]
    assert script.told[-1] == Switched(ELSEWHERE, Mode.SWITCH_HOST)
    assert script.on(TargetAlive(1)) == [ReleaseInput(1)]
    assert script.state is State.IDLE


def test_host_after_host():
    script = Script(DISPLAY).linked()
    for channel in (DISPLAY, MAIN):
        script.get(STATELESS, channel)
    assert script.state is State.IDLE
    assert script.get(BEGIN) == [Link(2, MAIN, TARGET.moved_to("target", 5901), fresh=True)]
    script.up(MAIN, DISPLAY)
    script.get(END)
    assert script.target_says(INIT)[-1] == Commit(2, TARGET)


def test_optional_channel_that_the_target_has_not_is_left_behind():
    script = Script(DISPLAY, CURSOR)
    script.get(BEGIN)
    script.up(MAIN)
    script.fail(CURSOR)
    assert script.up(DISPLAY) == [Reply(1, MigrateConnected())]
    actions = script.get(END)
    assert [type(action) for action in actions] == [HoldInput, CloseChannel, Swap, CloseSource]
    assert isinstance(script.told[-1], ChannelGone)
    assert script.told[-1].channel == CURSOR
    assert script.target_says(INIT) == [Swap(1, DISPLAY, None, keep=False), Commit(1, TARGET)]


def test_reply_waits_for_an_optional_link_that_is_being_made():
    script = Script(DISPLAY, CURSOR)
    script.get(BEGIN)
    script.up(MAIN)
    assert script.up(DISPLAY) == []
    assert script.up(CURSOR, capabilities=MODERN) == [Reply(1, MigrateConnected())]


def test_failure_is_told():
    script = Script(DISPLAY)
    script.get(BEGIN)
    script.wait_until(State.IDLE)
    assert isinstance(script.told[-1], Failed)
