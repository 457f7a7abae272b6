"""The server's media clock as a client keeps it: mm-time, milliseconds modulo 2**32 (spec/streams.md 5)."""

from __future__ import annotations

_TURN = 1 << 32
_HALF = 1 << 31


def difference(one: int, other: int) -> int:
    """By how many milliseconds `one` is later than `other`: the signed 32-bit difference of two mm-times."""
    return (one - other + _HALF) % _TURN - _HALF


class MediaClock:
    """Tells mm-time from seconds of a monotonic clock, which the caller reads.

    Set by INIT and MULTI_MEDIA_TIME; while audio plays, by what is heard.
    """

    def __init__(self) -> None:
        self.audio_delay: int | None = None
        """Milliseconds until a sample that arrives now is heard; None while no audio plays."""
        self._offset: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether the server has told its time."""
        return self._offset is not None

    def set(self, time: int, now: float) -> None:
        """It is `time` now."""
        self._offset = time - int(now * 1000)

    def now(self, now: float) -> int:
        """The mm-time at `now`; 0 while it is not known."""
        return 0 if self._offset is None else (int(now * 1000) + self._offset) % _TURN

    def margin(self, time: int, now: float) -> int:
        """Milliseconds from `now` to `time`, negative if it has passed; 0 while mm-time is not known."""
        return 0 if self._offset is None else difference(time, self.now(now))
