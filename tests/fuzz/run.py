"""Damaged payloads into every compiled kernel, built with AddressSanitizer and UndefinedBehaviorSanitizer.

    python tests/fuzz/run.py [KERNEL...] [--count 1000000] [--level v3_asan] [--seed 1]

Builds of the kernels for it: CARAWAY_SANITIZE=1 python setup.py build_ext --inplace. A payload at which a kernel
crashes, or raises anything but CodecError or ProtocolError, is kept in tests/fuzz/found/.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
FOUND = HERE / "found"
SANITIZERS = ("libasan.so", "libubsan.so")
LARGEST = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="*", metavar="KERNEL")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--level", default="v3_asan")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        fuzz(options.kernels[0], options.count, options.seed)
        return
    sys.path.insert(0, str(HERE.parent))
    from fuzz.targets import KERNELS

    failed = [name for name in options.kernels or KERNELS if not run(name, options.count, options.level, options.seed)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def run(name: str, count: int, level: str, seed: int) -> bool:
    """Fuzz one kernel in a process of its own; whether it stood."""
    libraries = [
        subprocess.run(
            ["gcc", f"-print-file-name={library}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for library in SANITIZERS
    ]
    environment = os.environ | {
        "CARAWAY_KERNELS": level,
        "LD_PRELOAD": ":".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    command = [sys.executable, __file__, name, "--child", "--count", str(count), "--seed", str(seed)]
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    if done.returncode:
        print(f"{name:<10} {level:<14} FAILED after {took:.0f} s\n{done.stderr[-6000:]}", flush=True)
        return False
    outcome = json.loads(done.stdout)
    print(
        f"{name:<10} {level:<14} {outcome['payloads']:>9} payloads: {outcome['decoded']} decoded,"
        f" {outcome['refused']} refused, {took:.0f} s",
        flush=True,
    )
    return True


def fuzz(name: str, count: int, seed: int) -> None:
    """In a child: the payload of now lies in a file that outlives a crash."""
    sys.path.insert(0, str(HERE.parent))
    from caraway.errors import ProtocolError
    from fuzz.mutate import mutations
    from fuzz.targets import KERNELS

    kernel = KERNELS[name]()
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{name}-{os.getpid()}"
    with path.open("w+b") as file:
        file.truncate(LARGEST)
        now = mmap.mmap(file.fileno(), LARGEST)
        decoded = refused = 0
        for payload in itertools.islice(mutations(kernel.seeds, seed), count):
            now[:4] = len(payload).to_bytes(4, "little")
            now[4 : 4 + len(payload)] = payload
            try:
                kernel.target(payload)
                decoded += 1
            except ProtocolError:
                refused += 1
    path.unlink()
    print(json.dumps({"payloads": count, "decoded": decoded, "refused": refused}))


if __name__ == "__main__":
    main()
