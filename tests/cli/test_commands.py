"""The `caraway` command, as a program, on a real QEMU; and what it loads."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from click.testing import CliRunner
from PIL import Image

from caraway.cli import COMMANDS, main
from caraway.qemu.guest_image import demo_guest
from caraway.qemu.process import Qemu
from caraway.qemu.spice_options import free_ports
from support.certificates import Authority
from support.commands import Ended, caraway
from support.fake_server import fake_server
from support.peers import require_qemu
from support.relays import listening
from support.screens import rgb

in_one_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Qemu]:
    """The demo guest, still, with a ticket `right` on a plain and a TLS port."""
    require_qemu()
    folder = Authority().issue(tmp_path_factory.mktemp("x509") / "server", [("O", "Caraway"), ("CN", "localhost")])
    spice = {"password-secret": "ticket", "port": "auto", "tls-port": "auto", "x509-dir": str(folder)}
    async with Qemu(demo_guest(), spice=spice, extra=("-object", "secret,id=ticket,data=right")) as vm:
        await vm.wait_for("@ready")
        await vm.ask("freeze", "@ok")
        yield vm


def plain(vm: Qemu) -> str:
    assert vm.spice is not None
    return f"spice://127.0.0.1:{vm.spice.port}"


def tls(vm: Qemu, host: str = "localhost") -> str:
    assert vm.spice is not None
    return f"spice+tls://{host}:{vm.spice.tls_port}"


def ca(vm: Qemu) -> str:
    """The authority's certificate as a `.vv` file holds it."""
    return Path(ca_file(vm)).read_text().replace("\n", "\\n")


def ca_file(vm: Qemu) -> str:
    assert vm.spice is not None
    return str(Path(str(vm.spice.options["x509-dir"])) / "ca-cert.pem")


@in_one_loop
async def test_screenshot(vm: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "screen.png"
    ended = await caraway("screenshot", plain(vm), "--password", "right", "-o", str(path), "--json")
    assert ended.json == {"file": str(path), "width": 800, "height": 600}
    assert (ended.code, ended.err) == (0, "")
    with Image.open(path) as picture:
        assert picture.convert("RGB").tobytes() == rgb(await vm.screendump("ppm"), (800, 600))


@in_one_loop
async def test_password_of_the_environment(vm: Qemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts where nothing else gives one."""
    path, secret = str(tmp_path / "screen.png"), tmp_path / "secret"
    secret.write_text("right\n")
    monkeypatch.setenv("CARAWAY_PASSWORD", "right")
    assert await caraway("screenshot", plain(vm), "-o", path) == Ended(0, "", "")
    assert (await caraway("screenshot", plain(vm), "-o", path, "--password", "wrong")).code == 3
    monkeypatch.setenv("CARAWAY_PASSWORD", "wrong")
    assert (await caraway("screenshot", plain(vm), "-o", path)).code == 3
    assert (await caraway("screenshot", plain(vm), "-o", path, "--password-file", str(secret))).code == 0
    assert (await caraway("screenshot", f"{plain(vm)}?password=right", "-o", path)).code == 0


@in_one_loop
async def test_screenshot_over_tls_once_stable(vm: Qemu, tmp_path: Path) -> None:
    secret, path = tmp_path / "secret", tmp_path / "screen.bmp"
    secret.write_text("right\n")
    options = ("--password-file", str(secret), "--ca-file", ca_file(vm), "--stable", "0.1", "-o", str(path))
    assert await caraway("screenshot", tls(vm), *options) == Ended(0, "", "")
    with Image.open(path) as picture:
        assert picture.convert("RGB").tobytes() == rgb(await vm.screendump("ppm"), (800, 600))


@in_one_loop
async def test_type_and_key(vm: Qemu) -> None:
    uri = f"{plain(vm)}?password=right"
    ended = await caraway("type", uri, "Hello, World!", "--json")
    assert (ended.code, ended.json) == (0, {"typed": 13})
    ended = await caraway("key", uri, "shift+1", "enter", "--json")
    assert (ended.code, ended.json) == (0, {"pressed": ["shift+1", "enter"]})
    assert await vm.wait_for("@line") == "@line Hello, World!!"
    assert await caraway("type", uri, "again", "--enter", "--interval", "0.03") == Ended(0, "", "")
    assert await vm.wait_for("@line") == "@line again"


@in_one_loop
async def test_vv_file(vm: Qemu, tmp_path: Path) -> None:
    assert vm.spice is not None
    vv = tmp_path / "console.vv"
    vv.write_text(
        f"[virt-viewer]\ntype=spice\nhost=127.0.0.1\ntls-port={vm.spice.tls_port}\npassword=right\n"
        f"host-subject=O=Caraway,CN=localhost\nca={ca(vm)}\n"
    )
    assert (await caraway("key", str(vv), "shift")).code == 0


@in_one_loop
@pytest.mark.parametrize(
    ("code", "error", "arguments"),
    [
        (2, "EndpointError", ["vnc://host:1"]),
        (2, "EndpointError", ["no-such-file.vv"]),
        (2, "KeyNameError", ["PLAIN", "--password", "right", "ctrl+delte"]),
        (3, "AuthError", ["PLAIN", "--password", "wrong"]),
        (3, "AuthError", ["PLAIN"]),
        (4, "TlsError", ["TLS", "--password", "right"]),
        (4, "TlsError", ["OTHER", "--password", "right", "--ca-file", "CA"]),
        (4, "TlsError", ["TLS", "--password", "right", "--ca-file", "CA", "--host-subject", "CN=other"]),
        (5, "LinkError", ["CLOSED"]),
        (5, "LinkError", ["spice+unix:///no/such/socket"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
async def test_exit_codes(vm: Qemu, code: int, error: str, arguments: list[str]) -> None:
    words = {
        "PLAIN": plain(vm),
        "TLS": tls(vm),
        "OTHER": tls(vm, "127.0.0.1"),
        "CA": ca_file(vm),
        "CLOSED": f"spice://127.0.0.1:{free_ports(1)[0]}",
    }
    command = ["key", *(words.get(argument, argument) for argument in arguments)]
    if arguments[-1] != "ctrl+delte":
        command.append("shift")
    ended = await caraway(*command, "--json")
    assert ended.code == code
    assert ended.json["error"] == error
    assert ended.err == ""
    ended = await caraway(*command)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("caraway: ")
    assert len(ended.err.splitlines()) == 1


@in_one_loop
async def test_exit_code_of_a_broken_server() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async with listening(web) as port:
        ended = await caraway("key", f"spice://127.0.0.1:{port}", "a", "--json")
    assert (ended.code, ended.json["error"]) == (6, "ProtocolError")
    assert "not a SPICE server" in ended.json["message"]


@in_one_loop
async def test_exit_code_of_a_silent_server(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent) as port:
        ended = await caraway("key", f"spice://127.0.0.1:{port}", "a", "--timeout", "0.2", "--json")
    assert (ended.code, ended.json["error"]) == (8, "DeadlineError")
    async with fake_server("display") as server:
        output = tmp_path / "screen.png"
        ended = await caraway("screenshot", server.uri, "-o", str(output), "--timeout", "3", "--json")
    assert (ended.code, ended.json["error"]) == (8, "DeadlineError")
    assert "a first picture" in ended.json["message"]
    assert not output.exists()


@in_one_loop
async def test_screen_that_never_stands_still(vm: Qemu, tmp_path: Path) -> None:
    await vm.ask("thaw", "@ok")
    options = ("--password", "right", "-o", str(tmp_path / "screen.png"), "--stable", "1.5", "--timeout", "3")
    ended = await caraway("screenshot", plain(vm), *options)
    await vm.ask("freeze", "@ok")
    assert ended.code == 8
    assert "1.5 s without a change" in ended.err


@in_one_loop
async def test_screenshot_that_cannot_be_made(vm: Qemu, tmp_path: Path) -> None:
    async def screenshot(output: Path, *options: str) -> Ended:
        return await caraway("screenshot", plain(vm), "--password", "right", "-o", str(output), *options, "--json")

    ended = await screenshot(tmp_path / "screen.png", "--display", "1")
    assert (ended.code, ended.json["error"]) == (5, "LinkError")
    assert "display 1" in ended.json["message"]
    for name in "no/such/folder.png", "screen.xyz", "screen":
        ended = await screenshot(tmp_path / name)
        assert ended.code == 2
        assert str(tmp_path / name) in ended.json["message"]
    assert os.listdir(tmp_path) == []


# without a server


def invoke(*arguments: str) -> Ended:
    result = CliRunner().invoke(main, list(arguments), prog_name="caraway")
    return Ended(result.exit_code, result.stdout, result.stderr)


def test_help() -> None:
    top = invoke("--help")
    assert top.code == 0
    for name, text in COMMANDS.items():
        assert name in top.out
        assert text.split()[0] in top.out
    assert "3 credentials refused" in top.out
    assert invoke("-h").out == top.out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_each_command(name: str) -> None:
    ended = invoke(name, "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: caraway {name} ")
    if name in ("key", "screenshot", "type"):
        assert all(
            f"--{flag}" in ended.out for flag in ("json", "password", "password-file", "ca-file", "host-subject")
        )
        assert "URI" in ended.out
        assert "CARAWAY_PASSWORD" in ended.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["screnshot"], "did you mean 'screenshot'"),
        (["zzz"], "zzz"),
        (["screenshot"], "Missing"),
        (["screenshot", "spice://h:1"], "--output"),
        (["key", "spice://h:1"], "CHORD"),
        (["key", "spice://h:1", "a", "--password", "x", "--password-file", __file__], "not both"),
        (["key", "spice://h:1", "a", "--password-file", "/no/such/file"], "does not exist"),
        (["key", "spice://h:1", "a", "--timeout", "0"], "timeout"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_usage_errors(arguments: list[str], text: str) -> None:
    ended = invoke(*arguments)
    assert ended.code == 2
    assert text in ended.err


def test_vv_file_stays_if_there_is_nothing_to_do_with_it(tmp_path: Path) -> None:
    file = tmp_path / "once.vv"
    file.write_text("[virt-viewer]\ntype=spice\nhost=h\nport=1\ndelete-this-file=1\n")
    for arguments in (["type", str(file), "é"], ["key", str(file), "ctrl+zzzz"]):
        ended = invoke(*arguments)
        assert ended.code == 2
        assert file.exists()


def test_version() -> None:
    assert invoke("--version").out.startswith("caraway, version ")


def test_installed_command() -> None:
    command = Path(sys.executable).with_name("caraway")
    if not command.exists():
        pytest.skip("not installed as a command")
    ended = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("caraway, version ")


@pytest.mark.parametrize("statement", ["import caraway", "from caraway.errors import CarawayError"])
def test_import_loads_nothing_of_others(statement: str) -> None:
    """`python -c` with the tests' path, so that what is measured is this tree."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    clean = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    top = {name.partition(".")[0] for name in clean.stdout.split()}
    assert "caraway" in top
    assert top - {"caraway", "__main__"} <= set(sys.stdlib_module_names) | {"sitecustomize", "usercustomize"}


def test_everything_public_can_be_reached() -> None:
    import caraway as package

    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense
