"""Playback and record over real sockets."""

from __future__ import annotations

import math
import struct

import pytest

from caraway.codecs import opus
from caraway.server import Playback, Record, Server
from caraway.server import playback as playing
from caraway.server.playback import PlaybackChannel
from caraway.server.record import RecordChannel
from caraway.wire.capabilities import Capabilities, MainCapability, PlaybackCapability, RecordCapability
from caraway.wire.constants import ChannelType, LinkErrorCode
from caraway.wire.link import LinkRefusedError
from caraway.wire.messages import playback, record
from caraway.wire.messages.main import AttachChannels, ChannelsList, MultiMediaTime
from caraway.wire.messages.playback import AudioFormat, AudioMode
from support.raw_client import RawChannel, raw_client
from support.serving import SeenGuest, serving, until

HEARS = Capabilities([PlaybackCapability.VOLUME, PlaybackCapability.LATENCY, PlaybackCapability.OPUS])
HEARS_RAW = Capabilities([PlaybackCapability.VOLUME])
SPEAKS = Capabilities([RecordCapability.VOLUME, RecordCapability.OPUS])
PLAYBACK, RECORD = ChannelType.PLAYBACK, ChannelType.RECORD


def tone(frames: int, channels: int = 2, frequency: int = 48000) -> bytes:
    return b"".join(
        struct.pack("<h", round(12000 * math.sin(2 * math.pi * 440 * frame / frequency))) * channels
        for frame in range(frames)
    )


def loudness(samples: bytes) -> float:
    values = struct.unpack(f"<{len(samples) // 2}h", samples)
    return math.sqrt(sum(value * value for value in values) / len(values))


class SoundGuest(SeenGuest):
    """A guest with a loudspeaker and a microphone."""

    def __init__(self, frequency: int = 48000, channels: int = 2) -> None:
        super().__init__()
        self.playback = self.speaker = Playback(frequency, channels)
        self.record = self.microphone = Record(frequency, channels)
        self.recorded = bytearray()
        self.microphone.received.connect(self.recorded.extend)


def server_channel(server: Server, kind: ChannelType) -> PlaybackChannel | RecordChannel:
    (viewer,) = server.viewers.values()
    channel = viewer.channels[kind, 0]
    assert isinstance(channel, PlaybackChannel | RecordChannel)
    return channel


async def test_a_guest_without_sound_has_no_such_channels() -> None:
    async with serving() as server, raw_client(server.port) as client:
        main = await client.main()
        main.send(AttachChannels())
        entries = (await main.expect(ChannelsList)).entries
        assert not {PLAYBACK, RECORD} & {entry.type for entry in entries}
        with pytest.raises(LinkRefusedError) as caught:
            await client.link(PLAYBACK)
        assert caught.value.code == LinkErrorCode.CHANNEL_NOT_AVAILABLE


@pytest.mark.parametrize(("frequency", "codes"), [(48000, True), (8000, True), (44100, False)])
async def test_opus_is_announced_for_its_rates(frequency: int, codes: bool) -> None:
    pytest.importorskip("av")
    async with serving(SoundGuest(frequency)) as server, raw_client(server.port) as client:
        await client.main()
        heard, spoken = await client.link(PLAYBACK), await client.link(RECORD)
        assert (PlaybackCapability.OPUS in heard.link.server_channel) is codes
        assert (RecordCapability.OPUS in spoken.link.server_channel) is codes
        assert PlaybackCapability.VOLUME in heard.link.server_channel
        assert RecordCapability.VOLUME in spoken.link.server_channel


async def begin(channel: RawChannel, mode: AudioMode) -> playback.Start:
    assert (await channel.expect(playback.Mode)).mode == mode
    return await channel.expect(playback.Start)


@pytest.mark.parametrize("channels", [1, 2, 6])
async def test_samples_come_in_packets_of_480_frames(channels: int) -> None:
    guest = SoundGuest(channels=channels)
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PLAYBACK, channel=HEARS_RAW)
        sound = tone(480 * 5, channels)
        for at in range(0, len(sound), 2 * channels * 100):
            guest.speaker.write(sound[at : at + 2 * channels * 100])
        start = await begin(channel, AudioMode.RAW)
        assert (start.num_channels, start.format, start.frequency) == (channels, AudioFormat.S16, 48000)
        packets = [await channel.expect(playback.Data) for _ in range(5)]
        assert b"".join(bytes(packet.data) for packet in packets) == sound
        assert [packet.time for packet in packets] == sorted(packet.time for packet in packets)
        assert all(len(packet.data) == 960 * channels for packet in packets)


@pytest.mark.parametrize("frequency", [48000, 24000, 8000])
async def test_sound_as_opus(frequency: int) -> None:
    pytest.importorskip("av")
    guest = SoundGuest(frequency)
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PLAYBACK, channel=HEARS)
        sound = tone(frequency // 2, 2, frequency)
        decoder = opus.Decoder(frequency)
        heard = b""
        for _ in range(2):
            guest.speaker.start()
            for at in range(0, len(sound), frequency // 100 * 4):
                guest.speaker.write(sound[at : at + frequency // 100 * 4])
            guest.speaker.stop()
        assert (await begin(channel, AudioMode.OPUS)).frequency == frequency
        while isinstance(packet := await channel.receive(), playback.Data):
            assert len(packet.data) <= 480
            heard += decoder.decode(packet.data)
        assert isinstance(packet, playback.Stop)
        assert len(heard) > len(sound) * 0.8
        assert loudness(heard) == pytest.approx(loudness(sound), rel=0.1)
        assert isinstance(await channel.receive(), playback.Start)


async def test_a_viewer_that_comes_while_sound_plays() -> None:
    guest = SoundGuest()
    guest.speaker.set_volume([40000, 20000], mute=True)
    guest.speaker.start()
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PLAYBACK, channel=HEARS_RAW)
        got = [await channel.receive() for _ in range(4)]
        assert [type(message) for message in got] == [playback.Mode, playback.Volume, playback.Mute, playback.Start]
        assert isinstance(got[1], playback.Volume)
        assert got[1].volumes == [40000, 20000]
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        plain = await client.link(PLAYBACK)
        got = [await plain.receive() for _ in range(2)]
        assert [type(message) for message in got] == [playback.Mode, playback.Start]


async def test_the_clock_is_the_servers_again_when_sound_stops() -> None:
    guest = SoundGuest()
    async with serving(guest) as server, raw_client(server.port) as client:
        main = await client.main(channel=Capabilities([MainCapability.NAME_AND_UUID]))
        channel = await client.link(PLAYBACK)
        guest.speaker.write(bytes(4 * 1000))
        guest.speaker.stop()
        await channel.expect(playback.Stop)
        await main.expect(MultiMediaTime)


async def test_latency_is_for_who_knows_it() -> None:
    async with serving(SoundGuest()) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PLAYBACK, channel=HEARS)
        await channel.expect(playback.Mode)
        served = server_channel(server, PLAYBACK)
        assert isinstance(served, PlaybackChannel)
        served.want_latency(200)
        assert (await channel.expect(playback.Latency)).latency_ms == 200


async def test_a_slow_viewer_hears_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = SoundGuest()
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(PLAYBACK, channel=HEARS_RAW)
        await channel.expect(playback.Mode)
        served = server_channel(server, PLAYBACK)
        served.connection.writable = False
        for number in range(100):
            guest.speaker.write(bytes([number, 0]) * 960)
        assert served.flow.queued < 100
        served.connection.writable = True
        served.flow.pump()
        numbers = [(await channel.expect(playback.Data)).data[0] for _ in range(playing.WAITING_PACKETS)]
        assert numbers == [97, 98, 99]


async def test_recording() -> None:
    guest = SoundGuest()
    guest.microphone.set_volume([1, 2])
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(RECORD, channel=SPEAKS)
        guest.microphone.start()
        got = [await channel.receive() for _ in range(3)]
        assert [type(message) for message in got] == [record.Volume, record.Mute, record.Start]
        sound = tone(480 * 3)
        channel.send(record.Mode(0, AudioMode.RAW), record.StartMark(0))
        for at in range(0, len(sound), 1920):
            channel.send(record.Data(at, sound[at : at + 1920]))
        await until(lambda: bytes(guest.recorded) == sound)
        guest.microphone.stop()
        await channel.expect(record.Stop)
        channel.send(record.Data(0, sound[:1920]))
        guest.microphone.start()
        await channel.expect(record.Start)
        assert bytes(guest.recorded) == sound


async def test_recording_as_opus() -> None:
    pytest.importorskip("av")
    guest = SoundGuest()
    guest.microphone.start()
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(RECORD, channel=SPEAKS)
        await channel.expect(record.Start)
        sound, encoder = tone(48000), opus.Encoder(48000)
        channel.send(record.Mode(0, AudioMode.OPUS), record.StartMark(0))
        for at in range(0, len(sound), 1920):
            channel.send(record.Data(0, encoder.encode(sound[at : at + 1920])))
        await until(lambda: len(guest.recorded) > len(sound) * 0.9)
        assert loudness(bytes(guest.recorded)) == pytest.approx(loudness(sound), rel=0.1)


@pytest.mark.parametrize(
    "messages",
    [
        [record.Mode(0, AudioMode.CELT_0_5_1)],
        [record.Mode(0, 77)],  # type: ignore[arg-type]
        [record.Data(0, bytes(1919))],
        [record.Data(0, bytes(1984))],
        [record.Mode(0, AudioMode.OPUS), record.Data(0, b"")],
        [record.Mode(0, AudioMode.OPUS), record.Data(0, b"\xff" * 100)],
    ],
)
async def test_what_cannot_be_heard_closes_the_channel(messages: list[record.Mode | record.Data]) -> None:
    guest = SoundGuest()
    guest.microphone.start()
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(RECORD, channel=SPEAKS)
        await channel.expect(record.Start)
        channel.send(record.StartMark(0), *messages)
        await channel.ended()
        assert len(server.viewers) == 1
        assert not guest.recorded


async def test_opus_that_was_not_announced_closes_the_channel() -> None:
    guest = SoundGuest(44100)
    async with serving(guest) as server, raw_client(server.port) as client:
        await client.main()
        channel = await client.link(RECORD, channel=SPEAKS)
        channel.send(record.Mode(0, AudioMode.OPUS))
        await channel.ended()


async def test_only_one_viewer_records_and_none_that_may_only_look() -> None:
    guest = SoundGuest()
    async with (
        serving(guest, sharing="share", password="a", view_only_password="b") as server,
        raw_client(server.port, password="a") as one,
        raw_client(server.port, password="a") as two,
        raw_client(server.port, password="b") as looks,
    ):
        for client in (one, two, looks):
            await client.main()
            await client.link(PLAYBACK)
        await one.link(RECORD)
        for client in (two, looks):
            with pytest.raises(LinkRefusedError):
                await client.link(RECORD)
