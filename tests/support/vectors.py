"""Test vectors: real payloads and the pixels that they stand for."""

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(os.environ.get("CARAWAY_VECTORS", Path(__file__).resolve().parents[3] / "shared" / "vectors"))


def _missing(reason: str) -> None:
    if os.environ.get("CARAWAY_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def _index() -> list[dict[str, Any]]:
    path = ROOT / "index.json"
    return json.loads(path.read_text())["vectors"] if path.exists() else []


def vectors(*codecs: str, only: set[str] | None = None) -> list[Any]:
    """Parameters for `parametrize("vector", ...)`: the entries of these codecs, or one None if there are no vectors.

    only: types to take.
    """
    entries = [entry for entry in _index() if entry["codec"] in codecs and (only is None or entry["type"] in only)]
    found = [pytest.param(entry, id=entry["name"]) for entry in entries]
    return found or [pytest.param(None, id="absent")]


def load(vector: dict[str, Any] | None) -> tuple[bytes, bytes]:
    """Payload and expected pixels. Skips without vectors or zstandard; fails if CARAWAY_REQUIRE_PEERS is 1."""
    if vector is None:
        _missing(f"no test vectors at {ROOT}: set CARAWAY_VECTORS")
    try:
        import zstandard
    except ImportError:
        _missing("vectors are compressed: pip install zstandard")
    payload = (ROOT / vector["enc"]).read_bytes()
    pixels = zstandard.ZstdDecompressor().decompress((ROOT / vector["expected"]).read_bytes(), max_output_size=1 << 28)
    return payload, pixels
