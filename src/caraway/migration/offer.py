"""What a client offers to a source, and which targets it accepts (spec/migration.md 3.4, 12)."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

from caraway.endpoint import Endpoint
from caraway.errors import MigrationError
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.messages.main import DstInfo


class Offer(enum.Enum):
    """How far a client goes along; the values are those of `connect(migration=...)`."""

    AUTO = "auto"
    """The best that both hosts can."""
    SEMI_SEAMLESS = "semi-seamless"
    """Link early, but start channels anew."""
    SWITCH_HOST = "switch-host"
    """A new session after the move."""
    REFUSE = "refuse"
    """Stay: a VM that moves is lost to this session."""

    @property
    def capabilities(self) -> Capabilities:
        """What a main link announces for it, beside what the client announces anyway."""
        if self is Offer.AUTO:
            early = MainCapability.SEMI_SEAMLESS_MIGRATE, MainCapability.SEAMLESS_MIGRATE
            return Capabilities([*early, MainCapability.HAND_OVER])
        if self is Offer.SEMI_SEAMLESS:
            return Capabilities([MainCapability.SEMI_SEAMLESS_MIGRATE])
        return Capabilities()

    @property
    def links_early(self) -> bool:
        """Whether the target is linked before the VM moves."""
        return self in (Offer.AUTO, Offer.SEMI_SEAMLESS)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a session lets a source do with it."""

    offer: Offer = Offer.AUTO
    targets: Collection[str] | None = None
    """Hosts that a source may name; `*.example.org`: all names below that one. None: any."""

    def __post_init__(self) -> None:
        if self.targets is not None:
            targets = [self.targets] if isinstance(self.targets, str) else self.targets
            object.__setattr__(self, "targets", frozenset(target.lower() for target in targets))

    def target(self, current: Endpoint, destination: DstInfo) -> Endpoint:
        """Where an announcement leads from the current host: same proxy, CA and credentials.

        Raises MigrationError if this client does not go there, TlsError or EndpointError if it could not.
        """
        if self.offer is Offer.REFUSE:
            raise MigrationError(f"{current}: the VM moves to {destination.host!r}, and this session is to stay")
        if not self._allows(destination.host.lower()):
            raise MigrationError(
                f"{current}: the VM moves to {destination.host!r}, which is not among the targets that were allowed"
            )
        return current.moved_to(destination.host, destination.port, destination.sport, destination.cert_subject)

    def _allows(self, host: str) -> bool:
        if self.targets is None or host in self.targets:
            return True
        return any(target.startswith("*.") and host.endswith(target[1:]) for target in self.targets)
