"""What a running program said, kept until somebody asks for it; waits are woken by the message itself."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Messages in order, each given out once; the oldest are forgotten beyond a limit."""

    def __init__(self, limit: int) -> None:
        self._unread: deque[T] = deque(maxlen=limit)
        self._waiting: list[tuple[Callable[[T], bool], asyncio.Future[T]]] = []
        self._ending: Exception | None = None

    def put(self, message: T) -> None:
        """Give a message to the first who waits for such a one, or keep it."""
        for wants, future in self._waiting:
            if not future.done() and wants(message):
                future.set_result(message)
                return
        self._unread.append(message)

    def expect(self, wants: Callable[[T], bool], *, fresh: bool = False) -> asyncio.Future[T]:
        """Return a future of the first message that `wants` accepts.

        fresh: leave alone what has already arrived.
        The future fails with the error that `end` was given.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not fresh:
            for index, message in enumerate(self._unread):
                if wants(message):
                    del self._unread[index]
                    future.set_result(message)
                    return future
        if self._ending is not None:
            future.set_exception(self._ending)
            return future
        waiting = (wants, future)
        self._waiting.append(waiting)
        future.add_done_callback(lambda _: self._waiting.remove(waiting))
        return future

    def end(self, error: Exception) -> None:
        """Nothing more will come: fail everyone who waits, now and later, with `error`."""
        self._ending = error
        for _, future in tuple(self._waiting):
            if not future.done():
                future.set_exception(error)
