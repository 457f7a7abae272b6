"""Every program of `examples/`, as a user starts it, on the demo guest in a real QEMU."""

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image

import caraway
from support.captures import captures, facts
from support.captures import require as require_capture
from support.certificates import Authority
from support.guests import demo
from support.moves import machines, move
from support.peers import missing

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OPEN = {"unix": True, "disable-ticketing": True}
DEADLINE = 60.0


@asynccontextmanager
async def started(
    example: str, *arguments: object, cwd: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program under way; Python's warnings end it."""
    command = [sys.executable, "-W", "error", EXAMPLES / example, *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(DEADLINE):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(example: str, *arguments: object, cwd: Path | None = None, status: int = 0) -> tuple[str, str]:
    """What a program wrote to its standard output and standard error."""
    async with started(example, *arguments, cwd=cwd) as process:
        out, err = await process.communicate()
    assert process.returncode == status, err.decode()
    return out.decode(), err.decode()


def picture(source: Path | bytes) -> tuple[tuple[int, int], bytes]:
    """Size and R, G, B bytes of a picture."""
    with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
        return image.size, image.tobytes()


async def test_first(tmp_path: Path) -> None:
    async with demo(spice=OPEN) as vm:
        await run("first.py", vm.spice_uri(), cwd=tmp_path)
        assert await vm.wait_for("@line") == "@line hello"
        assert await vm.wait_for("@button 1 down") == "@button 1 down 400 300"
        assert await vm.wait_for("@button 1 up") == "@button 1 up 400 300"
    assert picture(tmp_path / "screen.png")[0] == (800, 600)


async def test_screenshot(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    async with demo(spice=OPEN) as vm:
        await vm.ask("freeze", "@ok")
        out, _ = await run("screenshot.py", vm.spice_uri(), file)
        assert picture(file) == picture(await vm.screendump("ppm"))
    assert out == f"800x600 -> {file}\n"


async def test_type_line() -> None:
    async with demo(spice=OPEN) as vm:
        await run("type_line.py", vm.spice_uri(), 'echo "Hello, World!" | wc -c')
        assert await vm.wait_for("@line") == '@line echo "Hello, World!" | wc -c'


async def test_show(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import PySide6.QtWidgets  # noqa: F401
    except ImportError as error:
        missing(str(error), "pip install PySide6-Essentials")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    async with demo(spice=OPEN) as vm:
        await run("show.py", vm.spice_uri(), "seen by a person")
        assert await vm.wait_for("@line") == "@line seen by a person"


async def test_watch_changes() -> None:
    async with demo(spice=OPEN) as vm:
        out, _ = await run("watch_changes.py", vm.spice_uri(), 3)
    shares = [float(line.removesuffix("% changed")) for line in out.splitlines()]
    assert len(shares) == 3
    assert all(0 < share < 20 for share in shares)


async def test_tls(tmp_path: Path) -> None:
    folder = Authority().issue(tmp_path / "tls", [("O", "Caraway"), ("CN", "console")], ip=["127.0.0.1"])
    ca = folder / "ca-cert.pem"
    spice = {"tls-port": "auto", "x509-dir": str(folder), "disable-ticketing": True}
    async with demo(spice=spice) as vm:
        out, _ = await run("tls.py", vm.spice_uri(), ca)
        assert out == "a display of (800, 600), over TLS\n"
        await run("tls.py", vm.spice_uri(), ca, "O=Caraway,CN=console")
        out, err = await run("tls.py", vm.spice_uri(), ca, "O=Caraway,CN=another", status=1)
    assert not out
    assert err.startswith("not trusted: ")
    assert "CN=another" in err


async def test_follow() -> None:
    async with machines() as (source, target), started("follow.py", source.spice_uri()) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == f"watching {source.spice_uri()}\n".encode()
        await move(source, target)
        to = target.spice_uri()
        await target.aclose()
        out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
    *told, over = out.decode().splitlines()
    assert told == [
        *(f"Announced: {to}", f"Linked: {to}, seamless"),
        *(f"Switching: {to}, seamless", f"Switched: {to}, seamless"),
    ]
    assert over.startswith("over: ")


async def test_many_vms(tmp_path: Path) -> None:
    async with demo(spice=OPEN, name="first") as first, demo(spice=OPEN, name="second") as second:
        await second.ask("mode 640 480", "@ok")
        nowhere = f"spice+unix://{tmp_path}/nowhere"
        out, _ = await run("many_vms.py", tmp_path, first.spice_uri(), nowhere, second.spice_uri())
    lines = out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(f"{nowhere}: ")
    assert [picture(tmp_path / f"vm-{n}.png")[0] for n in (0, 2)] == [(800, 600), (640, 480)]


@pytest.mark.parametrize("path", captures()[1:3])
async def test_inspect_capture(path: Path | None) -> None:
    path = require_capture(path)
    out, _ = await run("inspect_capture.py", path)
    shown = {}
    for line in out.splitlines():
        channel, *counts = line.split()
        shown[channel] = {name.lower(): int(count) for name, _, count in (text.partition("=") for text in counts)}
    assert shown == facts(path)["messages"]


async def test_serve() -> None:
    async with started("serve.py") as process:
        assert process.stdout is not None
        uri = (await process.stdout.readline()).decode().strip()
        async with caraway.connect(uri) as session:
            await session.display.ready()
            before = session.display.screenshot().rgb
            await session.inputs.drag((10, 10), (20, 10))
            async with asyncio.timeout(DEADLINE):
                while session.display.screenshot().rgb == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        process.kill()
