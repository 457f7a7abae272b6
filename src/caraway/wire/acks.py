"""The acknowledgement window, seen from both ends (spec/wire.md 7)."""

from __future__ import annotations


class ReceiveWindow:
    """The client's end: says when an ACK is due.

    SET_ACK itself is not counted, a LIST counts as one, messages inside a LIST do not count.
    """

    def __init__(self) -> None:
        self.window = 0
        self._received = 0

    def set(self, window: int) -> None:
        """A SET_ACK came: count anew. Window 0 switches ACKs off."""
        self.window = window
        self._received = 0

    @property
    def until_due(self) -> int | None:
        """How many more messages make an ACK due; None if none is ever due."""
        return self.window - self._received if self.window else None

    def received(self, count: int = 1) -> bool:
        """So many more messages came, at most `until_due`. True if an ACK is due now."""
        if not self.window:
            return False
        self._received += count
        if self._received < self.window:
            return False
        self._received = 0
        return True


class SendWindow:
    """The server's end: says whether another message may be sent.

    window: messages per ACK; twice as many may be unacknowledged.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.generation = 0
        self._client_generation = -1
        self._outstanding = 0

    def begin(self) -> int:
        """A SET_ACK is about to be sent; gives its generation. ACKs of earlier generations no longer count."""
        self.generation += 1
        self._outstanding = 0
        return self.generation

    def sent(self) -> None:
        """One more message, not counting the SET_ACK, was sent."""
        self._outstanding += 1

    def synced(self, generation: int) -> None:
        """ACK_SYNC came."""
        self._client_generation = generation

    def acknowledged(self) -> None:
        """ACK came."""
        if self._client_generation == self.generation:
            self._outstanding = max(0, self._outstanding - self.window)

    @property
    def open(self) -> bool:
        """Whether another message may be sent."""
        return not self.window or self._outstanding <= 2 * self.window
