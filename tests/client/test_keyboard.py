import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.client import KeyNameError
from caraway.client.keyboard import ALIASES, KEYS, chord, key_down, key_up, scancode, strokes
from caraway.errors import CarawayError


@pytest.mark.parametrize(
    ("name", "down", "up"),
    [
        ("a", 0x1E, 0x9E),
        ("up", 0x48E0, 0xC8E0),
        ("pause", 0x451DE1, 0xC59DE1),
        ("print", 0x37E0, 0xB7E0),
        ("esc", 0x01, 0x81),
        ("f10", 0x44, 0xC4),
        ("f11", 0x57, 0xD7),
        ("kp_enter", 0x1CE0, 0x9CE0),
        ("altgr", 0x38E0, 0xB8E0),
    ],
)
def test_numbers_of_the_specification(name: str, down: int, up: int) -> None:
    """spec/messages.md 4.1: the first byte lowest, bit 7 of all but the prefix for a release."""
    assert key_down(scancode(name)) == down
    assert key_up(scancode(name)) == up


def test_no_two_names_share_a_key() -> None:
    assert len(set(KEYS.values())) == len(KEYS)
    assert all(name in KEYS for name in ALIASES.values())
    assert not set(ALIASES) & set(KEYS)


@pytest.mark.parametrize(
    ("name", "same"), [("ENTER", "enter"), ("Return", "enter"), ("A", "a"), ("PgUp", "pageup"), ("Win", "super")]
)
def test_case_and_other_names_do_not_matter(name: str, same: str) -> None:
    assert scancode(name) == KEYS[same]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("entr", "enter"), ("delet", "delete"), ("contrl", "control"), ("pageupp", "pageup"), ("capslok", "capslock")],
)
def test_nearest_name_is_offered(name: str, hint: str) -> None:
    with pytest.raises(KeyNameError, match=f"there is no key '{name}'; did you mean .*{hint}"):
        scancode(name)


def test_key_that_is_like_nothing() -> None:
    with pytest.raises(KeyNameError, match=r"there is no key '§'$") as caught:
        scancode("§")
    assert isinstance(caught.value, CarawayError)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a", ["a"]),
        ("ctrl+alt+delete", ["ctrl", "alt", "delete"]),
        ("Ctrl+Alt+F2", ["ctrl", "alt", "f2"]),
        ("ctrl++", ["ctrl", "shift", "="]),
        ("+", ["shift", "="]),
        ("plus", ["shift", "="]),
        ("shift+plus", ["shift", "="]),
        ("ctrl+-", ["ctrl", "-"]),
        ("plus+a", ["shift", "=", "a"]),
    ],
)
def test_chords(text: str, keys: list[str]) -> None:
    assert chord(text) == [KEYS[key] for key in keys]


@pytest.mark.parametrize("text", ["", "ctrl+", "+a", "ctrl++alt", "ctrl+alt+delte", "ctrl+!", "ctrl-alt"])
def test_chords_that_are_none(text: str) -> None:
    with pytest.raises(KeyNameError):
        chord(text)


def test_strokes() -> None:
    shift = KEYS["shift"]
    assert strokes("aA1!\n\t ~") == [
        *([KEYS["a"]], [shift, KEYS["a"]], [KEYS["1"]], [shift, KEYS["1"]]),
        *([KEYS["enter"]], [KEYS["tab"]], [KEYS["space"]], [shift, KEYS["`"]]),
    ]


def test_every_printable_character_has_a_stroke_of_its_own() -> None:
    made = strokes("".join(map(chr, range(32, 127))))
    assert len({tuple(codes) for codes in made}) == 95


@given(st.text())
def test_text_is_typed_or_refused_as_a_whole(text: str) -> None:
    try:
        made = strokes(text)
    except KeyNameError:
        assert not text.isascii() or not text.isprintable()
    else:
        assert len(made) == len(text)
        assert text.isascii()


@given(st.text())
def test_chords_of_nonsense(text: str) -> None:
    try:
        codes = chord(text)
    except KeyNameError:
        return
    assert set(codes) <= set(KEYS.values())
