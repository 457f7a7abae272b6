"""Tells a SPICE server that is not QEMU's own how its VM's migration goes: the two calls, by its control socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from caraway.errors import CarawayError
from caraway.migration.notifier import Call, End, MigrationNotifier, Occurrence, Start
from caraway.qemu.monitor import Event, Monitor

log = logging.getLogger(__name__)

START = "__org.caraway_migrate_start"
END = "__org.caraway_migrate_end"


@asynccontextmanager
async def notifying(vm: Monitor, spice: Monitor) -> AsyncIterator[Callable[[], None]]:
    """Bring what happens to a VM to its SPICE server; nothing where both are one. Gives what to call once the target
    is announced.
    """
    if vm is spice:
        yield lambda: None
        return
    notifier = MigrationNotifier()
    calls: asyncio.Queue[Call] = asyncio.Queue()

    def handle(occurrence: Occurrence | None) -> None:
        for call in notifier.handle(occurrence) if occurrence is not None else ():
            calls.put_nowait(call)

    def hear(event: Event) -> None:
        handle(Occurrence.of(event["event"], event.get("data", {})))

    task = asyncio.create_task(_tell(calls, spice))
    try:
        with vm.listen(hear):
            yield lambda: handle(Occurrence.TARGET_KNOWN)
        await calls.join()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _tell(calls: asyncio.Queue[Call], spice: Monitor) -> None:
    while True:
        call = await calls.get()
        try:
            if isinstance(call, Start):
                await spice.execute(START)
            elif isinstance(call, End):
                await spice.execute(END, completed=call.completed)
        except CarawayError as error:
            log.warning("%s does not learn of the migration: %s", spice.name, error)
        finally:
            calls.task_done()
