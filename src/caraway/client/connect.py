"""`connect`: from whatever names a server to a running session."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Collection, Generator, Iterable
from types import TracebackType
from typing import Any, Literal

from caraway.client.deadline import deadline
from caraway.client.dial import Dialer
from caraway.client.session import CHANNELS, Session, preload
from caraway.endpoint import Credentials, Endpoint, endpoint_password
from caraway.errors import AuthError
from caraway.migration.offer import Offer, Policy

CONNECT_DEADLINE = 10.0
"""Seconds until all channels are linked."""


def connect(
    server: Endpoint | str | os.PathLike[str],
    *,
    password: str | None = None,
    credentials: Credentials | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    host_subject: str | None = None,
    channels: Iterable[Literal["display", "inputs", "cursor"]] = ("display", "inputs", "cursor"),
    mouse_mode: Literal["client", "server"] = "client",
    migration: Literal["auto", "semi-seamless", "switch-host", "refuse"] = "auto",
    migration_targets: Collection[str] | None = None,
    timeout: float = CONNECT_DEADLINE,
) -> Connecting:
    """Begin a session with a SPICE server.

        async with caraway.connect("spice://host:5900") as session:
            await session.display.ready()

    server: connection URI, path of a `.vv` file, or Endpoint. A file that says `delete-this-file=1` is removed at once.
    password, ca_file, host_subject: replace what the endpoint says; with one of the latter two TLS is a must.
    credentials: an async function, asked for the password instead.
    channels: which to link besides main. mouse_mode: "client" sends positions where the guest can take them.
    migration: how the session follows a VM that moves: the best way that both hosts can, no better than the one named,
    or not at all. migration_targets: the only hosts that a server may send the session to, as it names them;
    `*.example.org` stands for all names below one. None: any.
    timeout: seconds until all are linked.
    Raises EndpointError at once; entering raises LinkError, AuthError, TlsError, ProtocolError or DeadlineError.
    """
    changes: dict[str, Any] = {"password": password, "host_subject": host_subject}
    changes["ca_file"] = None if ca_file is None else os.fspath(ca_file)
    endpoint = dataclasses.replace(Endpoint.of(server), **{k: v for k, v in changes.items() if v is not None})
    if ca_file is not None or host_subject is not None:
        endpoint = endpoint.require_tls()
    wanted: frozenset[str] = frozenset(channels)
    if isinstance(channels, str) or wanted - CHANNELS:
        raise ValueError(f"channels are some of {sorted(CHANNELS)}, not {channels!r}")
    if mouse_mode not in ("client", "server"):
        raise ValueError(f"mouse_mode is 'client' or 'server', not {mouse_mode!r}")
    policy = Policy(Offer(migration), migration_targets)
    return Connecting(endpoint, credentials or endpoint_password, wanted, policy, mouse_mode == "client", timeout)


class Connecting:
    """What `connect` gives: enter it, or await it and call `aclose` on the session yourself."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        channels: frozenset[str],
        policy: Policy,
        wants_client_mouse: bool,
        timeout: float,
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._channels = channels
        self._policy = policy
        self._wants_client_mouse = wants_client_mouse
        self._timeout = timeout
        self._session: Session | None = None

    async def _connect(self) -> Session:
        async with deadline(self._timeout, f"{self._endpoint}: connecting"):
            password = await self._credentials(self._endpoint)
            if not isinstance(password, str):
                raise AuthError(f"{self._endpoint}: the credentials gave {type(password).__name__}, not a str")
            session = Session(
                Dialer(self._endpoint, password),
                self._channels,
                credentials=self._credentials,
                policy=self._policy,
                wants_client_mouse=self._wants_client_mouse,
            )
            preloading = asyncio.get_running_loop().run_in_executor(None, preload, self._channels)
            try:
                await session.start()
                await preloading
            except BaseException:
                preloading.cancel()
                await session.abort()
                raise
            return session

    def __await__(self) -> Generator[Any, None, Session]:
        return self._connect().__await__()

    async def __aenter__(self) -> Session:
        self._session = await self._connect()
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.aclose()
