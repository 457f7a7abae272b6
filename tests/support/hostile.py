"""A server with every channel, an honest viewer that looks and types, and room for peers that do neither."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import secrets
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

import caraway
from caraway.client import Session
from caraway.server import Display, Guest, Playback, Port, Record, Server
from caraway.server.guest import webdav_port
from caraway.wire.constants import ChannelType
from caraway.wire.messages.inputs import KeyDown
from support.agents import AgentStub
from support.leaks import nothing_left
from support.raw_client import RawChannel, RawClient

DEADLINE = 20.0
WIDTH, HEIGHT = 160, 120

CHANNELS = [
    ChannelType.MAIN,
    ChannelType.DISPLAY,
    ChannelType.INPUTS,
    ChannelType.CURSOR,
    ChannelType.PLAYBACK,
    ChannelType.RECORD,
    ChannelType.PORT,
    ChannelType.WEBDAV,
    ChannelType.USBREDIR,
]

T = TypeVar("T")


class TypedGuest(Guest):
    """Has everything that a guest can have, and knows the last of what was typed."""

    def __init__(self) -> None:
        self.words = np.zeros((HEIGHT, WIDTH), "<u4")
        super().__init__(Display(WIDTH, HEIGHT, self.words), Display(64, 48), name="guest")
        self.playback, self.record = Playback(), Record()
        self.record.start()
        self.ports = (Port("org.example.console.0"), webdav_port(), Port("usb", ChannelType.USBREDIR))
        self.stub = AgentStub(self)
        self.awaited = b""
        self.typed = asyncio.Event()

    def keys(self, scancodes: bytes) -> None:
        if scancodes == self.awaited:
            self.typed.set()


class Faults(logging.Handler):
    """What the server or asyncio complained about."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        text.encode()
        if record.exc_info or record.levelno >= (
            logging.WARNING if record.name.startswith("asyncio") else logging.ERROR
        ):
            self.found.append(text)

    def loop_complains(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.found.append(f"{context.get('message')}: {context.get('exception')!r}")


class World:
    """Enter it, then `run` attacks: each is followed by a look at the honest viewer."""

    def __init__(self, **options: Any) -> None:
        # What earlier tests have left to the garbage collector is not this server's fault.
        gc.collect()
        self.options = options
        self.faults = Faults()
        self._runner = asyncio.Runner(debug=True)
        self._leaks = nothing_left()

    def __enter__(self) -> Self:
        for name in ("caraway", "asyncio"):
            logging.getLogger(name).addHandler(self.faults)
        self._level = logging.getLogger("caraway").level
        logging.getLogger("caraway").setLevel(logging.INFO)
        loop = self._runner.get_loop()
        loop.slow_callback_duration = 60.0
        loop.set_exception_handler(self.faults.loop_complains)
        self._runner.run(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._close())
        finally:
            self._runner.close()
            for name in ("caraway", "asyncio"):
                logging.getLogger(name).removeHandler(self.faults)
            logging.getLogger("caraway").setLevel(self._level)
        assert not self.faults.found, self.faults.found

    async def _open(self) -> None:
        self._leaks.__enter__()
        self.guest = TypedGuest()
        self.server = Server(self.guest, **{"host": "127.0.0.1", "port": 0, "sharing": "share"} | self.options)
        await self.server.start()
        self.guest.stub.open()
        self.session: Session = await caraway.connect(
            f"spice://127.0.0.1:{self.server.port}", password=self.options.get("password")
        )

    async def _close(self) -> None:
        await self.session.aclose()
        await self.server.aclose()
        self._leaks.__exit__(None, None, None)

    def run(self, attack: Callable[[World], Coroutine[Any, Any, T]]) -> T:
        """An attack; then nothing of it is left, nobody has complained, and the honest viewer sees and types."""

        async def work() -> T:
            tasks, viewers = self._alive()
            try:
                return await attack(self)
            finally:
                await self.check()
                async with asyncio.timeout(DEADLINE):
                    while not (self._alive()[0] <= tasks and self._alive()[1] == viewers):  # noqa: ASYNC110
                        await asyncio.sleep(0.001)

        return self._runner.run(work())

    def _alive(self) -> tuple[int, int]:
        return len(asyncio.all_tasks()), len(self.server.viewers)

    async def check(self) -> None:
        """The honest viewer's picture is the guest's, and its keys arrive."""
        left, top = secrets.randbelow(WIDTH - 20), secrets.randbelow(HEIGHT - 20)
        self.guest.words[top : top + 20, left : left + 20] = secrets.randbits(24)
        self.guest.displays[0].damage(left, top, 20, 20)
        self.guest.awaited = bytes(secrets.choice(range(1, 256)) for _ in range(4))
        self.guest.typed.clear()
        self.session.inputs.send(KeyDown(int.from_bytes(self.guest.awaited, "little")))
        truth = np.ascontiguousarray(self.guest.words).view(np.uint8).reshape(HEIGHT, WIDTH, 4)[:, :, 2::-1].tobytes()
        async with asyncio.timeout(DEADLINE):
            await self.guest.typed.wait()
            async for picture in self.session.display.frames():
                if picture.rgb == truth:
                    break
        found, self.faults.found = self.faults.found, []
        assert not found, found

    @contextlib.asynccontextmanager
    async def client(self, **options: Any) -> Any:
        """A peer that has linked nothing yet."""
        client = RawClient(self.server.port, **options)
        try:
            yield client
        finally:
            await client.aclose()

    async def attack(self, kind: ChannelType, work: Callable[[RawChannel], Any], **options: Any) -> None:
        """Link a channel, do something there, end the stream, and wait until the server has ended the connection."""
        async with self.client() as client:
            main = await client.main()
            channel = main if kind is ChannelType.MAIN else await client.link(kind, **options)
            with contextlib.suppress(ConnectionError):
                done = work(channel)
                if done is not None:
                    await done
                await finish(channel)


async def finish(channel: RawChannel) -> None:
    """Everything was said: wait until the server has read it and ended the connection."""
    with contextlib.suppress(ConnectionError, OSError):
        await channel.writer.drain()
        channel.writer.write_eof()
    await channel.ended()
