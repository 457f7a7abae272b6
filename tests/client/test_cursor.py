"""The cursor channel, given messages by a server that does as the test says."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

import caraway
from caraway.client.cursor import CACHE_SIZE, CursorChannel
from caraway.errors import CodecError, ProtocolError
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import Ping, Pong
from caraway.wire.messages.cursor import (
    Cursor,
    CursorFlags,
    CursorShape,
    CursorType,
    Hide,
    Init,
    InvalAll,
    InvalOne,
    Move,
    Reset,
    Set,
    Trail,
)
from caraway.wire.messages.shapes import Point16
from support.fake_server import Linked, fake_server

NO_POINTER = Cursor(CursorFlags.NONE, None)
PLAIN, CACHE_ME, FROM_CACHE = CursorFlags(0), CursorFlags.CACHE_ME, CursorFlags.FROM_CACHE


def pointer(
    unique: int, flags: CursorFlags = PLAIN, *, type: int = CursorType.ALPHA, data: bytes | None = None
) -> Cursor:
    """Two pixels that show their number."""
    shown = unique.to_bytes(4, "little") * 2 if data is None else data
    return Cursor(flags, CursorShape(unique, type, 2, 1, 1, 0, b"" if flags & FROM_CACHE else shown))


def set_to(cursor: Cursor, x: int = 3, y: int = 4, *, visible: bool = True) -> Set:
    return Set(Point16(x, y), visible, cursor)


def init(cursor: Cursor, *, visible: bool = True) -> Init:
    return Init(Point16(5, 6), 0, 0, visible, cursor)


class Viewed:
    """A session with a pointer, and the server's end of it."""

    def __init__(self, session: caraway.Session, server: Linked) -> None:
        self.session = session
        self.server = server

    async def after(self, *messages: Message) -> CursorChannel:
        """The channel once these messages have been processed."""
        self.server.send(*messages, Ping(99, 0, b""))
        await self.server.expect(Pong)
        return self.session.cursor

    async def shown(self, *messages: Message) -> int | None:
        """The number that the pointer's pixels show."""
        shape = (await self.after(*messages)).shape
        return None if shape is None else int.from_bytes(shape.bgra[:4], "little")

    async def fails(self, *messages: Message) -> ProtocolError:
        """What ends the session."""
        self.server.send(*messages)
        with pytest.raises(ProtocolError, match=r"^cursor 0: ") as caught:
            await self.session.until(asyncio.Event().wait())
        return caught.value


@asynccontextmanager
async def viewing() -> AsyncIterator[Viewed]:
    async with fake_server("cursor") as server, caraway.connect(server.uri) as session:
        yield Viewed(session, await server.channel(ChannelType.CURSOR))


@pytest_asyncio.fixture
async def view() -> AsyncIterator[Viewed]:
    async with viewing() as made:
        yield made


def state(channel: CursorChannel) -> tuple[bool, tuple[int, int], bool]:
    """Whether there is a shape, where, and whether it is to be seen."""
    return channel.shape is not None, channel.position, channel.visible


async def test_before_the_first_word(view: Viewed) -> None:
    assert state(await view.after()) == (False, (0, 0), False)


async def test_guest_without_a_pointer(view: Viewed) -> None:
    assert state(await view.after(init(NO_POINTER, visible=False))) == (False, (5, 6), False)


async def test_shape_place_and_sight(view: Viewed) -> None:
    channel = await view.after(init(pointer(1)))
    assert state(channel) == (True, (5, 6), True)
    assert channel.shape is not None
    assert (channel.shape.width, channel.shape.height, channel.shape.hot_x, channel.shape.hot_y) == (2, 1, 1, 0)
    assert channel.shape.bgra == b"\1\0\0\0" * 2
    assert state(await view.after(Hide())) == (True, (5, 6), False)
    assert state(await view.after(Move(Point16(-7, 8)))) == (True, (-7, 8), True)
    assert state(await view.after(set_to(pointer(2), visible=False))) == (True, (3, 4), False)
    assert await view.shown() == 2
    assert state(await view.after(set_to(NO_POINTER))) == (False, (3, 4), True)
    assert state(await view.after(Move(Point16(1, 1)), Trail(3, 4))) == (False, (1, 1), True)


async def test_new_primary_surface(view: Viewed) -> None:
    await view.after(init(pointer(1, CACHE_ME)))
    assert state(await view.after(InvalAll(), Reset())) == (False, (5, 6), False)
    # A bare reset of the device is followed by no INIT.
    assert await view.shown(set_to(pointer(2, CACHE_ME))) == 2
    assert await view.shown(InvalAll(), Reset(), init(pointer(3))) == 3
    assert "not in the cache" in str(await view.fails(set_to(pointer(2, FROM_CACHE))))


async def test_cached_shapes(view: Viewed) -> None:
    assert await view.shown(init(pointer(1, CACHE_ME)), set_to(pointer(2, CACHE_ME)), set_to(pointer(3))) == 3
    assert await view.shown(set_to(pointer(1, FROM_CACHE))) == 1
    channel = await view.after(set_to(Cursor(FROM_CACHE, CursorShape(2, 6, 99, 99, 9, 9, b""))))
    assert channel.shape is not None
    assert (channel.shape.width, channel.shape.hot_x, channel.shape.bgra[:1]) == (2, 1, b"\2")
    assert await view.shown(init(pointer(1, FROM_CACHE))) == 1


async def test_number_used_again(view: Viewed) -> None:
    other = pointer(1, CACHE_ME, data=b"\x09\0\0\0" * 2)
    assert await view.shown(set_to(pointer(1, CACHE_ME)), set_to(other), set_to(pointer(2))) == 2
    assert await view.shown(set_to(pointer(1, FROM_CACHE))) == 9


@pytest.mark.parametrize("forgetting", [[InvalOne(1)], [InvalAll()], [InvalOne(1), InvalOne(1), InvalOne(5)]])
async def test_forgotten_shapes(view: Viewed, forgetting: list[Message]) -> None:
    assert await view.shown(set_to(pointer(1, CACHE_ME)), *forgetting) == 1
    error = await view.fails(set_to(pointer(1, FROM_CACHE)))
    assert str(error) == "cursor 0: cursor 0x1 is not in the cache"


async def test_shape_that_was_never_to_be_cached(view: Viewed) -> None:
    assert "not in the cache" in str(await view.fails(set_to(pointer(1)), set_to(pointer(1, FROM_CACHE))))


def filling(first: int, last: int) -> Iterable[Message]:
    return (set_to(pointer(number, CACHE_ME)) for number in range(first, last))


async def test_server_evicts_right_behind_what_needs_the_room(view: Viewed) -> None:
    await view.after(*filling(0, CACHE_SIZE))
    for number in range(CACHE_SIZE, CACHE_SIZE + 5):
        assert await view.shown(*filling(number, number + 1), InvalOne(number - CACHE_SIZE)) == number
    assert await view.shown(set_to(pointer(5, FROM_CACHE))) == 5


async def test_cache_is_bounded(view: Viewed) -> None:
    await view.after(*filling(0, CACHE_SIZE + 1))
    assert "more than 256 cached cursors" in str(await view.fails(*filling(CACHE_SIZE + 1, CACHE_SIZE + 2)))


async def test_cache_is_bounded_in_bytes(view: Viewed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.cursor.MAX_CACHED", 24)
    await view.after(*filling(0, 3), set_to(pointer(7)))
    assert "cached cursors of 32 bytes, limit 24" in str(await view.fails(*filling(3, 4)))


@pytest.mark.parametrize(
    ("cursor", "error"),
    [
        (pointer(1, data=bytes(7)), "SET: cursor ALPHA of 2x1 pixels needs 8 bytes, got 7"),
        (pointer(1, CACHE_ME, data=bytes(9)), "SET: cursor ALPHA of 2x1 pixels needs 8 bytes, got 9"),
        (pointer(1, type=7), "SET: cursor of unknown type 7"),
        (Cursor(PLAIN, CursorShape(1, CursorType.MONO, 65535, 65535, 0, 0, b"")), "65535x65535 pixels, limit 1024"),
    ],
)
async def test_shapes_that_are_none(view: Viewed, cursor: Cursor, error: str) -> None:
    caught = await view.fails(set_to(cursor))
    assert isinstance(caught, CodecError)
    assert error in str(caught)


async def test_pointer_of_another_display() -> None:
    async with fake_server("cursor", "cursor:1") as server, caraway.connect(server.uri) as session:
        for number in 0, 1:
            linked = await server.channel(ChannelType.CURSOR, number)
            linked.send(set_to(pointer(number + 7)), Ping(1, 0, b""))
            await linked.expect(Pong)
        assert [session.channels[ChannelType.CURSOR, n].shape.bgra[0] for n in (0, 1)] == [7, 8]  # type: ignore[attr-defined]
