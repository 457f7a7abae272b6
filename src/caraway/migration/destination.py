"""Where a VM goes, as its viewers find it (spec/migration.md 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from caraway.errors import EndpointError
from caraway.wire.messages.main import DstInfo

Told = TypeVar("Told", bound=DstInfo)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where viewers find the target's SPICE server. `host` is for them to resolve, never for us."""

    host: str
    port: int | None = None
    """Plain TCP port."""
    tls_port: int | None = None
    cert_subject: str | None = None
    """Subject that the target's certificate must have, such as `C=DE,O=Example,CN=host-b`."""

    def __post_init__(self) -> None:
        if not self.host:
            raise EndpointError("the target's SPICE server needs a host name")
        if self.port is None and self.tls_port is None:
            raise EndpointError("the target's SPICE server needs a port, a TLS port or both")
        for port in self.port, self.tls_port:
            if port is not None and not 0 < port < 65535:
                raise EndpointError(f"{port} is no port of a SPICE server")  # 65535 means "none" to viewers

    def __str__(self) -> str:
        ports = [f"port {self.port}"] if self.port else []
        ports += [f"TLS port {self.tls_port}"] if self.tls_port else []
        return f"{self.host} {' and '.join(ports)}"

    def message(self, kind: type[Told], *more: int | bytes) -> Told:
        """The message that tells a viewer. more: what it has beside the address."""
        return kind(self.port or 0, self.tls_port or 0, self.host, self.cert_subject, *more)
