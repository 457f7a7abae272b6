"""Several viewers of one agent: turns, clipboards, files."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.wire.messages.agent import (
    AgentCapability,
    AgentMessage,
    Clipboard,
    ClipboardGrab,
    ClipboardRelease,
    ClipboardRequest,
    ClipboardType,
    FileXferData,
    FileXferResult,
    FileXferStart,
    FileXferStatus,
    Selection,
)
from support.agents import ABLE, LAYOUTS, SERVER, AgentViewer, World, raw, same

TEXT, PNG = ClipboardType.UTF8_TEXT, ClipboardType.IMAGE_PNG


def test_messages_of_two_viewers_do_not_mix() -> None:
    world = World()
    one, two = world.viewer(), world.viewer()
    one.give(raw(99, b"1", 3))
    two.give(raw(98, b"ab"))
    one.give(b"2")
    two.give(raw(97, b""))
    assert not world.stub.said
    one.give(b"3")
    assert world.stub.said == [(1, 99, b"123"), (1, 98, b"ab"), (1, 97, b"")]


@pytest.mark.defect("D-14")
def test_a_viewer_that_leaves_in_a_message_has_it_filled_up() -> None:
    """The rest of its message is filled up: the agent stays in step."""
    world = World()
    one, two = world.viewer(), world.viewer()
    one.give(raw(99, b"begin", 5000))
    two.give(raw(98, b"ab"))
    world.stub.port.pause()
    one.client.close()
    assert not world.stub.said
    world.stub.port.resume()
    assert world.stub.said == [(1, 99, b"begin" + bytes(4995)), (1, 98, b"ab")]
    assert max(world.stub.chunk_sizes) <= 2048


def test_the_last_viewer_that_leaves_is_told_of() -> None:
    world = World()
    one, two, silent = world.viewer(), world.viewer(), AgentViewer(world.agent)
    for viewer, told in (silent, []), (one, []), (two, [(SERVER, 13, b"")]):
        viewer.client.close()
        assert world.stub.said == told


@given(st.data())
def test_any_order_of_bodies_keeps_messages_whole(draw: st.DataObject) -> None:
    world = World()
    viewers = [world.viewer() for _ in range(3)]
    told: list[list[tuple[int, bytes]]] = [[], [], []]
    bodies: list[list[bytes]] = [[], [], []]
    for number, viewer_bodies in enumerate(bodies):
        for index in range(draw.draw(st.integers(0, 4))):
            content = bytes([number, index]) * draw.draw(st.integers(0, 40))
            told[number].append((90 + number, content))
            cuts = sorted(draw.draw(st.lists(st.integers(1, max(1, len(content))), max_size=3, unique=True)))
            pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
            viewer_bodies.append(raw(90 + number, pieces[0], len(content)))
            viewer_bodies += [piece for piece in pieces[1:] if piece]
    while ready := [n for n in range(3) if bodies[n] and viewers[n].tokens]:
        if draw.draw(st.booleans()):
            (world.stub.port.resume if world.stub.port.paused else world.stub.port.pause)()
        number = draw.draw(st.sampled_from(ready))
        viewers[number].give(bodies[number].pop(0))
    world.stub.port.resume()
    for number in range(3):
        for body in bodies[number]:
            viewers[number].give(body)
        assert [(type, content) for _, type, content in world.stub.said if type == 90 + number] == told[number]


def test_copy_in_the_guest_paste_in_one_viewer() -> None:
    world = World()
    one, two = world.viewer(), world.viewer()
    world.stub.send(ClipboardGrab(Selection.CLIPBOARD, 0, [TEXT, PNG]))
    for viewer in (one, two):
        (grab,) = viewer.take(ClipboardGrab)
        assert (grab.selection, grab.serial, grab.types) == (Selection.CLIPBOARD, 0, [TEXT, PNG])
    two.say(ClipboardRequest(Selection.CLIPBOARD, TEXT))
    one.say(ClipboardRequest(Selection.CLIPBOARD, PNG))
    assert [int(message.type) for message in world.stub.messages()] == [TEXT, PNG]  # type: ignore[attr-defined]
    picture = bytes(range(256)) * 100
    world.stub.send(Clipboard(Selection.CLIPBOARD, TEXT, "käse".encode()))
    world.stub.send(Clipboard(Selection.CLIPBOARD, PNG, picture))
    assert [bytes(message.data) for message in two.take(Clipboard)] == ["käse".encode()]
    assert [bytes(message.data) for message in one.take(Clipboard)] == [picture]


def test_copy_in_a_viewer_paste_in_the_guest() -> None:
    world = World()
    one, two = world.viewer(), world.viewer()
    one.say(ClipboardGrab(Selection.CLIPBOARD, 0, [TEXT]))
    world.stub.messages()
    world.stub.send(ClipboardRequest(Selection.CLIPBOARD, TEXT))
    assert one.take(ClipboardRequest)
    assert not two.take(AgentMessage)
    two.say(Clipboard(Selection.CLIPBOARD, TEXT, b"not asked"))
    one.say(Clipboard(Selection.CLIPBOARD, TEXT, b"text" * 2000))
    one.say(Clipboard(Selection.CLIPBOARD, TEXT, b"not asked again"))
    assert same(world.stub.messages(), [Clipboard(Selection.CLIPBOARD, TEXT, b"text" * 2000)])


def test_serials_are_of_each_conversation() -> None:
    world = World()
    one, two = world.viewer(), world.viewer()
    for viewer, serial, agents in (one, 0, 0), (one, 1, 1), (two, 0, 2), (one, 2, 3):
        viewer.say(ClipboardGrab(Selection.CLIPBOARD, serial, [TEXT]))
        (grab,) = world.stub.messages()
        assert isinstance(grab, ClipboardGrab)
        assert grab.serial == agents
    one.say(ClipboardGrab(Selection.CLIPBOARD, 1, [TEXT]))
    world.stub.send(ClipboardGrab(Selection.CLIPBOARD, 3, [TEXT]))
    assert not world.stub.said
    assert not two.heard
    world.stub.send(ClipboardGrab(Selection.CLIPBOARD, 4, [TEXT]))
    assert [grab.serial for grab in one.take(ClipboardGrab)] == [3]
    assert [grab.serial for grab in two.take(ClipboardGrab)] == [1]


def test_a_grab_takes_the_clipboard_from_others() -> None:
    world = World()
    one, two = world.viewer(), world.viewer()
    world.stub.send(ClipboardGrab(Selection.CLIPBOARD, 0, [TEXT]))
    one.say(ClipboardGrab(Selection.CLIPBOARD, 1, [TEXT]))
    assert two.take(ClipboardRelease)
    assert not one.take(ClipboardRelease)
    world.stub.said.clear()
    two.say(ClipboardRequest(Selection.CLIPBOARD, TEXT))
    (refused,) = two.take(Clipboard)
    assert refused.type == ClipboardType.NONE
    assert not world.stub.said
    two.say(ClipboardRelease(Selection.CLIPBOARD))
    assert not world.stub.said
    one.say(ClipboardRelease(Selection.CLIPBOARD))
    assert same(world.stub.messages(), [ClipboardRelease(Selection.CLIPBOARD)])


def test_an_owner_that_leaves_gives_up() -> None:
    world = World()
    one, _ = world.viewer(), world.viewer()
    one.say(ClipboardGrab(Selection.PRIMARY, 0, [TEXT]))
    world.stub.send(ClipboardRequest(Selection.PRIMARY, TEXT))
    world.stub.messages()
    one.client.close()
    nothing = Clipboard(Selection.PRIMARY, ClipboardType.NONE, b"")
    assert same(world.stub.messages(), [nothing, ClipboardRelease(Selection.PRIMARY)])


def test_contents_for_a_viewer_that_has_left_are_for_nobody() -> None:
    world = World()
    one, two = world.viewer(), world.viewer()
    world.stub.send(ClipboardGrab(Selection.CLIPBOARD, 0, [TEXT]))
    one.say(ClipboardRequest(Selection.CLIPBOARD, TEXT))
    two.say(ClipboardRequest(Selection.CLIPBOARD, TEXT))
    one.client.close()
    two.heard.clear()
    world.stub.send(Clipboard(Selection.CLIPBOARD, TEXT, b"for one"))
    assert not two.heard
    world.stub.send(Clipboard(Selection.CLIPBOARD, TEXT, b"for two"))
    assert [bytes(message.data) for message in two.take(Clipboard)] == [b"for two"]


def test_the_guest_is_told_that_nobody_has_a_clipboard() -> None:
    world = World()
    world.viewer()
    world.stub.send(ClipboardRequest(Selection.CLIPBOARD, TEXT))
    assert same(world.stub.messages(), [Clipboard(Selection.CLIPBOARD, ClipboardType.NONE, b"")])


def test_who_comes_later_is_told_what_the_guest_has() -> None:
    world = World()
    world.viewer()
    world.stub.send(ClipboardGrab(Selection.CLIPBOARD, 0, [PNG]))
    late = AgentViewer(world.agent).start()
    (grab,) = late.take(ClipboardGrab)
    assert (grab.serial, grab.types) == (0, [PNG])


def test_layouts_are_translated_for_a_viewer_that_knows_less() -> None:
    world = World()
    plain = world.viewer(ABLE & ~LAYOUTS)
    world.stub.send(ClipboardGrab(Selection.PRIMARY, 0, [TEXT]))
    assert not plain.heard
    world.stub.send(ClipboardGrab(Selection.CLIPBOARD, 0, [TEXT]))
    (grab,) = plain.take(ClipboardGrab)
    assert (grab.selection, grab.serial, grab.types) == (None, None, [TEXT])
    plain.say(ClipboardRequest(None, TEXT))
    assert same(world.stub.messages(), [ClipboardRequest(Selection.CLIPBOARD, TEXT)])
    world.stub.send(Clipboard(Selection.CLIPBOARD, TEXT, b"x" * 5000))
    assert [bytes(message.data) for message in plain.take(Clipboard)] == [b"x" * 5000]
    plain.say(ClipboardGrab(None, None, [TEXT]))
    assert same(world.stub.messages(), [ClipboardGrab(Selection.CLIPBOARD, 1, [TEXT])])
    world.stub.send(ClipboardRequest(Selection.CLIPBOARD, TEXT))
    plain.say(Clipboard(None, TEXT, b"y" * 2040))
    assert same(world.stub.messages(), [Clipboard(Selection.CLIPBOARD, TEXT, b"y" * 2040)])


def test_files_of_two_viewers_have_numbers_of_their_own() -> None:
    world = World()
    one, two = world.viewer(), world.viewer()
    for viewer in (one, two):
        viewer.say(FileXferStart(1, "name"))
    first, second = world.stub.messages()
    assert isinstance(first, FileXferStart)
    assert isinstance(second, FileXferStart)
    assert first.id != second.id
    world.stub.send(FileXferStatus(second.id, FileXferResult.CAN_SEND_DATA, b""))
    assert [status.id for status in two.take(FileXferStatus)] == [1]
    assert not one.heard
    two.say(FileXferData(1, b"content" * 1000))
    assert same(world.stub.messages(), [FileXferData(second.id, b"content" * 1000)])
    world.stub.send(FileXferStatus(second.id, FileXferResult.SUCCESS, b""))
    assert [status.result for status in two.take(FileXferStatus)] == [FileXferResult.SUCCESS]
    two.say(FileXferData(1, b"more"))
    one.say(FileXferStatus(1, FileXferResult.CANCELLED, b""))
    assert same(world.stub.messages(), [FileXferStatus(first.id, FileXferResult.CANCELLED, b"")])


def test_files_of_a_viewer_that_leaves_are_cancelled() -> None:
    world = World()
    one, _ = world.viewer(), world.viewer()
    one.say(FileXferStart(3, "name"))
    (start,) = world.stub.messages()
    assert isinstance(start, FileXferStart)
    one.give(raw(FileXferData.number, struct.pack("<IQ", 3, 5) + b"ab", 17))
    one.client.close()
    padded, cancelled = world.stub.messages()
    assert isinstance(padded, FileXferData)
    assert bytes(padded.data) == b"ab\0\0\0"
    assert same([cancelled], [FileXferStatus(start.id, FileXferResult.CANCELLED, b"")])


def test_details_are_for_viewers_that_know_them() -> None:
    world = World()
    plain = world.viewer(ABLE & ~(1 << AgentCapability.FILE_XFER_DETAILED_ERRORS))
    plain.say(FileXferStart(1, "name"))
    (start,) = world.stub.messages()
    assert isinstance(start, FileXferStart)
    world.stub.send(FileXferStatus(start.id, FileXferResult.NOT_ENOUGH_SPACE, bytes(8)))
    (status,) = plain.take(FileXferStatus)
    assert (status.id, status.result, status.detail) == (1, FileXferResult.ERROR, b"")
