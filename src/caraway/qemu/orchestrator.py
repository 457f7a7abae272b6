"""Moves a VM between two QEMUs so that its viewers follow: they link to the target first, then the VM moves.

The order of steps and the reasons are in spec/qemu-host.md 14 and spec/migration.md 6.5. Whatever fails before the
switch leaves the VM running on the source with its viewers.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from caraway.errors import CarawayError, MigrationError
from caraway.qemu.migration_plan import (
    MigrationDeadlineError,
    MigrationReport,
    Mode,
    Phase,
    Plan,
    Progress,
    ViewerReport,
)
from caraway.qemu.monitor import Event, Monitor, connect_monitor
from caraway.qemu.notifying import notifying
from caraway.qemu.process import Qemu
from caraway.qemu.relay import relaying
from caraway.qemu.viewers import Links, LinkWatch, core, describe, links_of, present, viewers_of

log = logging.getLogger(__name__)

PERIOD = 0.25
"""Seconds between looks at what tells no event."""

LEAVE_DEADLINE = 15.0
"""Seconds for viewers to leave and the target to run; the server cuts those off that are still there after 10 s."""

RECONNECT_DEADLINE = 5.0
"""Seconds for viewers that were told to connect anew, before the report calls them lost."""

ENDING_DEADLINE = 5.0
"""Seconds for a target to end and for a cancelled migration to be over."""

RETRACT_URI = "unix:/dev/null/retracted"
"""Where nothing can listen: a migration to it fails at once, and its failure takes an announcement back."""

UNDER_WAY = frozenset(
    {"setup", "wait-unplug", "active", "pre-switchover", "device", "cancelling", "postcopy-active", "postcopy-paused"}
    | {"postcopy-recover", "postcopy-recover-setup", "colo"}
)

Listener = Callable[[Progress], None]


async def migrate(
    source: Qemu | Monitor | str,
    target: Qemu | Monitor | str,
    plan: Plan,
    *,
    spice_source: Monitor | str | None = None,
    spice_target: Monitor | str | None = None,
    progress: Listener | None = None,
) -> MigrationReport:
    """Move the VM of `source` to `target` and its viewers with it.

    source, target: a QEMU, or the address of its monitor, `unix:PATH` or `tcp:HOST:PORT`.
    spice_source, spice_target: the same of the SPICE servers' control sockets, where those are not QEMU's own.
    progress: is called with every change.
    Raises MigrationError, MigrationDeadlineError, LinkError (monitors), QemuError; the VM is then still on the source
    and the target has been ended, unless the error says otherwise. Cancelling the call does the same.
    """
    async with AsyncExitStack() as stack:
        here, there = await _open(stack, source, "source"), await _open(stack, target, "target")
        spice_here = await _open(stack, spice_source, "source's SPICE server") if spice_source is not None else None
        spice_there = await _open(stack, spice_target, "target's SPICE server") if spice_target is not None else None
        made = Orchestrator(here, there, plan, spice_source=spice_here, spice_target=spice_there, progress=progress)
        return await made.run()


async def _open(stack: AsyncExitStack, side: Qemu | Monitor | str, name: str) -> Monitor:
    if isinstance(side, str):
        return await stack.enter_async_context(connect_monitor(side, f"{name} ({side})"))
    return Monitor.of(side) if isinstance(side, Qemu) else side


class _Side:
    """One of the two QEMUs: its monitor, that of its SPICE server, and what their events said."""

    def __init__(self, monitor: Monitor, spice: Monitor, news: asyncio.Event) -> None:
        self.monitor, self.spice = monitor, spice
        self.status: str | None = None
        """Of the latest MIGRATION event."""
        self.times: dict[str, float] = {}
        """When each kind of event came last."""
        self.has_ended = False
        self._news = news
        self._changes = 0
        self._listed: tuple[int, Links] | None = None

    def __str__(self) -> str:
        return self.monitor.name

    def hear(self, event: Event) -> None:
        if event["event"] == "MIGRATION":
            self.status = event["data"]["status"]
        self._changes += event["event"].startswith("SPICE_")
        self.times[event["event"]] = asyncio.get_running_loop().time()
        self._news.set()

    async def watch_end(self) -> None:
        await self.monitor.ended()
        self.has_ended = True
        self._news.set()

    async def execute(self, command: str, /, **arguments: Any) -> Any:
        return await self.monitor.execute(command, **arguments)

    async def links(self) -> Links:
        """What query-spice lists; asked anew only after an event, for a target that loads memory is slow to answer."""
        changes = self._changes
        if self._listed is None or self._listed[0] != changes:
            self._listed = changes, links_of(await self.spice.execute("query-spice"))
        return self._listed[1]

    async def set_capabilities(self, **states: bool) -> None:
        wanted = [{"capability": name.replace("_", "-"), "state": state} for name, state in states.items()]
        await self.execute("migrate-set-capabilities", capabilities=wanted)


class Orchestrator:
    """One migration; `run` it once. Arguments as of `migrate`, the monitors open."""

    def __init__(
        self,
        source: Monitor,
        target: Monitor,
        plan: Plan,
        *,
        spice_source: Monitor | None = None,
        spice_target: Monitor | None = None,
        progress: Listener | None = None,
    ) -> None:
        self._news = asyncio.Event()
        self._source = _Side(source, spice_source or source, self._news)
        self._target = _Side(target, spice_target or target, self._news)
        self._target_announced: Callable[[], None] = lambda: None
        self._plan = plan
        self._uri = plan.uri
        """With the port that the target chose."""
        self._listener = progress
        self._progress = Progress()
        self._report = MigrationReport()
        self._was_running = False
        self._had_fence = False
        self._is_ours = False
        """The target is checked and is this migration's to end."""
        self._is_announced = self._is_started = self._is_at_fence = self._is_completed = False
        self._expected: Links = frozenset()
        """Links of the source's viewers when the migration began."""
        self._linked: Links = frozenset()
        """Those of them that the target had."""

    async def run(self) -> MigrationReport:
        """Move the VM; see `migrate`."""
        began = _now()
        async with self._watching(), AsyncExitStack() as stack:
            try:
                await self._check()
                await self._prepare()
                source, target = self._source, self._target
                self._target_announced = await stack.enter_async_context(notifying(source.monitor, source.spice))
                await stack.enter_async_context(relaying(source.spice, target.spice))
                await self._announce_and_link()
                await self._migrate()
            except BaseException as error:
                await self._abandon(error)
                raise
            await self._follow_through()
        self._report.total_time = _now() - began
        self._tell(phase=Phase.DONE)
        return self._report

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        sides = (self._source, self._target)
        with contextlib.ExitStack() as stack:
            for side in sides:
                for monitor in {side.monitor, side.spice}:
                    stack.enter_context(monitor.listen(side.hear))
            tasks = [asyncio.create_task(side.watch_end()) for side in sides]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self._progress, name, value)
        if self._listener is not None:
            self._listener(dataclasses.replace(self._progress))

    def _warn(self, warning: str) -> None:
        log.warning("%s", warning)
        self._report.warnings.append(warning)

    async def _next(self, until: float) -> None:
        """Wait for an event of either side or the time `until`; that a side has ended is an error before the switch."""
        for side in self._source, self._target:
            if side.has_ended and not self._is_completed:
                raise MigrationError(f"{side}: QEMU has ended or closed its monitor")
        await self._pause(until)

    async def _pause(self, until: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._news.wait()
        self._news.clear()

    async def _check(self) -> None:
        source, target = self._source, self._target
        state = (await source.execute("query-status"))["status"]
        if state not in ("running", "paused"):
            raise MigrationError(f"{source}: the VM is {state}; only one that is running or paused can move")
        self._was_running = state == "running"
        status = (await source.execute("query-migrate")).get("status")
        if status in UNDER_WAY:
            raise MigrationError(f"{source}: a migration is under way already ({status})")
        state = (await target.execute("query-status"))["status"]
        if state != "inmigrate":
            raise MigrationError(f"{target}: QEMU is {state}, it does not wait for a VM; start it with -incoming defer")
        known = set()
        for side, needed in (source, {"events", "pause-before-switchover"}), (target, {"events"}):
            if not (await side.spice.execute("query-spice"))["enabled"]:
                raise MigrationError(f"{side}: QEMU has no SPICE server (-spice)")
            capabilities = {
                entry["capability"]: entry["state"] for entry in await side.execute("query-migrate-capabilities")
            }
            if lacking := needed - capabilities.keys():
                raise MigrationError(f"{side}: this QEMU does not know the capability {', '.join(sorted(lacking))}")
            known.add(capabilities.get("pause-before-switchover", False))
            if side is source:
                self._had_fence = capabilities["pause-before-switchover"]
        stale = viewers_of(await source.links()) & viewers_of(await target.links())
        if stale:
            raise MigrationError(f"{target}: viewers of an earlier attempt are linked to it; start a new target")
        await self._compare_devices()
        self._is_ours = True

    async def _compare_devices(self) -> None:
        """Warn of character devices of SPICE, each a channel or the agent, that one side lacks."""
        labels = []
        for side in self._source, self._target:
            listed = await side.execute("query-chardev")
            labels.append({entry["label"] for entry in listed if entry["filename"].startswith("spice")})
        for side, missing in (self._target, labels[0] - labels[1]), (self._source, labels[1] - labels[0]):
            if missing:
                self._warn(f"{side} lacks the SPICE character device {', '.join(sorted(missing))}")

    async def _prepare(self) -> None:
        source, target = self._source, self._target
        await target.set_capabilities(events=True)
        await source.set_capabilities(events=True, pause_before_switchover=True)
        incoming = await target.execute("query-migrate")
        if "socket-address" not in incoming and incoming.get("status", "none") == "none":
            await target.execute("migrate-incoming", uri=self._uri)
        scheme, _, address = self._uri.partition(":")
        host, _, port = address.rpartition(":")
        if (scheme, port) == ("tcp", "0"):
            listening = (await target.execute("query-migrate")).get("socket-address", [])
            if not listening:
                raise MigrationError(f"{target}: does not tell the port that it chose for {self._uri}")
            self._uri = f"tcp:{host}:{listening[0]['port']}"
        if self._plan.ticket is not None:
            await target.spice.execute(
                "set_password", protocol="spice", password=self._plan.ticket.password, connected="keep"
            )
            await target.spice.execute("expire_password", protocol="spice", time=f"+{self._plan.ticket.lifetime}")

    async def _announce_and_link(self) -> None:
        began = _now()
        self._tell(phase=Phase.LINKING)
        watch = LinkWatch(began)
        with self._target.spice.listen(lambda event: watch.hear(event, _now())):
            await self._announce()
            await self._wait_linked(watch, began + self._plan.link_deadline)
        if self._linked:
            self._report.link_time = watch.last - began
        missing = self._expected - self._linked
        if unlinked := viewers_of(core(missing)):
            self._warn(
                f"{len(unlinked)} of {len(viewers_of(self._expected))} viewers have not linked; told to reconnect"
            )
        elif missing:
            self._warn(f"the target lacks {describe(missing)}")

    async def _announce(self) -> None:
        to = self._plan.destination
        subject = {} if to.cert_subject is None else {"cert_subject": to.cert_subject}
        # A port that is left out would be told to viewers as 65535.
        ports = {"port": to.port or 0, "tls_port": to.tls_port or 0}
        self._is_announced = True
        await self._source.spice.execute("client_migrate_info", protocol="spice", hostname=to.host, **ports, **subject)
        self._target_announced()

    async def _wait_linked(self, watch: LinkWatch, deadline: float) -> None:
        while True:
            here, there = await asyncio.gather(self._source.links(), self._target.links())
            self._expected = present(here)
            self._linked = self._expected & there
            self._tell(linked=len(self._linked), to_link=len(self._expected))
            ready_at = watch.ready_at(self._expected, there)
            if ready_at is not None and (_now() >= ready_at or not self._expected):
                return
            if _now() >= deadline:
                if ready_at is None and not self._plan.reconnect:
                    raise self._not_linked(watch)
                return
            await self._next(min(deadline, ready_at or deadline, _now() + PERIOD))

    def _not_linked(self, watch: LinkWatch) -> MigrationDeadlineError:
        missing = describe(core(self._expected - self._linked))
        what = f"no link of {missing} to {self._plan.destination} within {self._plan.link_deadline:g} s"
        if self._linked:
            why = f"only {describe(self._linked)} arrived"
        elif watch.has_connection:
            why = "somebody reached the target's port and was not let in: is the ticket right, and the certificate?"
        else:
            why = "nobody reached the target: is the address right for the viewer? Or it cannot link early"
        return MigrationDeadlineError(f"{what}: {why}. The VM stays on the source")

    async def _migrate(self) -> None:
        source = self._source
        for side in source, self._target:
            side.times.clear()
            side.status = None
        self._is_started = True
        self._tell(phase=Phase.MIGRATING)
        await source.execute("migrate", uri=self._uri)
        while source.status != "completed":
            info = await source.execute("query-migrate")
            self._show(info)
            # The event is sooner than the next look, and the look is there should nobody have turned the events on.
            match source.status or info.get("status"):
                case "pre-switchover" if self._report.fence_time is None:
                    await self._pass_fence()
                    continue
                case "failed":
                    raise MigrationError(f"{source}: the migration failed: {info.get('error-desc', 'no reason given')}")
                case "cancelling" | "cancelled":
                    raise MigrationError(f"{source}: somebody cancelled the migration")
            await self._next(_now() + PERIOD)
        self._is_completed = True
        self._show(await source.execute("query-migrate"))

    def _show(self, info: dict[str, Any]) -> None:
        ram = info.get("ram", {})
        self._report.transferred = ram.get("transferred", self._report.transferred)
        expected = info.get("expected-downtime")
        self._tell(
            transferred=self._report.transferred,
            total=ram.get("total"),
            remaining=ram.get("remaining"),
            dirty_rate=ram.get("dirty-pages-rate", 0) * ram.get("page-size", 4096) if ram else None,
            expected_downtime=None if expected is None else expected / 1000,
        )

    async def _pass_fence(self) -> None:
        """Continue if every viewer is still linked; wait a little for one that is not, then give up."""
        began = _now()
        self._is_at_fence = True
        self._tell(phase=Phase.FENCE)
        while broken := await self._broken():
            if _now() >= began + self._plan.fence_deadline:
                raise MigrationError(f"{broken}; the VM goes on at the source")
            await self._next(min(began + self._plan.fence_deadline, _now() + PERIOD))
        self._report.fence_time = _now() - began
        self._tell(phase=Phase.SWITCHING)
        await self._source.execute("migrate-continue", state="pre-switchover")

    async def _broken(self) -> str | None:
        here, there = await asyncio.gather(self._source.links(), self._target.links())
        here = present(here)
        viewers = viewers_of(here)
        lost = {link for link in self._linked - there if link.connection_id in viewers}
        if core(lost):
            return f"{self._target}: a viewer's link broke: {describe(lost)}"
        # The server takes a newcomer for the viewer that agreed, and the newcomer would be lost.
        if self._linked and viewers - viewers_of(self._expected):
            return f"{self._source}: another viewer has connected"
        self._expected = frozenset(link for link in self._expected | here if link.connection_id in viewers)
        return None

    async def _follow_through(self) -> None:
        """After the switch: wait until viewers have left the source and the target runs, and see who came."""
        source, target = self._source, self._target
        completed = _now()
        self._tell(phase=Phase.LEAVING)
        while True:
            has_left = "SPICE_MIGRATE_COMPLETED" in source.times or source.has_ended
            state = await self._target_state()
            if has_left and state != "inmigrate":
                break
            if _now() >= completed + LEAVE_DEADLINE:
                raise MigrationError(
                    f"the migration has completed, and after {LEAVE_DEADLINE:g} s {target} is {state}; "
                    f"viewers have{'' if has_left else ' not'} left {source}"
                )
            await self._next(_now() + PERIOD)
        if (left := source.times.get("SPICE_MIGRATE_COMPLETED")) is not None:
            self._report.leave_time = left - source.times.get("MIGRATION", left)
        else:
            self._warn(f"{source} ended before viewers had left it")
        if "STOP" in source.times and "RESUME" in target.times:
            self._report.downtime = target.times["RESUME"] - source.times["STOP"]
        self._report.viewers = await self._find_viewers(_now() + RECONNECT_DEADLINE)

    async def _target_state(self) -> str:
        try:
            state: str = (await self._target.execute("query-status"))["status"]
        except CarawayError as error:
            raise MigrationError(f"the VM had been handed over when its target went away: {error}") from error
        return state

    async def _find_viewers(self, deadline: float) -> list[ViewerReport]:
        early = viewers_of(core(self._linked)) - viewers_of(core(self._expected - self._linked))
        while True:
            there = links_of(await self._target.spice.execute("query-spice"))
            newcomers = len(viewers_of(there) - viewers_of(self._expected))
            late = sorted(viewers_of(self._expected) - early)
            if newcomers >= len(late) or _now() >= deadline:
                break
            await self._next(min(deadline, _now() + PERIOD))
        viewers = [self._report_of(viewer, there, Mode.LINKED_EARLY) for viewer in sorted(early)]
        for number, viewer in enumerate(late):
            mode = Mode.SWITCH_HOST if number < newcomers else Mode.LOST
            viewers.append(self._report_of(viewer, there, mode))
        return viewers

    def _report_of(self, viewer: int, there: Links, mode: Mode) -> ViewerReport:
        before = {link for link in self._expected if link.connection_id == viewer}
        kept = sorted(before & there)
        if mode is Mode.LINKED_EARLY and not kept:
            mode = Mode.LOST
        missing = sorted(before - there)
        return ViewerReport(viewer, mode, [link.channel for link in kept], [link.channel for link in missing])

    async def _abandon(self, why: BaseException) -> None:
        """Put the source right and end the target; what cannot be done is told in the log and in notes to `why`."""
        self._tell(phase=Phase.ABANDONING)
        if self._is_started:
            await self._attempt(why, self._cancel())
        elif self._is_announced:
            await self._attempt(why, self._retract())
        if self._is_completed:
            why.add_note("the migration had completed before it could be cancelled: the VM is on the target")
            return
        if self._source.has_ended and self._report.fence_time is not None:
            why.add_note("the source had handed the VM over, in part at least; the target is left as it is")
            return
        if self._is_ours:
            await self._attempt(why, self._end_target())
            await self._attempt(why, self._resume_source())

    async def _attempt(self, why: BaseException, step: Any) -> None:
        try:
            await step
        except CarawayError as error:
            log.warning("after %s: %s", why or type(why).__name__, error)
            why.add_note(str(error))

    async def _cancel(self) -> None:
        await self._source.execute("migrate_cancel")
        await self._wait_over()

    async def _wait_over(self) -> None:
        source = self._source
        until = _now() + ENDING_DEADLINE
        while (status := (await source.execute("query-migrate")).get("status")) in UNDER_WAY and _now() < until:
            await self._pause(_now() + PERIOD)
        self._is_completed = status == "completed"
        if status in UNDER_WAY:
            raise MigrationError(f"{source}: the migration is not over {ENDING_DEADLINE:g} s after it was ended")

    async def _retract(self) -> None:
        """Let a migration fail: that tells viewers that none is coming, and they drop their links to the target."""
        source = self._source
        await source.set_capabilities(pause_before_switchover=False)
        await source.execute("migrate", uri=RETRACT_URI)
        await self._wait_over()

    async def _end_target(self) -> None:
        target = self._target
        if target.has_ended:
            return
        with contextlib.suppress(CarawayError):
            if (await target.execute("query-status"))["status"] != "inmigrate":
                return
            await target.execute("quit")
        try:
            async with asyncio.timeout(ENDING_DEADLINE):
                await target.monitor.ended()
        except TimeoutError:
            raise MigrationError(f"{target}: QEMU does not end {ENDING_DEADLINE:g} s after it was told to") from None

    async def _resume_source(self) -> None:
        source, until = self._source, _now() + ENDING_DEADLINE
        await source.set_capabilities(pause_before_switchover=self._had_fence)
        while (state := (await source.execute("query-status"))["status"]) == "finish-migrate" and _now() < until:
            await self._pause(_now() + PERIOD)
        if self._was_running and self._is_at_fence and state in ("paused", "finish-migrate"):
            await source.execute("cont")


def _now() -> float:
    return asyncio.get_running_loop().time()
