"""Connected sockets, and transports on them of which nothing is left when connecting fails or is cancelled.

asyncio's own connecting leaves what it had begun to its event loop, or to the garbage collector.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

NEXT_ADDRESS_DELAY = 0.25
"""Seconds before the next address of a host is tried beside the first (RFC 8305)."""


def reason(error: OSError) -> str:
    """What the system says; asyncio's own text would only repeat the address."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


async def open_unix(path: str) -> socket.socket:
    """A socket connected to a path. Raises OSError."""
    sockets: list[socket.socket] = []
    try:
        return await _connected(socket.AF_UNIX, path, sockets)
    except BaseException:
        _close(sockets)
        raise


async def open_tcp(host: str, port: int) -> socket.socket:
    """A socket connected to the first address of a host that answers. Raises OSError with the reasons of all."""
    sockets: list[socket.socket] = []
    try:
        connected = await _first_connected(await _addresses(host, port), sockets)
    except BaseException:
        _close(sockets)
        raise
    sockets.remove(connected)
    _close(sockets)
    return connected


@asynccontextmanager
async def transport_on(sock: socket.socket) -> AsyncIterator[asyncio.Transport]:
    """A transport on a connected socket. It does not read; after an error in the block both are closed."""
    transport: asyncio.Transport | None = None
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(_Silent, sock=sock)
        yield transport
    except BaseException:
        if transport is not None:
            transport.abort()
        sock.close()
        raise


async def start_tls(
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext,
    *,
    server_hostname: str,
    shutdown_timeout: float | None = None,
) -> asyncio.Transport:
    """The transport of a protocol within TLS. Raises OSError and ssl.SSLError."""
    protected = await asyncio.get_running_loop().start_tls(
        transport, protocol, context, server_hostname=server_hostname, ssl_shutdown_timeout=shutdown_timeout
    )
    if protected is None:
        raise ConnectionResetError
    return protected


class _Silent(asyncio.Protocol):
    """Holds a transport until it gets the protocol that it is for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()


async def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """Family and address, families by turns."""
    try:
        # An address needs no thread to be looked up in; bytes, for a text would have Python load its IDNA codec.
        found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[tuple[int, Any]]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append((family, address))
    turns = itertools.zip_longest(*families.values())
    return [entry for turn in turns for entry in turn if entry is not None]


async def _first_connected(addresses: list[tuple[int, Any]], sockets: list[socket.socket]) -> socket.socket:
    """The next address is tried when one has failed, or beside it when it takes long."""
    attempts: list[asyncio.Task[socket.socket]] = []
    waiting: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        while waiting or len(attempts) < len(addresses):
            if len(attempts) < len(addresses):
                attempts.append(asyncio.ensure_future(_connected(*addresses[len(attempts)], sockets)))
                waiting.add(attempts[-1])
            delay = NEXT_ADDRESS_DELAY if len(attempts) < len(addresses) else None
            done, waiting = await asyncio.wait(waiting, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                try:
                    return attempt.result()
                except OSError as error:
                    errors.append(error)
    finally:
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
    if len(errors) == 1:
        raise errors[0]
    raise OSError("; ".join(dict.fromkeys(map(reason, errors))) or "the host has no address")


async def _connected(family: int, address: Any, sockets: list[socket.socket]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    sockets.append(made)
    if family != socket.AF_UNIX:
        # asyncio would do so only for a socket made with the protocol's number.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, address)
    return made
