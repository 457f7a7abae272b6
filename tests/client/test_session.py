"""The life of a session with a server that does as the test says."""

import asyncio
import struct
from typing import Any

import pytest

import caraway
from caraway.client.inputs import MOTION_WINDOW, InputsChannel, PointerModeError
from caraway.errors import AuthError, DeadlineError, EndpointError, LinkError, MigrationError, ProtocolError
from caraway.wire.constants import ChannelType
from caraway.wire.messages import inputs as inputs_messages
from caraway.wire.messages import main as main_messages
from caraway.wire.messages.common import (
    Ack,
    AckSync,
    ChannelSerial,
    List,
    Notify,
    Ping,
    Pong,
    SetAck,
    Severity,
    Visibility,
    WaitForChannels,
)
from caraway.wire.messages.inputs import KeyDown, KeyModifiers, KeyScancode, MouseMotionAck, MousePosition, MousePress
from caraway.wire.messages.main import MouseMode, MouseModeRequest, MouseModes
from caraway.wire.sublist import pack_sub_list
from support.fake_server import FULL_HEADERS, fake_server
from support.leaks import nothing_left

MODIFIERS = inputs_messages.KeyboardModifiers


async def until_equal(wait: Any, value: Any) -> None:
    """Let the loop run until a function gives a value: for what a session notices without telling anybody."""
    async with asyncio.timeout(10):
        while wait() != value:  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.fixture(params=["mini", "full"])
def headers(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {} if request.param == "mini" else {"common": FULL_HEADERS}


async def test_common_messages(headers: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    async with fake_server("inputs", **headers) as server, caraway.connect(server.uri) as session:
        inputs = await server.inputs()
        inputs.send(SetAck(5, 3), Ping(7, 8, b"filler"))
        assert (await inputs.expect(AckSync)).generation == 5
        assert await inputs.expect(Pong) == Pong(7, 8)
        inputs.send(KeyModifiers(MODIFIERS(1)))
        inputs.send_raw(999, b"of another age")
        assert isinstance(await inputs.receive(), Ack)
        inputs.send(Notify(0, Severity.ERROR, Visibility.HIGH, 0, "careful"), Ping(1, 1, b""))
        assert await inputs.expect(Pong) == Pong(1, 1)
        assert session.inputs.modifiers == MODIFIERS(1)
        assert session.inputs.flow.received_serial == 6
        if headers:
            assert inputs.serials == [1, 2, 3, 4]
    assert "inputs 0: the server says: 'careful'" in caplog.messages


async def test_lists_are_handled_in_order_and_count_once() -> None:
    async with fake_server("inputs") as server, caraway.connect(server.uri):
        inputs = await server.inputs()
        pings = [(Ping.id, Ping(number, 0, b"").pack()) for number in range(3)]
        inputs.send(SetAck(1, 2), List(pack_sub_list(pings)), Ping(3, 0, b""))
        await inputs.expect(AckSync)
        got = [await inputs.receive() for _ in range(5)]
        assert got == [*(Pong(number, 0) for number in range(3)), Ack(), Pong(3, 0)]


async def test_sub_messages_come_before_their_message() -> None:
    async with fake_server("inputs", common=FULL_HEADERS) as server, caraway.connect(server.uri):
        inputs = await server.inputs()
        own = Ping(2, 0, b"").pack()
        body = own + pack_sub_list([(Ping.id, Ping(1, 0, b"").pack())], base=len(own))
        inputs.send_raw(Ping.id, body, sub_list=len(own))
        assert [(await inputs.expect(Pong)).ping_id for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("type", "body"),
    [
        (SetAck.id, b"short"),
        (List.id, b"\xff\xff"),
        (List.id, pack_sub_list([(List.id, pack_sub_list([]))])),
        (List.id, struct.pack("<HI", 1, 1000)),
        (inputs_messages.Init.id, b""),
        (Notify.id, b"\xff" * 28),
    ],
)
async def test_broken_messages_end_the_session(type: int, body: bytes) -> None:
    with nothing_left():
        async with fake_server("inputs") as server, caraway.connect(server.uri) as session:
            (await server.inputs()).send_raw(type, body)
            with pytest.raises(ProtocolError, match="inputs 0"):
                await session.until(asyncio.Event().wait())
            with pytest.raises(ProtocolError):
                await session.inputs.press("a")
            assert isinstance(session.error, ProtocolError)


async def test_message_that_is_too_large() -> None:
    async with fake_server("inputs") as server, caraway.connect(server.uri) as session:
        (await server.inputs()).writer.write(struct.pack("<HI", 102, 0x7FFFFFFF))
        with pytest.raises(ProtocolError, match="announces 2147483647 bytes"):
            await session.until(asyncio.Event().wait())


async def test_wait_for_channels() -> None:
    async with fake_server("inputs", "cursor") as server, caraway.connect(server.uri) as session:
        inputs, cursor = await server.inputs(), await server.channel(ChannelType.CURSOR)
        serial = session.cursor.flow.received_serial
        assert serial == 0
        wait = WaitForChannels(
            [
                ChannelSerial(ChannelType.CURSOR, 0, 2),
                ChannelSerial(ChannelType.CURSOR, 9, 77),
                ChannelSerial(ChannelType.INPUTS, 0, 1 << 40),
            ]
        )
        inputs.send(Ping(1, 0, b""), wait, Ping(2, 0, b""))
        assert (await inputs.expect(Pong)).ping_id == 1
        cursor.send(Ping(3, 0, b""))
        await cursor.expect(Pong)
        assert session.inputs.processed_serial == 1
        cursor.send(Ping(4, 0, b""))
        assert (await inputs.expect(Pong)).ping_id == 2


async def test_wait_for_a_channel_that_ends() -> None:
    async with fake_server("inputs", "cursor") as server, caraway.connect(server.uri) as session:
        inputs, cursor = await server.inputs(), await server.channel(ChannelType.CURSOR)
        inputs.send(WaitForChannels([ChannelSerial(ChannelType.CURSOR, 0, 9)]), Ping(2, 0, b""))
        cursor.close()
        assert (await inputs.expect(Pong)).ping_id == 2
        assert isinstance(session.cursor.error, LinkError)
        assert session.error is None


async def test_wait_for_channels_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.channel.WAIT_FOR_CHANNELS_DEADLINE", 0.05)
    async with fake_server("inputs", "cursor") as server, caraway.connect(server.uri) as session:
        (await server.inputs()).send(WaitForChannels([ChannelSerial(ChannelType.CURSOR, 0, 9)]))
        with pytest.raises(DeadlineError, match="inputs 0: waiting for other channels"):
            await session.until(asyncio.Event().wait())


async def test_channel_that_appears_later_is_linked() -> None:
    async with fake_server() as server, caraway.connect(server.uri) as session:
        with pytest.raises(LinkError, match="no channel inputs 0"):
            _ = session.inputs
        entry = main_messages.ChannelEntry(ChannelType.INPUTS, 0)
        (await server.main()).send(main_messages.ChannelsList([entry]))
        inputs = await server.inputs()
        await until_equal(lambda: len(session.channels), 2)
        await session.inputs.press("a")
        assert (await inputs.expect(KeyDown)).code == 0x1E


async def test_only_wanted_channels_are_linked() -> None:
    async with fake_server("inputs", "cursor", "playback") as server:
        async with caraway.connect(server.uri, channels=["inputs"]) as session:
            assert set(session.channels) == {(ChannelType.MAIN, 0), (ChannelType.INPUTS, 0)}
        assert set(server.linked) == {(ChannelType.MAIN, 0), (ChannelType.INPUTS, 0)}
    with pytest.raises(ValueError, match="channels are some of"):
        caraway.connect(server.uri, channels=["tunnel"])  # type: ignore[list-item]


async def test_lost_channel_leaves_the_session_alive() -> None:
    async with fake_server("inputs", "cursor") as server, caraway.connect(server.uri) as session:
        (await server.inputs()).close(reset=True)
        await until_equal(lambda: isinstance(session.inputs.error, LinkError), True)
        with pytest.raises(LinkError, match="inputs 0"):
            await session.inputs.press("a")
        assert session.error is None


async def test_lost_main_ends_the_session() -> None:
    async with fake_server("inputs") as server, caraway.connect(server.uri) as session:
        inputs = await server.inputs()
        (await server.main()).close()
        with pytest.raises(LinkError, match=r"main 0 .*: the server closed the connection"):
            await session.until(asyncio.Event().wait())
        with pytest.raises(EOFError):
            await inputs.expect(Ack)
        with pytest.raises(LinkError):
            await session.inputs.press("a")


async def test_vm_that_has_moved_away() -> None:
    async with fake_server() as server, caraway.connect(server.uri, migration="refuse") as session:
        (await server.main()).send(main_messages.MigrateSwitchHost(5900, 5901, "elsewhere", None))
        with pytest.raises(MigrationError, match="this session is to stay"):
            await session.until(asyncio.Event().wait())


async def test_wrong_password_leaves_nothing() -> None:
    with nothing_left():
        async with fake_server("inputs", password="right") as server:
            with pytest.raises(AuthError):
                await caraway.connect(server.uri, password="wrong")
            async with caraway.connect(server.uri, password="right") as session:
                assert session.endpoint.password is not None


async def test_closing_leaves_nothing_and_says_so() -> None:
    with nothing_left():
        async with fake_server("inputs", "cursor") as server:
            session = await caraway.connect(server.uri)
            waiting = asyncio.ensure_future(session.inputs.until(asyncio.Event().wait()))
            await asyncio.sleep(0)
            await session.aclose()
            await session.aclose()
            with pytest.raises(LinkError, match="the session was closed"):
                await waiting
            assert str(session.error).endswith("the session was closed")
            with pytest.raises(LinkError, match="the session was closed"):
                session.inputs.key_down("a")


async def test_cancelled_while_connecting() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    from support.relays import listening

    with nothing_left():
        async with listening(silent) as port:
            task = asyncio.ensure_future(caraway.connect(f"spice://127.0.0.1:{port}")._connect())
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_error_inside_the_block_closes_the_session() -> None:
    with nothing_left():
        async with fake_server("inputs") as server:
            with pytest.raises(ZeroDivisionError):
                async with caraway.connect(server.uri):
                    raise ZeroDivisionError


async def test_fault_of_a_handler_ends_the_session(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_server("inputs") as server, caraway.connect(server.uri) as session:

        def broken(self: Any, message: Any) -> None:
            raise KeyError("bug")

        monkeypatch.setitem(session.inputs.handlers, KeyModifiers.id, (KeyModifiers, broken))
        (await server.inputs()).send(KeyModifiers(MODIFIERS(0)))
        with pytest.raises(caraway.CarawayError, match=r"inputs 0: internal error: KeyError\('bug'\)"):
            await session.until(asyncio.Event().wait())
    assert "a fault of this client" in caplog.text


# mouse


@pytest.mark.parametrize(
    ("mode", "current", "asked"),
    [
        ("client", MouseModes.SERVER, MouseModes.CLIENT),
        ("client", MouseModes.CLIENT, None),
        ("server", MouseModes.CLIENT, MouseModes.SERVER),
        ("server", MouseModes.SERVER, None),
    ],
)
async def test_mouse_mode_is_asked_for(mode: Any, current: MouseModes, asked: MouseModes | None) -> None:
    modes = (MouseModes(3), current)
    async with fake_server(mouse_modes=modes) as server, caraway.connect(server.uri, mouse_mode=mode):
        main = await server.main()
        main.send(Ping(1, 0, b""))
        messages = []
        assert isinstance(await main.receive(), main_messages.AttachChannels)
        while not isinstance(message := await main.receive(), Pong):
            messages.append(message)
        assert messages == ([MouseModeRequest(asked)] if asked else [])


async def test_motion_window() -> None:
    async with fake_server("inputs") as server:
        async with caraway.connect(server.uri) as session:
            inputs = await server.inputs()
            for step in range(50):
                await session.inputs.move(step, 2 * step)
            first = [await inputs.expect(MousePosition) for _ in range(MOTION_WINDOW)]
            assert [message.x for message in first] == list(range(8))
            inputs.send(MouseMotionAck())
            assert (await inputs.expect(MousePosition)).x == 49
            for step in range(50, 60):
                await session.inputs.move(step, 0)
            assert [(await inputs.expect(MousePosition)).x for _ in range(3)] == [50, 51, 52]
            await session.inputs.click()
            assert isinstance(position := await inputs.receive(), MousePosition)
            assert position.x == 59
            assert isinstance(await inputs.receive(), MousePress)
            await session.inputs.move(77, 78)
        assert (await inputs.expect(MousePosition)).x == 77


async def test_positions_that_a_guest_cannot_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.inputs.CLIENT_MOUSE_DEADLINE", 0.05)
    modes = (MouseModes.SERVER, MouseModes.SERVER)
    async with fake_server("inputs", mouse_modes=modes) as server, caraway.connect(server.uri) as session:
        with pytest.raises(PointerModeError, match="use move_by"):
            await session.inputs.move(1, 1)
        moving = asyncio.ensure_future(session.inputs.move(3, 4))
        await asyncio.sleep(0)
        (await server.main()).send(MouseMode(MouseModes(3), MouseModes.CLIENT))
        await moving
        assert (await (await server.inputs()).expect(MousePosition)).y == 4


# the end of what was sent


async def test_everything_sent_arrives_although_the_server_reads_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.flow.MAX_QUEUED", 1 << 26)
    async with fake_server("inputs") as server:
        session = await caraway.connect(server.uri)
        inputs = await server.inputs()
        inputs.writer.transport.pause_reading()  # type: ignore[attr-defined]
        count = 400
        for _ in range(count):
            session.inputs.send(KeyScancode(bytes(1 << 16)))
        session.inputs.key_down("a")
        assert session.inputs.flow._queue
        closing = asyncio.ensure_future(session.aclose())
        await asyncio.sleep(0)
        inputs.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(count):
            assert isinstance(await inputs.receive(), KeyScancode)
        assert isinstance(await inputs.receive(), KeyDown)
        with pytest.raises(EOFError):
            await inputs.receive()
        inputs.close()
        await closing


async def test_ping_after_the_end_of_our_direction() -> None:
    async with fake_server("inputs") as server:
        session = await caraway.connect(server.uri)
        inputs = await server.inputs()
        inputs.closes_with_client = False
        closing = asyncio.ensure_future(session.aclose())
        with pytest.raises(EOFError):
            await inputs.expect(Ack)
        inputs.send(Ping(1, 0, b""))
        inputs.close()
        await closing
        assert type(session.inputs.error) is LinkError


def flood(inputs: InputsChannel) -> None:
    for _ in range(1000):
        inputs.send(KeyScancode(bytes(1 << 16)))


async def test_peer_that_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.flow.MAX_QUEUED", 1 << 16)
    monkeypatch.setattr("caraway.client.channel.CLOSE_DEADLINE", 0.05)
    monkeypatch.setattr("caraway.client.connection.CLOSE_DEADLINE", 0.05)
    with nothing_left():
        async with fake_server("inputs") as server, caraway.connect(server.uri) as session:
            (await server.inputs()).writer.transport.pause_reading()  # type: ignore[attr-defined]
            with pytest.raises(LinkError, match="does not read"):
                flood(session.inputs)


async def test_channel_listed_twice_is_linked_once() -> None:
    with nothing_left():
        async with fake_server() as server, caraway.connect(server.uri) as session:
            entry = main_messages.ChannelEntry(ChannelType.INPUTS, 0)
            main = await server.main()
            main.send(main_messages.ChannelsList([entry, entry]), main_messages.ChannelsList([entry]))
            await server.inputs()
            await until_equal(lambda: len(session.channels), 2)
            main.send(Ping(1, 0, b""))
            assert (await main.expect(Pong)).ping_id == 1


async def test_too_many_channels() -> None:
    async with fake_server() as server, caraway.connect(server.uri) as session:
        entries = [main_messages.ChannelEntry(ChannelType.PORT, number) for number in range(65)]
        (await server.main()).send(main_messages.ChannelsList(entries))
        with pytest.raises(ProtocolError, match="65 channels, limit 64"):
            await session.until(asyncio.Event().wait())


@pytest.mark.parametrize("options", [{"ca_file": "ca.pem"}, {"host_subject": "CN=host"}])
def test_checks_of_the_server_need_tls(options: dict[str, Any]) -> None:
    with pytest.raises(EndpointError, match="TLS"):
        caraway.connect("spice://127.0.0.1:5900", **options)


@pytest.mark.parametrize("options", [{"channels": "display"}, {"mouse_mode": "absolute"}, {"migration": "maybe"}])
def test_choices_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'display'|'absolute'|'maybe'"):
        caraway.connect("spice://127.0.0.1:5900", **options)


async def test_credentials_that_give_nothing() -> None:
    async def forgetful(endpoint: caraway.Endpoint) -> Any:
        return None

    async with fake_server() as server:
        with pytest.raises(AuthError, match="gave NoneType, not a str"):
            await caraway.connect(server.uri, credentials=forgetful)
