"""The guest's sound: a tone that it makes, and the level of what it hears."""

from __future__ import annotations

import math

import numpy as np

FREQUENCY = 48000
CHANNELS = 2
PITCH = 440
AMPLITUDE = 6000
LEVELS = 20
"""Steps of the level meter."""

_PERIOD = FREQUENCY // math.gcd(FREQUENCY, PITCH)
"""Sample frames after which the tone repeats."""


def tone(start: int, frames: int) -> bytes:
    """A piece of the tone that begins at sample frame `start`: signed 16 bit, both channels the same."""
    at = (start + np.arange(frames)) % _PERIOD
    wave = np.rint(AMPLITUDE * np.sin(2 * np.pi * PITCH * at / FREQUENCY)).astype("<i2")
    return np.repeat(wave, CHANNELS).tobytes()


def level(samples: bytes) -> int:
    """How loud samples are: 0 for silence, LEVELS for the loudest, 3 dB a step."""
    wave = np.frombuffer(samples[: len(samples) & ~1], "<i2").astype(np.float64)
    power = float(np.mean(wave * wave)) if wave.size else 0.0
    if power < 1:
        return 0
    return max(0, min(LEVELS, LEVELS + math.ceil(10 * math.log10(power / (1 << 30)) / 3)))
