"""Channel names as URIs, `.vv` files and settings write them (spec/wire.md 4.1, 15)."""

from collections.abc import Iterable

from caraway.errors import EndpointError

CHANNEL_NAMES = frozenset(
    ("main", "display", "inputs", "cursor", "playback", "record", "smartcard", "usbredir", "port", "webdav")
)
"""Every channel that can be named."""

ALL = "all"
"""Stands for every channel in a list of secure channels."""

_RETIRED = frozenset(("tunnel",))
"""Names that old management software still writes; no peer has offered these channels for a decade."""


def check_channel(name: str) -> str:
    """Return the name if it is a channel's. Raises EndpointError with the nearest known name otherwise."""
    if name in CHANNEL_NAMES:
        return name
    import difflib

    near = difflib.get_close_matches(name, CHANNEL_NAMES, 1)
    hint = f"did you mean {near[0]!r}?" if near else "known are " + ", ".join(sorted(CHANNEL_NAMES))
    raise EndpointError(f"no channel is called {name!r}: {hint}")


def secure_set(names: Iterable[str]) -> frozenset[str]:
    """Channels that must use TLS; `all` stands for every one of them."""
    chosen = frozenset(names) - _RETIRED
    return CHANNEL_NAMES if ALL in chosen else frozenset(map(check_channel, chosen))


def disabled_set(names: Iterable[str]) -> frozenset[str]:
    """Channels that are not opened. Main cannot be one: it is the session."""
    chosen = frozenset(map(check_channel, frozenset(names) - _RETIRED))
    if "main" in chosen:
        raise EndpointError("channel 'main' cannot be disabled: the session lives on it")
    return chosen
