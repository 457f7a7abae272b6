"""What is typed and clicked arrives at the guest as it was meant; its serial line says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
import pytest_asyncio

import caraway
from caraway.client import Session
from caraway.client.inputs import PointerModeError
from caraway.endpoint import Endpoint
from caraway.errors import DeadlineError
from caraway.qemu.guest_image import demo_guest
from caraway.qemu.process import Qemu
from caraway.wire.messages.inputs import KeyboardModifiers, KeyModifiers, MousePosition
from caraway.wire.messages.main import MouseModes
from support.certificates import Authority
from support.peers import require_qemu

pytestmark = pytest.mark.asyncio(loop_scope="session")

PRINTABLE = "".join(map(chr, range(32, 127)))


@pytest_asyncio.fixture(loop_scope="session")
async def session(demo_vm: Qemu) -> AsyncIterator[Session]:
    """Keys and mouse of the demo guest, with everything that it said before forgotten."""
    async with caraway.connect(demo_vm.spice_uri(), channels=["inputs"]) as session:
        await forget(demo_vm)
        yield session


async def forget(vm: Qemu) -> None:
    """Let go of everything that the guest has said."""
    await vm.ask("hello", "@hello")
    vm.lines.clear()
    vm._said._unread.clear()


async def said(vm: Qemu, *prefixes: str) -> list[str]:
    """What the guest has said of these kinds, once it has understood all that was sent before."""
    await vm.ask("hello", "@hello")
    return [line for line in vm.lines if line.startswith(prefixes)]


async def line(vm: Qemu) -> str:
    """The next line that was typed at the guest."""
    while not any(line.startswith("@line") for line in vm.lines):
        await vm.wait_for("@line")
    return next(line for line in vm.lines if line.startswith("@line"))


@pytest.mark.parametrize("text", [PRINTABLE[:48], PRINTABLE[48:], "hello world", "AaBb  12!@"])
async def test_text_arrives_as_typed(demo_vm: Qemu, session: Session, text: str) -> None:
    await session.inputs.type(text + "\n")
    assert await line(demo_vm) == f"@line {text}"


async def test_text_without_a_pause_between_keys(demo_vm: Qemu, session: Session) -> None:
    await session.inputs.type("abc\n", interval=0)
    assert await line(demo_vm) == "@line abc"


async def test_keys_pressed_one_by_one_all_arrive(demo_vm: Qemu, session: Session) -> None:
    for letter in ascii_lowercase:
        await session.inputs.press(letter)
    for letter in "123":
        await session.inputs.type(letter)
    await session.inputs.press("enter")
    assert await line(demo_vm) == f"@line {ascii_lowercase}123"


async def test_text_that_no_key_types(demo_vm: Qemu, session: Session) -> None:
    with pytest.raises(caraway.KeyNameError, match="types 'ü'"):
        await session.inputs.type("grün\n")
    assert await said(demo_vm, "@key") == []


async def test_chord(demo_vm: Qemu, session: Session) -> None:
    await session.inputs.press("ctrl+alt+delete")
    await demo_vm.wait_for("@key 1d up")
    assert await said(demo_vm, "@key") == [
        *("@key 1d down", "@key 38 down", "@key e053 down"),
        *("@key e053 up", "@key 38 up", "@key 1d up"),
    ]
    assert session.inputs.pressed == set()


@pytest.mark.parametrize(
    ("name", "code"), [("up", "e048"), ("pause", "e11d45"), ("super", "e05b"), ("kp_enter", "e01c"), ("f12", "58")]
)
async def test_keys_of_several_bytes(demo_vm: Qemu, session: Session, name: str, code: str) -> None:
    await session.inputs.press(name)
    await demo_vm.wait_for(f"@key {code} up")
    assert await said(demo_vm, "@key") == [f"@key {code} down", f"@key {code} up"]


async def test_held_keys(demo_vm: Qemu, session: Session) -> None:
    async with session.inputs.holding("shift"):
        await session.inputs.press("a")
        await session.inputs.press("b")
        assert session.inputs.pressed == {0x2A}
        await demo_vm.wait_for("@key 30 up")
        assert "@key 2a up" not in demo_vm.lines
    await session.inputs.press("c")
    await session.inputs.press("enter")
    assert await line(demo_vm) == "@line ABc"


async def test_keys_held_when_the_client_leaves_are_released(demo_vm: Qemu) -> None:
    async with caraway.connect(demo_vm.spice_uri(), channels=["inputs"]) as session:
        session.inputs.key_down("shift_r")
        await demo_vm.wait_for("@key 36 down")
    await demo_vm.wait_for("@key 36 up")


async def test_lamps(demo_vm: Qemu, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = asyncio.Event()
    handle = session.inputs.handlers[KeyModifiers.id][1]

    def noticing(self: Any, message: Any) -> None:
        handle(self, message)
        changed.set()

    monkeypatch.setitem(session.inputs.handlers, KeyModifiers.id, (KeyModifiers, noticing))

    async def shows(modifiers: KeyboardModifiers) -> None:
        async with asyncio.timeout(10):
            while session.inputs.modifiers != modifiers:
                changed.clear()
                await changed.wait()

    await session.inputs.press("capslock")
    assert await demo_vm.wait_for("@led") == "@led 4"
    await shows(KeyboardModifiers.CAPS_LOCK)
    await session.inputs.press("capslock")
    assert await demo_vm.wait_for("@led") == "@led 0"
    await shows(KeyboardModifiers(0))


async def test_click_at_an_exact_pixel(demo_vm: Qemu, session: Session) -> None:
    for x, y, button, number in (
        (0, 0, "left", 1),
        (799, 599, "right", 3),
        (400, 17, "middle", 2),
        (123, 456, "left", 1),
    ):
        await session.inputs.click(x, y, button)
        for change in "down", "up":
            assert await demo_vm.wait_for(f"@button {number} {change}") == f"@button {number} {change} {x} {y}"


async def test_double_click_and_wheel(demo_vm: Qemu, session: Session) -> None:
    await session.inputs.click(50, 60, count=2)
    await session.inputs.scroll(2)
    await session.inputs.scroll(-1)
    await demo_vm.wait_for("@wheel -1")
    assert await said(demo_vm, "@button", "@wheel") == [
        *(f"@button 1 {change} 50 60" for change in ("down", "up", "down", "up")),
        *("@wheel 1", "@wheel 1", "@wheel -1"),
    ]


async def test_drag(demo_vm: Qemu, session: Session) -> None:
    await session.inputs.drag((100, 100), (300, 200))
    await demo_vm.wait_for("@button 1 up")
    assert (await said(demo_vm, "@button", "@pointer"))[-3:] == [
        *("@button 1 down 100 100", "@pointer 300 200", "@button 1 up 300 200"),
    ]


async def test_burst_of_moves(demo_vm: Qemu, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most eight motions are unacknowledged, and the last position arrives."""
    inputs, sent, unacknowledged = session.inputs, [], []
    send = inputs.flow.send

    def recording(message: Any) -> None:
        send(message)
        if isinstance(message, MousePosition):
            sent.append(message)
            unacknowledged.append(inputs._unacknowledged)

    monkeypatch.setattr(inputs.flow, "send", recording)
    for step in range(200):
        await inputs.move(100 + step, 500 - step)
    await demo_vm.wait_for("@pointer 299 301")
    assert max(unacknowledged) <= 8
    pointers = await said(demo_vm, "@pointer")
    assert pointers[-1] == "@pointer 299 301"
    assert inputs._unacknowledged <= 8


async def test_burst_of_moves_and_a_click(demo_vm: Qemu, session: Session) -> None:
    for step in range(100):
        await session.inputs.move(100 + step, 100)
    await session.inputs.click()
    assert await demo_vm.wait_for("@button 1 down") == "@button 1 down 199 100"


async def test_last_position_before_leaving(demo_vm: Qemu) -> None:
    for turn in range(5):
        async with caraway.connect(demo_vm.spice_uri(), channels=["inputs"]) as session:
            for step in range(40):
                await session.inputs.move(10 + step, 20 + turn)
        await demo_vm.wait_for(f"@pointer 49 {20 + turn}")


async def moved_by_a_burst(session: Session, vm: Qemu) -> int:
    """Return how far the guest saw the pointer go for a hundred steps of one pixel."""
    for _ in range(100):
        await session.inputs.move_by(1, 0)
    moved = 0
    with suppress(DeadlineError):
        while moved < 100:
            moved += int((await vm.wait_for("@motion", within=3)).split()[1])
    return moved


async def test_relative_motion(demo_vm: Qemu) -> None:
    async with caraway.connect(demo_vm.spice_uri(), channels=["inputs"], mouse_mode="server") as session:
        async with asyncio.timeout(10):
            while session.main.mouse_mode != MouseModes.SERVER:
                session.main.mouse_mode_changed.clear()
                await session.until(session.main.mouse_mode_changed.wait())
        await demo_vm.ask("mouse relative", "@ok")
        # QEMU adds to the first motion what it had counted to wake the guest for positions.
        await session.inputs.move_by(1, 0)
        await demo_vm.wait_for("@motion")
        await forget(demo_vm)
        await session.inputs.move_by(5, -7)
        assert await demo_vm.wait_for("@motion") == "@motion 5 -7"
        # A busy guest's PS/2 driver throws a packet away whose bytes come too far apart; it does not every time.
        assert 100 in [await moved_by_a_burst(session, demo_vm) for _ in range(3)]
        # A click on the heels of a burst may be lost: QEMU's mouse queues four packets, then only sums up.
        await session.inputs.click()
        await demo_vm.wait_for("@button 1 down")
        await demo_vm.wait_for("@button 1 up")
        with pytest.raises(PointerModeError, match=r"use move_by\(\)"):
            await session.inputs.move(1, 1)
        await demo_vm.ask("mouse absolute", "@ok")
    async with caraway.connect(demo_vm.spice_uri(), channels=["inputs"]) as session:
        await session.inputs.move(77, 78)
        await demo_vm.wait_for("@pointer 77 78")
        with pytest.raises(PointerModeError, match="is absolute"):
            await session.inputs.move_by(1, 1)


async def test_keys_sent_just_before_closing_arrive(demo_vm: Qemu) -> None:
    await forget(demo_vm)
    for _ in range(10):
        for key in "abcdefghi\n":
            async with caraway.connect(demo_vm.spice_uri(), channels=["inputs"]) as session:
                await session.inputs.type(key)
        assert await demo_vm.wait_for("@line") == "@line abcdefghi"


async def test_keys_sent_over_tls_just_before_closing_arrive(authority: Authority, certificates: Path) -> None:
    require_qemu()
    spice = {"tls-port": "auto", "x509-dir": str(certificates), "disable-ticketing": True}
    async with Qemu(demo_guest(), spice=spice) as vm:
        await vm.wait_for("@ready")
        assert vm.spice is not None
        endpoint = Endpoint(host="localhost", tls_port=vm.spice.tls_port, ca=authority.pem)
        for key in [*"abcdefghijklmno", "enter"]:
            async with caraway.connect(endpoint, channels=["inputs"]) as session:
                await session.inputs.press(key)
        assert await vm.wait_for("@line") == "@line abcdefghijklmno"


async def test_small_guest_sees_keys_and_positions(small_machines: dict[tuple[str, str], Qemu]) -> None:
    """A Linux guest's own numbers: KEY_A is 30, BTN_LEFT 272, the axes go from 0 to 32767."""
    vm = small_machines["std", "default"]
    async with caraway.connect(vm.spice_uri()) as session:
        await session.display.ready()
        width, height = session.display.size
        await session.inputs.press("a")
        assert await vm.wait_for("@key 30 ") == "@key 30 1"
        assert await vm.wait_for("@key 30 ") == "@key 30 0"
        await session.inputs.click(width // 2, height // 4)
        x = int((await vm.wait_for("@abs 0 ")).split()[2])
        y = int((await vm.wait_for("@abs 1 ")).split()[2])
        assert x == pytest.approx(0x7FFF / 2, abs=0x7FFF / width)
        assert y == pytest.approx(0x7FFF / 4, abs=0x7FFF / height)
        assert await vm.wait_for("@key 272 ") == "@key 272 1"
        assert await vm.wait_for("@key 272 ") == "@key 272 0"
