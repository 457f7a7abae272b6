"""A window on a VM, made with Qt (the extra `viewer`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from caraway.errors import CarawayError

if TYPE_CHECKING:
    from caraway.client.connect import Connecting
    from caraway.client.session import Session
    from caraway.endpoint import Endpoint

INSTALL = "pip install 'caraway[viewer]'"


def view(
    connect: Callable[[Endpoint | None], Connecting],
    *,
    title: str = "",
    fullscreen: bool = False,
    enlarge: bool = False,
) -> None:
    """Show a window until it is closed, or the process gets SIGINT or SIGTERM. Call it in the main thread.

    connect: begins a session; when the user wants to reconnect it gets the endpoint of the last one, before that None.
    enlarge: a picture smaller than the window is made larger.
    Raises CarawayError if Qt cannot be used, or what the first session could not begin with. Where there is no desktop
    Qt ends the process; the reason is said on the standard error.
    """
    _window().show(connect, title=title, fullscreen=fullscreen, enlarge=enlarge)


async def show_session(session: Session, *, title: str = "", fullscreen: bool = False, enlarge: bool = False) -> None:
    """Show a session that a program has, beside what else it does with it, until the window is closed.

    Returns, too, when the session is over; being cancelled closes the window. The session stays the caller's. The
    program's own loop looks after the window, and has to be that of the main thread.
    Raises CarawayError if Qt cannot be used, as `view` does.
    """
    await _window().show_session(session, title=title, fullscreen=fullscreen, enlarge=enlarge)


def _window() -> ModuleType:
    """What needs Qt."""
    if importlib.util.find_spec("PySide6") is None:
        raise CarawayError(f"the viewer needs Qt: {INSTALL}")
    try:
        from caraway.viewer import window
    except ImportError as error:
        raise CarawayError(f"Qt cannot be loaded ({error}); it needs libEGL, libGL and libxkbcommon") from None
    return window
