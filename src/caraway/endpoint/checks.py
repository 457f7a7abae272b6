"""Checks that every part of an endpoint shares: ports, texts, percent-encoding, `host:port` (spec/wire.md 14)."""

import ipaddress
import re
import urllib.parse

from caraway.errors import EndpointError

MAX_PORT = 65535
"""TCP's limit."""

_NUMBER = re.compile(r"[0-9]{1,10}")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_IN_A_HOST = re.compile(r"[\x00-\x20\x7f-\xa0]")


def check_port(name: str, port: int | None) -> None:
    """Raise EndpointError unless the port is None or 1..65535."""
    if port is not None and (type(port) is not int or not 1 <= port <= MAX_PORT):
        raise EndpointError(f"{name} {port!r} is not a port of 1..{MAX_PORT}")


def check_text(name: str, value: str | None, *, secret: bool = False) -> None:
    """Raise EndpointError unless the value is None or text without NUL that UTF-8 can carry; a secret is not shown."""
    if value is None:
        return
    shown = "" if secret else f" {value!r}"
    if not isinstance(value, str):
        raise EndpointError(f"{name} is a {type(value).__name__}, not a text")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise EndpointError(f"{name}{shown} holds a NUL or half a surrogate pair")


def check_host(name: str, host: str) -> None:
    """Raise EndpointError if a host is empty or holds blanks or control characters.

    Nothing else is asked of it: a management system may put an opaque token there, for its proxy to resolve. Blanks
    would let it write lines of its own into the request to that proxy.
    """
    check_text(name, host)
    if not host:
        raise EndpointError(f"{name} is empty")
    if _NOT_IN_A_HOST.search(host):
        raise EndpointError(f"{name} {host!r} holds a blank or a control character")


def ip_literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host text is, without its zone; None if it is a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0] if ":" in host else host)
    except ValueError:
        return None


def without_brackets(host: str) -> str:
    """`[::1]` as `::1`; every other text as it is."""
    inner = host[1:-1]
    return inner if host[:1] == "[" and host[-1:] == "]" and ":" in inner and ip_literal(inner) else host


def parse_port(name: str, text: str) -> int:
    """Read a decimal port. Raises EndpointError unless it is 1..65535."""
    port = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= port <= MAX_PORT:
        raise EndpointError(f"{name} {text!r} is not a port of 1..{MAX_PORT}")
    return port


def percent_decode(name: str, text: str) -> str:
    """Decode %XX as UTF-8. The error of a malformed text does not show it, since it may be a password."""
    if _BAD_PERCENT.search(text):
        raise EndpointError(f"{name}: a percent sign is not followed by two hexadecimal digits (write %25 for itself)")
    return _unquote(name, text)


def percent_encode(text: str) -> str:
    """Encode all that has a meaning in a URI."""
    return urllib.parse.quote(text, safe="")


def split_host_port(text: str) -> tuple[str, str]:
    """Split `host[:port]` or `[host][:port]`; the port is an empty text if there is none.

    Brackets are syntax here: they surround an IPv6 literal, or any host with a colon of its own. In the host a percent
    sign without two hexadecimal digits stands for itself, because people write zones as `[fe80::1%eth0]`.
    """
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed:
            raise EndpointError(f"host {text!r}: the bracket is not closed by ]")
        if rest and not rest.startswith(":"):
            raise EndpointError(f"host {text!r}: only :port may follow the ]")
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
        if ":" in port:
            raise EndpointError(f"host {text!r} holds several colons: write an IPv6 address as [address]:port")
    return _unquote("host", host), port


def join_host_port(host: str, port: int | None) -> str:
    """Write what split_host_port reads."""
    text = f"[{urllib.parse.quote(host, safe=':')}]" if ":" in host else percent_encode(host)
    return text if port is None else f"{text}:{port}"


def _unquote(name: str, text: str) -> str:
    try:
        return urllib.parse.unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise EndpointError(f"{name}: its percent-encoded bytes are not UTF-8") from None
