"""Whether a certificate names a host, by the rules of deployed viewers (spec/wire.md 4.2).

Python's `ssl` no longer looks at common names, which is all that certificates of older deployments have.
"""

import re
from typing import TYPE_CHECKING

from caraway.endpoint.checks import ip_literal

if TYPE_CHECKING:
    from cryptography import x509

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_MAX_NAME = 253
"""Characters of a DNS name."""


def dns_name(host: str) -> str | None:
    """The host as a DNS name in ASCII, without a final dot; None for an address or a token that is no name."""
    if ip_literal(host) is not None:
        return None
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    name = name.removesuffix(".")
    return name if len(name) <= _MAX_NAME and all(map(_LABEL.fullmatch, name.split("."))) else None


def names_host(certificate: "x509.Certificate", host: str) -> bool:
    """Whether the certificate names the host.

    If it has subjectAltNames of kind DNS or IP, one of them must match; else its one common name must. Addresses
    compare as addresses, names without case; `*` stands for any run of characters in the leftmost label.
    """
    names, addresses = alternative_names(certificate)
    address = ip_literal(host)
    if names or addresses:
        if address is not None:
            return str(address) in addresses
        return any(_matches(pattern, host) for pattern in names)
    common = common_names(certificate)
    if len(common) != 1:
        return False
    if address is not None:
        return ip_literal(common[0]) == address
    return _matches(common[0], host)


def alternative_names(certificate: "x509.Certificate") -> tuple[list[str], list[str]]:
    """The subjectAltNames of kind DNS, and those of kind IP as texts."""
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return [], []
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return extension.value.get_values_for_type(x509.DNSName), [str(address) for address in addresses]


def common_names(certificate: "x509.Certificate") -> list[str]:
    """The common names of the subject."""
    from cryptography.x509.oid import NameOID

    values = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [value for value in values if isinstance(value, str)]


def _matches(pattern: str, host: str) -> bool:
    name = dns_name(host)
    if name is None:
        return False
    name, pattern = name.lower(), pattern.removesuffix(".").lower()
    if "*" not in pattern:
        return pattern == name
    label, _, rest = name.partition(".")
    wild, _, fixed = pattern.partition(".")
    before, _, after = wild.partition("*")
    if not fixed or fixed != rest:
        return False
    return len(label) >= len(before) + len(after) and label.startswith(before) and label.endswith(after)
