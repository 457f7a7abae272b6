"""A display channel's streams: videos that are found become streams of its viewer, and pictures again at their end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from caraway.canvas.region import Box
from caraway.server.playback import PlaybackChannel
from caraway.server.stream import Streams
from caraway.server.video import Video
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.display import StreamReport
from caraway.wire.messages.main import MultiMediaTime

if TYPE_CHECKING:
    from caraway.server.display import DisplayChannel


class ChannelStreams:
    """What a display channel does with videos, from when its viewer has a complete picture."""

    def __init__(self, channel: DisplayChannel) -> None:
        self._channel = channel
        viewer, finder = channel.viewer, channel.capture.finder
        self._streams = Streams(channel.connection.client_capabilities, viewer.bit_rate, viewer.round_trip)
        self._timer: asyncio.TimerHandle | None = None
        channel.listen(viewer.link_measured, self._measured)
        channel.listen(finder.begun, self._begin)
        channel.listen(finder.ended, self._end)
        channel.listen(finder.grown, self._grow)
        channel.listen(channel.capture.changed, self._changed)

    def complete(self) -> None:
        """The viewer has a complete picture now."""
        for video in self._channel.capture.finder.videos:
            self._begin(video)

    def send_frame(self) -> bool:
        """Send a frame, if it is the time of one."""
        now = self._now()
        frame = self._streams.due(now)
        if frame is None:
            return False
        coded = self._channel.capture.frames.jpeg(frame)
        message = self._streams.message(frame, coded, now)
        if message is not None:
            self._channel.send(message)
            self._check_delay()
        return message is not None

    def wake_in_time(self) -> None:
        """Wake the channel when the next frame is due."""
        self.close()
        deadline = self._streams.deadline
        if deadline is not None and deadline > self._now():
            self._timer = asyncio.get_running_loop().call_at(deadline, self._channel.wake)

    def report(self, message: StreamReport) -> None:
        """STREAM_REPORT came."""
        for video in self._streams.report(message, self._channel.viewer.latency, self._now()):
            self._end(video)
        self._check_delay()

    def stop(self) -> None:
        """Show all videos by images again."""
        for video in self._channel.capture.finder.videos:
            self._end(video)

    def close(self) -> None:
        """Wake the channel no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _measured(self) -> None:
        viewer = self._channel.viewer
        self._streams.bit_rate, self._streams.round_trip = viewer.bit_rate, viewer.round_trip

    def _begin(self, video: Video) -> None:
        if self._channel.is_complete and not self._channel.departed:
            self._send(self._streams.begin(video, self._channel.viewer.media_time(), self._now()))

    def _grow(self, video: Video) -> None:
        self._send(self._streams.grow(video, self._channel.viewer.media_time(), self._now()))

    def _end(self, video: Video) -> None:
        messages = self._streams.end(video)
        self._send(messages)
        if messages:
            self._channel.backlog.damage(video.box)

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            self._channel.send(message)
        self._channel.backlog.stream(self._streams.boxes)
        self._channel.wake()

    def _changed(self, box: Box) -> None:
        self._streams.damaged(box, self._channel.viewer.media_time(), self._now())

    def _check_delay(self) -> None:
        """Have the client show frames later if they take so long: by its sound's clock, or else by the server's."""
        viewer, needed = self._channel.viewer, self._streams.required_delay
        if needed <= viewer.latency:
            return
        viewer.latency = needed
        playback = viewer.channels.get((ChannelType.PLAYBACK, 0))
        main = viewer.channels.get((ChannelType.MAIN, 0))
        if isinstance(playback, PlaybackChannel) and playback.sound.playing:
            playback.want_latency(needed)
        elif main is not None:
            main.send(MultiMediaTime((viewer.media_time() - needed) & 0xFFFFFFFF))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
