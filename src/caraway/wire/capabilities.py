"""Capability sets: what each side of a link says that it supports (spec/wire.md 2.4).

Bits of a display link are named in `messages.display`, next to the messages that they allow.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

WORD_BITS = 32


class CommonCapability(enum.IntEnum):
    """Bits of the common words, the same for all channels. The two AUTH ones are mechanism numbers too."""

    AUTH_SELECTION = 0
    """A mechanism word precedes authentication."""
    AUTH_SPICE = 1
    """Tickets."""
    AUTH_SASL = 2
    MINI_HEADER = 3
    """Headers of 6 bytes, if both sides have it."""


class MainCapability(enum.IntEnum):
    """Bits of a main link's capability words."""

    SEMI_SEAMLESS_MIGRATE = 0
    NAME_AND_UUID = 1
    AGENT_CONNECTED_TOKENS = 2
    SEAMLESS_MIGRATE = 3
    HAND_OVER = 63
    """Caraway's own (docs/protocol-extensions.md)."""


class InputsCapability(enum.IntEnum):
    """Bits of an inputs link's capability words."""

    KEY_SCANCODE = 0


class PlaybackCapability(enum.IntEnum):
    """Bits of a playback link's capability words."""

    CELT_0_5_1 = 0
    """Obsolete; nobody sets it."""
    VOLUME = 1
    LATENCY = 2
    OPUS = 3


class RecordCapability(enum.IntEnum):
    """Bits of a record link's capability words."""

    CELT_0_5_1 = 0
    """Obsolete; nobody sets it."""
    VOLUME = 1
    OPUS = 2


class SpicevmcCapability(enum.IntEnum):
    """Bits of the capability words of usbredir, port and webdav links."""

    DATA_COMPRESS_LZ4 = 0


class Capabilities:
    """An immutable set of capability numbers, known or not.

    Made from numbers or enumeration members; `in`, `|`, `&`, iteration, equality and truth work as for a frozenset.
    """

    __slots__ = ("_bits",)
    _bits: int

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._bits = 0
        for number in numbers:
            self._bits |= 1 << number

    @classmethod
    def from_bits(cls, bits: int) -> Capabilities:
        """The set whose capability n is bit n."""
        made = cls()
        made._bits = bits
        return made

    @classmethod
    def from_words(cls, words: Iterable[int]) -> Capabilities:
        """The set that these u32 words of a link say."""
        return cls.from_bits(sum(word << (WORD_BITS * at) for at, word in enumerate(words)))

    @property
    def bits(self) -> int:
        """Bit n is capability n: the `agreed` of layouts that depend on capabilities."""
        return self._bits

    @property
    def words(self) -> list[int]:
        """As few u32 words as hold the set."""
        count = -(-self._bits.bit_length() // WORD_BITS)
        return [self._bits >> (WORD_BITS * at) & 0xFFFFFFFF for at in range(count)]

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and number >= 0 and bool(self._bits >> number & 1)

    def __or__(self, other: Capabilities) -> Capabilities:
        return self.from_bits(self._bits | other._bits)

    def __and__(self, other: Capabilities) -> Capabilities:
        return self.from_bits(self._bits & other._bits)

    def __iter__(self) -> Iterator[int]:
        return (number for number in range(self._bits.bit_length()) if self._bits >> number & 1)

    def __len__(self) -> int:
        return self._bits.bit_count()

    def __eq__(self, other: object) -> bool:
        return self._bits == other._bits if isinstance(other, Capabilities) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._bits)

    def __repr__(self) -> str:
        return f"Capabilities({list(self)})"
