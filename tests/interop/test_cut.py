"""The server's end at any byte: a typed error within the deadline, and nothing left.

One session of a real server is recorded; then its bytes are played again and again, each time up to another one.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

import caraway
from caraway.qemu.guest_image import demo_guest
from caraway.qemu.process import Qemu
from caraway.wire.constants import ChannelType
from caraway.wire.framing import FrameReader
from caraway.wire.messages.display import Mark
from caraway.wire.messages.main import ChannelsList, Init
from support.leaks import nothing_left
from support.relays import listening, relay, reset

pytestmark = pytest.mark.asyncio(loop_scope="session")

LINK_HEADER = 16
RESULT_SIZE = 4
CHANNELS = {"main": ChannelType.MAIN, "display": ChannelType.DISPLAY, "inputs": ChannelType.INPUTS}

AT_ONCE = 32
"""Sessions that run at the same time."""

EDGE = 48
"""Bytes at both ends of a large body at which is cut at every one."""
STRIDE = 512

DEADLINE = 60.0
"""Seconds: what must be noticed at once is noticed long before, also on a busy machine."""


@dataclass
class Recorded:
    """What the server sent on one channel."""

    data: bytes
    linked: int = 0
    """Bytes up to the end of the link result."""
    ends: dict[int, int] = field(default_factory=dict)
    """Bytes up to the end of the first message of each type."""
    cuts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.linked = LINK_HEADER + struct.unpack_from("<I", self.data, 12)[0] + RESULT_SIZE
        at, reader = self.linked, FrameReader(mini=True)
        self.cuts = list(range(at))
        for frame in reader.feed(self.data[at:]):
            end = at + 6 + len(frame.body)
            near = {*range(at, min(at + 6 + EDGE, end)), *range(max(at, end - EDGE), end), *range(at, end, STRIDE)}
            self.cuts += sorted(near)
            self.ends.setdefault(frame.type, end)
            at = end
        assert at == len(self.data)
        self.cuts.append(at)


Recording = dict[ChannelType, Recorded]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def recording(demo_vm: Qemu) -> Recording:
    """A session of a real server: connect, ready, screenshot."""
    assert demo_vm.spice is not None
    async with relay("127.0.0.1", demo_vm.spice.port or 0) as (seen, port):
        async with caraway.connect(f"spice://127.0.0.1:{port}") as session:
            await session.display.ready()
            session.display.screenshot()
        sent = {ChannelType(piped.channel_type): _whole(bytes(piped.to_client)) for piped in seen.connections}
    made = {type: Recorded(data) for type, data in sent.items()}
    assert {ChannelsList.id, Init.id} <= set(made[ChannelType.MAIN].ends)
    assert Mark.id in made[ChannelType.DISPLAY].ends
    assert max(len(one.data) for one in made.values()) > 256_000
    return made


def _whole(data: bytes) -> bytes:
    """Without the beginning of a message that the end of the session cut off."""
    at = LINK_HEADER + struct.unpack_from("<I", data, 12)[0] + RESULT_SIZE
    while at + 6 <= len(data) and (end := at + 6 + struct.unpack_from("<I", data, at + 2)[0]) <= len(data):
        at = end
    return data[:at]


class Player:
    """Plays a recording: how much of it is a matter of the port that the client connects to."""

    def __init__(self, recording: Recording, limits: Mapping[ChannelType, int], how: str) -> None:
        self.recording = recording
        self.limits = limits
        self.how = how

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(LINK_HEADER)
        link = await reader.readexactly(struct.unpack_from("<I", head, 12)[0])
        type = ChannelType(link[4])
        limit = self.limits.get(type)
        try:
            writer.write(self.recording[type].data[:limit])
            await writer.drain()
            if limit is None or self.how == "stall":
                # The client may go on as it likes.
                while await reader.read(65536):
                    pass
            elif self.how == "close":
                writer.write_eof()
                while await reader.read(65536):
                    pass
            else:
                reset(writer)
                return
        except OSError:
            pass
        writer.close()


@asynccontextmanager
async def playing(recording: Recording, limits: Mapping[ChannelType, int], how: str) -> AsyncIterator[str]:
    async with listening(Player(recording, limits, how).serve) as port:
        yield f"spice://127.0.0.1:{port}"


async def short_session(uri: str, channel: ChannelType, timeout: float = DEADLINE, *, to_the_end: bool = False) -> None:
    """Connect, wait for the picture, take it; then wait for the channel's end, which is noticed unasked."""
    wanted = [] if channel is ChannelType.MAIN else [channel.name.lower()]
    async with caraway.connect(uri, channels=wanted, timeout=timeout) as session:
        if channel is ChannelType.DISPLAY:
            await session.display.ready(timeout)
            session.display.screenshot()
        if to_the_end:
            await session.channels[channel, 0].until(asyncio.Event().wait())


async def each(cuts: Iterable[int], run: object) -> None:
    waiting = iter(cuts)

    async def work() -> None:
        for cut in waiting:
            await run(cut)  # type: ignore[operator]

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", CHANNELS)
async def test_server_ends_at_any_byte(recording: Recording, name: str, how: str) -> None:
    channel = CHANNELS[name]

    async def run(cut: int) -> None:
        async with playing(recording, {channel: cut}, how) as uri:
            with pytest.raises(caraway.LinkError, match=f"^{name} 0"):
                await short_session(uri, channel, to_the_end=True)

    with nothing_left():
        await each(recording[channel].cuts, run)


@pytest.mark.parametrize("name", CHANNELS)
async def test_server_stalls(recording: Recording, name: str) -> None:
    """Sessions wait for what does not come until their deadline, and no longer."""
    channel = CHANNELS[name]
    recorded = recording[channel]
    enough = {
        ChannelType.MAIN: lambda: recorded.ends[ChannelsList.id],
        ChannelType.DISPLAY: lambda: recorded.ends[Mark.id],
        ChannelType.INPUTS: lambda: recorded.linked,
    }[channel]()
    too_few = [0, 1, 15, 16, 17, LINK_HEADER + 178, recorded.linked - 4, recorded.linked - 1]
    too_few += [cut for cut in (recorded.linked, recorded.linked + 5, enough - 1) if cut < enough]

    async def fails(cut: int) -> None:
        async with playing(recording, {channel: cut}, "stall") as uri:
            with pytest.raises(caraway.DeadlineError, match=r"not within 0.3 s"):
                await short_session(uri, channel, 0.3)

    async def works(cut: int) -> None:
        async with playing(recording, {channel: cut}, "stall") as uri:
            await short_session(uri, channel)

    with nothing_left():
        await each(too_few, fails)
        await each([enough, len(recorded.data)], works)


async def test_silent_server_counts_as_gone(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.client.main.SILENCE_LIMIT", 0.1)
    with nothing_left():
        async with playing(recording, {ChannelType.MAIN: len(recording[ChannelType.MAIN].data)}, "stall") as uri:
            with pytest.raises(caraway.DeadlineError, match=r"main 0 of .*a sign of life"):
                await short_session(uri, ChannelType.MAIN, to_the_end=True)


@pytest.mark.parametrize("by_reset", [False, True], ids=["close", "reset"])
async def test_real_server_is_cut_off(recording: Recording, by_reset: bool) -> None:
    """The same without the recording between.

    Not right behind the link of display and cursor: libspice-server 0.15.1 does not survive that.
    """
    async with Qemu(demo_guest(), spice={"disable-ticketing": True}) as vm:
        await vm.wait_for("@ready")
        assert vm.spice is not None
        for channel, recorded in recording.items():
            cuts = [0, 20, len(recorded.data) - 20]
            if channel in (ChannelType.MAIN, ChannelType.INPUTS):
                cuts += [recorded.linked - 1, recorded.linked, recorded.linked + 7]
            for cut in cuts:
                with nothing_left():
                    async with relay("127.0.0.1", vm.spice.port or 0) as (between, port):
                        between.cut_by_reset = by_reset
                        between.cut = lambda piped, type=channel, at=cut: at if piped.channel_type == type else None
                        with pytest.raises(caraway.LinkError, match=channel.name.lower()):
                            await short_session(f"spice://127.0.0.1:{port}", channel, to_the_end=True)
