"""The commands and events of the control socket that are about SPICE: QEMU's, with its types and its answers.

What QEMU 7.2 answers was learned from it (docs/protocol-notes.md).
"""

from __future__ import annotations

import base64
import functools
import importlib.metadata
import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from caraway.errors import AuthError, EndpointError, MigrationError
from caraway.migration.destination import Destination
from caraway.migration.source_events import (
    Outcome,
    Over,
    Report,
    ViewerFailed,
    ViewerLeft,
    ViewerLinked,
)
from caraway.server.given import Given, GivenKind
from caraway.server.qmp import Command, CommandError, Parameter
from caraway.wire.constants import ChannelType
from caraway.wire.messages.main import MouseModes

if TYPE_CHECKING:
    from caraway.server.channel import ServerChannel
    from caraway.server.connection import Connection
    from caraway.server.server import Server

log = logging.getLogger(__name__)

MAX_DIGITS = 18
"""Of a number of seconds. QEMU's clock has 63 bits; what does not fit is a time before 1970."""

MAX_PASSWORD = 60
"""Bytes of a password that every client can send; a ticket carries some more."""

OURS = "__org.caraway_"
"""What commands and events begin with that QEMU does not have, as QMP demands."""

_TOKEN = re.compile(r"[0-9a-fA-F]{32}")
_NUMBER = re.compile(r"\s*([+-]?)0*([0-9]*)", re.ASCII)

Info = Mapping[str, object]


class SpiceCommands:
    """What a client may ask of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._token: bytes | None = None
        """Of the next announcement."""
        protocol = Parameter("protocol", values=("vnc", "spice"))
        connected = Parameter("connected", values=("keep", "fail", "disconnect"), optional=True)
        self.table: Mapping[str, Command] = {
            command.name: command
            for command in (
                Command("query-spice", self.query_spice),
                Command("set_password", self.set_password, (protocol, Parameter("password"), connected)),
                Command("expire_password", self.expire_password, (protocol, Parameter("time"))),
                Command(
                    "client_migrate_info",
                    self.client_migrate_info,
                    (
                        Parameter("protocol"),
                        Parameter("hostname"),
                        Parameter("port", "integer", optional=True),
                        Parameter("tls-port", "integer", optional=True),
                        Parameter("cert-subject", optional=True),
                    ),
                ),
                Command(f"{OURS}migrate_start", self.migrate_start),
                Command(f"{OURS}expect_viewers", self.expect_viewers, (Parameter("token"),)),
                Command(f"{OURS}offer_hand_over", self.offer_hand_over, (Parameter("token"),)),
                Command(
                    f"{OURS}take_over",
                    self.take_over,
                    (
                        Parameter("connection-id", "integer"),
                        Parameter("channel-type", "integer"),
                        Parameter("channel-id", "integer"),
                        Parameter("kind", values=tuple(kind.value for kind in GivenKind)),
                        Parameter("message-type", "integer", optional=True),
                        Parameter("data", optional=True),
                    ),
                ),
                Command(f"{OURS}migrate_end", self.migrate_end, (Parameter("completed", "boolean"),)),
            )
        }

    def query_spice(self) -> Info:
        """What the server is, and the channels that are linked."""
        server = self._server
        ports = {"port": server.port, "tls-port": server.tls_port}
        listens = server.port is not None or server.tls_port is not None
        return {
            "enabled": True,
            "migrated": server.departures.moved,
            "host": server.host or "*" if listens else str(server.unix_path),
            **{name: port for name, port in ports.items() if port is not None},
            "auth": auth(server),
            "compiled-version": own_version(),
            "mouse-mode": self._mouse_mode(),
            "channels": [channel_info(channel, connection_info(channel.connection)[1]) for channel in self._channels()],
        }

    def set_password(self, protocol: str, password: str, connected: str = "keep") -> Info:
        """Another password; what becomes of viewers that are there says `connected`."""
        server = self._server
        viewers = list(server.viewers.values())
        if protocol == "vnc" and connected != "keep":
            raise CommandError("Invalid parameter 'connected'")
        refused = auth(server) != "spice" or (connected == "fail" and viewers)
        if protocol == "vnc" or refused or len(password.encode()) > MAX_PASSWORD:
            raise CommandError("Could not set password")
        try:
            server.set_password(password)
        except AuthError:
            raise CommandError("Could not set password") from None
        log.info("the password was changed")
        if connected == "disconnect":
            for viewer in viewers:
                viewer.end("the password was changed")
        return {}

    def expire_password(self, protocol: str, time: str) -> Info:
        """Take no password any more from a time on."""
        if protocol == "vnc":
            raise CommandError("Could not set password expire time")
        when = expiry(time)
        self._server.expire_password(when)
        log.info("the password expires %s", "never" if when is None else f"at {when:.0f} s since 1970")
        return {}

    async def client_migrate_info(
        self, protocol: str, hostname: str, port: int = -1, tls_port: int = -1, cert_subject: str | None = None
    ) -> Info:
        """The guest is about to move: have viewers link the target. Ports of 0 or -1 are none."""
        if protocol != "spice":
            raise CommandError("Parameter 'protocol' expects 'spice'")
        if port == tls_port == -1:
            raise CommandError("Parameter 'port/tls-port' is missing")
        try:
            destination = Destination(hostname, _port(port), _port(tls_port), cert_subject)
            await self._server.announce_migration(destination, self._token)
        except (EndpointError, MigrationError) as error:
            raise CommandError(f"Could not set up display for migration: {error}") from None
        self._token = None
        return {}

    def expect_viewers(self, token: str) -> Info:
        """Viewers will come that show this token: their channels' state comes by `take_over`."""
        self._server.expect(_token(token))
        return {}

    def offer_hand_over(self, token: str) -> Info:
        """The target expects the viewers of the next `client_migrate_info`, and is given what HAND_OVER tells."""
        self._token = _token(token)
        return {}

    def take_over(
        self, connection_id: int, channel_type: int, channel_id: int, kind: str, message_type: int = 0, data: str = ""
    ) -> Info:
        """Take what a HAND_OVER of the source has told."""
        try:
            channel = ChannelType(channel_type), channel_id
            content = base64.b64decode(data, validate=True)
        except ValueError as error:
            raise CommandError(f"Nothing that can be taken over: {error}") from None
        viewer = connection_id & 0xFFFFFFFF
        self._server.take_over(Given(viewer, channel, GivenKind(kind), content, message_type & 0xFFFF))
        return {}

    def migrate_start(self) -> Info:
        """The guest's migration has begun."""
        self._server.migrate_start()
        return {}

    def migrate_end(self, completed: bool) -> Info:
        """The guest's migration is over."""
        self._server.migrate_end(completed)
        return {}

    def _channels(self) -> Iterator[ServerChannel]:
        for viewer in self._server.viewers.values():
            yield from (channel for channel in viewer.channels.values() if not channel.connection.over)

    def _mouse_mode(self) -> str:
        modes = [viewer.mouse_mode for viewer in self._server.viewers.values()]
        return "client" if MouseModes.CLIENT in modes else "server"


def _token(text: str) -> bytes:
    if not _TOKEN.fullmatch(text):
        raise CommandError("Parameter 'token' expects 32 hexadecimal digits")
    return bytes.fromhex(text)


def hand_over_event(given: Given) -> tuple[str, Info]:
    """Name and data of the event that tells what is for the target."""
    kind, id = given.channel
    about: dict[str, object] = {
        "connection-id": connection_id(given.viewer),
        "channel-type": int(kind),
        "channel-id": id,
        "kind": given.kind.value,
    }
    if given.kind is GivenKind.MESSAGE:
        about["message-type"] = given.type
    if given.data:
        about["data"] = base64.b64encode(given.data).decode("ascii")
    return f"{OURS}HAND_OVER", about


def _port(number: int) -> int | None:
    return number if number > 0 else None


@functools.cache
def own_version() -> str:
    """Of Caraway."""
    return importlib.metadata.version("caraway")


def expiry(text: str) -> float | None:
    """When a password expires, in seconds since 1970; None: never. What makes no sense has expired, as with QEMU."""
    if text == "never":
        return None
    number = _NUMBER.match(text.removeprefix("+"))
    assert number is not None
    sign, digits = number.groups()
    if sign == "-" or len(digits) > MAX_DIGITS:
        return 0
    return int(digits or 0) + (time.time() if text.startswith("+") else 0)


def auth(server: Server) -> str:
    """How viewers prove who they are."""
    if server.access.needs_password:
        return "spice"
    return "sasl" if server.access.lookup is not None else "none"


def connection_info(connection: Connection) -> tuple[Info, Info]:
    """The server's and the client's address of a connection, as QEMU's events tell them."""
    transport = connection.transport
    assert transport is not None
    return _address(transport.get_extra_info("sockname")), _address(transport.get_extra_info("peername"))


def _address(name: object) -> Info:
    if not isinstance(name, tuple):
        return {"host": "localhost", "port": "", "family": "unix"}
    return {"host": name[0], "port": str(name[1]), "family": "ipv6" if ":" in name[0] else "ipv4"}


def connection_id(id: int) -> int:
    """A viewer's session id, signed as QEMU has it."""
    return id - (1 << 32) if id >> 31 else id


def migration_events(report: Report) -> Iterator[tuple[str, Info]]:
    """Names and data of the events that tell what has become of a migration's viewers."""
    about: dict[str, object] = {"announcement": report.announcement}
    if isinstance(report, ViewerLinked | ViewerFailed | ViewerLeft):
        about["connection-id"] = connection_id(report.viewer)
    if isinstance(report, ViewerLinked):
        yield f"{OURS}VIEWER_LINKED", {**about, "mode": str(report.mode)}
    elif isinstance(report, ViewerFailed):
        yield f"{OURS}VIEWER_FAILED", {**about, "reason": str(report.error)}
    elif isinstance(report, ViewerLeft):
        yield f"{OURS}VIEWER_LEFT", about
    elif isinstance(report, Over):
        if report.outcome is Outcome.COMPLETED:
            yield "SPICE_MIGRATE_COMPLETED", {}
        yield f"{OURS}MIGRATION_OVER", {**about, "outcome": report.outcome.value}


def channel_info(channel: ServerChannel, client: Info) -> Info:
    """A channel that is linked. client: whose it is, as of `connection_info`."""
    return {
        **client,
        "connection-id": connection_id(channel.viewer.id),
        "channel-type": int(channel.channel_type),
        "channel-id": channel.id,
        "tls": channel.connection.secure,
    }
