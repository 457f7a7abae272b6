"""TLS policy (spec/wire.md 4): certificate checks, contexts, and real handshakes in memory."""

import ssl

import pytest

from caraway.endpoint import Endpoint, check_certificate, server_hostname, ssl_context
from caraway.errors import EndpointError, TlsError

HOSTS = [
    # names in the certificate, host, accepted
    ({"dns": ["vm.example.org"]}, "vm.example.org", True),
    ({"dns": ["VM.example.ORG"]}, "vm.EXAMPLE.org", True),
    ({"dns": ["vm.example.org"]}, "vm.example.org.", True),
    ({"dns": ["a.example.org", "vm.example.org"]}, "vm.example.org", True),
    ({"dns": ["example.org"]}, "vm.example.org", False),
    ({"dns": ["*.example.org"]}, "vm.example.org", True),
    ({"dns": ["*.example.org"]}, "a.vm.example.org", False),
    ({"dns": ["*.example.org"]}, "example.org", False),
    ({"dns": ["vm*x.example.org"]}, "vm17x.example.org", True),
    ({"dns": ["vm*x.example.org"]}, "vm.example.org", False),
    ({"dns": ["ab*ba.example.org"]}, "aba.example.org", False),
    ({"dns": ["*a*.example.org"]}, "aaa.example.org", False),
    ({"dns": ["vm.*.org"]}, "vm.example.org", False),
    ({"dns": ["*"]}, "host", False),
    ({"dns": ["xn--bcher-kva.example"]}, "bücher.example", True),
    ({"dns": ["*.0.2.1"]}, "192.0.2.1", False),
    ({"ip": ["192.0.2.1"]}, "192.0.2.1", True),
    ({"ip": ["192.0.2.1"]}, "192.0.2.2", False),
    ({"ip": ["2001:db8::1"]}, "2001:DB8:0::1", True),
    ({"ip": ["fe80::1"]}, "fe80::1%eth0", True),
    ({"ip": ["2001:db8::1"]}, "2001:db8::2", False),
    ({"ip": ["192.0.2.1"]}, "vm.example.org", False),
    ({"cn": "vm.example.org"}, "vm.example.org", True),
    ({"cn": "*.example.org"}, "VM.example.org", True),
    ({"cn": "other.example.org"}, "vm.example.org", False),
    ({"cn": "192.0.2.1"}, "192.0.2.1", True),
    ({"cn": "2001:db8:0::1"}, "2001:db8::1", True),
    ({"cn": "192.0.2.1"}, "192.0.2.2", False),
    ({"cn": "vm.example.org", "dns": ["other.example.org"]}, "vm.example.org", False),
    ({"cn": "vm.example.org", "ip": ["192.0.2.1"]}, "vm.example.org", False),
    ({"cn": "192.0.2.1", "dns": ["vm.example.org"]}, "192.0.2.1", False),
    ({"cn": "vm.example.org", "mail": ["a@example.org"]}, "vm.example.org", True),
    ({"cn": None}, "vm.example.org", False),
    ({"cn": "pve:ticket::x"}, "pve:ticket::x", False),
]


@pytest.mark.parametrize(("names", "host", "accepted"), HOSTS)
def test_host_name(issue, names, host, accepted):
    names = dict(names)
    cn = names.pop("cn", "unrelated")
    certificate = issue([("O", "Test"), *([("CN", cn)] if cn else [])], **names)
    endpoint = Endpoint(host=host, tls_port=5901)
    if accepted:
        check_certificate(endpoint, certificate.der)
        return
    with pytest.raises(TlsError, match="not for host") as caught:
        check_certificate(endpoint, certificate.der)
    assert repr(host) in str(caught.value)
    assert "host_subject='O=Test" in str(caught.value)


def test_two_common_names_name_no_host(issue):
    certificate = issue([("CN", "a.example"), ("CN", "b.example")])
    for host in ("a.example", "b.example"):
        with pytest.raises(TlsError):
            check_certificate(Endpoint(host=host, tls_port=1), certificate.der)


def test_subject_counts_instead_of_the_host_name(issue):
    certificate = issue([("C", "GB"), ("O", "Red Hat"), ("CN", "b")], dns=["b"])
    check_certificate(Endpoint(host="a", tls_port=1, host_subject="C=GB,O=red  hat,CN=b"), certificate.der)
    with pytest.raises(TlsError, match=r"subject is 'C=GB,O=Red Hat,CN=b', expected 'O=Red Hat,CN=b'"):
        check_certificate(Endpoint(host="b", tls_port=1, host_subject="O=Red Hat,CN=b"), certificate.der)


def test_public_key_decides_alone(issue):
    mine, other = issue([("CN", "h")]), issue([("CN", "h")])
    pinned = Endpoint(host="elsewhere", tls_port=1, public_key=mine.public_key)
    check_certificate(pinned, mine.der)
    for host_subject in (None, "CN=h"):
        with pytest.raises(TlsError, match="not the pinned one"):
            check_certificate(
                Endpoint(host="h", tls_port=1, public_key=mine.public_key, host_subject=host_subject), other.der
            )


@pytest.mark.parametrize("der", [None, b"", b"\x30", b"nonsense"])
@pytest.mark.parametrize("fields", [{}, {"host_subject": "CN=h"}, {"public_key": b"x"}])
def test_no_readable_certificate(der, fields):
    with pytest.raises(TlsError, match="cannot be read" if der else "sent no certificate"):
        check_certificate(Endpoint(host="h", tls_port=1, **fields), der)
    check_certificate(Endpoint(host="h", tls_port=1, insecure=True), der)


def test_mutated_certificate_gives_tls_error_or_passes(issue):
    der = issue([("CN", "h")], dns=["h"]).der
    endpoint = Endpoint(host="h", tls_port=1)
    refused = 0
    for index in range(len(der)):
        for mutated in (der[:index], der[:index] + bytes((der[index] ^ 0x15,)) + der[index + 1 :]):
            try:
                check_certificate(endpoint, mutated)
            except TlsError:
                refused += 1
    assert refused >= len(der)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("vm.example.org", "vm.example.org"),
        ("vm.example.org.", "vm.example.org"),
        ("vm_1", "vm_1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("192.0.2.1", None),
        ("::1", None),
        ("fe80::1%eth0", None),
        ("pvespiceproxy:65:100:pve1::a3f9", None),
        ("a..b", None),
        ("a" * 64, None),
        (".".join(["a" * 60] * 5), None),
        (".", None),
    ],
)
def test_server_hostname(host, name):
    assert server_hostname(Endpoint(host=host, tls_port=1)) == name


def test_unix_sockets_have_no_tls():
    endpoint = Endpoint(unix_path="/s")
    assert server_hostname(endpoint) is None
    with pytest.raises(EndpointError, match="Unix"):
        ssl_context(endpoint)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_context(authority):
    context = ssl_context(Endpoint(host="h", tls_port=1, ca=f"# Authorité\n{authority.pem}"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.check_hostname
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("fields", [{"insecure": True}, {"public_key": b"x"}])
def test_context_without_chain(fields):
    assert ssl_context(Endpoint(host="h", tls_port=1, **fields)).verify_mode is ssl.CERT_NONE


def test_ciphers():
    ciphers = ssl_context(Endpoint(host="h", tls_port=1, tls_ciphers="ECDHE-RSA-AES256-GCM-SHA384")).get_ciphers()
    assert [c["name"] for c in ciphers if c["protocol"] == "TLSv1.2"] == ["ECDHE-RSA-AES256-GCM-SHA384"]
    with pytest.raises(EndpointError, match="'NONSENSE'"):
        ssl_context(Endpoint(host="h", tls_port=1, tls_ciphers="NONSENSE"))


def test_authorities_from_text_file_and_trust_store(authority, issue, home):
    store = home / ".spicec" / "spice_truststore.pem"
    store.parent.mkdir()
    store.write_text(authority.pem)
    assert len(ssl_context(Endpoint(host="h", tls_port=1)).get_ca_certs()) == 1
    other = home / "ca.pem"
    other.write_text(issue([("CN", "other")]).pem + issue([("CN", "another")]).pem)
    for ca_file in (str(other), "~/ca.pem"):
        context = ssl_context(Endpoint(host="h", tls_port=1, ca_file=ca_file))
        assert context.cert_store_stats()["x509"] == 2
    context = ssl_context(Endpoint(host="h", tls_port=1, ca=authority.pem, ca_file=str(other)))
    assert context.cert_store_stats()["x509"] == 3


@pytest.mark.parametrize("fields", [{"ca": "nonsense"}, {"ca": "é"}, {"ca_file": "missing.pem"}, {"ca_file": __file__}])
def test_no_authorities(fields):
    with pytest.raises(EndpointError, match="no certificate authorities"):
        ssl_context(Endpoint(host="h", tls_port=1, **fields))


def test_unreadable_trust_store_is_refused_rather_than_skipped(home):
    store = home / ".spicec" / "spice_truststore.pem"
    store.parent.mkdir()
    store.write_text("nonsense")
    with pytest.raises(EndpointError, match="spice_truststore"):
        ssl_context(Endpoint(host="h", tls_port=1))


def handshake(endpoint, server, directory):
    """Shake hands in memory; returns the certificate that the client saw and the name that the server was asked for."""
    chain = directory / "server.pem"
    chain.write_text(server.key_pem + server.pem)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(chain)
    asked = []
    server_context.sni_callback = lambda sock, name, context: asked.append(name)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        ssl_context(endpoint).wrap_bio(down, up, server_hostname=server_hostname(endpoint)),
        server_context.wrap_bio(up, down, server_side=True),
    ]
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    return ends[0].getpeercert(binary_form=True), asked


def test_handshake_with_an_old_certificate(authority, issue, home):
    endpoint = Endpoint(host="vm.example.org", tls_port=1, ca=authority.pem)
    der, asked = handshake(endpoint, issue([("CN", "vm.example.org")]), home)
    check_certificate(endpoint, der)
    assert asked == ["vm.example.org"]


def test_handshake_sends_no_name_for_an_address(authority, issue, home):
    endpoint = Endpoint(host="192.0.2.1", tls_port=1, ca=authority.pem)
    der, asked = handshake(endpoint, issue([("CN", "x")], ip=["192.0.2.1"]), home)
    check_certificate(endpoint, der)
    assert asked == [None]


def test_handshake_refuses_an_unknown_authority(authority, issue, home):
    stranger = issue([("CN", "h")], issuer=None)
    for fields in ({}, {"host_subject": "CN=h"}):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(Endpoint(host="h", tls_port=1, ca=authority.pem, **fields), stranger, home)


def test_handshake_with_a_pinned_or_any_self_signed_certificate(issue, home):
    stranger = issue([("CN", "x")], issuer=None)
    for fields in ({"public_key": stranger.public_key}, {"insecure": True}):
        endpoint = Endpoint(host="h", tls_port=1, **fields)
        der, _ = handshake(endpoint, stranger, home)
        assert der == stranger.der
        check_certificate(endpoint, der)
