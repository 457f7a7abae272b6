"""Keys for tickets, made ahead: each takes some twenty milliseconds, and no link should wait for its own."""

from __future__ import annotations

import asyncio
from collections import deque

from caraway.server.tasks import Tasks
from caraway.wire.ticket import TicketKey

POOL_SIZE = 16
"""Keys made ahead: those of two viewers that come at once."""

RENEWED_AFTER = 60.0
"""Seconds that links may share a key where nobody can listen."""


class TicketKeys:
    """A fresh key for every link that could be listened to: with a key used again, a ticket overheard could be too."""

    def __init__(self) -> None:
        self._ready: deque[TicketKey] = deque()
        self._shared: TicketKey | None = None
        self._shared_until = 0.0
        self._tasks = Tasks()
        self._filling: asyncio.Task[None] | None = None
        self._more = asyncio.Event()

    async def fresh(self) -> TicketKey:
        """A key that no other link has."""
        self._fill()
        while not self._ready:
            self._more.clear()
            await self._more.wait()
        key = self._ready.popleft()
        self._fill()
        return key

    async def shared(self) -> TicketKey:
        """A key for links that nobody can listen to, or whose ticket opens nothing."""
        now = asyncio.get_running_loop().time()
        if self._shared is None or now >= self._shared_until:
            self._shared, self._shared_until = await self.fresh(), now + RENEWED_AFTER
        return self._shared

    async def aclose(self) -> None:
        """Make no more."""
        await self._tasks.aclose()

    def _fill(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = self._tasks.spawn(self._make())

    async def _make(self) -> None:
        while len(self._ready) < POOL_SIZE:
            self._ready.append(await asyncio.to_thread(TicketKey.generate))
            self._more.set()
