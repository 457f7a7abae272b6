import asyncio
import os
import socket
import stat

import pytest

from caraway.errors import DeadlineError
from caraway.qemu import spice_options
from caraway.qemu.guest_image import demo_guest
from caraway.qemu.mailbox import Mailbox
from caraway.qemu.process import Qemu, QemuError, QmpError
from caraway.qemu.programs import MissingProgramError
from caraway.qemu.spice_options import SpiceOptions
from support.guests import demo
from support.peers import require_qemu


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_leaves_nothing_behind() -> None:
    async with demo(spice={"unix": True, "disable-ticketing": True}) as vm:
        directory, pid = vm.directory, vm.pid
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert (directory / "spice").is_socket()
        assert is_running(pid)
    assert not directory.exists()
    assert not is_running(pid)
    await vm.aclose()


async def test_leaves_nothing_behind_when_cancelled() -> None:
    started = asyncio.Event()
    vm = Qemu()

    async def run() -> None:
        async with vm:
            started.set()
            await vm.wait_for("@never")

    require_qemu()
    task = asyncio.create_task(run())
    await started.wait()
    directory, pid = vm.directory, vm.pid
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not directory.exists()
    assert not is_running(pid)


async def test_qmp_and_events() -> None:
    async with demo(name="alpha, beta") as vm:
        assert await vm.qmp("query-name") == {"name": "alpha, beta"}
        with pytest.raises(QmpError, match="no-such-thing") as refused:
            await vm.qmp("no-such-thing")
        assert refused.value.kind == "CommandNotFound"
        await vm.qmp("stop")
        await vm.wait_event("STOP")
        with pytest.raises(DeadlineError, match="RESUME"):
            await vm.wait_event("RESUME", within=0)
        await vm.qmp("cont")
        await vm.wait_event("RESUME")
        await vm.qmp("quit")
        assert (await vm.wait_event("SHUTDOWN", reason="host-qmp-quit"))["guest"] is False
        assert await vm.wait_ended() == 0


async def test_screendump_is_a_picture() -> None:
    async with demo() as vm:
        assert (await vm.screendump()).startswith(b"\x89PNG\r\n")
        assert (await vm.screendump("ppm")).startswith(b"P6\n800 600\n255\n")
        assert list(vm.directory.iterdir()) == []


async def test_lines_are_given_once_and_in_any_order() -> None:
    async with demo() as vm:
        vm.send("tick 10")
        await vm.wait_for("@tick 3 ")
        assert (await vm.wait_for("@tick")).startswith("@tick 1 ")
        assert (await vm.wait_for("@tick")).startswith("@tick 2 ")
        assert await vm.wait_for("@ok") == "@ok"
        with pytest.raises(DeadlineError, match=r"@ready.*within 0 s.*'@tick"):
            await vm.wait_for("@ready", within=0)
        assert vm.lines[0] == "@ready 800x600"


async def test_death_fails_every_wait_and_quotes_stderr() -> None:
    async with demo() as vm:
        waiting = asyncio.create_task(vm.wait_for("@never"))
        await asyncio.sleep(0)
        os.kill(vm.pid, 9)
        with pytest.raises(QemuError, match="ended by SIGKILL"):
            await waiting
        assert await vm.wait_ended() == -9
        for call in (vm.qmp("query-status"), vm.wait_for("@x"), vm.ask("hello"), vm.wait_event("STOP")):
            with pytest.raises(QemuError, match="ended by SIGKILL"):
                await call


async def test_refused_arguments_are_quoted() -> None:
    require_qemu()
    vm = Qemu(extra=("-device", "no-such-device"))
    with pytest.raises(QemuError, match=r"status 1.*no-such-device"):
        await vm.start()
    assert not vm.directory.exists()


async def test_missing_qemu_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingProgramError, match="apt-get install qemu-system-x86"):
        await Qemu().start()


async def test_spice_server_listens_where_the_uri_says() -> None:
    async with demo(spice={"disable-ticketing": True}, vga="qxl") as vm:
        assert vm.spice is not None
        assert vm.spice_uri() == f"spice://127.0.0.1:{vm.spice.port}"
        server = await vm.qmp("query-spice")
        assert (server["host"], server["port"], server["auth"]) == ("127.0.0.1", vm.spice.port, "none")
        _, writer = await asyncio.open_connection("127.0.0.1", vm.spice.port)
        writer.close()
        await writer.wait_closed()


async def test_lost_port_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        choose = spice_options.free_ports
        choices = iter([[port], choose(1)])
        monkeypatch.setattr(spice_options, "free_ports", lambda count, address: next(choices))
        async with demo(spice={"port": "auto", "disable-ticketing": True}) as vm:
            assert vm.spice is not None
            assert vm.spice.port != port
        monkeypatch.undo()
        with pytest.raises(QemuError, match=str(port)):
            await Qemu(demo_guest(), spice={"port": port, "disable-ticketing": True}).start()


def test_spice_arguments_and_uris() -> None:
    tls = SpiceOptions({"tls-port": 5901, "addr": "::1", "x509-dir": "/a,b", "sasl": True, "seamless-migration": False})
    assert tls.argument == "tls-port=5901,addr=::1,x509-dir=/a,,b,sasl=on,seamless-migration=off"
    assert tls.uri() == "spice://[::1]?tls-port=5901"
    both = SpiceOptions({"port": 5900, "tls-port": 5901, "addr": "0.0.0.0"})
    assert both.uri("host.example") == "spice://host.example?port=5900&tls-port=5901"
    assert SpiceOptions({"unix": True, "addr": "/run/x"}).uri() == "spice+unix:///run/x"


async def test_mailbox_forgets_the_oldest() -> None:
    box: Mailbox[int] = Mailbox(2)
    for number in range(4):
        box.put(number)
    assert await box.expect(lambda number: True) == 2
    fresh = box.expect(lambda number: True, fresh=True)
    box.put(4)
    assert await fresh == 4
    assert await box.expect(lambda number: True) == 3


async def test_mailbox_skips_who_no_longer_waits() -> None:
    box: Mailbox[int] = Mailbox(2)
    box.expect(lambda number: True).cancel()
    box.put(1)
    assert await box.expect(lambda number: True) == 1
    box.end(EOFError())
    with pytest.raises(EOFError):
        await box.expect(lambda number: True)
