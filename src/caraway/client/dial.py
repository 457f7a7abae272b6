"""From an endpoint to a linked connection: route, proxy, TLS, link (spec/wire.md 1-4)."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import cast

from caraway.client.connection import Connection
from caraway.endpoint import Endpoint, Proxy, Route, check_certificate, server_hostname, ssl_context
from caraway.errors import LinkError, TlsError
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType, LinkErrorCode
from caraway.wire.link import ClientLink, LinkRefusedError

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds before the next address of a host is tried beside the first (RFC 8305)."""

TLS_SHUTDOWN_DEADLINE = 1.0
"""Seconds to wait for a peer's close_notify."""

MAX_PROXY_REPLY = 16 << 10
"""Bytes of a proxy's answer to CONNECT; an HTTP head is rarely above 1 KiB."""


class Dialer:
    """Makes the connections of one session: the same endpoint, credentials and TLS context for each."""

    def __init__(self, endpoint: Endpoint, password: str) -> None:
        self.endpoint = endpoint
        self._password = password
        self._tls: ssl.SSLContext | None = None

    async def dial(
        self,
        type: ChannelType,
        id: int,
        connection_id: int,
        capabilities: Capabilities,
        *,
        after: asyncio.Future[None] | None = None,
    ) -> Connection:
        """Connect and link one channel.

        after: what authentication waits for; connecting and the server's key do not.
        A server that wants TLS for the channel is dialled again at its TLS port. Once one connection uses TLS all later
        ones do. Raises LinkError, TlsError, AuthError or ProtocolError. The caller sets the deadline.
        """
        name = type.name.lower()
        route = self.endpoint.route(name)
        try:
            return await self._dial(route, type, id, connection_id, capabilities, after)
        except LinkRefusedError as error:
            if error.code != LinkErrorCode.NEED_SECURED or route.tls:
                raise
        return await self._dial(self.endpoint.secured(name), type, id, connection_id, capabilities, after)

    async def _dial(
        self,
        route: Route,
        type: ChannelType,
        id: int,
        connection_id: int,
        capabilities: Capabilities,
        after: asyncio.Future[None] | None,
    ) -> Connection:
        connection = Connection(f"{type.name.lower()} {id} of {self.endpoint}")
        try:
            await self._connect(connection, route)
            local = self.endpoint.unix_path is not None
            machine = ClientLink(
                connection_id,
                type,
                id,
                channel=capabilities,
                password=self._password,
                username=self.endpoint.username,
                secure=route.tls or local,
            )
            machine.name = connection.peer
            await connection.link(machine, after=after)
        except BaseException:
            connection.abort()
            await connection.wait_closed()
            raise
        if route.tls and not self.endpoint.tls_required:
            self.endpoint = self.endpoint.require_tls()
        return connection

    async def _connect(self, connection: Connection, route: Route) -> None:
        endpoint = self.endpoint
        try:
            if endpoint.unix_path is not None:
                await asyncio.get_running_loop().create_unix_connection(lambda: connection, endpoint.unix_path)
            else:
                await self._connect_tcp(connection, route)
        except ssl.SSLError as error:
            raise TlsError(f"{connection.peer}: {error.reason or error}{_tls_hint(error)}") from None
        except OSError as error:
            raise LinkError(f"{connection.peer}: {_reason(error)}") from None
        except UnicodeError:
            raise LinkError(f"{connection.peer}: {endpoint.host!r} is not the name of a host") from None
        if route.tls:
            check_certificate(endpoint, connection.certificate())

    async def _connect_tcp(self, connection: Connection, route: Route) -> None:
        loop = asyncio.get_running_loop()
        host, port = cast(str, self.endpoint.host), cast(int, route.port)
        context = await self._tls_context() if route.tls else None
        name = server_hostname(self.endpoint) or "" if context else None
        shutdown = TLS_SHUTDOWN_DEADLINE if context else None
        if self.endpoint.proxy is None:
            await loop.create_connection(
                lambda: connection,
                host,
                port,
                ssl=context,
                server_hostname=name,
                ssl_shutdown_timeout=shutdown,
                happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY,
            )
            return
        transport = await _connect_proxy(self.endpoint.proxy, host, port)
        try:
            if context is None:
                transport.set_protocol(connection)
                connection.connection_made(transport)
            else:
                protected = await loop.start_tls(
                    transport, connection, context, server_hostname=name, ssl_shutdown_timeout=shutdown
                )
                assert protected is not None
                connection.connection_made(protected)
        except BaseException:
            transport.abort()
            raise

    async def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl_context, self.endpoint)
        return self._tls


def _reason(error: OSError) -> str:
    """What the system says; asyncio's own text would only repeat the address."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _tls_hint(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f": {error.verify_message}; give the authority's certificate as CA"
    return ""


class _ProxyProtocol(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT; the server behind it does not speak first."""

    def __init__(self) -> None:
        self.reply = bytearray()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.reply += data
        if not self.answered.done() and (b"\r\n\r\n" in self.reply or len(self.reply) > MAX_PROXY_REPLY):
            self.answered.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(LinkError(f"the proxy closed the connection{f': {error}' if error else ''}"))


async def _connect_proxy(proxy: Proxy, host: str, port: int) -> asyncio.Transport:
    """A connection through an HTTP proxy that has answered CONNECT with 200.

    An https proxy is checked against the system's authorities; those of the endpoint are for the server.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.create_connection(
            _ProxyProtocol,
            proxy.host,
            proxy.port,
            ssl=ssl.create_default_context() if proxy.scheme == "https" else None,
            happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY,
        )
    except ssl.SSLError as error:
        raise TlsError(f"proxy {proxy}: {error.reason or error}{_tls_hint(error)}") from None
    except OSError as error:
        raise LinkError(f"proxy {proxy}: {_reason(error)}") from None
    except UnicodeError:
        raise LinkError(f"proxy {proxy}: {proxy.host!r} is not the name of a host") from None
    try:
        transport.write(_connect_request(proxy, host, port))
        await protocol.answered
        head, end, _ = bytes(protocol.reply).partition(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if not end or status.split(" ", 2)[1:2] != ["200"]:
            raise LinkError(f"proxy {proxy}: refused to connect to {host} port {port}: {status[:200]!r}")
    except BaseException:
        transport.abort()
        raise
    return transport


def _connect_request(proxy: Proxy, host: str, port: int) -> bytes:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        import base64

        token = base64.b64encode(f"{proxy.username}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
