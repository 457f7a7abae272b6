"""Damage to payloads: bits, numbers, pieces left out, doubled or brought in from another."""

import random
from collections.abc import Iterator

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutations(seeds: list[bytes], number: int) -> Iterator[bytes]:
    """Payloads without end, the same for the same `number`."""
    dice = random.Random(number)
    while True:
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
            _damage(data, dice, seeds)
        yield bytes(data)


def _damage(data: bytearray, dice: random.Random, seeds: list[bytes]) -> None:
    at = dice.randrange(len(data) + 1)
    how = dice.randrange(8)
    if how == 0:
        del data[at:]
    elif how == 1:
        del data[at : at + dice.randrange(1, 9)]
    elif how == 2:
        data[at:at] = data[at : at + dice.randrange(1, 33)]
    elif how == 3:
        other = dice.choice(seeds)
        start = dice.randrange(len(other) + 1)
        data[at : at + 16] = other[start : start + dice.randrange(1, 65)]
    elif how == 4:
        number = dice.choice(NUMBERS).to_bytes(4, dice.choice(("big", "little")))
        data[at : at + 4] = number[: len(data) - at]
    elif at < len(data):
        data[at] = dice.choice((data[at] ^ 1 << dice.randrange(8), dice.randrange(256)))
