import contextlib
import importlib.util
import itertools
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.errors import AuthError, CarawayError, LinkError, ProtocolError
from caraway.wire.capabilities import Capabilities, CommonCapability, MainCapability
from caraway.wire.constants import ChannelType, LinkErrorCode
from caraway.wire.fields import codec
from caraway.wire.limits import MAX_EARLY_LINK_BYTES
from caraway.wire.link import (
    ClientLink,
    LinkRefusedError,
    LinkRequested,
    SaslAuthenticated,
    ServerLink,
    TicketReceived,
)
from caraway.wire.messages.link import LinkReply, pack_error_reply
from caraway.wire.sasl import ScramCredential
from caraway.wire.ticket import TicketKey, encrypt

SHARED = Path(__file__).parents[3] / "shared"
MAIN, DISPLAY, INPUTS = ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS
SELECTION, SPICE, SASL, MINI = CommonCapability
KEY = TicketKey.generate()
PASSWORD = "geheim"
ALICE = ScramCredential.derive(PASSWORD)
MAIN_CAPS = Capabilities(MainCapability)

TICKET_ONLY = {"ticket_key": KEY}
SASL_ONLY = {"sasl": {"alice": ALICE}.get}
BOTH = TICKET_ONLY | SASL_ONLY
KINDS = {
    "ticket": ({}, TICKET_ONLY),
    "ticket without selection": ({"common": Capabilities([MINI])}, TICKET_ONLY),
    "SCRAM": ({"username": "alice", "secure": True}, BOTH),
    "PLAIN": ({"username": "alice", "secure": True}, BOTH | {"mechanisms": ["PLAIN"]}),
    "ticket for lack of a user name": ({"secure": True}, BOTH),
    "ticket for lack of TLS": ({"username": "alice"}, BOTH),
}


def owner(server, **accept):
    """Decide as a server does that has one password and one user."""
    while server.question is not None and not server.closed:
        match server.question:
            case LinkRequested():
                server.accept(MAIN_CAPS, **accept)
            case TicketReceived() as ticket:
                server.grant() if ticket.matches(PASSWORD) else server.deny()
            case SaslAuthenticated():
                server.grant()


def pieces(data, sizes):
    while data:
        size = next(sizes)
        yield data[:size]
        data = data[size:]


def talk(client, server, accept, sizes=None, down=1 << 20, up=1 << 20):
    """Carry bytes in pieces of these sizes, at most so many in each direction, until nobody says anything.

    Returns the bytes that each said, and the error that ended the server's side.
    """
    sizes = itertools.cycle(sizes or [1 << 20])
    said, heard, server_error = bytearray(), bytearray(), None
    while True:
        to_server, to_client = client.data_to_send()[: up - len(said)], server.data_to_send()[: down - len(heard)]
        if not to_server and not to_client:
            return bytes(said), bytes(heard), server_error
        said += to_server
        heard += to_client
        try:
            for piece in pieces(to_server, sizes):
                server.receive(piece)
                owner(server, **accept)
        except CarawayError as error:
            server_error = error
        for piece in pieces(to_client, sizes):
            client.receive(piece)


def talk_to_the_end(client, server, accept, **limits):
    """Talk, then end the connection at the server's side."""
    talk(client, server, accept, **limits)
    client.eof()


def pair(kind, **changes):
    client, accept = KINDS[kind]
    client = {"channel": MAIN_CAPS, "password": PASSWORD} | client | changes
    return ClientLink(0, MAIN, 0, **client), ServerLink(secure=True), accept


# ---- both machines against each other


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_both_sides_link_however_the_stream_is_split(kind, sizes):
    client, server, accept = pair(kind)
    _, _, error = talk(client, server, accept, sizes)
    assert error is None
    assert client.done
    assert server.done
    assert client.mini_header
    assert server.mini_header
    assert client.server_channel == MAIN_CAPS
    assert client.server_common == server.common
    assert server.request.channel == MAIN_CAPS
    assert server.request.channel_type is MAIN
    assert client.rest == server.rest == b""
    client.eof()
    server.eof()


@pytest.mark.parametrize("kind", KINDS)
def test_the_mechanism_is_the_one_meant(kind):
    client, server, accept = pair(kind)
    said, heard, _ = talk(client, server, accept)
    word = struct.unpack_from("<I", said, 46)[0] if "without" not in kind else None
    assert word == {"SCRAM": 2, "PLAIN": 2, "ticket without selection": None}.get(kind, 1)
    assert (b"SCRAM-SHA-256" in said) == (kind == "SCRAM")
    assert (PASSWORD.encode() in said) == (kind == "PLAIN")
    assert (heard[20:182] == bytes(162)) == ("sasl" in accept and "ticket_key" not in accept)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_behind_the_link_are_the_channels(kind):
    client, server, accept = pair(kind)
    _, heard, _ = talk(client, server, accept)
    again, server, _ = pair(kind)
    if "SCRAM" not in kind:
        again.receive(heard + b"first message")
        assert again.rest == b"first message"
    client.receive(b"mess")
    client.receive(b"age")
    assert client.rest == b"message"


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_password(kind):
    client, server, accept = pair(kind, password="falsch")
    with pytest.raises(AuthError, match=r"^main 0: .*wrong") as caught:
        talk_to_the_end(client, server, accept)
    assert server.closed
    assert not client.done
    assert "falsch" not in str(caught.value)


def test_wrong_user():
    client, server, accept = pair("SCRAM", username="bob")
    _, _, error = talk(client, server, accept)
    assert isinstance(error, AuthError)
    with pytest.raises(AuthError, match="wrong user name or password"):
        client.eof()


@pytest.mark.parametrize("kind", ["ticket", "ticket without selection", "SCRAM", "PLAIN"])
def test_the_servers_end_at_any_byte(kind):
    client, server, accept = pair(kind)
    total = len(talk(client, server, accept)[1])
    for count in range(total):
        client, server, accept = pair(kind)
        with pytest.raises((LinkError, AuthError), match=r"^main 0: ") as caught:
            talk_to_the_end(client, server, accept, down=count)
        assert not client.done
        assert client.closed
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("kind", ["ticket", "SCRAM", "PLAIN"])
def test_the_clients_end_at_any_byte(kind):
    client, server, accept = pair(kind)
    total = len(talk(client, server, accept)[0])
    for count in range(total):
        client, server, accept = pair(kind)
        talk(client, server, accept, up=count)
        with pytest.raises(LinkError, match="client closed the connection before it had"):
            server.eof()
        assert server.closed
        assert not server.done


def test_secrets_are_in_no_repr():
    client, server, _ = pair("PLAIN")
    shown = repr([client, server, TicketReceived(PASSWORD)])
    assert PASSWORD not in shown


# ---- the client against bytes


def reply(common=(SELECTION, SPICE, MINI), *, words=None, pub_key=None, size=None, offset=178, magic=b"REDQ", major=2):
    words = words or [Capabilities(common).words[0] if common else 0, 0xF]
    body = struct.pack("<I162sIII", 0, pub_key or KEY.public_bytes, 1, len(words) - 1, offset)
    body += struct.pack(f"<{len(words)}I", *words)
    return struct.pack("<4sIII", magic, major, 2, len(body) if size is None else size) + body


def refused(code):
    return bytes.fromhex("52454451 02000000 02000000 b2000000") + struct.pack("<I", code) + bytes(162 + 8 + 4)


def client_link(**changes):
    link = ClientLink(0, MAIN, 0, **{"password": PASSWORD} | changes)
    link.data_to_send()
    return link


def test_the_link_message_byte_for_byte():
    link = ClientLink(0x11223344, DISPLAY, 3, common=Capabilities([0, 2, 3]), channel=Capabilities([1, 33]))
    assert link.data_to_send() == bytes.fromhex(
        "52454451 02000000 02000000 1e000000  44332211 02 03 01000000 02000000 12000000  0d000000 02000000 02000000"
    )
    assert link.data_to_send() == b""


def test_a_link_message_without_capabilities():
    link = ClientLink(0, MAIN, 0, common=Capabilities())
    assert link.data_to_send().hex() == "52454451020000000200000012000000000000000100000000000000000012000000"


@pytest.mark.parametrize(("ours", "theirs"), list(itertools.product([False, True], repeat=2)))
def test_mini_headers_need_both_sides(ours, theirs):
    client = ClientLink(0, MAIN, 0, common=Capabilities([SELECTION] + [MINI] * ours), password=PASSWORD)
    server = ServerLink()
    talk(client, server, {"common": Capabilities([SELECTION] + [MINI] * theirs)} | TICKET_ONLY)
    assert client.done
    assert server.done
    assert client.mini_header == server.mini_header == (ours and theirs)


def test_the_ticket_follows_the_mechanism_word():
    link = client_link()
    link.receive(reply())
    sent = link.data_to_send()
    assert sent[:4] == b"\1\0\0\0"
    assert KEY.decrypt(sent[4:]) == PASSWORD
    assert not link.done
    link.receive(bytes(4))
    assert link.done


def test_no_mechanism_word_unless_both_sides_select():
    for link, answer in (
        (client_link(common=Capabilities([MINI])), reply()),
        (client_link(), reply([SPICE, MINI])),
    ):
        link.receive(answer)
        assert KEY.decrypt(link.data_to_send()) == PASSWORD


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 8, 9, 10, 0xFFFFFFFF])
@pytest.mark.parametrize("at", ["reply", "result", "reply in place of a result"])
def test_link_errors(code, at):
    link = client_link()
    if at != "reply":
        link.receive(reply())
    with pytest.raises(LinkRefusedError, match=r"^main 0: ") as caught:
        link.receive(struct.pack("<I", code) if at == "result" else refused(code))
    assert caught.value.code == code
    assert isinstance(caught.value.code, LinkErrorCode) == (code <= 9)
    assert link.closed


@pytest.mark.parametrize("answer", [refused(7), reply() + struct.pack("<I", 7)])
def test_permission_denied(answer):
    with pytest.raises(AuthError, match="main 0: the password is wrong, missing or expired"):
        client_link().receive(answer)


def test_error_replies_are_those_of_the_deployed_server():
    for code in LinkErrorCode:
        assert pack_error_reply(code) == refused(code)
        assert len(refused(code)) == 194


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (reply(magic=b"HTTP"), "not a SPICE server"),
        (bytes.fromhex("15030100020246") + bytes(9), "TLS port"),
        (reply(major=3), "speaks SPICE 3"),
        (reply(size=177), "177 bytes, not 178 to 4096"),
        (reply(size=4097), "4097 bytes"),
        (reply(size=0xFFFFFFFF), "4294967295 bytes"),
        (reply(offset=177), "capability words at 177"),
        (reply(offset=179), "capability words at 179"),
        (reply(offset=0xFFFFFFFC), "capability words at"),
        (reply(pub_key=b"\1" * 162), "^main 0: the ticket key"),
        (reply() + reply(), "second link reply without an error"),
        (reply() + b"REDQ" + bytes(12), "speaks SPICE 0"),
    ],
)
def test_nonsense_from_the_server(answer, text):
    link = client_link()
    with pytest.raises(ProtocolError, match=text):
        link.receive(answer)
    assert not link.done
    link.receive(b"more")
    link.eof()


def test_a_gap_before_the_words_and_many_words():
    link = client_link()
    body = struct.pack("<I162sIII", 0, KEY.public_bytes, 1, 2, 182) + b"gap!" + struct.pack("<4I", 0xB, 1, 2, 99)
    link.receive(struct.pack("<4sIII", b"REDQ", 2, 2, len(body)) + body)
    assert list(link.server_common) == [0, 1, 3]
    assert link.server_channel.words == [1, 2]


@pytest.mark.parametrize(
    ("link", "answer", "text"),
    [
        ({"username": "alice"}, reply([SELECTION, SASL, MINI]), "no credential without TLS"),
        ({"secure": True}, reply([SELECTION, SASL, MINI]), "needs a user name"),
        ({"secure": True, "username": ""}, reply([SELECTION, SASL, MINI]), "needs a user name"),
        ({"secure": True, "username": "alice"}, reply([SELECTION, MINI]), "no way to authenticate"),
        ({"common": Capabilities([SELECTION])}, reply([SELECTION, SASL]), "no way to authenticate"),
        ({"common": Capabilities([SASL])}, reply([SELECTION, SASL], pub_key=bytes(162)), "takes no ticket"),
    ],
)
def test_nothing_is_sent_where_no_advertised_mechanism_fits(link, answer, text):
    client = client_link(**link)
    with pytest.raises(AuthError, match=rf"^main 0: .*{text}"):
        client.receive(answer)
    assert client.data_to_send() == b""


@pytest.mark.parametrize("password", ["x" * 86, "a\0b"])
def test_a_password_that_no_ticket_carries(password):
    with pytest.raises(AuthError, match=r"^main 0: the password"):
        client_link(password=password).receive(reply())


def test_no_reply_at_all():
    with pytest.raises(LinkError, match=r"^port 2: no reply"):
        ClientLink(1, ChannelType.PORT, 2).eof()


def sasl_client(*answers):
    link = client_link(secure=True, username="alice")
    link.receive(reply([SELECTION, SASL, MINI], pub_key=bytes(162)))
    for answer in answers:
        link.receive(answer)
    return link


def sized(data):
    return struct.pack("<I", len(data)) + data


LIST = sized(b",PLAIN,")
SCRAM_LIST = sized(b",SCRAM-SHA-256,PLAIN,")


def test_plain_byte_for_byte():
    link = sasl_client(LIST)
    assert link.data_to_send() == b"\2\0\0\0" + sized(b"PLAIN") + sized(b"\0alice\0geheim\0")
    link.receive(bytes(4) + b"\1" + bytes(4) + bytes(4))
    assert link.done


@pytest.mark.parametrize("challenge", [bytes(4), sized(b"\0")])
def test_a_server_that_takes_one_more_step(challenge):
    link = sasl_client(LIST, challenge + b"\0")
    assert link.data_to_send().endswith(sized(b"\0"))
    link.receive(challenge + b"\1" + bytes(8))
    assert link.done


@pytest.mark.parametrize(
    ("answers", "error", "text"),
    [
        ([sized(b",,")], AuthError, "no mechanism"),
        ([sized(b",PLAINER,GSSAPI,")], AuthError, "PLAINER, GSSAPI"),
        ([struct.pack("<I", 1025)], ProtocolError, "1025 bytes, limit 1024"),
        ([LIST, struct.pack("<I", 65537)], ProtocolError, "65537 bytes, limit 65536"),
        ([LIST, sized(b"x") + b"\0"], ProtocolError, "end in a NUL"),
        ([LIST, sized(b"x\0") + b"\0"], ProtocolError, "challenge"),
        ([LIST, bytes(5), bytes(5)], ProtocolError, "does not end PLAIN"),
        ([LIST, bytes(4) + b"\1" + b"\1\0\0\0"], AuthError, "does not accept PLAIN on this connection"),
        ([SCRAM_LIST, bytes(4) + b"\1" + bytes(8)], AuthError, "without proving"),
        ([SCRAM_LIST, bytes(4) + b"\0"], ProtocolError, "SCRAM"),
        ([LIST, bytes(4) + b"\1" + bytes(4) + b"\7\0\0\0"], AuthError, "wrong, missing or expired"),
        ([LIST, bytes(4) + b"\1" + bytes(4) + b"\x08\0\0\0"], LinkRefusedError, "session is gone"),
        ([refused(3)], LinkRefusedError, "INVALID_DATA"),
        ([LIST, refused(3)], LinkRefusedError, "INVALID_DATA"),
        ([LIST, bytes(4) + b"\1" + refused(3)], LinkRefusedError, "INVALID_DATA"),
    ],
)
def test_sasl_that_goes_wrong(answers, error, text):
    with pytest.raises(error, match=f"^main 0: .*{text}"):
        sasl_client(*answers)


@given(st.binary(max_size=400), st.integers(0, 3))
@settings(max_examples=150)
def test_hostile_bytes_from_a_server(data, stage):
    prefix = [b"", reply(), reply([SELECTION, SASL]), reply([SELECTION, SASL]) + SCRAM_LIST][stage]
    link = client_link(secure=True, username="alice")
    link.receive(prefix)
    with contextlib.suppress(CarawayError):
        link.receive(data)
        link.eof()


@given(st.integers(0, 201), st.integers(0, 255))
def test_hostile_changes_of_a_reply(at, value):
    data = bytearray(reply() + bytes(4))
    data[at] = value
    with contextlib.suppress(CarawayError):
        link = client_link()
        link.receive(data)
        link.eof()


# ---- the server against bytes


def header(magic=b"REDQ", major=2, minor=2, size=18):
    return struct.pack("<4sIII", magic, major, minor, size)


def message(common=0, channel=0, offset=18, tail=b""):
    return struct.pack("<IBBIII", 0, 1, 0, common, channel, offset) + tail


WORD = struct.pack("<I", 9)
AUTH_CLIENT = header(size=22) + message(1, tail=WORD)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET ", 2),
        (header(b"XXXX"), 2),
        (header(major=0), None),
        (header(major=1), 4),
        (header(major=3, size=0), 4),
        (header(size=17), 3),
        (header(size=4097), 3),
        (header() + message(1025), 3),
        (header() + message(0, 1025), 3),
        (header() + message(0xFFFFFFFF, 0xFFFFFFFF), 3),
        (header(size=22) + message(1, offset=17, tail=WORD), 3),
        (header(size=22) + message(2, tail=WORD), 3),
        (header(size=22) + message(1, 1, tail=WORD), 3),
        (header(size=22) + message(1, offset=19, tail=WORD), 3),
        (header(size=22) + message(1, offset=0xFFFFFFFC, tail=WORD), 3),
    ],
)
def test_link_messages_that_are_refused(data, code):
    server = ServerLink()
    with pytest.raises(ProtocolError):
        server.receive(data)
    assert server.data_to_send() == (b"" if code is None else refused(code))
    assert server.closed
    assert server.question is None
    server.receive(b"more")
    server.eof()


@pytest.mark.parametrize(
    ("data", "common"),
    [
        (header() + message(), []),
        (header(minor=77) + message(), []),
        (header() + message(offset=0), []),
        (header() + message(offset=9999), []),
        (header(size=26) + message(1, offset=22, tail=b"gap!" + WORD), [0, 3]),
        (header(size=26) + message(1, tail=WORD + b"rest"), [0, 3]),
        (header(size=4018) + message(1000, tail=WORD + bytes(3996)), [0, 3]),
        (header(size=4096) + message(tail=bytes(4078)), []),
    ],
)
def test_link_messages_that_are_tolerated(data, common):
    server = ServerLink()
    server.receive(data)
    assert server.question == LinkRequested(0, MAIN, 0, Capabilities(common), Capabilities())
    assert server.data_to_send() == b""


def test_an_unknown_channel_type_is_a_number():
    server = ServerLink()
    server.receive(header() + struct.pack("<IBBIII", 7, 77, 5, 0, 0, 18))
    assert server.question == LinkRequested(7, 77, 5, Capabilities(), Capabilities())
    assert server.name == "channel type 77 5"


@pytest.mark.parametrize("code", [None, *LinkErrorCode])
def test_the_owner_refuses(code):
    server = ServerLink()
    server.receive(AUTH_CLIENT)
    server.refuse(code)
    assert server.data_to_send() == (b"" if code is None else refused(code))
    assert server.closed
    assert server.question is None


def test_the_link_reply_byte_for_byte():
    server = ServerLink()
    server.receive(AUTH_CLIENT)
    server.accept(Capabilities([1, 4, 6, 12, 40]), ticket_key=KEY)
    assert server.data_to_send() == (
        bytes.fromhex("52454451 02000000 02000000 be000000 00000000")
        + KEY.public_bytes
        + bytes.fromhex("01000000 02000000 b2000000  0b000000 52100000 00010000")
    )


@pytest.mark.parametrize("mechanism", [0, 2, 3, 99, 0x51444552])
def test_mechanisms_that_were_not_offered(mechanism):
    server = ServerLink(secure=True)
    server.receive(AUTH_CLIENT)
    server.accept(ticket_key=KEY)
    server.data_to_send()
    with pytest.raises(ProtocolError, match="was not offered"):
        server.receive(struct.pack("<I", mechanism))
    assert server.data_to_send() == refused(3)


def test_a_ticket_where_only_sasl_was_offered():
    server = ServerLink(secure=True)
    server.receive(AUTH_CLIENT)
    server.accept(**SASL_ONLY)
    assert server.data_to_send()[20:182] == bytes(162)
    with pytest.raises(ProtocolError, match="was not offered"):
        server.receive(b"\1\0\0\0")
    assert server.data_to_send() == refused(3)


def test_a_client_that_cannot_select_sasl():
    server = ServerLink(secure=True)
    server.receive(header() + message())
    with pytest.raises(ProtocolError, match="cannot select SASL"):
        server.accept(**SASL_ONLY)
    assert server.data_to_send() == refused(4)


def test_sasl_is_offered_over_tls_only():
    server = ServerLink()
    server.receive(AUTH_CLIENT)
    with pytest.raises(ValueError, match="TLS only"):
        server.accept(**SASL_ONLY)


def test_a_ticket_that_is_none():
    server = ServerLink()
    server.receive(AUTH_CLIENT)
    server.accept(ticket_key=KEY)
    server.data_to_send()
    with pytest.raises(AuthError, match="main 0: the ticket cannot be decrypted"):
        server.receive(b"\1\0\0\0" + bytes(128))
    assert server.data_to_send() == b"\7\0\0\0"


@pytest.mark.parametrize("code", [LinkErrorCode.PERMISSION_DENIED, LinkErrorCode.BAD_CONNECTION_ID])
def test_the_owner_denies(code):
    server = ServerLink()
    server.receive(AUTH_CLIENT)
    server.accept(ticket_key=KEY)
    server.data_to_send()
    server.receive(b"\1\0\0\0" + encrypt(KEY.public_bytes, "falsch"))
    assert not server.question.matches(PASSWORD)
    assert server.question.matches("falsch")
    server.deny(code)
    assert server.data_to_send() == struct.pack("<I", code)
    assert server.closed
    assert not server.done


def test_answers_to_questions_that_were_not_asked():
    server = ServerLink()
    for answer in (server.accept, server.refuse, server.grant, server.deny):
        with pytest.raises(RuntimeError):
            answer()


def test_a_client_that_does_not_wait():
    server = ServerLink(secure=True)
    server.receive(AUTH_CLIENT + b"\1\0\0\0" + encrypt(KEY.public_bytes, PASSWORD) + b"first message")
    owner(server, ticket_key=KEY)
    assert server.done
    assert server.rest == b"first message"
    server = ServerLink(secure=True)
    server.receive(AUTH_CLIENT + b"\x63\0\0\0")
    with pytest.raises(ProtocolError):
        server.accept(ticket_key=KEY)


def test_a_client_that_floods_a_server_which_decides():
    server = ServerLink()
    server.receive(AUTH_CLIENT + bytes(MAX_EARLY_LINK_BYTES))
    with pytest.raises(ProtocolError, match="before an answer"):
        server.receive(b"x")
    assert server.closed


def sasl_server(data, **accept):
    server = ServerLink(secure=True)
    server.receive(AUTH_CLIENT[:-4] + struct.pack("<I", 0xD))
    server.accept(**SASL_ONLY, **accept)
    server.data_to_send()
    server.receive(b"\2\0\0\0" + data)
    return server


def test_the_servers_sasl_byte_for_byte():
    server = sasl_server(b"")
    assert server.data_to_send() == sized(b",SCRAM-SHA-256,PLAIN,")
    server.receive(sized(b"PLAIN") + bytes(4))
    assert server.data_to_send() == sized(b"\0") + b"\0"
    server.receive(sized(b"\0alice\0geheim\0"))
    assert server.data_to_send() == bytes(4) + b"\1" + bytes(4)
    assert server.question == SaslAuthenticated("alice")
    server.grant()
    assert server.data_to_send() == bytes(4)
    assert server.done


@pytest.mark.parametrize(
    ("data", "error", "answer"),
    [
        (sized(b"x" * 101), ProtocolError, b""),
        (sized(b""), ProtocolError, refused(3)),
        (sized(b"PLAIN,"), ProtocolError, refused(3)),
        (sized(b"plain"), ProtocolError, refused(3)),
        (sized(b"\xff"), ProtocolError, refused(3)),
        (sized(b"PLAIN") + struct.pack("<I", 65537), ProtocolError, b""),
        (sized(b"PLAIN") + sized(b"\0alice\0geheim"), ProtocolError, b""),
        (sized(b"PLAIN") + sized(b"\0alice\0falsch\0"), AuthError, b""),
        (sized(b"SCRAM-SHA-256") + sized(b"p=x,,n=alice,r=1\0"), ProtocolError, b""),
    ],
)
def test_sasl_clients_that_are_refused(data, error, answer):
    server = sasl_server(b"")
    server.data_to_send()
    with pytest.raises(error) as caught:
        server.receive(data)
    assert server.data_to_send() == answer
    assert PASSWORD not in str(caught.value)


def test_a_sasl_mechanism_that_exists_but_was_not_offered():
    server = sasl_server(b"", mechanisms=["SCRAM-SHA-256"])
    assert server.data_to_send() == sized(b",SCRAM-SHA-256,")
    with pytest.raises(ProtocolError, match="'PLAIN' was not offered"):
        server.receive(sized(b"PLAIN"))
    assert server.data_to_send() == refused(3)


@given(st.binary(max_size=300), st.integers(0, 2))
@settings(max_examples=150)
def test_hostile_bytes_from_a_client(data, stage):
    server = ServerLink(secure=True)
    with contextlib.suppress(CarawayError):
        server.receive([b"", AUTH_CLIENT, AUTH_CLIENT + b"\2\0\0\0" + sized(b"SCRAM-SHA-256")][stage])
        owner(server, **BOTH)
        server.receive(data)
        owner(server, **BOTH)
        server.eof()


# ---- recorded links of the deployed peers


@pytest.fixture(scope="module")
def recorded():
    tool = SHARED / "tools" / "spice_capture.py"
    if not tool.exists():
        pytest.skip("needs the captures and tools of ../shared")
    spec = importlib.util.spec_from_file_location("spice_capture", tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = ["boot-auto_glz", "audio", "xspice-xterm-auto_glz"]
    return [c for name in names for c in module.load(SHARED / "captures" / f"{name}.cap.xz")[1]]


def test_replies_of_the_deployed_server(recorded):
    assert {c.type for c in recorded} >= {1, 2, 3, 4, 5, 6}
    for c in recorded:
        common = Capabilities.from_bits(c.client_caps)
        link = ClientLink(
            c.session, ChannelType(c.type), c.id, common=common, channel=Capabilities.from_bits(c.client_channel_caps)
        )
        assert link.data_to_send() == c.up[: 16 + struct.unpack_from("<I", c.up, 12)[0]]
        link.receive(c.down)
        assert link.done
        assert link.server_common.bits == c.server_caps
        assert link.server_channel.bits == c.server_channel_caps
        assert link.mini_header == c.mini
        assert link.rest == c.down[c.start :]


def test_link_messages_of_the_deployed_client(recorded):
    for c in recorded:
        server = ServerLink()
        size = 16 + struct.unpack_from("<I", c.up, 12)[0]
        server.receive(c.up[:size])
        assert server.question == LinkRequested(
            c.session,
            c.type,
            c.id,
            Capabilities.from_bits(c.client_caps),
            Capabilities.from_bits(c.client_channel_caps),
        )
        server.accept(Capabilities.from_bits(c.server_channel_caps), ticket_key=KEY)
        ours, theirs = server.data_to_send(), bytes(c.down[: c.start - 4])
        assert ours[:20] + ours[182:] == theirs[:20] + theirs[182:]


def test_the_reply_has_the_size_that_the_protocol_says():
    assert codec(LinkReply).minimum == 178
