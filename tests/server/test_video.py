import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.canvas.region import Box, intersect
from caraway.server.video import END_GAP, MAX_VIDEOS, MIN_FRAMES, Video, VideoFinder
from support.moving_pictures import Scene, jittered, strips, tiles

PICTURE = Box(103, 57, 103 + 320, 57 + 240)


class Watched:
    """A scene, its finder, and what the finder has said."""

    def __init__(self, streaming: str = "filter") -> None:
        self.scene = Scene()
        self.finder = VideoFinder(self.scene.display, streaming)
        self.now = 100.0
        self.said: list[tuple[str, Box]] = []
        for word in ("begun", "ended", "grown"):
            getattr(self.finder, word).connect(self._listener(word))

    def _listener(self, word: str) -> Callable[[Video], None]:
        return lambda video: self.said.append((word, video.box))

    def frame(self, boxes: Iterable[Box], seconds: float = 1 / 30) -> None:
        for at, box in enumerate(boxes):
            self.finder.damage(box, self.now + at * 1e-5)
        self.finder.update(self.now + 0.01)
        self.now += seconds

    @property
    def boxes(self) -> list[Box]:
        return [video.box for video in self.finder.videos]


def whole(box: Box) -> list[Box]:
    return [box]


def in_strips(box: Box) -> list[Box]:
    return strips(box, 64)


def in_tiles(box: Box) -> list[Box]:
    return tiles(box, 64)


@pytest.mark.parametrize("cut", [whole, in_strips, in_tiles])
def test_a_video_is_found_with_its_rectangle(cut: Callable[[Box], list[Box]]) -> None:
    watched = Watched()
    for frame in range(60):
        watched.scene.play(PICTURE)
        watched.frame(cut(PICTURE))
        assert bool(watched.boxes) == (frame + 1 >= MIN_FRAMES)
    assert watched.said == [("begun", PICTURE)]


@pytest.mark.parametrize(
    ("cut", "at_once", "gap"),
    [
        (whole, True, 0),
        (whole, False, 0),
        (whole, True, 40),
        (in_strips, False, 0),
        (in_strips, True, 40),
        (in_tiles, True, 40),
    ],
)
def test_a_terminal_and_a_cursor_beside_it_are_no_video(
    cut: Callable[[Box], list[Box]], at_once: bool, gap: int
) -> None:
    watched = Watched()
    terminal = Box(PICTURE.right + gap, PICTURE.top, PICTURE.right + gap + 400, PICTURE.bottom)
    cursor = Box(PICTURE.left + 40, PICTURE.bottom + 3, PICTURE.left + 48, PICTURE.bottom + 19)
    for frame in range(120):
        watched.scene.play(PICTURE)
        watched.scene.type(terminal)
        blinking = []
        if frame % 15 == 0:
            watched.scene.blink(cursor)
            blinking = [cursor]
        if at_once:
            watched.frame([*cut(PICTURE), terminal, *blinking])
        else:
            watched.frame([*cut(PICTURE), *blinking], 1 / 60)
            watched.frame([terminal], 1 / 60)
    assert watched.said == [("begun", PICTURE)]


def test_a_small_terminal_that_touches_it_is_no_part_of_it() -> None:
    watched = Watched()
    terminal = Box(PICTURE.right, PICTURE.top, PICTURE.right + 100, PICTURE.top + 100)
    for frame in range(120):
        watched.scene.play(PICTURE)
        watched.scene.type(terminal)
        watched.frame([PICTURE, terminal] if frame % 3 else [PICTURE])
    assert watched.said == [("begun", PICTURE)]


def test_what_is_drawn_beside_it_now_and_then_is_no_part_of_it() -> None:
    watched = Watched()
    cursor = Box(PICTURE.left + 40, PICTURE.bottom + 3, PICTURE.left + 48, PICTURE.bottom + 19)
    for frame in range(200):
        watched.scene.play(PICTURE)
        watched.scene.blink(cursor)
        watched.frame([PICTURE, cursor] if frame % 2 else [PICTURE])
    assert watched.said == [("begun", PICTURE)]


def test_tiles_of_which_a_larger_video_consists_become_it() -> None:
    watched = Watched()
    larger = Box(PICTURE.left, PICTURE.top, PICTURE.right + 400, PICTURE.bottom + 200)
    for _ in range(40):
        watched.scene.play(PICTURE)
        watched.frame([PICTURE])
    for _ in range(100):
        watched.scene.play(larger)
        watched.frame(tiles(larger, 96))
    assert watched.said == [("begun", PICTURE), ("ended", PICTURE), ("begun", larger)]


def test_a_box_that_varies_is_found_whole() -> None:
    watched = Watched()
    choice = random.Random(1)
    for _ in range(200):
        watched.scene.play(PICTURE)
        watched.frame([jittered(PICTURE, 20, choice)])
    assert len(watched.boxes) == 1
    assert intersect(watched.boxes[0], PICTURE) == watched.boxes[0]
    assert watched.boxes[0].width >= PICTURE.width - 4
    assert watched.boxes[0].height >= PICTURE.height - 4
    assert [word for word, _ in watched.said].count("begun") == 1


def test_tiles_that_do_not_change_leave_one_video() -> None:
    watched = Watched()
    choice = random.Random(2)
    for _ in range(120):
        watched.scene.play(PICTURE)
        watched.frame(tile for tile in tiles(PICTURE, 32) if choice.random() < 0.7)
    assert watched.boxes == [PICTURE]


def test_it_ends_a_second_after_its_last_frame() -> None:
    watched = Watched()
    for _ in range(30):
        watched.scene.play(PICTURE)
        watched.frame([PICTURE])
    last = watched.now - 1 / 30
    assert watched.finder.deadline == pytest.approx(last + END_GAP)
    watched.finder.update(last + END_GAP - 0.01)
    assert watched.boxes == [PICTURE]
    watched.finder.update(last + END_GAP)
    assert watched.said == [("begun", PICTURE), ("ended", PICTURE)]
    assert watched.finder.deadline is None


def test_it_ends_when_text_is_drawn_there() -> None:
    watched = Watched()
    for _ in range(30):
        watched.scene.play(PICTURE)
        watched.frame([PICTURE])
    assert watched.boxes == [PICTURE]
    for _ in range(120):
        watched.scene.type(PICTURE)
        watched.frame([PICTURE])
    assert watched.boxes == []


def test_a_cursor_in_it_does_not_keep_it() -> None:
    watched = Watched()
    for _ in range(30):
        watched.scene.play(PICTURE)
        watched.frame([PICTURE])
    for _ in range(20):
        watched.frame([Box(200, 100, 210, 120)], 0.1)
    assert watched.boxes == []


@pytest.mark.parametrize(
    ("box", "seconds"),
    [(Box(0, 0, 90, 90), 1 / 30), (PICTURE, 0.25)],
    ids=["small", "slow"],
)
def test_what_is_small_or_slow_is_no_video(box: Box, seconds: float) -> None:
    watched = Watched()
    for _ in range(60):
        watched.scene.play(box)
        watched.frame([box], seconds)
    assert watched.boxes == []


def test_all_takes_text_of_any_size() -> None:
    watched = Watched("all")
    small = Box(5, 5, 45, 25)
    for _ in range(30):
        watched.scene.type(small)
        watched.frame([small])
    assert watched.boxes == [small]


def test_off_takes_nothing() -> None:
    watched = Watched("off")
    for _ in range(30):
        watched.scene.play(PICTURE)
        watched.frame([PICTURE])
    assert watched.boxes == []
    assert watched.finder.deadline is None


def test_it_grows_with_what_is_drawn() -> None:
    watched = Watched()
    larger = Box(PICTURE.left - 30, PICTURE.top - 20, PICTURE.right + 30, PICTURE.bottom + 20)
    for _ in range(30):
        watched.scene.play(PICTURE)
        watched.frame([PICTURE])
    video = watched.finder.videos[0]
    for _ in range(60):
        watched.scene.play(larger)
        watched.frame([larger])
    assert watched.finder.videos == [video]
    assert watched.said == [("begun", PICTURE), ("grown", larger)]


def test_a_video_that_becomes_full_screen_is_another() -> None:
    watched = Watched()
    for _ in range(30):
        watched.scene.play(PICTURE)
        watched.frame([PICTURE])
    full = watched.scene.display.box
    for _ in range(60):
        watched.scene.play(full)
        watched.frame([full])
    assert watched.said == [("begun", PICTURE), ("ended", PICTURE), ("begun", full)]


def test_frames_are_counted_and_timed() -> None:
    watched = Watched()
    for frame in range(100):
        watched.scene.play(PICTURE)
        watched.frame([PICTURE], 0.030 if frame % 2 else 0.050)
    video = watched.finder.videos[0]
    assert video.fps == pytest.approx(25, abs=0.5)
    before = video.generation
    watched.finder.damage(Box(0, 0, 50, 50), watched.now)
    assert video.generation == before
    watched.finder.damage(Box(0, 0, 200, 200), watched.now)
    assert video.generation > before


def test_another_picture_ends_everything() -> None:
    watched = Watched()
    for _ in range(30):
        watched.scene.play(PICTURE)
        watched.frame([PICTURE])
    watched.finder.clear()
    assert watched.said == [("begun", PICTURE), ("ended", PICTURE)]
    assert watched.finder.deadline is None


boxes = st.builds(
    lambda x, y, width, height: Box(x, y, min(x + width, 1024), min(y + height, 768)),
    st.integers(0, 1000),
    st.integers(0, 740),
    st.integers(1, 1024),
    st.integers(1, 768),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(boxes, st.integers(1, 3)), min_size=1, max_size=8), st.integers(0, 2**32))
def test_whatever_is_damaged_videos_stay_apart_and_inside(parts: list[tuple[Box, int]], seed: int) -> None:
    watched = Watched("all")
    choice = random.Random(seed)
    for frame in range(60):
        watched.frame([box for box, every in parts if frame % every == 0], choice.choice([0.01, 0.03, 0.1]))
        found = watched.boxes
        assert len(found) <= MAX_VIDEOS
        assert all(intersect(box, watched.scene.display.box) == box for box in found)
        assert not any(intersect(one, other) for at, one in enumerate(found) for other in found[:at])
