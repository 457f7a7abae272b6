"""`caraway inspect` on recorded sessions and on captures made up for it."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from caraway.cli.inspect import Row, Totals, command, describe
from caraway.wire.capture import load
from caraway.wire.constants import ChannelType
from caraway.wire.messages.agent import AgentHeader
from caraway.wire.messages.common import WaitForChannels
from caraway.wire.messages.display import InvalPalette
from caraway.wire.sublist import pack_sub_list
from support.capture_files import CLIENT_BYTES, MINI, SERVER_BYTES, Record, link, mini, pack, write
from support.captures import captures, facts, require

SHORT = {"audio", "desktop-auto_glz", "draw-zlib_glz-jpeg", "draw-lz4", "video-all", "virtio-console"}


@pytest.mark.parametrize("path", [p for p in captures() if p.id in SHORT or p.id == "absent"])
def test_counts_are_those_of_the_index(path: Path | None) -> None:
    path = require(path)
    capture, totals = load(path), Totals()
    for row in describe(capture):
        totals.add(row)
        assert "malformed" not in row.summary
        assert row.summary != "not known"
    expected = facts(path)
    assert totals.images == expected["images"]
    assert totals.messages["server"] == expected["messages"]


def described(tmp_path: Path, records: list[Record], channel: str | None = None) -> list[Row]:
    return list(describe(load(write(tmp_path, pack(records))), channel))


def test_a_row_says_what_when_and_who(tmp_path: Path) -> None:
    palette = mini(107, InvalPalette(9).pack())
    records = [*link(MINI), (0, SERVER_BYTES, 1_500_000, palette), (0, CLIENT_BYTES, 1_600_000, mini(2))]
    assert described(tmp_path, records) == [
        Row(1.5, "display:2", "server", "INVAL_PALETTE", 8, "palette_id=9"),
        Row(1.6, "display:2", "client", "ACK", 0, ""),
    ]


def test_unknown_and_malformed_messages_are_rows_too(tmp_path: Path) -> None:
    records = [*link(MINI), (0, SERVER_BYTES, 50, mini(999, b"abc") + mini(107, b"abc") + mini(304))]
    unknown, malformed, empty = described(tmp_path, records)
    assert (unknown.message, unknown.size, unknown.summary) == ("999", 3, "not known")
    assert (malformed.message, malformed.summary) == ("INVAL_PALETTE", "malformed: at byte 0: needs 8 bytes, 3 left")
    assert empty.image is None
    assert [r.message for r in described(tmp_path, [*link(MINI, kind=77), (0, SERVER_BYTES, 50, mini(3))])] == ["3"]


def test_a_list_names_its_sub_messages(tmp_path: Path) -> None:
    body = pack_sub_list([(5, WaitForChannels([]).pack()), (107, InvalPalette(9).pack()), (888, b"")])
    (row,) = described(tmp_path, [*link(MINI), (0, SERVER_BYTES, 50, mini(8, body))])
    assert (row.message, row.summary) == ("LIST", "WAIT_FOR_CHANNELS, INVAL_PALETTE, 888")


def test_agent_data_names_the_messages_that_it_completes(tmp_path: Path) -> None:
    data = AgentHeader(1, 14, 0, 4).pack() + bytes(4) + AgentHeader(1, 77, 0, 0).pack() + AgentHeader(1, 4, 0, 9).pack()
    broken = AgentHeader(3, 4, 0, 0).pack()
    gone = mini(108, bytes(4))
    records = [
        *link(MINI, kind=ChannelType.MAIN),
        (0, SERVER_BYTES, 50, mini(109, data[:10]) + mini(109, data[10:])),
        (0, SERVER_BYTES, 60, gone + mini(109, data[:24]) + mini(109, broken) + mini(109, data[:24])),
    ]
    assert [r.summary for r in described(tmp_path, records) if r.message == "AGENT_DATA"] == [
        "",
        "MAX_CLIPBOARD, 77",
        "MAX_CLIPBOARD",
        "malformed: agent: protocol 3, only 1 is known",
        "MAX_CLIPBOARD",
    ]


def test_text_from_the_wire_cannot_steer_the_terminal(tmp_path: Path) -> None:
    name = b"\x1b[2J\xff" * 40
    message = mini(113, len(name).to_bytes(4, "little") + name)
    (row,) = described(tmp_path, [*link(MINI, kind=ChannelType.MAIN), (0, SERVER_BYTES, 50, message)])
    assert row.summary.isprintable()
    assert len(row.summary) == 100


def test_channel_selects(tmp_path: Path) -> None:
    second = [(1, *r[1:]) for r in link(MINI, kind=ChannelType.CURSOR)]
    records = [*link(MINI), *second, (0, SERVER_BYTES, 50, mini(102)), (1, SERVER_BYTES, 60, mini(102))]
    assert [r.message for r in described(tmp_path, records)] == ["MARK", "RESET"]
    assert [r.message for r in described(tmp_path, records, "cursor")] == ["RESET"]
    assert [r.message for r in described(tmp_path, records, "display:2")] == ["MARK"]
    assert described(tmp_path, records, "display:0") == []


# ---- the command

FILE: list[Record] = [*link(MINI), (0, SERVER_BYTES, 50, mini(102) + mini(108)), (0, CLIENT_BYTES, 60, mini(2))]


def inspect(tmp_path: Path, *arguments: str, data: bytes = pack(FILE)) -> Result:
    return CliRunner().invoke(command, [str(write(tmp_path, data, ".cap.xz")), *arguments])


def test_output_for_people(tmp_path: Path) -> None:
    result = inspect(tmp_path)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split() == ["0.000050", "display:2", "<-", "MARK", "0"]
    assert lines[2].split() == ["0.000060", "display:2", "->", "ACK", "0"]
    assert lines[3] == "connection 0  display:2   link OK, mini headers, 12 bytes from the server, 6 from the client"
    assert lines[4] == "display:2   from the server: inval_all_palettes 1, mark 1"
    assert lines[5] == "display:2   from the client: ack 1"


def test_output_for_programs(tmp_path: Path) -> None:
    result = inspect(tmp_path, "--json", "--limit", "1")
    assert result.exit_code == 0
    row, summary = map(json.loads, result.output.splitlines())
    assert row == {
        "seconds": 5e-05,
        "channel": "display:2",
        "sender": "server",
        "message": "MARK",
        "size": 0,
        "summary": "",
        "image": None,
    }
    assert summary["messages"] == {
        "server": {"display:2": {"mark": 1, "inval_all_palettes": 1}},
        "client": {"display:2": {"ack": 1}},
    }
    assert summary["images"] == {}
    assert summary["connections"] == [
        {
            "connection": 0,
            "channel": "display:2",
            "session_id": 5,
            "header": "mini",
            "client_capabilities": [[0, 1, 3], [1, 33]],
            "server_capabilities": [[0, 1, 3], [6]],
            "link": "OK",
            "client_bytes": 6,
            "server_bytes": 12,
        }
    ]


def test_limit_zero_shows_totals_only(tmp_path: Path) -> None:
    assert inspect(tmp_path, "--limit", "0").output.startswith("connection 0")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--channel", "cursor"], 2, "'cursor' is not in this capture; it has display:2"),
        (["--limit", "-1"], 2, "--limit"),
    ],
)
def test_usage(tmp_path: Path, arguments: list[str], code: int, reason: str) -> None:
    result = inspect(tmp_path, *arguments)
    assert result.exit_code == code
    assert reason in result.output


def test_no_capture_is_exit_code_6(tmp_path: Path) -> None:
    result = inspect(tmp_path, data=b"text\n")
    assert result.exit_code == 6
    assert "not a capture" in result.output
    error: dict[str, Any] = json.loads(inspect(tmp_path, "--json", data=b"text\n").output)
    assert error["error"] == "ProtocolError"


def test_damage_behind_good_messages_is_said_after_them(tmp_path: Path) -> None:
    too_large = (0, SERVER_BYTES, 70, b"\x66\0\xff\xff\xff\xff")
    result = inspect(tmp_path, data=pack([*FILE, too_large]))
    assert result.exit_code == 6
    assert "MARK" in result.output
    assert "connection 0, display:2, server: message 102 announces 4294967295 bytes" in result.output


def on_a_terminal(arguments: list[str]) -> tuple[bytes, bytes]:
    """Standard output of a command, and what it says to a terminal as its standard error."""
    near, far = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", "from caraway.cli import main; main()", *arguments],
        env={**os.environ, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=far,
    ) as process:
        os.close(far)
        said = b""
        # The end of a terminal is an error.
        with contextlib.suppress(OSError):
            while data := os.read(near, 65536):
                said += data
        os.close(near)
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == 0
    return out, said


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    path = write(tmp_path, pack(FILE))
    out, said = on_a_terminal(["inspect", str(path)])
    assert out.decode() == inspect(tmp_path).output
    assert b"/18 bytes" in said
