"""WebSocket under a SPICE connection: bytes of the socket in, bytes of the stream out, and back (spec/wire.md 11).

The protocol is that of `websockets`, without its sockets. Messages and frames mean nothing to SPICE: their payloads are
one byte stream.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from caraway.errors import LinkError, ProtocolError
from caraway.wire.fields import Buffer

if TYPE_CHECKING:
    from websockets.http11 import Request
    from websockets.server import ServerProtocol
    from websockets.typing import Subprotocol

REQUEST_BEGINS = b"GET "
"""By its first bytes a WebSocket client is told from a SPICE client."""

REQUEST_ENDS = b"\r\n\r\n"

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
        self._request: bytearray | None = bytearray()
        self._ended = False

    def receive(self, data: Buffer) -> bytes:
        """Take bytes of the socket; gives those of the stream. Raises LinkError or ProtocolError."""
        if self._request is None:
            return self._frames(bytes(data))
        self._request += data
        end = self._request.find(REQUEST_ENDS)
        if end > MAX_REQUEST or (end < 0 and len(self._request) > MAX_REQUEST):
            raise LinkError(f"WebSocket request of more than {MAX_REQUEST} bytes")
        if end < 0:
            return b""
        end += len(REQUEST_ENDS)
        request, behind, self._request = bytes(self._request[:end]), bytes(self._request[end:]), None
        self._shake_hands(request)
        return self._frames(behind)

    def _shake_hands(self, request: bytes) -> None:
        """Answer a whole request."""
        protocol = self._protocol
        protocol.receive_data(request)
        for event in protocol.events_received():
            protocol.send_response(protocol.accept(cast("Request", event)))
        if protocol.handshake_exc is not None:
            raise LinkError(f"WebSocket: {str(protocol.handshake_exc)!a}")

    def _frames(self, data: bytes) -> bytes:
        """The payloads of frames."""
        from websockets.frames import Frame, Opcode

        protocol = self._protocol
        protocol.receive_data(data)
        stream = bytearray()
        for event in protocol.events_received():
            frame = cast(Frame, event)
            if frame.opcode in (Opcode.BINARY, Opcode.CONT):
                stream += frame.data
            elif frame.opcode is Opcode.TEXT:
                raise ProtocolError("WebSocket: text where binary data belongs")
            elif frame.opcode is Opcode.CLOSE:
                self._ended = True
        if protocol.parser_exc is not None:
            raise ProtocolError(f"WebSocket: {str(protocol.parser_exc)!a}")
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
