"""Peers of every kind come and go, at random, for as long as CARAWAY_SOAK_SECONDS says: nothing grows, nobody notices.

`make soak SECONDS=600` prints what the process holds after each tenth of the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

import pytest

from caraway.errors import CarawayError
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.messages import base
from caraway.wire.messages.display import Init as DisplayInit
from support.hostile import CHANNELS, World
from support.raw_client import RawChannel

SECONDS = float(os.environ.get("CARAWAY_SOAK_SECONDS", "15"))
SEED = int(os.environ.get("CARAWAY_SOAK_SEED", "1"))
AT_ONCE = 12
LINES = 10

GROWTH = 12 << 20
"""Bytes by which the process may be larger in the last quarter than in the second: its heap is never quite the same."""

SECONDARY = CHANNELS[1:]
INIT = DisplayInit(0, 1 << 20, 0, 1 << 20)


@dataclass
class Held:
    """What the process holds."""

    seconds: float
    peers: int
    descriptors: int
    tasks: int
    resident: int
    """KiB."""

    @classmethod
    def now(cls, seconds: float, peers: int) -> Held:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident = pages * os.sysconf("SC_PAGE_SIZE") // 1024
        return cls(round(seconds, 1), peers, len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), resident)


Peer = Callable[[World, random.Random], Awaitable[None]]


async def visits(world: World, chance: random.Random) -> None:
    """Links everything, looks for a while, and leaves."""
    async with world.client() as client:
        main = await client.main()
        display = await client.link(ChannelType.DISPLAY)
        display.send(INIT)
        await client.link(ChannelType.INPUTS)
        await _drains(display, chance.uniform(0, 0.3))
        if chance.random() < 0.5:
            main.writer.transport.abort()


async def stops_reading(world: World, chance: random.Random) -> None:
    """Wants the picture, and does not take it."""
    async with world.client() as client:
        await client.main()
        display = await client.link(ChannelType.DISPLAY)
        display.send(INIT)
        await asyncio.sleep(chance.uniform(0, 0.5))
        display.writer.transport.abort()


async def talks_nonsense(world: World, chance: random.Random) -> None:
    """Says messages that are damaged, out of order, or none."""
    async with world.client() as client:
        main = await client.main()
        kind = chance.choice(CHANNELS)
        channel = main if kind is ChannelType.MAIN else await client.link(kind)
        known = list(base.messages(kind, Sender.CLIENT))
        for _ in range(chance.randrange(1, 20)):
            number = chance.choice(known) if chance.random() < 0.8 else chance.randrange(65536)
            body = chance.randbytes(chance.randrange(0, 300))
            channel.send_raw(number, body, size=chance.randrange(1 << 32) if chance.random() < 0.05 else None)
        await _drains(channel, 0.1)


async def floods(world: World, chance: random.Random) -> None:
    """Says the same again and again, and reads nothing."""
    async with world.client() as client:
        await client.main()
        channel = await client.link(chance.choice(SECONDARY))
        kind, body = chance.randrange(1, 5), chance.randbytes(chance.choice([0, 4, 12]))
        for _ in range(chance.randrange(1, 50)):
            for _ in range(100):
                if not channel.writer.is_closing():
                    channel.send_raw(kind, body)
            await channel.writer.drain()
            await asyncio.sleep(0)


async def links_and_vanishes(world: World, chance: random.Random) -> None:
    """Is gone in the middle of its links."""
    async with world.client() as client:
        main = await client.main()
        links = [asyncio.ensure_future(client.link(kind)) for kind in chance.sample(SECONDARY, 3)]
        await asyncio.sleep(chance.uniform(0, 0.02))
        main.writer.transport.abort()
        await asyncio.gather(*links, return_exceptions=True)


async def says_something_else(world: World, chance: random.Random) -> None:
    """Is no client at all."""
    assert world.server.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
    start = chance.choice([b"GET / HTTP/1.1\r\n", b"REDQ\x02\0\0\0\x02\0\0\0", b"\x16\x03\x01", b""])
    writer.write(start + chance.randbytes(chance.randrange(0, 400)))
    if chance.random() < 0.5:
        made = writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(chance.uniform(0, 0.3)):
            await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


PEERS: tuple[Peer, ...] = (visits, stops_reading, talks_nonsense, floods, links_and_vanishes, says_something_else)


async def _drains(channel: RawChannel, seconds: float) -> None:
    with contextlib.suppress(TimeoutError, EOFError):
        async with asyncio.timeout(seconds):
            while True:
                await channel.frame()


async def _comes(peer: Peer, world: World, chance: random.Random) -> None:
    with contextlib.suppress(CarawayError, ConnectionError, EOFError, TimeoutError):
        await peer(world, chance)


@pytest.mark.timeout(SECONDS + 120)
def test_peers_come_and_go(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest keeps what is logged, with the errors that it is about, and all that these hold.
    monkeypatch.setattr(logging.getLogger("caraway"), "propagate", False)
    chance = random.Random(SEED)
    held: list[Held] = []
    with World() as world:
        began, count = time.monotonic(), 0
        while (now := time.monotonic() - began) < SECONDS:
            peers = [(chance.choice(PEERS), random.Random(chance.randrange(1 << 32))) for _ in range(AT_ONCE)]

            async def attack(world: World, peers: list[tuple[Peer, random.Random]] = peers) -> None:
                await asyncio.gather(*(_comes(peer, world, own) for peer, own in peers))

            world.run(attack)
            count += len(peers)

            async def look(world: World, now: float = now, count: int = count) -> Held:
                return Held.now(now, count)

            held.append(world.run(look))
    _report(held, capsys)
    assert len(held) > 3
    quarter = len(held) // 4
    second, last = held[quarter : 2 * quarter], held[-quarter:]
    assert min(each.descriptors for each in last) <= min(each.descriptors for each in second)
    assert min(each.tasks for each in last) <= min(each.tasks for each in second)
    assert median(each.resident for each in last) - median(each.resident for each in second) < GROWTH // 1024


def _report(held: list[Held], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled() if SECONDS > 60 else contextlib.nullcontext():
        print("\nseconds  peers  descriptors  tasks  resident KiB")
        for each in held[:: max(1, len(held) // LINES)]:
            print("  ".join(str(value) for value in astuple(each)))
