"""From an endpoint to a linked connection: route, proxy, TLS, link (spec/wire.md 1-4)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import cast

from caraway.client.connection import Connection
from caraway.client.sockets import open_tcp, open_unix, reason, start_tls, transport_on
from caraway.client.tunnel import open_tunnel
from caraway.endpoint import Endpoint, Route, check_certificate, server_hostname, ssl_context
from caraway.errors import LinkError, TlsError
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType, LinkErrorCode
from caraway.wire.link import ClientLink, LinkRefusedError

TLS_SHUTDOWN_DEADLINE = 1.0
"""Seconds to wait for a peer's close_notify."""


class Dialer:
    """Makes the connections of one session: the same endpoint, credentials and TLS context for each."""

    def __init__(self, endpoint: Endpoint, password: str) -> None:
        self.endpoint = endpoint
        self._password = password
        self._tls: ssl.SSLContext | None = None

    async def connect(self, type: ChannelType, id: int) -> Connection:
        """Connect for one channel, without a link yet. Raises LinkError or TlsError."""
        return await self._connected(self.endpoint.route(type.name.lower()), type, id)

    async def dial(
        self,
        type: ChannelType,
        id: int,
        connection_id: int,
        capabilities: Capabilities,
        *,
        early: asyncio.Task[Connection] | None = None,
        after: asyncio.Future[None] | None = None,
        answered: Callable[[], None] | None = None,
    ) -> Connection:
        """Connect and link one channel.

        early: what `connect` gives, begun before. after: what authentication waits for; connecting and the server's key
        do not. answered: called once the server has taken up the link.
        A server that wants TLS for the channel is dialled again at its TLS port. Once one connection uses TLS all later
        ones do. Raises LinkError, TlsError, AuthError or ProtocolError. The caller sets the deadline.
        """
        name = type.name.lower()
        route = self.endpoint.route(name)

        def link(route: Route) -> ClientLink:
            return ClientLink(
                connection_id,
                type,
                id,
                channel=capabilities,
                password=self._password,
                username=self.endpoint.username,
                secure=route.tls or self.endpoint.unix_path is not None,
            )

        try:
            connection = await (early or self._connected(route, type, id))
            await _link(connection, link(route), after, answered)
        except LinkRefusedError as error:
            if error.code != LinkErrorCode.NEED_SECURED or route.tls:
                raise
            route = self.endpoint.secured(name)
            connection = await self._connected(route, type, id)
            await _link(connection, link(route), after, answered)
        if route.tls and not self.endpoint.tls_required:
            self.endpoint = self.endpoint.require_tls()
        return connection

    async def _connected(self, route: Route, type: ChannelType, id: int) -> Connection:
        connection = Connection(f"{type.name.lower()} {id} of {self.endpoint}")
        try:
            await self._connect(connection, route)
        except BaseException:
            await _give_up(connection)
            raise
        return connection

    async def _connect(self, connection: Connection, route: Route) -> None:
        """Give the connection its transport: socket, proxy, TLS."""
        endpoint = self.endpoint
        proxy = endpoint.proxy if endpoint.unix_path is None else None
        place = (f"proxy {proxy}", proxy.host) if proxy is not None else (connection.peer, endpoint.host)
        with _errors_of(*place):
            if endpoint.unix_path is not None:
                sock = await open_unix(endpoint.unix_path)
            elif proxy is not None:
                sock = await open_tcp(proxy.host, proxy.port)
            else:
                sock = await open_tcp(cast(str, endpoint.host), cast(int, route.port))
        async with transport_on(sock) as transport:
            if proxy is not None:
                with _errors_of(*place):
                    transport = await open_tunnel(transport, proxy, cast(str, endpoint.host), cast(int, route.port))
            if route.tls:
                with _errors_of(connection.peer, endpoint.host):
                    transport = await start_tls(
                        transport,
                        connection,
                        await self._tls_context(),
                        server_hostname=server_hostname(endpoint) or "",
                        shutdown_timeout=TLS_SHUTDOWN_DEADLINE,
                    )
            else:
                transport.set_protocol(connection)
            connection.connection_made(transport)
            transport.resume_reading()
        if route.tls:
            check_certificate(endpoint, connection.certificate())

    async def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl_context, self.endpoint)
        return self._tls


async def _link(
    connection: Connection,
    machine: ClientLink,
    after: asyncio.Future[None] | None,
    answered: Callable[[], None] | None,
) -> None:
    machine.name = connection.peer
    try:
        await connection.link(machine, after=after, answered=answered)
    except BaseException:
        await _give_up(connection)
        raise


async def _give_up(connection: Connection) -> None:
    connection.abort()
    await connection.wait_closed()


@contextlib.contextmanager
def _errors_of(peer: str, host: str | None) -> Iterator[None]:
    """Name the peer in what goes wrong on the way to it."""
    try:
        yield
    except ssl.SSLError as error:
        raise TlsError(f"{peer}: {error.reason or error}{_tls_hint(error)}") from None
    except OSError as error:
        raise LinkError(f"{peer}: {reason(error)}") from None
    except UnicodeError:
        raise LinkError(f"{peer}: {host!r} is not the name of a host") from None


def _tls_hint(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f": {error.verify_message}; give the authority's certificate as CA"
    return ""
