"""Servers of a test's own guests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from caraway.server import Display, FramebufferGuest, Server
from caraway.wire.messages.inputs import MouseButton, MouseButtons

DEADLINE = 10.0


class SeenGuest(FramebufferGuest):
    """A guest that keeps what it was told."""

    def __init__(self, width: int = 64, height: int = 48, **options: Any) -> None:
        super().__init__(width, height, **options)
        self.seen: list[tuple[Any, ...]] = []
        self._more = asyncio.Event()

    def keys(self, scancodes: bytes) -> None:
        self._note("keys", scancodes)

    def pointer_moved(self, dx: int, dy: int, buttons: MouseButtons) -> None:
        self._note("moved", dx, dy, buttons)

    def pointer_placed(self, display: Display, x: int, y: int, buttons: MouseButtons) -> None:
        self._note("placed", self.displays.index(display), x, y, buttons)

    def button_pressed(self, button: MouseButton, buttons: MouseButtons) -> None:
        self._note("pressed", button, buttons)

    def button_released(self, button: MouseButton, buttons: MouseButtons) -> None:
        self._note("released", button, buttons)

    def _note(self, *what: Any) -> None:
        self.seen.append(what)
        self._more.set()

    async def until_seen(self, count: int) -> list[tuple[Any, ...]]:
        """What it was told, once it was told so many things."""
        async with asyncio.timeout(DEADLINE):
            while len(self.seen) < count:
                self._more.clear()
                await self._more.wait()
        return self.seen


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something holds: for what nobody tells of."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(guest: Any = None, **options: Any) -> AsyncIterator[Server]:
    """A server on a free port of 127.0.0.1, unless the options say another place."""
    if not {"port", "tls_port", "unix_path"} & options.keys():
        options["port"] = 0
    async with Server(SeenGuest() if guest is None else guest, host="127.0.0.1", **options) as server:
        yield server
