"""What goes wrong when a VM moves, and what the viewer makes of it: it stays with the VM wherever that is."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import caraway
from caraway.endpoint import Endpoint, Proxy
from caraway.migration.reports import Announced, Cancelled, Failed, Linked, Reconnecting, Report, Switched, Switching
from caraway.qemu.migration_plan import Destination, MigrationDeadlineError, Ticket
from caraway.qemu.spice_options import free_ports
from caraway.wire.constants import ChannelType
from support.certificates import Authority
from support.leaks import nothing_left
from support.moves import (
    SEAMLESS,
    announce,
    at,
    following,
    is_used,
    listen,
    machine,
    machines,
    move,
    slow_down,
    viewing,
    when,
)
from support.relays import http_proxy, relay

Condition = Callable[[Any], bool]


def is_linked(progress: Any) -> bool:
    return 0 < progress.to_link == progress.linked


def is_moving(progress: Any) -> bool:
    return progress.transferred > 0


# credentials, certificates, addresses


async def test_ticket_that_expires_after_linking() -> None:
    """It was asked for when the target was announced, and is not needed again."""
    target = machine("b", is_target=True, **{"disable-ticketing": False})
    asked: list[Endpoint] = []

    async def give(endpoint: Endpoint) -> str:
        asked.append(endpoint)
        return "fresh" if endpoint.port == at(target).port else ""

    async with machines(None, target) as (a, b), viewing(a.spice_uri(), credentials=give) as (session, told):
        connection = session.main.session_id
        expired: list[asyncio.Task[Any]] = []

        def expire() -> None:
            expired.append(asyncio.create_task(b.qmp("expire_password", protocol="spice", time="now")))

        await slow_down(a, 4 << 20)
        await move(a, b, ticket=Ticket("fresh", 30), progress=when(is_linked, expire))
        await asyncio.gather(*expired)
        await told.wait(Switched)
        await is_used(session, b)
        assert session.main.session_id == connection
        assert len(asked) == 2
    assert told.kinds == SEAMLESS


async def test_ticket_that_is_wrong_at_first() -> None:
    """Another one is asked for while there is time."""
    target = machine("b", is_target=True, **{"disable-ticketing": False})
    answers = iter(["", "stale", "fresh"])

    async def give(endpoint: Endpoint) -> str:
        return next(answers)

    async with machines(None, target) as (a, b), viewing(a.spice_uri(), credentials=give) as (session, told):
        await move(a, b, ticket=Ticket("fresh", 30))
        await told.wait(Switched)
        await is_used(session, b)
    assert told.kinds == SEAMLESS


async def test_target_with_tls_only(tmp_path: Path) -> None:
    authority, subject = Authority(), "O=Caraway,CN=console.test"
    folder = authority.issue(tmp_path / "x509", [("O", "Caraway"), ("CN", "console.test")])
    tls = {"tls-port": "auto", "x509-dir": str(folder)}
    async with machines(None, machine("b", is_target=True, **tls)) as (a, b):
        assert b.spice is not None
        to = Destination("127.0.0.1", tls_port=b.spice.tls_port, cert_subject=subject)
        endpoint = Endpoint(host="127.0.0.1", port=at(a).port, ca=authority.pem)
        async with viewing(endpoint) as (session, told):
            assert not session.main.connection.secure
            await move(a, b, to)
            await told.wait(Switched)
            await is_used(session, b)
            assert all(channel.connection.secure for channel in session.channels.values())
            assert session.endpoint.tls_only
    assert told.kinds == SEAMLESS


async def test_target_with_another_subject(tmp_path: Path) -> None:
    authority = Authority()
    folder = authority.issue(tmp_path / "x509", [("O", "Caraway"), ("CN", "console.test")])
    tls = {"tls-port": "auto", "x509-dir": str(folder)}
    async with machines(None, machine("b", is_target=True, **tls)) as (a, b):
        assert b.spice is not None
        endpoint = Endpoint(host="127.0.0.1", port=at(a).port, ca=authority.pem)
        to = Destination("127.0.0.1", tls_port=b.spice.tls_port, cert_subject="O=Caraway,CN=elsewhere")
        async with viewing(endpoint) as (session, told):
            with pytest.raises(MigrationDeadlineError):
                await move(a, b, to, link_deadline=0.5)
            assert isinstance((await told.wait(Failed)).error, caraway.TlsError)
            await is_used(session, a)


async def test_name_that_only_the_viewer_can_resolve() -> None:
    """The proxy of the session serves the target too, and names go to it as they are."""
    async with machines() as (a, b):
        names = {f"{name}.cluster:61000": ("127.0.0.1", at(vm).port or 0) for name, vm in (("one", a), ("two", b))}
        with nothing_left():
            async with http_proxy(names) as (proxy, port):
                endpoint = Endpoint(host="one.cluster", port=61000, proxy=Proxy(host="127.0.0.1", port=port))
                async with following(endpoint) as (session, told):
                    await move(a, b, Destination("two.cluster", 61000))
                    assert (await told.wait(Switched)).endpoint.host == "two.cluster"
                    await is_used(session, b)
    assert proxy.asked == 4 * ["one.cluster:61000"] + 4 * ["two.cluster:61000"]
    assert told.kinds == SEAMLESS


async def test_wrong_port() -> None:
    async with machines() as (a, b), viewing(a.spice_uri()) as (session, _):
        connection = session.main.session_id
        with pytest.raises(MigrationDeadlineError, match="nobody reached the target"):
            await move(a, b, Destination("127.0.0.1", *free_ports(1)), link_deadline=0.5)
        await is_used(session, a)
        assert session.main.session_id == connection
        assert session.endpoint.port == at(a).port


# hosts and links that break


async def test_target_killed_while_linking() -> None:
    async with machines() as (a, b), viewing(a.spice_uri()) as (session, told):
        moving = asyncio.create_task(move(a, b))
        await told.wait(Announced)
        os.kill(b.pid, signal.SIGKILL)
        with pytest.raises(caraway.CarawayError):
            await moving
        await is_used(session, a)


@pytest.mark.parametrize("condition", [is_linked, is_moving])
async def test_target_killed(condition: Condition) -> None:
    async with machines() as (a, b), viewing(a.spice_uri()) as (session, told):
        connection = session.main.session_id
        await slow_down(a)
        with pytest.raises(caraway.CarawayError):
            await move(a, b, progress=when(condition, lambda: os.kill(b.pid, signal.SIGKILL)))
        await told.wait(Cancelled)
        await is_used(session, a)
        assert session.main.session_id == connection


@pytest.mark.parametrize("seamless", [True, False], ids=["seamless", "semi"])
@pytest.mark.parametrize("name", ["main", "display", "inputs", "cursor"])
async def test_link_cut_while_parked(name: str, seamless: bool) -> None:
    """It is linked once more; the target of a semi-seamless move as a whole, for it keeps links that broke."""
    async with machines(seamless=seamless) as (a, b):
        uri = await listen(b)
        with nothing_left():
            async with relay("127.0.0.1", at(b).port or 0) as (between, port), following(a.spice_uri()) as viewer:
                session, told = viewer
                await announce(a, Destination("127.0.0.1", port))
                await told.wait(Linked)
                (cut,) = [one for one in between.connections if one.channel_type == ChannelType[name.upper()]]
                for _ in range(4):
                    await b.wait_event("SPICE_INITIALIZED")
                cut.close()
                for _ in range(1 if seamless and name != "main" else 4):
                    await b.wait_event("SPICE_INITIALIZED")
                await a.qmp("migrate", uri=uri)
                await told.wait(Switched)
                await is_used(session, b)
    assert told.kinds == SEAMLESS


async def test_all_links_cut_while_parked() -> None:
    """And nobody answers any more at that address: the source keeps its viewer."""
    async with machines() as (a, b), viewing(a.spice_uri()) as (session, told):
        async with relay("127.0.0.1", at(b).port or 0) as (_, port):
            await announce(a, Destination("127.0.0.1", port))
            await told.wait(Linked)
        await is_used(session, a)
        c = machine("c", is_target=True)
        async with c:
            await move(a, c)
            await told.wait(Switched)
            await is_used(session, c)


@pytest.mark.parametrize("name", ["main", "display", "inputs", "cursor"])
async def test_reconnect_that_fails_half_way(name: str) -> None:
    """It is tried again; a target whose threads still set up channels survives to see it."""
    async with machines() as (a, b):
        uri = await listen(b)
        with nothing_left():
            async with (
                relay("127.0.0.1", at(b).port or 0) as (between, port),
                following(a.spice_uri(), migration="switch-host") as (session, told),
            ):
                first: list[Any] = []

                def cut(piped: Any) -> int | None:
                    if piped.channel_type == ChannelType[name.upper()] and first in ([], [piped]):
                        first[:] = [piped]
                        return 20
                    return None

                between.cut = cut
                await announce(a, Destination("127.0.0.1", port))
                await a.qmp("migrate", uri=uri)
                await told.wait(Switched)
                assert [type(report) for report in told.reports].count(Reconnecting) >= 2
                await is_used(session, b)


# whoever leaves


@pytest.mark.parametrize(
    ("state", "migration", "seamless"),
    [
        (Announced, "auto", True),
        (Linked, "auto", True),
        (Linked, "auto", False),
        (Switching, "auto", True),
        (Switching, "auto", False),
        (Reconnecting, "switch-host", True),
        (Switched, "auto", True),
        (Switched, "auto", False),
        (Switched, "switch-host", True),
    ],
)
async def test_session_closed_in_the_middle(state: type[Report], migration: str, seamless: bool) -> None:
    """Nothing is left of it, and both servers live."""
    async with machines(seamless=seamless) as (a, b):
        uri = await listen(b)
        await a.qmp("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        with nothing_left():
            async with following(a.spice_uri(), migration=migration) as (session, told):
                session.inputs.key_down("shift")
                await a.wait_for("@key 2a down")
                await announce(a, at(b))
                if migration == "auto":
                    await told.wait(Announced if state is Announced else Linked)
                if state not in (Announced, Linked):
                    await a.qmp("migrate", uri=uri)
                    await told.wait(state)
                    session.inputs.key_up("shift")
        if state in (Announced, Linked):
            await a.qmp("migrate", uri=uri)
        await a.wait_event("MIGRATION", status="completed")
        if state not in (Announced, Linked):
            await b.wait_for("@key 2a up")
        async with viewing(b.spice_uri()) as (session, _):
            await is_used(session, b)
        assert (await a.qmp("query-status"))["status"] == "postmigrate"


@pytest.mark.parametrize("seamless", [True, False], ids=["seamless", "semi"])
async def test_mouse_and_keyboard_across_a_move(seamless: bool) -> None:
    """What was held is let go, though QEMU does nothing about buttons that it has not seen pressed; the pointer, which
    QEMU puts to (0, 0), is where it was.
    """
    async with machines(seamless=seamless) as (a, b), viewing(a.spice_uri()) as (session, told):
        await session.inputs.move(100, 100)
        session.inputs.button_down("left")
        session.inputs.key_down("shift")
        await a.wait_for("@button 1 down")
        await a.wait_for("@key 2a down")
        await move(a, b)
        await told.wait(Switched)
        session.inputs.button_up("left")
        session.inputs.key_up("shift")
        assert (await b.wait_for("@button 1")).startswith("@button 1 up")
        assert await b.wait_for("@key 2a") == "@key 2a up"
        await is_used(session, b)
        await session.inputs.click()
        assert await b.wait_for("@button 1") == "@button 1 down 100 100"
