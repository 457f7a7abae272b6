"""Who may connect: a password that may expire, users, and how fast one may guess (spec/wire.md 3)."""

from __future__ import annotations

import enum
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from caraway.wire.link import TicketReceived
from caraway.wire.ticket import encode_password

if TYPE_CHECKING:
    from caraway.wire.sasl import Lookup, ScramCredential

FREE_FAILURES = 5
"""Wrong passwords or session ids from an address before it has to wait: a person's typing errors, times a viewer's
channels."""

FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0
"""Seconds between two checks for an address that keeps failing: it doubles, and stays below the link's deadline."""

FORGOTTEN_AFTER = 60.0
"""Seconds without a failure after which an address is as good as any other."""

MAX_ADDRESSES = 4096
"""Addresses remembered; the one that failed longest ago is forgotten first."""


class Verdict(enum.Enum):
    """What a password opens."""

    DENIED = enum.auto()
    VIEW_ONLY = enum.auto()
    FULL = enum.auto()


class Access:
    """Passwords and users.

    password: None asks for none; an empty one denies everybody, as the deployed servers do.
    view_only_password: whoever gives this one may look and not touch.
    users: names and passwords (or stored credentials), for SASL over TLS.
    Raises AuthError for a password that no ticket carries.
    """

    def __init__(
        self,
        password: str | None = None,
        view_only_password: str | None = None,
        users: Mapping[str, str | ScramCredential] | None = None,
    ) -> None:
        for each in (password, view_only_password):
            if each is not None:
                encode_password(each)
        self._password, self._view_only_password = password, view_only_password
        self._expires: float | None = None
        self._credentials: dict[str, ScramCredential] = {}
        if users:
            from caraway.wire.sasl import ScramCredential

            self._credentials = {
                name: ScramCredential.derive(given) if isinstance(given, str) else given
                for name, given in users.items()
            }

    @property
    def needs_password(self) -> bool:
        """Whether a ticket has to carry the right password."""
        return self._password is not None or self._view_only_password is not None

    @property
    def needs_user(self) -> bool:
        """Whether there is no other way in than as a user."""
        return bool(self._credentials) and not self.needs_password

    @property
    def lookup(self) -> Lookup | None:
        """The users; None if there are none."""
        return self._credentials.get if self._credentials else None

    def set_password(self, password: str) -> None:
        """Another password from now on. Raises AuthError for one that no ticket carries."""
        encode_password(password)
        self._password = password

    def expire(self, when: float | None) -> None:
        """Deny every password from `when` on, seconds since 1970; None: never."""
        self._expires = when

    def check(self, ticket: TicketReceived) -> Verdict:
        """What the password of a ticket opens. Takes as long for a nearly right one as for any other."""
        if not self.needs_password:
            return Verdict.FULL
        full = ticket.matches(self._password or "") and bool(self._password)
        view_only = ticket.matches(self._view_only_password or "") and bool(self._view_only_password)
        if self._expires is not None and time.time() >= self._expires:
            return Verdict.DENIED
        if full:
            return Verdict.FULL
        return Verdict.VIEW_ONLY if view_only else Verdict.DENIED


class Throttle:
    """How long an address that keeps failing has to wait before its next password is looked at."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def delay(self, address: str, now: float) -> float:
        """Seconds to wait."""
        count, last = self._failures.get(address, (0, 0.0))
        if count < FREE_FAILURES or now - last > FORGOTTEN_AFTER:
            return 0.0
        return min(FIRST_DELAY * 2.0 ** (count - FREE_FAILURES), LONGEST_DELAY)

    def failed(self, address: str, now: float) -> None:
        """Note a wrong password, or a session id that there is not."""
        count, last = self._failures.pop(address, (0, now))
        self._failures[address] = (count + 1 if now - last <= FORGOTTEN_AFTER else 1), now
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
