"""The playback channel: the guest's sound for a viewer (spec/messages.md 5, spec/streams.md 7.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from caraway.codecs import opus
from caraway.server.audio import codes_opus
from caraway.server.channel import ServerChannel
from caraway.server.connection import Connection
from caraway.wire.capabilities import Capabilities, PlaybackCapability
from caraway.wire.constants import ChannelType
from caraway.wire.messages.main import MultiMediaTime
from caraway.wire.messages.playback import (
    AudioFormat,
    AudioMode,
    Data,
    Latency,
    Mode,
    Mute,
    Start,
    Stop,
    Volume,
)

if TYPE_CHECKING:
    from caraway.server.guest import Guest
    from caraway.server.viewer import Viewer

RAW_FRAMES = 480
"""Sample frames of a packet of samples as they are."""

WAITING_PACKETS = 3
"""Packets that wait for a slow viewer; older ones are lost: sound that comes late is worth nothing."""


class PlaybackChannel(ServerChannel):
    """What the guest plays, for whoever wants to hear it."""

    channel_type = ChannelType.PLAYBACK
    capabilities = Capabilities([PlaybackCapability.VOLUME])
    max_size = 1984

    @classmethod
    def ids(cls, guest: Guest) -> Sequence[int]:
        return (0,) if guest.playback is not None else ()

    @classmethod
    def announced(cls, guest: Guest) -> Capabilities:
        sound = guest.playback
        if sound is not None and codes_opus(sound.frequency, sound.channels):
            return cls.capabilities | Capabilities([PlaybackCapability.OPUS])
        return cls.capabilities

    def __init__(self, viewer: Viewer, id: int, connection: Connection) -> None:
        super().__init__(viewer, id, connection)
        assert viewer.guest.playback is not None
        self.sound = viewer.guest.playback
        self._mode: AudioMode | None = None
        self._encoder: opus.Encoder | None = None
        self._packet_bytes = 0
        self._samples = bytearray()
        self._waiting: deque[tuple[int, bytes]] = deque(maxlen=WAITING_PACKETS)

    def start(self) -> None:
        sound = self.sound
        self._set_mode()
        if sound.volume:
            self._volume_changed()
        if sound.playing:
            self._started()
        self.flow.on_room = self._pump
        self.listen(sound.started, self._started)
        self.listen(sound.stopped, self._stopped)
        self.listen(sound.data, self._data)
        self.listen(sound.volume_changed, self._volume_changed)

    def prepare(self) -> None:
        """Sound begins anew at the target."""
        if self.sound.playing:
            self.send(Stop())

    def want_latency(self, milliseconds: int) -> None:
        """Ask the client to play no sooner than so, that sound and video match."""
        if PlaybackCapability.LATENCY in self.connection.client_capabilities:
            self.send(Latency(milliseconds))

    def _set_mode(self) -> None:
        fits = codes_opus(self.sound.frequency, self.sound.channels)
        wanted = fits and PlaybackCapability.OPUS in self.connection.client_capabilities
        mode = AudioMode.OPUS if wanted else AudioMode.RAW
        if mode is not self._mode:
            self._mode = mode
            self.send(Mode(self.viewer.media_time(), mode, b""))

    def _started(self) -> None:
        sound = self.sound
        self._set_mode()
        frames = RAW_FRAMES
        if self._mode is AudioMode.OPUS:
            self._encoder = opus.Encoder(sound.frequency, sound.channels)
            frames = self._encoder.packet_frames
        else:
            self._encoder = None
        self._packet_bytes = frames * sound.channels * opus.SAMPLE_BYTES
        self._samples.clear()
        self._waiting.clear()
        self.send(Start(sound.channels, AudioFormat.S16, sound.frequency, self.viewer.media_time()))

    def _stopped(self) -> None:
        """The clock is the server's again, which sound has moved."""
        self._samples.clear()
        self._waiting.clear()
        self.send(Stop())
        main = self.viewer.channels.get((ChannelType.MAIN, 0))
        if main is not None:
            main.send(MultiMediaTime((self.viewer.media_time() - self.viewer.latency) & 0xFFFFFFFF))

    def _data(self, samples: bytes) -> None:
        now = self.viewer.media_time()
        self._samples += samples
        whole = len(self._samples) // self._packet_bytes * self._packet_bytes
        for at in range(0, whole, self._packet_bytes):
            self._waiting.append((now, bytes(self._samples[at : at + self._packet_bytes])))
            self._pump()
        del self._samples[:whole]

    def _pump(self) -> None:
        while self._waiting and self.flow.room:
            time, samples = self._waiting.popleft()
            self.send(Data(time, self._encoder.encode(samples) if self._encoder is not None else samples))

    def _volume_changed(self) -> None:
        if PlaybackCapability.VOLUME in self.connection.client_capabilities:
            self.send(Volume(list(self.sound.volume)))
            self.send(Mute(self.sound.mute))
