"""`caraway demo`: VMs of our own, looked at and typed at through SPICE, that move under their viewer."""

from __future__ import annotations

from pathlib import Path

import click

from caraway.cli.common import fail, run
from caraway.errors import OutputError


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default="caraway-demo",
    help="Folder of pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON.")
def command(output: Path, as_json: bool) -> None:
    """Start VMs, connect to their screen, type and click, and migrate them under the viewer.

    Leaves pictures of the screen before, during and after each migration, and a timeline of them all.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(OutputError(f"cannot make {output}: {error.strerror}"), as_json=as_json)
    from caraway.cli.demonstration import Demo

    run(Demo(output, quiet=as_json).run(), as_json=as_json)
