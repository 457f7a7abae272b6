"""`caraway view` where there is nothing to see."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from caraway.cli import main
from support.peers import missing

MAIN = [sys.executable, "-W", "error", "-c", "from caraway.cli import main; main()", "view"]


@pytest.fixture
def qt() -> None:
    """Qt and the libraries that it needs."""
    try:
        import PySide6.QtWidgets  # noqa: F401
    except ImportError as error:
        missing(str(error), "pip install PySide6-Essentials")


def test_without_qt_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "PySide6" else found(name))
    result = CliRunner().invoke(main, ["view", "spice://localhost:1"])
    assert result.exit_code == 1
    assert "pip install 'caraway[viewer]'" in result.stderr


@pytest.mark.usefixtures("qt")
@pytest.mark.parametrize(
    ("uri", "code"), [("spice+unix:///nowhere/at/all", 5), ("nonsense", 2), ("spice://localhost:1", 5)]
)
def test_a_session_that_cannot_begin_has_an_exit_code(uri: str, code: int) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    ended = subprocess.run([*MAIN, uri], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code
    assert "caraway: " in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("qt")
def test_without_a_desktop_it_says_so() -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "xcb", "DISPLAY": ":nowhere"}
    ended = subprocess.run(
        [*MAIN, "spice://localhost:1"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "caraway: there can be no window: " in ended.stderr


def test_qt_is_loaded_for_a_window_only() -> None:
    program = "import sys, caraway.viewer, caraway.cli.view; sys.exit('PySide6' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
