"""VMs that move and our client that follows: what tests of real migrations have in common."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import caraway
from caraway.canvas.region import Box
from caraway.client import Session
from caraway.migration.reports import Report
from caraway.qemu.guest_image import demo_guest
from caraway.qemu.migration_plan import Destination, MigrationReport, Plan
from caraway.qemu.orchestrator import Listener, migrate
from caraway.qemu.process import Qemu
from caraway.qemu.viewers import links_of
from caraway.wire.constants import ChannelType
from support.leaks import nothing_left
from support.peers import require_qemu
from support.screens import becomes_same_picture

R = TypeVar("R")

COUNTER = Box(24, 72, 400, 196)
"""Where the demo guest counts."""
STILL = Box(140, 224, 512, 240)
"""Where it always shows the same, and where QEMU writes that a guest has not initialised its display."""

CHANNELS = {ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.CURSOR}
SEAMLESS = ["Announced", "Linked", "Switching", "Switched"]
"""What is told of a move for which the target was linked in time."""
SLOW = 1 << 20
"""Bytes a second: some seconds for the demo guest's memory."""


def machine(name: str, *extra: str, is_target: bool = False, **spice: Any) -> Qemu:
    """A QEMU with the demo guest, or one that a VM can move to."""
    options = {"disable-ticketing": True, "seamless-migration": True, **spice}
    incoming = ("-incoming", "defer") if is_target else ()
    return Qemu(demo_guest(), name=name, spice=options, memory=32, extra=(*incoming, *extra))


@asynccontextmanager
async def machines(source: Qemu | None = None, *targets: Qemu, seamless: bool = True) -> AsyncIterator[list[Qemu]]:
    """A source whose guest is ready, and where it can move: one target if none is given."""
    require_qemu()
    source = source or machine("a", **{"seamless-migration": seamless})
    async with AsyncExitStack() as stack:
        vms = [await stack.enter_async_context(vm) for vm in (source, *(targets or [machine("b", is_target=True)]))]
        await source.wait_for("@ready")
        yield vms


class Told:
    """What a session tells of its migrations."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self._news = asyncio.Event()

    @property
    def kinds(self) -> list[str]:
        return [type(report).__name__ for report in self.reports]

    async def follow(self, session: Session) -> None:
        async for report in session.migrations():
            self.reports.append(report)
            self._news.set()

    async def wait(self, kind: type[R], after: int = 0) -> R:
        """The first report of that kind, not counting the first `after` reports."""
        async with asyncio.timeout(30):
            while True:
                for report in self.reports[after:]:
                    if isinstance(report, kind):
                        return report
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def following(server: Any, **options: Any) -> AsyncIterator[tuple[Session, Told]]:
    """A session with a picture."""
    async with caraway.connect(server, **options) as session:
        told = Told()
        reading = asyncio.create_task(told.follow(session))
        try:
            await session.display.ready()
            yield session, told
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def viewing(server: Any, **options: Any) -> AsyncIterator[tuple[Session, Told]]:
    """A session with a picture, of which nothing is left at the end."""
    with nothing_left():
        async with following(server, **options) as session_and_told:
            yield session_and_told


def at(vm: Qemu) -> Destination:
    assert vm.spice is not None
    return Destination("127.0.0.1", vm.spice.port)


async def move(
    source: Qemu,
    target: Qemu,
    destination: Destination | None = None,
    *,
    progress: Listener | None = None,
    **options: Any,
) -> MigrationReport:
    """Move the VM with the orchestrator."""
    uri = f"unix:{target.directory}/migration"
    plan = Plan(uri=uri, destination=destination or at(target), **options)
    return await migrate(source, target, plan, progress=progress)


async def listen(target: Qemu) -> str:
    """Let a target wait for its VM. Returns the URI for the source."""
    uri = f"unix:{target.directory}/migration"
    await target.qmp("migrate-incoming", uri=uri)
    return uri


async def announce(source: Qemu, to: Destination) -> None:
    await source.qmp(
        "client_migrate_info",
        **{"protocol": "spice", "hostname": to.host, "port": to.port or 0, "tls-port": to.tls_port or 0},
    )


async def slow_down(source: Qemu, bandwidth: int = SLOW) -> None:
    await source.qmp("migrate-set-parameters", **{"max-bandwidth": bandwidth})


async def links(vm: Qemu) -> dict[int, set[ChannelType]]:
    """The channels that a server lists, by connection id."""
    found: dict[int, set[ChannelType]] = {}
    for link in links_of(await vm.qmp("query-spice")):
        found.setdefault(link.connection_id, set()).add(ChannelType(link.channel_type))
    return found


async def is_used(session: Session, vm: Qemu) -> None:
    """The session is with the VM, by everybody's word: the server lists it, a key gets there, the guest's counter
    comes back, and the picture is the guest's to the pixel.
    """
    assert session.error is None
    assert {key: channel.error for key, channel in session.channels.items()} == dict.fromkeys(session.channels)
    # A server keeps parked links of viewers that have left.
    assert (await links(vm))[session.main.session_id] == CHANNELS
    await session.inputs.press("f5")
    for state in "down", "up":
        await vm.wait_for(f"@key 3f {state}")
    before = await count(vm)
    async with asyncio.timeout(30):
        while await count(vm) == before:
            pass
    await vm.ask("freeze", "@ok")
    await becomes_same_picture(session, vm)
    await vm.ask("thaw", "@ok")


async def count(vm: Qemu) -> int:
    """The guest's counter."""
    return int((await vm.ask("count", "@count")).split()[1])


def picture(session: Session) -> bytes:
    return session.display.screenshot().rgb


def when(condition: Callable[[Any], bool], act: Callable[[], object]) -> Callable[[Any], None]:
    """A listener to progress that acts once, the first time that the condition holds."""
    acted = False

    def listen(progress: Any) -> None:
        nonlocal acted
        if not acted and condition(progress):
            acted = True
            act()

    return listen
