"""Signals: how a guest tells whoever listens that something has happened, without knowing who that is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec

log = logging.getLogger(__name__)

P = ParamSpec("P")


class Signal(Generic[P]):
    """Something that happens. Calling it calls every listener, in the order in which they came.

    A listener that fails is logged and hinders no other: one viewer's trouble is not the guest's.
    """

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[P, object]] = {}

    def connect(self, listener: Callable[P, object]) -> Callable[[], None]:
        """Call `listener` each time, until the function is called that this gives."""
        key = object()
        self._listeners[key] = listener

        def disconnect() -> None:
            self._listeners.pop(key, None)

        return disconnect

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(*args, **kwargs)
            except Exception:
                log.exception("a listener failed")

    def __len__(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def __bool__(self) -> bool:
        return True
