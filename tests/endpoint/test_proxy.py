"""Proxy URLs (spec/wire.md 4.1, 15)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.endpoint import Proxy
from caraway.errors import EndpointError


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("http://p:8080", {"host": "p", "port": 8080}),
        ("http://p:8080/", {"host": "p", "port": 8080}),
        ("http://p", {"host": "p", "port": 3128}),
        ("https://p", {"host": "p", "port": 3128, "scheme": "https"}),
        ("p", {"host": "p", "port": 3128}),
        ("p:8080", {"host": "p", "port": 8080}),
        ("[::1]", {"host": "::1", "port": 3128}),
        ("http://[::1]:8080", {"host": "::1", "port": 8080}),
        ("http://u@p", {"host": "p", "username": "u"}),
        ("http://u%3a:p%40:%20@p:1", {"host": "p", "port": 1, "username": "u:", "password": "p@: "}),
        ("u:s@p:1", {"host": "p", "port": 1, "username": "u", "password": "s"}),
    ],
)
def test_form(text, fields):
    assert Proxy.parse(text) == Proxy(**fields)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "host is empty"),
        ("http://", "host is empty"),
        ("socks5://p", "'socks5'"),
        ("http://p:0", "1..65535"),
        ("http://p:x", "'x'"),
        ("http://[::1", "not closed"),
        ("http://a b", "blank"),
        ("http://u:%zz@p", "password"),
    ],
)
def test_error(text, error):
    with pytest.raises(EndpointError, match=error):
        Proxy.parse(text)


def test_password_is_not_shown():
    proxy = Proxy.parse("http://ann:hunter2@[::1]:8080")
    assert str(proxy) == "http://ann@[::1]:8080"
    assert "hunter2" not in repr(proxy)


@given(st.text())
def test_any_text_gives_a_proxy_or_an_endpoint_error(text):
    try:
        proxy = Proxy.parse(text)
    except EndpointError:
        return
    assert str(Proxy.parse(str(proxy))) == str(proxy)
