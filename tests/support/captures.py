"""Recorded sessions of real servers, for parametrized tests."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(os.environ.get("CARAWAY_CAPTURES", Path(__file__).resolve().parents[3] / "shared" / "captures"))


def captures() -> list[Any]:
    """Parameters for `parametrize("path", ...)`: every capture, or None if there are none."""
    found = [pytest.param(path, id=path.name.removesuffix(".cap.xz")) for path in sorted(ROOT.glob("*.cap.xz"))]
    return found or [pytest.param(None, id="absent")]


def require(path: Path | None) -> Path:
    """The capture. Skips without one; fails if CARAWAY_REQUIRE_PEERS is 1."""
    if path is None:
        reason = f"no captures at {ROOT}: set CARAWAY_CAPTURES"
        if os.environ.get("CARAWAY_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def facts(path: Path) -> dict[str, Any]:
    """What the index says about a capture."""
    found: dict[str, Any] = json.loads((ROOT / "index.json").read_text())[path.name.removesuffix(".cap.xz")]
    return found
