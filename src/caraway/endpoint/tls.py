"""TLS as an endpoint wants it: the context, the name to send, the check of the certificate (spec/wire.md 4).

`ssl` verifies the chain during the handshake. What the certificate says of the host, its subject or its key is checked
afterwards by `check_certificate`: nothing secret may be sent before that.
"""

import os
from typing import TYPE_CHECKING

from caraway.endpoint.endpoint import Endpoint
from caraway.endpoint.hostname import alternative_names, common_names, dns_name, names_host
from caraway.endpoint.subject import certificate_subject, format_subject, parse_subject, same_subject
from caraway.endpoint.verify import Verify
from caraway.errors import EndpointError, TlsError

if TYPE_CHECKING:
    import ssl

    from cryptography import x509

TRUST_STORE = "~/.spicec/spice_truststore.pem"
"""Where deployed viewers look for authorities when none are given; without it the system's count."""

_SHOWN_NAMES = 8
"""Names of a refused certificate that an error shows; a shared certificate may hold thousands."""


def ssl_context(endpoint: Endpoint) -> "ssl.SSLContext":
    """A client context for the endpoint: TLS 1.2 or later, the endpoint's authorities and ciphers.

    The chain is verified unless the public key is pinned or no check was asked for; the host name is left to
    `check_certificate`. Reads the files of the authorities. Raises EndpointError if they or the ciphers are unusable.
    """
    import ssl

    if endpoint.unix_path is not None:
        raise EndpointError(f"TLS is never used on Unix sockets ({endpoint.unix_path!r})")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    # Authorities of older deployments lack the key identifiers that strict checking asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if endpoint.verify in (Verify.PUBKEY, Verify.NONE):
        context.verify_mode = ssl.CERT_NONE
    else:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, endpoint)
    if endpoint.tls_ciphers is not None:
        try:
            context.set_ciphers(endpoint.tls_ciphers)
        except ssl.SSLError:
            raise EndpointError(f"tls_ciphers {endpoint.tls_ciphers!r} names no cipher that OpenSSL has") from None
    return context


def server_hostname(endpoint: Endpoint) -> str | None:
    """The name to send as SNI; None for an address, and for a token that only a proxy understands."""
    return None if endpoint.host is None else dns_name(endpoint.host)


def check_certificate(endpoint: Endpoint, der: bytes | None) -> None:
    """Check the peer's certificate after the handshake as `Endpoint.verify` says.

    der: `getpeercert(binary_form=True)`. A pinned public key decides alone: if it differs, a good name or subject does
    not help. Raises TlsError, which names what the certificate has and what was asked for.
    """
    verify = endpoint.verify
    if verify is Verify.NONE:
        return
    if not der:
        raise TlsError(f"{endpoint}: the server sent no certificate")
    try:
        problem = _problem(endpoint, der)
    except Exception as error:
        # The parser raises a dozen kinds of its own; a certificate that cannot be read is one that does not match.
        raise TlsError(f"{endpoint}: the server's certificate cannot be read: {error}") from error
    if problem is not None:
        raise TlsError(f"{endpoint}: {problem}")


def _problem(endpoint: Endpoint, der: bytes) -> str | None:
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(der)
    if endpoint.public_key is not None:
        return (
            None if _public_key(certificate) == endpoint.public_key else "the server's public key is not the pinned one"
        )
    if endpoint.host_subject is not None:
        subject = certificate_subject(certificate.subject)
        if same_subject(subject, parse_subject(endpoint.host_subject)):
            return None
        return f"the certificate's subject is {format_subject(subject)!r}, expected {endpoint.host_subject!r}"
    if endpoint.host is not None and names_host(certificate, endpoint.host):
        return None
    names, addresses = alternative_names(certificate)
    known = names + addresses or common_names(certificate)
    shown = ", ".join(map(repr, known[:_SHOWN_NAMES])) or "no host at all"
    subject_text = format_subject(certificate_subject(certificate.subject))
    return (
        f"the certificate is for {shown}, not for host {endpoint.host!r}; "
        f"to accept it under another name set its subject: host_subject={subject_text!r}"
    )


def _public_key(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _load_authorities(context: "ssl.SSLContext", endpoint: Endpoint) -> None:
    import ssl

    store = os.path.expanduser(TRUST_STORE)
    if endpoint.ca is None and endpoint.ca_file is None and not os.path.exists(store):
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    try:
        if endpoint.ca is not None:
            # Bundles carry comments in any alphabet, which OpenSSL skips and Python would refuse.
            context.load_verify_locations(cadata=endpoint.ca.encode("ascii", "replace").decode("ascii"))
        if endpoint.ca_file is not None:
            context.load_verify_locations(cafile=os.path.expanduser(endpoint.ca_file))
        if endpoint.ca is None and endpoint.ca_file is None:
            context.load_verify_locations(cafile=store)
    except (OSError, ValueError) as error:
        source = " and ".join(filter(None, (endpoint.ca and "the given text", endpoint.ca_file))) or store
        raise EndpointError(f"no certificate authorities in {source}: {error}") from error
