"""`caraway screenshot`: a picture of the screen in a file."""

from __future__ import annotations

from typing import Any

import click

from caraway.cli.common import Server, run, server_options
from caraway.errors import LinkError, OutputError


@click.command("screenshot")
@server_options
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, writable=True), help="File to write.")
@click.option("--display", type=click.IntRange(min=0), default=0, show_default=True, help="Which display.")
@click.option("--stable", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait until nothing changes so long.")
def command(server: Server, output: str, display: int, stable: float | None, as_json: bool) -> None:
    """Save a picture of the screen of the VM at URI.

    The file's suffix says the format: .png, .jpg, .webp and what else Pillow writes.
    """
    run(_screenshot(server, output, display, stable), as_json=as_json)


async def _screenshot(server: Server, output: str, number: int, stable: float | None) -> dict[str, Any]:
    async with server.connect(channels=["display"]) as session:
        displays = {display.id: display for display in session.displays}
        if number not in displays:
            raise LinkError(f"{session.endpoint}: there is no display {number}, but {sorted(displays)}")
        display = displays[number]
        if stable is None:
            await display.ready(server.timeout)
        else:
            await display.wait_stable(stable, stable + server.timeout)
        picture = display.screenshot()
    try:
        picture.save(output)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {output}: {error}") from None
    return {"file": output, "width": picture.width, "height": picture.height}
