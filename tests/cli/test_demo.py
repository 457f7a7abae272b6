"""`caraway demo`, with servers of our own and with real QEMU: what it says, and that nothing is left but pictures."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.peers import require_qemu

CARAWAY = Path(sys.executable).with_name("caraway")


def processes_of(session: int) -> list[str]:
    """Command names of the processes of a session, other than those that are only waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, _, _, of = fields.split()[:4]
        if int(of) == session and state != "Z":
            found.append(name)
    return found


@pytest.mark.parametrize("world", [[], ["--qemu"]], ids=["own", "qemu"])
def test_demo_moves_guests(tmp_path: Path, world: list[str]) -> None:
    if world:
        require_qemu()
    arguments = [CARAWAY, "demo", "-o", tmp_path / "out", "--json", *world]
    result = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=110).stdout)
    moves = result["migrations"]
    assert list(moves) == ["cancelled", "seamless", "semi-seamless", "switch-host"]
    assert {move["channels_kept"] for move in moves.values()} == {"4 of 4"}
    assert [move["session_kept"] for move in moves.values()] == [True, True, True, False]
    assert {move["keys_stuck"] for move in moves.values()} == {0}
    assert {move["blank_ms"] for move in moves.values()} == {0}
    assert moves["cancelled"]["keys_lost"] == 0
    assert moves["cancelled"]["downtime_ms"] is None
    if not world:
        assert moves["seamless"]["keys_lost"] == 0
    assert all(moves[name]["downtime_ms"] is not None for name in ("seamless", "semi-seamless", "switch-host"))
    pictures = {Path(picture).name for picture in result["pictures"]}
    assert {
        "screen.png",
        "timeline.png",
        "seamless-before.png",
        "seamless-during.png",
        "seamless-after.png",
    } <= pictures
    assert all(Path(picture).read_bytes().startswith(b"\x89PNG") for picture in result["pictures"])


@pytest.mark.parametrize("world", [[], ["--qemu"]], ids=["own", "qemu"])
def test_demo_that_is_told_to_end_leaves_nothing(tmp_path: Path, world: list[str]) -> None:
    if world:
        require_qemu()
    with subprocess.Popen(
        [CARAWAY, "demo", "-o", tmp_path / "out", *world],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert " on spice://" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert processes_of(process.pid) == []
    assert not list(tmp_path.glob("caraway-*"))


def test_demo_that_cannot_leave_pictures(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = subprocess.run(
        [CARAWAY, "demo", "-o", tmp_path / "file" / "out"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "cannot make" in ended.stderr
    assert "Traceback" not in ended.stderr
