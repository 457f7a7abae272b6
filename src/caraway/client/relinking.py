"""The links of a session that begins anew at another host: as soon as the host can take them, the picture's first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from caraway.client.connection import Connection
from caraway.client.dial import Dialer
from caraway.migration.channels import Channel as Key
from caraway.wire.constants import ChannelType

Link: TypeAlias = Callable[[Key, Callable[[], None] | None], Coroutine[Any, Any, None]]
"""Links a channel, and calls what it is given once the server has taken the link up."""


def picture_first(keys: Iterable[Key]) -> list[Key]:
    """Channels in the order in which they are to be linked."""
    return sorted(keys, key=lambda key: (key[0] is not ChannelType.DISPLAY, key))


@contextmanager
def connecting(dialer: Dialer, keys: Iterable[Key]) -> Iterator[Mapping[Key, asyncio.Task[Connection]]]:
    """Connect for these channels while main is linked. What nobody has linked in the end is closed.

    None where main's link may show that they have to use TLS.
    """
    early: dict[Key, asyncio.Task[Connection]] = {}
    if dialer.endpoint.tls_port is None or dialer.endpoint.tls_required:
        early = {key: asyncio.ensure_future(dialer.connect(*key)) for key in keys}
    try:
        yield early
    finally:
        for task in early.values():
            task.cancel()
            task.add_done_callback(_close_unused)


def _close_unused(task: asyncio.Task[Connection]) -> None:
    if not task.cancelled() and task.exception() is None and task.result().machine is None:
        task.result().abort()


async def link_in_turn(link: Link, keys: Sequence[Key]) -> dict[Key, BaseException]:
    """Link channels; gives what went wrong with which.

    A server makes a key for each link and does nothing else meanwhile: the others wait until it has made the first.
    """
    taken_up = asyncio.Event()

    async def take_turn(key: Key) -> None:
        if key != keys[0]:
            await taken_up.wait()
            await link(key, None)
            return
        try:
            await link(key, taken_up.set)
        finally:
            taken_up.set()

    results = await asyncio.gather(*map(take_turn, keys), return_exceptions=True)
    return {key: error for key, error in zip(keys, results, strict=True) if error is not None}
