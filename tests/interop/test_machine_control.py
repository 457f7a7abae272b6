"""Orders about running and moving, to an embedded guest's control socket and to a QEMU's monitor: the same answers."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from caraway.qemu.process import Qemu
from support.embedded_hosts import host
from support.peers import require_qemu

SOURCE = [
    ("query-status", {}),
    ("query-migrate", {}),
    ("query-uuid", {}),
    ("stop", {}),
    ("stop", {}),
    ("query-status", {}),
    ("cont", {}),
    ("cont", {}),
    ("query-status", {}),
    ("migrate_cancel", {}),
    ("migrate-continue", {}),
    ("migrate-continue", {"state": "pre-switchover"}),
    ("migrate-continue", {"state": "active"}),
    ("migrate-continue", {"state": "foo"}),
    ("migrate", {}),
    ("migrate", {"uri": 1}),
    ("migrate", {"uri": "foo"}),
    ("migrate", {"uri": "tcp:"}),
    ("migrate", {"uri": "tcp:x"}),
    ("migrate", {"uri": "unix:"}),
    ("migrate", {"uri": "tcp:127.0.0.1:1", "resume": True}),
    ("migrate", {"uri": "tcp:127.0.0.1:1", "foo": True}),
    ("migrate-incoming", {"uri": "tcp:127.0.0.1:0"}),
    ("migrate-set-capabilities", {"capabilities": 3}),
    ("migrate-set-capabilities", {"capabilities": [3]}),
    ("migrate-set-capabilities", {"capabilities": [{"capability": "foo", "state": True}]}),
    ("migrate-set-capabilities", {"capabilities": [{"capability": 3, "state": True}]}),
    ("migrate-set-capabilities", {"capabilities": [{"capability": "events"}]}),
    ("migrate-set-capabilities", {"capabilities": [{"state": True}]}),
    ("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": 1}]}),
    ("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True, "x": 1}]}),
    ("migrate-set-capabilities", {"capabilities": []}),
    ("migrate-set-parameters", {}),
    ("migrate-set-parameters", {"foo": 1}),
    ("migrate-set-parameters", {"max-bandwidth": -1}),
    ("migrate-set-parameters", {"max-bandwidth": "x"}),
    ("migrate-set-parameters", {"max-bandwidth": 1000000, "downtime-limit": 100}),
    ("migrate-set-parameters", {"downtime-limit": -1}),
    ("migrate-set-parameters", {"downtime-limit": 2000001}),
]
TARGET = [
    ("query-status", {}),
    ("query-migrate", {}),
    ("cont", {}),
    ("stop", {}),
    ("query-status", {}),
    ("migrate", {"uri": "tcp:127.0.0.1:1"}),
    ("migrate-incoming", {"uri": "foo"}),
    ("migrate-incoming", {"uri": "tcp:x"}),
    ("migrate-incoming", {"uri": "tcp:127.0.0.1:0"}),
    ("migrate-incoming", {"uri": "tcp:127.0.0.1:0"}),
]


async def answers(path: Path, said: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        await reader.readline()
        got: list[Any] = []
        async with asyncio.timeout(30):
            for name, arguments in [("qmp_capabilities", {}), *said]:
                writer.write(json.dumps({"execute": name, "arguments": arguments, "id": 1}).encode())
                answer: Any = {}
                while "id" not in answer:
                    answer = json.loads(await reader.readline())
                got.append((name, arguments, answer))
    finally:
        writer.close()
    return got


@pytest.mark.parametrize(("incoming", "said"), [(None, SOURCE), ("defer", TARGET)])
async def test_answers(tmp_path: Path, incoming: str | None, said: list[tuple[str, dict[str, Any]]]) -> None:
    require_qemu()
    extra = ["-qmp", f"unix:{tmp_path / 'qemu'},server=on,wait=off"]
    extra += [] if incoming is None else ["-incoming", incoming]
    async with Qemu(extra=extra), host(tmp_path / "ours", incoming):
        for ours, qemus in zip(
            await answers(tmp_path / "ours", said), await answers(tmp_path / "qemu", said), strict=True
        ):
            assert ours == qemus
