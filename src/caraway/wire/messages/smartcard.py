"""Smartcard channel: readers and cards of the client, in the guest (spec/messages.md 7)."""

import enum
from typing import Annotated

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import U32, Counted, Nul, Rest, Struct, struct
from caraway.wire.messages.base import Message, message

UNDEFINED_READER = 0xFFFFFFFF
"""Reader id of a reader that has none yet."""


class SmartcardType(enum.IntEnum):
    """What a DATA is about."""

    INIT = 1
    ERROR = 2
    """An ErrorCode: how the last request went."""
    READER_ADD = 3
    """A ReaderName; the answer's reader id is the new reader's."""
    READER_REMOVE = 4
    ATR = 5
    """The card's answer to reset: a card is in."""
    CARD_REMOVE = 6
    APDU = 7
    FLUSH = 8
    FLUSH_COMPLETE = 9


class SmartcardError(enum.IntEnum):
    """How a request went."""

    SUCCESS = 0
    GENERAL_ERROR = 1
    CANNOT_ADD_MORE_READERS = 2


@struct
class ErrorCode(Struct):
    """Payload of ERROR."""

    code: Annotated[SmartcardError, U32]


@struct
class ReaderName(Struct):
    """Payload of READER_ADD."""

    name: Annotated[str, Rest, Nul]


@message(ChannelType.SMARTCARD, 101, sent_by=Sender.BOTH)
class Data(Message):
    """A request or an answer of the card protocol."""

    type: Annotated[SmartcardType, U32]
    reader_id: U32
    data: Annotated[bytes, Counted(U32)]
