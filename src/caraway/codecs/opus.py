"""Opus packets to samples and back, by FFmpeg (spec/streams.md 7).

Samples are signed 16-bit little-endian, channels interleaved. FFmpeg comes with PyAV, which Caraway does not need
otherwise: pip install av.
"""

from __future__ import annotations

import fractions
from typing import TYPE_CHECKING, Literal

from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

RATES = (48000, 24000, 16000, 12000, 8000)
"""Sample frames a second that Opus codes."""

PACKETS_PER_SECOND = 100
SAMPLE_BYTES = 2

_DECODED_RATE = 48000
_LAYOUTS = {1: "mono", 2: "stereo"}


class Decoder:
    """Decodes the packets of one playback.

    rate: sample frames a second, one of `RATES`. channels: 1 or 2.
    Raises CodecError for other values, or if PyAV is missing.
    """

    def __init__(self, rate: int, channels: int = 2) -> None:
        self._context = _context("r", rate, channels)
        self._resampler = None
        if rate != _DECODED_RATE:
            import av

            self._resampler = av.AudioResampler(format="s16", layout=_LAYOUTS[channels], rate=rate)
        self._frame_bytes = SAMPLE_BYTES * channels

    def decode(self, packet: Buffer) -> bytes:
        """The samples of one packet: 10 ms as deployed servers send them, 120 ms at most.

        Raises CodecError; later packets decode nevertheless.
        """
        import av
        import av.error

        if not len(packet):
            raise CodecError("Opus: packet of 0 bytes")
        try:
            frames = self._context.decode(av.Packet(bytes(packet)))
            if self._resampler is not None:
                frames = [part for frame in frames for part in self._resampler.resample(frame)]
        except (av.error.FFmpegError, ValueError) as error:
            raise CodecError(f"Opus: {error}") from None
        return b"".join([bytes(frame.planes[0])[: frame.samples * self._frame_bytes] for frame in frames])


class Encoder:
    """Encodes samples, 10 ms a packet.

    rate: sample frames a second, one of `RATES`. channels: 1 or 2.
    Raises CodecError for other values, or if PyAV is missing.
    """

    def __init__(self, rate: int, channels: int = 2) -> None:
        self._context = _context("w", rate, channels)
        self._context.format = "s16"
        self._context.options = {"frame_duration": str(1000 // PACKETS_PER_SECOND)}
        self._context.time_base = fractions.Fraction(1, rate)
        self._rate = rate
        self._layout = _LAYOUTS[channels]
        self.packet_frames = rate // PACKETS_PER_SECOND
        """Sample frames that go into a packet."""
        self._packet_bytes = self.packet_frames * channels * SAMPLE_BYTES

    def encode(self, samples: Buffer) -> bytes:
        """One packet of exactly `packet_frames` sample frames. Raises CodecError for another number of them."""
        import av

        if len(samples) != self._packet_bytes:
            raise CodecError(f"Opus: a packet takes {self._packet_bytes} bytes of samples, got {len(samples)}")
        frame = av.AudioFrame("s16", self._layout, self.packet_frames)
        frame.sample_rate = self._rate
        frame.planes[0].update(bytes(samples))
        return b"".join([bytes(packet) for packet in self._context.encode(frame)])


def _context(mode: Literal["r", "w"], rate: int, channels: int) -> AudioCodecContext:
    if rate not in RATES or channels not in _LAYOUTS:
        raise CodecError(f"Opus: {channels} channels of {rate} samples a second")
    try:
        import av
        import av.error
    except ImportError:
        raise CodecError("Opus audio needs PyAV: pip install av") from None
    try:
        context = av.CodecContext.create("libopus", mode)
    except (av.error.FFmpegError, ValueError) as error:
        raise CodecError(f"Opus: this FFmpeg has no codec for it: {error}") from None
    context.sample_rate = rate
    context.layout = _LAYOUTS[channels]
    return context
