"""Which method of a channel takes which message: marked where the method is, collected where the class is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from caraway.wire.messages.base import Message

_H = TypeVar("_H", bound=Callable[..., Any])
Handler = Callable[[Any, Any], Awaitable[None] | None]


def handles(*messages: type[Message]) -> Callable[[_H], _H]:
    """Mark a method as the handler of messages."""

    def mark(method: _H) -> _H:
        method.__dict__["handled"] = messages
        return method

    return mark


def handlers_of(cls: type) -> dict[int, tuple[type[Message], Handler]]:
    """The message and handler of each number that a class or one that it inherits from handles."""
    found: dict[int, tuple[type[Message], Handler]] = {}
    for owner in reversed(cls.__mro__):
        for method in vars(owner).values():
            for message in getattr(method, "handled", ()):
                found[message.id] = (message, method)
    return found
