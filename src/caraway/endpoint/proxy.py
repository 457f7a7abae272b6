"""The HTTP CONNECT proxy before a server; it serves both ports and every migration target (spec/wire.md 4.1)."""

from dataclasses import dataclass, field

from caraway.endpoint.checks import (
    check_host,
    check_port,
    check_text,
    join_host_port,
    parse_port,
    percent_decode,
    percent_encode,
    split_host_port,
    without_brackets,
)
from caraway.errors import EndpointError

DEFAULT_PROXY_PORT = 3128
"""What a proxy listens on when its text names no port, as in the deployed clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Where the proxy is and as whom to ask it. `str()` gives its URL without the password."""

    scheme: str = "http"
    """`http`, or `https` for TLS to the proxy itself."""
    host: str
    """Name or address, an IPv6 literal without brackets."""
    port: int = DEFAULT_PROXY_PORT
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.scheme not in ("http", "https"):
            raise EndpointError(f"proxy scheme {self.scheme!r} is neither 'http' nor 'https'")
        check_host("proxy host", self.host)
        check_port("proxy port", self.port)
        check_text("proxy username", self.username)
        check_text("proxy password", self.password, secret=True)
        object.__setattr__(self, "host", without_brackets(self.host))

    @classmethod
    def parse(cls, text: str) -> "Proxy":
        """Read `[http[s]://][user[:password]@]host[:port][/]`; the scheme defaults to http, the port to 3128.

        User and password are percent-decoded. Raises EndpointError, which does not show them.
        """
        check_text("proxy", text, secret=True)
        scheme, explicit, rest = text.partition("://")
        if not explicit:
            scheme, rest = "http", text
        authority = rest.partition("/")[0]
        userinfo, _, host_port = authority.rpartition("@")
        username, _, password = userinfo.partition(":")
        host, port = split_host_port(host_port)
        return cls(
            scheme=scheme,
            host=host,
            port=parse_port("proxy port", port) if port else DEFAULT_PROXY_PORT,
            username=percent_decode("proxy username", username) or None,
            password=percent_decode("proxy password", password) or None,
        )

    def __str__(self) -> str:
        user = f"{percent_encode(self.username)}@" if self.username else ""
        return f"{self.scheme}://{user}{join_host_port(self.host, self.port)}"
