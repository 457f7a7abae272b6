"""The record channel: a viewer's sound for the guest (spec/messages.md 6, spec/streams.md 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from caraway.codecs import opus
from caraway.errors import ProtocolError
from caraway.server.audio import codes_opus
from caraway.server.channel import ServerChannel
from caraway.server.connection import Connection
from caraway.wire.capabilities import Capabilities, RecordCapability
from caraway.wire.constants import ChannelType
from caraway.wire.messages.handlers import handles
from caraway.wire.messages.playback import AudioFormat, AudioMode
from caraway.wire.messages.record import Data, Mode, Mute, Start, StartMark, Stop, Volume

if TYPE_CHECKING:
    from caraway.server.guest import Guest
    from caraway.server.viewer import Viewer


class RecordChannel(ServerChannel):
    """What the guest hears: the microphone of one viewer."""

    channel_type = ChannelType.RECORD
    capabilities = Capabilities([RecordCapability.VOLUME])
    max_size = 1984
    interactive = True
    exclusive = True

    @classmethod
    def ids(cls, guest: Guest) -> Sequence[int]:
        return (0,) if guest.record is not None else ()

    @classmethod
    def announced(cls, guest: Guest) -> Capabilities:
        sound = guest.record
        if sound is not None and codes_opus(sound.frequency, sound.channels):
            return cls.capabilities | Capabilities([RecordCapability.OPUS])
        return cls.capabilities

    def __init__(self, viewer: Viewer, id: int, connection: Connection) -> None:
        super().__init__(viewer, id, connection)
        assert viewer.guest.record is not None
        self.sound = viewer.guest.record
        self._decoder: opus.Decoder | None = None
        self._marked = False
        """Whether START_MARK has come since the guest began to record: what comes before it is from the last time."""

    def start(self) -> None:
        sound = self.sound
        if sound.volume:
            self._volume_changed()
        if sound.recording:
            self._started()
        self.listen(sound.started, self._started)
        self.listen(sound.stopped, self._stopped)
        self.listen(sound.volume_changed, self._volume_changed)

    def prepare(self) -> None:
        """Sound begins anew at the target."""
        if self.sound.recording:
            self.send(Stop())

    def _started(self) -> None:
        self._marked = False
        self.send(Start(self.sound.channels, AudioFormat.S16, self.sound.frequency))

    def _stopped(self) -> None:
        self.send(Stop())

    def _volume_changed(self) -> None:
        if RecordCapability.VOLUME in self.connection.client_capabilities:
            self.send(Volume(list(self.sound.volume)))
            self.send(Mute(self.sound.mute))

    @handles(Mode)
    def _mode(self, message: Mode) -> None:
        if message.mode == AudioMode.RAW:
            self._decoder = None
        elif message.mode == AudioMode.OPUS:
            self._decoder = opus.Decoder(self.sound.frequency, self.sound.channels)
        else:
            raise ProtocolError(f"{self.name}: MODE {message.mode}, only RAW and OPUS are known")

    @handles(StartMark)
    def _start_mark(self, message: StartMark) -> None:
        self._marked = True

    @handles(Data)
    def _data(self, message: Data) -> None:
        if not (self._marked and self.sound.recording):
            return
        samples = bytes(message.data) if self._decoder is None else self._decoder.decode(message.data)
        frame_bytes = self.sound.channels * opus.SAMPLE_BYTES
        if len(samples) % frame_bytes:
            raise ProtocolError(f"{self.name}: DATA of {len(samples)} bytes, a sample frame has {frame_bytes}")
        if samples:
            self.sound.received(samples)
