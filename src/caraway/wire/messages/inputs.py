"""Inputs channel: keys and the mouse (spec/messages.md 4)."""

import enum
from typing import Annotated

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import I32, U8, U16, U32, Rest
from caraway.wire.messages.base import Message, message

INPUTS, CLIENT, SERVER = ChannelType.INPUTS, Sender.CLIENT, Sender.SERVER


class KeyboardModifiers(enum.IntFlag):
    """Lock keys, as the keyboard's lamps show them."""

    SCROLL_LOCK = 1
    NUM_LOCK = 2
    CAPS_LOCK = 4


class MouseButton(enum.IntEnum):
    """One button; the wheel's steps are buttons too."""

    LEFT = 1
    MIDDLE = 2
    RIGHT = 3
    UP = 4
    DOWN = 5
    SIDE = 6
    EXTRA = 7


class MouseButtons(enum.IntFlag):
    """Buttons that are held."""

    LEFT = 1
    MIDDLE = 2
    RIGHT = 4
    UP = 8
    DOWN = 16
    SIDE = 32
    EXTRA = 64


@message(INPUTS, 101, sent_by=SERVER)
class Init(Message):
    """First message of the channel."""

    modifiers: Annotated[KeyboardModifiers, U16]


@message(INPUTS, 102, sent_by=SERVER)
class KeyModifiers(Message):
    """The guest's lamps have changed."""

    modifiers: Annotated[KeyboardModifiers, U16]


@message(INPUTS, 111, sent_by=SERVER)
class MouseMotionAck(Message):
    """Four more motions or positions have been received."""


@message(INPUTS, 101, sent_by=CLIENT)
class KeyDown(Message):
    """A key goes down: up to four bytes of PC/XT set 1 scancode, the first one lowest."""

    code: U32


@message(INPUTS, 102, sent_by=CLIENT)
class KeyUp(Message):
    """A key goes up: its scancode with bit 7 of the last byte set."""

    code: U32


@message(INPUTS, 103, sent_by=CLIENT, name="KEY_MODIFIERS")
class ClientKeyModifiers(Message):
    """The lamps that the client wants; the server presses the lock keys that differ."""

    modifiers: Annotated[KeyboardModifiers, U16]


@message(INPUTS, 104, sent_by=CLIENT)
class KeyScancode(Message):
    """A sequence of scancode bytes, not to be split; needs the server's KEY_SCANCODE."""

    scancodes: Annotated[bytes, Rest]


@message(INPUTS, 111, sent_by=CLIENT)
class MouseMotion(Message):
    """Relative motion, for mouse mode SERVER."""

    dx: I32
    dy: I32
    buttons_state: Annotated[MouseButtons, U16]


@message(INPUTS, 112, sent_by=CLIENT)
class MousePosition(Message):
    """A place on a display's primary surface, for mouse mode CLIENT."""

    x: U32
    y: U32
    buttons_state: Annotated[MouseButtons, U16]
    display_id: U8


@message(INPUTS, 113, sent_by=CLIENT)
class MousePress(Message):
    """A button goes down; `buttons_state` has it."""

    button: Annotated[MouseButton, U8]
    buttons_state: Annotated[MouseButtons, U16]


@message(INPUTS, 114, sent_by=CLIENT)
class MouseRelease(Message):
    """A button goes up; `buttons_state` lacks it."""

    button: Annotated[MouseButton, U8]
    buttons_state: Annotated[MouseButtons, U16]
