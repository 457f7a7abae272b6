import subprocess
from pathlib import Path

import pytest

from caraway.qemu.guest_image import GuestImageError, demo_guest
from caraway.qemu.process import Qemu
from caraway.qemu.programs import MissingProgramError
from support.guests import demo, ppm_size_and_crc, press, send_events
from support.peers import require


async def screen_sum(vm: Qemu) -> tuple[int, int, int]:
    _, width, height, crc = (await vm.ask("sum", "@sum")).split()
    return int(width), int(height), int(crc, 16)


async def count(vm: Qemu) -> int:
    return int((await vm.ask("count", "@count")).split()[1])


async def absolute_mouse(vm: Qemu) -> bool:
    return any(mouse["current"] and mouse["absolute"] for mouse in await vm.qmp("query-mice"))


@pytest.mark.parametrize("vga", ["std", "qxl"])
async def test_shows_what_it_says_it_shows(vga: str) -> None:
    async with demo(vga=vga) as vm:
        assert vm.lines[0] == "@ready 800x600"
        assert await vm.ask("freeze") == "@ok"
        first = await screen_sum(vm)
        assert first == ppm_size_and_crc(await vm.screendump("ppm"))
        assert await vm.ask("mode 1024 768") == "@ok"
        second = await screen_sum(vm)
        assert second[:2] == (1024, 768)
        assert second == ppm_size_and_crc(await vm.screendump("ppm"))


async def test_frozen_screen_stands_still_and_a_thawed_one_counts() -> None:
    async with demo() as vm:
        assert await vm.ask("rate 100") == "@ok"
        await vm.ask("freeze")
        before, stopped = await screen_sum(vm), await count(vm)
        assert await vm.ask("tick 50") == "@ok"
        await vm.wait_for("@tick 4")
        await vm.ask("tick 0", "@ok")
        assert (await screen_sum(vm), await count(vm)) == (before, stopped)
        await vm.ask("thaw", "@ok")
        await vm.ask("tick 50", "@ok")
        await vm.wait_for("@tick 4 ")
        assert await count(vm) >= stopped + 20
        await vm.ask("freeze", "@ok")
        assert (await screen_sum(vm))[2] != before[2]


async def test_types_lines() -> None:
    async with demo() as vm:
        await press(vm, "h", "i", "x", "backspace", "spc")
        assert await vm.wait_for("@key 23 ") == "@key 23 down"
        assert await vm.wait_for("@key 23 ") == "@key 23 up"
        await press(vm, "caps_lock", "a", "caps_lock")
        assert await vm.wait_for("@led") == "@led 4"
        assert await vm.wait_for("@led") == "@led 0"
        await send_events(vm, ("key", {"key": {"type": "qcode", "data": "shift"}, "down": True}))
        await press(vm, "1", "b")
        await send_events(vm, ("key", {"key": {"type": "qcode", "data": "shift"}, "down": False}))
        await press(vm, "kp_7", "num_lock", "kp_7", "up", "pause", "ret")
        assert await vm.wait_for("@line") == "@line hi A!B7"
        assert {"@key e048 down", "@key e048 up", "@key e11d45 down", "@led 2"} <= set(vm.lines)


async def test_lock_keys_light_the_keyboards_lamps(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with demo(extra=("-D", str(trace), "-trace", "ps2_set_ledstate")) as vm:
        await press(vm, "caps_lock", "num_lock", "scroll_lock")
        assert [await vm.wait_for("@led") for _ in range(3)] == ["@led 4", "@led 6", "@led 7"]
        await vm.ask("quit", "@bye")
        await vm.wait_ended()
    assert trace.read_text().split()[-1] == "7"


async def test_clicks_with_the_absolute_pointer() -> None:
    async with demo() as vm:
        assert await absolute_mouse(vm)
        assert await vm.ask("pointer on") == "@ok"
        before = await vm.ask("freeze", "@ok"), await screen_sum(vm)
        position = [("abs", {"axis": "x", "value": 16384}), ("abs", {"axis": "y", "value": 8192})]
        await send_events(vm, *position)
        assert await vm.wait_for("@pointer") == "@pointer 400 150"
        for button, number in ("left", 1), ("middle", 2), ("right", 3):
            for down, change in (True, "down"), (False, "up"):
                await send_events(vm, ("btn", {"button": button, "down": down}))
                assert await vm.wait_for("@button") == f"@button {number} {change} 400 150"
        await send_events(vm, ("btn", {"button": "wheel-up", "down": True}))
        assert await vm.wait_for("@wheel") == "@wheel 1"
        assert (await screen_sum(vm))[2] != before[1][2]


async def test_moves_with_the_relative_mouse() -> None:
    async with demo() as vm:
        assert await vm.ask("mouse relative") == "@ok"
        assert not await absolute_mouse(vm)
        await vm.ask("pointer on", "@ok")
        await send_events(vm, ("rel", {"axis": "x", "value": 5}), ("rel", {"axis": "y", "value": -7}))
        assert await vm.wait_for("@motion") == "@motion 5 -7"
        for button, number in ("left", 1), ("side", 6), ("extra", 7):
            await send_events(vm, ("btn", {"button": button, "down": True}))
            assert await vm.wait_for("@button") == f"@button {number} down 405 293"
        await send_events(vm, ("btn", {"button": "wheel-down", "down": True}))
        assert await vm.wait_for("@wheel") == "@wheel -1"
        assert await vm.ask("mouse absolute", "@ok")
        assert await absolute_mouse(vm)


@pytest.mark.parametrize(
    "line", ["mode 5 5", "mode 801 600", "mode 99999 99999", "mouse sideways", "rate -1", "tick soon", "pointer"]
)
async def test_refuses_nonsense(line: str) -> None:
    async with demo() as vm:
        assert await vm.ask(line) == f"@err bad arguments: {line.split()[0]}"
        assert await vm.ask("dance") == "@err unknown command: dance"
        assert (await vm.ask("hello")).startswith("@hello ")


async def test_powers_off() -> None:
    async with demo() as vm:
        assert await vm.ask("quit", "@bye") == "@bye"
        assert await vm.wait_ended() == 0


async def test_survives_a_live_migration() -> None:
    target = Qemu(demo_guest(), extra=("-incoming", "defer"))
    async with demo() as source, target:
        await press(source, "a")
        await source.wait_for("@key 1e up")
        for vm in source, target:
            await vm.qmp("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        uri = f"unix:{target.directory / 'incoming'}"
        await target.qmp("migrate-incoming", uri=uri)
        await source.ask("tick 50", "@ok")
        await source.wait_for("@tick 2 ")
        counted = await count(source)
        await source.qmp("migrate", uri=uri)
        await source.wait_event("MIGRATION", status="completed")
        await target.wait_for("@tick ")
        assert await count(target) >= counted
        await target.ask("freeze", "@ok")
        assert await screen_sum(target) == ppm_size_and_crc(await target.screendump("ppm"))
        assert await absolute_mouse(target)
        await press(target, "b", "ret")
        assert await target.wait_for("@line") == "@line ab"
        assert not any(line.startswith("@ready") for line in target.lines)


def test_image_is_built_once_and_rebuilt_after_a_change_of_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("gcc", "apt-get install gcc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = demo_guest()
    assert image.parent == tmp_path / "caraway"
    built = image.stat().st_mtime_ns
    monkeypatch.setattr(subprocess, "run", None)
    assert demo_guest() == image
    assert image.stat().st_mtime_ns == built
    assert [path.name for path in image.parent.iterdir()] == [image.name]
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("caraway.qemu.guest_image.FLAGS", ("-fsyntax-only", "--no-such-option"))
    with pytest.raises(GuestImageError, match="no-such-option"):
        demo_guest()


def test_missing_compiler_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingProgramError, match="apt-get install gcc"):
        demo_guest()


def test_unwritable_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "caraway").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(GuestImageError, match="XDG_CACHE_HOME"):
        demo_guest()
