"""Real migrations between two QEMUs, with the C client as the viewer that has to follow."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import caraway
from caraway.errors import AuthError, EndpointError, LinkError, MigrationError
from caraway.migration.destination import Destination
from caraway.qemu.guest_image import demo_guest
from caraway.qemu.migration_plan import (
    MigrationDeadlineError,
    MigrationReport,
    Mode,
    Plan,
    Progress,
    Ticket,
)
from caraway.qemu.monitor import connect_monitor
from caraway.qemu.orchestrator import Listener, migrate
from caraway.qemu.process import Qemu
from caraway.qemu.spice_options import free_ports
from caraway.qemu.viewers import Link, LinkWatch, links_of, present
from caraway.wire.constants import ChannelType
from support.certificates import Authority
from support.delay_proxy import delay_proxy, without_capabilities
from support.guests import demo
from support.spice_gtk import SpiceGtk, spice_gtk

URI = "tcp:127.0.0.1:0"
SLOW = 1 << 20
"""Bytes a second: some seconds for the demo guest's memory."""

SEMI_SEAMLESS_AND_SEAMLESS = 1 << 0 | 1 << 3


def waiting(name: str, *extra: str, incoming: str = "defer", **spice: Any) -> Qemu:
    """A QEMU that a VM can move to."""
    options = {"disable-ticketing": True, "seamless-migration": True, **spice}
    return Qemu(demo_guest(), name=name, spice=options, extra=("-incoming", incoming, *extra))


class Machines:
    """A source with a viewer, and targets, all of one test."""

    def __init__(self, stack: AsyncExitStack, viewer: SpiceGtk, source: Qemu) -> None:
        self.viewer = viewer
        self.source = source
        self._stack = stack

    async def target(self, name: str = "b", *extra: str, **options: Any) -> Qemu:
        return await self._stack.enter_async_context(waiting(name, *extra, **options))

    async def slow(self, bandwidth: int = SLOW) -> None:
        await self.source.qmp("migrate-set-parameters", **{"max-bandwidth": bandwidth})

    async def stays(self, since: int) -> None:
        """The VM runs on at the source, and the viewer has it as before."""
        assert (await self.source.qmp("query-status"))["status"] == "running"
        await is_used(self.viewer, self.source)
        assert not was_disturbed(self.viewer, since)


@asynccontextmanager
async def machines(*extra: str, **spice: Any) -> AsyncIterator[Machines]:
    options = {"disable-ticketing": True, "seamless-migration": True, **spice}
    async with AsyncExitStack() as stack:
        viewer = await stack.enter_async_context(spice_gtk())
        source = await stack.enter_async_context(demo(name="a", spice=options, extra=extra))
        await viewer.connect(source.spice_uri())
        yield Machines(stack, viewer, source)


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
    plan = Plan(uri=URI, destination=destination or at(target), **options)
    return await migrate(source, target, plan, progress=progress)


async def is_used(viewer: SpiceGtk, vm: Qemu) -> None:
    """A key that is pressed at the viewer reaches the guest, and the guest's counter the viewer."""
    since = viewer.mark
    await viewer.press("a")
    assert await vm.wait_for("@key 1e") == "@key 1e down"
    assert await vm.wait_for("@key 1e") == "@key 1e up"
    await viewer.next_frame(since)


def was_disturbed(viewer: SpiceGtk, since: int) -> bool:
    """A channel was made anew or ended."""
    return any(told["what"] in ("new", "destroyed", "closed") for told in viewer.told("channel", since))


def when(condition: Callable[[Progress], bool], act: Callable[[], object]) -> Callable[[Progress], None]:
    """A listener that acts once, the first time that the condition holds."""
    acted = False

    def listen(progress: Progress) -> None:
        nonlocal acted
        if not acted and condition(progress):
            acted = True
            act()

    return listen


def is_linked(progress: Progress) -> bool:
    return 0 < progress.to_link == progress.linked


def is_moving(progress: Progress) -> bool:
    return progress.transferred > 0


@pytest.mark.parametrize("seamless", [True, False])
async def test_viewer_follows(seamless: bool) -> None:
    async with machines(**{"seamless-migration": seamless}) as vms:
        target = await vms.target()
        since = vms.viewer.mark
        phases: dict[str, None] = {}
        report = await move(vms.source, target, progress=lambda now: phases.update({now.phase: None}))
        await is_used(vms.viewer, target)
        assert not was_disturbed(vms.viewer, since)
        assert list(phases) == ["linking", "migrating", "fence", "switching", "leaving", "done"]
    (viewer,) = report.viewers
    assert report.mode == viewer.mode == Mode.LINKED_EARLY
    assert (sorted(viewer.kept), viewer.missing) == (["cursor 0", "display 0", "inputs 0", "main 0"], [])
    assert report.warnings == []
    assert report.link_time is not None
    assert report.downtime is not None
    assert json.loads(json.dumps(report.as_json()))["mode"] == "linked early"


async def test_viewer_follows_from_a_to_b_to_c() -> None:
    async with machines() as vms:
        b, c = await vms.target("b"), await vms.target("c")
        since = vms.viewer.mark
        first = await move(vms.source, b)
        second = await move(b, c)
        await is_used(vms.viewer, c)
        assert not was_disturbed(vms.viewer, since)
        assert first.viewers[0].connection_id == second.viewers[0].connection_id


async def test_viewer_that_left_while_it_was_linked_does_not_keep_the_vm() -> None:
    """The target lists its parked links for as long as it lives."""
    async with machines(**{"seamless-migration": False}) as vms:
        b, c = [await vms.target(name, **{"seamless-migration": False}) for name in ("b", "c")]
        await b.qmp("migrate-incoming", uri=URI)
        port = (await b.qmp("query-migrate"))["socket-address"][0]["port"]
        await vms.source.qmp("client_migrate_info", protocol="spice", hostname="127.0.0.1", port=at(b).port)
        await b.wait_event("SPICE_INITIALIZED")
        while len(links_of(await b.qmp("query-spice"))) < 4:
            await b.wait_event("SPICE_INITIALIZED")
        vms.viewer.signal(signal.SIGKILL)
        await vms.source.wait_event("SPICE_DISCONNECTED")
        await vms.source.qmp("migrate", uri=f"tcp:127.0.0.1:{port}")
        await b.wait_event("RESUME")
        assert links_of(await b.qmp("query-spice"))
        assert (await move(b, c)).mode == "no viewer"


async def test_viewer_far_away() -> None:
    """Its answer takes longer than the whole migration of a small VM."""
    async with AsyncExitStack() as stack:
        viewer = await stack.enter_async_context(spice_gtk())
        options = {"disable-ticketing": True, "seamless-migration": True}
        source = await stack.enter_async_context(demo(name="a", spice=options))
        target = await stack.enter_async_context(waiting("b"))
        ports = [
            await stack.enter_async_context(delay_proxy("127.0.0.1", at(vm).port or 0, delay=0.05))
            for vm in (source, target)
        ]
        await viewer.connect(f"spice://127.0.0.1:{ports[0]}")
        since = viewer.mark
        report = await move(source, target, destination=Destination("127.0.0.1", ports[1]))
        assert report.mode == Mode.LINKED_EARLY
        await is_used(viewer, target)
        assert not was_disturbed(viewer, since)


async def test_viewer_that_cannot_link_early_is_reconnected_if_that_is_allowed() -> None:
    async with AsyncExitStack() as stack:
        viewer = await stack.enter_async_context(spice_gtk())
        source = await stack.enter_async_context(demo(name="a", spice={"disable-ticketing": True}))
        target = await stack.enter_async_context(waiting("b"))
        rewrite = without_capabilities(ChannelType.MAIN, SEMI_SEAMLESS_AND_SEAMLESS)
        port = await stack.enter_async_context(delay_proxy("127.0.0.1", at(source).port or 0, rewrite_link=rewrite))
        await viewer.connect(f"spice://127.0.0.1:{port}")
        since = viewer.mark
        report = await move(source, target, link_deadline=0.3, reconnect=True)
        assert report.mode == Mode.SWITCH_HOST
        assert report.viewers[0].kept == []
        assert "told to reconnect" in report.warnings[0]
        await viewer.wait("channel", type="inputs", what="opened", since=since)
        await is_used(viewer, target)


@pytest.mark.parametrize("paused", [True, False])
async def test_vm_without_viewer(paused: bool) -> None:
    async with demo(name="a", spice={"disable-ticketing": True}) as source, waiting("b", incoming=URI) as target:
        if paused:
            await source.qmp("stop")
        report = await move(source, target)
        assert (report.mode, report.link_time) == ("no viewer", None)
        assert (report.downtime is None) is paused
        assert (await target.qmp("query-status"))["status"] == ("paused" if paused else "running")
        await target.qmp("cont")
        assert await target.ask("sum", "@sum")


async def test_paused_vm_keeps_its_viewer() -> None:
    async with machines() as vms:
        target = await vms.target()
        await vms.source.qmp("stop")
        report = await move(vms.source, target)
        assert (report.mode, report.downtime) == (Mode.LINKED_EARLY, None)
        await target.qmp("cont")
        await is_used(vms.viewer, target)


async def test_cancel_then_retry() -> None:
    async with machines() as vms:
        target = await vms.target()
        await vms.slow()
        since = vms.viewer.mark
        moving = asyncio.create_task(move(vms.source, target, progress=when(is_moving, lambda: moving.cancel())))
        with pytest.raises(asyncio.CancelledError):
            await moving
        await target.wait_ended()
        assert (await vms.source.qmp("query-migrate"))["status"] == "cancelled"
        await vms.stays(since)
        await vms.slow(1 << 30)
        again = await vms.target("c")
        assert (await move(vms.source, again)).mode == Mode.LINKED_EARLY
        await is_used(vms.viewer, again)
        assert not was_disturbed(vms.viewer, since)


async def test_cancel_while_the_vm_stands_still() -> None:
    async with machines() as vms:
        target = await vms.target()
        moving = asyncio.create_task(
            move(vms.source, target, progress=when(lambda now: now.phase == "fence", lambda: moving.cancel()))
        )
        since = vms.viewer.mark
        with pytest.raises(asyncio.CancelledError):
            await moving
        await vms.source.wait_event("STOP")
        await vms.source.wait_event("RESUME")
        await target.wait_ended()
        await vms.stays(since)


async def test_wrong_port_is_refused_and_another_attempt_works() -> None:
    async with machines() as vms:
        target = await vms.target()
        since = vms.viewer.mark
        wrong = Destination("127.0.0.1", *free_ports(1))
        with pytest.raises(MigrationDeadlineError, match="nobody reached the target"):
            await move(vms.source, target, destination=wrong, link_deadline=0.5)
        await target.wait_ended()
        await vms.source.wait_event("MIGRATION", status="failed")
        capabilities = await vms.source.qmp("query-migrate-capabilities")
        assert {"capability": "pause-before-switchover", "state": False} in capabilities
        await vms.stays(since)
        again = await vms.target("c")
        assert (await move(vms.source, again)).mode == Mode.LINKED_EARLY
        await is_used(vms.viewer, again)
        assert not was_disturbed(vms.viewer, since)


async def test_ticket_is_set_on_the_target() -> None:
    async with machines() as vms:
        target = await vms.target(**{"disable-ticketing": False})
        await vms.viewer.ask("password", target="fresh ticket")
        report = await move(vms.source, target, ticket=Ticket("fresh ticket", 30))
        assert report.mode == Mode.LINKED_EARLY
        await is_used(vms.viewer, target)


async def test_viewer_without_the_ticket_is_told_of() -> None:
    async with machines() as vms:
        target = await vms.target(**{"disable-ticketing": False})
        since = vms.viewer.mark
        with pytest.raises(MigrationDeadlineError, match="is the ticket right"):
            await move(vms.source, target, ticket=Ticket("fresh ticket", 30), link_deadline=0.5)
        await vms.stays(since)


async def test_target_killed_after_linking() -> None:
    async with machines() as vms:
        target = await vms.target()
        since = vms.viewer.mark
        killed = when(is_linked, lambda: os.kill(target.pid, signal.SIGKILL))
        with pytest.raises(caraway.CarawayError):
            await move(vms.source, target, progress=killed)
        await vms.viewer.wait("migration", state="none", since=since)
        await vms.stays(since)


async def test_target_killed_while_migrating() -> None:
    async with machines() as vms:
        target = await vms.target()
        await vms.slow()
        since = vms.viewer.mark
        killed = when(is_moving, lambda: os.kill(target.pid, signal.SIGKILL))
        with pytest.raises(MigrationError):
            await move(vms.source, target, progress=killed)
        await vms.viewer.wait("migration", state="none", since=since)
        await vms.stays(since)


async def test_link_that_breaks_keeps_the_vm_at_the_source() -> None:
    async with machines() as vms, AsyncExitStack() as way:
        target = await vms.target()
        port = await way.enter_async_context(delay_proxy("127.0.0.1", at(target).port or 0))
        await vms.slow(4 * SLOW)
        since = vms.viewer.mark
        under_way = asyncio.Event()
        to = Destination("127.0.0.1", port)
        moving = asyncio.create_task(move(vms.source, target, destination=to, progress=when(is_moving, under_way.set)))
        await under_way.wait()
        await way.aclose()
        with pytest.raises(
            MigrationError, match="b: a viewer's link broke: main 0, display 0, inputs 0, cursor 0; the VM"
        ):
            await moving
        await target.wait_ended()
        await vms.stays(since)


async def test_target_with_tls_only(tmp_path: Path) -> None:
    authority = Authority()
    folder = authority.issue(tmp_path / "x509", [("O", "Caraway"), ("CN", "console.test")])
    async with AsyncExitStack() as stack:
        viewer = await stack.enter_async_context(spice_gtk())
        tls = {"tls-port": "auto", "x509-dir": str(folder)}
        source = await stack.enter_async_context(demo(name="a", spice={"disable-ticketing": True, **tls}))
        target = await stack.enter_async_context(waiting("b", **tls))
        assert target.spice is not None
        subject = {"host_subject": "O=Caraway,CN=console.test", "ca_file": str(folder / "ca-cert.pem")}
        await viewer.connect(source.spice_uri(), **subject)
        since = viewer.mark
        to = Destination("127.0.0.1", tls_port=target.spice.tls_port, cert_subject=subject["host_subject"])
        assert (await move(source, target, destination=to)).mode == Mode.LINKED_EARLY
        await is_used(viewer, target)
        assert not was_disturbed(viewer, since)


async def test_source_killed_while_migrating() -> None:
    async with machines() as vms:
        target = await vms.target()
        await vms.slow()
        killed = when(is_moving, lambda: os.kill(vms.source.pid, signal.SIGKILL))
        with pytest.raises(caraway.CarawayError):
            await move(vms.source, target, progress=killed)
        await target.wait_ended()


async def test_viewer_that_comes_meanwhile_keeps_the_vm_at_the_source() -> None:
    async with machines() as vms:
        target = await vms.target()
        await vms.slow(4 * SLOW)
        came = asyncio.Event()
        moving = asyncio.create_task(move(vms.source, target, progress=when(is_moving, came.set)))
        await came.wait()
        async with spice_gtk() as other:
            await other.connect(vms.source.spice_uri())
            with pytest.raises(MigrationError, match="another viewer"):
                await moving
            await is_used(other, vms.source)


async def test_refuses_what_cannot_work() -> None:
    async with demo(name="a", spice={"disable-ticketing": True}) as source, Qemu(name="idle") as idle:
        to = Destination("127.0.0.1", 5900)
        with pytest.raises(MigrationError, match="idle: QEMU is running, it does not wait for a VM"):
            await migrate(source, idle, Plan(uri=URI, destination=to))
        with pytest.raises(MigrationError, match="a: QEMU is running"):
            await migrate(idle, source, Plan(uri=URI, destination=to))
        assert (await idle.qmp("query-status"))["status"] == "running"
        async with Qemu(name="mute", extra=("-incoming", "defer")) as mute:
            with pytest.raises(MigrationError, match="mute: QEMU has no SPICE server"):
                await migrate(source, mute, Plan(uri=URI, destination=to))


def monitor(path: Path) -> tuple[str, str]:
    return "-qmp", f"unix:{path},server=on,wait=off"


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def arguments(tmp_path: Path, target: Qemu, *more: str) -> list[str]:
    return [
        *(sys.executable, "-c", "from caraway.cli import main; main()", "migrate", "--uri", URI),
        *("--from", f"unix:{tmp_path / 'a'}", "--to", f"unix:{tmp_path / 'b'}"),
        *("--spice-host", "127.0.0.1", "--spice-port", str(at(target).port), *more),
    ]


async def test_command(tmp_path: Path) -> None:
    async with machines(*monitor(tmp_path / "a")) as vms:
        target = await vms.target("b", *monitor(tmp_path / "b"), **{"disable-ticketing": False})
        (tmp_path / "ticket").write_text("fresh ticket\n")
        await vms.viewer.ask("password", target="fresh ticket")
        command = arguments(tmp_path, target, "--ticket-file", str(tmp_path / "ticket"), "--json")
        with terminal() as (ours, theirs):
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=theirs)
            said, _ = await process.communicate()
            assert process.returncode == 0, said
            assert json.loads(said)["mode"] == "linked early"
            shown = os.read(ours, 65536)
            assert b"done" in shown
            assert b"MB sent" in shown
        await is_used(vms.viewer, target)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_command_leaves_the_vm_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    async with machines(*monitor(tmp_path / "a")) as vms:
        target = await vms.target("b", *monitor(tmp_path / "b"))
        await vms.slow()
        since = vms.viewer.mark
        process = await asyncio.create_subprocess_exec(*arguments(tmp_path, target), stderr=subprocess.PIPE)
        await vms.source.wait_event("MIGRATION", status="active")
        process.send_signal(number)
        _, complained = await process.communicate()
        assert (process.returncode, b"the VM goes on at the source" in complained) == (7, True), complained
        await target.wait_ended()
        await vms.stays(since)


async def test_monitors_that_do_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in "unix:", "tcp:localhost", "tcp:localhost:port", "/run/qmp":
        with pytest.raises(EndpointError, match="expected unix:PATH or tcp:HOST:PORT"):
            async with connect_monitor(address):
                pass
    for address in f"unix:{tmp_path / 'none'}", f"tcp:127.0.0.1:{free_ports(1)[0]}":
        with pytest.raises(LinkError, match="cannot be reached"):
            async with connect_monitor(address):
                pass
    monkeypatch.setattr("caraway.qemu.monitor.CONNECT_DEADLINE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(LinkError, match="is another program connected"):
        async with connect_monitor(f"tcp:127.0.0.1:{busy.getsockname()[1]}"):
            pass


def test_plans_that_make_no_sense() -> None:
    with pytest.raises(EndpointError, match="a port, a TLS port or both"):
        Destination("host")
    with pytest.raises(EndpointError, match="65535 is no port"):
        Destination("host", 65535)
    with pytest.raises(AuthError, match="60 bytes"):
        Ticket("é" * 30)
    with pytest.raises(EndpointError, match="lifetime"):
        Ticket("x", 0)
    assert "secret" not in repr(Ticket("secret"))


def event(kind: str, port: int) -> dict[str, Any]:
    return {"event": kind, "data": {"client": {"host": "::1", "port": str(port)}}}


def links(*channels: ChannelType, viewer: int = 7) -> frozenset[Link]:
    return frozenset(Link(viewer, channel, 0) for channel in channels)


def test_link_watch_waits_for_the_viewers_answer() -> None:
    every = links(ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.PLAYBACK)
    playback = links(ChannelType.PLAYBACK)
    watch = LinkWatch(10.0)
    assert watch.ready_at(every, every - links(ChannelType.INPUTS)) is None
    watch.hear(event("SPICE_CONNECTED", 1), 11.0)
    watch.hear(event("SPICE_CONNECTED", 2), 11.25)
    watch.hear(event("SPICE_INITIALIZED", 1), 11.5)
    watch.hear(event("SPICE_INITIALIZED", 2), 12.25)
    assert (watch.slowest, watch.last) == (1.0, 12.25)
    assert watch.ready_at(every, every) == 13.25
    assert watch.ready_at(every, every - playback) == 15.25
    assert watch.ready_at(every | links(ChannelType.MAIN, viewer=8), every) is None


def test_viewer_without_main_channel_is_not_there() -> None:
    viewer = links(ChannelType.MAIN, ChannelType.DISPLAY)
    assert present(viewer | links(ChannelType.DISPLAY, ChannelType.INPUTS, viewer=8)) == viewer


def test_connection_ids_are_unsigned() -> None:
    member = {"connection-id": -2, "channel-type": 2, "channel-id": 1}
    assert Link.of(member) == Link(0xFFFFFFFE, ChannelType.DISPLAY, 1)
    assert Link.of({**member, "channel-type": 77}).channel == "77 1"
