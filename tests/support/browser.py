"""A real browser: headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import functools
import http.server
import itertools
import json
import os
import re
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from support.peers import require

DEADLINE = 60.0
ADDRESS = re.compile(rb"DevTools listening on (ws://\S+)")


class Page:
    """A page of the browser."""

    def __init__(self, socket: ClientConnection, session: str | None) -> None:
        self._socket, self._session = socket, session
        self._numbers = itertools.count(1)
        self.console: list[str] = []
        """What the page has logged."""

    async def call(self, method: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        number = next(self._numbers)
        request = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            request["sessionId"] = self._session
        await self._socket.send(json.dumps(request))
        async with asyncio.timeout(DEADLINE):
            while True:
                answer = json.loads(await self._socket.recv())
                if answer.get("method") == "Runtime.consoleAPICalled":
                    self.console.append(" ".join(str(each.get("value", "")) for each in answer["params"]["args"]))
                if answer.get("id") == number and answer.get("sessionId") == self._session:
                    assert "error" not in answer, answer
                    return answer["result"]

    async def evaluate(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def until(self, script: str) -> Any:
        """The value of an expression, once it is true."""
        async with asyncio.timeout(DEADLINE):
            while not (value := await self.evaluate(script)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return value

    async def screenshot(self) -> bytes:
        """A PNG of what the page shows."""
        picture = await self.call("Page.captureScreenshot")
        return base64.b64decode(picture["data"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[ClientConnection]:
    """Run Chromium with its profile in a folder; gives the connection to it."""
    program = require("chromium", "apt-get install chromium")
    process = await asyncio.create_subprocess_exec(
        program,
        "--headless=new",
        "--window-size=1000,800",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(folder)},
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(DEADLINE):
            while not (found := ADDRESS.search(await process.stderr.readline())):
                assert not process.stderr.at_eof()
        draining = asyncio.create_task(_drain(process.stderr))
        async with connect(found[1].decode(), max_size=None) as socket:
            yield socket
        draining.cancel()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, 9)
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def open_page(socket: ClientConnection, url: str) -> Page:
    """Open a page."""
    root = Page(socket, None)
    target = await root.call("Target.createTarget", url="about:blank")
    session = await root.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
    page = Page(socket, session["sessionId"])
    await page.call("Runtime.enable")
    await page.call("Page.enable")
    await page.call("Page.navigate", url=url)
    return page


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        continue


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@contextmanager
def web_folder(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; gives the address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="web_folder")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
