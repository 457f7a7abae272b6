"""Ports, shared folders and redirected devices over real sockets."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import lz4.block
import pytest

from caraway.server import Port
from caraway.server import port as pipes
from caraway.server.guest import webdav_port
from caraway.wire.capabilities import Capabilities, SpicevmcCapability
from caraway.wire.constants import ChannelType
from caraway.wire.link import LinkRefusedError
from caraway.wire.messages.base import Message
from caraway.wire.messages.main import AttachChannels, ChannelsList
from caraway.wire.messages.spicevmc import (
    ClientPortEvent,
    CompressedData,
    Data,
    DataCompression,
    PortEvent,
    PortEventType,
    PortInit,
)
from support.raw_client import RawChannel, raw_client
from support.serving import SeenGuest, serving, until

PORT, WEBDAV, USBREDIR = ChannelType.PORT, ChannelType.WEBDAV, ChannelType.USBREDIR
COMPRESSES = Capabilities([SpicevmcCapability.DATA_COMPRESS_LZ4])
LZ4 = DataCompression.LZ4


class PortGuest(SeenGuest):
    """A guest with ports, that keeps what comes."""

    def __init__(self, *ports: Port) -> None:
        super().__init__()
        self.ports = list(ports)
        self.got = {port: bytearray() for port in ports}
        for port in ports:
            port.received.connect(self.got[port].extend)


def compressed(content: bytes, **wrong: Any) -> CompressedData:
    fields = {"type": LZ4, "uncompressed_size": len(content), "data": lz4.block.compress(content, store_size=False)}
    return CompressedData(**{**fields, **wrong})


async def stream(channel: RawChannel, size: int) -> bytes:
    """Bytes from the server, compressed or not."""
    found = b""
    while len(found) < size:
        message = await channel.receive()
        if isinstance(message, CompressedData):
            assert message.type == LZ4
            assert message.uncompressed_size is not None
            found += lz4.block.decompress(message.data, uncompressed_size=message.uncompressed_size)
        else:
            assert isinstance(message, Data)
            found += bytes(message.data)
    return found


async def test_ports_are_listed_by_their_kind() -> None:
    guest = PortGuest(Port("a"), webdav_port(), Port("b"), Port("usb", USBREDIR))
    async with serving(guest) as server, raw_client(server.port) as client:
        main = await client.main()
        main.send(AttachChannels())
        entries = {(entry.type, entry.id) for entry in (await main.expect(ChannelsList)).entries}
        assert {(PORT, 0), (PORT, 1), (WEBDAV, 0), (USBREDIR, 0)} <= entries
        assert (await (await client.link(PORT, 1)).expect(PortInit)).name == "b"
        assert (await (await client.link(WEBDAV)).expect(PortInit)).name == "org.spice-space.webdav.0"
        for missing in (PORT, 2), (WEBDAV, 1), (USBREDIR, 1):
            with pytest.raises(LinkRefusedError):
                await client.link(*missing)


async def test_a_port_that_comes_later_is_announced() -> None:
    guest = PortGuest()
    async with serving(guest) as server, raw_client(server.port) as client:
        main = await client.main()
        main.send(AttachChannels())
        await main.expect(ChannelsList)
        guest.ports.append(Port("late"))
        guest.ports_changed()
        assert [(entry.type, entry.id) for entry in (await main.expect(ChannelsList)).entries] == [(PORT, 0)]
        channel = await client.link(PORT)
        await channel.expect(PortInit)
        guest.ports.clear()
        guest.ports_changed()
        await channel.ended()


async def test_events_both_ways() -> None:
    port = Port("a")
    happened: list[str] = []
    port.viewer_opening.connect(lambda: happened.append("open" if port.connected else "closed"))
    port.viewer_broke.connect(lambda: happened.append("break"))
    async with serving(PortGuest(port)) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PORT)
        assert not (await channel.expect(PortInit)).opened
        port.open()
        port.write(b"before")
        port.send_break()
        port.close()
        assert (await channel.expect(PortEvent)).event == PortEventType.OPENED
        assert (await channel.expect(Data)).data == b"before"
        assert (await channel.expect(PortEvent)).event == PortEventType.BREAK
        assert (await channel.expect(PortEvent)).event == PortEventType.CLOSED
        for event in PortEventType.CLOSED, PortEventType.OPENED, PortEventType.BREAK, 99:
            channel.send(ClientPortEvent(event))  # type: ignore[arg-type]
        await until(lambda: happened == ["open", "closed", "open", "break"])
        await channel.aclose()
        await until(lambda: happened[-1] == "closed")


async def test_opened_is_told_at_the_link() -> None:
    port = Port("a")
    port.open()
    async with serving(PortGuest(port)) as server, raw_client(server.port) as client:
        await client.main()
        assert (await (await client.link(PORT)).expect(PortInit)).opened


@pytest.mark.parametrize("kind", [PORT, WEBDAV, USBREDIR])
async def test_bytes_both_ways(kind: ChannelType) -> None:
    port = Port("a", kind)
    guest = PortGuest(port)
    content = random.Random(1).randbytes(300_000) + b"plain text " * 50_000
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(kind, channel=COMPRESSES)
        assert SpicevmcCapability.DATA_COMPRESS_LZ4 in channel.link.server_channel
        if kind is not USBREDIR:
            await channel.expect(PortInit)
        await until(lambda: port.connected)
        port.write(content)
        assert await stream(channel, len(content)) == content
        channel.send(Data(content[:100_000]), compressed(content[100_000:800_000]), Data(content[800_000:]))
        await until(lambda: len(guest.got[port]) >= len(content))
        assert guest.got[port] == content


@pytest.mark.parametrize(
    ("data", "capabilities", "kind"),
    [
        (b"x" * 1001, COMPRESSES, CompressedData),
        (b"x" * 1000, COMPRESSES, Data),
        (b"x" * 1001, Capabilities(), Data),
        (random.Random(2).randbytes(2000), COMPRESSES, Data),
    ],
)
async def test_what_is_compressed(data: bytes, capabilities: Capabilities, kind: type[Message]) -> None:
    port = Port("a", USBREDIR)
    async with serving(PortGuest(port)) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(USBREDIR, channel=capabilities)
        await until(lambda: port.connected)
        port.write(data)
        assert type(await channel.receive()) is kind


@pytest.mark.parametrize(
    "message",
    [
        compressed(b"x" * 2000, uncompressed_size=(1 << 20) + 1),
        compressed(b"x" * 2000, uncompressed_size=0),
        compressed(b"x" * 2000, uncompressed_size=2001),
        compressed(b"x" * 2000, uncompressed_size=1999),
        compressed(b"x" * 2000, data=b"\xff\xff\xff"),
        compressed(b"x" * 2000, type=7),
        CompressedData(DataCompression.NONE, None, b"abc"),
    ],
)
async def test_what_cannot_be_expanded_closes_the_channel(message: CompressedData) -> None:
    port = Port("a")
    guest = PortGuest(port)
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PORT)
        channel.send(message)
        await channel.ended()
        assert len(server.viewers) == 1
        assert not guest.got[port]
        await until(lambda: not port.connected)
        await (await client.link(PORT)).expect(PortInit)


async def test_nothing_is_compressed_on_a_unix_socket(tmp_path: Path) -> None:
    import asyncio

    from caraway.wire.link import ClientLink
    from caraway.wire.messages.main import Init

    port = Port("a", USBREDIR)

    async def link(kind: ChannelType, connection_id: int) -> RawChannel:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        machine = ClientLink(connection_id, kind, 0, channel=COMPRESSES, secure=True)
        while not machine.done:
            writer.write(machine.data_to_send())
            machine.receive(await reader.read(65536))
        return RawChannel(kind, machine, reader, writer)

    async with serving(PortGuest(port), unix_path=tmp_path / "s"):
        main = await link(ChannelType.MAIN, 0)
        channel = await link(USBREDIR, (await main.expect(Init)).session_id)
        await until(lambda: port.connected)
        port.write(b"x" * 2000)
        assert isinstance(await channel.receive(), Data)
        await channel.aclose()
        await main.aclose()


async def test_the_guest_waits_for_a_viewer_that_does_not_read() -> None:
    port = Port("a")
    drained: list[None] = []
    port.drained.connect(lambda: drained.append(None))
    async with serving(PortGuest(port)) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PORT)
        await channel.expect(PortInit)
        written = 0
        while not port.flooded:
            port.write(bytes(50_000))
            written += 50_000
        assert not drained
        assert len(await stream(channel, written)) == written
        await until(lambda: bool(drained))
        assert not port.flooded


async def test_a_viewer_that_leaves_lets_the_guest_go_on() -> None:
    port = Port("a")
    async with serving(PortGuest(port)) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PORT)
        await channel.expect(PortInit)
        while not port.flooded:
            port.write(bytes(50_000))
        await channel.aclose()
        await until(lambda: not port.flooded)


async def test_a_guest_that_never_stops_costs_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "MAX_WAITING", 1 << 20)
    port = Port("a")
    async with serving(PortGuest(port)) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PORT)
        await channel.expect(PortInit)
        for _ in range(300):
            port.write(bytes(50_000))
        await channel.ended()
        assert not port.connected


async def test_a_viewer_waits_for_a_guest_that_takes_no_more() -> None:
    port = Port("a")
    guest = PortGuest(port)
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PORT)
        await channel.expect(PortInit)
        port.pause()
        channel.send(Data(b"one"), ClientPortEvent(PortEventType.CLOSED), Data(b"two"))
        await (await client.link(ChannelType.INPUTS)).receive()
        assert not guest.got[port]
        assert port.connected
        port.resume()
        await until(lambda: guest.got[port] == b"onetwo")
        assert not port.connected


async def test_a_viewer_that_ends_while_the_guest_takes_no_more() -> None:
    port = Port("a")
    async with serving(PortGuest(port)) as server, raw_client(server.port) as client:
        main = await client.main()
        channel = await client.link(PORT)
        await channel.expect(PortInit)
        port.pause()
        channel.send(Data(b"one"))
        await main.aclose()
        await channel.ended()
        assert not port.connected


async def test_one_viewer_at_a_time_and_none_that_may_only_look() -> None:
    async with (
        serving(PortGuest(Port("a")), sharing="share", password="a", view_only_password="b") as server,
        raw_client(server.port, password="a") as one,
        raw_client(server.port, password="a") as two,
        raw_client(server.port, password="b") as looks,
    ):
        for client in (one, two, looks):
            await client.main()
        channel = await one.link(PORT)
        for client in (one, two, looks):
            with pytest.raises(LinkRefusedError):
                await client.link(PORT)
        await channel.expect(PortInit)
        await channel.aclose()
        await until(lambda: not any((PORT, 0) in viewer.channels for viewer in server.viewers.values()))
        await (await two.link(PORT)).expect(PortInit)
