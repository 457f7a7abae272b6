"""`caraway view`: a window on a VM."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from caraway.cli.common import Server, fail, server_options
from caraway.endpoint import Endpoint
from caraway.errors import CarawayError


@click.command("view")
@server_options
@click.option("--fullscreen", is_flag=True, help="All of the screen; Shift+F11 switches.")
@click.option("--enlarge", is_flag=True, help="Make a picture that is smaller than the window larger.")
def command(server: Server, fullscreen: bool, enlarge: bool, as_json: bool) -> None:
    """Show the screen of the VM at URI, or that of a .vv file, in a window.

    The window follows a VM that moves. Needs Qt: pip install 'caraway[viewer]'
    """
    from caraway.viewer import view

    def begin(last: Endpoint | None) -> Any:
        if last is None:
            return dataclasses.replace(server, uri=endpoint).connect()
        # A host that the VM has moved to is known by what its predecessor said.
        return dataclasses.replace(server, uri=last, ca_file=None, host_subject=None).connect()

    try:
        endpoint = Endpoint.of(server.uri)
        view(
            begin,
            title=endpoint.title or "",
            fullscreen=fullscreen or endpoint.viewer.fullscreen,
            enlarge=enlarge,
        )
    except CarawayError as error:
        fail(error, as_json=as_json)
