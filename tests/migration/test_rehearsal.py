"""What a hand-over needs is compiled before."""

import subprocess
import sys

import pytest

PROGRAM = """
from caraway.migration.rehearsal import rehearse
from caraway.wire.constants import Sender
from caraway.wire.fields import codec
from caraway.wire.messages.common import Migrate
from caraway.wire.messages.migrate_data import DisplayMigrateData
steps = sum(1 for _ in rehearse(Sender.{side}))
print(steps > 20, *("pack" in vars(codec(kind)) for kind in (Migrate, DisplayMigrateData)),
      *("unpack" in vars(codec(kind)) for kind in (Migrate, DisplayMigrateData)))
"""


@pytest.mark.parametrize(
    ("side", "compiled"), [("SERVER", "True True True False True"), ("CLIENT", "True False False True False")]
)
def test_each_side_compiles_what_it_needs(side, compiled):
    """In a process of its own: here all may be compiled already."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(side=side)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == compiled
