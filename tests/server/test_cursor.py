"""The pointer of a display, as a viewer gets it."""

import pytest

from caraway.canvas.cursor import CursorShape
from caraway.server import cursor as server_cursor
from caraway.wire.constants import ChannelType
from caraway.wire.messages.common import Ack
from caraway.wire.messages.cursor import CursorFlags, Hide, Init, InvalOne, Move, Set
from support.raw_client import raw_client
from support.serving import SeenGuest, serving


def shape(number: int) -> CursorShape:
    return CursorShape(2, 2, 1, 0, bytes([number]) * 16)


async def test_shape_place_and_visibility() -> None:
    guest = SeenGuest()
    guest.display.set_cursor(shape(1))
    guest.display.move_cursor(5, 6)
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        cursor = await client.link(ChannelType.CURSOR)
        first = await cursor.expect(Init)
        assert (first.position.x, first.position.y, first.visible) == (5, 6, True)
        assert first.cursor.shape is not None
        assert bytes(first.cursor.shape.data) == shape(1).bgra
        assert (first.cursor.shape.hot_spot_x, first.cursor.shape.hot_spot_y) == (1, 0)
        guest.display.move_cursor(-7, 70000)
        moved = await cursor.receive()
        assert isinstance(moved, Move)
        assert (moved.position.x, moved.position.y) == (-7, 32767)
        guest.display.move_cursor(1, 1, visible=False)
        assert isinstance(await cursor.receive(), Hide)
        guest.display.set_cursor(None)
        assert isinstance(await cursor.receive(), Hide)


async def test_without_a_cursor_there_is_no_shape() -> None:
    async with serving() as server, raw_client(server.port) as client:
        await client.main()
        first = await (await client.link(ChannelType.CURSOR)).expect(Init)
        assert first.cursor.shape is None
        assert not first.visible


async def test_a_shape_travels_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_cursor, "CACHED_SHAPES", 2)
    guest = SeenGuest()
    guest.display.set_cursor(shape(1))
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        cursor = await client.link(ChannelType.CURSOR)
        await cursor.expect(Init)
        told = []
        for number in (2, 1, 3, 2):
            guest.display.set_cursor(shape(number))
            told.append(await cursor.expect(Set))
            if number == 3:
                assert (await cursor.expect(InvalOne)).unique == 2
        flags = [message.cursor.flags for message in told]
        assert flags == [CursorFlags.CACHE_ME, CursorFlags.FROM_CACHE, CursorFlags.CACHE_ME, CursorFlags.CACHE_ME]
        cached = told[1].cursor.shape
        assert cached is not None
        assert (cached.unique, bytes(cached.data)) == (1, b"")


async def test_a_viewer_that_is_behind_gets_the_newest_shape() -> None:
    guest = SeenGuest()
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        cursor = await client.link(ChannelType.CURSOR)
        await cursor.expect(Init)
        cursor.answers = False
        for number in range(200):
            guest.display.set_cursor(shape(number))
        assert not server.viewers[client.session_id].channels[ChannelType.CURSOR, 0].flow.room
        sent = 0
        cursor.send(Ack(), Ack(), Ack())
        while True:
            message = await cursor.receive()
            sent += isinstance(message, Set)
            if isinstance(message, Set) and message.cursor.shape and bytes(message.cursor.shape.data)[0] == 199:
                break
        assert sent < 60
