"""What playback and record have in common: whether sound can be coded as Opus."""

from __future__ import annotations

import functools

from caraway.codecs import opus
from caraway.errors import CodecError


@functools.cache
def codes_opus(frequency: int, channels: int) -> bool:
    """Whether sound of this kind can be coded here: Opus has few rates, and needs PyAV."""
    if frequency not in opus.RATES:
        return False
    try:
        opus.Encoder(frequency, channels)
        opus.Decoder(frequency, channels)
    except CodecError:
        return False
    return True
