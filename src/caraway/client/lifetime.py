"""How long a session or channel lives: what ended it, and waits that end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from caraway.errors import CarawayError

T = TypeVar("T")


class Lifetime:
    """Ends once, with an error that says why."""

    def __init__(self) -> None:
        self.error: CarawayError | None = None
        self._ended = asyncio.Event()

    def end(self, error: CarawayError) -> None:
        """End it, unless it has ended before."""
        if self.error is None:
            self.error = error
            self._ended.set()

    def check(self) -> None:
        """Raise what ended it, if something did."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    async def until(self, wait: Coroutine[Any, Any, T]) -> T:
        """Await something, but no longer than this lives. Raises what ended it if that comes first."""
        if self.error is not None:
            wait.close()
            self.check()
        task = asyncio.ensure_future(wait)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.check()
            return task.result()
        finally:
            task.cancel()
            ended.cancel()
            await asyncio.gather(task, ended, return_exceptions=True)
