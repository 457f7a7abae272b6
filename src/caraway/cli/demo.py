"""`caraway demo`: guests looked at and typed at through SPICE, that move under their viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caraway.cli.common import fail, run
from caraway.errors import OutputError

if TYPE_CHECKING:
    from caraway.cli.demo_hosts import World


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default="caraway-demo",
    help="Folder of pictures.",
)
@click.option("--qemu", is_flag=True, help="Real VMs: QEMU and its SPICE server, in place of Caraway's own.")
@click.option("--view", is_flag=True, help="Show it in a window, too.")
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON.")
def command(output: Path, qemu: bool, view: bool, as_json: bool) -> None:
    """Start guests, connect to their screen, type and click, and migrate them under the viewer.

    Leaves pictures of the screen before, during and after each migration, and a timeline of them all.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(OutputError(f"cannot make {output}: {error.strerror}"), as_json=as_json)
    from caraway.cli.demonstration import Demo

    world: World[Any]
    if qemu:
        from caraway.cli.qemu_hosts import QemuWorld

        world = QemuWorld()
    else:
        from caraway.cli.embedded_hosts import EmbeddedWorld

        world = EmbeddedWorld()
    run(Demo(world, output, quiet=as_json, view=view).run(), as_json=as_json)
