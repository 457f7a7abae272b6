"""The C client talks to our server's agent, hears and speaks, and uses ports."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from caraway.server import Playback, Port, Record, Server
from caraway.server.guest import Monitor
from caraway.wire.messages.agent import (
    Clipboard,
    ClipboardGrab,
    ClipboardRelease,
    ClipboardRequest,
    ClipboardType,
    FileXferData,
    FileXferResult,
    FileXferStart,
    FileXferStatus,
    Selection,
    parse_file_xfer_key_file,
)
from support.agents import AgentStub
from support.serving import SeenGuest, serving, until
from support.spice_gtk import SpiceGtk, spice_gtk

TEXT = ClipboardType.UTF8_TEXT
CLIPBOARD = Selection.CLIPBOARD


@asynccontextmanager
async def viewing(server: Server, **options: Any) -> AsyncIterator[SpiceGtk]:
    async with spice_gtk() as viewer:
        await viewer.connect(f"spice://127.0.0.1:{server.port}", channels=["main"], **options)
        yield viewer


async def known(viewer: SpiceGtk, since: int = 0) -> None:
    """The client knows what the agent can."""
    await viewer.wait_until(lambda told: bool(told.get("capabilities")), since=since, what="capabilities")


async def told_times(viewer: SpiceGtk, event: str, count: int) -> None:
    await viewer.wait_until(lambda _: len(viewer.told(event)) >= count, what=f"{count} times {event}")


@asynccontextmanager
async def with_agent(**options: Any) -> AsyncIterator[tuple[AgentStub, SpiceGtk]]:
    """An agent and a client that know each other."""
    guest = SeenGuest()
    stub = AgentStub(guest)
    stub.open()
    async with serving(guest, **options) as server, viewing(server) as viewer:
        await known(viewer)
        await until(lambda: bool(stub.client_capabilities))
        stub.said.clear()
        yield stub, viewer


def said(stub: AgentStub, kind: type[Any]) -> Any:
    """The newest of that type that the agent was told."""
    for _, type, data in reversed(stub.said):
        if type == kind.number:
            return kind.unpack(data, stub.agreed)
    return None


async def test_copy_in_the_guest_paste_in_the_client() -> None:
    content = "Grüße".encode() * 20_000
    async with with_agent() as (stub, viewer):
        stub.send(ClipboardGrab(CLIPBOARD, 0, [TEXT]))
        assert (await viewer.wait("clipboard-grab"))["types"] == [TEXT]
        viewer.do("clipboard_request", selection=0, type=TEXT)
        await until(lambda: said(stub, ClipboardRequest) is not None)
        stub.send(Clipboard(CLIPBOARD, TEXT, content))
        await viewer.wait("clipboard", size=len(content), crc=zlib.crc32(content))
        stub.send(ClipboardRelease(CLIPBOARD))
        await viewer.wait("clipboard-release", selection=0)


async def test_copy_in_the_client_paste_in_the_guest() -> None:
    content = b"from the client " * 1500
    async with with_agent() as (stub, viewer):
        for number in range(2):
            viewer.do("clipboard_grab", selection=0, types=[TEXT])
            await until(lambda: said(stub, ClipboardGrab) is not None)
            assert said(stub, ClipboardGrab).serial == number
            since = viewer.mark
            stub.send(ClipboardRequest(CLIPBOARD, TEXT))
            await viewer.wait("clipboard-request", since=since, type=TEXT)
            viewer.do("clipboard_give", selection=0, type=TEXT, data=content.hex())
            await until(lambda: said(stub, Clipboard) is not None)
            assert said(stub, Clipboard).data == content
            stub.said.clear()
        viewer.do("clipboard_release", selection=0)
        await until(lambda: said(stub, ClipboardRelease) is not None)


async def test_the_agent_comes_back() -> None:
    async with with_agent() as (stub, viewer):
        since = viewer.mark
        stub.close()
        await viewer.wait("agent", since=since, connected=False)
        stub.open()
        await viewer.wait("agent", since=since, connected=True)
        await known(viewer, since)
        stub.send(ClipboardGrab(CLIPBOARD, 0, [TEXT]))
        await viewer.wait("clipboard-grab", since=since)


async def test_without_copy_and_paste_the_client_does_not_offer_it() -> None:
    async with with_agent(copy_paste=False) as (stub, viewer):
        viewer.do("clipboard_grab", selection=0, types=[TEXT])
        stub.send(ClipboardGrab(CLIPBOARD, 0, [TEXT]))
        await viewer.ask("state")
        assert said(stub, ClipboardGrab) is None
        assert not viewer.told("clipboard-grab")


async def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a file.bin"
    content = bytes(range(256)) * 1000
    path.write_bytes(content)
    got = bytearray()
    async with with_agent() as (stub, viewer):
        viewer.do("send_file", path=str(path))
        await until(lambda: said(stub, FileXferStart) is not None)
        start = said(stub, FileXferStart)
        assert parse_file_xfer_key_file(start.key_file) == (path.name, len(content))
        stub.said.clear()
        stub.send(FileXferStatus(start.id, FileXferResult.CAN_SEND_DATA, b""))
        while len(got) < len(content):
            await until(lambda: bool(stub.said))
            for _, type, data in stub.said:
                assert type == FileXferData.number
                got += FileXferData.unpack(data).data
            stub.said.clear()
        assert got == content
        stub.send(FileXferStatus(start.id, FileXferResult.SUCCESS, b""))
        assert (await viewer.wait("file"))["error"] is None


async def test_no_file_where_they_are_switched_off(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    async with with_agent(file_transfer=False) as (stub, viewer):
        viewer.do("send_file", path=str(path))
        assert (await viewer.wait("file"))["error"]
        assert said(stub, FileXferStart) is None


@pytest.mark.parametrize("has_agent", [True, False])
async def test_the_guest_fits_itself_to_the_window(has_agent: bool) -> None:
    """Without an agent too, which the deployed server needs for it."""
    fitted: list[Monitor] = []

    class FittedGuest(SeenGuest):
        def fit(self, monitors: Sequence[Monitor]) -> bool:
            fitted.extend(monitors)
            return True

    guest = FittedGuest()
    if has_agent:
        AgentStub(guest).open()
    else:
        guest.fits = True
    async with serving(guest) as server, viewing(server) as viewer:
        await known(viewer)
        viewer.do("fit", width=812, height=634)
        await until(lambda: Monitor(0, 0, 812, 634) in fitted)


async def test_two_clients_share_the_agent() -> None:
    content = b"for both " * 3000
    async with with_agent(sharing="share") as (stub, one), spice_gtk() as two:
        await two.connect(one.uri, channels=["main"])
        await known(two)
        for number in range(2):
            stub.send(ClipboardGrab(CLIPBOARD, 2 * number, [TEXT]))
            for viewer in one, two:
                since = viewer.mark
                await told_times(viewer, "clipboard-grab", number + 1)
                viewer.do("clipboard_request", selection=0, type=TEXT)
                await until(lambda: said(stub, ClipboardRequest) is not None)
                stub.said.clear()
                stub.send(Clipboard(CLIPBOARD, TEXT, content))
                await viewer.wait("clipboard", since=since, crc=zlib.crc32(content))
            one.do("clipboard_grab", selection=0, types=[TEXT])
            await told_times(two, "clipboard-release", number + 1)
            stub.said.clear()
            since = one.mark
            stub.send(ClipboardRequest(CLIPBOARD, TEXT))
            await one.wait("clipboard-request", since=since)
            one.do("clipboard_give", selection=0, type=TEXT, data=content.hex())
            await until(lambda: said(stub, Clipboard) is not None)
            assert said(stub, Clipboard).data == content
            stub.said.clear()
        assert not two.told("clipboard-request")
        one.do("close")
        await until(lambda: said(stub, ClipboardRelease) is not None)


def tone(frames: int) -> bytes:
    return b"".join(
        struct.pack("<hh", *[round(12000 * math.sin(2 * math.pi * 440 * frame / 48000))] * 2) for frame in range(frames)
    )


def loudness(samples: bytes) -> float:
    values = struct.unpack(f"<{len(samples) // 2}h", samples)
    return math.sqrt(sum(value * value for value in values) / len(values))


@pytest.mark.parametrize("frequency", [48000, 44100])
async def test_the_client_hears(frequency: int) -> None:
    """At 44100 samples as they are, at 48000 Opus."""
    guest = SeenGuest()
    guest.playback = Playback(frequency)
    guest.playback.set_volume([65535, 65535], mute=True)
    sound = tone(480 * 40)
    async with serving(guest) as server, viewing(server, audio=True) as viewer:
        await viewer.wait("channel", type="playback", what="opened")
        await viewer.wait("playback-volume", mute=True)
        for at in range(0, len(sound), 1920 * 4):
            guest.playback.write(sound[at : at + 1920 * 4])
        assert (await viewer.wait("playback-start"))["frequency"] == frequency
        guest.playback.stop()
        stop = await viewer.wait("playback-stop")
        assert stop["size"] == len(sound)
        assert (stop["crc"] == zlib.crc32(sound)) is (frequency == 44100)


@pytest.mark.parametrize("frequency", [48000, 44100])
async def test_the_client_speaks(frequency: int) -> None:
    guest = SeenGuest()
    guest.record = Record(frequency)
    recorded = bytearray()
    guest.record.received.connect(recorded.extend)
    sound = tone(480 * 40)
    async with serving(guest) as server, viewing(server, audio=True) as viewer:
        await viewer.wait("channel", type="record", what="opened")
        for _ in range(2):
            since = viewer.mark
            recorded.clear()
            guest.record.start()
            assert (await viewer.wait("record-start", since=since))["frequency"] == frequency
            for at in range(0, len(sound), 9600):
                viewer.do("say", data=sound[at : at + 9600].hex())
            await until(lambda: len(recorded) >= len(sound))
            assert loudness(bytes(recorded)) == pytest.approx(loudness(sound), rel=0.1)
            assert (bytes(recorded) == sound) is (frequency == 44100)
            guest.record.stop()
            await viewer.wait("record-stop", since=since)


async def test_a_port_of_the_client() -> None:
    port = Port("org.example.console.0")
    got = bytearray()
    port.received.connect(got.extend)
    guest = SeenGuest()
    guest.ports = [port]
    content = bytes(range(256)) * 2000
    async with serving(guest) as server, viewing(server) as viewer:
        await viewer.wait("channel", type="port", what="opened")
        port.open()
        assert (await viewer.wait("port-opened", opened=True))["name"] == port.name
        port.write(content)
        await viewer.wait("port-data", size=len(content), crc=zlib.crc32(content))
        viewer.do("port_write", id=0, data=content[:20_000].hex())
        await viewer.wait("port-written", size=20_000)
        await until(lambda: got == content[:20_000])
        port.send_break()
        await viewer.wait("port-event", what=2)
        broken: list[None] = []
        port.viewer_broke.connect(lambda: broken.append(None))
        viewer.do("port_event", id=0, event=2)
        await until(lambda: bool(broken))
        port.close()
        await viewer.wait("port-opened", opened=False)
