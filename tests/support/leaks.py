"""What a test leaves behind: tasks, descriptors, threads."""

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import Iterator
from typing import Any


def _held() -> tuple[set[asyncio.Task[Any] | None], dict[str, str], set[str]]:
    descriptors = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            descriptors[name] = os.readlink(f"/proc/self/fd/{name}")
    # The loop keeps its pool of idle workers until it is closed.
    threads = {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}
    return {*asyncio.all_tasks()} - {asyncio.current_task()}, descriptors, threads


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Assert that the block leaves no task, descriptor or thread: at its very end, not some time later."""
    gc.collect()
    tasks, descriptors, threads = _held()
    yield
    for thread in threading.enumerate():
        # What waited for a process of the block tells the loop of its end just before its own.
        if thread.name.startswith("waitpid-") and thread.name not in threads:
            thread.join(10.0)
    tasks_after, descriptors_after, threads_after = _held()
    assert tasks_after <= tasks
    assert {n: what for n, what in descriptors_after.items() if descriptors.get(n) != what} == {}
    assert threads_after - threads == set()
