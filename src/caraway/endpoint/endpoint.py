"""Where and as whom to connect: one immutable value (spec/wire.md 4, 14, 15; spec/migration.md 12)."""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from caraway.endpoint.channels import check_channel, disabled_set, secure_set
from caraway.endpoint.checks import MAX_PORT, check_host, check_port, check_text, without_brackets
from caraway.endpoint.proxy import Proxy
from caraway.endpoint.subject import parse_subject
from caraway.endpoint.verify import Verify
from caraway.endpoint.viewer_settings import ViewerSettings
from caraway.errors import EndpointError, TlsError

log = logging.getLogger(__name__)


class Route(NamedTuple):
    """How one channel reaches the server."""

    port: int | None
    """Port of the endpoint's host; None: the endpoint's Unix socket."""
    tls: bool
    """TLS from the first byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server, the way to it and the credentials for it. `str()` gives its URI, without the password.

    Empty texts count as None. Raises EndpointError, naming value and limit, if the fields make no sense together.
    """

    host: str | None = None
    """Name, address (an IPv6 literal without brackets) or, behind a proxy, any token; kept as given until dialled."""
    port: int | None = None
    """Plain port, 1..65535; None: there is none."""
    tls_port: int | None = None
    """TLS port, 1..65535; None: there is none."""
    unix_path: str | None = None
    """Unix socket, instead of host and ports."""
    username: str | None = None
    """SASL user."""
    password: str | None = field(default=None, repr=False)
    """Ticket or SASL password."""
    ca: str | None = field(default=None, repr=False)
    """PEM text of the authorities to trust."""
    ca_file: str | None = None
    """PEM file of the authorities to trust, beside `ca`."""
    host_subject: str | None = None
    """The certificate's subject must be this one; the host name then does not count."""
    public_key: bytes | None = field(default=None, repr=False)
    """DER SubjectPublicKeyInfo: the certificate must hold this key, and nothing else of it counts."""
    insecure: bool = False
    """Accept every certificate. Only ever on explicit request."""
    tls_ciphers: str | None = None
    """OpenSSL cipher list for TLS 1.2."""
    tls_required: bool = False
    """Never leave TLS: the session began with it, or the URI was `spice+tls://`."""
    secure_channels: frozenset[str] = frozenset()
    """Channels that go to the TLS port at once; given as names or `all`."""
    disable_channels: frozenset[str] = frozenset()
    """Channels that are not opened, by name."""
    proxy: Proxy | None = None
    title: str | None = None
    """Title for a window."""
    viewer: ViewerSettings = field(default_factory=ViewerSettings)
    """What a `.vv` file says to the window."""

    def __post_init__(self) -> None:
        for name in ("host", "unix_path", "username", "ca_file", "host_subject", "tls_ciphers", "title"):
            self._check_optional_text(name)
        self._check_optional_text("password", secret=True)
        self._check_optional_text("ca", secret=True)
        check_port("port", self.port)
        check_port("tls_port", self.tls_port)
        self._check_place()
        if self.insecure and (self.host_subject or self.public_key):
            raise EndpointError("insecure accepts every certificate: give no host_subject or public_key beside it")
        if self.host_subject is not None:
            parse_subject(self.host_subject)
        object.__setattr__(self, "secure_channels", secure_set(_names("secure_channels", self.secure_channels)))
        object.__setattr__(self, "disable_channels", disabled_set(_names("disable_channels", self.disable_channels)))

    def _check_optional_text(self, name: str, *, secret: bool = False) -> None:
        value = getattr(self, name)
        check_text(name, value, secret=secret)
        if value == "":
            object.__setattr__(self, name, None)

    def _check_place(self) -> None:
        if self.unix_path is not None:
            if self.host is not None or self.port is not None or self.tls_port is not None:
                raise EndpointError("unix_path stands instead of host and ports: give one or the other")
            if self.tls_required:
                raise EndpointError(f"TLS is never used on Unix sockets ({self.unix_path!r})")
            return
        if self.host is None:
            raise EndpointError("neither host nor unix_path is given")
        check_host("host", self.host)
        object.__setattr__(self, "host", without_brackets(self.host))
        if self.port is None and self.tls_port is None:
            raise EndpointError(f"host {self.host!r}: neither port nor tls_port is given, and there is no default")
        if self.port == self.tls_port:
            raise EndpointError(f"host {self.host!r}: port and tls_port are both {self.port}: a port is plain or TLS")
        if self.tls_required and self.tls_port is None:
            raise EndpointError(f"host {self.host!r}: TLS is required, but there is only plain port {self.port}")

    @classmethod
    def parse(cls, uri: str) -> "Endpoint":
        """Read a connection URI (spec/wire.md 14).

        Forms: `spice://[user@]host[:port][/][?query]` with the keys port, tls-port and password; `spice+tls://host:port`;
        `spice+unix://PATH`. Brackets round a host are syntax and not part of `host`.
        Raises EndpointError; its text never holds the password.
        """
        from caraway.endpoint.uri import parse_uri

        return parse_uri(uri)

    @classmethod
    def from_vv(cls, text: str) -> "Endpoint":
        """Read the text of a `.vv` file (spec/wire.md 15). Unknown keys and groups are ignored.

        A unix-path stands instead of host and ports. Raises EndpointError; its text never holds the password.
        """
        from caraway.endpoint.vv import parse_vv

        return parse_vv(text)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Endpoint":
        """Read a `.vv` file, and remove it if it says `delete-this-file=1`.

        A file that cannot be understood stays. Raises EndpointError if it cannot be read or makes no sense.
        """
        from caraway.endpoint.vv import MAX_VV_SIZE

        try:
            with open(path, "rb") as file:
                data = file.read(MAX_VV_SIZE + 1)
        except (OSError, ValueError) as error:
            raise EndpointError(f"cannot read {os.fspath(path)!r}: {_reason(error)}") from None
        if len(data) > MAX_VV_SIZE:
            raise EndpointError(f"{os.fspath(path)!r} is larger than a .vv file of {MAX_VV_SIZE} bytes")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise EndpointError(f"{os.fspath(path)!r} is not UTF-8 text") from None
        endpoint = cls.from_vv(text)
        if endpoint.viewer.delete_this_file:
            try:
                os.unlink(path)
            except OSError as error:
                log.warning("cannot remove %s, which asks for it: %s", os.fspath(path), _reason(error))
        return endpoint

    @classmethod
    def of(cls, value: "Endpoint | str | os.PathLike[str]") -> "Endpoint":
        """An endpoint from whatever names one: itself, a connection URI, or the path of a `.vv` file (see `load`)."""
        if isinstance(value, Endpoint):
            return value
        if not isinstance(value, str):
            return cls.load(value)
        if "://" in value:
            return cls.parse(value)
        if "\0" not in value and os.path.exists(value):
            return cls.load(value)
        shown = "the text" if "password" in value else repr(value)
        raise EndpointError(f"{shown} is neither a connection URI (spice://host:port) nor an existing .vv file")

    @property
    def uri(self) -> str:
        """The connection URI, without the password; CA, subject, proxy and viewer settings have no place in it."""
        from caraway.endpoint.uri import format_uri

        return format_uri(self)

    def __str__(self) -> str:
        return self.uri

    @property
    def verify(self) -> Verify:
        """The one check that the server's certificate must pass (spec/wire.md 4.2)."""
        if self.insecure:
            return Verify.NONE
        if self.public_key is not None:
            return Verify.PUBKEY
        return Verify.SUBJECT if self.host_subject is not None else Verify.HOSTNAME

    @property
    def tls_only(self) -> bool:
        """Whether every link uses TLS: it is required, or there is no other port."""
        return self.tls_required or (self.unix_path is None and self.port is None)

    def route(self, channel: str) -> Route:
        """Where a channel, by its name, is linked first (spec/wire.md 4.1).

        Raises TlsError if it must use TLS and there is no TLS port.
        """
        check_channel(channel)
        if self.unix_path is not None:
            return Route(None, tls=False)
        if self.tls_only or channel in self.secure_channels:
            return self.secured(channel)
        return Route(self.port, tls=False)

    def secured(self, channel: str) -> Route:
        """Where a channel is linked after the server answered NEED_SECURED.

        Raises TlsError if there is no TLS port, as on a Unix socket.
        """
        check_channel(channel)
        if self.tls_port is None:
            raise TlsError(f"{self}: channel {channel!r} must use TLS, but no TLS port is known")
        return Route(self.tls_port, tls=True)

    def require_tls(self) -> "Endpoint":
        """The same endpoint that never leaves TLS: for the other channels, once main was linked over TLS.

        Raises EndpointError without a TLS port.
        """
        return replace(self, tls_required=True)

    def moved_to(
        self, host: str, port: int | None = None, tls_port: int | None = None, cert_subject: str | None = None
    ) -> "Endpoint":
        """The endpoint of a migration target, from the fields of the server's announcement.

        host: as announced, opaque until dialled. port, tls_port: None, 0 and 65535 mean none (spec/migration.md 12.2).
        cert_subject: replaces host_subject; without one the target is checked by its host name.
        Everything else stays: credentials, CA, a pinned public key, proxy, channel lists, and being TLS only.
        Raises TlsError if TLS must stay and the target has no TLS port, EndpointError on any other senseless field.
        """
        port, tls_port = _announced(port), _announced(tls_port)
        if self.tls_only and tls_port is None:
            raise TlsError(f"{self}: the session uses TLS, but the migration target {host!r} has no TLS port")
        return replace(
            self,
            host=host,
            port=port,
            tls_port=tls_port,
            unix_path=None,
            host_subject=None if self.insecure else cert_subject,
            tls_required=self.tls_only,
        )


def _announced(port: int | None) -> int | None:
    return None if port in (0, MAX_PORT) else port


def _names(field_name: str, names: Iterable[str]) -> Iterable[str]:
    if isinstance(names, str):
        raise EndpointError(f"{field_name} is the text {names!r}, not a set of channel names")
    return names


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
