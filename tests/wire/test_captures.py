"""Golden bytes: every message of every recorded session, both directions; and the reader of captures itself."""

import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caraway.errors import ProtocolError
from caraway.wire.agent_stream import AgentStream, agent_bodies
from caraway.wire.capabilities import Capabilities
from caraway.wire.capture import Capture, CapturedConnection, load
from caraway.wire.constants import ChannelType, LinkErrorCode, Sender
from caraway.wire.messages.agent import unpack_agent
from caraway.wire.messages.base import messages
from caraway.wire.messages.common import Ping, SetAck
from caraway.wire.messages.link import LinkReply, pack_link
from caraway.wire.messages.main import AgentData, ClientAgentData
from support.capture_files import CLIENT_BYTES, CLIENT_ENDED, FULL, MINI, SERVER_BYTES, link, mini, pack, write
from support.captures import captures, facts, require

every_capture = pytest.mark.parametrize("path", captures())


@every_capture
def test_every_message_parses_and_packs_to_the_same_bytes(path: Path | None) -> None:
    """One pass over the file: counts and bytes agree with the index too."""
    path = require(path)
    capture = load(path)
    tables = {(c, s): messages(c.channel_type, s) for c in capture.connections for s in (Sender.CLIENT, Sender.SERVER)}
    counts: dict[str, Counter[str]] = {c.name: Counter() for c in capture.connections}
    serials: Counter[tuple[CapturedConnection, Sender]] = Counter()
    latest = 0.0
    for seconds, connection, sender, frame in capture.frames():
        cls = tables[connection, sender][frame.type]
        packed = cls.unpack(frame.body).pack()
        assert packed == frame.body, f"{connection.name}: {cls.wire_name()} number {frame.serial}"
        serials[connection, sender] += 1
        assert frame.serial == serials[connection, sender]
        assert seconds >= latest
        latest = seconds
        if sender is Sender.SERVER:
            counts[connection.name][cls.wire_name().lower()] += 1

    expected = facts(path)
    assert counts == expected["messages"]
    size: Counter[str] = Counter()
    for connection in capture.connections:
        assert connection.result is LinkErrorCode.OK
        size[connection.name] += connection.payload[Sender.SERVER]
    assert size == expected["server_bytes"]


def with_agent() -> list[Any]:
    """The sessions that had a guest agent."""
    found = captures()
    return [p for p in found if p.values[0] is None or "agent_data" in facts(p.values[0])["messages"]["main:0"]]


@pytest.mark.parametrize("path", with_agent())
def test_every_agent_message_parses_and_packs_to_the_same_bytes(path: Path | None) -> None:
    capture = load(require(path))
    streams = {Sender.CLIENT: AgentStream(), Sender.SERVER: AgentStream()}
    bodies: dict[Sender, list[bytes]] = {Sender.CLIENT: [], Sender.SERVER: []}
    packed: dict[Sender, list[bytes]] = {Sender.CLIENT: [], Sender.SERVER: []}
    for _, connection, sender, frame in capture.frames():
        cls = messages(ChannelType.MAIN, sender).get(frame.type)
        if connection.channel_type == ChannelType.MAIN and cls in (AgentData, ClientAgentData):
            bodies[sender].append(bytes(frame.body))
            for number, data in streams[sender].feed(frame.body):
                message = unpack_agent(number, data)
                assert message is not None
                packed[sender] += agent_bodies(message)
    assert packed == bodies
    assert all(bodies.values())


# ---- the reader


NONE = Capabilities()


def seen(capture: Capture) -> list[tuple[float, Sender, int, bytes, int]]:
    return [(m.seconds, m.sender, m.frame.type, bytes(m.frame.body), m.frame.serial) for m in capture.frames()]


SESSION = [
    *link(MINI),
    (0, CLIENT_BYTES, 50, mini(101, bytes(14))[:11]),
    (0, SERVER_BYTES, 60, mini(3, SetAck(1, 20).pack()) + mini(4, Ping(7, 8, b"").pack())[:3]),
    (0, CLIENT_BYTES, 70, bytes(9)),
    (0, SERVER_BYTES, 80, mini(4, Ping(7, 8, b"").pack())[3:]),
    (0, CLIENT_ENDED, 90, b""),
]
SEEN = [
    (60e-6, Sender.SERVER, 3, SetAck(1, 20).pack(), 1),
    (70e-6, Sender.CLIENT, 101, bytes(14), 1),
    (80e-6, Sender.SERVER, 4, Ping(7, 8, b"").pack(), 2),
]


@pytest.mark.parametrize("suffix", [".cap", ".cap.gz", ".cap.xz"])
def test_messages_come_in_the_order_of_their_last_bytes(tmp_path: Path, suffix: str) -> None:
    capture = load(write(tmp_path, pack(SESSION), suffix))
    assert capture.header["note"] == "x"
    (connection,) = capture.connections
    assert connection.name == "display:2"
    assert (connection.number, connection.session_id, connection.mini) == (0, 5, True)
    assert connection.client_common == connection.server_common == MINI
    assert connection.client_channel == Capabilities([1, 33])
    assert connection.server_channel == Capabilities([6])
    assert connection.payload == {Sender.CLIENT: 20, Sender.SERVER: 32}
    assert seen(capture) == SEEN
    assert [m.frame.type for m in connection.frames(Sender.SERVER)] == [3, 4]
    assert [m.frame.type for m in connection.frames(Sender.CLIENT)] == [101]


def test_full_headers_keep_their_serials(tmp_path: Path) -> None:
    messages = struct.pack("<QHII", 9, 102, 0, 0) + struct.pack("<QHII", 12, 105, 4, 2) + b"abcd"
    capture = load(write(tmp_path, pack([*link(FULL), (0, SERVER_BYTES, 50, messages)])))
    assert not capture.connections[0].mini
    assert [(m.frame.type, m.frame.serial, m.frame.sub_list) for m in capture.frames()] == [(102, 9, 0), (105, 12, 2)]


def test_link_stage_in_one_byte_pieces(tmp_path: Path) -> None:
    pieces = [(c, kind, t, bytes([b])) for c, kind, t, payload in SESSION for b in payload]
    assert seen(load(write(tmp_path, pack(pieces)))) == SEEN


def test_connections_are_kept_apart(tmp_path: Path) -> None:
    second = [(1, *r[1:]) for r in SESSION]
    capture = load(write(tmp_path, pack([r for pair in zip(SESSION, second, strict=True) for r in pair])))
    assert [c.number for c in capture.connections] == [0, 1]
    for connection in capture.connections:
        assert [m.frame.type for m in connection.frames(Sender.SERVER)] == [3, 4]
    assert len(seen(capture)) == 2 * len(SEEN)


@pytest.mark.parametrize(
    ("at", "payload", "result"),
    [
        (4, b"\x07\0\0\0", LinkErrorCode.PERMISSION_DENIED),
        (4, b"\x63\0\0\0", 99),
        (
            2,
            pack_link(LinkReply(LinkErrorCode.NEED_SECURED, bytes(162), 0, 0, 0), NONE, NONE),
            LinkErrorCode.NEED_SECURED,
        ),
    ],
)
def test_refused_link_has_its_result_and_no_messages(tmp_path: Path, at: int, payload: bytes, result: int) -> None:
    records = list(SESSION)
    records[at] = (*records[at][:3], payload)
    capture = load(write(tmp_path, pack(records)))
    assert capture.connections[0].result == result
    assert seen(capture) == []


def test_unfinished_link_has_no_result(tmp_path: Path) -> None:
    capture = load(write(tmp_path, pack(SESSION[:3])))
    assert capture.connections[0].result is None
    assert seen(capture) == []
    assert load(write(tmp_path, pack(SESSION[:1]))).connections == []


def test_unknown_channel_type_stays_a_number(tmp_path: Path) -> None:
    assert load(write(tmp_path, pack(link(MINI, kind=77)))).connections[0].name == "77:2"


def test_recording_cut_off_anywhere_loses_only_its_end(tmp_path: Path) -> None:
    data = pack(SESSION)
    start = data.index(b"\n") + 1
    for end in range(start, len(data)):
        found = seen(load(write(tmp_path, data[:end])))
        assert found == SEEN[: len(found)]


@pytest.mark.parametrize("suffix", [".cap.gz", ".cap.xz"])
def test_compressed_recording_cut_off_loses_only_its_end(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, pack(SESSION), suffix)
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    found = seen(load(path))
    assert found == SEEN[: len(found)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a capture"),
        (b"hello\n", "not a capture"),
        (b"[" * 100_000 + b"\n", "not a capture"),
        (pack([], header=[1]), "not a capture"),
        (pack([], header={"format": "other", "version": 1}), "not a capture"),
        (pack([], header={"format": "spice-capture", "version": 2}), "version 2"),
        (pack([]) + struct.pack("<IBQI", 0, 0, 0, 0xFFFFFFFF), "not a record"),
        (pack([]) + struct.pack("<IBQI", 0, 9, 0, 0), "not a record"),
        (pack([(0, CLIENT_BYTES, 0, b"GET / HTTP/1.1\r\n\r\n")]), "connection 0: no SPICE link"),
        (pack([(0, CLIENT_BYTES, 0, struct.pack("<4sIII", b"REDQ", 2, 2, 5000))]), "size 5000, limit 4096"),
        (pack([(0, SERVER_BYTES, 0, bytes((1 << 20) + 1)), (0, SERVER_BYTES, 0, b"x")]), "no link"),
        (pack([(n, CLIENT_BYTES, 0, b"R") for n in range(1025)]), "more than 1024 connections"),
        (pack([*link(MINI)[:3], (0, CLIENT_BYTES, 0, b"\2\0\0\0")]), "no ticket but mechanism .*AUTH_SASL"),
    ],
)
def test_what_is_no_capture_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        load(write(tmp_path, data))


@pytest.mark.parametrize("suffix", [".cap.gz", ".cap.xz"])
def test_damaged_compression_is_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, pack(SESSION), suffix)
    data = bytearray(path.read_bytes())
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        _read_or_protocol_error(path)
    path.write_bytes(b"plain text")
    with pytest.raises(ProtocolError, match="session"):
        load(path)


def test_message_over_the_limit_names_its_connection(tmp_path: Path) -> None:
    capture = load(write(tmp_path, pack([*link(MINI), (0, SERVER_BYTES, 50, struct.pack("<HI", 304, 1 << 31))])))
    with pytest.raises(ProtocolError, match="connection 0, display:2, server: message 304 announces"):
        seen(capture)


@given(at=st.integers(0, len(pack(SESSION)) - 1), value=st.binary(min_size=1, max_size=8))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_capture_is_a_protocol_error_or_another_capture(tmp_path: Path, at: int, value: bytes) -> None:
    data = bytearray(pack(SESSION))
    data[at : at + len(value)] = value
    _read_or_protocol_error(write(tmp_path, bytes(data)))


def _read_or_protocol_error(path: Path) -> None:
    try:
        seen(load(path))
    except ProtocolError as error:
        text = str(error)
    else:
        return
    assert text
