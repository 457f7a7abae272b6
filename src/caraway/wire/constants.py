"""Numbers that several parts of the protocol share (spec/wire.md 1, 2)."""

import enum


class ChannelType(enum.IntEnum):
    """What a channel carries. With the channel's id it names one channel of a session."""

    MAIN = 1
    DISPLAY = 2
    INPUTS = 3
    CURSOR = 4
    PLAYBACK = 5
    RECORD = 6
    SMARTCARD = 8
    USBREDIR = 9
    PORT = 10
    WEBDAV = 11


class Sender(enum.Flag):
    """Which side sends a message."""

    CLIENT = 1
    SERVER = 2
    BOTH = 3


class LinkErrorCode(enum.IntEnum):
    """The error field of a link reply, and the link result."""

    OK = 0
    ERROR = 1
    INVALID_MAGIC = 2
    INVALID_DATA = 3
    VERSION_MISMATCH = 4
    NEED_SECURED = 5
    """Retry this channel over TLS."""
    NEED_UNSECURED = 6
    PERMISSION_DENIED = 7
    """Wrong, empty or expired ticket."""
    BAD_CONNECTION_ID = 8
    """The session that the channel names is gone."""
    CHANNEL_NOT_AVAILABLE = 9
