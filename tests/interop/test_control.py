"""The same requests to our control socket and to a QEMU's monitor: the answers are the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import caraway
from caraway.errors import AuthError
from caraway.qemu.process import Qemu
from caraway.server import FramebufferGuest, Server, access
from caraway.server.control import ControlSocket
from support.peers import require_qemu

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENTINEL = {"execute": "query-version", "id": "end"}

NEGOTIATE = '{"execute": "qmp_capabilities"}'


class Both:
    """Two monitors, and the SPICE servers that belong to them."""

    def __init__(self, ours: Path, qemus: Path, uris: tuple[str, str]) -> None:
        self.paths, self.uris = (ours, qemus), uris

    async def say(self, *said: str) -> tuple[list[Any], list[Any]]:
        """What each answers on a new connection, the greeting first."""
        ours, qemus = [await _answers(path, said) for path in self.paths]
        return ours, qemus


async def _answers(path: Path, said: tuple[str, ...]) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(20):
            answers = [json.loads(await reader.readline())]
            for piece in (*said, json.dumps(SENTINEL)):
                writer.write(piece.encode() + b"\n")
            while answers[-1].get("id") != "end":
                answer = json.loads(await reader.readline())
                answers += [] if "event" in answer else [answer]
    finally:
        writer.close()
        await writer.wait_closed()
    return answers[:-1]


@asynccontextmanager
async def _both(folder: Path, password: str | None) -> AsyncIterator[Both]:
    monitor, path = folder / "qemu", folder / "ours"
    extra = ["-object", "secret,id=ticket,data=" + (password or ""), "-qmp", f"unix:{monitor},server=on,wait=off"]
    spice = {"port": "auto"} | ({"password-secret": "ticket"} if password else {"disable-ticketing": True})
    server = Server(FramebufferGuest(64, 48), host="127.0.0.1", port=0, password=password)
    with pytest.MonkeyPatch.context() as patch:
        async with Qemu(spice=spice, extra=extra) as qemu, server, ControlSocket(server, path, quit=lambda: None):
            assert qemu.spice is not None
            patch.setattr(access, "LONGEST_DELAY", 0)
            yield Both(path, monitor, (f"spice://127.0.0.1:{server.port}", qemu.spice_uri()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    """With the password `old`."""
    require_qemu()
    async with _both(tmp_path_factory.mktemp("control"), "old") as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    """With no password."""
    require_qemu()
    async with _both(tmp_path_factory.mktemp("control"), None) as made:
        yield made


def shape(value: Any) -> Any:
    """The types of a value, and the names of its members."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return [shape(member) for member in value] if isinstance(value, list) else type(value)


def command(name: str, /, **arguments: object) -> str:
    return json.dumps({"execute": name, "arguments": arguments, "id": {"a": [1, "é\n", None]}}, ensure_ascii=False)


async def test_greeting(both: Both) -> None:
    ours, qemus = await both.say()
    assert shape(ours[0]["QMP"]["version"]) == shape(qemus[0]["QMP"]["version"])
    assert ours[0].keys() == qemus[0].keys()
    assert ours[0]["QMP"].keys() == qemus[0]["QMP"].keys()


@pytest.mark.parametrize(
    "said",
    [
        ['{"execute": "query-commands"}', '{"execute": "nosuch", "id": 1}', "{}", "[]", '{"execute": 1}'],
        [NEGOTIATE, NEGOTIATE],
        ['{"execute": "qmp_capabilities", "id": 1, "arguments": {"enable": []}}', NEGOTIATE],
        ['{"execute": "qmp_capabilities", "arguments": {"enable": ["foo"]}}'],
        ['{"execute": "qmp_capabilities", "arguments": {"enable": [1]}}'],
        ['{"execute": "qmp_capabilities", "arguments": {"enable": "oob"}}'],
        ['{"execute": "qmp_capabilities", "arguments": {"enable": null}}'],
        ['{"execute": "qmp_capabilities", "arguments": {"foo": 1}}'],
    ],
)
async def test_negotiation(both: Both, said: list[str]) -> None:
    ours, qemus = await both.say(*said)
    assert ours[1:] == qemus[1:]
    assert len(ours) == 1 + len(said)


REQUESTS = [
    "{}",
    "[]",
    '"a"',
    "null",
    "1",
    "[[[[]]]]",
    '{"id": 1}',
    '{"execute": 1}',
    '{"execute": null}',
    '{"execute": ""}',
    '{"execute": "nosuch"}',
    '{"execute": "foo\'bar é %s", "id": null}',
    '{"execute": "query-version", "arguments": []}',
    '{"execute": "query-version", "arguments": null}',
    '{"execute": "query-version", "arguments": {"a": 1}}',
    '{"execute": "query-version", "foo": 1}',
    '{"execute": "query-version", "foo": 1, "id": {"b": [2.5, -3, true, {}, []]}}',
    '{"exec-oob": "query-version", "id": 7}',
    '{"execute": "query-version", "execute": "query-version"}',
    '{"execute": "query-version", "exec-oob": "query-version"}',
    command("query-spice", x=1),
    command("query-commands", x=1),
    command("quit", x=1),
    command("set_password"),
    command("set_password", protocol="spice"),
    command("set_password", password="a"),
    command("set_password", protocol="foo", password="a"),
    command("set_password", protocol=1, password="a"),
    command("set_password", protocol="spice", password=1),
    command("set_password", protocol="spice", password=None),
    command("set_password", protocol="spice", password="a"),
    command("set_password", protocol="spice", password=""),
    command("set_password", protocol="spice", password="é" * 30),
    command("set_password", protocol="spice", password="é" * 30 + "x"),
    command("set_password", protocol="spice", password="x" * 60),
    command("set_password", protocol="spice", password="x" * 61),
    *(
        command("set_password", protocol="spice", password="a", connected=value)
        for value in ("keep", "fail", "disconnect", "foo", 1, None, [], {})
    ),
    command("set_password", protocol="spice", password="a", display="x"),
    command("set_password", protocol="spice", password="a", foo="x"),
    command("set_password", protocol="vnc", password="a"),
    command("set_password", protocol="vnc", password="a", connected="keep"),
    command("set_password", protocol="vnc", password="a", connected="fail"),
    command("expire_password"),
    command("expire_password", protocol="spice"),
    command("expire_password", time="now"),
    command("expire_password", protocol="foo", time="now"),
    command("expire_password", protocol="vnc", time="now"),
    command("expire_password", protocol="spice", time="now", foo=1),
    *(
        command("expire_password", protocol="spice", time=value)
        for value in ("now", "never", "+60", "1335196800", "foo", "", "+", "-1", "1.5", "9" * 23, 60, 1.5, None, True)
    ),
]


@pytest.mark.parametrize("request_", REQUESTS)
async def test_request(both: Both, request_: str) -> None:
    ours, qemus = await both.say(NEGOTIATE, request_)
    assert ours[2:] == qemus[2:]
    assert len(ours) == 3


@pytest.mark.parametrize(
    "request_", [request for request in REQUESTS if "set_password" in request or "expire_password" in request]
)
async def test_request_without_password(open_both: Both, request_: str) -> None:
    ours, qemus = await open_both.say(NEGOTIATE, request_)
    assert ours[2:] == qemus[2:]


@pytest.mark.parametrize(
    "said",
    [
        '{"execute": "query-name",}',
        '{"execute": query}',
        '{"a": tru}',
        '{"execute" 1}',
        '{"execute": "query-version"}}',
        "]",
        "@",
        '"\\x"',
        '{"a": 1, "a": 2}',
        '{"a": "\\ud800"}',
        '{"a": "\t"}',
        "[" * 1025,
    ],
)
async def test_nonsense(both: Both, said: str) -> None:
    """It is an error of the same class and kind; QEMU says more about some. Then both go on."""
    ours, qemus = await both.say(NEGOTIATE, said)
    [our] = [answer["error"] for answer in ours[2:] if "error" in answer]
    its = next(answer["error"] for answer in qemus[2:] if "error" in answer)
    assert our["class"] == its["class"]
    assert our["desc"].split(",")[0] == its["desc"].split(",")[0]


@pytest.mark.parametrize(
    "said",
    [
        [NEGOTIATE + '{"execute": "nosuch", "id": 1}{"execute": "nosuch", "id": 2}'],
        [NEGOTIATE, "", "   ", '{"execute":', "", '"nosuch"', "}"],
        [NEGOTIATE + '\r\n\t{"execute": "nosuch"}\r\n\r\n'],
    ],
)
async def test_how_requests_are_parted(both: Both, said: list[str]) -> None:
    """An end of a line is nothing but space."""
    ours, qemus = await both.say(*said)
    assert ours[1:] == qemus[1:]


async def test_names_of_commands(both: Both) -> None:
    """All of ours are QEMU's, but those in the name space of our own."""
    names = []
    for answers in await both.say(NEGOTIATE, '{"execute": "query-commands"}'):
        assert {frozenset(entry) for entry in answers[-1]["return"]} == {frozenset({"name"})}
        names.append({entry["name"] for entry in answers[-1]["return"]})
    assert {name for name in names[0] if not name.startswith("__org.caraway_")} <= names[1]


async def test_what_query_spice_tells(both: Both, open_both: Both) -> None:
    said = [NEGOTIATE, '{"execute": "query-spice"}', '{"execute": "query-version"}']
    for each in (both, open_both):
        ours, qemus = await each.say(*said)
        assert shape(ours[2:]) == shape(qemus[2:])
        assert ours[2]["return"]["auth"] == qemus[2]["return"]["auth"]


async def test_channels_and_events(tmp_path: Path) -> None:
    """Their members and their order, by a viewer that links main and inputs, and leaves."""
    require_qemu()
    async with _both(tmp_path, None) as both:
        ours, qemus = [await _visited(path, uri) for path, uri in zip(both.paths, both.uris, strict=True)]
    assert ours == qemus


async def _visited(path: Path, uri: str) -> object:
    reader, writer = await asyncio.open_unix_connection(path)
    async with asyncio.timeout(20):
        writer.write(NEGOTIATE.encode())
        await reader.readline()
        await reader.readline()
        async with caraway.connect(uri, channels=["inputs"]):
            events = [json.loads(await reader.readline()) for _ in range(4)]
            writer.write(b'{"execute": "query-spice"}')
            told = json.loads(await reader.readline())["return"]
        events += [json.loads(await reader.readline()) for _ in range(2)]
    writer.close()
    await writer.wait_closed()
    clients = [event["data"]["client"] for event in events]
    assert [clients[1], clients[3]] == told["channels"]
    kinds = [channel["channel-type"] for channel in told["channels"]]
    families = [client["family"] for client in clients]
    # Which channel leaves first is chance.
    return shape(told), kinds, families, [event["event"] for event in events], shape(events)


@pytest.mark.parametrize(
    "time",
    [
        *("now", "never", "NEVER", "foo", "", "+", "12x", "0x7fffffff", "1.5", "-1", "9" * 23, "1335196800"),
        *("4102444800", "4102444800x", " 4102444800", "+60", "+-1", "++60", "+ 60", "+" + "9" * 23),
    ],
)
async def test_how_long_a_password_is_good(both: Both, time: str) -> None:
    """Also one that is set after the time was."""
    found = []
    for path, uri in zip(both.paths, both.uris, strict=True):
        good = []
        expire, renew = (
            command("expire_password", protocol="spice", time=time),
            command("set_password", protocol="spice", password="old"),
        )
        for said in ((renew, expire), (renew,)):
            await _answers(path, (NEGOTIATE, *said))
            try:
                async with caraway.connect(uri, password="old", channels=[]):
                    good.append(True)
            except AuthError:
                good.append(False)
        found.append(good)
    assert found[0] == found[1]


@pytest.mark.parametrize("connected", ["keep", "fail", "disconnect"])
async def test_password_while_connected(both: Both, connected: str) -> None:
    found = []
    for path, uri in zip(both.paths, both.uris, strict=True):
        reset = [command("expire_password", protocol="spice", time="never")]
        reset += [command("set_password", protocol="spice", password="old")]
        await _answers(path, (NEGOTIATE, *reset))
        async with caraway.connect(uri, password="old", channels=[]) as session:
            change = command("set_password", protocol="spice", password="new", connected=connected)
            answers = await _answers(path, (NEGOTIATE, change, *reset))
            if connected == "disconnect":
                with pytest.raises(caraway.LinkError):
                    await asyncio.wait_for(session.until(asyncio.Event().wait()), 20)
            told = await _answers(path, (NEGOTIATE, '{"execute": "query-spice"}'))
            found.append((answers[1:], len(told[-1]["return"]["channels"])))
    assert found[0] == found[1]


async def test_quit(tmp_path: Path) -> None:
    """The event comes first, then the answer, then the end."""
    require_qemu()
    said = []
    async with _both(tmp_path, None) as both:
        for path in both.paths:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write((NEGOTIATE + '{"execute": "quit", "id": 1}').encode())
            async with asyncio.timeout(20):
                lines = [json.loads(await reader.readline()) for _ in range(4)]
            lines[2].pop("timestamp")
            said.append(lines[1:])
            writer.close()
            await writer.wait_closed()
    assert said[0] == said[1]
