"""The kernels that look at pixels, held against plain ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from caraway.canvas.kernels.look import changed, equal_neighbours, line_sums, only_word, steps

BAND, GAP = 4, 3


@st.composite
def pictures(draw, max_side: int = 20) -> np.ndarray:
    """Few colours, so that much is equal; a part of a larger picture, so that rows have a stride."""
    height, width = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    words = draw(arrays("<u4", (height + 2, width + 3), elements=st.sampled_from([0, 1, 0xFF000000, 0xFFFFFFFF])))
    return words[1:-1, 2:-1]


@st.composite
def pairs(draw) -> tuple[np.ndarray, np.ndarray]:
    before = draw(pictures())
    after = before.copy()
    for row, column in draw(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=8)):
        after[row % after.shape[0], column % after.shape[1]] ^= 0x80
    return before, after


def plain_changed(before, after, left, top, right, bottom) -> list[tuple[int, int, int, int]]:
    found = []
    for first in range(top, bottom, BAND):
        differs = before[first : min(first + BAND, bottom)] != after[first : min(first + BAND, bottom)]
        columns = [column for column in range(left, right) if differs[:, column].any()]
        runs: list[list[int]] = []
        for column in columns:
            if runs and column - runs[-1][-1] <= GAP:
                runs[-1].append(column)
            else:
                runs.append([column])
        for run in runs:
            rows = np.flatnonzero(differs[:, run].any(axis=1))
            found.append((run[0], first + int(rows[0]), run[-1] + 1, first + int(rows[-1]) + 1))
    return found


@given(pairs(), st.data())
def test_changed(pair, data) -> None:
    before, after = pair
    height, width = before.shape
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    found = changed(before, after, left, top, right, bottom, BAND, GAP)
    assert found == plain_changed(before, after, left, top, right, bottom)


@pytest.mark.parametrize(
    "box", [(0, 0, 6, 4), (0, 0, 5, 5), (-1, 0, 2, 2), (0, -1, 2, 2), (3, 1, 3, 2), (2, 3, 3, 3), (4, 4, 2, 2)]
)
def test_boxes_that_are_not_in_both_pictures_are_refused(box) -> None:
    small, large = np.zeros((4, 5), "<u4"), np.zeros((9, 9), "<u4")
    for before, after in ((small, large), (large, small)):
        with pytest.raises(ValueError, match="box"):
            changed(before, after, *box, BAND, GAP)


@given(pictures(), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_line_sums(picture, strip, every, step, transposed) -> None:
    step = min(step, strip)
    factor = 0x9E3779B1
    picture = picture.T if transposed else picture
    wanted = [
        sum(
            int(row[first + at]) * pow(factor, power, 1 << 32)
            for power, at in enumerate(range(step // 2, strip, step), start=1)
        )
        % (1 << 32)
        for row in picture
        for first in range(0, picture.shape[1] // strip * strip, strip * every)
    ]
    assert np.frombuffer(line_sums(picture, strip, every, step, factor), np.uint32).tolist() == wanted


@given(pictures(), st.integers(1, 4))
def test_equal_neighbours(picture, step) -> None:
    rows = picture[::step]
    equal = rows[:, 1:] == rows[:, :-1]
    assert equal_neighbours(picture, step) == (equal.sum(), equal.size)


@given(pictures(max_side=3))
def test_only_word(picture) -> None:
    assert only_word(picture) == (int(picture[0, 0]) if (picture == picture[0, 0]).all() else None)


def test_a_picture_of_one_word() -> None:
    picture = np.full((40, 30), 0x12345678, "<u4")
    assert only_word(picture) == 0x12345678
    for place in ((0, 29), (39, 0), (17, 13)):
        other = picture.copy()
        other[place] += 1
        assert only_word(other) is None


def test_empty_pictures_have_nothing() -> None:
    empty = np.zeros((0, 5), "<u4")
    assert only_word(empty) is None
    assert equal_neighbours(empty, 1) == (0, 0)
    assert line_sums(empty, 2, 1, 1, 1) == b""


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4), "<u2"), np.zeros(16, "<u4"), np.zeros((2, 2, 2), "<u4"), np.zeros((4, 8), "<u4")[:, ::2]],
)
def test_what_is_no_picture_of_rows_is_refused(picture) -> None:
    with pytest.raises(ValueError, match=r"picture|piece"):
        only_word(picture)
    with pytest.raises(ValueError, match=r"picture|piece"):
        equal_neighbours(picture, 1)
    with pytest.raises(ValueError, match=r"picture|piece"):
        changed(picture, picture, 0, 0, 2, 2, BAND, GAP)


def test_steps_that_lead_nowhere_are_refused() -> None:
    picture = np.zeros((4, 4), "<u4")
    with pytest.raises(ValueError, match="steps"):
        line_sums(picture, 2, 0, 1, 1)
    with pytest.raises(ValueError, match="steps"):
        line_sums(picture, 2, 1, 3, 1)
    with pytest.raises(ValueError, match="step"):
        equal_neighbours(picture, 0)
    with pytest.raises(ValueError, match="box"):
        changed(picture, picture, 0, 0, 2, 2, 0, GAP)


@pytest.mark.parametrize(
    ("stride", "start", "width", "height"),
    [(40, 0, 10, 11), (40, 1, 10, 10), (36, 0, 10, 10), (40, -1, 10, 9), (40, 0, 1, 5), (40, 0, 5, 1)],
)
def test_pictures_that_are_not_in_their_data_are_refused(stride, start, width, height) -> None:
    assert steps(bytes(400), 40, 0, 10, 10, 1) == (0, 85)
    with pytest.raises(ValueError, match="picture"):
        steps(bytes(400), stride, start, width, height, 1)
