"""`caraway type`: text as keys."""

from __future__ import annotations

from typing import Any

import click

from caraway.cli.common import Server, run, server_options


@click.command("type")
@server_options
@click.argument("text")
@click.option("--enter", is_flag=True, help="Press Enter after the text.")
@click.option("--interval", type=click.FloatRange(min=0), default=0.02, show_default=True, help="Seconds between keys.")
def command(server: Server, text: str, enter: bool, interval: float, as_json: bool) -> None:
    """Type TEXT at the VM at URI, as keys of a US layout."""
    run(_type(server, text + "\n" * enter, interval), as_json=as_json)


async def _type(server: Server, text: str, interval: float) -> dict[str, Any]:
    from caraway.client import keyboard

    # A `.vv` file may vanish once it is read: not for a text that cannot be typed.
    keyboard.strokes(text)
    async with server.connect(channels=["inputs"]) as session:
        await session.inputs.type(text, interval=interval)
    return {"typed": len(text)}
