"""Real servers, shared by the tests of a session; all on the session's event loop."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from caraway.qemu.guest_image import demo_guest
from caraway.qemu.process import Qemu
from support.certificates import Authority
from support.peers import require, require_qemu

ROOT = Path(__file__).resolve().parents[2]
GUESTS = Path(os.environ.get("CARAWAY_GUESTS", ROOT / ".cache" / "guests"))
BUILD = Path(os.environ.get("CARAWAY_SHARED", ROOT.parent / "shared")) / "guest" / "build"

KERNEL_ARGUMENTS = "console=ttyS0 quiet vt.global_cursor_default=0 tsc=unstable nokaslr"
TABLET = (
    *("-device", "ich9-usb-ehci1,id=usb"),
    *("-device", "ich9-usb-uhci1,masterbus=usb.0,firstport=0,multifunction=on"),
    *("-device", "usb-tablet,bus=usb.0"),
)
BOOT_DEADLINE = 110.0


@pytest.fixture(scope="session")
def small_guest() -> Path:
    """Folder with the small guest's kernel and initial file system; built when it is not there."""
    require_qemu()
    if not (GUESTS / "small.cpio").is_file():
        if not BUILD.is_file():
            reason = f"no small guest in {GUESTS} and nothing to build it with at {BUILD}"
            if os.environ.get("CARAWAY_REQUIRE_PEERS") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        for program, package in ("apt-get", "apt"), ("dpkg", "dpkg"), ("gcc", "gcc"):
            require(program, f"apt-get install {package}")
        subprocess.run([BUILD, GUESTS, "small"], check=True, capture_output=True)
    return GUESTS


def small_machine(folder: Path, vga: str, *extra: str, **spice: Any) -> Qemu:
    """The small guest of the shared material."""
    return Qemu(
        folder / "vmlinuz",
        initrd=folder / "small.cpio",
        append=KERNEL_ARGUMENTS,
        memory=192,
        vga=vga,
        name="small",
        extra=(*TABLET, *extra),
        spice={"disable-ticketing": True, **spice},
    )


async def save(vm: Qemu, path: Path) -> None:
    """Write the state of a VM to a file, and let it go on."""
    await vm.qmp("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
    await vm.qmp("migrate", uri=f"exec:cat > {path}")
    await vm.wait_event("MIGRATION", status="completed")
    async with asyncio.timeout(10):
        # No event tells when QEMU has done with it.
        while (await vm.qmp("query-status"))["status"] != "postmigrate":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await vm.qmp("cont")


async def restore(vm: Qemu, path: Path) -> None:
    """Let a VM that was started with `-incoming defer` go on from a file."""
    await vm.qmp("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
    await vm.qmp("migrate-incoming", uri=f"exec:cat {path}")
    await vm.wait_event("MIGRATION", status="completed")


class SmallGuests:
    """Small guests, all up. Booting takes six seconds of a core, so each card's guest boots once; others go on from
    its state.
    """

    def __init__(self, guest: Path, states: Path) -> None:
        self.guest = guest
        self.states = states
        self.machines: dict[tuple[str, str], Qemu] = {}

    @asynccontextmanager
    async def another(self, vga: str, **spice: Any) -> AsyncIterator[Qemu]:
        """One more, with options of its SPICE server."""
        async with small_machine(self.guest, vga, "-incoming", "defer", **spice) as vm:
            await restore(vm, self.states / vga)
            yield vm

    @asynccontextmanager
    async def awaiting(self, vga: str = "qxl", **spice: Any) -> AsyncIterator[Qemu]:
        """A QEMU that such a guest can move to."""
        async with small_machine(self.guest, vga, "-incoming", "defer", **spice) as vm:
            yield vm

    async def load(self, vm: Qemu, vga: str) -> None:
        """Let one that awaits a guest go on from its state."""
        await restore(vm, self.states / vga)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def small_guests(small_guest: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SmallGuests]:
    """One guest for each graphics card runs, with the server's own settings; more can be had from their states."""
    guests = SmallGuests(small_guest, tmp_path_factory.mktemp("states"))
    async with AsyncExitStack() as stack:
        for vga in "std", "qxl":
            guests.machines[vga, "default"] = await stack.enter_async_context(small_machine(small_guest, vga))
        await asyncio.gather(*(vm.wait_for("@ready", BOOT_DEADLINE) for vm in guests.machines.values()))
        for vga in "std", "qxl":
            await save(guests.machines[vga, "default"], guests.states / vga)
        yield guests
    shutil.rmtree(guests.states)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def small_machines(small_guests: SmallGuests) -> AsyncIterator[dict[tuple[str, str], Qemu]]:
    """Small guests by graphics card and what is special about the server."""
    special: dict[tuple[str, str], dict[str, Any]] = {
        ("std", "off"): {"image-compression": "off"},
        ("qxl", "off"): {"image-compression": "off"},
        ("qxl", "streaming"): {"streaming-video": "all"},
    }
    async with AsyncExitStack() as stack:
        machines = dict(small_guests.machines)
        for (vga, name), spice in special.items():
            machines[vga, name] = await stack.enter_async_context(small_guests.another(vga, **spice))
        yield machines


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo_vm() -> AsyncIterator[Qemu]:
    """The demo guest, still, its server open to everyone at an IPv4 address."""
    require_qemu()
    async with Qemu(demo_guest(), spice={"disable-ticketing": True}) as vm:
        await vm.wait_for("@ready")
        await vm.ask("freeze", "@ok")
        await vm.ask("pointer on", "@ok")
        yield vm


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def certificates(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's `x509-dir`: subject C, O and CN, and an alternative name for localhost only."""
    subject = [("C", "DE"), ("O", "Caraway, Inc."), ("CN", "console.test")]
    return authority.issue(tmp_path_factory.mktemp("x509") / "server", subject, dns=["localhost"], ip=["::1"])


@pytest.fixture(scope="session")
def sasl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SASL_CONF_PATH with a database in which alice has the password `pw-secret`."""
    saslpasswd = shutil.which("saslpasswd2") or shutil.which("saslpasswd2", path="/usr/sbin:/sbin")
    program = saslpasswd or require("saslpasswd2", "apt-get install sasl2-bin libsasl2-modules")
    folder = tmp_path_factory.mktemp("sasl")
    database = folder / "users"
    for name in "qemu.conf", "spice.conf":
        (folder / name).write_text(
            "mech_list: scram-sha-256 plain\npwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
            f"sasldb_path: {database}\n"
        )
    subprocess.run([program, "-p", "-c", "-f", database, "-u", "caraway", "alice"], input=b"pw-secret", check=True)
    return folder
