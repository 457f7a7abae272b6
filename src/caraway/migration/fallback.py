"""Where to connect anew, and when (spec/migration.md 9.6, 11.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from caraway.endpoint import Endpoint
from caraway.errors import CarawayError, EndpointError, TlsError
from caraway.migration.handover import back_off


@dataclass(slots=True)
class Fallback:
    """Hosts to try in turn."""

    hosts: list[Endpoint] = field(repr=False)
    error: CarawayError
    """Why the session has to connect anew; then, why the last try failed."""
    _next: int = 0
    _failures: int = 0

    def next_host(self) -> Endpoint:
        """The host for the next try."""
        return self.hosts[self._next % len(self.hosts)]

    def failed(self, error: CarawayError) -> float:
        """Take note of a failure. Returns the seconds to wait: none before another host, longer after every round."""
        self.error = error
        if isinstance(error, TlsError | EndpointError):
            del self.hosts[self._next % len(self.hosts)]
            return 0.0
        self._next += 1
        if self._next % len(self.hosts):
            return 0.0
        self._failures += 1
        return back_off(self._failures)
