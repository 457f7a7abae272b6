"""Every message of every channel, every agent message, every blob: there and back, and what damage does to them."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caraway.errors import ProtocolError
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import U32, IfAgreed, Struct, layout
from caraway.wire.limits import MAX_AGENT_MONITORS, MAX_ELEMENTS
from caraway.wire.messages import agent, base, cursor, display, draw, images, inputs, main, migrate_data, spicevmc
from caraway.wire.messages.agent import AGENT_MESSAGES, AgentCapability, unpack_agent
from caraway.wire.messages.migrate_data import unpack_migrate_data
from wire.strategies import structs

few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

MESSAGES = {
    f"{channel.name.lower()}-{sender.name.lower()}-{cls.wire_name()}": cls
    for channel in ChannelType
    for sender in (Sender.CLIENT, Sender.SERVER)
    for number, cls in base.messages(channel, sender).items()
    if number > 100 or channel is ChannelType.MAIN
}
CLIPBOARD_SETS = [
    sum(1 << bit for bit in bits)
    for bits in (
        (),
        (AgentCapability.CLIPBOARD_SELECTION,),
        (AgentCapability.CLIPBOARD_GRAB_SERIAL,),
        (AgentCapability.CLIPBOARD_SELECTION, AgentCapability.CLIPBOARD_GRAB_SERIAL),
    )
]
BLOBS = [
    (ChannelType.MAIN, False, migrate_data.MainMigrateData),
    (ChannelType.DISPLAY, False, migrate_data.DisplayMigrateData),
    (ChannelType.DISPLAY, True, migrate_data.LossyDisplayMigrateData),
    (ChannelType.INPUTS, False, migrate_data.InputsMigrateData),
    (ChannelType.SMARTCARD, False, migrate_data.SmartcardMigrateData),
    (ChannelType.USBREDIR, False, migrate_data.SpicevmcMigrateData),
    (ChannelType.PORT, False, migrate_data.SpicevmcMigrateData),
    (ChannelType.WEBDAV, False, migrate_data.SpicevmcMigrateData),
]
every_message = pytest.mark.parametrize("cls", MESSAGES.values(), ids=MESSAGES.keys())
every_agent_message = pytest.mark.parametrize(
    ("cls", "agreed"),
    [
        pytest.param(cls, agreed, id=f"{cls.wire_name()}-{agreed:#x}")
        for cls in AGENT_MESSAGES.values()
        for agreed in CLIPBOARD_SETS
        if agreed == 0 or any(isinstance(item.condition, IfAgreed) for item in layout(cls))
    ],
)
every_blob = pytest.mark.parametrize(("channel", "lossy", "cls"), BLOBS)


@st.composite
def damaged(draw: st.DrawFn, packed: bytes) -> bytes:
    """Some bytes changed, perhaps to what lengths and offsets are likely to trip over, then perhaps cut or extended."""
    body = bytearray(packed)
    edges = [0, 1, 0x7F, 0x80, 0xFE, 0xFF]
    for _ in range(draw(st.integers(0, 4)) if body else 0):
        at = draw(st.integers(0, len(body) - 1))
        run = draw(st.integers(1, 8))
        body[at : at + run] = bytes([draw(st.sampled_from(edges) | st.integers(0, 255))]) * len(body[at : at + run])
    if draw(st.booleans()):
        del body[draw(st.integers(0, len(body))) :]
    return bytes(body) + draw(st.binary(max_size=3))


# ---- messages of the channels


@every_message
@given(data=st.data())
@few
def test_message_unpacks_to_what_was_packed(cls: type[base.Message], data: st.DataObject) -> None:
    message = data.draw(structs(cls))
    packed = message.pack()
    assert cls.unpack(packed) == message
    assert cls.unpack(packed).pack() == packed
    assert cls.unpack(memoryview(packed)) == message


@every_message
@given(data=st.data())
@few
def test_message_cut_short_or_damaged_is_a_protocol_error_or_another_message(
    cls: type[base.Message], data: st.DataObject
) -> None:
    packed = data.draw(structs(cls)).pack()
    for end in range(len(packed)):
        _unpack_or_protocol_error(cls, packed[:end])
    _unpack_or_protocol_error(cls, data.draw(damaged(packed)))


def _unpack_or_protocol_error(cls: type[base.Message], body: bytes) -> None:
    try:
        message = base.unpack(cls, body, "channel 7")
    except ProtocolError as error:
        text = str(error)
    else:
        assert cls.unpack(message.pack()) == message
        return
    assert re.match(rf"channel 7: {cls.wire_name()} at byte \d+: .", text)


@given(st.sampled_from(list(MESSAGES.values())), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_a_protocol_error_or_a_message(cls: type[base.Message], body: bytes) -> None:
    _unpack_or_protocol_error(cls, body)


def test_tables_hold_the_protocols_numbers() -> None:
    def numbers(channel: ChannelType, sender: Sender) -> list[int]:
        return sorted(number for number in base.messages(channel, sender) if number > 100)

    client, server = Sender.CLIENT, Sender.SERVER
    assert numbers(ChannelType.MAIN, server) == [*range(101, 119), 60001, 60002]
    assert numbers(ChannelType.MAIN, client) == [*range(101, 113), 60001, 60002]
    assert numbers(ChannelType.DISPLAY, server) == [*range(101, 109), *range(122, 127), *range(302, 323)]
    assert numbers(ChannelType.DISPLAY, client) == [*range(101, 106)]
    assert numbers(ChannelType.CURSOR, server) == [*range(101, 109)]
    assert numbers(ChannelType.CURSOR, client) == []
    assert numbers(ChannelType.INPUTS, server) == [101, 102, 111]
    assert numbers(ChannelType.INPUTS, client) == [101, 102, 103, 104, 111, 112, 113, 114]
    assert numbers(ChannelType.PLAYBACK, server) == [*range(101, 108)]
    assert numbers(ChannelType.PLAYBACK, client) == []
    assert numbers(ChannelType.RECORD, server) == [101, 102, 103, 104]
    assert numbers(ChannelType.RECORD, client) == [101, 102, 103]
    assert numbers(ChannelType.SMARTCARD, server) == numbers(ChannelType.SMARTCARD, client) == [101]
    assert numbers(ChannelType.USBREDIR, server) == numbers(ChannelType.USBREDIR, client) == [101, 102]
    for port in (ChannelType.PORT, ChannelType.WEBDAV):
        assert numbers(port, server) == [101, 102, 201, 202]
        assert numbers(port, client) == [101, 102, 201]
    for channel in ChannelType:
        assert sorted(set(base.messages(channel, server)) - {*numbers(channel, server)}) == [*range(1, 9)]
        assert sorted(set(base.messages(channel, client)) - {*numbers(channel, client)}) == [*range(1, 7)]


def test_messages_of_both_directions_share_a_name() -> None:
    assert main.ClientAgentData.wire_name() == main.AgentData.wire_name() == "AGENT_DATA"
    assert spicevmc.ClientPortEvent.wire_name() == spicevmc.PortEvent.wire_name() == "PORT_EVENT"
    assert draw.DrawRop3.wire_name() == "DRAW_ROP3"


def test_a_field_may_not_take_the_name_of_what_describes_a_message() -> None:
    with pytest.raises(TypeError, match="channels"):

        @base.message([], 1, sent_by=Sender.CLIENT)
        class Odd(base.Message):
            channels: U32


# ---- bytes written down in the specification


def test_migrate_begin_bytes() -> None:
    begin = main.MigrateBegin(5900, 65535, "127.0.0.1", None)
    head = bytes.fromhex("0c17 ffff 0a000000 14000000 00000000 00000000")
    assert begin.pack() == head + b"127.0.0.1\0"
    assert len(main.MigrateBeginSeamless(5900, 0, "127.0.0.1", None, 1).pack()) == 34
    assert main.MigrateBeginSeamless(0, 5901, "h", "CN=x", 1).pack().endswith(b"\x01\0\0\0h\0CN=x\0")


def test_port_init_bytes() -> None:
    packed = bytes.fromhex("0e000000 09000000 01") + b"org.spice.p.0\0"
    assert spicevmc.PortInit.unpack(packed) == spicevmc.PortInit("org.spice.p.0", True)
    assert spicevmc.PortInit("org.spice.p.0", True).pack() == packed


def test_draw_copy_offsets() -> None:
    image = images.Image(7, images.ImageFlags(0), 4, 4, images.QuicImage(b"data"))
    mask = images.QMask(images.MaskFlags(0), images.Point(0, 0), None)
    box = display.Rect(0, 0, 4, 4)
    packed = draw.DrawCopy(0, box, None, image, box, draw.Rop.OP_PUT, draw.ScaleMode.NEAREST, mask).pack()
    assert packed[20] == 0
    assert packed[21:25] == (57).to_bytes(4, "little")
    assert packed[41:44] == b"\x08\0\x01"
    assert packed[57 + 8] == 1
    assert packed[57 + 18 :] == b"\x04\0\0\0data"


def test_cursor_without_a_shape_is_two_bytes() -> None:
    init = cursor.Init(cursor.Point16(-1, 2), 0, 0, True, cursor.Cursor(cursor.CursorFlags.NONE, None))
    assert init.pack() == bytes.fromhex("ffff 0200 0000 0000 01 0100")


def test_rect_and_agent_monitors_have_odd_orders() -> None:
    assert display.Rect(top=1, left=2, bottom=3, right=4).pack()[::4] == bytes([1, 2, 3, 4])
    assert agent.MonitorConfig(height=1, width=2, depth=3, x=4, y=5).pack()[::4] == bytes([1, 2, 3, 4, 5])
    assert migrate_data.LossySurface(0, left=1, top=2, right=3, bottom=4).pack()[::4] == bytes([0, 1, 2, 3, 4])


def test_pause_key_fits_a_scancode_message() -> None:
    assert inputs.KeyScancode(bytes.fromhex("e11d45e19dc5")).pack() == bytes.fromhex("e11d45e19dc5")
    assert inputs.KeyUp(0xC8E0).pack() == bytes.fromhex("e0c80000")


def test_compressed_data_of_type_none_has_no_size() -> None:
    assert spicevmc.CompressedData(spicevmc.DataCompression.NONE, None, b"x").pack() == b"\0x"
    assert spicevmc.CompressedData.unpack(b"\x01\x05\0\0\0xy").uncompressed_size == 5


# ---- limits


def test_a_list_longer_than_its_limit_is_refused_before_it_is_read() -> None:
    count = (MAX_ELEMENTS + 1).to_bytes(4, "little")
    with pytest.raises(ProtocolError, match=rf"{MAX_ELEMENTS + 1} entries, limit {MAX_ELEMENTS}"):
        base.unpack(main.ChannelsList, count + bytes(2 * MAX_ELEMENTS + 2), "main 0")
    just = MAX_ELEMENTS.to_bytes(4, "little") + bytes(2 * MAX_ELEMENTS)
    assert len(base.unpack(main.ChannelsList, just, "main 0").entries) == MAX_ELEMENTS


def test_a_count_beyond_the_body_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="needs 20000 bytes, 6 left"):
        base.unpack(main.ChannelsList, (10000).to_bytes(4, "little") + bytes(6), "main 0")


@pytest.mark.parametrize(("count", "fits"), [(MAX_AGENT_MONITORS, True), (MAX_AGENT_MONITORS + 1, False)])
def test_agent_monitors_limit(count: int, fits: bool) -> None:
    packed = agent.MonitorsConfig(0, [agent.MonitorConfig(0, 0, 0, 0, 0)] * count, None).pack()
    if fits:
        config = unpack_agent(agent.MonitorsConfig.number, packed)
        assert isinstance(config, agent.MonitorsConfig)
        assert len(config.monitors) == count
    else:
        with pytest.raises(ProtocolError, match="limit 256"):
            unpack_agent(agent.MonitorsConfig.number, packed)


# ---- agent messages


@every_agent_message
@given(data=st.data())
@few
def test_agent_message_unpacks_to_what_was_packed(
    cls: type[agent.AgentMessage], agreed: int, data: st.DataObject
) -> None:
    message = data.draw(structs(cls, agreed))
    packed = message.pack(agreed)
    assert unpack_agent(cls.number, packed, agreed) == message


@every_agent_message
@given(data=st.data())
@few
def test_agent_message_cut_short_or_damaged_is_a_protocol_error_or_another_message(
    cls: type[agent.AgentMessage], agreed: int, data: st.DataObject
) -> None:
    packed = data.draw(structs(cls, agreed)).pack(agreed)
    for body in [*(packed[:end] for end in range(len(packed))), data.draw(damaged(packed))]:
        try:
            message = unpack_agent(cls.number, body, agreed)
        except ProtocolError as error:
            text = str(error)
        else:
            assert message is not None
            assert unpack_agent(cls.number, message.pack(agreed), agreed) == message
            continue
        assert re.match(rf"agent: {cls.wire_name()} at byte \d+: .", text)


def test_agent_numbers() -> None:
    assert sorted(AGENT_MESSAGES) == [*range(1, 17)]
    assert unpack_agent(17, b"whatever") is None


def test_clipboard_layout_follows_the_agreement() -> None:
    none, selection, serial, both = CLIPBOARD_SETS
    grab = agent.ClipboardGrab(agent.Selection.PRIMARY, 9, [agent.ClipboardType.UTF8_TEXT])
    assert grab.pack(none) == bytes.fromhex("01000000")
    assert grab.pack(selection) == bytes.fromhex("01000000 01000000")
    assert grab.pack(serial) == bytes.fromhex("09000000 01000000")
    assert grab.pack(both) == bytes.fromhex("01000000 09000000 01000000")
    assert agent.ClipboardRelease(agent.Selection.SECONDARY).pack(selection) == bytes.fromhex("02000000")
    assert agent.ClipboardRelease(None).pack(none) == b""


def test_deployed_clients_monitors_config_is_392_bytes() -> None:
    off, unknown = agent.MonitorConfig(0, 0, 0, 0, 0), agent.PhysicalSize(0, 0)
    config = agent.MonitorsConfig(agent.MonitorsConfigFlags(3), [off] * 16, [unknown] * 16)
    assert len(config.pack()) == 392


def test_monitors_and_sizes_go_together() -> None:
    config = agent.MonitorsConfig(agent.MonitorsConfigFlags.PHYSICAL_SIZE, [], [agent.PhysicalSize(1, 1)])
    with pytest.raises(ValueError, match="sizes"):
        config.pack()


def test_file_transfer_status_details() -> None:
    error = agent.FileXferError(0, 12)
    space = agent.FileXferFreeSpace(4096)
    result = agent.FileXferResult
    assert agent.FileXferStatus(1, result.ERROR, error.pack()).details == error
    assert agent.FileXferStatus(1, result.NOT_ENOUGH_SPACE, space.pack()).details == space
    assert agent.FileXferStatus(1, result.NOT_ENOUGH_SPACE, b"").details is None
    assert agent.FileXferStatus(1, result.ERROR, b"\0").details is None
    assert agent.FileXferStatus(1, result.SUCCESS, space.pack()).details is None


FILE_NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1)


@given(FILE_NAMES, st.integers(0, 2**64 - 1))
def test_file_transfer_key_file_carries_any_name(name: str, size: int) -> None:
    text = agent.file_xfer_key_file(name, size)
    if name in (".", ".."):
        with pytest.raises(ProtocolError):
            agent.parse_file_xfer_key_file(text)
    else:
        assert agent.parse_file_xfer_key_file(text) == (name, size)


def test_file_transfer_key_file_bytes() -> None:
    text = agent.file_xfer_key_file(" a\\b\n.txt", 12)
    assert text == "[vdagent-file-xfer]\nname=\\sa\\\\b\\n.txt\nsize=12\n"
    assert agent.FileXferStart(3, text).pack() == b"\x03\0\0\0" + text.encode() + b"\0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name=a\nsize=1\n",
        "[other]\nname=a\nsize=1\n",
        "[vdagent-file-xfer]\nname=a\n",
        "[vdagent-file-xfer]\nsize=1\n",
        "[vdagent-file-xfer]\nname=../a\nsize=1\n",
        "[vdagent-file-xfer]\nname=..\nsize=1\n",
        "[vdagent-file-xfer]\nname=a\\x\nsize=1\n",
        "[vdagent-file-xfer]\nname=a\\\nsize=1\n",
        "[vdagent-file-xfer]\nname=a\nsize=-1\n",
        "[vdagent-file-xfer]\nname=a\nsize=1e3\n",
        "[vdagent-file-xfer]\nname=a\nsize=\u0661\n",
        f"[vdagent-file-xfer]\nname=a\nsize={2**64}\n",
    ],
)
def test_file_transfer_key_file_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="FILE_XFER_START"):
        agent.parse_file_xfer_key_file(text)


@given(st.text())
def test_file_transfer_key_file_of_any_text_parses_or_is_refused(text: str) -> None:
    try:
        name, size = agent.parse_file_xfer_key_file("[vdagent-file-xfer]\n" + text)
    except ProtocolError:
        return
    assert name
    assert size >= 0


# ---- MIGRATE_DATA


@every_blob
@given(data=st.data())
@few
def test_blob_unpacks_to_what_was_packed(
    channel: ChannelType, lossy: bool, cls: type[Struct], data: st.DataObject
) -> None:
    blob = data.draw(structs(cls))
    blob.version = 1
    assert unpack_migrate_data(channel, blob.pack(), lossy=lossy) == blob
    assert unpack_migrate_data(channel, blob.pack() + b"extension", lossy=lossy) == blob


@every_blob
@given(data=st.data())
@few
def test_blob_damaged_is_a_protocol_error_or_another_blob(
    channel: ChannelType, lossy: bool, cls: type[Struct], data: st.DataObject
) -> None:
    packed = data.draw(structs(cls)).pack()
    for body in [*(packed[:end] for end in range(len(packed))), data.draw(damaged(packed))]:
        try:
            blob = unpack_migrate_data(channel, body, lossy=lossy)
        except ProtocolError as error:
            text = str(error)
        else:
            assert unpack_migrate_data(channel, blob.pack(), lossy=lossy) == blob
            continue
        assert re.match(r"\w+: MIGRATE_DATA (\w+ at byte \d+: .|version \d+)", text)


CAPTURED_BLOBS = [
    (ChannelType.MAIN, "4d4e4d44 01000000 01000000" + "00" * 53),
    (
        ChannelType.DISPLAY,
        "44434d44 01000000 2901000000000000 00 01 0000400100000000 01" + "00" * 32 + "01 00fc5f00 04000000"
        "1f01000000000000 50000000 01000000 00000000",
    ),
    (ChannelType.PORT, "53564d44 01000000 01000000 01 ffffffff ffffffff" + "00" * 12),
    (ChannelType.USBREDIR, "53564d44 01000000 01000000 01 ffffffff ffffffff" + "00" * 12),
]


@pytest.mark.parametrize(("channel", "text"), CAPTURED_BLOBS)
def test_blob_of_a_real_migration(channel: ChannelType, text: str) -> None:
    packed = bytes.fromhex(text)
    assert unpack_migrate_data(channel, packed).pack() == packed


def test_main_blob_layout() -> None:
    device = migrate_data.CharDevice(1, True, 0, 0xFFFFFFFE, 9, b"queued")
    blob = migrate_data.MainMigrateData(
        1,
        device,
        True,
        8,
        1,
        20,
        False,
        b"head",
        0,
        migrate_data.FilterResult.FORWARD,
        5,
        migrate_data.FilterResult.DISCARD,
    )
    packed = blob.pack()
    assert packed[29:33] == (65).to_bytes(4, "little")
    assert packed[47:55] == (4).to_bytes(4, "little") + (71).to_bytes(4, "little")
    assert packed[59:65] == bytes.fromhex("00 05000000 01")
    assert packed[65:] == b"queuedhead"


def test_blob_with_foreign_magic_or_newer_version_is_refused() -> None:
    with pytest.raises(ProtocolError, match="magic"):
        unpack_migrate_data(ChannelType.INPUTS, b"XXXX\x01\0\0\0\0\0")
    with pytest.raises(ProtocolError, match="version 2"):
        unpack_migrate_data(ChannelType.INPUTS, b"ICMD\x02\0\0\0\0\0")
    with pytest.raises(ProtocolError, match="cursor"):
        unpack_migrate_data(ChannelType.CURSOR, b"ICMD\x01\0\0\0\0\0")
