"""SPICE over WebSocket, on the port of everything else."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from caraway.server.websocket import MAX_REQUEST
from caraway.wire.constants import ChannelType
from caraway.wire.framing import FrameReader
from caraway.wire.link import ClientLink
from caraway.wire.messages.main import Init
from support.serving import serving, until


async def link(socket: ClientConnection, **options: Any) -> ClientLink:
    machine = ClientLink(0, ChannelType.MAIN, 0, **options)
    await socket.send(machine.data_to_send())
    while not machine.done:
        machine.receive(await socket.recv())
        if data := machine.data_to_send():
            await socket.send(data)
    return machine


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["binary"], "binary"),
        (["binary", "base64"], "binary"),
        (["base64", "binary"], "binary"),
        (None, None),
        (["x"], None),
    ],
)
async def test_a_viewer_over_websocket(offered: Any, chosen: str | None) -> None:
    async with serving(password="secret") as server:
        async with connect(f"ws://127.0.0.1:{server.port}/any", subprotocols=offered) as socket:
            assert socket.subprotocol == chosen
            machine = await link(socket, password="secret")
            frames = FrameReader(mini=machine.mini_header, initial=machine.rest)
            received = [*frames]
            while not received:
                received = [*frames.feed(await socket.recv())]
            assert received[0].type == Init.id
        await until(lambda: not server.viewers)


async def test_messages_and_frames_need_not_agree() -> None:
    async with serving() as server, connect(f"ws://127.0.0.1:{server.port}") as socket:
        machine = ClientLink(0, ChannelType.MAIN, 0)
        hello = machine.data_to_send()
        for byte in hello[:-1]:
            await socket.send(bytes([byte]))
        await socket.send([hello[-1:], b"", b""])
        machine.receive(await socket.recv())
        assert machine.server_common


async def test_a_request_in_pieces() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        request = (
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        for byte in request:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 2 * MAX_REQUEST,
        b"GET \0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 400 + b"\r\n",
    ],
)
async def test_what_is_no_websocket_is_closed(request_bytes: bytes) -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request_bytes)
        try:
            async with asyncio.timeout(10):
                assert b" 101 " not in await reader.read()
        except ConnectionError:
            pass
        writer.close()


async def test_text_is_refused() -> None:
    async with serving() as server, connect(f"ws://127.0.0.1:{server.port}") as socket:
        await socket.send("REDQ")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
