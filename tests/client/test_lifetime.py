"""Waits that end with what they wait on."""

import asyncio

import pytest

from caraway.client.lifetime import Lifetime
from caraway.errors import LinkError, ProtocolError


async def answer(value: int) -> int:
    return value


async def for_ever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("ended")


async def test_what_is_there_in_time() -> None:
    assert await Lifetime().until(answer(3)) == 3


async def test_first_error_counts() -> None:
    life, ended = Lifetime(), list[str]()
    life.check()
    waiting = asyncio.ensure_future(life.until(for_ever(ended)))
    await asyncio.sleep(0)
    life.end(LinkError("gone"))
    life.end(ProtocolError("later"))
    with pytest.raises(LinkError, match="gone"):
        await waiting
    assert ended == ["ended"]
    with pytest.raises(LinkError, match="gone"):
        life.check()


async def test_nothing_begins_after_the_end() -> None:
    life = Lifetime()
    life.end(LinkError("gone"))
    with pytest.raises(LinkError, match="gone"):
        await life.until(answer(3))


async def test_answer_in_the_moment_of_the_end_counts() -> None:
    life, done = Lifetime(), asyncio.Event()
    waiting = asyncio.ensure_future(life.until(done.wait()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    done.set()
    life.end(LinkError("gone"))
    assert await waiting is True


async def test_error_of_what_is_waited_for() -> None:
    async def fails() -> None:
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await Lifetime().until(fails())


async def test_cancelled_with_its_wait() -> None:
    tasks, ended = asyncio.all_tasks(), list[str]()
    waiting = asyncio.ensure_future(Lifetime().until(for_ever(ended)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == ["ended"]
    assert asyncio.all_tasks() == tasks
