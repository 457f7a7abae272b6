"""Typing on while the VM moves: which keys arrive, and what is shown meanwhile."""

import asyncio
from collections.abc import Sequence
from itertools import islice

import pytest

from caraway.cli.gap import KEYS, Recorder
from caraway.client import Session, keyboard
from caraway.qemu.process import Qemu
from support.moves import COUNTER, STILL, Told, is_used, machine, machines, move, viewing

RUNS = 10
REST = 0.3
"""Seconds of typing on either side of a migration."""

LETTERS = {f"{keyboard.scancode(letter):02x}": letter for letter in KEYS}


def pressed(events: Sequence[str]) -> str:
    """The letters that guests say were pressed."""
    words = [event.split() for event in events]
    return "".join(LETTERS[code] for _, code, state in words if state == "down" and code in LETTERS)


def stuck(events: Sequence[str]) -> set[str]:
    """Keys that were not released, but for the one that was pressed last."""
    last = {code: state for _, code, state in map(str.split, events)}
    return {code for code, state in last.items() if state == "down" and code in LETTERS}


def is_part(text: str, whole: str) -> bool:
    """Whether `text` is `whole` with letters left out."""
    rest = iter(whole)
    return all(letter in rest for letter in text)


async def typed_meanwhile(session: Session, source: Qemu, target: Qemu) -> tuple[int, int, float]:
    """Move the VM while keys are sent. Returns the keys sent, those that the source dropped, the picture's gap."""
    heard = len(source.lines)
    async with Recorder(session, COUNTER, STILL) as recorder:
        await asyncio.sleep(REST)
        await move(source, target)
        await asyncio.sleep(REST)
    await session.inputs.press("enter")
    await target.wait_for("@line")
    record = recorder.record
    learned = record.marks["Switching"]
    sent = "".join(islice(KEYS * (len(record.keys) // len(KEYS) + 1), len(record.keys)))
    before = sum(at < learned for at in record.keys)
    events = [line for line in [*list(source.lines)[heard:], *target.lines] if line.startswith("@key ")]
    got, after = pressed(events), sent[before:]
    assert got.endswith(after), "keys sent after the switch had begun"
    early = got.removesuffix(after)
    assert is_part(early, sent[:before]), "keys twice, or in another order"
    assert stuck(events) == set()
    assert (record.blanks, recorder._blank_since) == ([], None)
    begin, end = record.gap
    return len(sent), before - len(early), end - begin


@pytest.mark.parametrize("seamless", [True, False], ids=["seamless", "semi"])
async def test_typing_through_ten_moves(seamless: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is lost after the client has learned of the switch, nothing is stuck, nothing comes twice, and the
    guest's picture is always there. One session goes through all of it.
    """
    option = {"seamless-migration": seamless}
    told: Told
    figures = []
    async with machines(seamless=seamless) as (source, target), viewing(source.spice_uri()) as (session, told):
        connection = session.main.session_id
        await source.ask("rate 50", "@ok")
        here, there = source, target
        for run in range(RUNS):
            figures.append(await typed_meanwhile(session, here, there))
            await here.aclose()
            here = there
            if run + 1 < RUNS:
                there = machine(f"host-{run}", is_target=True, **option)
                await there.start()
        await is_used(session, here)
        assert session.main.session_id == connection
        assert told.kinds == RUNS * ["Announced", "Linked", "Switching", "Switched"]
        await here.aclose()
    sent, dropped, gaps = zip(*figures, strict=True)
    with capsys.disabled():
        print(f"\n{RUNS} moves: {sum(sent)} keys, dropped by the source {sorted(dropped)},", end=" ")
        print(f"picture's gap {[round(1000 * gap) for gap in sorted(gaps)]} ms")
