"""WebSocket under a SPICE connection: bytes of the socket in, bytes of the stream out, and back (spec/wire.md 11).

The protocol is that of `websockets`, without its sockets. Messages and frames mean nothing to SPICE: their payloads are
one byte stream.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from caraway.errors import LinkError, ProtocolError
from caraway.wire.fields import Buffer

if TYPE_CHECKING:
    from websockets.server import ServerProtocol
    from websockets.typing import Subprotocol

REQUEST_BEGINS = b"GET "
"""By its first bytes a WebSocket client is told from a SPICE client."""

MAX_REQUEST = 16 << 10
"""Bytes of an opening request: browsers send cookies along."""

MAX_FRAME = 1 << 20
"""Bytes of a frame from a client: more than any message of a channel."""

SUBPROTOCOL = "binary"

_protocol_log = logging.getLogger(f"{__name__}.protocol")
_protocol_log.setLevel(logging.WARNING)


class WebSocket:
    """The server's end of one WebSocket."""

    def __init__(self) -> None:
        from websockets.server import ServerProtocol
        from websockets.typing import Subprotocol

        self._protocol: ServerProtocol = ServerProtocol(
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            select_subprotocol=_select,
            max_size=MAX_FRAME,
            logger=_protocol_log,
        )
        self._request = 0
        self._ended = False

    def receive(self, data: Buffer) -> bytes:
        """Take bytes of the socket; gives those of the stream. Raises LinkError or ProtocolError."""
        from websockets.frames import Frame, Opcode
        from websockets.http11 import Request

        protocol = self._protocol
        if protocol.state.name == "CONNECTING":
            self._request += len(data)
            if self._request > MAX_REQUEST:
                raise LinkError(f"WebSocket request of more than {MAX_REQUEST} bytes")
        protocol.receive_data(bytes(data))
        stream = bytearray()
        for event in protocol.events_received():
            if isinstance(event, Request):
                response = protocol.accept(event)
                protocol.send_response(response)
                if protocol.handshake_exc is not None:
                    raise LinkError(f"WebSocket: {protocol.handshake_exc}")
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                stream += event.data
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                raise ProtocolError("WebSocket: text where binary data belongs")
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                self._ended = True
        failure = protocol.parser_exc or protocol.handshake_exc
        if failure is not None:
            raise ProtocolError(f"WebSocket: {failure}")
        return bytes(stream)

    @property
    def ended(self) -> bool:
        """Whether the client has closed the WebSocket."""
        return self._ended

    def wrap(self, data: bytes) -> bytes:
        """Bytes of the stream as bytes for the socket."""
        if self._protocol.state.name == "OPEN":
            self._protocol.send_binary(data)
        return self.data_to_send()

    def close(self) -> bytes:
        """What tells the client that the stream ends."""
        if self._protocol.state.name == "OPEN":
            self._protocol.send_close()
        return self.data_to_send()

    def data_to_send(self) -> bytes:
        """What the protocol itself has to say: its response, pongs, the end."""
        return b"".join(self._protocol.data_to_send())


def _select(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The subprotocol: `binary` if it is among those that the client offers; none if it offers none of them."""
    return next((each for each in offered if each == SUBPROTOCOL), None)
