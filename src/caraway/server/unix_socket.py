"""Unix sockets that listen: for their owner only, and gone from the file system when they end."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from caraway.errors import LinkError

PROBE_DEADLINE = 1.0
"""Seconds that a server may take to accept, which says that a path is in use."""


class UnixSocket:
    """A socket bound to a path. One that a server has left behind there is replaced.

    Raises LinkError if that is not possible.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.lstat().st_mode) and not _answers(path):
                    path.unlink()
            self._bind()
            self._inode = path.stat().st_ino
        except OSError as error:
            self.socket.close()
            raise LinkError(f"cannot listen on {path}: {error.strerror or error}") from None
        except BaseException:
            self.socket.close()
            raise

    def _bind(self) -> None:
        mask = os.umask(0o177)
        try:
            self.socket.bind(os.fspath(self.path))
        finally:
            os.umask(mask)

    def close(self) -> None:
        """Close it and remove its path, unless that is another's by now."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()


def _answers(path: Path) -> bool:
    """Whether a server listens on a socket's path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_DEADLINE)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            # It is too busy, or not for us: somebody's it is.
            return True
        return True
