"""The GLZ codec: the client's window, the server's dictionary."""

import struct
import tracemalloc
import zlib
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.codecs import glz, pixels
from caraway.codecs.bitmap import Bitmap, PixelFormat, from_indices
from caraway.errors import CodecError
from support import reference_glz
from support.vectors import load, vectors

FORMATS = [format for format in PixelFormat if format not in (PixelFormat.RGB565, PixelFormat.A8)]
RGB16, RGB32, RGBA = 6, 8, 9
GREY_PALETTE = [0x010101 * index for index in range(256)]


def play(window, arrivals):
    """Decode images as they arrive on their channels, each of which waits when it must. Gives pictures by number.

    arrivals: number, channel, payload of each.
    """
    queues, pictures = {}, {}
    for number, channel, payload in arrivals:
        queues.setdefault(channel, deque()).append((number, payload))
        while any(decode_next(window, waiting, queue, pictures) for waiting, queue in queues.items()):
            pass
    assert not any(queues.values()), "a channel waits for ever"
    return pictures


def decode_next(window, channel, queue, pictures):
    """Decode a channel's next image, if there is one and it need not wait."""
    if not queue:
        return False
    number, payload = queue[0]
    before = len(window), window.tail_gap
    try:
        pictures[number] = window.decode(payload, channel, palette=GREY_PALETTE)
    except glz.ImagePendingError as error:
        pending = error
    else:
        queue.popleft()
        return True
    assert pending.channel == channel
    assert pending.image_id not in window
    assert (len(window), window.tail_gap) == before
    return False


def payload_of(vector):
    data, expected = load(vector)
    return (glz.inflate(data, vector["glz_size"]) if vector.get("wrapped") == "zlib" else data), expected


def orders():
    """Each sequence of vectors with each order of arrival."""
    found = []
    for parameter in vectors("glz", "zlib_glz"):
        vector = parameter.values[0] or {"sequence": []}
        in_order = [*range(len(vector["sequence"]))]
        for number, order in enumerate([in_order, *vector.get("arrival_order", [])]):
            found.append(pytest.param(parameter.values[0], order, id=f"{parameter.id}-{number}"))
    return found


@pytest.mark.parametrize(("vector", "order"), orders())
def test_vector(vector, order):
    load(vector and vector["sequence"][0])
    images = [payload_of(image) for image in vector["sequence"]]
    window = glz.Window(vector["window_pixels"], channels=vector["channels"])
    pictures = play(window, [(at, vector["sequence"][at]["channel"], images[at][0]) for at in order])
    assert len(pictures) == len(images)
    for number, (_, expected) in enumerate(images):
        image = vector["sequence"][number]
        assert (pictures[number].width, pictures[number].height) == (image["width"], image["height"])
        assert bytes(pictures[number].data) == expected, f"image {number}"
    assert window.tail_gap == len(images)


@pytest.mark.parametrize("vector", vectors("glz", "zlib_glz"))
def test_reference_agrees_with_the_vectors(vector):
    load(vector and vector["sequence"][0])
    images = {}
    for image in vector["sequence"][:20]:
        data, expected = payload_of(image)
        _, _, _, rows = reference_glz.decode(data, images)
        assert b"".join(bytes(pixel) for row in rows for pixel in row) == expected


@pytest.mark.parametrize("vector", vectors("glz", "zlib_glz"))
def test_encoding_is_no_larger_than_the_reference_and_decodes(vector):
    load(vector and vector["sequence"][0])
    dictionary, window = glz.Dictionary(vector["window_pixels"]), glz.Window(vector["window_pixels"])
    ours = theirs = 0
    for image in vector["sequence"]:
        data, expected = payload_of(image)
        encoded = dictionary.encode(picture_of(image, expected), top_down=bool(image["top_down"]))
        assert bytes(window.decode(encoded).data) == expected
        ours, theirs = ours + len(encoded), theirs + len(data)
    assert ours <= theirs


def picture_of(image, data):
    width, height = image["width"], image["height"]
    match image["type"]:
        case "rgb16":
            return Bitmap(width, height, PixelFormat.RGB555, width * 2, bytes(pixels.rgb555_from_bgrx(data)))
        case "rgb24":
            return Bitmap(width, height, PixelFormat.BGR24, width * 3, bytes(pixels.bgr_from_bgrx(data)))
        case "rgb32":
            return Bitmap(width, height, PixelFormat.BGRX32, width * 4, data)
        case "rgba":
            return Bitmap(width, height, PixelFormat.BGRA32, width * 4, data)


@st.composite
def pictures(draw, parts, formats=FORMATS):
    """A picture of pieces that others have too."""
    format = draw(st.sampled_from(formats))
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 12))
    row_bytes = format.row_bytes(width)
    stride = row_bytes + draw(st.sampled_from([0, 0, 3]))
    random = draw(st.randoms(use_true_random=False))
    data = bytearray()
    while len(data) < stride * height:
        data += random.choice(parts) * random.choice([1, 1, 1, 2, 40])
    return Bitmap(width, height, format, stride, bytes(data[: stride * height]), GREY_PALETTE[: 1 << format.bits])


@st.composite
def sequences(draw, formats=FORMATS):
    """Pictures that have much in common."""
    random = draw(st.randoms(use_true_random=False))
    parts = [random.randbytes(random.choice([4, 12, 24, 100, 700])) for _ in range(draw(st.integers(1, 6)))]
    return draw(st.lists(pictures(parts, formats), min_size=1, max_size=12))


def expected_pixels(picture):
    """What a decoder should make of a picture."""
    row_bytes = picture.format.row_bytes(picture.width)
    data = b"".join(picture.data[y * picture.stride :][:row_bytes] for y in range(picture.height))
    if picture.format is PixelFormat.BGR24:
        return b"".join(data[at : at + 3] + b"\0" for at in range(0, len(data), 3))
    if picture.format is PixelFormat.BGRX32:
        return b"".join(data[at : at + 3] + b"\0" for at in range(0, len(data), 4))
    if picture.format.bits == 16:
        return bytes(pixels.bgrx_from_555(data))
    if picture.format is PixelFormat.BGRA32:
        return data
    indexed = Bitmap(picture.width, picture.height, picture.format, row_bytes, data, GREY_PALETTE)
    return bytes(from_indices(indexed).data)


def seen_pixels(picture):
    """The pixels of a decoded picture without what pads its rows."""
    rows = range(0, picture.stride * picture.height, picture.stride)
    return b"".join(picture.data[at : at + picture.width * 4] for at in rows)


@settings(deadline=None)
@given(sequences(), st.data())
def test_round_trip_through_several_channels(sequence, data):
    """Images are evicted, released and delayed."""
    window_pixels = data.draw(st.sampled_from([800, 1500, 4000, 1 << 20]))
    channels = data.draw(st.integers(1, 3))
    dictionary = glz.Dictionary(window_pixels, next_id=data.draw(st.sampled_from([0, 0, 7, 1 << 33])))
    first_id = dictionary.next_id
    queues = [deque() for _ in range(channels)]
    encoded = []
    for number, picture in enumerate(picture for picture in sequence if dictionary.fits(picture)):
        channel = data.draw(st.integers(0, channels - 1))
        queues[channel].append((number, channel, dictionary.encode(picture, top_down=data.draw(st.booleans()))))
        encoded.append(picture)
        if data.draw(st.integers(0, 3)) == 0:
            dictionary.release(first_id + data.draw(st.integers(0, number)))
    arrivals = []
    while any(queues):
        arrivals.append(data.draw(st.sampled_from([queue for queue in queues if queue])).popleft())

    window = glz.Window(window_pixels, channels=channels)
    found = play(window, arrivals)
    for number, picture in enumerate(encoded):
        assert seen_pixels(found[number]) == expected_pixels(picture), f"image {number}"
        wanted = PixelFormat.BGRA32 if picture.format is PixelFormat.BGRA32 else PixelFormat.BGRX32
        assert found[number].format is wanted
    if encoded:
        assert window.tail_gap == first_id + len(encoded)


@settings(deadline=None)
@given(sequences())
def test_reference_decodes_what_is_encoded(sequence):
    dictionary, images = glz.Dictionary(1 << 20), {}
    for number, picture in enumerate(sequence):
        id, width, height, rows = reference_glz.decode(dictionary.encode(picture), images, GREY_PALETTE)
        assert (id, width, height) == (number, picture.width, picture.height)
        assert b"".join(bytes(pixel) for row in rows for pixel in row) == expected_pixels(picture)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 7), (31, 1), (33, 1), (1000, 90)])
def test_round_trip_of_sizes(format, width, height):
    row_bytes = format.row_bytes(width)
    row = bytes(13 * at % 251 for at in range(row_bytes))
    data = b"".join(row[y % row_bytes :] + row[: y % row_bytes] for y in range(height))
    picture = Bitmap(width, height, format, row_bytes, data, GREY_PALETTE[: 1 << format.bits])
    dictionary, window = glz.Dictionary(1 << 20), glz.Window()
    for _ in range(2):
        decoded = window.decode(dictionary.encode(picture), palette=GREY_PALETTE)
        assert seen_pixels(decoded) == expected_pixels(picture)


def test_long_offsets_and_distances():
    """Every length of an offset and of an image distance that a match can have."""
    noise = bytes(
        value for word in range(1 << 18) for value in ((word * 0x9E3779B1 >> 7) & 0xFFFFFF).to_bytes(4, "little")
    )
    large = Bitmap(512, 512, PixelFormat.BGRX32, 2048, noise)
    dictionary, window = glz.Dictionary(1 << 21), glz.Window(1 << 21)
    assert bytes(window.decode(dictionary.encode(large)).data) == noise
    dots = 0
    for distance in (63, 64, 255, 256, 16383, 16384, 65536):
        while dictionary.next_id < distance:
            dots += 1
            window.decode(dictionary.encode(Bitmap(1, 1, PixelFormat.BGRX32, 4, struct.pack("<I", dots))))
        for pixel in (0, 4000, 5000, 130000, 140000, 262000):
            pixel += dictionary.next_id % 100
            part = Bitmap(40, 1, PixelFormat.BGRX32, 160, noise[4 * pixel : 4 * pixel + 160])
            encoded = dictionary.encode(part)
            assert len(encoded) < 33 + 20
            assert bytes(window.decode(encoded).data) == part.data


def test_eviction_is_announced():
    dictionary = glz.Dictionary(100)
    heads = [struct.unpack_from(">QI", dictionary.encode(grey(10, height)), 21) for height in (4, 4, 2, 1, 9, 1, 1)]
    assert heads == [(0, 0), (1, 1), (2, 2), (3, 2), (4, 1), (5, 1), (6, 1)]


def test_released_images_are_not_referred_to_but_count():
    dictionary, picture = glz.Dictionary(1000), grey(10, 10, noise=True)
    first, again = dictionary.encode(picture), dictionary.encode(picture)
    assert len(again) < 50 < len(first)
    dictionary.release(0)
    dictionary.release(1)
    dictionary.release(99)
    alone = dictionary.encode(picture)
    assert struct.unpack_from(">QI", alone, 21) == (2, 2)
    assert alone[33:] == first[33:]


def grey(width, height, *, noise=False):
    data = bytes(at * at * 7 % 251 if noise and at % 4 < 3 else 0 for at in range(width * height * 4))
    return Bitmap(width, height, PixelFormat.BGRX32, width * 4, data)


def test_pictures_that_do_not_fit():
    dictionary = glz.Dictionary(100)
    assert dictionary.fits(grey(9, 11))
    assert not dictionary.fits(grey(10, 10))
    assert not dictionary.fits(Bitmap(2, 2, PixelFormat.A8, 2, bytes(4)))
    with pytest.raises(CodecError, match="10x10 pixels for a window of 100"):
        dictionary.encode(grey(10, 10))
    with pytest.raises(CodecError, match="A8"):
        dictionary.encode(Bitmap(2, 2, PixelFormat.A8, 2, bytes(4)))
    assert dictionary.next_id == 0
    with pytest.raises(ValueError, match="limit"):
        glz.Dictionary(glz.MAX_WINDOW_PIXELS + 1)


def image(id, head, tokens=b"\x00abc", *, type=RGB32, top_down=16, width=1, height=1, stride=None, magic=glz.MAGIC):
    stride = width * 4 if stride is None else stride
    return struct.pack(">2IB3IQI", magic, glz.VERSION, type | top_down, width, height, stride, id, head) + tokens


def same_as(distance, offset=0):
    """A match of one pixel with a pixel of an earlier image."""
    return bytes([1 << 5 | offset, 0, distance])


def test_tokens():
    def decoded(tokens, width=1, **options):
        return bytes(glz.Window().decode(image(0, 0, tokens, width=width, **options), palette=[7, 0x030201]).data)

    assert decoded(b"\x00abc\x00def\x40\x00\x00", 4) == b"abc\0" + b"def\0" * 3
    assert decoded(b"\x01abcdef\x41\x00\x00", 4) == b"abc\0def\0" * 2
    assert decoded(b"\x00abc\xe0\x01\x00\x00", 9) == b"abc\0" * 9, "length 7 + 1"
    assert decoded(b"\x00abc\xe0\xff\x25\x00\x00", 300) == b"abc\0" * 300, "length 7 + 255 + 37"
    assert decoded(b"\x00\xfc\x1f", type=RGB16) == bytes([255, 0, 255, 0])
    assert decoded(b"\x00\x81", 8, type=2, stride=1) == b"\1\2\3\0" + b"\7\0\0\0" * 6 + b"\1\2\3\0"
    assert decoded(b"\x01abcdef\x01\x07\x09", 2, type=RGBA) == b"abc\7def\x09"


def test_rows_stay_in_coded_order_in_the_window():
    window = glz.Window()
    bottom_up = window.decode(image(0, 0, b"\x01abcdef", height=2, top_down=0))
    assert bytes(bottom_up.data) == b"def\0abc\0"
    assert bytes(window.decode(image(1, 1, same_as(1))).data) == b"abc\0"
    assert bytes(window.decode(image(2, 2, same_as(2, 1), top_down=0)).data) == b"def\0"


@pytest.mark.parametrize("head", [0, 1])
def test_win_head_dist_of_the_newest_image_before_a_gap_releases(head):
    window = glz.Window(channels=2)
    for id in (0, 1, 2):
        window.decode(image(id, id))
    window.decode(image(4, 0))
    assert [id in window for id in range(5)] == [True, True, True, False, True], "images after a gap release nothing"
    window.decode(image(3, head))
    assert [id in window for id in range(5)] == [False, False, False, False, True], "the newest is image 4"
    assert window.tail_gap == 5
    window.decode(image(5, head))
    assert [4 in window, 5 in window] == [head == 1, True]


def test_a_reference_waits_for_what_has_not_arrived():
    window = glz.Window(channels=2)
    window.decode(image(0, 0))
    with pytest.raises(glz.ImagePendingError, match="image 2 of display 5 waits for image 1") as pending:
        window.decode(image(2, 2, same_as(1)), 5)
    assert (pending.value.image_id, pending.value.channel) == (1, 5)
    assert (len(window), window.tail_gap) == (1, 1)
    with pytest.raises(glz.ImagePendingError):
        window.decode(image(2, 2, b"no tokens at all"), 5)
    window.decode(image(1, 1, b"\x00xyz"))
    assert bytes(window.decode(image(2, 2, same_as(1)), 5).data) == b"xyz\0"


def test_a_reference_to_what_is_gone_is_an_error():
    window = glz.Window(channels=2)
    window.decode(image(0, 0))
    window.decode(image(1, 0))
    with pytest.raises(CodecError, match="image 2 refers to image 0, which is gone"):
        window.decode(image(2, 2, same_as(2)))
    with pytest.raises(CodecError, match="refers to 4 images before it"):
        window.decode(image(2, 2, same_as(4)))


def test_with_one_channel_nothing_is_waited_for():
    window = glz.Window()
    window.decode(image(0, 0))
    with pytest.raises(CodecError, match="nothing else brings it"):
        window.decode(image(2, 2, same_as(1)))
    window.channels = 2
    with pytest.raises(glz.ImagePendingError):
        window.decode(image(2, 2, same_as(1)))
    window.channels = 1
    with pytest.raises(CodecError, match="nothing else brings it"):
        window.decode(image(2, 2, same_as(1)))


def test_a_gap_that_nothing_fills_does_not_keep_images_for_ever():
    window = glz.Window(channels=2)
    window.decode(image(0, 0))
    window.decode(image(2, 1))
    assert window.tail_gap == 1
    window.channels = 1
    window.decode(image(3, 0))
    assert [id in window for id in range(4)] == [False, False, False, True]
    window.decode(image(1 << 63, 0))
    assert len(window) == 1


def test_ids_that_do_not_start_at_0():
    window = glz.Window(channels=2)
    window.decode(image(1003, 3))
    assert window.tail_gap == 1000
    with pytest.raises(glz.ImagePendingError):
        window.decode(image(1004, 4, same_as(3)), 1)
    for id in (1000, 1001, 1002):
        window.decode(image(id, id - 1000))
    assert window.tail_gap == 1004
    alone = glz.Window()
    alone.decode(image(1003, 3))
    assert alone.tail_gap == 1004


def test_the_first_images_may_come_late():
    """Image 2 refers to nothing before it, so that it seems to be the first; 0 and 1 are still on their way."""
    window = glz.Window(channels=2)
    window.decode(image(2, 0), 1)
    window.decode(image(3, 0), 1)
    assert (window.tail_gap, 2 in window) == (4, False)
    window.decode(image(0, 0))
    assert (window.tail_gap, 0 in window) == (1, True)
    with pytest.raises(CodecError, match="came before"):
        window.decode(image(2, 0), 1)
    with pytest.raises(CodecError, match="gone"):
        window.decode(image(4, 2, same_as(2)), 1)
    assert bytes(window.decode(image(1, 1, same_as(1))).data) == b"abc\0"
    assert (window.tail_gap, len(window)) == (4, 1)


@pytest.mark.parametrize("again", [0, 1, 2])
def test_an_id_comes_once(again):
    window = glz.Window(channels=2)
    for id, head in ((0, 0), (1, 0), (2, 1)):
        window.decode(image(id, head))
    assert 0 not in window
    with pytest.raises(CodecError, match="came before"):
        window.decode(image(again, 0))


def test_clear_starts_again():
    window = glz.Window(channels=2)
    window.decode(image(5, 0))
    window.clear()
    assert (len(window), window.tail_gap) == (0, None)
    window.decode(image(0, 0))
    assert window.tail_gap == 1


def test_ids_go_on_after_a_seamless_migration():
    window = glz.Window()
    for id in range(3):
        window.decode(image(id, id))
    window.decode(image(3, 0))
    assert (len(window), window.tail_gap) == (1, 4)


def run(id, head, pixels):
    """An image of pixels that are all the same."""
    return image(
        id,
        head,
        b"\x00abc" + b"\xe0" + bytes([255] * ((pixels - 8) // 255)) + bytes([(pixels - 8) % 255, 0, 0]),
        width=pixels,
    )


def test_images_of_a_window_are_bounded():
    window = glz.Window(1000)
    with pytest.raises(CodecError, match="1001 pixels for a window of 1000"):
        window.decode(run(0, 0, 1001))
    for id in range(4):
        window.decode(run(id, id, 1000))
    with pytest.raises(CodecError, match="5000 pixels of images that nothing releases"):
        window.decode(run(4, 4, 1000))
    with pytest.raises(ValueError, match="limit"):
        glz.Window(glz.MAX_WINDOW_PIXELS + 1)


def test_a_full_window_waits_for_the_oldest_gap():
    window = glz.Window(1000, channels=2)
    for id in (0, 2):
        window.decode(run(id, 0, 1000))
    with pytest.raises(glz.ImagePendingError) as pending:
        window.decode(run(3, 0, 1000), 1)
    assert pending.value.image_id == 1
    window.decode(run(1, 0, 1000))
    window.decode(run(3, 0, 1000), 1)
    assert len(window) == 1


def test_many_images_and_ids_far_apart():
    window = glz.Window(channels=2)
    for id in range(3000):
        window.decode(image(id, id))
    assert bytes(window.decode(image(3000, 3000, b"\x20\x00\x78\x2e")).data) == b"abc\0", "56 and 46 * 64 back"
    with pytest.raises(CodecError, match="too far apart"):
        window.decode(image(1 << 60, 0))
    assert len(window) == 3001


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "header"),
        (image(0, 0, magic=1), "magic"),
        (image(0, 0, type=0), "unknown type"),
        (image(0, 0, type=10), "unknown type"),
        (image(0, 0, top_down=32), "unknown type"),
        (image(0, 0, width=0), "empty"),
        (image(0, 0, width=1 << 31, height=1 << 31, stride=0), "limit"),
        (image(0, 0, type=5, stride=0), "PLT8 row of 1 pixels in 0 bytes"),
        (image(0, 0, type=2, width=9, stride=1), "row of 9 pixels in 1"),
        (image(0, 0, type=1, stride=3), "row of 1 pixels in 3"),
        (image(0, 0, type=5, stride=1), "without a palette"),
        (image(0, 0, width=1021), "1021x1 pixels in 37 bytes"),
        (image(2, 3), "3 images before it"),
        (image(0, 0, b"\x00ab"), "payload ends"),
        (image(0, 0, b"\x00"), "payload ends"),
        (image(0, 0, b"\x00abc\x20\x00", width=2), "payload ends"),
        (image(0, 0, b"\x00abc\xe0\xff", width=2), "payload ends"),
        (image(0, 0, b"\x00abc\x20\x00\xc0\x00", width=2), "payload ends"),
        (image(0, 0, b"\x00abc\x30\x00\x20", width=2), "payload ends"),
        (image(0, 0, b"\x01abcdef"), "runs over"),
        (image(0, 0, b"\x00abc\x40\x00\x00", width=2), "runs over"),
        (image(0, 0, b"\x00abc\x21\x00\x00", width=2), "outside"),
        (image(0, 0, b"\x20\x00\x00"), "outside"),
        (image(0, 0, b"\x00abcd"), "after the last pixel"),
        (image(0, 0, b"\x00abc", type=RGBA), "payload ends"),
    ],
)
def test_malformed(data, text):
    window = glz.Window()
    with pytest.raises(CodecError, match=text):
        window.decode(data)
    assert (len(window), window.tail_gap) == (0, None)


def test_match_beyond_the_end_of_its_image():
    window = glz.Window()
    window.decode(image(0, 0, b"\x02abcdefghi", width=3))
    with pytest.raises(CodecError, match="outside"):
        window.decode(image(1, 1, bytes([2 << 5 | 2, 0, 1]), width=2))
    assert bytes(window.decode(image(1, 1, bytes([2 << 5 | 1, 0, 1]), width=2)).data) == b"def\0ghi\0"


def test_a_header_alone_takes_no_memory():
    tracemalloc.start()
    with pytest.raises(CodecError):
        glz.Window().decode(image(0, 0, width=4096, height=4096))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@settings(deadline=None, max_examples=300)
@given(sequences(), st.data())
def test_mutated_payloads(sequence, data):
    """A payload with bytes changed, taken away and put in, after images that are as they should be."""
    dictionary = glz.Dictionary(1 << 16)
    window = glz.Window(1 << 16, channels=data.draw(st.integers(1, 2)))
    *before, last = [dictionary.encode(picture) for picture in sequence]
    for encoded in before:
        window.decode(encoded, palette=GREY_PALETTE)
    mutated = bytearray(last)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        picture = window.decode(bytes(mutated), palette=GREY_PALETTE)
    except (CodecError, glz.ImagePendingError):
        assert len(window) == len(before)
    else:
        assert len(picture.data) == picture.stride * picture.height
        assert picture.stride >= 4 * picture.width


def test_every_truncation():
    dictionary, window = glz.Dictionary(1 << 16), glz.Window(1 << 16)
    window.decode(dictionary.encode(grey(40, 10, noise=True)))
    encoded = dictionary.encode(grey(40, 20, noise=True))
    for size in range(len(encoded)):
        with pytest.raises(CodecError):
            window.decode(encoded[:size])
    window.decode(encoded)


def test_deflated_payloads():
    payload = glz.Dictionary(1 << 16).encode(grey(40, 20))
    deflated = glz.deflate(payload)
    assert glz.inflate(deflated, len(payload)) == payload
    for size in (0, len(payload) - 1, len(payload) + 1, (1 << 32) - 1):
        with pytest.raises(CodecError):
            glz.inflate(deflated, size)
    for data in (b"", b"abc", deflated[:-1], deflated + b"x", deflated[:10] + b"\xff" + deflated[11:]):
        with pytest.raises(CodecError):
            glz.inflate(data, len(payload))


def test_inflating_stops_at_the_declared_size():
    bomb = zlib.compress(bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(CodecError):
        glz.inflate(bomb, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
