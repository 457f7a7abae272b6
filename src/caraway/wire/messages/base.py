"""What a message is, and the tables that find its class (spec/wire.md 5, 6)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import ClassVar, TypeVar, dataclass_transform

from caraway.errors import ProtocolError
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import Buffer, LayoutError, Struct, struct


class Message(Struct):
    """A structure with a number: the body of a data message."""

    __slots__ = ()
    id: ClassVar[int] = 0
    channels: ClassVar[frozenset[ChannelType]] = frozenset()
    sent_by: ClassVar[Sender]
    _wire_name: ClassVar[str]

    @classmethod
    def wire_name(cls) -> str:
        """The protocol's name, such as `DRAW_COPY`."""
        return cls._wire_name


def wire_name(class_name: str) -> str:
    """The protocol's name for `DrawCopy`: `DRAW_COPY`."""
    return "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(class_name)).upper()


M = TypeVar("M", bound=type[Message])
ANY_CHANNEL = frozenset(ChannelType)

_tables: dict[tuple[ChannelType, Sender], dict[int, type[Message]]] = {
    (channel, sender): {} for channel in ChannelType for sender in (Sender.CLIENT, Sender.SERVER)
}

_MODULES = {
    ChannelType.MAIN: ("common", "main", "hand_over"),
    ChannelType.DISPLAY: ("common", "display", "draw"),
    ChannelType.INPUTS: ("common", "inputs"),
    ChannelType.CURSOR: ("common", "cursor"),
    ChannelType.PLAYBACK: ("common", "playback"),
    ChannelType.RECORD: ("common", "record"),
    ChannelType.SMARTCARD: ("common", "smartcard"),
    ChannelType.USBREDIR: ("common", "spicevmc"),
    ChannelType.PORT: ("common", "spicevmc"),
    ChannelType.WEBDAV: ("common", "spicevmc"),
}


@dataclass_transform(eq_default=False)
def message(
    channels: ChannelType | Iterable[ChannelType], number: int, *, sent_by: Sender, name: str = ""
) -> Callable[[M], M]:
    """Make a class the message of that number on these channels.

    name: the protocol's name; that of the class if omitted.
    """
    on = frozenset([channels] if isinstance(channels, ChannelType) else channels)

    def decorate(cls: M) -> M:
        made = struct(cls)
        if taken := {"id", "channels", "sent_by"} & {*made.fields}:
            raise TypeError(f"{cls.__name__}: {taken} describe the message, a field needs another name")
        made.id, made.channels, made.sent_by = number, on, sent_by
        made._wire_name = name or wire_name(cls.__name__)
        for channel in on:
            for sender in (Sender.CLIENT, Sender.SERVER):
                if sender in sent_by:
                    _tables[channel, sender][number] = made
        return made

    return decorate


def messages(channel: ChannelType, sender: Sender) -> dict[int, type[Message]]:
    """All messages that `sender` may send on a channel, by number. Imports the channel's modules on first use."""
    for module in _MODULES[channel]:
        importlib.import_module(f"caraway.wire.messages.{module}")
    return _tables[channel, sender]


def unpack(cls: type[M2], body: Buffer, channel: str) -> M2:
    """Read a message's body.

    channel: how errors name the channel, such as `display 0`.
    Raises ProtocolError naming channel, message and offset.
    """
    try:
        return cls.unpack(body)
    except LayoutError as error:
        raise ProtocolError(f"{channel}: {cls.wire_name()} at byte {error.offset}: {error.text}") from None


M2 = TypeVar("M2", bound=Message)
