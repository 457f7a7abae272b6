"""Main channel: the session, its channels, mouse modes, the agent's stream and migration (spec/messages.md 1)."""

import enum
from typing import Annotated

from caraway.wire.constants import ChannelType, LinkErrorCode, Sender
from caraway.wire.fields import U8, U16, U32, U64, Bool32, Counted, Length, Nul, Pointer, Rest, Struct, struct
from caraway.wire.messages.base import Message, message

MAIN, CLIENT, SERVER = ChannelType.MAIN, Sender.CLIENT, Sender.SERVER

NO_PORTS = frozenset({0, 65535})
"""Port numbers of a migration's destination that mean "none"."""


class MouseModes(enum.IntFlag):
    """Who moves the guest's pointer. As a current mode exactly one of them."""

    SERVER = 1
    """The client sends relative motion; the guest draws the pointer where it thinks."""
    CLIENT = 2
    """The client sends positions."""


@struct
class DstInfo(Message):
    """Where a migration goes, as the viewer should dial it."""

    port: U16
    """Plain port; 0 or 65535 for none."""
    sport: U16
    """TLS port; 0 or 65535 for none."""
    host: Annotated[str, Counted(U32), Nul, Pointer]
    """An opaque string until it is dialled."""
    cert_subject: Annotated[str | None, Counted(U32), Nul, Pointer]
    """Subject that the target's certificate must have (spec/wire.md 4.3)."""


@message(MAIN, 101, sent_by=SERVER)
class MigrateBegin(DstInfo):
    """Link to the target now; answer MIGRATE_CONNECTED or MIGRATE_CONNECT_ERROR."""


@message(MAIN, 102, sent_by=SERVER)
class MigrateCancel(Message):
    """The migration is off: close the target's links."""


@message(MAIN, 103, sent_by=SERVER)
class Init(Message):
    """First message of a new main channel; not sent after a seamless arrival."""

    session_id: U32
    """Connection id for the links of the other channels; never 0."""
    display_channels_hint: U32
    """Number of display devices."""
    supported_mouse_modes: Annotated[MouseModes, U32]
    current_mouse_mode: Annotated[MouseModes, U32]
    agent_connected: Bool32
    agent_tokens: U32
    """AGENT_DATA messages that the client may send before it gets tokens back."""
    multi_media_time: U32
    """Milliseconds of the server's media clock."""
    ram_hint: U32
    """Bytes of the display device's memory."""


@struct
class ChannelEntry(Struct):
    """A channel that the client may link."""

    type: Annotated[ChannelType, U8]
    id: U8


@message(MAIN, 104, sent_by=SERVER)
class ChannelsList(Message):
    """Answer to ATTACH_CHANNELS with every channel but main; later ones hold only what is new."""

    entries: Annotated[list[ChannelEntry], Counted(U32)]


@message(MAIN, 105, sent_by=SERVER)
class MouseMode(Message):
    """Either mode has changed."""

    supported_modes: Annotated[MouseModes, U16]
    current_mode: Annotated[MouseModes, U16]


@message(MAIN, 106, sent_by=SERVER)
class MultiMediaTime(Message):
    """Set the media clock."""

    time: U32
    """Milliseconds; wraps."""


@message(MAIN, 107, sent_by=SERVER)
class AgentConnected(Message):
    """The guest's agent is there; the client's tokens stay what they are."""


@message(MAIN, 108, sent_by=SERVER)
class AgentDisconnected(Message):
    """The guest's agent is gone, and with it all that was under way."""

    error_code: Annotated[LinkErrorCode, U32]


@message(MAIN, 109, sent_by=SERVER)
class AgentData(Message):
    """A piece of the agent's byte stream (see `agent_stream`)."""

    data: Annotated[bytes, Rest]


@message(MAIN, 110, sent_by=SERVER)
class AgentToken(Message):
    """The client may send so many more AGENT_DATA."""

    num_tokens: U32


@message(MAIN, 111, sent_by=SERVER)
class MigrateSwitchHost(DstInfo):
    """The VM has moved: begin a new session there."""


@message(MAIN, 112, sent_by=SERVER)
class MigrateEnd(Message):
    """Semi-seamless: the VM has moved, go on with the target's links."""


@message(MAIN, 113, sent_by=SERVER)
class Name(Message):
    """The VM's name."""

    name: Annotated[str, Counted(U32), Nul]


@message(MAIN, 114, sent_by=SERVER)
class Uuid(Message):
    """The VM's UUID."""

    uuid: Annotated[bytes, Length(16)]


@message(MAIN, 115, sent_by=SERVER)
class AgentConnectedTokens(Message):
    """The guest's agent is there, and the client's tokens are so many."""

    num_tokens: U32


@message(MAIN, 116, sent_by=SERVER)
class MigrateBeginSeamless(DstInfo):
    """MIGRATE_BEGIN to a target that may take over the channels' state."""

    src_mig_version: U32
    """1; the client passes it on in MIGRATE_DST_DO_SEAMLESS."""


@message(MAIN, 117, sent_by=SERVER)
class MigrateDstSeamlessAck(Message):
    """The target can take over the channels' state."""


@message(MAIN, 118, sent_by=SERVER)
class MigrateDstSeamlessNack(Message):
    """The target cannot take over the channels' state."""


@message(MAIN, 101, sent_by=CLIENT)
class ClientInfo(Message):
    """Obsolete."""

    cache_size: U64


@message(MAIN, 102, sent_by=CLIENT)
class MigrateConnected(Message):
    """The target's links stand; semi-seamless."""


@message(MAIN, 103, sent_by=CLIENT)
class MigrateConnectError(Message):
    """The target could not be linked."""


@message(MAIN, 104, sent_by=CLIENT)
class AttachChannels(Message):
    """Ask for the CHANNELS_LIST."""


@message(MAIN, 105, sent_by=CLIENT)
class MouseModeRequest(Message):
    """Ask for a mouse mode; an impossible one is ignored."""

    mode: Annotated[MouseModes, U16]


@message(MAIN, 106, sent_by=CLIENT)
class AgentStart(Message):
    """The client will talk to the agent, and the server may send so many AGENT_DATA."""

    num_tokens: U32
    """0xffffffff: no limit."""


@message(MAIN, 107, sent_by=CLIENT, name="AGENT_DATA")
class ClientAgentData(Message):
    """A piece of the byte stream to the agent: at most 2048 bytes, of one message."""

    data: Annotated[bytes, Rest]


@message(MAIN, 108, sent_by=CLIENT, name="AGENT_TOKEN")
class ClientAgentToken(Message):
    """The server may send so many more AGENT_DATA."""

    num_tokens: U32


@message(MAIN, 109, sent_by=CLIENT, name="MIGRATE_END")
class ClientMigrateEnd(Message):
    """To the target, semi-seamless: the source has let go, begin."""


@message(MAIN, 110, sent_by=CLIENT)
class MigrateDstDoSeamless(Message):
    """To the target, before anything else is linked: can you take over the channels' state?"""

    src_version: U32
    """What MIGRATE_BEGIN_SEAMLESS said."""


@message(MAIN, 111, sent_by=CLIENT)
class MigrateConnectedSeamless(Message):
    """The target's links stand and it can take over the channels' state."""


@message(MAIN, 112, sent_by=CLIENT)
class QualityIndicator(Message):
    """Defined, not used."""

    data: Annotated[bytes, Rest]
