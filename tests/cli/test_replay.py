"""`caraway replay` on captures made up for it."""

import struct
from pathlib import Path

from PIL import Image

from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.display import Mark, SurfaceCreate, SurfaceFlags, SurfaceFormat
from caraway.wire.messages.draw import DrawFill, Rop
from caraway.wire.messages.images import MaskFlags, QMask, SolidBrush
from caraway.wire.messages.main import ChannelEntry, ChannelsList, Init, MouseModes
from caraway.wire.messages.shapes import Point, Rect
from support.capture_files import FULL, MINI, SERVER_BYTES, Record, link, mini, pack, write
from support.commands import caraway

MAIN, DISPLAY = 0, 1
SCREEN = (
    SurfaceCreate(0, 4, 2, SurfaceFormat.XRGB32, SurfaceFlags.PRIMARY),
    Mark(),
    DrawFill(0, Rect(0, 1, 2, 3), None, SolidBrush(0x102030), Rop.OP_PUT, QMask(MaskFlags(0), Point(0, 0), None)),
)


def full(number: int, body: bytes) -> bytes:
    return struct.pack("<QHII", 1, number, len(body), 0) + body


def session(*drawn: Message, headers: object = MINI, display: int = 0) -> list[Record]:
    """A main channel that lists a display, and what that says."""
    entries = [ChannelEntry(ChannelType.DISPLAY, display)]
    main = (Init(1, 1, MouseModes(3), MouseModes.CLIENT, False, 0, 0, 0), ChannelsList(entries))
    frame = mini if headers is MINI else full
    records = link(headers, ChannelType.MAIN, MAIN, id=0) + link(headers, ChannelType.DISPLAY, DISPLAY, id=display)  # type: ignore[arg-type]
    for connection, messages in ((MAIN, main), (DISPLAY, drawn)):
        records += [(connection, SERVER_BYTES, 50, frame(m.id, m.pack())) for m in messages]
    return records


async def test_last_picture(tmp_path: Path) -> None:
    for headers in (MINI, FULL):
        capture, picture = write(tmp_path, pack(session(*SCREEN, headers=headers)), ".cap.xz"), tmp_path / "last.png"
        ended = await caraway("replay", str(capture), "-o", str(picture), "--json")
        assert (ended.code, ended.json) == (0, {"file": str(picture), "width": 4, "height": 2})
        with Image.open(picture) as image:
            row = [image.convert("RGB").getpixel((x, 1)) for x in range(4)]
        assert row == [(0, 0, 0), (16, 32, 48), (16, 32, 48), (0, 0, 0)]


async def test_stats(tmp_path: Path) -> None:
    capture = write(tmp_path, pack(session(*SCREEN)))
    ended = await caraway("replay", str(capture), "--stats", "--json")
    stats = ended.json
    # and a PING for each of the two channels
    assert stats["messages"] == 2 + len(SCREEN) + 2
    assert 0 < stats["cpu_seconds"] < stats["cpu_total"]
    assert stats["seconds"] > 0
    assert stats["peak_mib"] > 1
    spoken = await caraway("replay", str(capture), "--stats")
    assert [line.split()[0] for line in spoken.out.splitlines()] == [
        "seconds",
        "cpu_seconds",
        "cpu_total",
        "peak_mib",
        "messages",
    ]


async def test_recording_that_ends_within_a_message(tmp_path: Path) -> None:
    """What came before it is drawn; the message, large or small, or only its header, is left out."""
    for headers, framed in (MINI, mini), (FULL, full):
        large = framed(4000, bytes(100_000))
        for cut in (3, 40, len(large) - 1):
            records = [*session(*SCREEN, headers=headers), (DISPLAY, SERVER_BYTES, 60, large[:cut])]
            picture = tmp_path / "last.png"
            ended = await caraway("replay", str(write(tmp_path, pack(records))), "-o", str(picture), "--timeout", "30")
            assert ended.code == 0, ended
            assert "display:0 ends within a message, which is left out" in ended.err
            with Image.open(picture) as image:
                assert image.convert("RGB").getpixel((1, 1)) == (16, 32, 48)


async def test_what_cannot_be_replayed(tmp_path: Path) -> None:
    picture = str(tmp_path / "last.png")
    noise = tmp_path / "noise.cap"
    noise.write_bytes(b"noise")
    broken = write(tmp_path, pack(session(SCREEN[0], SCREEN[0])))
    for arguments, code, words in (
        ((str(noise),), 6, "not a capture"),
        ((str(broken), "--display", "3"), 5, "there is no display 3, but [0]"),
        ((str(broken), "-o", picture), 5, "no picture yet"),
    ):
        ended = await caraway("replay", *arguments, "--json")
        assert (ended.code, words in ended.json["message"]) == (code, True), ended
    lonely = link(MINI, ChannelType.MAIN, MAIN, id=0)
    ended = await caraway("replay", str(write(tmp_path, pack(lonely))), "--timeout", "0.3", "--json")
    assert ended.code == 8
