"""A short run of the fuzzer under the sanitizers; `make fuzz` is the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from caraway.codecs.kernels import cpu
from fuzz.targets import KERNELS, ROOT

PROJECT = Path(__file__).resolve().parents[2]
COUNT = 3000


@pytest.fixture(scope="session")
def sanitized() -> None:
    """Kernels built with the sanitizers."""
    if not ROOT.exists():
        if os.environ.get("CARAWAY_REQUIRE_PEERS") == "1":
            pytest.fail(f"no test vectors at {ROOT}: set CARAWAY_VECTORS")
        pytest.skip(f"no test vectors at {ROOT}: set CARAWAY_VECTORS")
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(command, cwd=PROJECT, env=os.environ | {"CARAWAY_SANITIZE": "1"}, check=True, timeout=600)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("sanitized")
@pytest.mark.parametrize("level", [*(["v4_asan"] if cpu.level() == "v4" else []), "v3_asan", "baseline_asan"])
def test_kernels_stand_damaged_payloads(level: str) -> None:
    command = [sys.executable, "tests/fuzz/run.py", "--count", str(COUNT), "--level", level]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == len(KERNELS)
