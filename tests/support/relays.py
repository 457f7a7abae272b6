"""Things that stand between a client and a server: a relay that records and cuts, an HTTP proxy."""

import asyncio
import base64
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

CHUNK = 65536


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Piped:
    """One relayed connection: what went each way so far."""

    def __init__(self) -> None:
        self.to_server = bytearray()
        self.to_client = bytearray()
        self.ends: list[asyncio.StreamWriter] = []

    def close(self) -> None:
        """Cut the connection."""
        for end in self.ends:
            end.transport.abort()

    @property
    def channel_type(self) -> int:
        """Of the link message."""
        return self.to_server[20]


class Relay:
    """Forwards connections to a server, and keeps what they carry."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.connections: list[Piped] = []
        self.cut: Callable[[Piped], int | None] = lambda piped: None
        """Bytes of the server's after which a connection is cut; None: never."""
        self.cut_by_reset = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        piped = Piped()
        self.connections.append(piped)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        piped.ends = [writer, server_writer]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, server_writer, piped, to_client=False))
                await self._forward(server_reader, writer, piped, to_client=True)
        except* OSError:
            pass
        finally:
            for end in server_writer, writer:
                end.transport.abort()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _forward(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, piped: Piped, *, to_client: bool
    ) -> None:
        kept = piped.to_client if to_client else piped.to_server
        while data := await source.read(CHUNK):
            limit = self.cut(piped) if to_client else None
            if limit is not None and len(kept) + len(data) >= limit:
                sink.write(data[: limit - len(kept)])
                kept += data[: limit - len(kept)]
                if self.cut_by_reset:
                    reset(sink)
                break
            kept += data
            sink.write(data)
            await sink.drain()
        if to_client:
            sink.close()
        else:
            sink.write_eof()


@asynccontextmanager
async def relay(host: str, port: int) -> AsyncIterator[tuple[Relay, int]]:
    """A relay to a server, and the port that it listens on."""
    made = Relay(host, port)
    async with listening(made.serve) as port:
        yield made, port


class HttpProxy:
    """Understands CONNECT and nothing else.

    names: where the targets `host:port` that it knows really are. credentials: `user:password` to ask for.
    """

    def __init__(self, names: Mapping[str, tuple[str, int]], credentials: str | None) -> None:
        self.names = names
        self.credentials = credentials
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            await self._answer(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *fields = head.split("\r\n")
        method, target, version = request.split(" ")
        assert (method, version) == ("CONNECT", "HTTP/1.1")
        self.asked.append(target)
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        token = base64.b64encode((self.credentials or "").encode()).decode()
        if self.credentials is not None and headers.get("proxy-authorization") != f"Basic {token}":
            answer = "407 Proxy Authentication Required"
        elif target not in self.names:
            answer = "403 Forbidden"
        else:
            answer = "200 OK"
        writer.write(f"HTTP/1.1 {answer}\r\nVia: test\r\n\r\n".encode())
        await writer.drain()
        if answer != "200 OK":
            return
        onward = Relay(*self.names[target])
        await onward.serve(reader, writer)


@asynccontextmanager
async def http_proxy(
    names: Mapping[str, tuple[str, int]], credentials: str | None = None
) -> AsyncIterator[tuple[HttpProxy, int]]:
    """An HTTP proxy, and the port that it listens on."""
    made = HttpProxy(names, credentials)
    async with listening(made.serve) as port:
        yield made, port


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
    path: Path | None = None,
) -> AsyncIterator[int]:
    """Serve connections on a port of 127.0.0.1, or at a path; at the end nothing is left of them."""
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        await asyncio.wait([task])

    if path is not None:
        server = await asyncio.start_unix_server(accept, path)
    else:
        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield 0 if path is not None else server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    for result in results:
        if isinstance(result, Exception):
            raise result
