"""Input that waits while a VM moves (spec/migration.md 15, D-05)."""

from collections.abc import Collection

import pytest

from caraway.client import keyboard
from caraway.client.held_input import MAX_HELD, HeldInput
from caraway.wire.messages.base import Message
from caraway.wire.messages.inputs import KeyDown, KeyUp, MouseButton, MouseButtons, MousePosition, MousePress

A, B, SHIFT = (keyboard.scancode(name) for name in ("a", "b", "shift"))
NONE, LEFT = MouseButtons(0), MouseButtons.LEFT


def down(code: int) -> KeyDown:
    return KeyDown(keyboard.key_down(code))


def up(code: int) -> KeyUp:
    return KeyUp(keyboard.key_up(code))


def holding(pressed: Collection[int] = (), buttons: MouseButtons = NONE) -> HeldInput:
    held = HeldInput()
    held.begin(pressed, buttons)
    return held


def delivered(held: HeldInput, place: tuple[int, int, int] | None = None) -> list[list[Message]]:
    held.open(place)
    return list(iter(held.next, []))


def test_keys_are_delivered_one_by_one_in_their_order() -> None:
    held = holding()
    move = MousePosition(1, 2, NONE, 0)
    for message in down(A), up(A), move, down(B), up(B), move:
        held.keep(message)
    assert held.active
    assert delivered(held) == [[down(A)], [up(A)], [move, down(B)], [up(B)], [move]]
    assert not held.active


def test_what_comes_meanwhile_waits_behind() -> None:
    held = holding()
    held.keep(down(A))
    held.open(None)
    assert held.next() == [down(A)]
    assert held.active
    held.keep(up(A))
    assert held.next() == [up(A)]
    assert held.next() == []


def test_release_that_may_be_lost_is_sent_again_unless_the_key_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("caraway.client.held_input.time.monotonic", lambda: now)
    held = HeldInput()
    for code in B, A, SHIFT:
        held.let_go(keyboard.key_up(code))
        now += 0.75
    held.begin([SHIFT], NONE)
    held.keep(down(A))
    assert delivered(held) == [[down(A)]]
    held.let_go(keyboard.key_up(A))
    held.begin([SHIFT], NONE)
    held.keep(down(A))
    assert delivered(held) == [[up(A)], [down(A)]]


def test_other_qemu_is_told_of_the_mouse() -> None:
    release = up(SHIFT)
    for place, first in ((3, 4, 0), MousePosition(3, 4, LEFT, 0)), (None, MousePress(MouseButton.LEFT, LEFT)):
        held = holding(buttons=LEFT)
        held.keep(release)
        assert delivered(held, place) == [[first, release]]
    assert delivered(holding(), None) == []


def test_key_without_room_is_dropped_as_a_whole() -> None:
    held = holding()
    for _ in range(MAX_HELD // 2):
        held.keep(down(A))
        held.keep(up(A))
    held.keep(down(B))
    held.keep(up(B))
    held.keep(up(A))
    codes = [message for batch in delivered(held) for message in batch]
    assert down(B) not in codes
    assert up(B) not in codes
    assert codes.count(up(A)) == MAX_HELD // 2 + 1


def test_forgotten() -> None:
    held = holding(buttons=LEFT)
    held.keep(down(A))
    held.discard()
    assert not held.active
    assert delivered(held, (1, 1, 0)) == []
