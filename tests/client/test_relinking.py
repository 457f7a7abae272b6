"""How a session that begins anew links its channels."""

import asyncio

import pytest

import caraway
from caraway.client.dial import Dialer
from caraway.client.relinking import connecting, link_in_turn, picture_first
from caraway.endpoint import Endpoint
from caraway.errors import LinkError
from caraway.wire.constants import ChannelType
from caraway.wire.messages.main import MigrateSwitchHost
from support.fake_server import fake_server
from support.leaks import nothing_left
from support.relays import listening

DISPLAY, INPUTS, CURSOR = (ChannelType.DISPLAY, 0), (ChannelType.INPUTS, 0), (ChannelType.CURSOR, 0)


async def test_channels_are_linked_before_they_are_listed() -> None:
    """One that turns out not to be there is over; the others go on."""
    with nothing_left():
        async with (
            fake_server("display", "inputs", lists=False) as target,
            fake_server("display", "inputs", "cursor") as source,
            caraway.connect(source.uri) as session,
        ):
            host, _, port = target.uri.removeprefix("spice://").rpartition(":")
            (await source.main()).send(MigrateSwitchHost(int(port), 0, host, None))
            for key in DISPLAY, INPUTS, CURSOR:
                linked = await target.channel(*key)
                assert linked.request.connection_id == 1
            main = await target.main()
            main.send(target.list())
            async with asyncio.timeout(10):
                while CURSOR in session.living():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert set(session.living()) == {(ChannelType.MAIN, 0), DISPLAY, INPUTS}
            with pytest.raises(LinkError, match="there is no channel cursor 0"):
                session.cursor.check()


async def test_others_wait_until_the_server_has_taken_up_the_picture() -> None:
    asked: list[object] = []
    more, answer = asyncio.Event(), asyncio.Event()

    async def link(key, taken_up) -> None:
        asked.append(key)
        if key == DISPLAY:
            more.set()
            await answer.wait()
            taken_up()
            raise LinkError("gone")

    linking = asyncio.create_task(link_in_turn(link, picture_first({CURSOR, INPUTS, DISPLAY})))
    await more.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert asked == [DISPLAY]
    answer.set()
    errors = await linking
    assert asked == [DISPLAY, INPUTS, CURSOR]
    assert list(errors) == [DISPLAY]


async def test_a_picture_that_cannot_be_linked_holds_nobody_up() -> None:
    asked = []

    async def link(key, taken_up) -> None:
        asked.append(key)
        if taken_up is not None:
            raise LinkError("refused")

    assert list(await link_in_turn(link, [DISPLAY, INPUTS])) == [DISPLAY]
    assert asked == [DISPLAY, INPUTS]


async def test_connections_that_nobody_links_are_closed() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read(1) == b""
        ended.set()
        writer.close()

    with nothing_left():
        async with listening(serve) as port:
            dialer = Dialer(Endpoint(host="127.0.0.1", port=port), "")
            with connecting(dialer, [DISPLAY]) as early:
                await asyncio.wait(early.values())
            async with asyncio.timeout(10):
                await ended.wait()


async def test_nobody_connects_where_main_may_have_to_use_tls() -> None:
    dialer = Dialer(Endpoint(host="127.0.0.1", port=1, tls_port=2), "")
    with connecting(dialer, [DISPLAY]) as early:
        assert not early
