"""What commands share: how to name a server, how to run, how to fail."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

import click

from caraway.endpoint import Credentials, Endpoint, password_file
from caraway.errors import CarawayError

F = TypeVar("F", bound=Callable[..., Any])

PASSWORD_VARIABLE = "CARAWAY_PASSWORD"
"""Of the environment: the password where nothing else gives one. Unlike an option only its owner can see it."""

FROM_VARIABLE = f"Without any the environment's {PASSWORD_VARIABLE}."


@dataclasses.dataclass(slots=True)
class Server:
    """A server as the command line names it."""

    uri: str | Endpoint
    password: str | None
    password_file: str | None
    ca_file: str | None
    host_subject: str | None
    timeout: float

    def connect(self, **options: Any) -> Any:
        """`caraway.connect` with these settings."""
        from caraway.client import connect

        endpoint, password = Endpoint.of(self.uri), self.password
        credentials: Credentials | None = password_file(self.password_file) if self.password_file else None
        if password is None and credentials is None and endpoint.password is None:
            password = os.environ.get(PASSWORD_VARIABLE)
        return connect(
            endpoint,
            password=password,
            credentials=credentials,
            ca_file=self.ca_file,
            host_subject=self.host_subject,
            timeout=self.timeout,
            **options,
        )


def server_options(function: F) -> F:
    """The argument URI and the options of a connection; the command gets them as one `server`."""

    @click.argument("uri")
    @click.option(
        "--password",
        help=f"Ticket or SASL password. Other users of this machine can see it, unlike ${PASSWORD_VARIABLE}.",
    )
    @click.option("--password-file", type=click.Path(exists=True, dir_okay=False), help="File with the password.")
    @click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="PEM file of authorities to trust.")
    @click.option("--host-subject", help="Subject that the server's certificate must have.")
    @click.option("--timeout", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Seconds.")
    @click.option("--json", "as_json", is_flag=True, help="Say the result, or the error, as JSON.")
    def command(
        uri: str,
        password: str | None,
        password_file: str | None,
        ca_file: str | None,
        host_subject: str | None,
        timeout: float,
        **rest: Any,
    ) -> Any:
        if password is not None and password_file is not None:
            raise click.UsageError("give --password or --password-file, not both")
        server = Server(uri, password, password_file, ca_file, host_subject, timeout)
        return function(server=server, **rest)

    command.__doc__ = function.__doc__
    command.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(function, "__click_params__", []),
        *command.__click_params__,  # type: ignore[attr-defined]
    ]
    return cast(F, command)


def run(work: Coroutine[Any, Any, dict[str, Any]], *, as_json: bool) -> None:
    """Run a command to its end: print its result, or its error, and leave with the exit code of the error's class.

    SIGINT and SIGTERM cancel it, so that it tidies up; the exit codes then are 130 and 143.
    """
    try:
        result = asyncio.run(_until_told(work))
    except CarawayError as error:
        fail(error, as_json=as_json)
    except KeyboardInterrupt:
        sys.exit(130)
    except asyncio.CancelledError:
        sys.exit(143)
    else:
        if as_json:
            _echo_json(result)


async def _until_told(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def fail(error: CarawayError, *, as_json: bool) -> None:
    """Say an error and leave."""
    if as_json:
        _echo_json({"error": type(error).__name__, "message": str(error)})
    else:
        click.echo(f"caraway: {error}", err=True)
    sys.exit(error.exit_code)


def _echo_json(value: object) -> None:
    import json

    click.echo(json.dumps(value))
