from hypothesis import given
from hypothesis import strategies as st

from caraway.wire.capabilities import Capabilities, CommonCapability, MainCapability
from caraway.wire.messages.display import DisplayCapability

words = st.lists(st.integers(0, 0xFFFFFFFF), max_size=5)


def test_real_words_of_the_deployed_peers():
    assert Capabilities.from_words([0xB]) == Capabilities(
        [CommonCapability.AUTH_SELECTION, CommonCapability.AUTH_SPICE, CommonCapability.MINI_HEADER]
    )
    assert Capabilities(MainCapability).words == [0xF, 1 << 31]
    assert list(Capabilities.from_words([0x1052])) == [
        DisplayCapability.MONITORS_CONFIG,
        DisplayCapability.STREAM_REPORT,
        DisplayCapability.PREF_COMPRESSION,
        DisplayCapability.PREF_VIDEO_CODEC_TYPE,
    ]


def test_capability_n_is_bit_n_mod_32_of_word_n_div_32():
    assert Capabilities([0, 33, 95]).words == [1, 2, 1 << 31]
    assert Capabilities().words == []


def test_membership_of_numbers_that_nobody_has():
    caps = Capabilities([3])
    assert 3 in caps
    assert CommonCapability.MINI_HEADER in caps
    assert 2 not in caps
    assert 1000 not in caps
    assert -1 not in caps
    assert "3" not in caps


@given(words)
def test_unknown_bits_survive(some):
    stripped = some[: max((i + 1 for i, word in enumerate(some) if word), default=0)]
    caps = Capabilities.from_words(some)
    assert caps.words == stripped
    assert Capabilities(caps) == caps
    assert Capabilities.from_bits(caps.bits) == caps


@given(words, words)
def test_it_is_a_set(left, right):
    a, b = Capabilities.from_words(left), Capabilities.from_words(right)
    assert set(a | b) == set(a) | set(b)
    assert set(a & b) == set(a) & set(b)
    assert len(a) == len(set(a))
    assert bool(a) == bool(set(a))
    assert (a == b) == (set(a) == set(b))
    assert a != b or hash(a) == hash(b)
