"""Embedded guests that move between two servers, driven as QEMU's are."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest

import caraway
from caraway.embedded.memory import PAGE
from caraway.migration.destination import Destination
from caraway.qemu.migration_plan import Mode, Plan
from caraway.qemu.orchestrator import migrate
from caraway.server import Server
from caraway.server.control import ControlSocket
from support.embedded_hosts import HEAD, fence, host, two
from support.serving import until


async def test_guest_goes_on_at_the_target(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, target, uri):
        for _ in range(10):
            source.guest.tick()
        source.guest.type("abc")
        await source.execute("migrate", uri=uri)
        assert "process in progress" in await source.refuses("migrate", uri=uri)
        await until(lambda: target.statuses[-1:] == ["completed"] and source.statuses[-1] == "completed")
        assert source.statuses == ["setup", "active", "STOP", "completed"]
        assert target.statuses == ["active", "RESUME", "completed"]
        assert (await source.execute("query-status"))["status"] == "postmigrate"
        assert (await target.execute("query-status"))["status"] == "running"
        assert target.guest.ticks == source.guest.ticks == 10
        assert target.guest.state() == source.guest.state()
        told = await source.execute("query-migrate")
        assert told["status"] == "completed"
        assert told["ram"]["remaining"] == 0
        assert told["ram"]["transferred"] > 320 * 200 * 4
        target.guest.tick()
        assert target.guest.ticks == 11


async def test_what_is_written_meanwhile_is_sent_again(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, target, uri):
        await fence(source)
        await source.execute("migrate-set-parameters", max_bandwidth=2 << 20, downtime_limit=1)
        await source.execute("migrate", uri=uri)
        await until(lambda: source.statuses[-1] == "active")
        source.guest.tick()
        source.guest.type("while it moves")
        await source.execute("migrate-set-parameters", max_bandwidth=0)
        await until(lambda: source.statuses[-1] == "pre-switchover")
        assert (await source.execute("query-status"))["status"] == "finish-migrate"
        assert await source.refuses("cont") == "Migration is not finalized yet"
        assert await source.refuses("migrate-continue", state="device") == (
            "Migration not in expected state: pre-switchover"
        )
        await source.execute("migrate-continue", state="pre-switchover")
        await until(lambda: source.statuses[-1] == "completed" and target.statuses[-1] == "completed")
        assert source.statuses[-3:] == ["pre-switchover", "device", "completed"]
        assert target.guest.state() == source.guest.state()
        assert target.guest.typed.endswith("while it moves")


async def test_paused_guest_stays_paused(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, target, uri):
        await source.execute("stop")
        await source.execute("migrate", uri=uri)
        await until(lambda: target.statuses[-1:] == ["completed"])
        assert (await target.execute("query-status"))["status"] == "paused"
        assert not target.guest.running
        await target.execute("cont")
        assert target.guest.running


@pytest.mark.parametrize("where", ["active", "pre-switchover"])
async def test_cancelled_guest_goes_on_at_the_source(tmp_path: Path, where: str) -> None:
    async with two(tmp_path) as (source, target, uri):
        await fence(source)
        if where == "active":
            await source.execute("migrate-set-parameters", max_bandwidth=100_000)
        await source.execute("migrate", uri=uri)
        await until(lambda: source.statuses[-1] == where)
        await source.execute("migrate_cancel")
        await until(lambda: source.statuses[-1] == "cancelled" and target.statuses[-1] == "failed")
        assert source.guest.running
        assert target.guest.incoming
        # The target takes the next one.
        await source.execute("migrate-set-parameters", max_bandwidth=0)
        await source.execute("migrate", uri=uri)
        await until(lambda: source.statuses[-1] == "pre-switchover")
        await source.execute("migrate-continue", state="pre-switchover")
        await until(lambda: target.statuses[-1] == "completed")
        assert target.guest.running


async def test_nobody_at_the_target(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, _, _):
        await source.execute("migrate", uri="tcp:127.0.0.1:1")
        await until(lambda: source.statuses[-1] == "failed")
        told = await source.execute("query-migrate")
        assert told["error-desc"] == "Failed to connect to '127.0.0.1:1': Connection refused"
        assert source.guest.running


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        HEAD[:-1],
        struct.pack("<8sII", b"CARAWAYM", 2, (32 << 20) // PAGE),
        struct.pack("<8sII", b"CARAWAYM", 1, 1),
        HEAD + struct.pack("<BI", 1, 65),
        HEAD + struct.pack("<BII", 1, 1, (32 << 20) // PAGE) + bytes(PAGE),
        HEAD + struct.pack("<BI", 2, 0xFFFFFFFF),
        HEAD + struct.pack("<BI", 2, 2) + b"{}",
        HEAD + struct.pack("<BI", 3, 1),
        HEAD + struct.pack("<BI", 9, 0),
    ],
)
async def test_nonsense_costs_its_own_attempt(tmp_path: Path, said: bytes) -> None:
    async with two(tmp_path) as (source, target, uri):
        port = int(uri.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await until(lambda: target.statuses[-1:] == ["failed"])
        assert target.guest.incoming
        await source.execute("migrate", uri=uri)
        await until(lambda: target.statuses[-1] == "completed")
        assert target.guest.running


async def test_wrong_orders(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, target, _):
        assert await target.refuses("migrate", uri="tcp:127.0.0.1:1") == "Guest is waiting for an incoming migration"
        assert await target.refuses("migrate-incoming", uri="tcp:127.0.0.1:0") == (
            "The incoming migration has already been started"
        )
        assert await source.refuses("migrate-incoming", uri="tcp:127.0.0.1:0") == (
            "'-incoming' was not specified on the command line"
        )
        assert await source.refuses("migrate", uri="tcp:x") == "error parsing address 'x'"
        assert await source.refuses("migrate", uri="foo") == "Parameter 'uri' expects a valid migration protocol"
        wrong = [{"capability": "foo", "state": True}]
        assert await source.refuses("migrate-set-capabilities", capabilities=wrong) == (
            "Parameter 'capability' does not accept value 'foo'"
        )
        assert await source.refuses("migrate-continue", state="foo") == "Parameter 'state' does not accept value 'foo'"


async def test_the_orchestrator_moves_it_with_its_viewer(tmp_path: Path) -> None:
    async with (
        host(tmp_path / "source") as source,
        host(tmp_path / "target", "defer") as target,
        caraway.connect(f"spice://127.0.0.1:{source.server.port}") as session,
    ):
        await session.display.ready()
        plan = Plan(uri="tcp:127.0.0.1:0", destination=Destination("127.0.0.1", target.server.port))
        report = await migrate(source.monitor, target.monitor, plan)
        assert [viewer.mode for viewer in report.viewers] == [Mode.LINKED_EARLY]
        assert report.warnings == []
        target.guest.tick()
        await session.inputs.type("here")
        await until(lambda: target.guest.typed.endswith("here"))
        shown = bytes(target.guest.display.pixels[: 4 * 320 * 200])
        await until(lambda: session.display.screenshot().bgrx == shown)


async def test_spice_servers_with_control_sockets_of_their_own(tmp_path: Path) -> None:
    async with (
        host(tmp_path / "source") as source,
        host(tmp_path / "target", "defer") as target,
        Server(source.guest, host="127.0.0.1", port=0) as here,
        Server(target.guest, host="127.0.0.1", port=0) as there,
        ControlSocket(here, tmp_path / "here", quit=lambda: None),
        ControlSocket(there, tmp_path / "there", quit=lambda: None),
        caraway.connect(f"spice://127.0.0.1:{here.port}") as session,
    ):
        await session.display.ready()
        report = await migrate(
            source.monitor,
            target.monitor,
            Plan(uri="tcp:127.0.0.1:0", destination=Destination("127.0.0.1", there.port)),
            spice_source=f"unix:{tmp_path / 'here'}",
            spice_target=f"unix:{tmp_path / 'there'}",
        )
        assert [viewer.mode for viewer in report.viewers] == [Mode.LINKED_EARLY]
        await session.inputs.type("here")
        await until(lambda: target.guest.typed.endswith("here"))
        assert not here.viewers
