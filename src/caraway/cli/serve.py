"""`caraway serve`: a guest, served to every SPICE client until somebody says that it is enough."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caraway.cli.common import FROM_VARIABLE, PASSWORD_VARIABLE, run
from caraway.errors import EndpointError

if TYPE_CHECKING:
    from caraway.embedded import Machine
    from caraway.server import Guest, Server
    from caraway.server.channel import ServerChannel

log = logging.getLogger(__name__)

GUESTS = {"embedded": "caraway.embedded:EmbeddedGuest"}
"""Guests that have a name of their own."""

DEFAULT_PORT = 5900

EVERYWHERE = ("", "0.0.0.0", "::")
HERE = ("localhost", "127.0.0.1", "::1")

PORT = click.IntRange(0, 65535)
FILE = click.Path(exists=True, dir_okay=False)
SOCKET = click.Path(dir_okay=False, path_type=Path)


@click.command("serve")
@click.option("--guest", default="embedded", show_default=True, help="`embedded`, or MODULE:NAME of what makes one.")
@click.option("--listen", "host", default="localhost", show_default=True, help="Host or address; 0.0.0.0 for all.")
@click.option("--port", type=PORT, help=f"SPICE and WebSocket; 0 for any. Without any place: {DEFAULT_PORT}.")
@click.option("--tls-port", type=PORT, help="The same, over TLS only.")
@click.option("--tls-cert", type=FILE, help="PEM file of the certificate chain. --port then takes TLS, too.")
@click.option("--tls-key", type=FILE, help="PEM file of its key, if that is another.")
@click.option("--unix", "unix_path", type=SOCKET, help="Path of a Unix socket, for its owner only.")
@click.option(
    "--password",
    help=f"What viewers have to know. Other users of this machine can see it, unlike ${PASSWORD_VARIABLE}.",
)
@click.option("--password-file", type=FILE, help=f"File with the password. {FROM_VARIABLE}")
@click.option("--control", type=SOCKET, help="Path of a Unix socket that takes QMP commands, for its owner only.")
@click.option(
    "--incoming",
    metavar="URI",
    help="The embedded guest comes from another host: tcp:HOST:PORT or unix:PATH to wait at, or `defer` until told.",
)
@click.option(
    "--sharing",
    type=click.Choice(["take-over", "share", "refuse"]),
    default="take-over",
    show_default=True,
    help="When another viewer comes: it takes the guest over, shares it, or is turned away.",
)
@click.option("--share", "sharing", flag_value="share", help="The same as --sharing share.")
@click.option("--view-only", is_flag=True, help="Viewers may look, and not touch.")
@click.option(
    "--seamless-migration/--no-seamless-migration",
    default=True,
    help="Viewers that move with their guest keep the state of their channels.  [default: on]",
)
@click.option("--json", "as_json", is_flag=True, help="Say as JSON where it serves, and how it ended.")
def command(
    guest: str,
    password: str | None,
    password_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    control: Path | None,
    incoming: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Serve a guest to SPICE clients until Ctrl-C, SIGTERM or the control socket's `quit`.

    Says the URIs that viewers connect to, one a line, and what happens on the standard error.
    """
    if password is not None and password_file is not None:
        raise click.UsageError("give --password or --password-file, not both")
    if tls_cert is None and (tls_key is not None or options["tls_port"] is not None):
        raise click.UsageError("TLS needs --tls-cert")
    if tls_cert is not None and options["port"] is None and options["tls_port"] is None:
        raise click.UsageError("--tls-cert needs --port or --tls-port")
    if options["port"] is None and options["tls_port"] is None and options["unix_path"] is None:
        options["port"] = DEFAULT_PORT
    if tls_cert is not None:
        options["tls"] = (tls_cert, tls_key or tls_cert)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    async def work() -> dict[str, Any]:
        from caraway.endpoint.credentials import read_password

        told = read_password(password_file) if password_file is not None else password
        options["password"] = told if told is not None else os.environ.get(PASSWORD_VARIABLE)
        return await _serve(guest, control, incoming, options, as_json=as_json)

    run(work(), as_json=as_json)


async def _serve(
    name: str, control: Path | None, incoming: str | None, options: dict[str, Any], *, as_json: bool
) -> dict[str, Any]:
    from caraway.server import Server
    from caraway.wire.constants import ChannelType

    guest = await _guest(name)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _told, number, stop)
    viewers = 0

    def linked(channel: ServerChannel) -> None:
        nonlocal viewers
        viewers += channel.channel_type is ChannelType.MAIN

    async with contextlib.AsyncExitStack() as stack:
        server = Server(guest, **options)
        server.initialized.connect(linked)
        machine = _machine(guest, server, incoming)
        await stack.enter_async_context(server)
        if machine is not None:
            stack.push_async_callback(machine.aclose)
            await machine.start()
        if control is not None:
            from caraway.server.control import ControlSocket

            commands = machine.commands if machine is not None else None
            made = ControlSocket(server, control, quit=stop.set, commands=commands)
            await stack.enter_async_context(made)
            if machine is not None:
                machine.event.connect(made.emit)
        _announce(server, list(_uris(server, tls="tls" in options)), control, as_json=as_json)
        await _live(guest, stop)
        log.info("ending, with %d viewers", len(server.viewers))
    log.info("ended")
    return {"viewers": viewers}


def _machine(guest: Guest, server: Server, incoming: str | None) -> Machine | None:
    """What lets a guest move to another host, for the one that can."""
    from caraway.embedded import EmbeddedGuest, Machine

    if isinstance(guest, EmbeddedGuest):
        return Machine(guest, server, incoming=incoming)
    if incoming is not None:
        raise EndpointError("--incoming is for the embedded guest: another comes by its own ways")
    return None


def _told(number: int, stop: asyncio.Event) -> None:
    log.info("told to end by %s", signal.Signals(number).name)
    stop.set()


async def _guest(name: str) -> Guest:
    """A guest, made by what has that name."""
    from caraway.server import Guest

    place = GUESTS.get(name, name)
    module, _, path = place.partition(":")
    if not module or not path:
        raise EndpointError(f"guest {name!r}: expected {', '.join(GUESTS)} or MODULE:NAME")
    if place == name:
        sys.path.insert(0, os.getcwd())
    try:
        maker: Any = importlib.import_module(module)
        for part in path.split("."):
            maker = getattr(maker, part)
    except (ImportError, AttributeError) as error:
        raise EndpointError(f"guest {name!r}: {error}") from error
    made = maker() if callable(maker) else None
    if inspect.isawaitable(made):
        made = await made
    if not isinstance(made, Guest):
        raise EndpointError(f"guest {name!r}: expected something to call that gives a caraway.server.Guest")
    return made


async def _live(guest: Guest, stop: asyncio.Event) -> None:
    """Let the guest live until told to stop, or until its own `run` ends."""
    waiting = [asyncio.ensure_future(stop.wait())]
    if (living := getattr(guest, "run", None)) is not None:
        waiting.append(asyncio.ensure_future(living()))
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _announce(server: Server, uris: Sequence[str], control: Path | None, *, as_json: bool) -> None:
    """Say where to connect to, ready to be pasted."""
    if as_json:
        click.echo(json.dumps({"uris": uris, "control": control and str(control.absolute())}))
    else:
        click.echo("\n".join(uris))
    sys.stdout.flush()
    log.info("serving %s at %s", server.guest.name or "a guest", ", ".join(uris))
    if control is not None:
        log.info("taking commands at %s", control)
    if server.host not in HERE and not server.access.needs_password and (server.port or server.tls_port):
        log.warning(
            "without a password: whoever can reach this machine may look%s", "" if server.view_only else " and type"
        )


def _uris(server: Server, *, tls: bool) -> Iterator[str]:
    host = socket.gethostname() if server.host in EVERYWHERE else server.host
    host = f"[{host}]" if ":" in host else host
    if server.port is not None:
        yield f"spice://{host}:{server.port}"
    if tls:
        yield f"spice+tls://{host}:{server.port if server.tls_port is None else server.tls_port}"
    if server.unix_path is not None:
        yield f"spice+unix://{server.unix_path.absolute()}"
