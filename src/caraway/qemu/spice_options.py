"""The options of QEMU's `-spice`: where its SPICE server listens, and the URI that a viewer connects to."""

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

AUTO = "auto"
"""Value of `port` and `tls-port` for a free TCP port of the system's choice."""

SpiceValue = str | int | bool


class SpiceOptions:
    """Options of one `-spice` argument, complete with address and port numbers."""

    def __init__(self, options: Mapping[str, SpiceValue], *, has_chosen_ports: bool = False) -> None:
        self.options = dict(options)
        self.has_chosen_ports = has_chosen_ports
        """A port was chosen here, so that another choice may help when it is taken."""

    @classmethod
    def complete(cls, options: Mapping[str, SpiceValue], socket_path: Path) -> Self:
        """Fill in what `options` leaves open: a free port, 127.0.0.1, or `socket_path` for `unix`."""
        complete = dict(options)
        if complete.get("unix"):
            complete.setdefault("addr", str(socket_path))
            return cls(complete)
        if "port" not in complete and "tls-port" not in complete:
            complete["port"] = AUTO
        complete.setdefault("addr", "127.0.0.1")
        wanting = [name for name in ("port", "tls-port") if complete.get(name) == AUTO]
        complete.update(zip(wanting, free_ports(len(wanting), str(complete["addr"])), strict=True))
        return cls(complete, has_chosen_ports=bool(wanting))

    @property
    def argument(self) -> str:
        """Value of `-spice`; QEMU wants commas in values doubled."""
        return ",".join(f"{name}={_text(value)}" for name, value in self.options.items())

    @property
    def port(self) -> int | None:
        """Plain TCP port."""
        return self._port("port")

    @property
    def tls_port(self) -> int | None:
        """TLS port."""
        return self._port("tls-port")

    def _port(self, name: str) -> int | None:
        return int(self.options[name]) if name in self.options else None

    def uri(self, host: str | None = None) -> str:
        """URI of the server (spec/wire.md 14); `host` stands in for the address it listens on."""
        if self.options.get("unix"):
            return f"spice+unix://{self.options['addr']}"
        host = host or str(self.options["addr"])
        authority = f"[{host}]" if ":" in host else host
        if self.tls_port is None:
            return f"spice://{authority}:{self.port}"
        plain = "" if self.port is None else f"port={self.port}&"
        return f"spice://{authority}?{plain}tls-port={self.tls_port}"


def _text(value: SpiceValue) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value).replace(",", ",,")


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Return different TCP ports that were free on `address` a moment ago; a taker must be ready to lose one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket(family, socket.SOCK_STREAM)) for _ in range(count)]
        for one in sockets:
            one.bind((address, 0))
        return [int(one.getsockname()[1]) for one in sockets]
