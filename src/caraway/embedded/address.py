"""Where a guest moves to, in QMP's words: `tcp:HOST:PORT` or `unix:PATH`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from caraway.errors import EndpointError, LinkError
from caraway.server.unix_socket import UnixSocket

Info = Mapping[str, object]
Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address, or a path."""

    host: str = ""
    port: str = ""
    path: str = ""

    @classmethod
    def parse(cls, uri: str, unknown: str) -> Address:
        """Of a URI. Raises EndpointError with QEMU's words; `unknown` are those for a scheme that is not known."""
        scheme, colon, rest = uri.partition(":")
        if scheme not in ("tcp", "unix") or not colon:
            raise EndpointError(unknown)
        if scheme == "unix":
            if not rest or "\0" in rest:
                raise EndpointError("invalid Unix socket address")
            return cls(path=rest)
        host, colon, port = rest.rpartition(":")
        if not colon or not port:
            raise EndpointError(f"error parsing address '{rest}'")
        return cls(host.removeprefix("[").removesuffix("]"), port)

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect. Raises LinkError."""
        try:
            if self.path:
                return await asyncio.open_unix_connection(self.path)
            return await asyncio.open_connection(self.host or "localhost", self._number)
        except (OSError, ValueError) as error:
            number = error.errno or 0 if isinstance(error, OSError) else 0
            # The resolver's numbers are negative.
            raise LinkError(f"Failed to connect to '{self}': {os.strerror(number) if number > 0 else error}") from None

    async def listen(self, accept: Accept, ending: contextlib.ExitStack) -> list[Info]:
        """Listen until `ending` ends; gives the addresses, as QMP's `socket-address`. Raises LinkError."""
        loop = asyncio.get_running_loop()
        if self.path:
            unix = UnixSocket(Path(self.path))
            ending.callback(unix.close)
            ending.callback((await asyncio.start_unix_server(accept, sock=unix.socket)).close)
            return [{"type": "unix", "path": self.path}]
        try:
            passive = socket.AI_PASSIVE
            found = await loop.getaddrinfo(self.host or None, self._number, type=socket.SOCK_STREAM, flags=passive)
            # The first address only: several would have several ports, should they choose them.
            host, port = found[0][4][:2]
            server = await asyncio.start_server(accept, str(host), int(port))
        except (OSError, ValueError) as error:
            raise LinkError(f"Failed to bind socket: {error}") from None
        ending.callback(server.close)
        return [
            {"type": "inet", "host": name[0], "port": str(name[1]), "ipv6" if ":" in name[0] else "ipv4": True}
            for name in (each.getsockname() for each in server.sockets)
        ]

    @property
    def _number(self) -> int:
        if not (self.port.isascii() and self.port.isdigit() and int(self.port) < 1 << 16):
            raise ValueError(f"address resolution failed for {self}")
        return int(self.port)
