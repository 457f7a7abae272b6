"""Real servers, shared by the tests of a session; all on the session's event loop."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
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


def small_machine(folder: Path, vga: str, **spice: Any) -> Qemu:
    """The small guest of the shared material."""
    return Qemu(
        folder / "vmlinuz",
        initrd=folder / "small.cpio",
        append=KERNEL_ARGUMENTS,
        memory=192,
        vga=vga,
        name="small",
        extra=TABLET,
        spice={"disable-ticketing": True, **spice},
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def small_machines(small_guest: Path) -> AsyncIterator[dict[tuple[str, str], Qemu]]:
    """Small guests by graphics card and the server's image compression, all up."""
    wanted: dict[tuple[str, str], dict[str, Any]] = {
        ("std", "default"): {},
        ("std", "off"): {"image-compression": "off"},
        ("qxl", "default"): {},
        ("qxl", "off"): {"image-compression": "off"},
        ("qxl", "streaming"): {"streaming-video": "all"},
    }
    async with AsyncExitStack() as stack:
        machines = {key: small_machine(small_guest, key[0], **spice) for key, spice in wanted.items()}
        for vm in machines.values():
            await stack.enter_async_context(vm)
        await asyncio.gather(*(vm.wait_for("@ready", BOOT_DEADLINE) for vm in machines.values()))
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
