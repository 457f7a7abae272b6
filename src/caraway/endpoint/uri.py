"""Connection URIs: `spice://`, `spice+tls://`, `spice+unix://` (spec/wire.md 14)."""

import re

from caraway.endpoint.checks import (
    check_host,
    check_text,
    join_host_port,
    parse_port,
    percent_decode,
    percent_encode,
    split_host_port,
)
from caraway.endpoint.endpoint import Endpoint
from caraway.errors import EndpointError

_SCHEMES = ("spice", "spice+tls", "spice+unix")
_KEYS = ("port", "tls-port", "password")
_FORMS = "spice://host:port, spice://host?tls-port=N, spice+tls://host:port or spice+unix://PATH"


def parse_uri(text: str) -> Endpoint:
    """Read a connection URI; see `Endpoint.parse`."""
    check_text("URI", text, secret=True)
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise EndpointError(f"not a connection URI: expected {_FORMS}")
    if scheme not in _SCHEMES:
        hint = ": schemes are lower case" if scheme.lower() in _SCHEMES else f": expected {_FORMS}"
        raise EndpointError(f"URI scheme {scheme!r} is not known{hint}")
    if scheme == "spice+unix":
        if not rest:
            raise EndpointError("spice+unix:// needs the path of a socket")
        return Endpoint(unix_path=rest)

    hierarchy, query = _split(rest, "?;")
    authority, _ = _split(hierarchy, "/")
    userinfo, _, host_port = authority.rpartition("@")
    host, port = split_host_port(host_port)
    check_host("host", host)
    username = percent_decode("username", userinfo) or None
    settings = _parse_query(query, {"port": port} if port and scheme == "spice" else {})
    password = settings.get("password")

    if scheme == "spice+tls":
        if not port:
            raise EndpointError(f"spice+tls://{host_port}: no port; write spice+tls://host:port")
        tls_port = parse_port("port", port)
        return Endpoint(host=host, tls_port=tls_port, username=username, password=password, tls_required=True)
    ports = {key: parse_port(key, settings[key]) if key in settings else None for key in ("port", "tls-port")}
    if not any(ports.values()):
        raise EndpointError(f"spice://{host_port}: no port, and there is no default; write spice://host:port")
    return Endpoint(host=host, port=ports["port"], tls_port=ports["tls-port"], username=username, password=password)


def format_uri(endpoint: Endpoint) -> str:
    """Write the URI of an endpoint, without its password and whatever else URIs cannot say."""
    if endpoint.host is None:
        return f"spice+unix://{endpoint.unix_path}"
    user = f"{percent_encode(endpoint.username)}@" if endpoint.username else ""
    if endpoint.tls_required:
        return f"spice+tls://{user}{join_host_port(endpoint.host, endpoint.tls_port)}"
    query = f"?tls-port={endpoint.tls_port}" if endpoint.tls_port else ""
    return f"spice://{user}{join_host_port(endpoint.host, endpoint.port)}{query}"


def _parse_query(query: str, settings: dict[str, str]) -> dict[str, str]:
    """Add the query's keys to the settings that the authority gave.

    Once a password was seen, what follows may be its unencoded rest: such errors name no text.
    """
    for pair in re.split("[&;]", query):
        if not pair:
            continue
        key, _, value = pair.partition("=")
        if key not in _KEYS:
            named = "a key" if "password" in settings or not key else f"key {key!r}"
            raise EndpointError(
                f"{named} in the URI's query is not known: there are {', '.join(_KEYS)} (encode & as %26 and ; as %3B)"
            )
        if not value:
            continue
        if key in settings:
            raise EndpointError(f"URI: {key} is given twice")
        settings[key] = percent_decode(key, value)
    return settings


def _split(text: str, separators: str) -> tuple[str, str]:
    """Split at the first of some characters."""
    for index, character in enumerate(text):
        if character in separators:
            return text[:index], text[index + 1 :]
    return text, ""
