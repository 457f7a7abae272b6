"""Connection URIs (spec/wire.md 14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.endpoint import Endpoint
from caraway.errors import EndpointError

FORMS = [
    ("spice://h:5900", {"host": "h", "port": 5900}),
    ("spice://h:5900/", {"host": "h", "port": 5900}),
    ("spice://h:5900/some/path", {"host": "h", "port": 5900}),
    ("spice://h:5900/some/path?tls-port=5901", {"host": "h", "port": 5900, "tls_port": 5901}),
    ("spice://h?port=5900", {"host": "h", "port": 5900}),
    ("spice://h/?port=5900", {"host": "h", "port": 5900}),
    ("spice://h?tls-port=5901", {"host": "h", "tls_port": 5901}),
    ("spice://h?port=5900&tls-port=5901", {"host": "h", "port": 5900, "tls_port": 5901}),
    ("spice://h?port=5900;tls-port=5901", {"host": "h", "port": 5900, "tls_port": 5901}),
    ("spice://h;port=5900;tls-port=5901", {"host": "h", "port": 5900, "tls_port": 5901}),
    ("spice://h:5900?tls-port=5901", {"host": "h", "port": 5900, "tls_port": 5901}),
    ("spice://h:?port=5900", {"host": "h", "port": 5900}),
    ("spice://h:5900?port=", {"host": "h", "port": 5900}),
    ("spice://h:5900?password=&tls-port=", {"host": "h", "port": 5900}),
    ("spice://h:5900?tls-port", {"host": "h", "port": 5900}),
    ("spice://h:5900?&&", {"host": "h", "port": 5900}),
    ("spice://h:5900?password=a%26b%3B%25%C3%A9", {"host": "h", "port": 5900, "password": "a&b;%é"}),
    ("spice://h:5900?password=a+b=c", {"host": "h", "port": 5900, "password": "a+b=c"}),
    ("spice://h?port=5%390", {"host": "h", "port": 590}),
    ("spice://ann@h:5900", {"host": "h", "port": 5900, "username": "ann"}),
    ("spice://@h:5900", {"host": "h", "port": 5900}),
    ("spice://a%40b%2f%20:c@h:5900", {"host": "h", "port": 5900, "username": "a@b/ :c"}),
    ("spice://[::1]:5900", {"host": "::1", "port": 5900}),
    ("spice://ann@[2001:db8::7]?tls-port=5901", {"host": "2001:db8::7", "tls_port": 5901, "username": "ann"}),
    ("spice://[fe80::1%eth0]:5900", {"host": "fe80::1%eth0", "port": 5900}),
    ("spice://[fe80::1%25eth0]:5900", {"host": "fe80::1%eth0", "port": 5900}),
    ("spice://192.0.2.1:65535", {"host": "192.0.2.1", "port": 65535}),
    ("spice+tls://h:5901", {"host": "h", "tls_port": 5901, "tls_required": True}),
    ("spice+tls://h:5901?port=1&tls-port=nonsense", {"host": "h", "tls_port": 5901, "tls_required": True}),
    (
        "spice+tls://ann@[::1]:5901/?password=x",
        {"host": "::1", "tls_port": 5901, "tls_required": True, "username": "ann", "password": "x"},
    ),
    ("spice+unix:///run/vm.sock", {"unix_path": "/run/vm.sock"}),
    ("spice+unix://vm.sock", {"unix_path": "vm.sock"}),
    ("spice+unix:///run/a%20b?port=1;x@[", {"unix_path": "/run/a%20b?port=1;x@["}),
]

ERRORS = [
    ("", "expected spice://"),
    ("h:5900", "expected spice://"),
    ("spice:h:5900", "expected spice://"),
    ("vnc://h:5900", "'vnc'"),
    ("SPICE://h:5900", "lower case"),
    ("Spice+TLS://h:5900", "lower case"),
    ("spice+ssh://h:5900", r"'spice\+ssh'"),
    ("spice://", "host is empty"),
    ("spice://h", "no port, and there is no default"),
    ("spice://h:", "no port"),
    ("spice://h?port=&tls-port=", "no port"),
    ("spice://:5900", "host is empty"),
    ("spice+tls://h", "no port"),
    ("spice+tls://h?tls-port=5901", "no port"),
    ("spice+unix://", "path"),
    ("spice://h:5900?prot=5901", "'prot'"),
    ("spice://h:5900?Port=5901", "'Port'"),
    ("spice://h:5900?=1", "query"),
    ("spice://h:5900?port=5900", "port is given twice"),
    ("spice://h?port=5900&port=5901", "port is given twice"),
    ("spice://h:1?tls-port=2&tls-port=3", "tls-port is given twice"),
    ("spice://h:1?password=2&password=3", "password is given twice"),
    ("spice+tls://h:1?password=2&password=3", "password is given twice"),
    ("spice://[::1:5900", "not closed"),
    ("spice://[::1]5900", "only :port"),
    ("spice://::1:5900", r"\[address\]:port"),
    ("spice://h:x", "'x'"),
    ("spice://h:0", "'0' is not a port of 1..65535"),
    ("spice://h:65536", "65535"),
    ("spice://h:-1", "'-1'"),
    ("spice://h:5900?tls-port=99999999999999999999", "tls-port"),
    ("spice://h:٥٩", "not a port"),
    ("spice://h:5900?tls-port=5900", "both 5900"),
    ("spice://h:5900?password=100%", "percent sign"),
    ("spice://a%4@h:5900", "percent sign"),
    ("spice://a%ff@h:5900", "UTF-8"),
    ("spice://h%ff:5900", "UTF-8"),
    ("spice://h%00:5900", "NUL"),
    ("spice://a b:5900", "blank"),
    ("spice://h%0d%0aX:5900", "control"),
    ("spice://h:5900?password=a%00b", "password holds a NUL"),
    ("spice://h:5900\0", "NUL"),
]


@pytest.mark.parametrize(("uri", "fields"), FORMS)
def test_form(uri, fields):
    assert Endpoint.parse(uri) == Endpoint(**fields)


@pytest.mark.parametrize(("uri", "text"), ERRORS)
def test_error(uri, text):
    with pytest.raises(EndpointError, match=text):
        Endpoint.parse(uri)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("spice://ann@[::1]:5900?password=s3cret;tls-port=5901", "spice://ann@[::1]:5900?tls-port=5901"),
        ("spice://h?tls-port=5901", "spice://h?tls-port=5901"),
        ("spice+tls://h:5901", "spice+tls://h:5901"),
        ("spice+unix:///run/vm.sock", "spice+unix:///run/vm.sock"),
    ],
)
def test_text(uri, text):
    assert str(Endpoint.parse(uri)) == Endpoint.parse(uri).uri == text


def test_proxmox_ticket_as_host_survives_the_uri():
    ticket = "pvespiceproxy:6536e2a1:100:pve1::a3f9/+=%2f[]@?;#"
    endpoint = Endpoint(host=ticket, tls_port=61000)
    assert endpoint.host == ticket
    assert Endpoint.parse(endpoint.uri) == endpoint


ports = st.integers(1, 65535)
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)
hosts = st.one_of(
    st.ip_addresses().map(str),
    texts.filter(lambda text: not any(c <= " " or "\x7f" <= c <= "\xa0" for c in text)),
)


@st.composite
def endpoints(draw):
    if draw(st.booleans()):
        return Endpoint(unix_path=draw(texts))
    username = draw(st.none() | texts)
    if draw(st.booleans()):
        return Endpoint(host=draw(hosts), tls_port=draw(ports), username=username, tls_required=True)
    port, tls_port = draw(
        st.tuples(ports, st.none())
        | st.tuples(st.none(), ports)
        | st.tuples(ports, ports).filter(lambda p: p[0] != p[1])
    )
    return Endpoint(host=draw(hosts), port=port, tls_port=tls_port, username=username)


@given(endpoints())
def test_round_trip(endpoint):
    assert Endpoint.parse(endpoint.uri) == endpoint


@given(
    st.one_of(
        st.text(),
        st.tuples(
            st.sampled_from(["spice://", "spice+tls://", "spice+unix://"]),
            st.lists(st.sampled_from([*"[]@:;&=?/%19\0\ud800", "host", "port", "tls-port", "password", "::1", "%41"])),
        ).map(lambda parts: parts[0] + "".join(parts[1])),
    )
)
def test_any_text_gives_an_endpoint_or_an_endpoint_error(text):
    try:
        endpoint = Endpoint.parse(text)
    except EndpointError:
        return
    assert Endpoint.parse(endpoint.uri).uri == endpoint.uri


@given(st.text("abcXYZ&;=%#/@: ", min_size=0, max_size=12).map(lambda text: f"hunter2{text}hunter2"))
def test_password_is_never_shown(password):
    for uri in (
        f"spice://h:5900?password={password}",
        f"spice://h?password={password}",
        f"spice://h:5900?password={password}&nonsense=1",
    ):
        try:
            endpoint = Endpoint.parse(uri)
            shown = f"{endpoint} {endpoint!r} {endpoint.uri}"
        except EndpointError as error:
            shown = f"{error} {error!r} {error.__cause__} {error.__context__}"
        assert "hunter2" not in shown
