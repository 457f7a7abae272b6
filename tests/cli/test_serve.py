"""`caraway serve`, as a program, looked at by our own client."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

import caraway
from caraway.cli import main, serve
from caraway.qemu.monitor import connect_monitor
from support.certificates import Authority
from support.commands import Ended
from support.commands import caraway as run_caraway

DEADLINE = 20.0

GUESTS = """
import asyncio
from caraway.server import FramebufferGuest

async def late():
    await asyncio.sleep(0)
    return grey()

def grey():
    return FramebufferGuest(32, 20, bytes([60, 50, 40, 0]) * 640, name="grey")

class Short(FramebufferGuest):
    def __init__(self):
        super().__init__(32, 20)

    async def run(self):
        await asyncio.sleep(0.01)

class Waiting(Short):
    async def run(self):
        try:
            await asyncio.Event().wait()
        finally:
            print("the guest has ended", flush=True)

class Typed(FramebufferGuest):
    def __init__(self):
        super().__init__(32, 20)

    def keys(self, scancodes):
        print(scancodes.hex(), flush=True)

class Parts:
    grey = staticmethod(grey)

def nothing():
    return None
"""


class Serving:
    """A server that runs."""

    def __init__(self, process: asyncio.subprocess.Process, uris: list[str]) -> None:
        self.process, self.uris = process, uris
        self._story = ""

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            return (await self.process.stdout.readline()).decode().strip()

    async def until_told(self, text: str) -> None:
        """Wait until its story says so."""
        assert self.process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            while text not in self._story:
                self._story += (await self.process.stderr.readline()).decode()

    async def ended(self) -> Ended:
        """How it ended, and what it said after the URIs."""
        async with asyncio.timeout(DEADLINE):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return Ended(self.process.returncode, out.decode(), self._story + err.decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "guests.py").write_text(GUESTS)
    return tmp_path


async def started(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", "from caraway.cli import main; main()", "serve", *arguments),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@asynccontextmanager
async def serving(folder: Path, *arguments: str, guest: str = "guests:grey", places: int = 1) -> AsyncIterator[Serving]:
    """places: how many URIs it says."""
    process = await started(folder, "--guest", guest, *arguments)
    try:
        server = Serving(process, [])
        server.uris += [await server.line() for _ in range(places)]
        assert all(server.uris), await server.ended()
        yield server
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def refused(folder: Path, *arguments: str) -> Ended:
    """One that does not come to serve."""
    process = await started(folder, *arguments)
    return await Serving(process, []).ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals(folder: Path, number: signal.Signals) -> None:
    """A viewer is told, and the sockets are gone."""
    async with serving(folder, "--port", "0", "--unix", "spice", "--control", "control", places=2) as server:
        assert server.uris[1] == f"spice+unix://{folder / 'spice'}"
        async with caraway.connect(server.uris[0], channels=[]) as session:
            server.tell(number)
            with pytest.raises(caraway.LinkError):
                await asyncio.wait_for(session.until(asyncio.Event().wait()), DEADLINE)
        ended = await server.ended()
    assert (ended.code, ended.out) == (0, "")
    story = [line.split(" ", 2)[2] for line in ended.err.splitlines()]
    assert story[0] == f"serving grey at {', '.join(server.uris)}"
    assert story[1] == "taking commands at control"
    assert any(line.startswith("viewer 127.0.0.1:") and line.endswith("has come") for line in story)
    assert f"told to end by {number.name}" in story
    assert story[-1] == "ended"
    assert set(os.listdir(folder)) <= {"guests.py", "__pycache__"}


async def test_screenshot(folder: Path) -> None:
    picture = folder / "screen.png"
    async with serving(folder, "--port", "0") as server:
        [uri] = server.uris
        assert uri.startswith("spice://localhost:")
        said = await run_caraway("screenshot", uri, "-o", str(picture), "--json")
        assert said.json == {"file": str(picture), "width": 32, "height": 20}
    with Image.open(picture) as image:
        assert image.convert("RGB").getcolors() == [(640, (40, 50, 60))]


async def test_embedded_guest(tmp_path: Path) -> None:
    """It has a name of its own, and lives: what it shows changes by itself."""
    async with serving(tmp_path, "--port", "0", guest="embedded") as server:
        async with caraway.connect(server.uris[0]) as session, asyncio.timeout(DEADLINE):
            await session.display.ready(DEADLINE)
            first = session.display.screenshot()
            assert (first.width, first.height) == (1280, 800)
            async for picture in session.display.frames():
                if picture.rgb != first.rgb:
                    break
        server.tell(signal.SIGTERM)
        assert (await server.ended()).code == 0


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded guest on the usual port, for this machine only."""

    async def note(
        name: str, control: object, incoming: object, options: dict[str, Any], *, as_json: bool
    ) -> dict[str, Any]:
        return {"guest": name, "control": control, "incoming": incoming, **options}

    monkeypatch.delenv("CARAWAY_PASSWORD", raising=False)
    monkeypatch.setattr(serve, "_serve", note)
    said = json.loads(CliRunner().invoke(main, ["serve", "--json"]).output)
    assert said == {
        "guest": "embedded",
        "control": None,
        "incoming": None,
        "host": "localhost",
        "port": 5900,
        "tls_port": None,
        "unix_path": None,
        "password": None,
        "sharing": "take-over",
        "view_only": False,
        "seamless_migration": True,
    }


async def test_json(folder: Path) -> None:
    async with serving(folder, "--port", "0", "--json", "--control", "control") as server:
        told = json.loads(server.uris[0])
        assert told["control"] == str(folder / "control")
        [uri] = told["uris"]
        async with caraway.connect(uri, channels=[]):
            pass
        server.tell(signal.SIGTERM)
        ended = await server.ended()
    assert ended.code == 0
    assert ended.json == {"viewers": 1}


async def test_control(folder: Path) -> None:
    async with serving(folder, "--port", "0", "--password", "old", "--control", "control") as server:
        async with connect_monitor(f"unix:{folder / 'control'}") as monitor:
            assert (await monitor.execute("query-spice"))["auth"] == "spice"
            await monitor.execute("set_password", protocol="spice", password="new")
            async with caraway.connect(server.uris[0], password="new", channels=[]):
                told = await monitor.execute("query-spice")
                assert len(told["channels"]) == 1
            assert await monitor.execute("quit") == {}
        ended = await server.ended()
    assert ended.code == 0
    assert "the password was changed" in ended.err
    assert "told to quit" in ended.err
    assert "new" not in ended.err


@pytest.mark.parametrize("how", ["option", "file", "environment"])
async def test_password(folder: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    (folder / "secret").write_text("right\n")
    if how == "environment":
        monkeypatch.setenv("CARAWAY_PASSWORD", "right")
    options = {"option": ["--password", "right"], "file": ["--password-file", "secret"], "environment": []}
    async with serving(folder, "--port", "0", *options[how]) as server:
        for password, code in [("wrong", 3), ("right", 0)]:
            said = await run_caraway("key", server.uris[0], "enter", "--password", password)
            assert said.code == code


async def test_tls(folder: Path) -> None:
    x509 = Authority().issue(folder / "x509", [("CN", "localhost")], dns=["localhost"])
    files = ["--tls-cert", str(x509 / "server-cert.pem"), "--tls-key", str(x509 / "server-key.pem")]
    for ports, schemes in [
        (["--tls-port", "0"], ["spice+tls"]),
        (["--port", "0"], ["spice", "spice+tls"]),
        (["--port", "0", "--tls-port", "0"], ["spice", "spice+tls"]),
    ]:
        async with serving(folder, *files, *ports, places=len(schemes)) as server:
            assert [uri.partition(":")[0] for uri in server.uris] == schemes
            for uri in server.uris:
                settings = {"ca_file": str(x509 / "ca-cert.pem")} if "tls" in uri else {}
                async with caraway.connect(uri, channels=[], **settings):
                    pass


@pytest.mark.parametrize(
    ("sharing", "code", "stays"), [("refuse", 3, True), ("share", 0, True), ("take-over", 0, False)]
)
async def test_sharing(folder: Path, sharing: str, code: int, stays: bool) -> None:
    async with (
        serving(folder, "--port", "0", "--sharing", sharing, "--control", "control") as server,
        connect_monitor(f"unix:{folder / 'control'}") as monitor,
        caraway.connect(server.uris[0], channels=[]),
    ):
        before = (await monitor.execute("query-spice"))["channels"]
        said = await run_caraway("screenshot", server.uris[0], "-o", str(folder / "screen.png"))
        assert said.code == code
        assert (before[0] in (await monitor.execute("query-spice"))["channels"]) is stays


@pytest.mark.parametrize(("options", "seen"), [([], ["1c", "9c"]), (["--view-only"], [])])
async def test_view_only(folder: Path, options: list[str], seen: list[str]) -> None:
    async with serving(folder, "--port", "0", *options, guest="guests:Typed") as server:
        assert (await run_caraway("key", server.uris[0], "enter")).code == 0
        assert [await server.line() for _ in seen] == seen
        await server.until_told("has left")
        server.tell(signal.SIGTERM)
        ended = await server.ended()
    assert (ended.code, ended.out) == (0, "")
    assert ("to look only" in ended.err) is bool(options)


@pytest.mark.parametrize("guest", ["guests:late", "guests:Parts.grey"])
async def test_makers(folder: Path, guest: str) -> None:
    async with serving(folder, "--port", "0", guest=guest) as server:
        assert server.uris


async def test_guest_that_lives(folder: Path) -> None:
    async with serving(folder, "--port", "0", guest="guests:Waiting") as server:
        server.tell(signal.SIGTERM)
        ended = await server.ended()
    assert (ended.code, ended.out) == (0, "the guest has ended\n")


async def test_guest_that_ends(folder: Path) -> None:
    async with serving(folder, "--port", "0", guest="guests:Short") as server:
        assert (await server.ended()).code == 0


async def test_warning_without_password(folder: Path) -> None:
    async with serving(folder, "--port", "0", "--listen", "0.0.0.0") as server:
        host = socket.gethostname()
        assert server.uris[0].startswith(f"spice://{host}:")
        server.tell(signal.SIGTERM)
        ended = await server.ended()
    assert "without a password: whoever can reach this machine may look and type" in ended.err


@pytest.mark.parametrize(
    ("guest", "reason"),
    [
        ("nosuch", "expected embedded or MODULE:NAME"),
        ("nosuch:make", "No module named 'nosuch'"),
        ("guests:nosuch", "has no attribute 'nosuch'"),
        ("guests:nothing", "expected something to call that gives a caraway.server.Guest"),
        ("guests:GUESTS", "has no attribute"),
    ],
)
async def test_no_guest(folder: Path, guest: str, reason: str) -> None:
    ended = await refused(folder, "--port", "0", "--guest", guest)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"caraway: guest '{guest}': ")
    assert reason in ended.err


async def test_port_in_use(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        where = ["--guest", "guests:grey", "--listen", "127.0.0.1", "--port", str(port)]
        ended = await refused(folder, *where)
        assert (ended.code, ended.out) == (5, "")
        assert ended.err == f"caraway: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
        said: Any = (await refused(folder, *where, "--json")).json
        assert said["error"] == "LinkError"


async def test_path_in_use(folder: Path) -> None:
    (folder / "file").touch()
    ended = await refused(folder, "--guest", "guests:grey", "--port", "0", "--control", "file")
    assert (ended.code, ended.err) == (5, "caraway: cannot listen on file: Address already in use\n")


@pytest.mark.parametrize(
    "options",
    [
        ["--password", "a", "--password-file", "guests.py"],
        ["--tls-port", "0"],
        ["--tls-key", "guests.py"],
        ["--tls-cert", "guests.py", "--unix", "spice"],
        ["--sharing", "never"],
        ["--port", "65536"],
    ],
)
async def test_usage(folder: Path, options: list[str]) -> None:
    ended = await refused(folder, *options)
    assert (ended.code, ended.out) == (2, "")
    assert "Usage:" in ended.err


async def test_certificate_that_is_none(folder: Path) -> None:
    ended = await refused(folder, "--guest", "guests:grey", "--port", "0", "--tls-cert", "guests.py")
    assert ended.code == 2
    assert ended.err.startswith("caraway: certificate guests.py")
