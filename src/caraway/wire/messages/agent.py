"""Messages between the client and the guest's agent, inside of AGENT_DATA (spec/messages.md 10).

Layouts depend on the capabilities that both ends announced: `agreed` is that set as a bit mask. How messages lie in the
AGENT_DATA of the main channel is in `caraway.wire.agent_stream`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated, ClassVar, TypeVar, dataclass_transform

from caraway.errors import ProtocolError
from caraway.wire.fields import (
    I32,
    U8,
    U16,
    U32,
    U64,
    Bool8,
    Bool32,
    Buffer,
    Counted,
    CountedBy,
    CountOf,
    If,
    IfAgreed,
    LayoutError,
    Nul,
    Rest,
    Struct,
    struct,
)
from caraway.wire.limits import MAX_AGENT_MONITORS
from caraway.wire.messages.base import wire_name

AGENT_PROTOCOL = 1


class AgentCapability(enum.IntEnum):
    """Bits of ANNOUNCE_CAPABILITIES. A feature is on if both ends announced it."""

    MOUSE_STATE = 0
    MONITORS_CONFIG = 1
    REPLY = 2
    CLIPBOARD = 3
    """Obsolete: clipboard data without a request."""
    DISPLAY_CONFIG = 4
    CLIPBOARD_BY_DEMAND = 5
    CLIPBOARD_SELECTION = 6
    SPARSE_MONITORS_CONFIG = 7
    """Monitors of size 0 are switched off."""
    GUEST_LINEEND_LF = 8
    GUEST_LINEEND_CRLF = 9
    MAX_CLIPBOARD = 10
    AUDIO_VOLUME_SYNC = 11
    MONITORS_CONFIG_POSITION = 12
    FILE_XFER_DISABLED = 13
    FILE_XFER_DETAILED_ERRORS = 14
    GRAPHICS_DEVICE_INFO = 15
    CLIPBOARD_NO_RELEASE_ON_REGRAB = 16
    CLIPBOARD_GRAB_SERIAL = 17


@struct
class AgentHeader(Struct):
    """What stands before each message."""

    protocol: U32
    """1."""
    type: U32
    opaque: U64
    """0."""
    size: U32
    """Bytes that follow."""


AGENT_HEADER_SIZE = 20


class AgentMessage(Struct):
    """A structure with a number: the data of an agent message."""

    __slots__ = ()
    number: ClassVar[int] = 0
    _wire_name: ClassVar[str]

    @classmethod
    def wire_name(cls) -> str:
        """The protocol's name, such as `CLIPBOARD_GRAB`."""
        return cls._wire_name


A = TypeVar("A", bound=type[AgentMessage])

AGENT_MESSAGES: dict[int, type[AgentMessage]] = {}


@dataclass_transform(eq_default=False)
def agent_message(number: int) -> Callable[[A], A]:
    """Make a class the agent message of that number."""

    def decorate(cls: A) -> A:
        made = struct(cls)
        made.number, made._wire_name = number, wire_name(cls.__name__)
        AGENT_MESSAGES[number] = made
        return made

    return decorate


def unpack_agent(type: int, data: Buffer, agreed: int = 0) -> AgentMessage | None:
    """Read the data of one agent message.

    agreed: capabilities that both ends announced, as a bit mask.
    Returns None for a type that is not known: to be ignored.
    Raises ProtocolError naming message and offset.
    """
    cls = AGENT_MESSAGES.get(type)
    if cls is None:
        return None
    try:
        return cls.unpack(data, agreed)
    except LayoutError as error:
        raise ProtocolError(f"agent: {cls.wire_name()} at byte {error.offset}: {error.text}") from None


class MouseStateButtons(enum.IntFlag):
    """Buttons that are held; not the bits of the inputs channel."""

    LEFT = 2
    MIDDLE = 4
    RIGHT = 8
    UP = 16
    DOWN = 32
    SIDE = 64
    EXTRA = 128


@agent_message(1)
class MouseState(AgentMessage):
    """Server to agent: the pointer is here."""

    x: U32
    y: U32
    buttons: Annotated[MouseStateButtons, U32]
    display_id: U8


class MonitorsConfigFlags(enum.IntFlag):
    """What a MONITORS_CONFIG says besides sizes."""

    USE_POS = 1
    PHYSICAL_SIZE = 2


@struct
class MonitorConfig(Struct):
    """One monitor that the client wants; all zero: switched off. Mind the order of the fields."""

    height: U32
    width: U32
    depth: U32
    x: I32
    y: I32


@struct
class PhysicalSize(Struct):
    """A monitor's size in millimetres; 0 if not known."""

    height_mm: U16
    width_mm: U16


@agent_message(2)
class MonitorsConfig(AgentMessage):
    """The monitors that the client wants."""

    num_of_monitors: ClassVar = CountOf("monitors", U32)
    flags: Annotated[MonitorsConfigFlags, U32]
    monitors: Annotated[list[MonitorConfig], CountedBy("num_of_monitors", MAX_AGENT_MONITORS)]
    sizes: Annotated[
        list[PhysicalSize] | None,
        If("flags", MonitorsConfigFlags.PHYSICAL_SIZE),
        CountedBy("num_of_monitors", MAX_AGENT_MONITORS),
    ]


class ReplyError(enum.IntEnum):
    """How a request went."""

    SUCCESS = 1
    ERROR = 2


@agent_message(3)
class Reply(AgentMessage):
    """The agent's answer to a message of that type."""

    type: U32
    error: Annotated[ReplyError, U32]


class Selection(enum.IntEnum):
    """Which of the X clipboards."""

    CLIPBOARD = 0
    PRIMARY = 1
    SECONDARY = 2


class ClipboardType(enum.IntEnum):
    """What clipboard data is."""

    NONE = 0
    UTF8_TEXT = 1
    IMAGE_PNG = 2
    IMAGE_BMP = 3
    IMAGE_TIFF = 4
    IMAGE_JPG = 5
    FILE_LIST = 6
    """WebDAV paths, separated by NUL; the first item is `copy` or `cut`."""


SelectionField = Annotated[Selection | None, U32, IfAgreed(AgentCapability.CLIPBOARD_SELECTION)]
"""On the wire u8 and three zero bytes."""


@agent_message(4)
class Clipboard(AgentMessage):
    """Clipboard data, the answer to CLIPBOARD_REQUEST; type NONE without data is a refusal."""

    selection: SelectionField
    type: Annotated[ClipboardType, U32]
    data: Annotated[Buffer, Rest]


class DisplayConfigFlags(enum.IntFlag):
    """What the guest should do without."""

    DISABLE_WALLPAPER = 1
    DISABLE_FONT_SMOOTH = 2
    DISABLE_ANIMATION = 4
    SET_COLOR_DEPTH = 8


@agent_message(5)
class DisplayConfig(AgentMessage):
    """How the guest's desktop should look."""

    flags: Annotated[DisplayConfigFlags, U32]
    depth: U32
    """Bits of a pixel, if SET_COLOR_DEPTH."""


@agent_message(6)
class AnnounceCapabilities(AgentMessage):
    """What the sender can do, bit n in word n / 32 (see AgentCapability)."""

    request: Bool32
    """Whether an ANNOUNCE_CAPABILITIES is wanted back."""
    capabilities: Annotated[list[U32], Rest]


@agent_message(7)
class ClipboardGrab(AgentMessage):
    """The sender owns the clipboard and offers its contents in these types."""

    selection: SelectionField
    serial: Annotated[int | None, U32, IfAgreed(AgentCapability.CLIPBOARD_GRAB_SERIAL)]
    """Counts grabs of both ends; a grab with another number than the receiver's has crossed one and is void."""
    types: Annotated[list[Annotated[ClipboardType, U32]], Rest]


@agent_message(8)
class ClipboardRequest(AgentMessage):
    """The sender wants to paste."""

    selection: SelectionField
    type: Annotated[ClipboardType, U32]


@agent_message(9)
class ClipboardRelease(AgentMessage):
    """The sender owns the clipboard no more."""

    selection: SelectionField


@agent_message(10)
class FileXferStart(AgentMessage):
    """The client wants to send a file; the agent answers with FILE_XFER_STATUS."""

    id: U32
    """Chosen by the client, from 1 up."""
    key_file: Annotated[str, Rest, Nul]
    """See `file_xfer_key_file` and `parse_file_xfer_key_file`."""


class FileXferResult(enum.IntEnum):
    """How a transfer stands; anything but CAN_SEND_DATA ends it."""

    CAN_SEND_DATA = 0
    CANCELLED = 1
    ERROR = 2
    SUCCESS = 3
    NOT_ENOUGH_SPACE = 4
    """This and those below: only to clients with FILE_XFER_DETAILED_ERRORS, ERROR to others."""
    SESSION_LOCKED = 5
    VDAGENT_NOT_CONNECTED = 6
    DISABLED = 7


@struct
class FileXferError(Struct):
    """Detail of ERROR."""

    error_type: U8
    """0: the code is one of GLib's I/O errors."""
    error_code: U32


@struct
class FileXferFreeSpace(Struct):
    """Detail of NOT_ENOUGH_SPACE."""

    free_bytes: U64


@agent_message(11)
class FileXferStatus(AgentMessage):
    """How a transfer stands."""

    id: U32
    result: Annotated[FileXferResult, U32]
    detail: Annotated[bytes, Rest]
    """A FileXferError or FileXferFreeSpace, packed; may be absent."""

    @property
    def details(self) -> FileXferError | FileXferFreeSpace | None:
        """The detail, if it is there whole and the result has one."""
        if self.result == FileXferResult.ERROR and len(self.detail) >= 5:
            return FileXferError.unpack(self.detail)
        if self.result == FileXferResult.NOT_ENOUGH_SPACE and len(self.detail) >= 8:
            return FileXferFreeSpace.unpack(self.detail)
        return None


@agent_message(12)
class FileXferData(AgentMessage):
    """A piece of a file; the deployed client's are of up to 65536 bytes. A file of no bytes has one empty piece."""

    id: U32
    data: Annotated[Buffer, Counted(U64)]


@agent_message(13)
class ClientDisconnected(AgentMessage):
    """Server to agent: the last client has left."""


@agent_message(14)
class MaxClipboard(AgentMessage):
    """The client takes clipboard data of so many bytes; -1: any number."""

    max: I32


@agent_message(15)
class AudioVolumeSync(AgentMessage):
    """The client's volume, for the guest to begin with."""

    is_playback: Bool8
    """Else it is that of the microphone."""
    mute: Bool8
    volumes: Annotated[list[U16], Counted(U8)]


@struct
class GraphicsDevice(Struct):
    """Which guest device is behind one monitor."""

    channel_id: U32
    monitor_id: U32
    device_display_id: U32
    device_address: Annotated[str, Counted(U32), Nul]
    """Such as `pci/0000/02.0`: domain, then the path of slots and functions."""


@agent_message(16)
class GraphicsDeviceInfo(AgentMessage):
    """Server to agent: which guest devices are behind the monitors."""

    devices: Annotated[list[GraphicsDevice], Counted(U32)]


_KEY_FILE_GROUP = "[vdagent-file-xfer]"
_BLANKS = " \t\r"
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNESCAPES = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t", "s": " "}


def file_xfer_key_file(name: str, size: int) -> str:
    """Text of a FILE_XFER_START: a key file with the file's base name and its bytes."""
    escaped = "".join(_ESCAPES.get(c, c) for c in name)
    if escaped.startswith(" "):
        escaped = "\\s" + escaped[1:]
    return f"{_KEY_FILE_GROUP}\nname={escaped}\nsize={size}\n"


def parse_file_xfer_key_file(text: str) -> tuple[str, int]:
    """Name and size of the file that a FILE_XFER_START announces.

    Raises ProtocolError, also for a name that is not a plain file name.
    """
    values: dict[str, str] = {}
    group = None
    for line in text.split("\n"):
        if line.startswith("["):
            group = line.rstrip(_BLANKS)
        elif group == _KEY_FILE_GROUP:
            key, _, value = line.partition("=")
            values[key.strip(_BLANKS)] = value.lstrip(_BLANKS)
    name, size = _unescape(values.get("name", "")), values.get("size", "")
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ProtocolError(f"agent: FILE_XFER_START of a file named {name!r}")
    if not (size.isascii() and size.isdigit() and len(size) <= 20 and int(size) < 1 << 64):
        raise ProtocolError(f"agent: FILE_XFER_START of {name!r} with size {size[:40]!r}")
    return name, int(size)


def _unescape(value: str) -> str:
    parts = iter(value)
    out = []
    for c in parts:
        if c == "\\":
            escape = next(parts, "")
            if escape not in _UNESCAPES:
                raise ProtocolError(f"agent: FILE_XFER_START with the escape {c + escape!r}")
            c = _UNESCAPES[escape]
        out.append(c)
    return "".join(out)
