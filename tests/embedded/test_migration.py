"""Where moving an embedded guest can be taken back or break, and what may come to the port where it is awaited."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qemu.qmp import QMPClient

import caraway
from caraway.embedded import EmbeddedGuest, transfer
from caraway.embedded import machine as machines
from caraway.embedded.memory import PAGE, Memory
from caraway.errors import ProtocolError
from caraway.migration.destination import Destination
from caraway.qemu.migration_plan import MigrationDeadlineError, Plan
from caraway.qemu.orchestrator import migrate
from support.embedded_hosts import HEAD, Host, fence, host, two
from support.serving import until

SLOW = 100_000
"""Bytes a second: the memory of these guests takes some seconds."""


def is_at(side: Host, status: str) -> Callable[[], bool]:
    return lambda: side.statuses[-1:] == [status]


async def moves(source: Host, target: Host, uri: str) -> None:
    """It does, in spite of all that was before."""
    await source.execute("migrate-set-parameters", max_bandwidth=0)
    await source.execute("migrate", uri=uri)
    await until(lambda: source.statuses[-1] in ("completed", "pre-switchover"))
    if source.statuses[-1] == "pre-switchover":
        await source.execute("migrate-continue", state="pre-switchover")
    await until(is_at(target, "completed"))
    assert target.guest.running
    assert target.guest.state() == source.guest.state()
    assert not source.guest.running


class Stranger:
    """Listens where a guest is sent to, and does what a target would not."""

    def __init__(self, *, answer: bytes = b"", after: bytes = b"") -> None:
        self._answer, self._after = answer, after
        self._writers: list[asyncio.StreamWriter] = []
        self.heard = bytearray()

    async def __aenter__(self) -> Stranger:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.uri = f"tcp:127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.leave()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                self.heard += data
                if self._answer and self._after in self.heard:
                    writer.write(self._answer)
                    self._answer = b""

    def leave(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


DEVICES = b'{"model": '
"""What the devices' state begins with."""


async def goes_on(source: Host) -> None:
    assert source.guest.running
    assert (await source.execute("query-status"))["status"] == "running"
    ticks = source.guest.ticks
    source.guest.tick()
    assert source.guest.ticks == ticks + 1


@pytest.mark.parametrize("when", ["active", "pre-switchover", "device"])
async def test_target_dies(tmp_path: Path, when: str) -> None:
    async with host(tmp_path / "source") as source, Stranger() as stranger:
        await fence(source)
        await source.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        await source.execute("migrate-set-parameters", max_bandwidth=SLOW if when == "active" else 0)
        await source.execute("migrate", uri=stranger.uri)
        await until(is_at(source, "active" if when == "active" else "pre-switchover"))
        if when == "device":
            await source.execute("migrate-continue", state="pre-switchover")
            await until(lambda: DEVICES in stranger.heard)
            assert source.statuses[-1] == "device"
        await until(lambda: bool(stranger.heard))
        stranger.leave()
        await until(lambda: "failed" in source.statuses)
        assert source.statuses[source.statuses.index("failed") :] == ["failed", "RESUME"][: 1 + (when != "active")]
        assert source.statuses.count("STOP") == source.statuses.count("RESUME") == (when != "active")
        assert (await source.execute("query-migrate"))["error-desc"]
        await goes_on(source)


@pytest.mark.parametrize("answer", [b"\x07", b"HTTP/1.1 400 Bad Request\r\n"])
@pytest.mark.parametrize("after", [b"CARAWAYM", DEVICES])
async def test_target_that_is_none(tmp_path: Path, answer: bytes, after: bytes) -> None:
    async with host(tmp_path / "source") as source, Stranger(answer=answer, after=after) as stranger:
        await source.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        await source.execute("migrate", uri=stranger.uri)
        await until(lambda: "failed" in source.statuses)
        await goes_on(source)


async def test_target_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "SILENCE", 0.2)
    async with host(tmp_path / "source") as source, Stranger() as stranger:
        await source.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        await source.execute("migrate", uri=stranger.uri)
        await until(lambda: "failed" in source.statuses)
        assert DEVICES in stranger.heard
        await goes_on(source)


async def test_cancelled_while_the_target_loads(tmp_path: Path) -> None:
    async with host(tmp_path / "source") as source, Stranger() as stranger:
        await source.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        await source.execute("migrate", uri=stranger.uri)
        await until(lambda: DEVICES in stranger.heard)
        assert not source.guest.running
        await source.execute("migrate_cancel")
        await until(is_at(source, "cancelled"))
        assert source.statuses[-3:] == ["cancelling", "RESUME", "cancelled"]
        await goes_on(source)


async def test_cancelled_while_it_connects(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, target, uri):
        source.machine.migrate(uri)
        await source.machine.migrate_cancel()
        await until(is_at(source, "cancelled"))
        assert source.statuses == ["setup", "cancelling", "cancelled"]
        await goes_on(source)
        await moves(source, target, uri)


async def test_cancelled_too_late(tmp_path: Path) -> None:
    """Once the target has it, it is there."""
    async with two(tmp_path) as (source, target, uri):
        await moves(source, target, uri)
        await source.execute("migrate_cancel")
        assert source.statuses[-1] == "completed"
        assert not source.guest.running
        refused = await source.refuses("migrate", uri=uri)
        assert refused == "Can't migrate the vm that was paused due to previous migration"


async def test_source_dies(tmp_path: Path) -> None:
    """The target puts back what it showed before, and takes the next guest."""
    async with two(tmp_path) as (source, target, uri):
        before = target.guest.state()
        await fence(source)
        await source.execute("migrate", uri=uri)
        await until(is_at(source, "pre-switchover"))
        await source.machine.aclose()
        await until(is_at(target, "failed"))
        assert target.guest.state() == before
        assert target.guest.incoming


async def test_source_that_does_not_give_the_guest(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, target, uri):
        before, guest = target.guest.state(), EmbeddedGuest(400, 300)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(uri.rpartition(":")[2]))
        writer.write(transfer.greeting(guest.memory) + transfer.devices(guest.device_state()))
        assert await reader.readexactly(1) == transfer.LOADED
        writer.close()
        await until(is_at(target, "failed"))
        assert target.guest.state() == before
        assert target.guest.display.width == 640
        assert target.guest.incoming
        await moves(source, target, uri)


async def test_strangers_do_not_keep_the_guest_out(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, target, uri):
        port = int(uri.rpartition(":")[2])
        strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(machines.MAX_STRANGERS - 1)]
        strangers[0][1].write(HEAD[:-1])
        await fence(source)
        await source.execute("migrate", uri=uri)
        await until(is_at(source, "pre-switchover"))
        await until(is_at(target, "active"))
        reader, late = await asyncio.open_connection("127.0.0.1", port)
        late.write(HEAD)
        assert await reader.read() == b""
        assert target.statuses[-1] == "active"
        await source.execute("migrate-continue", state="pre-switchover")
        await until(is_at(target, "completed"))
        for _, writer in (*strangers, (reader, late)):
            writer.close()


async def test_too_many_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "GREETING_DEADLINE", 1.0)
    async with two(tmp_path) as (source, target, uri):
        port = int(uri.rpartition(":")[2])
        strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(machines.MAX_STRANGERS + 1)]
        for reader, writer in strangers:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        await moves(source, target, uri)


async def test_nested_state(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, target, uri):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(uri.rpartition(":")[2]))
        writer.write(HEAD + transfer.devices(b"[" * 100_000))
        assert await reader.read() == b""
        writer.close()
        await until(is_at(target, "failed"))
        await moves(source, target, uri)


@settings(max_examples=200)
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"\1", b"\2", b"\3", b"\0\0\0\0", b"{}", b"[]"]))))
async def test_any_bytes(pieces: list[bytes]) -> None:
    memory = Memory(8 * PAGE)
    reader = asyncio.StreamReader()
    reader.feed_data(b"".join(pieces))
    reader.feed_eof()
    with contextlib.suppress(ProtocolError, asyncio.IncompleteReadError):
        while True:
            await transfer.read_record(reader, memory)


@settings(max_examples=100)
@given(st.data())
async def test_a_damaged_state_is_refused_or_loaded(data: st.DataObject) -> None:
    guest = EmbeddedGuest(320, 200, memory=64 * PAGE)
    state = bytearray(guest.device_state())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(state) - 1))
        state[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(ProtocolError):
        guest.restore_devices(bytes(state))
        guest.tick()


async def test_stopped_on_the_way(tmp_path: Path) -> None:
    """What counts is whether it ran when it was taken away."""
    async with two(tmp_path) as (source, target, uri):
        await source.execute("migrate-set-parameters", max_bandwidth=SLOW)
        await source.execute("migrate", uri=uri)
        await until(is_at(source, "active"))
        await source.execute("stop")
        await source.execute("migrate-set-parameters", max_bandwidth=0)
        await until(is_at(target, "completed"))
        assert not target.guest.running
        assert (await target.execute("query-status"))["status"] == "paused"


async def test_cancelled_after_it_was_stopped(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, _, uri):
        await fence(source)
        await source.execute("stop")
        await source.execute("migrate", uri=uri)
        await until(is_at(source, "pre-switchover"))
        await source.execute("migrate_cancel")
        await until(is_at(source, "cancelled"))
        assert (await source.execute("query-status"))["status"] == "paused"
        assert not source.guest.running


async def test_target_that_is_to_stay_stopped(tmp_path: Path) -> None:
    async with two(tmp_path) as (source, target, uri):
        await target.execute("stop")
        await source.execute("migrate", uri=uri)
        await until(is_at(target, "completed"))
        assert not target.guest.running
        await target.execute("cont")
        assert target.guest.running


async def test_slower_than_the_target_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte a second, and the target still knows that its source is there."""
    monkeypatch.setattr(machines, "SILENCE", 0.4)
    async with two(tmp_path) as (source, target, uri):
        await source.execute("migrate-set-parameters", max_bandwidth=1)
        await source.execute("migrate", uri=uri)
        await until(is_at(target, "active"))
        await asyncio.sleep(1.0)
        assert (source.statuses[-1], target.statuses[-1]) == ("active", "active")
        await source.execute("migrate-set-parameters", max_bandwidth=0)
        await until(is_at(target, "completed"))


async def test_unix_sockets(tmp_path: Path) -> None:
    uri = f"unix:{tmp_path / 'moving'}"
    async with host(tmp_path / "source") as source, host(tmp_path / "target", uri) as target:
        assert (await target.execute("query-migrate"))["socket-address"] == [
            {"type": "unix", "path": str(tmp_path / "moving")}
        ]
        for side in source, target:
            await side.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        await moves(source, target, uri)
        assert not (tmp_path / "moving").exists()


async def test_addresses_that_are_none(tmp_path: Path) -> None:
    async with host(tmp_path / "source") as source, host(tmp_path / "target", "defer") as target:
        assert await target.refuses("migrate-incoming", uri="foo") == "unknown migration protocol: foo"
        assert await source.refuses("migrate", uri="unix:") == "invalid Unix socket address"
        assert await source.refuses("migrate", uri="tcp:") == "error parsing address ''"
        assert await source.refuses("migrate", uri="tcp:a:1", resume=True) == (
            "Cannot resume if there is no paused migration"
        )
        for uri in "tcp:127.0.0.1:x", "tcp:127.0.0.1:70000", "unix:/dev/null/none", "tcp:[::1:1":
            await source.execute("migrate", uri=uri)
            await until(lambda: source.machine.status.value == "failed")
            assert "Failed to connect to" in (await source.execute("query-migrate"))["error-desc"]
        assert "Failed to bind socket" in await target.refuses("migrate-incoming", uri="tcp:192.0.2.1:0")
        await target.execute("migrate-incoming", uri="tcp:127.0.0.1:0")
        assert source.guest.running


async def test_announcement_that_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Viewers that do not link in time: the migration is not begun, and they are told so."""
    monkeypatch.setattr("caraway.qemu.orchestrator.ENDING_DEADLINE", 0.5)
    async with host(tmp_path / "source") as source, host(tmp_path / "target", "defer") as target:
        ended: list[bool] = []
        source.server.migrate_end = ended.append  # type: ignore[method-assign]
        async with caraway.connect(f"spice://127.0.0.1:{source.server.port}") as session:
            await session.display.ready()
            async with Stranger() as nobody:
                to = Destination("127.0.0.1", int(nobody.uri.rpartition(":")[2]))
                plan = Plan(uri="tcp:127.0.0.1:0", destination=to, link_deadline=0.5)
                with pytest.raises(MigrationDeadlineError) as caught:
                    await migrate(source.monitor, target.monitor, plan)
            assert ended == [False]
            assert not any("migrat" in note for note in getattr(caught.value, "__notes__", ()))
            await goes_on(source)


async def test_client_of_qmp(tmp_path: Path) -> None:
    """The library of QEMU's own tools, with the names and types of QEMU's own commands."""
    async with two(tmp_path) as (_, _, uri):
        client = QMPClient()
        await client.connect(str(tmp_path / "source"))
        try:
            names = {command["name"] for command in await client.execute("query-commands")}
            assert names >= {"migrate", "migrate_cancel", "migrate-continue", "query-migrate", "query-uuid", "stop"}
            with client.listener() as heard:
                await client.execute("migrate", {"uri": uri, "blk": False, "inc": False, "detach": True})
                told: list[Any] = []
                async with asyncio.timeout(10):
                    async for event in heard:
                        told.append((event["event"], event.get("data")))
                        if told[-1] == ("MIGRATION", {"status": "completed"}):
                            break
            assert told == [
                ("MIGRATION", {"status": "setup"}),
                ("MIGRATION_PASS", {"pass": 1}),
                ("MIGRATION", {"status": "active"}),
                ("STOP", None),
                ("MIGRATION_PASS", {"pass": 2}),
                ("MIGRATION", {"status": "completed"}),
            ]
            assert json.loads(json.dumps(await client.execute("query-migrate")))["ram"]["dirty-sync-count"] == 2
        finally:
            with contextlib.suppress(EOFError):
                await client.disconnect()


def test_layout() -> None:
    """Of the stream, which hosts of different versions agree on."""
    memory = Memory(2 * PAGE)
    assert transfer.greeting(memory) == struct.pack("<8sII", b"CARAWAYM", 1, 2)
    assert transfer.pages(memory, [1]) == struct.pack("<BII", 1, 1, 1) + bytes(PAGE)
    assert transfer.devices(b"{}") == struct.pack("<BI", 2, 2) + b"{}"
    assert transfer.run(True) == struct.pack("<BI", 3, 1)
