"""Opus packets."""

import array
import itertools
import math
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.codecs import opus
from caraway.errors import CodecError
from support.vectors import load, vectors


def samples(data):
    assert sys.byteorder == "little"
    return array.array("h", data)


@pytest.mark.parametrize("vector", vectors("opus"))
def test_vector(vector):
    payload, expected = load(vector)
    decoder = opus.Decoder(vector["frequency"], vector["channels"])
    decoded, at = [], 0
    while at < len(payload):
        (size,) = struct.unpack_from("<I", payload, at)
        decoded.append(decoder.decode(memoryview(payload)[at + 4 : at + 4 + size]))
        at += 4 + size
    assert len(decoded) == vector["packets"]
    assert {len(part) for part in decoded} == {vector["samples_per_packet"] * vector["channels"] * opus.SAMPLE_BYTES}
    got, want = samples(b"".join(decoded)), samples(expected)
    assert len(got) == len(want)
    assert max(abs(a - b) for a, b in zip(got, want, strict=True)) <= vector["tolerance"]


def tone(rate, channels, packet, hertz=440):
    """The samples of a packet of a lasting tone, the same in each channel."""
    frames = rate // opus.PACKETS_PER_SECOND
    waves = [
        int(10_000 * math.sin(2 * math.pi * hertz * n / rate)) for n in range(packet * frames, (packet + 1) * frames)
    ]
    return array.array("h", [wave for wave in waves for _ in range(channels)]).tobytes()


def loudness(values):
    return math.sqrt(sum(value * value for value in values) / len(values))


def crossings(values):
    return sum((a < 0) != (b < 0) for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("rate", opus.RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_round_trip(rate, channels):
    encoder, decoder = opus.Encoder(rate, channels), opus.Decoder(rate, channels)
    assert encoder.packet_frames == rate // 100
    packets = [encoder.encode(tone(rate, channels, n)) for n in range(60)]
    assert all(0 < len(packet) <= 480 for packet in packets)
    got = samples(b"".join(decoder.decode(packet) for packet in packets))
    left = got[rate // 5 * channels :: channels]
    assert len(got) >= rate // 100 * channels * 55, "a resampler holds a little back"
    assert 0.9 < loudness(left) / (10_000 / math.sqrt(2)) < 1.1
    assert crossings(left) == pytest.approx(2 * 440 * len(left) / rate, abs=3)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (0, 2), (48000, 0), (48000, 3)])
def test_refused_formats(rate, channels):
    with pytest.raises(CodecError, match="channels of"):
        opus.Decoder(rate, channels)
    with pytest.raises(CodecError, match="channels of"):
        opus.Encoder(rate, channels)


def test_packets_of_another_size_are_refused():
    with pytest.raises(CodecError, match="takes 1920 bytes of samples, got 1916"):
        opus.Encoder(48000).encode(bytes(1916))


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff" * 300, b"\xf4" + bytes(2000)])
def test_refused_packets(data):
    decoder = opus.Decoder(48000)
    with pytest.raises(CodecError, match="Opus"):
        decoder.decode(data)
    assert len(decoder.decode(opus.Encoder(48000).encode(bytes(1920)))) == 1920, "the next packet decodes"


@given(st.data())
def test_damaged_packets_are_decoded_or_refused(data):
    encoder, decoder = opus.Encoder(48000), opus.Decoder(48000)
    for packet in range(3):
        damaged = bytearray(encoder.encode(tone(48000, 2, packet)))
        for _ in range(data.draw(st.integers(0, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        del damaged[data.draw(st.integers(0, len(damaged))) :]
        try:
            decoded = decoder.decode(damaged)
        except CodecError:
            continue
        assert len(decoded) <= 48 * 120 * 4


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CodecError, match="pip install av"):
        opus.Decoder(48000)
