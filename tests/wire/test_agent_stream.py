"""Agent messages in AGENT_DATA: put together from any pieces, taken apart as the deployed server demands."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.errors import ProtocolError
from caraway.wire.agent_stream import AgentStream, agent_bodies
from caraway.wire.limits import MAX_AGENT_MESSAGE
from caraway.wire.messages.agent import AgentHeader, ClientDisconnected, Clipboard, ClipboardType

MESSAGES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=60)), max_size=5)


def packed(messages: list[tuple[int, bytes]]) -> bytes:
    return b"".join(AgentHeader(1, number, 0, len(data)).pack() + data for number, data in messages)


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 400)))
def test_messages_come_out_however_the_stream_is_cut(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = packed(messages)
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    stream = AgentStream()
    found = [m for start, end in itertools.pairwise(ends) for m in stream.feed(data[start:end])]
    assert found == messages


@given(messages=MESSAGES, at=st.integers(0, 400))
def test_a_message_comes_out_with_its_last_byte(messages: list[tuple[int, bytes]], at: int) -> None:
    data = packed(messages)[:at]
    complete = [m for n, m in enumerate(messages) if len(packed(messages[: n + 1])) <= len(data)]
    assert AgentStream().feed(data) == complete


@pytest.mark.parametrize("size", [0, 1, 2020, 2021, 2024, 2025, 4072, 4073, 100_000])
def test_bodies_are_as_the_deployed_server_demands(size: int) -> None:
    """2020 bytes of clipboard data and their type make 2024; with the header that is 2044 of 2048."""
    message = Clipboard(None, ClipboardType.UTF8_TEXT, bytes(size))
    bodies = list(agent_bodies(message))
    assert len(bodies[0]) >= 20
    assert all(len(body) == 2048 for body in bodies[:-1])
    assert 0 < len(bodies[-1]) <= 2048
    stream = AgentStream()
    assert [m for body in bodies for m in stream.feed(body)] == [(4, message.pack())]


def test_a_message_without_data_is_one_body() -> None:
    assert list(agent_bodies(ClientDisconnected())) == [AgentHeader(1, 13, 0, 0).pack()]


def test_size_is_refused_by_the_header_alone() -> None:
    with pytest.raises(ProtocolError, match=f"message 4 of {MAX_AGENT_MESSAGE + 1} bytes"):
        AgentStream().feed(AgentHeader(1, 4, 0, MAX_AGENT_MESSAGE + 1).pack())
    assert AgentStream().feed(AgentHeader(1, 4, 0, MAX_AGENT_MESSAGE).pack()) == []
    with pytest.raises(ProtocolError, match="limit 5"):
        AgentStream(max_size=5).feed(AgentHeader(1, 4, 0, 6).pack())


def test_other_protocol_is_refused() -> None:
    with pytest.raises(ProtocolError, match="protocol 2"):
        AgentStream().feed(AgentHeader(2, 4, 0, 0).pack())


def test_reset_forgets_the_unfinished_message() -> None:
    whole = packed([(7, b"data")])
    for end in range(len(whole)):
        stream = AgentStream()
        stream.feed(whole[:end])
        stream.reset()
        assert stream.feed(whole) == [(7, b"data")]
