"""The way through an HTTP proxy: CONNECT, over TLS if the proxy wants it (spec/wire.md 4.1)."""

from __future__ import annotations

import asyncio
import ssl

from caraway.client.sockets import start_tls
from caraway.endpoint import Proxy
from caraway.errors import LinkError

MAX_PROXY_REPLY = 16 << 10
"""Bytes of a proxy's answer to CONNECT; an HTTP head is rarely above 1 KiB."""

_END_OF_HEAD = b"\r\n\r\n"


async def open_tunnel(transport: asyncio.Transport, proxy: Proxy, host: str, port: int) -> asyncio.Transport:
    """Ask the proxy that a transport leads to for a host. Returns the transport that leads there; it does not read.

    An https proxy is checked against the system's authorities; those of the endpoint are for the server.
    Raises LinkError if the proxy refuses, OSError and ssl.SSLError.
    """
    answer = _Answer()
    if proxy.scheme == "https":
        context = await asyncio.to_thread(ssl.create_default_context)
        transport = await start_tls(transport, answer, context, server_hostname=proxy.host)
    else:
        transport.set_protocol(answer)
    answer.transport = transport
    transport.resume_reading()
    transport.write(_connect_request(proxy, host, port))
    await answer.complete
    head, end, rest = bytes(answer.received).partition(_END_OF_HEAD)
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    accepted = status.split(" ", 2)[1:2] == ["200"]
    if answer.lost and (accepted or not end):
        raise LinkError(f"proxy {proxy}: the proxy closed the connection{f': {answer.error}' if answer.error else ''}")
    if not (accepted and end):
        raise LinkError(f"proxy {proxy}: refused to connect to {host} port {port}: {status[:200]!r}")
    if rest:
        raise LinkError(f"proxy {proxy}: {host} port {port} spoke before the client")
    return transport


class _Answer(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT, and stops there."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.complete = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.error: Exception | None = None

    def data_received(self, data: bytes) -> None:
        self.received += data
        if _END_OF_HEAD in self.received or len(self.received) > MAX_PROXY_REPLY:
            assert self.transport is not None
            self.transport.pause_reading()
            self._completed()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost, self.error = True, error
        self._completed()

    def _completed(self) -> None:
        if not self.complete.done():
            self.complete.set_result(None)


def _connect_request(proxy: Proxy, host: str, port: int) -> bytes:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        import base64

        token = base64.b64encode(f"{proxy.username}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
