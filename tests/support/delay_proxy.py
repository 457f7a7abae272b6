"""A TCP relay that keeps every byte back for a fixed time, and may rewrite the link messages of clients."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from support.relays import listening

CHUNK = 65536
LINK_HEADER = 16


async def _delayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Pass bytes on, each `delay` seconds after it came, and the end likewise."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def take() -> None:
        data = b"?"
        while data:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = b""
            waiting.put_nowait((loop.time() + delay, data))

    async with asyncio.TaskGroup() as group:
        group.create_task(take())
        while True:
            due, data = await waiting.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if not data:
                break
            writer.write(data)
            await writer.drain()
    writer.close()


def without_capabilities(channel: int, bits: int) -> Callable[[bytearray], None]:
    """A rewriter that clears capability bits of the channel's own first word in the client's link messages."""

    def rewrite(link: bytearray) -> None:
        if link[20] == channel:
            common, own, offset = struct.unpack_from("<III", link, 22)
            if own:
                at = LINK_HEADER + offset + 4 * common
                (word,) = struct.unpack_from("<I", link, at)
                struct.pack_into("<I", link, at, word & ~bits)

    return rewrite


@asynccontextmanager
async def delay_proxy(
    host: str, port: int, *, delay: float = 0.0, rewrite_link: Callable[[bytearray], None] | None = None
) -> AsyncIterator[int]:
    """The port of a relay to a server.

    delay: seconds that each byte takes each way, half of the round-trip time to simulate; connecting takes two.
    rewrite_link: changes a client's link message, header included, in place.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(2 * delay)
            to_server_reader, to_server = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        try:
            if rewrite_link is not None:
                header = await reader.readexactly(LINK_HEADER)
                link = bytearray(header + await reader.readexactly(struct.unpack_from("<I", header, 12)[0]))
                rewrite_link(link)
                to_server.write(bytes(link))
            async with asyncio.TaskGroup() as group:
                group.create_task(_delayed(reader, to_server, delay))
                group.create_task(_delayed(to_server_reader, writer, delay))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in to_server, writer:
                end.transport.abort()

    async with listening(serve) as listening_port:
        yield listening_port
