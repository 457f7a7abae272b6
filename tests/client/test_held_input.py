"""Input that waits while a VM moves (spec/migration.md 15, D-05)."""

from collections.abc import Collection

import pytest

from caraway.client import keyboard
from caraway.client.held_input import MAX_HELD, UNCERTAIN, UNCERTAIN_BUTTON, HeldInput
from caraway.wire.messages.base import Message
from caraway.wire.messages.inputs import (
    KeyDown,
    KeyUp,
    MouseButton,
    MouseButtons,
    MousePosition,
    MousePress,
    MouseRelease,
)

A, B, SHIFT = (keyboard.scancode(name) for name in ("a", "b", "shift"))
NONE, LEFT, RIGHT = MouseButtons(0), MouseButtons.LEFT, MouseButtons.RIGHT


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
        held.sent(up(code))
        now += 0.75
    held.begin([SHIFT], NONE)
    held.keep(down(A))
    assert delivered(held) == [[down(A)]]
    held.sent(up(A))
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


@pytest.mark.parametrize("place", [(3, 4, 0), None])
def test_button_whose_release_may_be_lost_is_pressed_and_released_again(
    monkeypatch: pytest.MonkeyPatch, place: tuple[int, int, int] | None
) -> None:
    now = 100.0
    monkeypatch.setattr("caraway.client.held_input.time.monotonic", lambda: now)

    def first(buttons: MouseButtons) -> Message:
        return MousePress(MouseButton.RIGHT, buttons) if place is None else MousePosition(*place[:2], buttons, place[2])

    held = HeldInput()
    held.sent(MouseRelease(MouseButton.LEFT, RIGHT))
    held.sent(MouseRelease(MouseButton.UP, RIGHT))
    now += UNCERTAIN_BUTTON / 2
    held.begin([], RIGHT)
    held.keep(MouseRelease(MouseButton.RIGHT, NONE))
    again = [first(LEFT | RIGHT), MouseRelease(MouseButton.LEFT, RIGHT), MouseRelease(MouseButton.RIGHT, NONE)]
    assert delivered(held, place) == [again]
    held.begin([], LEFT | RIGHT)
    assert delivered(held, place) == [[first(LEFT | RIGHT)]]


def test_release_of_a_button_that_has_surely_arrived_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("caraway.client.held_input.time.monotonic", lambda: now)
    held = HeldInput()
    held.sent(MouseRelease(MouseButton.LEFT, NONE))
    now += (UNCERTAIN + UNCERTAIN_BUTTON) / 2
    held.begin([], NONE)
    assert delivered(held) == []


def test_release_has_room_where_presses_have_none() -> None:
    held = holding(pressed=[A], buttons=LEFT)
    for _ in range(MAX_HELD):
        held.keep(down(A))
    held.keep(down(A))
    held.keep(MousePress(MouseButton.UP, LEFT))
    held.keep(MouseRelease(MouseButton.UP, LEFT))
    held.keep(MouseRelease(MouseButton.LEFT, NONE))
    held.keep(up(A))
    messages = [message for batch in delivered(held) for message in batch]
    assert messages[-2:] == [MouseRelease(MouseButton.LEFT, NONE), up(A)]
    assert messages.count(down(A)) == MAX_HELD
    assert len(messages) == MAX_HELD + 3


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
