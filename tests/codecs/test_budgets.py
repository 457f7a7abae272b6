"""Budgets of the compiled kernels: instructions and mispredictions a pixel, counted by valgrind."""

import subprocess
import sys
from pathlib import Path

import pytest

from caraway.codecs.kernels import cpu
from support.peers import require

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "codecs.py"


@pytest.mark.parametrize("level", ["baseline", "v3"])
def test_kernels_keep_to_their_budgets(level):
    if level == "v3" and cpu.level() == "baseline":
        pytest.skip("this processor does not run the v3 kernels")
    require("valgrind", "apt-get install valgrind")
    command = [sys.executable, str(BENCHMARK), "--check", "--level", level]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
