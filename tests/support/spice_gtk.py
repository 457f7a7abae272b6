"""The C client (spice-gtk's SpiceClientGLib) as a viewer without a window, in a process of its own."""

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

PYTHON = "/usr/bin/python3"
CHILD = Path(__file__).with_name("spice_gtk_child.py")
INSTALL = "apt-get install python3-gi gir1.2-spiceclientglib-2.0"
DEADLINE = 30.0
GRACE = 5.0

COUNTER = (48, 108, 328, 56)
"""Left, top, width and height of the demo guest's counter at 800x600 (guest/desktop.c)."""

KEYS = {"a": 0x1E, "b": 0x30, "c": 0x2E, "enter": 0x1C, "shift": 0x2A}

Event = dict[str, Any]


def require_spice_gtk() -> None:
    """Skip the test where the C client is not installed, or fail it where CARAWAY_REQUIRE_PEERS=1."""
    asks = "import gi; gi.require_version('SpiceClientGLib', '2.0')"
    with contextlib.suppress(OSError):
        if subprocess.run([PYTHON, "-c", asks], capture_output=True, check=False).returncode == 0:
            return
    reason = f"SpiceClientGLib is not installed for {PYTHON}: {INSTALL}"
    if os.environ.get("CARAWAY_REQUIRE_PEERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class SpiceGtk:
    """A running C client. Events are dictionaries as its child program writes them, `t` on the monotonic clock."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.events: list[Event] = []
        """All so far."""
        self.uri = ""
        """Where it was last connected."""
        self._process = process
        self._more = asyncio.Event()
        self._ended = False

    async def hear(self) -> None:
        """Take in what the child says until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.events.append(json.loads(line))
            self._more.set()
        self._ended = True
        self._more.set()

    def do(self, command: str, **arguments: Any) -> None:
        """Give a command: `do_NAME` of the child."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")

    @property
    def mark(self) -> int:
        """Number of events so far, to wait for one after it."""
        return len(self.events)

    async def wait(self, event: str, *, since: int = 0, **members: object) -> Event:
        """The first event since `since` of that name whose members equal `members`."""
        return await self.wait_until(
            lambda told: told["event"] == event and all(told.get(key) == value for key, value in members.items()),
            since=since,
            what=f"{event} {members or ''}",
        )

    async def wait_until(self, wants: Callable[[Event], bool], *, since: int = 0, what: str = "such an event") -> Event:
        """The first event since `since` that `wants` accepts."""
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    while since < len(self.events):
                        told = self.events[since]
                        since += 1
                        assert told["event"] != "error", told
                        if wants(told):
                            return told
                    assert not self._ended, f"the C client ended with {self._process.returncode}, before {what}"
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} in {DEADLINE:g} s; last events: {self.events[-8:]}") from None

    async def ask(self, command: str, **arguments: Any) -> Event:
        """Give a command that is answered by the event of its name."""
        since = self.mark
        self.do(command, **arguments)
        return await self.wait(command, since=since)

    async def connect(
        self, uri: str, *, channels: Sequence[str] = ("main", "display", "inputs"), **options: Any
    ) -> None:
        """Connect and wait for the channels and the first picture of the counter.

        options: password, target_password (for the links of a migration), ca_file, host_subject, region to watch.
        """
        since = self.mark
        self.uri = uri
        self.do("connect", uri=uri, **{"region": COUNTER, **options})
        for channel in channels:
            await self.wait("channel", since=since, type=channel, what="opened")
        if "display" in channels:
            await self.next_frame(since=since)

    async def next_frame(self, since: int | None = None) -> Event:
        """The next change of the counter in the picture, with the guest's content."""
        return await self.wait("frame", since=self.mark if since is None else since, blank=False)

    def told(self, event: str, since: int = 0, **members: object) -> list[Event]:
        """Events of that name since `since` whose members equal `members`."""
        return [
            told
            for told in self.events[since:]
            if told["event"] == event and all(told.get(key) == value for key, value in members.items())
        ]

    async def press(self, key: str) -> None:
        """Press and release a key of KEYS."""
        for down in (True, False):
            self.do("key", scancode=KEYS[key], down=down)

    def signal(self, number: int) -> None:
        """Send a signal to the child."""
        self._process.send_signal(number)


@asynccontextmanager
async def spice_gtk() -> AsyncIterator[SpiceGtk]:
    """Run a C client that is not yet connected."""
    require_spice_gtk()
    process = await asyncio.create_subprocess_exec(
        PYTHON, CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    viewer = SpiceGtk(process)
    hearing = asyncio.create_task(viewer.hear())
    assert process.stdin is not None
    try:
        await viewer.wait("hello")
        yield viewer
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await hearing
