"""Caraway's own messages about migration: state goes from server to server (docs/protocol-extensions.md)."""

from __future__ import annotations

from typing import Annotated

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import U32, Length
from caraway.wire.messages.base import Message, message
from caraway.wire.messages.main import MigrateBeginSeamless, MigrateDstSeamlessAck

MAIN = ChannelType.MAIN
CLIENT, SERVER = Sender.CLIENT, Sender.SERVER

TOKEN_SIZE = 16


@message(MAIN, 60001, sent_by=SERVER)
class MigrateBeginHandOver(MigrateBeginSeamless):
    """MIGRATE_BEGIN_SEAMLESS of a source that gives state to the target itself."""

    announcement: U32
    token: Annotated[bytes, Length(TOKEN_SIZE)]
    """The target expects it."""


@message(MAIN, 60002, sent_by=SERVER)
class MigrateDstHandOverAck(MigrateDstSeamlessAck):
    """The target expects this viewer, and takes state from the source."""


@message(MAIN, 60001, sent_by=CLIENT)
class MigrateDstDoHandOver(Message):
    """To the target: the source will give you the channels' state; this is who I am."""

    src_version: U32
    announcement: U32
    token: Annotated[bytes, Length(TOKEN_SIZE)]


@message(MAIN, 60002, sent_by=CLIENT)
class MigrateConnectedHandOver(Message):
    """The target's links stand, and it expects the channels' state from the source."""

    announcement: U32
