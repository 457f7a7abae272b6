"""QMP without a socket: requests from bytes, and what is answered to those that make no sense."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.errors import ProtocolError
from caraway.server.qmp import (
    MAX_NESTING,
    MAX_REQUEST,
    Command,
    CommandError,
    Dialogue,
    Parameter,
    Request,
    Requests,
    answer,
    event,
    refusal,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def values(*pieces: bytes) -> list[Any]:
    """What comes out; errors as their texts."""
    requests = Requests()
    found = [value for piece in pieces for value in requests.feed(piece)]
    return [str(value) if isinstance(value, CommandError) else value for value in found]


@given(st.lists(JSON.filter(lambda value: isinstance(value, dict | list))), st.data())
def test_objects_in_a_row(given: list[object], data: st.DataObject) -> None:
    """They come out again, whatever separates them and however the stream is cut."""
    said = b"".join(
        json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "replace")
        + data.draw(st.sampled_from([b"", b"\n", b"\r\n", b"  \n\n"]))
        for value in given
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)))))
    pieces = [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    assert values(*pieces) == given


@given(st.lists(st.binary() | st.text(alphabet='{}[]",:\\\n1x').map(str.encode)))
def test_garbage(pieces: list[bytes]) -> None:
    """It costs its own line at most."""
    assert values(*pieces, b'"\n\n}]}]' * 20, b'\n{"well": 1}')[-1] == {"well": 1}


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b'{"a": tru}', "JSON parse error, expecting value"),
        (b'{"a" 1}', "JSON parse error, expecting ':' delimiter"),
        (b'{"a": 1, "a": 2}', "JSON parse error, duplicate key"),
        (b'{"a": "\\ud800"}', "JSON parse error, "),
        (b'{"a": 1e999}', "JSON parse error, "),
        (b'{"a": NaN}', "JSON parse error, "),
        (b'{"a": "\xff"}', "JSON parse error, "),
        (b'{"a": ' + b"1" * 5000 + b"}", "JSON parse error, "),
        (b'{"a": "\t"}\n', "JSON parse error, control character in a string"),
        (b"[" * (MAX_NESTING + 1) + b"\n", "JSON nesting depth limit exceeded"),
        (b"[}", "JSON parse error, "),
        (b"]\n", "JSON parse error, expecting value"),
    ],
)
def test_nonsense(said: bytes, text: str) -> None:
    """It is one error; what comes on the next line is read."""
    [error, value] = values(said, b'\n{"a": 1}')
    assert error.startswith(text)
    assert value == {"a": 1}


def test_nesting() -> None:
    deep = b"[" * MAX_NESTING + b"]" * MAX_NESTING
    assert values(deep) == [json.loads(deep)]


def test_endless_request() -> None:
    requests = Requests()
    assert list(requests.feed(b'{"a": "' + b"x" * (MAX_REQUEST - 7))) == []
    with pytest.raises(ProtocolError, match="limit"):
        list(requests.feed(b"x"))


def test_endless_nonsense() -> None:
    """It is not kept."""
    requests = Requests()
    assert [str(error) for error in requests.feed(b'"\0')] == ["JSON parse error, control character in a string"]
    for _ in range(3):
        assert list(requests.feed(b"x" * MAX_REQUEST)) == []
    assert list(requests.feed(b'\n{"a": 1}')) == [{"a": 1}]


def given_back(**arguments: object) -> object:
    return arguments


TABLE = {
    "take": Command(
        "take",
        given_back,
        (
            Parameter("name-of"),
            Parameter("port", "integer", optional=True),
            Parameter("kind", values=("a", "b"), optional=True),
            Parameter("flag", "boolean", optional=True),
        ),
    )
}


def say(dialogue: Dialogue, said: object) -> Any:
    """The one answer, executing what is asked."""
    [item] = dialogue.receive(json.dumps(said).encode())
    if isinstance(item, bytes):
        return json.loads(item)
    try:
        return json.loads(answer(item.command.execute(**item.arguments), item.id))
    except CommandError as error:
        return json.loads(refusal(error, item.id))


@pytest.fixture
def dialogue() -> Dialogue:
    made = Dialogue(TABLE, "test 1")
    assert say(made, {"execute": "qmp_capabilities"}) == {"return": {}}
    return made


def test_greeting() -> None:
    greeting = json.loads(Dialogue(TABLE, "test 1").greeting())
    version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "test 1"}
    assert greeting == {"QMP": {"version": version, "capabilities": []}}


def test_negotiation_comes_first() -> None:
    dialogue = Dialogue(TABLE, "test 1")
    refused = say(dialogue, {"execute": "query-version", "id": 1})
    assert refused == {
        "id": 1,
        "error": {
            "class": "CommandNotFound",
            "desc": "Expecting capabilities negotiation with 'qmp_capabilities'",
        },
    }
    assert say(dialogue, {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}})["error"]
    assert not dialogue.negotiated
    assert say(dialogue, {"execute": "qmp_capabilities", "arguments": {"enable": []}}) == {"return": {}}
    assert dialogue.negotiated
    assert say(dialogue, {"execute": "query-version"})["return"]["package"] == "test 1"
    assert say(dialogue, {"execute": "qmp_capabilities"})["error"]["class"] == "CommandNotFound"


def test_requests_wait_for_each_other() -> None:
    """A command that comes in one piece with the negotiation is not read before that is done."""
    dialogue = Dialogue(TABLE, "test 1")
    items = dialogue.receive(b'{"execute": "qmp_capabilities"}{"execute": "query-version"}')
    negotiation = next(items)
    assert isinstance(negotiation, Request)
    negotiation.command.execute(**negotiation.arguments)
    assert isinstance(next(items), Request)


def test_arguments(dialogue: Dialogue) -> None:
    arguments = {"name-of": "x", "port": 1, "kind": "b", "flag": True}
    said = say(dialogue, {"execute": "take", "arguments": arguments, "id": {"any": [None]}})
    assert said == {"return": {"name_of": "x", "port": 1, "kind": "b", "flag": True}, "id": {"any": [None]}}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "Parameter 'name-of' is missing"),
        ({"name-of": 1}, "Invalid parameter type for 'name-of', expected: string"),
        ({"name-of": "x", "port": "1"}, "Invalid parameter type for 'port', expected: integer"),
        ({"name-of": "x", "port": True}, "Invalid parameter type for 'port', expected: integer"),
        ({"name-of": "x", "kind": "c"}, "Parameter 'kind' does not accept value 'c'"),
        ({"name-of": "x", "more": 1}, "Parameter 'more' is unexpected"),
        ({"name_of": "x"}, "Parameter 'name-of' is missing"),
    ],
)
def test_wrong_arguments(dialogue: Dialogue, arguments: object, text: str) -> None:
    refused = say(dialogue, {"execute": "take", "arguments": arguments, "id": None})
    assert refused == {"id": None, "error": {"class": "GenericError", "desc": text}}


NAMES = st.sampled_from(["execute", "arguments", "id", "qmp_capabilities", "take", "enable", "port", "name-of", "oob"])


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | NAMES,
        lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(), inner),
        max_leaves=12,
    )
)
def test_any_value_is_answered_once(value: object) -> None:
    """Whatever it is; and the client may go on."""
    dialogue = Dialogue(TABLE, "test 1")
    said = say(dialogue, value) if isinstance(value, dict | list) else {"error": {}}
    assert ("return" in said) != ("error" in said)
    assert ("id" in said) is (isinstance(value, dict) and "id" in value)
    assert "return" in say(dialogue, {"execute": "qmp_capabilities"}) or dialogue.negotiated


def test_names_of_commands(dialogue: Dialogue) -> None:
    names = {entry["name"] for entry in say(dialogue, {"execute": "query-commands"})["return"]}
    assert names == {"qmp_capabilities", "query-version", "query-commands", "take"}


def test_event() -> None:
    assert json.loads(event("STOP", None, 12.25)) == {
        "timestamp": {"seconds": 12, "microseconds": 250_000},
        "event": "STOP",
    }
    assert json.loads(event("STOP", {"a": 1}, 0))["data"] == {"a": 1}
