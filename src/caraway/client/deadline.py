"""Every wait has a deadline, and says what it waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caraway.errors import DeadlineError


@asynccontextmanager
async def deadline(seconds: float, what: str) -> AsyncIterator[None]:
    """Raise DeadlineError, naming `what`, if the block takes longer."""
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield
    except TimeoutError as error:
        if not timeout.expired() or isinstance(error, DeadlineError):
            raise
        raise DeadlineError(f"{what}: not within {seconds:g} s") from None
