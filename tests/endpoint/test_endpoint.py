"""The Endpoint value: fields, routes, migration targets."""

import dataclasses
import subprocess
import sys

import pytest

from caraway.endpoint import CHANNEL_NAMES, Endpoint, Proxy, Route, Verify, ViewerSettings
from caraway.errors import EndpointError, TlsError

PIN = b"\x30\x59"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "neither host nor unix_path"),
        ({"host": "h"}, "neither port nor tls_port"),
        ({"host": ""}, "neither host nor unix_path"),
        ({"host": "h", "port": 0}, "port 0 is not a port of 1..65535"),
        ({"host": "h", "port": 65536}, "65536"),
        ({"host": "h", "tls_port": -1}, "tls_port -1"),
        ({"host": "h", "port": True}, "True"),
        ({"host": "h", "port": "5900"}, "'5900'"),
        ({"host": "h", "port": 1, "tls_port": 1}, "both 1"),
        ({"host": b"h", "port": 1}, "host is a bytes"),
        ({"host": "a b", "port": 1}, "'a b'"),
        ({"host": "h\r\nX: y", "port": 1}, "control"),
        ({"host": "h\x7f", "port": 1}, "control"),
        ({"host": "h\x85", "port": 1}, "control"),
        ({"host": "\ud800", "port": 1}, "surrogate"),
        ({"host": "h", "port": 1, "unix_path": "/s"}, "one or the other"),
        ({"unix_path": "/s", "port": 1}, "one or the other"),
        ({"unix_path": "/s", "tls_required": True}, "never used on Unix"),
        ({"unix_path": "/s\0"}, "NUL"),
        ({"host": "h", "port": 1, "tls_required": True}, "only plain port 1"),
        ({"host": "h", "port": 1, "insecure": True, "host_subject": "CN=a"}, "insecure"),
        ({"host": "h", "port": 1, "insecure": True, "public_key": PIN}, "insecure"),
        ({"host": "h", "port": 1, "host_subject": "CN"}, "host subject"),
        ({"host": "h", "port": 1, "secure_channels": "all"}, "not a set"),
        ({"host": "h", "port": 1, "secure_channels": {"dispaly"}}, "did you mean 'display'"),
        ({"host": "h", "port": 1, "disable_channels": {"all"}}, "'all'"),
        ({"host": "h", "port": 1, "disable_channels": {"main"}}, "main"),
    ],
)
def test_senseless_fields(fields, error):
    with pytest.raises(EndpointError, match=error):
        Endpoint(**fields)


def test_it_is_a_value():
    endpoint = Endpoint(host="[::1]", port=5900, password="", secure_channels=["all"])
    assert endpoint == Endpoint(host="::1", port=5900, secure_channels=CHANNEL_NAMES)
    assert hash(endpoint) == hash(Endpoint(host="::1", port=5900, secure_channels=CHANNEL_NAMES))
    assert endpoint.password is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        endpoint.port = 1
    assert dataclasses.replace(endpoint, port=1).port == 1


def test_secrets_are_not_shown():
    endpoint = Endpoint(
        host="h",
        port=1,
        password="hunter2",
        ca="hunter2",
        public_key=b"hunter2",
        proxy=Proxy(host="p", password="hunter2"),
    )
    assert "hunter2" not in f"{endpoint} {endpoint!r}"
    with pytest.raises(EndpointError) as caught:
        Endpoint(host="h", port=1, password="hunter2\0")
    assert "hunter2" not in str(caught.value)


def test_of(tmp_path, monkeypatch):
    endpoint = Endpoint(host="h", port=5900)
    assert Endpoint.of(endpoint) is endpoint
    assert Endpoint.of("spice://h:5900") == endpoint
    path = tmp_path / "console.vv"
    path.write_text("[virt-viewer]\ntype=spice\nhost=h\nport=5900\n")
    monkeypatch.chdir(tmp_path)
    assert Endpoint.of(path) == Endpoint.of(str(path)) == Endpoint.of("console.vv") == endpoint


@pytest.mark.parametrize("value", ["missing.vv", "host:5900", "", "\0", "spice:h?password=hunter2"])
def test_of_nothing(value):
    with pytest.raises(EndpointError, match="neither a connection URI") as caught:
        Endpoint.of(value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "verify"),
    [
        ({}, Verify.HOSTNAME),
        ({"host_subject": "CN=a"}, Verify.SUBJECT),
        ({"public_key": PIN}, Verify.PUBKEY),
        ({"public_key": PIN, "host_subject": "CN=a"}, Verify.PUBKEY),
        ({"insecure": True}, Verify.NONE),
    ],
)
def test_verify(fields, verify):
    assert Endpoint(host="h", tls_port=1, **fields).verify is verify


BOTH = Endpoint(host="h", port=5900, tls_port=5901, secure_channels=frozenset(("main", "inputs")))


@pytest.mark.parametrize(
    ("endpoint", "channel", "route"),
    [
        (BOTH, "main", Route(5901, tls=True)),
        (BOTH, "display", Route(5900, tls=False)),
        (BOTH.require_tls(), "display", Route(5901, tls=True)),
        (Endpoint(host="h", port=5900), "main", Route(5900, tls=False)),
        (Endpoint(host="h", tls_port=5901), "main", Route(5901, tls=True)),
        (Endpoint.parse("spice+tls://h:5901"), "main", Route(5901, tls=True)),
        (Endpoint(unix_path="/s"), "main", Route(None, tls=False)),
        (Endpoint(unix_path="/s", secure_channels=frozenset(("all",))), "main", Route(None, tls=False)),
    ],
)
def test_route(endpoint, channel, route):
    assert endpoint.route(channel) == route


def test_secured():
    assert BOTH.secured("display") == Route(5901, tls=True)
    for endpoint in (Endpoint(host="h", port=5900), Endpoint(unix_path="/s")):
        with pytest.raises(TlsError, match="channel 'display' must use TLS"):
            endpoint.secured("display")


def test_no_plaintext_where_tls_was_asked_for():
    with pytest.raises(TlsError, match="'inputs'"):
        Endpoint(host="h", port=5900, secure_channels=frozenset(("inputs",))).route("inputs")


def test_unknown_channel():
    for ask in (BOTH.route, BOTH.secured):
        with pytest.raises(EndpointError, match="'cursor'"):
            ask("cursors")


@pytest.mark.parametrize("endpoint", [Endpoint(host="h", port=1), Endpoint(unix_path="/s")])
def test_tls_cannot_be_required_without_its_port(endpoint):
    with pytest.raises(EndpointError):
        endpoint.require_tls()


SOURCE = Endpoint(
    host="a",
    port=5900,
    tls_port=5901,
    username="ann",
    password="x",
    ca="PEM",
    ca_file="ca.pem",
    host_subject="CN=a",
    tls_ciphers="DEFAULT",
    secure_channels=frozenset(("main",)),
    disable_channels=frozenset(("record",)),
    proxy=Proxy(host="p"),
    title="vm",
    viewer=ViewerSettings(fullscreen=True),
)


def test_moved_to_keeps_all_but_the_place():
    assert SOURCE.moved_to("b", 5910, 5911, "CN=b") == dataclasses.replace(
        SOURCE, host="b", port=5910, tls_port=5911, host_subject="CN=b"
    )
    assert SOURCE.moved_to("b", 5910, 5911).host_subject is None
    assert SOURCE.moved_to("b", 5910, 5911, "").verify is Verify.HOSTNAME


@pytest.mark.parametrize("none", [0, 65535, None])
def test_moved_to_reads_absent_ports(none):
    target = SOURCE.moved_to("b", none, 5911)
    assert (target.port, target.tls_port) == (None, 5911)
    target = SOURCE.moved_to("b", 5910, none)
    assert (target.port, target.tls_port) == (5910, None)
    with pytest.raises(EndpointError, match="neither port nor tls_port"):
        SOURCE.moved_to("b", none, none)


@pytest.mark.parametrize("source", [SOURCE.require_tls(), Endpoint(host="a", tls_port=5901)])
def test_a_session_of_tls_stays_one(source):
    target = source.moved_to("b", 5910, 5911)
    assert target.tls_required
    assert target.route("display") == Route(5911, tls=True)
    with pytest.raises(TlsError, match="target 'b' has no TLS port"):
        source.moved_to("b", 5910, 65535)


def test_moved_to_keeps_pin_and_explicit_insecurity():
    assert Endpoint(host="a", tls_port=1, public_key=PIN).moved_to("b", 0, 2, "CN=b").verify is Verify.PUBKEY
    assert Endpoint(host="a", tls_port=1, insecure=True).moved_to("b", 0, 2, "CN=b").verify is Verify.NONE


def test_moved_to_takes_an_opaque_host_and_refuses_a_harmful_one():
    assert SOURCE.moved_to("pvespiceproxy:65::x", 0, 2).host == "pvespiceproxy:65::x"
    for host in ("", "b\r\nX: y", "b c"):
        with pytest.raises(EndpointError):
            SOURCE.moved_to(host, 0, 2)
    with pytest.raises(EndpointError, match="host subject"):
        SOURCE.moved_to("b", 0, 2, "nonsense")


def test_moved_from_a_unix_socket():
    assert Endpoint(unix_path="/s", password="x").moved_to("b", 5910) == Endpoint(host="b", port=5910, password="x")


def test_import_is_light():
    program = "import sys, caraway.endpoint; print(*(set(sys.modules) & {'asyncio', 'socket', 'ssl', 'cryptography'}))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
