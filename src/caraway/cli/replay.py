"""`caraway replay`: a recorded session through the client, and the picture that it leaves."""

from __future__ import annotations

import resource
import time
from typing import Any

import click

from caraway.cli.common import run
from caraway.errors import LinkError, OutputError


@click.command("replay")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("-o", "--output", type=click.Path(dir_okay=False, writable=True), help="File for the last picture.")
@click.option("--display", type=click.IntRange(min=0), default=0, show_default=True, help="Which display.")
@click.option("--stats", is_flag=True, help="Say what it took.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=120.0, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="Say the result, or the error, as JSON.")
def command(file: str, output: str | None, display: int, stats: bool, timeout: float, as_json: bool) -> None:
    """Put a recorded session through the client as fast as it goes, and save the picture that it leaves.

    FILE is a capture as the recorder of this project writes it, also compressed (.xz, .gz). With --stats: seconds and
    CPU seconds from the first link to the last drawn message, CPU seconds in all, peak memory, messages. A message that
    the recording's end cuts off is left out, with a warning.
    """
    run(_replay(file, output, display, stats, timeout, as_json), as_json=as_json)


async def _replay(
    file: str, output: str | None, number: int, stats: bool, timeout: float, as_json: bool
) -> dict[str, Any]:
    from caraway.client.deadline import deadline
    from caraway.client.replay import Recording, replaying

    recording = Recording(file)
    try:
        began, cpu_began = time.perf_counter(), time.process_time()
        async with deadline(timeout, f"{file}: the last message"), replaying(recording) as session:
            await session.until(recording.finished.wait())
            seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
            messages = sum(channel.processed_serial for channel in session.channels.values())
            displays = {channel.id: channel for channel in session.displays}
            if number not in displays:
                raise LinkError(f"{file}: there is no display {number}, but {sorted(displays)}")
            picture = None
            if output is not None:
                await displays[number].arrived()
                picture = displays[number].screenshot()
    finally:
        recording.close()
    for name in recording.cut:
        click.echo(f"caraway: {file}: {name} ends within a message, which is left out", err=True)
    result: dict[str, Any] = {"file": output}
    if picture is not None and output is not None:
        try:
            picture.save(output)
        except (OSError, ValueError) as error:
            raise OutputError(f"cannot write {output}: {error}") from None
        result |= {"width": picture.width, "height": picture.height}
    if stats:
        result |= {
            "seconds": round(seconds, 4),
            "cpu_seconds": round(cpu_seconds, 4),
            "cpu_total": round(time.process_time(), 4),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "messages": messages,
        }
        if not as_json:
            for name in ("seconds", "cpu_seconds", "cpu_total", "peak_mib", "messages"):
                click.echo(f"{name:<12} {result[name]}")
    return result
