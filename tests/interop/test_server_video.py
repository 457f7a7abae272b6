"""The C client plays what the server streams, and has every pixel once the video has ended."""

import asyncio
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from caraway.server.stream import Streams
from support.moving_pictures import VIDEO, Cinema, screening
from support.spice_gtk import SpiceGtk, spice_gtk

DEADLINE = 30.0


async def test_a_video_is_streamed_to_the_c_client(tmp_path: Path, monkeypatch: Any) -> None:
    reports = []
    receive = Streams.report
    monkeypatch.setattr(Streams, "report", lambda self, *told: reports.append(told[0]) or receive(self, *told))
    cinema = Cinema()
    async with screening(cinema) as server, spice_gtk() as viewer:
        region = [VIDEO.left, VIDEO.top, VIDEO.width, VIDEO.height]
        viewer.do("connect", uri=f"spice://127.0.0.1:{server.port}", region=region)
        await viewer.wait("channel", type="display", what="opened")
        async with cinema.playing():
            async with asyncio.timeout(DEADLINE):
                while len(reports) < 8:
                    await viewer.next_frame()
            assert 30 < cinema.psnr(await shown(viewer, tmp_path / "picture.ppm")) < 60
        assert {report.num_drops for report in reports[-3:]} == {0}
        await until_same(viewer, cinema)


async def shown(viewer: SpiceGtk, path: Path) -> np.ndarray:
    await viewer.ask("picture", path=str(path))
    with Image.open(path) as picture:
        return np.asarray(picture)


async def until_same(viewer: SpiceGtk, cinema: Cinema) -> None:
    wanted = zlib.crc32(np.ascontiguousarray(cinema.rgb))
    async with asyncio.timeout(DEADLINE):
        while (await viewer.ask("picture"))["crc"] != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
