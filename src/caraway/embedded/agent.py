"""The guest's agent: clipboard both ways, and a display that follows the viewer's window (spec/messages.md 10)."""

from __future__ import annotations

import base64
import functools
import logging
import struct
from collections.abc import Callable, Mapping
from typing import Any

from caraway.errors import ProtocolError
from caraway.server.guest import AGENT_PORT_NAME, Port
from caraway.wire.agent_stream import AgentStream, agent_bodies
from caraway.wire.limits import MAX_AGENT_CHUNK
from caraway.wire.messages.agent import (
    AgentCapability,
    AgentMessage,
    AnnounceCapabilities,
    ClientDisconnected,
    Clipboard,
    ClipboardGrab,
    ClipboardRelease,
    ClipboardRequest,
    ClipboardType,
    MonitorsConfig,
    Reply,
    ReplyError,
    Selection,
    unpack_agent,
)

log = logging.getLogger(__name__)

CLIENT_PORT, SERVER_PORT = 1, 2
"""From or to whom a chunk is."""

MAX_TEXT = 1 << 18
"""Bytes of a text that this agent takes or offers."""

_CHUNK = struct.Struct("<II")
_CAPABILITIES = functools.reduce(
    int.__or__,
    (
        1 << capability
        for capability in (
            AgentCapability.MONITORS_CONFIG,
            AgentCapability.REPLY,
            AgentCapability.CLIPBOARD_BY_DEMAND,
            AgentCapability.CLIPBOARD_SELECTION,
            AgentCapability.SPARSE_MONITORS_CONFIG,
            AgentCapability.GUEST_LINEEND_LF,
            AgentCapability.MONITORS_CONFIG_POSITION,
            AgentCapability.FILE_XFER_DISABLED,
            AgentCapability.CLIPBOARD_NO_RELEASE_ON_REGRAB,
            AgentCapability.CLIPBOARD_GRAB_SERIAL,
        )
    ),
)


class Agent:
    """One program in the guest, behind its port.

    resize: asked for a size of the display; False: it cannot be that.
    pasted: the viewer's clipboard has come.
    """

    def __init__(self, resize: Callable[[int, int], bool], pasted: Callable[[], None]) -> None:
        self.port = Port(AGENT_PORT_NAME)
        self.clipboard = ""
        """The text that the viewer has copied last."""
        self.offered: str | None = None
        """What the guest has copied, while its clipboard is the newer one."""
        self._resize, self._pasted = resize, pasted
        self._chunks = bytearray()
        self._streams = {CLIENT_PORT: AgentStream(MAX_TEXT + 64), SERVER_PORT: AgentStream(MAX_TEXT)}
        self._forget_client()
        self.port.received.connect(self._received)
        self.port.viewer_opening.connect(self._viewer_came)
        self.port.open()

    def copy(self, text: str) -> None:
        """The guest copies a text: offer it to the viewer."""
        self.offered = text.encode()[:MAX_TEXT].decode(errors="ignore")
        if self._can(AgentCapability.CLIPBOARD_BY_DEMAND):
            self._send(ClipboardGrab(self._selection, self._next_serial(), [ClipboardType.UTF8_TEXT]))

    def _forget_client(self) -> None:
        self._agreed = 0
        self._serial = 0
        self._is_announced = False

    def _can(self, capability: AgentCapability) -> bool:
        return bool(self._agreed >> capability & 1)

    @property
    def _selection(self) -> Selection | None:
        return Selection.CLIPBOARD if self._can(AgentCapability.CLIPBOARD_SELECTION) else None

    def _next_serial(self) -> int | None:
        if not self._can(AgentCapability.CLIPBOARD_GRAB_SERIAL):
            return None
        self._serial += 1
        return self._serial - 1

    def _viewer_came(self) -> None:
        self._forget_client()
        if self.port.connected:
            self._announce(request=True)

    def _announce(self, *, request: bool) -> None:
        self._is_announced = True
        self._send(AnnounceCapabilities(request, [_CAPABILITIES]))

    def _send(self, message: AgentMessage) -> None:
        for body in agent_bodies(message, self._agreed):
            self.port.write(_CHUNK.pack(CLIENT_PORT, len(body)) + body)

    def _received(self, data: bytes) -> None:
        try:
            self._take(data)
        except ProtocolError as error:
            log.warning("the agent begins anew: %s", error)
            self._chunks.clear()
            for stream in self._streams.values():
                stream.reset()
            self._forget_client()
            self.port.close()
            self.port.open()

    def _take(self, data: bytes) -> None:
        self._chunks += data
        while len(self._chunks) >= _CHUNK.size:
            port, size = _CHUNK.unpack_from(self._chunks)
            if port not in self._streams or not 0 < size <= MAX_AGENT_CHUNK:
                raise ProtocolError(f"agent: chunk of {size} bytes for port {port}")
            if len(self._chunks) < _CHUNK.size + size:
                return
            body = bytes(self._chunks[_CHUNK.size : _CHUNK.size + size])
            del self._chunks[: _CHUNK.size + size]
            for type, payload in self._streams[port].feed(body):
                message = unpack_agent(type, payload, self._agreed)
                if message is not None:
                    self._handle(port, message)

    def _handle(self, port: int, message: AgentMessage) -> None:
        match message:
            case AnnounceCapabilities():
                self._agree(message)
            case MonitorsConfig():
                self._fit(message)
            case ClipboardGrab():
                self._grabbed(message)
            case ClipboardRequest():
                self._requested(message)
            case Clipboard() if message.type == ClipboardType.UTF8_TEXT:
                self.clipboard = bytes(message.data).decode(errors="replace")
                self._pasted()
            case ClipboardRelease():
                self.clipboard = ""
                self._pasted()
            case ClientDisconnected() if port == SERVER_PORT:
                self._forget_client()

    def _agree(self, message: AnnounceCapabilities) -> None:
        if message.request or not self._is_announced:
            self._announce(request=False)
        self._agreed = _CAPABILITIES & (message.capabilities[0] if message.capabilities else 0)

    def _fit(self, message: MonitorsConfig) -> None:
        wanted = next((m for m in message.monitors if m.width and m.height), None)
        done = wanted is not None and self._resize(wanted.width, wanted.height)
        if self._can(AgentCapability.REPLY):
            self._send(Reply(MonitorsConfig.number, ReplyError.SUCCESS if done else ReplyError.ERROR))

    def _grabbed(self, message: ClipboardGrab) -> None:
        if message.serial is not None:
            if message.serial != self._serial:
                return
            self._serial += 1
        if message.selection in (None, Selection.CLIPBOARD):
            self.offered = None
            if ClipboardType.UTF8_TEXT in message.types:
                self._send(ClipboardRequest(message.selection, ClipboardType.UTF8_TEXT))

    def _requested(self, message: ClipboardRequest) -> None:
        """Answer; with nothing if the viewer is slower to take answers than to ask."""
        if self.offered is None or message.type != ClipboardType.UTF8_TEXT or self.port.flooded:
            self._send(Clipboard(message.selection, ClipboardType.NONE, b""))
        else:
            self._send(Clipboard(message.selection, ClipboardType.UTF8_TEXT, self.offered.encode()))

    def save(self) -> dict[str, Any]:
        """The state as JSON's types."""
        return {
            "clipboard": self.clipboard,
            "offered": self.offered,
            "agreed": self._agreed,
            "serial": self._serial,
            "announced": self._is_announced,
            "chunks": _text(self._chunks),
            "client": _text(self._streams[CLIENT_PORT].pending),
            "server": _text(self._streams[SERVER_PORT].pending),
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Be as `save` told, with the same viewer."""
        self.clipboard, self.offered = str(saved["clipboard"]), saved["offered"]
        self._agreed, self._serial = int(saved["agreed"]) & _CAPABILITIES, int(saved["serial"])
        self._is_announced = bool(saved["announced"])
        self._chunks[:] = base64.b64decode(saved["chunks"])
        for stream, name in zip(self._streams.values(), ("client", "server"), strict=True):
            stream.reset()
            stream.feed(base64.b64decode(saved[name]))


def _text(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()
