"""The demo guest's kernel: built from the sources in `guest/` when first needed, then kept in the user's cache."""

import hashlib
import os
import platform
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from caraway.errors import CarawayError
from caraway.qemu.programs import find_program

FLAGS = (
    *("-m32", "-O2", "-std=gnu11", "-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-no-pie"),
    *("-fno-stack-protector", "-fcf-protection=none", "-mgeneral-regs-only", "-fno-asynchronous-unwind-tables"),
    *("-fno-tree-loop-distribute-patterns", "-Wl,-T,kernel.ld", "-Wl,--build-id=none"),
)


class GuestImageError(CarawayError):
    """The demo guest could not be compiled or kept; says what the compiler or the system said."""


def demo_guest() -> Path:
    """Return the demo guest's kernel, a Multiboot image for QEMU's `-kernel`; builds it when the cache has none.

    The cache is `caraway/` in XDG_CACHE_HOME or ~/.cache, keyed by the sources. Blocks about a second to compile.
    Raises MissingProgramError without a compiler for x86, GuestImageError when it cannot build or write.
    """
    sources = _sources()
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for name, content in sorted(sources.items()):
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    image = _cache_folder() / f"demo-guest-{digest.hexdigest()[:16]}.elf"
    try:
        if not image.is_file():
            image.parent.mkdir(parents=True, exist_ok=True)
            _build(sources, image)
    except OSError as error:
        raise GuestImageError(f"cannot keep the demo guest as {image}: {error}; set XDG_CACHE_HOME") from error
    return image


def _sources() -> dict[str, bytes]:
    folder = resources.files("caraway.qemu") / "guest"
    return {
        entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith((".c", ".h", ".S", ".ld"))
    }


def _cache_folder() -> Path:
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if os.path.isabs(configured) else Path.home() / ".cache"
    return base / "caraway"


def _compiler() -> str:
    purpose = "compile the demo guest"
    if platform.machine().lower() in ("x86_64", "amd64", "i386", "i686"):
        return find_program(("gcc", "cc", "clang"), purpose, "apt-get install gcc")
    return find_program(("i686-linux-gnu-gcc", "x86_64-linux-gnu-gcc"), purpose, "apt-get install gcc-i686-linux-gnu")


def _build(sources: dict[str, bytes], image: Path) -> None:
    """Compile in a folder beside the image and move the result into place, so that builds at the same time agree."""
    compiler = _compiler()
    with tempfile.TemporaryDirectory(prefix="build-", dir=image.parent) as folder:
        for name, content in sources.items():
            Path(folder, name).write_bytes(content)
        units = sorted(name for name in sources if name.endswith((".c", ".S")))
        command = [compiler, *FLAGS, "-o", "guest.elf", *units]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        if result.returncode:
            raise GuestImageError(f"{compiler} cannot compile the demo guest:\n{result.stderr.strip()[-2000:]}")
        os.replace(Path(folder, "guest.elf"), image)
