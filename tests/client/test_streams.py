"""Video streams: which frame is shown when, and what is reported."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.client import streams as module
from caraway.client.media_clock import MediaClock, difference
from caraway.client.streams import MAX_AHEAD, MAX_ALL_BYTES, MAX_BYTES, MAX_FRAMES, MAX_STREAMS, STANDSTILL, Streams
from caraway.codecs import jpeg
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import CodecError, ProtocolError
from caraway.wire.capture import load
from caraway.wire.constants import ChannelType
from caraway.wire.messages import main
from caraway.wire.messages.base import messages
from caraway.wire.messages.display import (
    StreamActivateReport,
    StreamClip,
    StreamCreate,
    StreamData,
    StreamDataSized,
    StreamDestroy,
    StreamFlags,
    StreamReport,
    VideoCodec,
)
from caraway.wire.messages.shapes import Rect
from support.captures import captures, facts, require

MJPEG, VP8 = VideoCodec.MJPEG, VideoCodec.VP8
NOW = 1000.0
"""Seconds of the monotonic clock; the media clock then says START."""
START = 5_000_000
DEST = Rect(10, 20, 110, 220)


def create(id=49, codec=MJPEG, *, clip=None, flags=StreamFlags.TOP_DOWN):
    return StreamCreate(0, id, flags, codec, 0, 200, 100, 200, 100, DEST, clip)


def data(time, *, id=49, body=None):
    return StreamData(id, time % (1 << 32), body if body is not None else str(time).encode())


def started(codec=MJPEG, *, time=START, at_once=False):
    clock = MediaClock()
    clock.set(time % (1 << 32), NOW)
    streams = Streams(clock)
    streams.create(create(codec=codec), at_once=at_once)
    return streams, clock


def times(frames):
    return [frame.time for frame in frames]


def shown(frames):
    return [frame.time for frame in frames if frame.is_shown]


class TestClock:
    def test_runs_with_the_monotonic_clock(self):
        clock = MediaClock()
        assert not clock.is_set
        assert (clock.now(NOW), clock.margin(77, NOW)) == (0, 0)
        clock.set(START, NOW)
        assert clock.is_set
        assert clock.now(NOW + 1.5) == START + 1500
        assert clock.margin(START + 400, NOW + 1) == -600

    def test_turns_over(self):
        clock = MediaClock()
        clock.set((1 << 32) - 100, NOW)
        assert clock.now(NOW + 0.25) == 150
        assert clock.margin(150, NOW) == 250
        assert clock.margin((1 << 32) - 100, NOW + 1) == -1000

    @given(st.integers(0, (1 << 32) - 1), st.integers(-(1 << 31), (1 << 31) - 1))
    def test_difference(self, time, step):
        assert difference((time + step) % (1 << 32), time) == step


@pytest.mark.parametrize("codec", [MJPEG, VP8])
@pytest.mark.parametrize("start", [START, (1 << 32) - 60])
class TestTurns:
    def test_a_frame_of_now_is_shown_at_once(self, codec, start):
        streams, _ = started(codec, time=start)
        (frame,) = streams.receive(data(start), NOW)
        assert (frame.is_shown, frame.dest, frame.data) == (True, DEST, str(start).encode())
        assert streams.deadline(NOW) is None

    def test_a_frame_waits_for_its_time(self, codec, start):
        streams, _ = started(codec, time=start)
        assert streams.receive(data(start + 40), NOW) == []
        assert streams.deadline(NOW) == pytest.approx(NOW + 0.04)
        assert streams.due(NOW + 0.039) == []
        (frame,) = streams.due(NOW + 0.041)
        assert frame.is_shown
        assert frame.time == (start + 40) % (1 << 32)
        assert streams.due(NOW + 1) == []

    def test_frames_come_in_order(self, codec, start):
        streams, _ = started(codec, time=start)
        for step in (40, 80, 120):
            assert streams.receive(data(start + step), NOW) == []
        for step in (40, 80, 120):
            deadline = streams.deadline(NOW + (step - 40) / 1000)
            assert deadline == pytest.approx(NOW + step / 1000)
            assert shown(streams.due(deadline + 0.001)) == [(start + step) % (1 << 32)]

    def test_of_several_due_frames_the_last_is_shown(self, codec, start):
        streams, _ = started(codec, time=start)
        for step in (40, 80, 120):
            streams.receive(data(start + step), NOW)
        frames = streams.due(NOW + 0.1)
        assert shown(frames) == [(start + 80) % (1 << 32)]
        assert len(frames) == (1 if codec is MJPEG else 2), "frames that others depend on are decoded"
        assert streams.deadline(NOW + 0.1) == pytest.approx(NOW + 0.12)


class TestLate:
    def test_mjpeg_is_dropped(self):
        streams, _ = started()
        streams.receive(data(START), NOW)
        assert streams.receive(data(START + 39), NOW + 0.04) == []
        assert streams.deadline(NOW + 0.04) is None

    def test_others_are_decoded_and_shown_if_none_is_newer(self):
        streams, _ = started(VP8)
        streams.receive(data(START), NOW)
        assert shown(streams.receive(data(START + 39), NOW + 0.2)) == [START + 39]
        assert shown(streams.receive(data(START + 50), NOW + 0.2)) == [START + 50]

    def test_the_first_mjpeg_frame_is_shown(self):
        streams, _ = started()
        assert shown(streams.receive(data(START - 5000), NOW)) == [START - 5000]

    def test_mjpeg_does_not_stand_still(self):
        streams, _ = started()
        when = []
        for n in range(100):
            now = NOW + n / 25
            when += [now for frame in streams.receive(data(START + n * 40 - 3000), now) if frame.is_shown]
        gaps = [later - earlier for earlier, later in itertools.pairwise(when)]
        assert len(when) > 5
        assert max(gaps) <= STANDSTILL + 0.04
        assert min(gaps) >= STANDSTILL - 1e-6

    def test_a_waiting_frame_found_late_is_not_lost(self):
        streams, _ = started()
        streams.receive(data(START), NOW)
        streams.receive(data(START + 40), NOW)
        assert shown(streams.due(NOW + 0.3)) == [START + 40]


@pytest.mark.parametrize("codec", [MJPEG, VP8])
class TestClocksOfOtherHosts:
    @pytest.mark.parametrize("ahead", [501, 10_000, 2_000_000_000])
    def test_far_ahead(self, codec, ahead):
        streams, _ = started(codec)
        streams.receive(data(START + ahead), NOW)
        assert streams.deadline(NOW) == NOW + MAX_AHEAD
        assert streams.due(NOW + MAX_AHEAD - 0.001) == []
        assert shown(streams.due(NOW + MAX_AHEAD)) == [START + ahead]

    def test_far_ahead_and_moving(self, codec):
        """A picture half a second old at most, at the pace at which it came."""
        streams, _ = started(codec)
        seen = []
        for n in range(50):
            frames = streams.receive(data(START + 70_000 + n * 40), NOW + n * 0.04)
            seen.append(len(shown(frames + streams.due(NOW + n * 0.04))))
        assert set(seen[:13]) == {0}
        assert set(seen[13:]) == {1}

    def test_an_older_frame_empties_the_queue(self, codec):
        streams, _ = started(codec)
        streams.receive(data(START), NOW)
        streams.receive(data(START + 100), NOW)
        streams.receive(data(START + 200), NOW)
        frames = streams.receive(data(START + 50), NOW)
        assert shown(frames) == []
        assert times(frames) == ([] if codec is MJPEG else [START + 100, START + 200])
        assert shown(streams.due(NOW + 0.06)) == [START + 50]
        assert streams.deadline(NOW) is None

    def test_a_clock_set_forward_lets_frames_go(self, codec):
        streams, clock = started(codec)
        streams.receive(data(START + 300), NOW)
        clock.set(START + 1000, NOW + 0.01)
        assert streams.deadline(NOW + 0.01) == NOW + 0.01
        assert shown(streams.due(NOW + 0.01)) == [START + 300]

    def test_a_clock_set_back_delays_them_no_further(self, codec):
        streams, clock = started(codec)
        streams.receive(data(START + 100), NOW)
        clock.set(START - 60_000, NOW + 0.01)
        assert streams.due(NOW + 0.2) == []
        assert streams.deadline(NOW + 0.2) == NOW + MAX_AHEAD
        assert shown(streams.due(NOW + MAX_AHEAD)) == [START + 100]

    def test_unknown_time(self, codec):
        streams = Streams(MediaClock())
        streams.create(create(codec=codec))
        assert shown(streams.receive(data(START), NOW)) == [START]

    @pytest.mark.parametrize("start", [START, 3 << 30])
    def test_unstamped_frames_are_shown_at_once(self, codec, start):
        streams, _ = started(codec, time=start)
        streams.receive(data(start), NOW)
        streams.receive(data(start + 100), NOW)
        frames = streams.receive(data(0, body=b"unstamped"), NOW + 0.01)
        assert [frame.data for frame in frames if frame.is_shown] == [b"unstamped"]
        assert len(frames) == (1 if codec is MJPEG else 2)


@pytest.mark.parametrize("codec", [MJPEG, VP8])
def test_streaming_mode_does_not_wait_without_audio(codec):
    streams, clock = started(codec, at_once=True)
    assert shown(streams.receive(data(START + 300), NOW)) == [START + 300]
    clock.audio_delay = 200
    assert streams.receive(data(START + 400), NOW) == []
    clock.audio_delay = None
    assert shown(streams.due(NOW)) == [START + 400]


class TestBounds:
    def test_number_of_frames(self):
        streams, _ = started(VP8)
        frames = [frame for n in range(MAX_FRAMES + 5) for frame in streams.receive(data(START + 400 + n), NOW)]
        assert times(frames) == [START + 400 + n for n in range(5)]
        assert shown(frames) == []

    def test_bytes(self):
        streams, _ = started(VP8)
        body = bytes(MAX_BYTES // 2)
        assert [times(streams.receive(data(START + 400 + n, body=body), NOW)) for n in range(4)] == [
            [],
            [],
            [START + 400],
            [START + 401],
        ]
        assert times(streams.receive(data(START + 410, body=bytes(MAX_BYTES + 1)), NOW)) == [START + 402, START + 403]

    def test_mjpeg_frames_that_do_not_fit_are_forgotten(self):
        streams, _ = started()
        body = bytes(MAX_BYTES // 2)
        for n in range(4):
            assert streams.receive(data(START + 400 + n, body=body), NOW) == []
        assert shown(streams.due(NOW + 0.402)) == [START + 402]

    def test_bytes_of_all_streams(self):
        """A frame without a place is not lost: it does not wait."""
        streams, _ = started(VP8)
        for id in range(MAX_STREAMS - 1):
            streams.create(create(id + 1000, codec=VP8))
        body = bytes(MAX_BYTES)
        held = [shown(streams.receive(data(START + 400, id=id + 1000, body=body), NOW)) for id in range(10)]
        assert held == [[]] * 4 + [[START + 400]] * 6
        assert sum(stream.waiting_bytes for stream in streams) == MAX_ALL_BYTES
        streams.destroy(StreamDestroy(1003))
        assert streams.receive(data(START + 400, id=1009, body=body), NOW) == []

    def test_streams(self):
        streams, _ = started()
        for id in range(MAX_STREAMS - 1):
            streams.create(create(id + 1000))
        streams.create(create(1000))
        assert len(streams) == MAX_STREAMS
        with pytest.raises(ProtocolError, match="more than 64 streams"):
            streams.create(create(5000))
        streams.destroy(StreamDestroy(1000))
        streams.create(create(5000))


@given(
    st.sampled_from([MJPEG, VP8]),
    st.lists(
        st.tuples(st.integers(-600, 1200), st.integers(0, 200), st.sampled_from([0, 0, 0, 0, -3000, 90_000])),
        max_size=60,
    ),
)
def test_nothing_is_lost_nor_waits_long(codec, arrivals):
    """Frames at random margins, and a clock that jumps: asked at each deadline, as a timer would."""
    streams, clock = started(codec)
    now, arrived, given_out = NOW, {}, []

    def note(frames, at):
        assert len(shown(frames)) <= 1
        assert not frames or codec is MJPEG or frames[-1].is_shown or not shown(frames)
        for frame in frames:
            body = bytes(frame.data)
            assert at - arrived[body] <= MAX_AHEAD + 1e-6
            given_out.append(int(body))

    for n, (margin, pause, jump) in enumerate(arrivals):
        arrived[str(n).encode()] = now
        note(streams.receive(data(clock.now(now) + margin, body=str(n).encode()), now), now)
        until = now + pause / 1000
        while (deadline := streams.deadline(now)) is not None and deadline <= until:
            now = max(deadline, now + 0.001)
            note(streams.due(now), now)
        now = max(now, until)
        if jump:
            clock.set((clock.now(now) + jump) % (1 << 32), now)
    note(streams.due(now + MAX_AHEAD), now)
    assert streams.deadline(now) is None
    assert given_out == sorted(given_out)
    if codec is VP8:
        assert given_out == [*range(len(arrivals))], "each frame is decoded, in order"


class TestSized:
    def test_has_a_place_of_its_own(self):
        streams, _ = started()
        place = Rect(0, 0, 50, 60)
        (frame,) = streams.receive(StreamDataSized(49, START, 30, 25, place, b"sized"), NOW)
        assert (frame.dest, frame.data) == (place, b"sized")
        (frame,) = streams.receive(data(START), NOW)
        assert frame.dest == DEST


class TestClip:
    def test_counts_for_waiting_frames(self):
        streams, _ = started()
        streams.receive(data(START + 40), NOW)
        streams.clip(StreamClip(49, [Rect(1, 2, 3, 4)]))
        (frame,) = streams.due(NOW + 0.05)
        assert frame.stream.clip == [Rect(1, 2, 3, 4)]
        streams.clip(StreamClip(49, None))
        assert frame.stream.clip is None

    def test_of_an_unknown_stream_is_ignored(self):
        streams, _ = started()
        streams.clip(StreamClip(7, []))
        streams.destroy(StreamDestroy(7))
        streams.activate_report(StreamActivateReport(7, 1, 5, 1000))
        assert streams.take_reports() == []


class TestEnd:
    def test_waiting_frames_are_void(self):
        streams, _ = started()
        streams.receive(data(START + 40), NOW)
        streams.destroy(StreamDestroy(49))
        assert streams.deadline(NOW) is None
        assert streams.due(NOW + 1) == []

    def test_an_id_may_be_used_again(self):
        streams, _ = started()
        streams.receive(data(START + 40), NOW)
        stream = streams.create(create(codec=VP8, clip=[]))
        assert [*streams] == [stream]
        assert streams.due(NOW + 1) == []
        assert stream.clip == []

    def test_clear(self):
        streams, _ = started()
        streams.receive(data(START + 40), NOW)
        streams.receive(data(START, id=3), NOW)
        streams.clear()
        assert (len(streams), streams.deadline(NOW), streams.take_reports()) == (0, None, [])


class TestReports:
    def activated(self, *, window=5, timeout=1000, codec=MJPEG):
        streams, clock = started(codec)
        streams.activate_report(StreamActivateReport(49, 1234, window, timeout))
        return streams, clock

    def test_after_a_window(self):
        streams, clock = self.activated()
        clock.audio_delay = 180
        for n in range(10):
            streams.receive(data(START + n * 40 + (7 if n else -30)), NOW + n * 0.04)
            if n not in (4, 9):
                assert streams.take_reports() == []
            elif n == 4:
                assert streams.take_reports() == [
                    StreamReport(49, 1234, START - 30, START + 167, 5, 1, pytest.approx(7, abs=1), 180)
                ]
        (report,) = streams.take_reports()
        assert (report.start_frame_mm_time, report.num_frames, report.num_drops) == (START + 207, 5, 0)

    def test_after_the_timeout(self):
        streams, _ = self.activated()
        streams.receive(data(START + 10), NOW)
        streams.receive(data(START + 1009), NOW + 0.999)
        assert streams.take_reports() == []
        streams.receive(data(START + 1020), NOW + 1)
        assert streams.take_reports() == [StreamReport(49, 1234, START + 10, START + 1020, 3, 0, 20, 0xFFFFFFFF)]

    def test_after_three_late_frames(self):
        streams, _ = self.activated(window=50)
        for n in range(7):
            streams.receive(data(START - 5 - n if n != 2 else START + 5), NOW)
            assert bool(streams.take_reports()) == (n == 5)
        for n in range(2):
            streams.receive(data(START - 5), NOW)
            assert bool(streams.take_reports()) == (n == 1)

    def test_lateness_is_told(self):
        streams, _ = self.activated(window=1)
        streams.receive(data(START - 300), NOW)
        streams.receive(data(0), NOW)
        streams.receive(data(START + 3000), NOW)
        assert [report.last_frame_delay for report in streams.take_reports()] == [-300, 100, 3000]

    def test_not_before_activation(self):
        streams, _ = started()
        for n in range(20):
            streams.receive(data(START - n), NOW)
        assert streams.take_reports() == []

    def test_not_of_another_stream_of_the_same_id(self):
        streams, _ = self.activated()
        streams.create(create())
        for n in range(20):
            streams.receive(data(START - n), NOW)
        assert streams.take_reports() == []


def refusal(id, unique_id):
    return StreamReport(id, unique_id, 0, 0, 0, 0xFFFFFFFF, 0, 0)


class TestRefusals:
    def test_a_frame_of_an_unknown_stream(self):
        streams, _ = started()
        for _ in range(3):
            assert streams.receive(data(START, id=7), NOW) == []
        assert streams.take_reports() == [refusal(7, 0)]

    def test_an_unknown_codec(self):
        streams, _ = started()
        streams.create(create(3, codec=99))
        streams.activate_report(StreamActivateReport(3, 55, 5, 1000))
        assert streams.take_reports() == [refusal(3, 55)]
        assert streams.receive(data(START, id=3), NOW) == []
        assert streams.take_reports() == [], "once"
        streams.create(create(3, codec=99))
        assert streams.receive(data(START, id=3), NOW) == []
        assert streams.take_reports() == [refusal(3, 0)], "another stream"
        streams.create(create(3))
        assert shown(streams.receive(data(START, id=3), NOW)) == [START]

    def test_a_missing_decoder(self, monkeypatch):
        monkeypatch.setattr(module.video, "is_available", lambda: False)
        assert module.can_decode(MJPEG)
        assert not module.can_decode(VP8)
        streams, _ = started(VP8)
        assert streams.receive(data(START), NOW) == []
        assert streams.take_reports() == [refusal(49, 0)]
        streams.activate_report(StreamActivateReport(49, 55, 5, 1000))
        assert streams.take_reports() == [refusal(49, 55)], "only now the server can tell which stream is meant"

    def test_given_up(self):
        streams, _ = started(VP8)
        (stream,) = streams
        streams.receive(data(START + 100), NOW)
        streams.refuse(stream)
        assert streams.receive(data(START), NOW) == []
        assert streams.take_reports() == [refusal(49, 0)]

    def test_their_number_is_bounded(self):
        streams, _ = started()
        for id in range(1000, 2000):
            streams.receive(data(START, id=id), NOW)
        assert len(streams.take_reports()) == MAX_STREAMS


class TestDecoding:
    def picture(self):
        rows = b"".join(bytes([y * 8, 100, 200 - y * 4, 0]) * 32 for y in range(24))
        return Bitmap(32, 24, PixelFormat.BGRX32, 128, rows)

    @pytest.mark.parametrize("flags", [StreamFlags(0), StreamFlags.TOP_DOWN])
    def test_mjpeg(self, flags):
        coded = jpeg.encode(self.picture(), 95)
        streams, _ = started()
        stream = streams.create(create(flags=flags))
        (frame,) = streams.receive(data(START, body=coded), NOW)
        picture = stream.decode(frame)
        assert (picture.width, picture.height) == (32, 24)
        rows = [list(picture.data[y * picture.stride :][:4]) for y in range(24)]
        upright = rows if flags else rows[::-1]
        assert upright[0] == pytest.approx([0, 100, 200, 0], abs=6)
        assert upright[23] == pytest.approx([184, 100, 108, 0], abs=6)

    def test_a_damaged_frame_leaves_the_stream(self):
        streams, _ = started()
        (stream,) = streams
        (frame,) = streams.receive(data(START), NOW)
        with pytest.raises(CodecError):
            stream.decode(frame)
        (frame,) = streams.receive(data(START, body=jpeg.encode(self.picture())), NOW)
        assert stream.decode(frame) is not None

    def test_late_frames_of_other_codecs_are_fed_to_the_decoder(self, monkeypatch):
        fed = []

        class Decoder:
            def __init__(self, codec):
                assert codec == VP8

            def decode(self, data, *, shown):
                fed.append((bytes(data), shown))

        monkeypatch.setattr(module.video, "Decoder", Decoder)
        streams, _ = started(VP8)
        (stream,) = streams
        for step in (10, 20, 30):
            streams.receive(data(START + step), NOW)
        assert [stream.decode(frame) for frame in streams.due(NOW + 0.025)] == [None, None]
        assert fed == [(str(START + 10).encode(), False), (str(START + 20).encode(), True)]


def with_streams():
    """The recorded sessions in which there were streams."""
    found = captures()
    return [
        p
        for p in found
        if p.values[0] is None or any("stream_data" in sent for sent in facts(p.values[0])["messages"].values())
    ]


@pytest.mark.parametrize("path", with_streams())
def test_recorded_streams(path):
    """Each frame decodes, none waits too long, and the reports are those that the recorded client sent."""
    wanted = {
        ChannelType.MAIN: (main.Init, main.MultiMediaTime),
        ChannelType.DISPLAY: (
            StreamCreate,
            StreamData,
            StreamDataSized,
            StreamClip,
            StreamDestroy,
            StreamActivateReport,
            StreamReport,
        ),
    }
    clock = MediaClock()
    streams = Streams(clock)
    drawn = 0
    ours, theirs = [], []
    for now, connection, sender, frame in load(require(path)).frames():
        if connection.channel_type not in wanted:
            continue
        while (deadline := streams.deadline(now)) is not None and deadline <= now:
            for due in streams.due(deadline):
                picture = due.stream.decode(due)
                assert (picture is not None) == due.is_shown
                drawn += due.is_shown
        kind = messages(connection.channel_type, sender).get(frame.type)
        if kind not in wanted[connection.channel_type]:
            continue
        message = kind.unpack(frame.body)
        match message:
            case main.Init():
                clock.set(message.multi_media_time, now)
            case main.MultiMediaTime():
                clock.set(message.time, now)
            case StreamCreate():
                streams.create(message)
            case StreamClip():
                streams.clip(message)
            case StreamDestroy():
                streams.destroy(message)
            case StreamActivateReport():
                streams.activate_report(message)
            case StreamReport():
                theirs.append(message)
            case _:
                for due in streams.receive(message, now):
                    drawn += due.stream.decode(due) is not None
        ours += streams.take_reports()
    assert drawn > 0
    if not any(report.num_drops for report in theirs):
        assert ours == [
            StreamReport(
                their.stream_id,
                their.unique_id,
                their.start_frame_mm_time,
                their.end_frame_mm_time,
                their.num_frames,
                0,
                pytest.approx(their.last_frame_delay, abs=50),
                their.audio_delay,
            )
            for their in theirs
        ]
