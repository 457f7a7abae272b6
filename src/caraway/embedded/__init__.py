"""A small guest of our own: a desktop that moves, listens and makes sounds, for demonstrations and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caraway.lazy import importer

if TYPE_CHECKING:
    from caraway.embedded.guest import EmbeddedGuest
    from caraway.embedded.machine import Machine

_LAZY = {"EmbeddedGuest": "caraway.embedded.guest", "Machine": "caraway.embedded.machine"}

__all__ = ["EmbeddedGuest", "Machine"]

__getattr__ = importer(globals(), _LAZY)
