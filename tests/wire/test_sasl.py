import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.errors import AuthError, CarawayError, ProtocolError
from caraway.wire.sasl import (
    PlainClient,
    PlainServer,
    ScramClient,
    ScramCredential,
    ScramServer,
    choose_mechanism,
    saslprep,
)

SALT = bytes.fromhex("5b6d99689d12358eeca04b141236fa81")
PENCIL = ScramCredential.derive("pencil", salt=SALT)
NONCE, SERVER_NONCE = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def lookup(username):
    return {"user": PENCIL, "a,b=c": PENCIL}.get(username)


def begun_client(password="pencil"):
    client = ScramClient("user", password, nonce=NONCE)
    assert client.start() == CLIENT_FIRST
    return client


def begun_server():
    server = ScramServer(lookup, nonce=SERVER_NONCE)
    assert server.step(CLIENT_FIRST) == SERVER_FIRST
    return server


def test_the_client_follows_the_example_of_rfc_7677():
    client = begun_client()
    assert client.step(SERVER_FIRST) == CLIENT_FINAL
    assert not client.finished
    assert client.step(SERVER_FINAL) == b""
    assert client.finished


def test_the_server_follows_the_example_of_rfc_7677():
    server = begun_server()
    assert server.username is None
    assert server.step(CLIENT_FINAL) == SERVER_FINAL
    assert server.username == "user"


def test_a_response_that_comes_late_is_asked_for():
    server = ScramServer(lookup, nonce=SERVER_NONCE)
    assert server.step(None) == b""
    assert server.step(CLIENT_FIRST) == SERVER_FIRST


@pytest.mark.parametrize("username", ["user", "a,b=c"])
def test_both_sides_agree(username):
    client, server = ScramClient(username, "pencil"), ScramServer(lookup)
    client.step(server.step(client.step(server.step(client.start()))))
    assert client.finished
    assert server.username == username


@pytest.mark.parametrize(("username", "password"), [("user", "pencils"), ("nobody", "pencil"), ("nobody", "")])
def test_wrong_credentials(username, password):
    client, server = ScramClient(username, password), ScramServer(lookup)
    challenge = server.step(client.start())
    assert re.fullmatch(rb"r=[^,]+,s=[A-Za-z0-9+/]{22}==,i=4096", challenge)
    with pytest.raises(AuthError, match="wrong user name or password"):
        server.step(client.step(challenge))
    assert server.username is None


def test_who_does_not_exist_cannot_be_told_by_a_changing_salt():
    salts = {ScramServer(lookup).step(b"n,,n=nobody,r=x").split(b",")[1] for _ in range(3)}
    assert len(salts) == 1
    assert salts != {ScramServer(lookup).step(b"n,,n=other,r=x").split(b",")[1]}


@pytest.mark.parametrize("signature", ["A" * 43 + "=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95H4=", ""])
def test_a_server_without_the_password_is_found_out(signature):
    client = begun_client()
    client.step(SERVER_FIRST)
    with pytest.raises(AuthError, match="not the server"):
        client.step(f"v={signature}".encode())
    assert not client.finished


def test_a_server_that_says_why():
    client = begun_client()
    client.step(SERVER_FIRST)
    with pytest.raises(AuthError, match="invalid-proof"):
        client.step(b"e=invalid-proof")


@pytest.mark.parametrize(("count", "error"), [(0, AuthError), (4095, AuthError), (1_000_001, AuthError)])
def test_iteration_counts_out_of_bounds(count, error):
    with pytest.raises(error, match=f"{count} iterations, outside of 4096 to 1000000"):
        begun_client().step(SERVER_FIRST.replace(b"4096", str(count).encode()))


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"\xff",
        b"m=ext," + SERVER_FIRST,
        SERVER_FIRST.replace(b"rOpr", b"rOpx"),
        b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        SERVER_FIRST.replace(b"gQ==", b"gQ="),
        SERVER_FIRST.replace(b"gQ==", b"g!=="),
        SERVER_FIRST.replace(b"4096", b"-4096"),
        SERVER_FIRST.replace(b"4096", b"4_096"),
        SERVER_FIRST.replace(b"4096", b"9" * 5000),
        SERVER_FIRST.replace(b"4096", "४०९६".encode()),
        SERVER_FIRST.replace(b"4096", b""),
    ],
)
def test_nonsense_from_the_server(challenge):
    with pytest.raises(ProtocolError):
        begun_client().step(challenge)


def test_a_challenge_after_the_last():
    client = begun_client()
    client.step(SERVER_FIRST)
    client.step(SERVER_FINAL)
    with pytest.raises(ProtocolError):
        client.step(b"more")


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (b"p=tls-unique,,n=user,r=x", ProtocolError),
        (b"n=user,r=x", ProtocolError),
        (b"n,,r=x", ProtocolError),
        (b"n,,n=user,r=", ProtocolError),
        (b"n,,m=1,n=user,r=x", ProtocolError),
        (b"n,,n=us=20er,r=x", ProtocolError),
        (b"n,a=root,n=user,r=x", AuthError),
        (b"n,,n=us\x07er,r=x", AuthError),
        (b"\xff", ProtocolError),
        (b"", ProtocolError),
    ],
)
def test_nonsense_from_the_client(first, error):
    with pytest.raises(error):
        ScramServer(lookup).step(first)


def test_a_client_that_could_bind_but_thinks_that_the_server_cannot():
    assert ScramServer(lookup).step(b"y,a=user,n=user,r=x").startswith(b"r=x")


@pytest.mark.parametrize(
    ("final", "error"),
    [
        (CLIENT_FINAL.replace(b"biws", b"eSws"), ProtocolError),
        (CLIENT_FINAL.replace(b"r=rOp", b"r=rOq"), ProtocolError),
        (CLIENT_FINAL.partition(b",p=")[0], ProtocolError),
        (CLIENT_FINAL.replace(b"dHzb", b"dHz!"), ProtocolError),
        (CLIENT_FINAL.replace(b"dHzb", b"dHzc"), AuthError),
        (CLIENT_FINAL.partition(b",p=")[0] + b",p=", AuthError),
        (CLIENT_FINAL.partition(b",p=")[0] + b",p=AAAA", AuthError),
    ],
)
def test_a_proof_that_is_none(final, error):
    with pytest.raises(error):
        begun_server().step(final)


@given(st.binary(max_size=80), st.binary(max_size=80))
@settings(max_examples=150)
def test_only_our_own_errors_come_out(first, second):
    for machine in (begun_client(), begun_server(), ScramServer(lookup), PlainServer(lookup)):
        try:
            machine.step(first)
            machine.step(second)
        except CarawayError:
            pass


def test_plain():
    client, server = PlainClient("user", "pencil"), PlainServer(lookup)
    assert client.start() == b"\0user\0pencil"
    assert client.finished
    assert server.step(None) == b""
    assert server.step(client.start()) is None
    assert server.username == "user"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"\0user\0pencils", AuthError),
        (b"\0nobody\0pencil", AuthError),
        (b"root\0user\0pencil", AuthError),
        (b"\0user\0pen\x07cil", AuthError),
        (b"\0user", ProtocolError),
        (b"\0user\0pencil\0", ProtocolError),
        (b"\0user\0\xff", ProtocolError),
    ],
)
def test_plain_refused(message, error):
    server = PlainServer(lookup)
    with pytest.raises(error):
        server.step(message)
    assert server.username is None


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("p\u00e4\u00df", "p\u00e4\u00df"),
        ("pa\u0308", "p\u00e4"),
        ("", ""),
    ],
)
def test_saslprep_maps(text, prepared):
    assert saslprep(text, "password") == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "\u0627a\u0627", "\ud800", "\ue000", "x\0"])
def test_saslprep_prohibits_without_telling(text):
    with pytest.raises(AuthError) as caught:
        saslprep(text + "geheim" + text, "password")
    assert "geheim" not in str(caught.value)
    assert text not in str(caught.value)


def test_the_same_password_typed_in_two_ways():
    credential = ScramCredential.derive("p\u00e4ssword")
    assert credential.verify("pa\u0308ssword")
    assert not credential.verify("passwo\u0308rd")


def test_the_best_mechanism_that_the_server_offers():
    assert choose_mechanism(["PLAIN", "SCRAM-SHA-256", "GSSAPI"], "user", "pw").name == "SCRAM-SHA-256"
    assert choose_mechanism(["PLAIN", "SCRAM-SHA-1"], "user", "pw").name == "PLAIN"
    with pytest.raises(AuthError, match="offers SASL with PLAINTEXT, DIGEST-MD5, Caraway has SCRAM-SHA-256, PLAIN"):
        choose_mechanism(["PLAINTEXT", "DIGEST-MD5"], "user", "pw")


@pytest.mark.parametrize("mechanism", [PlainClient, ScramClient])
@pytest.mark.parametrize("username", ["", "\ud800", "a\0b"])
def test_user_names_that_are_none(mechanism, username):
    with pytest.raises(AuthError, match="user name"):
        mechanism(username, "geheim")


def test_secrets_are_in_no_repr():
    shown = repr([PENCIL, ScramClient("user", "geheim"), PlainClient("user", "geheim")])
    assert "geheim" not in shown
    assert repr(PENCIL.stored_key) not in shown
    assert repr(PENCIL.server_key) not in shown
