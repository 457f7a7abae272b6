"""Compiles what a hand-over reads and writes before anybody waits for it: a layout's first use costs milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

from caraway.wire.constants import Sender
from caraway.wire.fields import Codec, codec
from caraway.wire.messages import common, cursor, display, draw, images, inputs, main, migrate_data

_MESSAGES = (
    *(common.Migrate, common.MigrateData, common.MigrateFlushMark, common.ClientMigrateData),
    *(common.SetAck, common.AckSync, common.Ping, common.Pong),
    *(main.AgentConnectedTokens, main.MouseMode, main.MultiMediaTime),
    *(display.InvalAllPixmaps, display.InvalAllPalettes, display.StreamDestroyAll, display.MonitorsConfig),
    *(display.SurfaceDestroy, display.SurfaceCreate, display.Mark, draw.DrawCopy, draw.DrawFill),
    *(cursor.InvalAll, cursor.Set, inputs.KeyModifiers),
    *(inputs.KeyDown, inputs.KeyUp, inputs.MousePosition, inputs.MouseMotion),
    *(inputs.MousePress, inputs.MouseRelease, inputs.MouseMotionAck),
)

_IMAGES = (images.LzImage, images.GlzImage, images.QuicImage, images.BitmapImage)

_BLOBS = (
    *(migrate_data.MainMigrateData, migrate_data.DisplayMigrateData, migrate_data.LossyDisplayMigrateData),
    migrate_data.InputsMigrateData,
)
"""What MIGRATE_DATA holds; a client does not look into it."""


def rehearse(side: Sender) -> Iterator[None]:
    """Compile what that side packs and unpacks, a piece at each step: others may have their turn in between."""
    for layout, is_packed in _layouts(side):
        yield
        _ = layout.pack if is_packed else layout.unpack


def _layouts(side: Sender) -> Iterator[tuple[Codec, bool]]:
    for message in _MESSAGES:
        yield codec(message), side in message.sent_by
    for image in _IMAGES:
        yield codec(image), side is Sender.SERVER
    if side is Sender.SERVER:
        for blob in _BLOBS:
            yield codec(blob), True
            yield codec(blob), False
