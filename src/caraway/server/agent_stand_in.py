"""An agent of the server's own, where the guest has none but fits itself to windows.

Viewers tell the sizes of their windows to an agent only (spec/messages.md 10.4). This one says that it takes them; the
server gives them to the guest before they come here.
"""

from __future__ import annotations

from caraway.server.agent_parts import AgentPort, Chunks, Parts, chunks, message_bytes
from caraway.server.guest import AGENT_PORT_NAME, Port
from caraway.wire.messages.agent import AgentCapability, AnnounceCapabilities

CAPABILITIES = (
    1 << AgentCapability.MONITORS_CONFIG
    | 1 << AgentCapability.SPARSE_MONITORS_CONFIG
    | 1 << AgentCapability.MONITORS_CONFIG_POSITION
    | 1 << AgentCapability.FILE_XFER_DISABLED
)


class StandIn:
    """Behind its port, which is always open."""

    def __init__(self) -> None:
        self.port = Port(AGENT_PORT_NAME)
        self.port.open()
        self.port.viewer_opening.connect(self._begin)
        self.port.received.connect(self._received)
        self._begin()

    def _begin(self) -> None:
        self._chunks = Chunks()
        self._parts = Parts()

    def _received(self, data: bytes) -> None:
        for number, piece in self._chunks.feed(data):
            if number is AgentPort.CLIENT:
                for part in self._parts.feed(piece):
                    if part.type == AnnounceCapabilities.number and AnnounceCapabilities.unpack(part.data).request:
                        self._announce()

    def _announce(self) -> None:
        data = AnnounceCapabilities(False, [CAPABILITIES]).pack()
        for chunk in chunks(AgentPort.CLIENT, message_bytes(AnnounceCapabilities.number, data)):
            self.port.write(chunk)
