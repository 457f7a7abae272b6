"""Real peers that tests talk to: programs of the system, which may not be installed."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def require(program: str, install: str) -> str:
    """Return the path of `program`; skip the test without it, or fail it where CARAWAY_REQUIRE_PEERS=1.

    install: the one-line command that installs it.
    """
    path = shutil.which(program)
    if path is None:
        missing(f"{program} is not installed", install)
    return path


def missing(what: str, install: str) -> NoReturn:
    """Skip the test for want of something, or fail it where CARAWAY_REQUIRE_PEERS=1."""
    reason = f"{what}: {install}"
    if os.environ.get("CARAWAY_REQUIRE_PEERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_qemu() -> str:
    """Path of QEMU, with a compiler at hand for the demo guest."""
    require("gcc", "apt-get install gcc")
    return require("qemu-system-x86_64", "apt-get install qemu-system-x86")


def require_gstreamer(element: str) -> None:
    """GStreamer with an element of that name, which a server's encoders are made of."""
    package = "apt-get install gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
    inspect = require("gst-inspect-1.0", package)
    if subprocess.run([inspect, "--exists", element], check=False).returncode:
        require(f"GStreamer's {element}", package)


def require_folder(folder: Path, install: str) -> Path:
    """A folder that a package brings."""
    if not folder.is_dir():
        require(str(folder), install)
    return folder
