"""Video as a real server's GStreamer encodes it: what is shown is what the guest has drawn, nearly."""

import math
from typing import Any

import pytest

import caraway
from caraway.client import Screenshot
from caraway.client.display import DisplayChannel
from caraway.client.player import Player
from caraway.client.streams import Frame
from caraway.wire.capabilities import Capabilities
from caraway.wire.messages.display import DisplayCapability, VideoCodec
from caraway.wire.messages.shapes import Rect
from support.peers import require_gstreamer
from support.screens import becomes_same_picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENCODERS = {
    VideoCodec.VP8: (DisplayCapability.CODEC_VP8, "vp8enc"),
    VideoCodec.VP9: (DisplayCapability.CODEC_VP9, "vp9enc"),
    VideoCodec.H264: (DisplayCapability.CODEC_H264, "x264enc"),
}
"""What the client announces, and the element that then encodes."""


GOOD = 30.0
"""Decibels of the frame that the guest draws last, at least; the third from the end has 25, as the picture moves on."""


ATTEMPTS = 5
"""A busy machine draws too slowly for a video, or drops its last frames."""

BOX = Rect(264, 352, 504, 672)
"""Where the guest shows a video of 320x240."""


def part(picture: Screenshot, box: Rect) -> bytes:
    """The pixels of a box."""
    starts = (3 * (y * picture.width + box.left) for y in range(box.top, box.bottom))
    return b"".join(picture.rgb[start : start + 3 * (box.right - box.left)] for start in starts)


def psnr(one: bytes, other: bytes) -> float:
    squares = sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
    return 10 * math.log10(255**2 * len(one) / max(squares, 1))


@pytest.mark.parametrize("codec", ENCODERS, ids=lambda codec: codec.name.lower())
async def test_video(small_machines: Any, monkeypatch: pytest.MonkeyPatch, codec: VideoCodec) -> None:
    capability, element = ENCODERS[codec]
    require_gstreamer(element)
    others = {one for one, _ in ENCODERS.values()} | {DisplayCapability.CODEC_MJPEG, DisplayCapability.CODEC_H265}
    announced = Capabilities(bit for bit in DisplayChannel.capabilities if bit not in others)
    monkeypatch.setattr(DisplayChannel, "capabilities", announced | Capabilities([capability]))
    shown: list[tuple[Frame, bytes]] = []
    show = Player._show_one

    async def showing(player: Player, frame: Frame) -> None:
        await show(player, frame)
        if frame.is_shown:
            shown.append((frame, part(session.display.screenshot(), BOX)))

    monkeypatch.setattr(Player, "_show_one", showing)
    vm = small_machines["qxl", "streaming"]
    async with caraway.connect(vm.spice_uri(), channels=["display"]) as session:
        await session.display.ready()
        best = 0.0
        for _ in range(ATTEMPTS):
            shown.clear()
            await vm.ask("video 60 40 320 240", "@ok")
            await vm.wait_for("@done")
            await becomes_same_picture(session, vm)
            assert {frame.stream.codec for frame, _ in shown} <= {codec}
            truth = part(session.display.screenshot(), BOX)
            best = max([best, *(psnr(pixels, truth) for _, pixels in shown[-3:])])
            if best > GOOD:
                return
    pytest.fail(f"{len(shown)} frames, at best {best:.1f} dB")
