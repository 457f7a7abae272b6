"""The real command, as a program of its own."""

import asyncio
import json
import subprocess
import sys
from typing import Any, NamedTuple


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one line of JSON that it said."""
        [line] = self.out.splitlines()
        return json.loads(line)


async def caraway(*arguments: str) -> Ended:
    """Run the real command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", "from caraway.cli import main; main()", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Ended(process.returncode, out.decode(), err.decode())
