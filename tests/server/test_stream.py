import numpy as np
import pytest

from caraway.canvas.region import Box
from caraway.codecs import jpeg
from caraway.errors import CodecError
from caraway.server.stream import NOT_DECODED, Frame, FrameCache, Streams
from caraway.server.video import Video
from caraway.wire.capabilities import Capabilities
from caraway.wire.messages.display import (
    DisplayCapability,
    StreamActivateReport,
    StreamClip,
    StreamCreate,
    StreamData,
    StreamDataSized,
    StreamDestroy,
    StreamReport,
)
from caraway.wire.messages.shapes import Rect
from support.moving_pictures import Scene

BOX = Box(100, 50, 420, 290)
RECT = Rect(50, 100, 290, 420)
MODERN = Capabilities(
    [
        DisplayCapability.SIZED_STREAM,
        DisplayCapability.STREAM_REPORT,
        DisplayCapability.MULTI_CODEC,
        DisplayCapability.CODEC_MJPEG,
    ]
)
OLD = Capabilities([])


def taken(streams: Streams, now: float) -> Frame:
    frame = streams.due(now)
    assert frame is not None
    return frame


def not_decoded(stream_id: int) -> StreamReport:
    return StreamReport(stream_id, 0, 0, 0, 0, NOT_DECODED, 0, 0)


def test_a_stream_from_its_beginning_to_its_end() -> None:
    streams, video = Streams(MODERN), Video(BOX, 30)
    create, activate = streams.begin(video, 5000, 10.0)
    assert create == StreamCreate(0, 49, 1, 1, 0, 320, 240, 320, 240, RECT, None)
    assert activate == StreamActivateReport(49, 1, 5, 1000)
    assert streams.boxes == [BOX]
    frame = taken(streams, 10.0)
    assert (frame.box, frame.time, frame.quality) == (BOX, 5000, 50)
    assert streams.message(frame, b"coded", 10.0) == StreamData(49, 5000, b"coded")
    assert streams.end(video) == [StreamClip(49, []), StreamDestroy(49)]
    assert streams.boxes == []
    assert streams.end(video) == []


def test_ids_count_down_and_the_last_freed_comes_first() -> None:
    streams = Streams(OLD)
    one, other, third = Video(BOX, 30), Video(BOX.moved(400, 0), 30), Video(BOX.moved(0, 300), 30)
    ids = [streams.begin(video, 0, 0.0)[0].stream_id for video in (one, other)]
    streams.end(one)
    ids += [streams.begin(video, 0, 0.0)[0].stream_id for video in (third, one)]
    assert ids == [49, 48, 49, 47]


def test_there_are_no_more_streams_than_ids() -> None:
    streams = Streams(MODERN)
    begun = [streams.begin(Video(BOX, 30), 0, 0.0) for _ in range(60)]
    assert [bool(messages) for messages in begun] == [True] * 50 + [False] * 10
    assert len({messages[1].unique_id for messages in begun if messages}) == 50


def test_a_client_without_reports_is_not_asked_for_them() -> None:
    assert [type(message) for message in Streams(OLD).begin(Video(BOX, 30), 0, 0.0)] == [StreamCreate]


def test_a_client_that_decodes_other_codecs_only_gets_no_stream() -> None:
    streams = Streams(Capabilities([DisplayCapability.MULTI_CODEC, DisplayCapability.CODEC_VP8]))
    assert streams.begin(Video(BOX, 30), 0, 0.0) == []
    assert streams.boxes == []


def test_a_client_that_refuses_gets_no_stream_any_more() -> None:
    streams = Streams(MODERN)
    one, other = Video(BOX, 30), Video(BOX.moved(400, 0), 30)
    streams.begin(one, 0, 0.0)
    streams.begin(other, 0, 0.0)
    assert streams.report(not_decoded(49), 400, 1.0) == [one, other]
    assert streams.end(one) + streams.end(other) == [
        StreamClip(49, []),
        StreamDestroy(49),
        StreamClip(48, []),
        StreamDestroy(48),
    ]
    assert streams.begin(one, 0, 2.0) == []


def test_only_what_changes_is_sent_and_at_its_pace() -> None:
    streams, video = Streams(MODERN), Video(BOX, 60)
    streams.begin(video, 0, 10.0)
    streams.message(taken(streams, 10.0), bytes(5000), 10.0)
    assert streams.deadline is None
    assert streams.due(11.0) is None
    streams.damaged(Box(0, 0, 50, 50), 20, 10.01)
    assert streams.deadline is None
    streams.damaged(Box(0, 0, 150, 150), 20, 10.01)
    assert streams.deadline == pytest.approx(10.04)
    assert streams.due(10.02) is None
    streams.damaged(BOX, 30, 10.03)
    frame = taken(streams, 10.05)
    assert frame.time == 30
    assert streams.due(10.05) is None


def test_what_changes_while_a_frame_is_encoded_is_a_frame_more() -> None:
    streams, video = Streams(MODERN), Video(BOX, 30)
    streams.begin(video, 0, 10.0)
    frame = taken(streams, 10.0)
    streams.damaged(BOX, 20, 10.02)
    assert streams.message(frame, bytes(5000), 10.03) == StreamData(49, 0, bytes(5000))
    assert taken(streams, 10.1).time == 20


def test_a_frame_of_a_stream_that_has_ended_is_not_sent() -> None:
    streams, video = Streams(MODERN), Video(BOX, 30)
    streams.begin(video, 0, 10.0)
    frame = taken(streams, 10.0)
    streams.end(video)
    assert streams.message(frame, b"coded", 10.0) is None
    streams.begin(video, 0, 10.0)
    assert streams.message(frame, b"coded", 10.0) is None
    streams.clear()
    assert streams.boxes == []
    assert streams.deadline is None


def test_streams_take_turns() -> None:
    streams = Streams(MODERN)
    videos = [Video(BOX, 30), Video(BOX.moved(400, 0), 30)]
    for at, video in enumerate(videos):
        streams.begin(video, at, 10.0 + at / 100)
    assert [taken(streams, 10.1).stream.video for _ in videos] == videos
    for at, video in enumerate(reversed(videos)):
        streams.damaged(video.box, 5, 10.2 + at / 100)
    assert [taken(streams, 10.5).stream.video for _ in videos] == videos[::-1]


def test_a_larger_box_is_told_with_each_frame() -> None:
    streams, video = Streams(MODERN), Video(BOX, 30)
    streams.begin(video, 0, 10.0)
    taken(streams, 10.0)
    video.box = Box(90, 50, 420, 300)
    assert streams.grow(video, 7, 10.0) == []
    message = streams.message(taken(streams, 10.1), b"coded", 10.1)
    assert message == StreamDataSized(49, 7, 330, 250, Rect(50, 90, 300, 420), b"coded")


def test_a_client_that_takes_one_size_only_gets_another_stream() -> None:
    streams, video = Streams(OLD), Video(BOX, 30)
    streams.begin(video, 0, 10.0)
    video.box = Box(90, 50, 420, 300)
    clip, destroy, create = streams.grow(video, 7, 10.0)
    assert [clip, destroy] == [StreamClip(49, []), StreamDestroy(49)]
    assert (create.stream_id, create.dest) == (49, Rect(50, 90, 300, 420))
    assert isinstance(streams.message(taken(streams, 10.1), b"coded", 10.1), StreamData)


def test_reports_of_other_streams_say_nothing() -> None:
    streams, video = Streams(MODERN, bit_rate=8e6), Video(BOX, 30)
    streams.begin(video, 0, 10.0)
    stream = taken(streams, 10.0).stream
    for frame in range(1, 11):
        now = 10 + frame / 20
        streams.damaged(BOX, frame * 50, now)
        streams.message(taken(streams, now), bytes(40_000), now)
    rate = stream.rate.byte_rate
    bad = (50, 250, 5, 5, -4000, 0xFFFFFFFF)
    for stream_id, unique_id in ((48, 1), (49, 2)):
        assert streams.report(StreamReport(stream_id, unique_id, *bad), 400, 10.6) == []
    assert streams.report(StreamReport(49, 1, 0, 0, 0, 3, 0, 0), 400, 10.6) == []
    assert stream.rate.byte_rate == rate
    assert streams.report(StreamReport(49, 1, *bad), 400, 10.6) == []
    assert stream.rate.byte_rate < rate


def test_streams_share_the_rate_by_area() -> None:
    streams = Streams(MODERN, bit_rate=8e6)
    small, large = Video(Box(0, 0, 100, 100), 30), Video(Box(0, 100, 300, 200), 30)
    streams.begin(small, 0, 10.0)
    streams.begin(large, 0, 10.0)
    rates = {frame.stream.video: frame.stream.rate.byte_rate for frame in (taken(streams, 10), taken(streams, 10))}
    assert rates == {small: pytest.approx(800_000), large: pytest.approx(600_000)}


def test_the_delay_is_that_of_the_slowest() -> None:
    streams, video = Streams(MODERN, bit_rate=1e6, round_trip=0.5), Video(BOX, 30)
    assert streams.required_delay == 0
    streams.begin(video, 0, 10.0)
    streams.message(taken(streams, 10.0), bytes(10_000), 10.0)
    assert streams.required_delay == pytest.approx(250 + 2 * 100, abs=1)
    streams.clear()
    assert streams.required_delay == 0


def test_frames_are_encoded_once_for_all_viewers() -> None:
    scene = Scene()
    scene.play(BOX)
    video, cache = Video(BOX, 30), FrameCache(scene.display)
    frames = []
    for _ in range(2):
        streams = Streams(MODERN)
        streams.begin(video, 0, 10.0)
        frames.append(taken(streams, 10.0))
    first = cache.jpeg(frames[0])
    assert cache.jpeg(frames[1]) is first
    frames[1].quality = 20
    assert len(cache.jpeg(frames[1])) < len(first)
    scene.play(BOX)
    video.generation += 1
    assert cache.jpeg(frames[0]) != first


def test_a_frame_is_a_jpeg_of_its_own_of_the_pixels() -> None:
    scene = Scene()
    scene.play(BOX)
    streams, video = Streams(MODERN), Video(BOX, 30)
    streams.begin(video, 0, 10.0)
    coded = FrameCache(scene.display).jpeg(taken(streams, 10.0))
    assert 0xC4 in {marker for marker, _, _ in jpeg.segments(coded)}
    picture = jpeg.decode(coded)
    shown = np.frombuffer(picture.data, np.uint8).reshape(240, 320, 4)[..., :3].astype(int)
    error = np.mean((shown - scene.pixels[50:290, 100:420, :3]) ** 2)
    assert 10 * np.log10(255**2 / error) > 35


def test_a_video_that_is_no_longer_on_the_display_is_not_encoded() -> None:
    scene = Scene()
    streams, video = Streams(MODERN), Video(BOX, 30)
    streams.begin(video, 0, 10.0)
    frame = taken(streams, 10.0)
    scene.display.show(200, 200)
    with pytest.raises(CodecError, match="on a display of 200x200"):
        FrameCache(scene.display).jpeg(frame)
