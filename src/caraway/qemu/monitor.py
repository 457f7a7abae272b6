"""A QMP monitor of a QEMU that runs: commands, events, and word of its end (spec/qemu-host.md 12)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from caraway.errors import DeadlineError, EndpointError, LinkError
from caraway.qemu.process import Qemu, QemuError, QmpError

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

CONNECT_DEADLINE = 10.0
"""Seconds until a monitor has to greet. QEMU serves one program at a time: a second one connects and hears nothing."""

COMMAND_DEADLINE = 75.0
"""Seconds that a command may take: stopping a VM, QEMU waits twice 30 s for a slow viewer and answers nothing."""

Event = Mapping[str, Any]


class Monitor:
    """An open monitor. name: how errors call its QEMU."""

    def __init__(self, client: QMPClient, name: str) -> None:
        self.name = name
        self._client = client

    @classmethod
    def of(cls, qemu: Qemu) -> Monitor:
        """The monitor of a QEMU of one's own."""
        return cls(qemu.client, qemu.name)

    async def execute(self, command: str, /, **arguments: Any) -> Any:
        """Execute a command and return its value; `_` in names of arguments stands for `-`.

        Raises QmpError when QEMU refuses it, QemuError when the monitor has closed, DeadlineError.
        """
        from qemu.qmp import ExecuteError, QMPError

        by_name = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            async with asyncio.timeout(COMMAND_DEADLINE):
                return await self._client.execute(command, by_name)
        except ExecuteError as error:
            raise QmpError(f"{self.name}: {command}: {error}", error.error_class) from error
        except QMPError as error:
            raise QemuError(f"{self.name}: {command}: QEMU has closed its monitor") from error
        except TimeoutError:
            raise DeadlineError(f"{self.name}: {command}: no answer within {COMMAND_DEADLINE:g} s") from None

    @contextmanager
    def listen(self, hear: Callable[[Event], None]) -> Iterator[None]:
        """Give every event to `hear` at once when it comes."""

        def note(event: Event) -> bool:
            hear(event)
            return False  # keeps it out of the listener's own queue

        with self._client.listener(event_filter=note):
            yield

    async def ended(self) -> None:
        """Wait until the monitor has closed, in most cases because QEMU has ended."""
        from qemu.qmp import Runstate

        while self._client.runstate == Runstate.RUNNING:
            await self._client.runstate_changed()


@asynccontextmanager
async def connect_monitor(address: str, name: str = "") -> AsyncIterator[Monitor]:
    """Open the monitor at `unix:PATH` or `tcp:HOST:PORT`, and close it at the end.

    Raises EndpointError for another address, LinkError.
    """
    from qemu.qmp import QMPClient, QMPError

    where = _parse(address)
    logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
    client = QMPClient(address)
    try:
        async with asyncio.timeout(CONNECT_DEADLINE):
            await client.connect(where)
    except QMPError as error:
        raise LinkError(f"QMP monitor {address} cannot be reached: {error}") from error
    except TimeoutError:
        reason = f"does not greet within {CONNECT_DEADLINE:g} s; is another program connected to it?"
        raise LinkError(f"QMP monitor {address} {reason}") from None
    try:
        yield Monitor(client, name or address)
    finally:
        # The end of QEMU would be raised once more here.
        with contextlib.suppress(Exception):
            await client.disconnect()


def _parse(address: str) -> str | tuple[str, int]:
    scheme, _, rest = address.partition(":")
    if scheme == "unix" and rest:
        return rest
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return host.removeprefix("[").removesuffix("]"), int(port)
    raise EndpointError(f"QMP monitor {address!r}: expected unix:PATH or tcp:HOST:PORT")
