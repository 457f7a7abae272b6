"""`caraway demo`: a VM of our own, looked at, typed at and clicked at through SPICE."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caraway.cli.common import run

if TYPE_CHECKING:
    from caraway.client import Session
    from caraway.qemu.process import Qemu

TEXT = "Hello from Caraway: SPICE in Python."
CLICK = (520, 430)
FRAMES = 20

Step = Callable[["Demo"], Awaitable[str]]


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
    """Start a VM, connect to its screen, type, click, and leave pictures of it."""
    output.mkdir(parents=True, exist_ok=True)
    run(_demo(output, as_json=as_json), as_json=as_json)


class Demo:
    """The VM and the session that the steps work with."""

    def __init__(self, qemu: Qemu, session: Session, folder: Path) -> None:
        self.qemu = qemu
        self.session = session
        self.folder = folder
        self.pictures: list[str] = []

    def picture(self, name: str) -> Path:
        """Save what the screen shows."""
        path = self.folder / f"{name}.png"
        self.session.display.screenshot().save(path)
        self.pictures.append(str(path))
        return path


async def _look(demo: Demo) -> str:
    width, height = demo.session.display.size
    return f"{width}x{height} pixels, {demo.picture('1-connected')}"


async def _type(demo: Demo) -> str:
    await demo.session.inputs.type(TEXT + "\n")
    heard = (await demo.qemu.wait_for("@line")).removeprefix("@line ")
    await _settle(demo)
    return f"the guest read {heard!r}, {demo.picture('2-typed')}"


async def _press(demo: Demo) -> str:
    await demo.session.inputs.press("capslock")
    lamps = await demo.qemu.wait_for("@led")
    await demo.session.inputs.press("capslock")
    await demo.qemu.wait_for("@led")
    return f"Caps Lock pressed twice; the guest lit its lamp ({lamps}) and put it out"


async def _click(demo: Demo) -> str:
    await demo.session.inputs.click(*CLICK)
    heard = await demo.qemu.wait_for("@button")
    await demo.qemu.wait_for("@button")
    await _settle(demo)
    return f"at {CLICK}, the guest says {heard}, {demo.picture('3-clicked')}"


async def _watch(demo: Demo) -> str:
    frames = demo.session.display.frames()
    began = time.monotonic()
    for _ in range(FRAMES):
        await anext(frames)
    await frames.aclose()
    return f"{FRAMES} changes of the picture in {time.monotonic() - began:.1f} s"


async def _compare(demo: Demo) -> str:
    import io

    from PIL import Image

    await demo.qemu.ask("freeze", "@ok")
    await demo.session.display.wait_stable()
    with Image.open(io.BytesIO(await demo.qemu.screendump())) as truth:
        own = demo.session.display.screenshot()
        if truth.convert("RGB").tobytes() != own.rgb:
            raise click.ClickException("the picture differs from QEMU's own screendump")
    return f"all {own.width * own.height:,} pixels equal QEMU's own screendump"


async def _settle(demo: Demo) -> None:
    """One more change of the counter shows that what was drawn before it has arrived."""
    frames = demo.session.display.frames()
    for _ in range(3):
        await anext(frames)
    await frames.aclose()


STEPS: dict[str, Step] = {
    "look": _look,
    "type": _type,
    "press": _press,
    "click": _click,
    "watch": _watch,
    "compare": _compare,
}


async def _demo(folder: Path, *, as_json: bool) -> dict[str, Any]:
    logging.getLogger("caraway").addHandler(logging.NullHandler())
    told: dict[str, str] = {}

    def tell(step: str, what: str, began: float) -> None:
        told[step] = what
        if not as_json:
            click.echo(f"{time.monotonic() - began:6.2f} s  {step:8} {what}")

    async with _machine(tell) as (qemu, session):
        demo = Demo(qemu, session, folder)
        for name, step in STEPS.items():
            began = time.monotonic()
            tell(name, await step(demo), began)
    return {"steps": told, "pictures": demo.pictures}


@asynccontextmanager
async def _machine(tell: Callable[[str, str, float], None]) -> AsyncIterator[tuple[Qemu, Session]]:
    from caraway.client import connect
    from caraway.qemu.guest_image import demo_guest
    from caraway.qemu.process import Qemu

    began = time.monotonic()
    kernel = await asyncio.to_thread(demo_guest)
    tell("build", f"the guest's kernel, {kernel.stat().st_size:,} bytes", began)
    began = time.monotonic()
    async with Qemu(kernel, spice={"disable-ticketing": True}, memory=32, name="caraway-demo") as qemu:
        tell("boot", f"{await qemu.wait_for('@ready')} on QEMU's serial line", began)
        began = time.monotonic()
        async with connect(qemu.spice_uri()) as session:
            await session.display.ready()
            tell("connect", f"{qemu.spice_uri()}, VM {session.main.vm_name!r}", began)
            yield qemu, session
