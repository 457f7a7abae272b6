"""Builds the compiled kernels: every Cython module of the `kernels` packages, once for each level of processor.

A level is a folder beside the sources; `caraway.codecs.kernels` chooses one at import. Generated C stays in build/.
With CARAWAY_SANITIZE=1 it builds those of the fuzzer instead.
"""

import os
import platform
import shutil
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent.resolve()
GENERATED = ROOT / "build" / "kernels"
PACKAGES = ("caraway/codecs/kernels", "caraway/canvas/kernels", "caraway/client/kernels")
SHIM = Path("src/caraway/codecs/kernels")

LEVELS: dict[str, list[str]] = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    LEVELS["v3"] = ["-march=x86-64-v3"]
    LEVELS["v4"] = ["-march=x86-64-v4"]

WIDER = ("glz_decode", "lz_decode")
"""Kernels that gain by v4: the others are not built for it."""

if os.environ.get("CARAWAY_SANITIZE"):
    CHECKS = ["-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    LEVELS = {f"{level}_asan": [*options, *CHECKS] for level, options in LEVELS.items()}


def place(source: Path, target: Path) -> str:
    """Copy a source to where its module's name puts it; one that has not changed keeps its time, and its C."""
    if not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)
    return str(target.relative_to(ROOT))


def make_packages(folder: Path) -> None:
    """Mark the copies as packages: Cython prefers those to a bare root, even those of an installed Caraway."""
    folder.mkdir(parents=True, exist_ok=True)
    while folder != GENERATED:
        (folder / "__init__.py").touch()
        folder = folder.parent


def extensions() -> list[Extension]:
    """One extension for each kernel and level; declarations shared by all are found from the root of the copies."""
    found = []
    for package in PACKAGES:
        folder, copies = ROOT / "src" / package, GENERATED / package
        for level, options in LEVELS.items():
            if level.startswith("v4") and not any((folder / f"{kernel}.py").exists() for kernel in WIDER):
                continue
            (folder / level).mkdir(exist_ok=True)
            make_packages(copies / level)
            for declarations in folder.glob("*.pxd"):
                place(declarations, copies / declarations.name)
                place(declarations, copies / level / declarations.name)
            for kernel in sorted(folder.glob("[a-z]*.py")):
                if level.startswith("v4") and kernel.stem not in WIDER:
                    continue
                found.append(
                    Extension(
                        f"{package.replace('/', '.')}.{level}.{kernel.stem}",
                        [place(kernel, copies / level / kernel.name)],
                        include_dirs=[str(SHIM)],
                        depends=["setup.py", *map(str, SHIM.glob("*.h"))],
                        define_macros=[("Py_LIMITED_API", "0x030B0000"), ("CYTHON_LIMITED_API", "1")],
                        extra_compile_args=["-O3", "-g0", *options],
                        extra_link_args=[option for option in options if option.startswith("-fsanitize")],
                        py_limited_api=True,
                    )
                )
    return found


DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}

setup(
    ext_modules=cythonize(extensions(), include_path=[str(GENERATED)], compiler_directives=DIRECTIVES, quiet=True),
    options={"bdist_wheel": {"py_limited_api": "cp311"}, "build_ext": {"parallel": os.cpu_count()}},
)
