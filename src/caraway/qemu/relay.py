"""Brings viewers' state from the source's SPICE server to the target's, where both are Caraway's.

What the source tells by events the target is told by commands, in the same order (docs/protocol-extensions.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from caraway.errors import CarawayError
from caraway.qemu.monitor import Event, Monitor

log = logging.getLogger(__name__)

HAND_OVER = "__org.caraway_HAND_OVER"
TAKE_OVER = "__org.caraway_take_over"
EXPECT = "__org.caraway_expect_viewers"
OFFER = "__org.caraway_offer_hand_over"

MAX_WAITING = 65536
"""Events that may wait for the target."""


@asynccontextmanager
async def relaying(source: Monitor, target: Monitor) -> AsyncIterator[None]:
    """Have the next announcement's viewers handed over, if both servers can; relay until the end.

    source, target: the monitors of the SPICE servers. Raises CarawayError if one of them has ended.
    """
    known = [{entry["name"] for entry in await side.execute("query-commands")} for side in (source, target)]
    if OFFER not in known[0] or TAKE_OVER not in known[1]:
        yield
        return
    token = secrets.token_hex(16)
    waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_WAITING)

    def hear(event: Event) -> None:
        if event["event"] == HAND_OVER:
            waiting.put_nowait(dict(event["data"]))

    await target.execute(EXPECT, token=token)
    await source.execute(OFFER, token=token)
    with source.listen(hear):
        task = asyncio.create_task(_relay(waiting, target))
        try:
            yield
        finally:
            with contextlib.suppress(CarawayError):
                await _drain(waiting, task)


async def _relay(waiting: asyncio.Queue[dict[str, Any]], target: Monitor) -> None:
    while True:
        given = await waiting.get()
        try:
            await target.execute(TAKE_OVER, **given)
        except CarawayError as error:
            log.warning("%s does not take over: %s", target.name, error)
        finally:
            waiting.task_done()


async def _drain(waiting: asyncio.Queue[dict[str, Any]], task: asyncio.Task[None]) -> None:
    """What has been told is brought yet."""
    try:
        await waiting.join()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
