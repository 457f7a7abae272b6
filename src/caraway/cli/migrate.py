"""`caraway migrate`: a VM moves, and its viewers with it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click

from caraway.cli.common import run
from caraway.errors import CarawayError, MigrationError

if TYPE_CHECKING:
    from caraway.qemu.migration_plan import MigrationReport, Plan, Progress
    from caraway.qemu.orchestrator import Listener

PORT = click.IntRange(1, 65534)


@click.command("migrate")
@click.option("--from", "source", required=True, metavar="QMP", help="Source's monitor: unix:PATH or tcp:HOST:PORT.")
@click.option("--to", "target", required=True, metavar="QMP", help="Monitor of the target, started with -incoming.")
@click.option(
    "--spice-from", metavar="QMP", help="Control socket of the source's SPICE server, if it is not QEMU's own."
)
@click.option("--spice-to", metavar="QMP", help="Target's SPICE server, as well.")
@click.option("--uri", required=True, help="Where the target takes the VM: tcp:HOST:PORT or unix:PATH.")
@click.option("--spice-host", required=True, help="The target's SPICE server, by a name that the viewers know.")
@click.option("--spice-port", type=PORT, help="Its plain port.")
@click.option("--tls-port", type=PORT, help="Its TLS port.")
@click.option("--cert-subject", help="Subject that its certificate must have.")
@click.option(
    "--ticket-file",
    type=click.File(encoding="utf-8"),
    help="File with the password to set on the target, - for stdin. It has to be the one that the viewers use.",
)
@click.option(
    "--ticket-lifetime", type=click.IntRange(min=1), default=60, show_default=True, help="Seconds that it is good for."
)
@click.option(
    "--link-deadline", type=click.FloatRange(0.1, 9.5), default=9.0, show_default=True, help="Seconds to link in."
)
@click.option("--reconnect", is_flag=True, help="Move also with viewers that have not linked; they connect anew.")
@click.option("--json", "as_json", is_flag=True, help="Say the result, or the error, as JSON.")
def command(
    source: str,
    target: str,
    spice_from: str | None,
    spice_to: str | None,
    spice_host: str,
    spice_port: int | None,
    tls_port: int | None,
    cert_subject: str | None,
    ticket_file: TextIO | None,
    ticket_lifetime: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Move a VM between two QEMUs, or the guest of two `caraway serve`, and let its viewers follow.

    Viewers link to the target first, then the VM moves. If anything fails before, the VM goes on at the source with
    its viewers, and the target is ended. Ctrl-C does the same.
    """
    if spice_port is None and tls_port is None:
        raise click.UsageError("give --spice-port, --tls-port or both")

    async def work() -> dict[str, Any]:
        from caraway.migration.destination import Destination
        from caraway.qemu.migration_plan import Plan, Ticket

        destination = Destination(spice_host, spice_port, tls_port, cert_subject)
        ticket = None
        if ticket_file is not None:
            ticket = Ticket(ticket_file.read().removesuffix("\n").removesuffix("\r"), ticket_lifetime)
        plan = Plan(destination=destination, ticket=ticket, **options)
        report = await _migrate(source, target, plan, spice_source=spice_from, spice_target=spice_to)
        if not as_json:
            _say(report)
        return report.as_json()

    run(work(), as_json=as_json)


async def _migrate(source: str, target: str, plan: Plan, **spice: str | None) -> MigrationReport:
    from caraway.qemu.orchestrator import migrate

    try:
        with _bar() as progress:
            return await migrate(source, target, plan, progress=progress, **spice)
    except asyncio.CancelledError as stopped:
        notes = "; ".join(getattr(stopped, "__notes__", ())) or "the VM goes on at the source"
        raise MigrationError(f"interrupted: {notes}") from stopped
    except CarawayError as error:
        for note in getattr(error, "__notes__", ()):
            click.echo(f"caraway: {note}", err=True)
        raise


@contextmanager
def _bar() -> Iterator[Listener | None]:
    """A progress bar on the standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description:10}"), BarColumn(), DownloadColumn(), TextColumn("{task.fields[rest]}"))
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("checking", total=None, rest="")

        def show(progress: Progress) -> None:
            done = None
            if progress.total and progress.remaining is not None:
                done = progress.total - progress.remaining
            bar.update(task, description=progress.phase, total=progress.total, completed=done, rest=_rest(progress))

        with contextlib.suppress(BrokenPipeError):
            yield show


def _rest(progress: Progress) -> str:
    if progress.total is None:
        return f"{progress.linked} of {progress.to_link} channels linked"
    said = f"{progress.transferred / 1e6:.1f} MB sent, {(progress.dirty_rate or 0) / 1e6:.1f} MB/s dirtied"
    if progress.expected_downtime is not None:
        said += f", downtime {progress.expected_downtime * 1000:.0f} ms expected"
    return said


def _say(report: MigrationReport) -> None:
    def in_ms(seconds: float | None) -> str:
        return "-" if seconds is None else f"{seconds * 1000:.0f} ms"

    for warning in report.warnings:
        click.echo(f"caraway: {warning}", err=True)
    click.echo(f"moved in {report.total_time:.2f} s, {report.transferred / 1e6:.1f} MB")
    click.echo(f"linked in {in_ms(report.link_time)}, downtime {in_ms(report.downtime)}")
    for viewer in report.viewers:
        lost = f"; not {', '.join(viewer.missing)}" if viewer.missing else ""
        kept = f", kept {', '.join(viewer.kept)}" if viewer.kept else ""
        click.echo(f"viewer {viewer.connection_id:08x}: {viewer.mode}{kept}{lost}")
    if not report.viewers:
        click.echo("no viewer")
