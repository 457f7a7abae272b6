"""Settings of all tests: none fails because the machine is slow. How two processes share them (`pytest -n 2`)."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

TOGETHER = "tests/interop"
"""A folder whose tests share guests that take long to boot: one process runs it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What must not be divided comes first, so that the other process has the rest meanwhile."""
    items.sort(key=lambda item: not item.nodeid.startswith(f"{TOGETHER}/"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    from xdist.scheduler import LoadScopeScheduling

    class ByFileAndFolder(LoadScopeScheduling):
        """Tests of a file, and those of TOGETHER, in one process and in order."""

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return TOGETHER if PurePosixPath(TOGETHER) in PurePosixPath(file).parents else file

    config.option.loadscopereorder = False
    return ByFileAndFolder(config, log)
