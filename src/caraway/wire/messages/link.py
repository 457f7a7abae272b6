"""Structures of the link stage and of authentication, before data messages begin (spec/wire.md 2, 3)."""

from typing import Annotated

from caraway.wire.capabilities import Capabilities, CommonCapability
from caraway.wire.constants import ChannelType, LinkErrorCode
from caraway.wire.fields import U8, U32, Bool8, Buffer, Counted, LayoutError, Length, Rest, Struct, codec, struct
from caraway.wire.limits import MAX_CAPABILITY_WORDS

MAGIC = b"REDQ"
MAJOR, MINOR = 2, 2
PUBLIC_KEY_SIZE = 162
TICKET_SIZE = 128


@struct
class LinkHeader(Struct):
    """Begins a link message and a link reply."""

    magic: Annotated[bytes, Length(4)]
    major: U32
    minor: U32
    size: U32
    """Bytes that follow this header."""


@struct
class LinkMessage(Struct):
    """What the client wants to link. Its capability words follow."""

    connection_id: U32
    """0 for a new session; else the session that the channel belongs to."""
    channel_type: Annotated[ChannelType, U8]
    channel_id: U8
    num_common_caps: U32
    """Words."""
    num_channel_caps: U32
    caps_offset: U32
    """From the start of this structure."""


@struct
class LinkReply(Struct):
    """The server's answer. Its capability words follow."""

    error: Annotated[LinkErrorCode, U32]
    pub_key: Annotated[bytes, Length(PUBLIC_KEY_SIZE)]
    """The ticket's key; zero if no ticket is possible."""
    num_common_caps: U32
    """Words."""
    num_channel_caps: U32
    caps_offset: U32
    """From the start of this structure."""


@struct
class CapabilityWords(Struct):
    """Common words, then channel words."""

    words: Annotated[list[U32], Rest]


@struct
class AuthMechanism(Struct):
    """How the client wants to authenticate."""

    mechanism: Annotated[CommonCapability, U32]


@struct
class LinkResult(Struct):
    """The end of authentication; with SASL, of the exchange first and then of the link."""

    error: Annotated[LinkErrorCode, U32]


@struct
class SaslCount(Struct):
    """Bytes of what follows."""

    count: U32


@struct
class SaslData(Struct):
    """A list of mechanisms, a mechanism's name, a response, or a challenge. The latter two end in a NUL."""

    data: Annotated[bytes, Counted(U32)]


@struct
class SaslComplete(Struct):
    """Follows each challenge."""

    complete: Bool8


def pack_link(head: LinkMessage | LinkReply, common: Capabilities, channel: Capabilities) -> bytes:
    """A whole link message or reply: header, `head` with its counts and offset filled in, capability words."""
    head.num_common_caps, head.num_channel_caps = len(common.words), len(channel.words)
    head.caps_offset = codec(type(head)).minimum
    body = head.pack() + CapabilityWords(common.words + channel.words).pack()
    return LinkHeader(MAGIC, MAJOR, MINOR, len(body)).pack() + body


def pack_error_reply(error: LinkErrorCode) -> bytes:
    """The reply of a server that refuses, 194 bytes."""
    body = LinkReply(error, bytes(PUBLIC_KEY_SIZE), 0, 0, 0).pack()
    return LinkHeader(MAGIC, MAJOR, MINOR, len(body)).pack() + body


def unpack_capabilities(head: LinkMessage | LinkReply, body: Buffer) -> tuple[Capabilities, Capabilities]:
    """Common and channel capabilities of a link message or reply.

    body: all of it, from the start of `head`; a gap before the words and bytes behind them are tolerated.
    Raises LayoutError.
    """
    common, channel, offset = head.num_common_caps, head.num_channel_caps, head.caps_offset
    least = codec(type(head)).minimum
    for count in (common, channel):
        if count > MAX_CAPABILITY_WORDS:
            raise LayoutError(least, f"{count} capability words, limit {MAX_CAPABILITY_WORDS}")
    if not common + channel:
        return Capabilities(), Capabilities()
    end = offset + 4 * (common + channel)
    if offset < least or end > len(body):
        raise LayoutError(least, f"capability words at {offset} to {end} of {len(body)} bytes")
    words = CapabilityWords.unpack(body[offset:end]).words
    return Capabilities.from_words(words[:common]), Capabilities.from_words(words[common:])
