"""Listening sockets: how a connection becomes TLS or not, and how many may be under way (spec/wire.md 4, 11, 13)."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from caraway.errors import CarawayError, DeadlineError, LinkError, ProtocolError, TlsError
from caraway.server.connection import Connection
from caraway.server.tasks import Tasks
from caraway.server.unix_socket import UnixSocket

log = logging.getLogger(__name__)

LINK_DEADLINE = 10.0
"""Seconds from the first byte to the link's result: a handshake over a bad line takes two, a person is not asked."""

MAX_CONNECTIONS = 4096
"""Of all viewers together; each viewer has four to ten."""

MAX_CONNECTIONS_OF_ADDRESS = 1024
"""A gateway or a whole office may come from one address; three quarters are left for others."""

MAX_LINKING = 128
"""Connections that have not linked yet. One more closes the oldest of the address that has most: who says nothing keeps
nobody out."""

BACKLOG = 256

TLS_RECORD = 0x16
"""The first byte of a TLS handshake; of SPICE it is `R`, of WebSocket `G`."""

UNSENT = 128 << 10
"""Bytes that the kernel takes for a client beyond what is on its way: little, so that pictures are new."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES = 60, 15, 4
"""Seconds, seconds and count: a host that vanished is noticed after two minutes of silence."""

OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
OUT_OF_DESCRIPTORS_PAUSE = 0.5
"""Seconds until connections are accepted again."""


class Listener:
    """Sockets that listen, and the connections that come.

    attend: what is done with a connection that has said its first byte, given where it comes from and what to call when
        it has linked. It returns when the connection is over.
    context: TLS; None refuses it.
    max_connections, max_connections_of_address: at once.
    """

    def __init__(
        self,
        attend: Callable[[Connection, str, Callable[[], None]], Awaitable[None]],
        *,
        context: ssl.SSLContext | None,
        max_connections: int,
        max_connections_of_address: int,
    ) -> None:
        self._attend, self._context = attend, context
        self._max_connections, self._max_of_address = max_connections, max_connections_of_address
        self._accepting, self._tasks = Tasks(), Tasks()
        self._sockets: list[socket.socket] = []
        self._unix_sockets: list[UnixSocket] = []
        self._linking: dict[asyncio.Task[None], str] = {}
        """With where their clients come from, the oldest first."""
        self._connections: dict[asyncio.Task[None], str] = {}
        self._of_address: Counter[str] = Counter()

    async def listen(self, host: str, port: int, *, tls: bool | None) -> int:
        """Listen on every address of a host; gives the port, which is one for all of them.

        tls: True takes nothing else, False refuses it, None takes both.
        Raises LinkError if that is not possible.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise LinkError(f"cannot listen on {host}: {error.strerror or error}") from None
        for family, _, _, _, address in dict.fromkeys(found):
            place = (address[0], port, *address[2:])
            try:
                made = _bound(family, place)
            except OSError as error:
                if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and len(found) > 1:
                    continue
                raise LinkError(f"cannot listen on {address[0]} port {port}: {error.strerror or error}") from None
            port = made.getsockname()[1]
            self._start(made, tls)
        if not self._sockets:
            raise LinkError(f"cannot listen on {host}: it has no address here")
        return port

    def listen_unix(self, path: Path) -> None:
        """Listen on a socket that only its owner may use. Raises LinkError if that is not possible."""
        made = UnixSocket(path)
        self._unix_sockets.append(made)
        self._start(made.socket, False)

    async def aclose(self) -> None:
        """Listen no more, and end every connection."""
        await self.stop()
        await self._tasks.aclose()
        for unix in self._unix_sockets:
            unix.close()

    async def stop(self) -> None:
        """Take no more connections; those that have linked live on."""
        for task in list(self._linking):
            task.cancel()
        await self._accepting.aclose()
        for each in self._sockets:
            each.close()

    def _start(self, made: socket.socket, tls: bool | None) -> None:
        made.listen(BACKLOG)
        made.setblocking(False)
        self._sockets.append(made)
        self._accepting.spawn(self._accept(made, tls))

    async def _accept(self, listening: socket.socket, tls: bool | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                made, address = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in OUT_OF_DESCRIPTORS:
                    log.error("cannot accept connections: %s", error.strerror)
                    await asyncio.sleep(OUT_OF_DESCRIPTORS_PAUSE)
                continue
            host = "local" if made.family == socket.AF_UNIX else str(address[0])
            origin = _origin(made.family, host)
            if len(self._connections) >= self._max_connections:
                log.warning("a connection is refused: there are %d", len(self._connections))
                made.close()
                continue
            if self._of_address[origin] >= self._max_of_address:
                log.warning("a connection from %s is refused: it has %d", host, self._of_address[origin])
                made.close()
                continue
            self._make_way()
            task = self._tasks.spawn(self._serve(made, host, origin, address, tls))
            self._linking[task] = self._connections[task] = origin
            self._of_address[origin] += 1
            task.add_done_callback(self._gone)

    def _make_way(self) -> None:
        if len(self._linking) >= MAX_LINKING:
            [(busiest, _)] = Counter(self._linking.values()).most_common(1)
            oldest = next(task for task, origin in self._linking.items() if origin == busiest)
            del self._linking[oldest]
            oldest.cancel()

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._linking.pop(task, None)
        origin = self._connections.pop(task)
        self._of_address[origin] -= 1
        if not self._of_address[origin]:
            del self._of_address[origin]

    async def _serve(self, made: socket.socket, host: str, origin: str, address: object, tls: bool | None) -> None:
        """A connection's whole life."""
        local = made.family == socket.AF_UNIX
        peer = "local" if local else f"{host}:{address[1]}"  # type: ignore[index]
        task = asyncio.current_task()
        assert task is not None
        connection: Connection | None = None
        try:
            async with asyncio.timeout(LINK_DEADLINE) as linking:

                def linked() -> None:
                    linking.reschedule(None)
                    self._linking.pop(task, None)

                connection = await self._connect(made, peer, tls, local=local)
                await self._attend(connection, origin, linked)
        except TimeoutError as error:
            why = error if isinstance(error, DeadlineError) else f"not linked within {LINK_DEADLINE:g} s"
            log.info("%s: %s", peer, why)
        except ProtocolError as error:
            log.warning("%s: %s", peer, error)
        except (CarawayError, OSError) as error:
            log.debug("%s: %s", peer, error)
        except Exception:
            log.exception("%s: the connection ends, for the server failed", peer)
        finally:
            if connection is not None:
                connection.abort()
            made.close()

    async def _connect(self, made: socket.socket, peer: str, tls: bool | None, *, local: bool) -> Connection:
        made.setblocking(False)
        if not local:
            _tune(made)
        await _until_readable(made)
        first = made.recv(1, socket.MSG_PEEK)
        if not first:
            raise LinkError("closed without a word")
        wants_tls = first[0] == TLS_RECORD and tls is not False
        if tls and not wants_tls:
            raise TlsError("plain SPICE on the TLS port")
        if wants_tls and self._context is None:
            raise TlsError("TLS where none is offered")
        loop = asyncio.get_running_loop()
        connection = Connection(peer, local=local, secure=wants_tls)
        context = self._context if wants_tls else None
        await loop.connect_accepted_socket(lambda: connection, made, ssl=context)
        return connection


def _origin(family: int, host: str) -> str:
    """For whom a client counts: its address; with IPv6 the network, for who has one address of it has 2^64."""
    if family != socket.AF_INET6:
        return host
    network = socket.inet_pton(family, host.partition("%")[0])[:8]
    return socket.inet_ntop(family, network + bytes(8)) + "/64"


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def _tune(made: socket.socket) -> None:
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


async def _until_readable(made: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(made, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(made)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
