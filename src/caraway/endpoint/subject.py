"""Host subjects, `C=GB,O=Red Hat,CN=host`, and their exact comparison with a certificate's (spec/wire.md 4.3)."""

import re
from typing import TYPE_CHECKING

from caraway.errors import EndpointError

if TYPE_CHECKING:
    from cryptography import x509

Subject = tuple[tuple[str, str], ...]
"""Attributes in the certificate's order: object identifier in dots, value."""

_ATTRIBUTES = (
    ("2.5.4.3", "CN", "commonName"),
    ("2.5.4.4", "SN", "surname"),
    ("2.5.4.5", "serialNumber", "serialNumber"),
    ("2.5.4.6", "C", "countryName"),
    ("2.5.4.7", "L", "localityName"),
    ("2.5.4.8", "ST", "stateOrProvinceName"),
    ("2.5.4.9", "street", "streetAddress"),
    ("2.5.4.10", "O", "organizationName"),
    ("2.5.4.11", "OU", "organizationalUnitName"),
    ("2.5.4.12", "title", "title"),
    ("2.5.4.13", "description", "description"),
    ("2.5.4.15", "businessCategory", "businessCategory"),
    ("2.5.4.17", "postalCode", "postalCode"),
    ("2.5.4.41", "name", "name"),
    ("2.5.4.42", "GN", "givenName"),
    ("2.5.4.43", "initials", "initials"),
    ("2.5.4.44", "generationQualifier", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier", "dnQualifier"),
    ("2.5.4.65", "pseudonym", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID", "userId"),
    ("0.9.2342.19200300.100.1.25", "DC", "domainComponent"),
    ("1.2.840.113549.1.9.1", "emailAddress", "emailAddress"),
)
_OIDS = {name.lower(): oid for oid, short, long in _ATTRIBUTES for name in (short, long)}
_SHORT_NAMES = {oid: short for oid, short, _ in _ATTRIBUTES}
_DOTTED = re.compile(r"[0-2](?:\.[0-9]{1,20}){1,20}")
_TOKEN = re.compile(r"[^\\,]+|,|\\.?", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_BLANKS = re.compile(r"[ \t\n\v\f\r]+")
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def parse_subject(text: str) -> Subject:
    r"""Read `KEY=value,KEY=value`; `\,` is a comma and `\\` a backslash in a value, blanks before a key are skipped.

    Keys are X.509 short or long names in any case, or identifiers in dots. Raises EndpointError naming the entry.
    """
    entries = [""]
    for token in _TOKEN.findall(text):
        if token == ",":
            entries.append("")
        else:
            entries[-1] += token
    return tuple(_parse_entry(text, entry) for entry in entries)


def certificate_subject(name: "x509.Name") -> Subject:
    """The attributes of a certificate's name; a value that is not text becomes its hexadecimal digits after a `#`."""
    return tuple(
        (
            attribute.oid.dotted_string,
            attribute.value if isinstance(attribute.value, str) else "#" + attribute.value.hex(),
        )
        for attribute in name
    )


def same_subject(one: Subject, other: Subject) -> bool:
    """Whether both hold the same attributes in the same order; case (of ASCII) and runs of blanks do not count."""
    return [(oid, _fold(value)) for oid, value in one] == [(oid, _fold(value)) for oid, value in other]


def format_subject(subject: Subject) -> str:
    """Write what parse_subject reads."""
    return ",".join(
        f"{_SHORT_NAMES.get(oid, oid)}=" + value.replace("\\", "\\\\").replace(",", "\\,") for oid, value in subject
    )


def _parse_entry(text: str, entry: str) -> tuple[str, str]:
    key, equals, raw = entry.lstrip().partition("=")
    if not equals or not raw:
        raise EndpointError(f"host subject {text!r}: {entry!r} is not KEY=value (a comma in a value is written \\,)")
    oid = _OIDS.get(key.lower()) or (key if _DOTTED.fullmatch(key) else None)
    if oid is None:
        known = ", ".join(_SHORT_NAMES.values())
        raise EndpointError(f"host subject {text!r}: attribute {key!r} is not known; there are {known}")

    def replace(match: re.Match[str]) -> str:
        if match[1] not in ("\\", ","):
            raise EndpointError(f"host subject {text!r}: after a backslash only , or \\ may come")
        return match[1]

    return oid, _ESCAPE.sub(replace, raw)


def _fold(value: str) -> str:
    return _BLANKS.sub(" ", value).strip(" ").translate(_ASCII_LOWER)
