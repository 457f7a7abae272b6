"""Our client follows real VMs: every regular way, and what the person at the keyboard can count on."""

import asyncio

import pytest

from caraway.errors import LinkError, MigrationError
from caraway.migration.reports import Linked, Mode, Switched
from caraway.qemu import migration_plan
from support.moves import (
    SEAMLESS,
    announce,
    at,
    is_used,
    listen,
    machine,
    machines,
    move,
    picture,
    slow_down,
    viewing,
    when,
)


@pytest.mark.parametrize("seamless", [True, False], ids=["seamless", "semi"])
async def test_follows_from_a_to_b_to_c(seamless: bool) -> None:
    option = {"seamless-migration": seamless}
    targets = [machine(name, is_target=True, **option) for name in "bc"]
    async with machines(None, *targets, seamless=seamless) as (a, b, c), viewing(a.spice_uri()) as (session, told):
        connection, channels = session.main.session_id, dict(session.channels)
        for source, target in (a, b), (b, c):
            await is_used(session, source)
            report = await move(source, target)
            assert report.mode == migration_plan.Mode.LINKED_EARLY
            assert (await told.wait(Switched, 4 if target is c else 0)).endpoint.port == at(target).port
            await source.aclose()
            await is_used(session, target)
            assert session.endpoint.port == at(target).port
        assert session.main.session_id == connection
        assert session.channels == channels
    assert told.kinds == 2 * SEAMLESS
    mode = Mode.SEAMLESS if seamless else Mode.SEMI_SEAMLESS
    assert {report.mode for report in told.reports if isinstance(report, Linked | Switched)} == {mode}


@pytest.mark.parametrize("migration", ["auto", "semi-seamless", "switch-host"])
async def test_what_was_chosen_is_done(migration: str) -> None:
    """Switch-host where nothing else is offered; never better than what was chosen."""
    early = migration != "switch-host"
    async with machines() as (a, b), viewing(a.spice_uri(), migration=migration) as (session, told):
        connection = session.main.session_id
        report = await move(a, b, reconnect=not early, link_deadline=9.0 if early else 0.3)
        assert report.mode == ("linked early" if early else "switch-host")
        switched = await told.wait(Switched)
        assert switched.mode.value == ("seamless" if migration == "auto" else migration)
        await is_used(session, b)
        assert (session.main.session_id == connection) is early


async def test_session_that_stays() -> None:
    """It ends with a reason, and its last picture stays."""
    async with machines() as (a, b), viewing(a.spice_uri(), migration="refuse") as (session, told):
        await move(a, b, reconnect=True, link_deadline=0.3)
        with pytest.raises(MigrationError, match="this session is to stay"):
            await session.until(asyncio.Event().wait())
        assert len(picture(session)) == 800 * 600 * 3
        assert (await b.qmp("query-spice"))["channels"] == []
    assert "Switched" not in told.kinds


async def test_target_that_is_not_allowed() -> None:
    async with machines() as (a, b), viewing(a.spice_uri(), migration_targets=["*.example.org"]) as (session, told):
        with pytest.raises(migration_plan.MigrationDeadlineError, match="nobody reached the target"):
            await move(a, b, link_deadline=0.5)
        await is_used(session, a)
    assert told.kinds[0] == "Failed"
    assert "not among the targets that were allowed" in str(told.reports[0])


@pytest.mark.parametrize("seamless", [True, False], ids=["seamless", "semi"])
async def test_migrate_at_once_after_the_announcement(seamless: bool) -> None:
    """Linking may be too late, and then the session begins anew; it is never lost."""
    async with machines(seamless=seamless) as (a, b), viewing(a.spice_uri()) as (session, told):
        uri = await listen(b)
        await announce(a, at(b))
        await a.qmp("migrate", uri=uri)
        await told.wait(Switched)
        await is_used(session, b)


async def test_cancelled_and_tried_again() -> None:
    targets = [machine(name, is_target=True) for name in "bc"]
    async with machines(None, *targets) as (a, b, c), viewing(a.spice_uri()) as (session, told):
        connection = session.main.session_id
        await slow_down(a)
        moving = asyncio.create_task(
            move(a, b, progress=when(lambda now: now.transferred > 0, lambda: moving.cancel()))
        )
        with pytest.raises(asyncio.CancelledError):
            await moving
        await b.wait_ended()
        await is_used(session, a)
        assert session.endpoint.port == at(a).port
        await slow_down(a, 1 << 30)
        await move(a, c)
        await told.wait(Switched)
        await is_used(session, c)
        assert session.main.session_id == connection
    assert told.kinds == ["Announced", "Linked", "Cancelled", *SEAMLESS]


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "at once"])
async def test_second_announcement(linked: bool) -> None:
    """The newest one counts."""
    targets = [machine(name, is_target=True) for name in "bc"]
    async with machines(None, *targets) as (a, b, c), viewing(a.spice_uri()) as (session, told):
        await announce(a, at(b))
        if linked:
            await told.wait(Linked)
        await move(a, c)
        switched = await told.wait(Switched)
        assert switched.endpoint.port == at(c).port
        await is_used(session, c)


@pytest.mark.parametrize("seamless", [True, False], ids=["seamless", "semi"])
async def test_paused_vm(seamless: bool) -> None:
    """The picture stays though the target paints none before the VM runs."""
    async with machines(seamless=seamless) as (a, b), viewing(a.spice_uri()) as (session, told):
        await is_used(session, a)
        await a.ask("freeze", "@ok")
        await a.qmp("stop")
        before, shown = picture(session), session.display.screen.serial
        await move(a, b)
        await told.wait(Switched)
        await asyncio.sleep(1)
        assert (picture(session) == before) is True
        await b.qmp("cont")
        await b.ask("thaw", "@ok")
        await is_used(session, b)
        assert session.display.screen.serial > shown


async def test_postcopy() -> None:
    async with machines() as (a, b), viewing(a.spice_uri()) as (session, told):
        connection = session.main.session_id
        postcopy = [{"capability": name, "state": True} for name in ("postcopy-ram", "events")]
        for vm in a, b:
            await vm.qmp("migrate-set-capabilities", capabilities=postcopy)
        await slow_down(a, 4 << 20)
        uri = await listen(b)
        await announce(a, at(b))
        await told.wait(Linked)
        await a.qmp("migrate", uri=uri)
        await a.wait_event("MIGRATION", status="active")
        await a.qmp("migrate-start-postcopy")
        assert (await told.wait(Switched)).mode is Mode.SEAMLESS
        await is_used(session, b)
        assert session.main.session_id == connection


async def test_session_ends_with_its_vm() -> None:
    async with machines() as (a, b), viewing(a.spice_uri()) as (session, told):
        await move(a, b)
        await told.wait(Switched)
        await a.aclose()
        await is_used(session, b)
        await b.aclose()
        with pytest.raises(LinkError):
            await session.until(asyncio.Event().wait())
