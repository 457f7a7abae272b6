"""Host subjects (spec/wire.md 4.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.endpoint.subject import certificate_subject, format_subject, parse_subject, same_subject
from caraway.errors import EndpointError

CN, O, C = "2.5.4.3", "2.5.4.10", "2.5.4.6"  # noqa: E741


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("CN=host", ((CN, "host"),)),
        ("C=GB,O=Red Hat,CN=host", ((C, "GB"), (O, "Red Hat"), (CN, "host"))),
        ("C=GB,  O=Red Hat", ((C, "GB"), (O, "Red Hat"))),
        ("O=Red Hat\\, Inc.,CN=a\\\\b", ((O, "Red Hat, Inc."), (CN, "a\\b"))),
        ("O=a\\\\,CN=b", ((O, "a\\"), (CN, "b"))),
        ("countryName=GB,organizationName=x", ((C, "GB"), (O, "x"))),
        ("emailAddress=a@b", (("1.2.840.113549.1.9.1", "a@b"),)),
        ("cn=a=b", ((CN, "a=b"),)),
        ("1.2.3.4=x", (("1.2.3.4", "x"),)),
    ],
)
def test_parse(text, subject):
    assert parse_subject(text) == subject


@pytest.mark.parametrize(
    "text", ["", "CN", "CN=", "=x", "CN=a,", ",CN=a", "CN=a,,O=b", "XX=a", "CN=a\\b", "CN=a\\", "CN =a", "1..2=a"]
)
def test_error(text):
    with pytest.raises(EndpointError, match="host subject"):
        parse_subject(text)


@given(st.text())
def test_any_text_gives_a_subject_or_an_endpoint_error(text):
    for candidate in (text, f"CN={text}"):
        try:
            subject = parse_subject(candidate)
        except EndpointError:
            continue
        assert parse_subject(format_subject(subject)) == subject


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("C=GB,O=Red Hat,CN=host", True),
        ("c=gb,o=RED hat,cn=HOST", True),
        ("C=GB,O=  Red \t Hat ,CN=host", True),
        ("countryName=GB,organizationName=Red Hat,commonName=host", True),
        ("O=Red Hat,CN=host", False),
        ("C=GB,O=Red Hat", False),
        ("C=GB,O=Red Hat,CN=host,OU=x", False),
        ("O=Red Hat,C=GB,CN=host", False),
        ("C=GB,O=RedHat,CN=host", False),
        ("C=GB,O=Red Hat,CN=other", False),
        ("C=GB,OU=Red Hat,CN=host", False),
    ],
)
def test_comparison(issue, text, same):
    certificate = issue([("C", "GB"), ("O", "Red Hat"), ("CN", "host")]).certificate
    subject = certificate_subject(certificate.subject)
    assert same_subject(subject, parse_subject(text)) is same
    assert format_subject(subject) == "C=GB,O=Red Hat,CN=host"


def test_only_the_case_of_ascii_is_folded():
    assert not same_subject(parse_subject("CN=straße"), parse_subject("CN=STRASSE"))
    assert not same_subject(parse_subject("CN=é"), parse_subject("CN=É"))
    assert not same_subject(parse_subject("CN=\u212a"), parse_subject("CN=k"))


def test_comma_and_backslash_in_a_certificate(issue):
    certificate = issue([("O", "Red Hat, Inc."), ("CN", "a\\b")]).certificate
    subject = certificate_subject(certificate.subject)
    assert same_subject(subject, parse_subject("O=Red Hat\\, Inc.,CN=a\\\\b"))
    assert parse_subject(format_subject(subject)) == subject
