"""Hosts of the demonstration: a guest that is looked at, typed at and moved, and how to ask what it has seen."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from caraway.canvas.region import Box
from caraway.cli.outcome import Keys
from caraway.migration.destination import Destination
from caraway.qemu.monitor import Monitor
from caraway.qemu.process import Qemu

TEXT = "Hello from Caraway: SPICE in Python."
CLICK = (520, 430)
COUNTS = 50
"""Changes of the guest's counter in a second."""


class Host(Protocol):
    """A place for a guest, with its SPICE server."""

    uri: str
    """Of the SPICE server."""
    transfer: str
    """Where a guest comes in, as `migrate` wants it."""
    destination: Destination
    """The SPICE server, as viewers find it."""

    @property
    def side(self) -> Qemu | Monitor:
        """What `migrate` drives."""

    async def ready(self) -> str:
        """Wait until there is something to be seen; gives what the guest is."""

    async def count(self) -> None:
        """Have the guest count COUNTS times a second, and remember that it has seen these keys."""

    async def limit(self, bandwidth: int) -> None:
        """Move no faster than so many bytes a second."""

    async def line(self) -> str:
        """The line that was typed, as the guest read it."""

    async def clicked(self) -> str:
        """What the guest says of a click."""

    async def freeze(self) -> bytes:
        """Have the picture stand still; gives it as a PNG."""


H = TypeVar("H", bound=Host)


class World(Protocol[H]):
    """Where hosts come from."""

    compares_with: str
    """What `freeze` gives a picture of."""
    counter: Box
    """Where in the picture the guest counts."""
    title: Box
    """Where it always shows the same."""

    def host(self, name: str, *, seamless: bool, incoming: bool = False) -> AbstractAsyncContextManager[H]:
        """A host. incoming: a guest is to come."""

    async def keys(self, source: H, target: H, here: H) -> Keys:
        """What the guest, which is `here` now, has seen of the keyboard since `count`. Enter was the last key."""
