"""`caraway key`: chords."""

from __future__ import annotations

from typing import Any

import click

from caraway.cli.common import Server, run, server_options


@click.command("key")
@server_options
@click.argument("chords", nargs=-1, required=True, metavar="CHORD...")
def command(server: Server, chords: tuple[str, ...], as_json: bool) -> None:
    """Press each CHORD at the VM at URI: key names joined by +, such as ctrl+alt+f2, enter or F10."""
    run(_press(server, chords), as_json=as_json)


async def _press(server: Server, chords: tuple[str, ...]) -> dict[str, Any]:
    from caraway.client import keyboard

    for chord in chords:
        keyboard.chord(chord)
    async with server.connect(channels=["inputs"]) as session:
        for chord in chords:
            await session.inputs.press(chord)
    return {"pressed": list(chords)}
