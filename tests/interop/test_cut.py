"""A real server's end: a typed error within the deadline, and nothing left.

One session is recorded; then its bytes are played again and again, each time up to another one.
"""

import struct
from collections.abc import Iterator

import pytest
import pytest_asyncio

import caraway
from caraway.qemu.guest_image import demo_guest
from caraway.qemu.process import Qemu
from caraway.wire.constants import ChannelType
from caraway.wire.messages.display import Mark
from caraway.wire.messages.main import ChannelsList, Init
from support.leaks import nothing_left
from support.playing import LINK_HEADER, RESULT_SIZE, Recorded, Recording, each, playing, short_session
from support.relays import relay

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHANNELS = ["main", "display", "inputs", "cursor"]

EDGE = 16
"""Bytes at both ends of a large body at which is cut at every one."""
STRIDE = 4096


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
    for channel, kinds in (ChannelType.MAIN, {ChannelsList.id, Init.id}), (ChannelType.DISPLAY, {Mark.id}):
        assert kinds <= {kind for kind, _, _ in made[channel].messages}
    assert max(len(one.data) for one in made.values()) > 256_000
    return made


def _whole(data: bytes) -> bytes:
    """Without the beginning of a message that the end of the session cut off."""
    at = LINK_HEADER + struct.unpack_from("<I", data, 12)[0] + RESULT_SIZE
    while at + 6 <= len(data) and (end := at + 6 + struct.unpack_from("<I", data, at + 2)[0]) <= len(data):
        at = end
    return data[:at]


def cuts(recorded: Recorded) -> Iterator[int]:
    """Every byte, but for those far inside a body."""
    yield from range(recorded.linked)
    for _, at, end in recorded.messages:
        edges = *range(at, min(at + 6 + EDGE, end)), *range(max(at, end - EDGE), end)
        yield from sorted({*edges, *range(at, end, STRIDE)})
    yield len(recorded.data)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", CHANNELS)
async def test_recorded_server_ends(recording: Recording, name: str, how: str) -> None:
    channel = ChannelType[name.upper()]

    async def run(cut: int) -> None:
        async with playing(recording, {channel: cut}, how) as uri:
            with pytest.raises(caraway.LinkError, match=f"^{name} 0"):
                await short_session(uri, channel, to_the_end=True)

    with nothing_left():
        await each(cuts(recording[channel]), run)


@pytest.mark.parametrize("name", CHANNELS)
async def test_server_stalls(recording: Recording, name: str) -> None:
    """Sessions wait for what does not come until their deadline, and no longer."""
    channel = ChannelType[name.upper()]
    recorded = recording[channel]
    enough = {
        ChannelType.MAIN: lambda: recorded.end_of(ChannelsList.id),
        ChannelType.DISPLAY: lambda: recorded.end_of(Mark.id),
        ChannelType.INPUTS: lambda: recorded.linked,
        ChannelType.CURSOR: lambda: recorded.linked,
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
