"""Where passwords come from: a callable that is asked anew for every link, target and retry (DESIGN.md 5)."""

import os
from collections.abc import Awaitable, Callable

from caraway.endpoint.endpoint import Endpoint
from caraway.errors import EndpointError

Credentials = Callable[[Endpoint], Awaitable[str]]
"""Gives the password for an endpoint; the empty text if there is none."""

MAX_PASSWORD_FILE = 1 << 16
"""Bytes of a password file: tickets have 60 characters, tokens some thousands."""


async def endpoint_password(endpoint: Endpoint) -> str:
    """Credentials that give the password which the endpoint itself carries."""
    return endpoint.password or ""


def fixed_password(password: str) -> Credentials:
    """Credentials that give one password for every endpoint."""

    async def give(endpoint: Endpoint) -> str:
        return password

    return give


def password_file(path: str | os.PathLike[str]) -> Credentials:
    """Credentials that read a UTF-8 file each time, so that a renewed ticket is seen; one final newline is dropped.

    Asking raises EndpointError if the file cannot be read.
    """

    async def give(endpoint: Endpoint) -> str:
        return read_password(path)

    return give


def read_password(path: str | os.PathLike[str]) -> str:
    """The password of a UTF-8 file, without one final newline. Raises EndpointError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_PASSWORD_FILE + 1)
    except OSError as error:
        raise EndpointError(f"cannot read password file {os.fspath(path)!r}: {error.strerror}") from None
    if len(data) > MAX_PASSWORD_FILE:
        raise EndpointError(f"password file {os.fspath(path)!r} is larger than {MAX_PASSWORD_FILE} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise EndpointError(f"password file {os.fspath(path)!r} is not UTF-8 text") from None
