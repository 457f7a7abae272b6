"""The link stage of a connection and its authentication, both sides, as machines without I/O (spec/wire.md 2, 3).

Bytes go in by `receive()` in any pieces, bytes to send come out of `data_to_send()`; `eof()` tells of the connection's
end. When a machine is `done`, data messages begin with `rest`. What ends the link is raised as a typed error; what
`data_to_send()` holds then is still to be sent before closing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from caraway.errors import AuthError, CarawayError, LinkError, ProtocolError
from caraway.wire.capabilities import Capabilities, CommonCapability
from caraway.wire.constants import ChannelType, LinkErrorCode
from caraway.wire.fields import Buffer, LayoutError, Struct, codec
from caraway.wire.limits import (
    MAX_EARLY_LINK_BYTES,
    MAX_LINK_SIZE,
    MAX_SASL_DATA,
    MAX_SASL_MECHANISM_LIST,
    MAX_SASL_MECHANISM_NAME,
)
from caraway.wire.messages.link import (
    MAGIC,
    MAJOR,
    PUBLIC_KEY_SIZE,
    TICKET_SIZE,
    AuthMechanism,
    LinkHeader,
    LinkMessage,
    LinkReply,
    LinkResult,
    SaslComplete,
    SaslCount,
    SaslData,
    pack_error_reply,
    pack_link,
    unpack_capabilities,
)
from caraway.wire.ticket import TicketKey, encrypt

if TYPE_CHECKING:
    from caraway.wire.sasl import Lookup

AUTH_SELECTION, MINI_HEADER = CommonCapability.AUTH_SELECTION, CommonCapability.MINI_HEADER
TICKET, SASL = CommonCapability.AUTH_SPICE, CommonCapability.AUTH_SASL

CLIENT_COMMON = Capabilities(CommonCapability)
"""What a client announces unless told otherwise."""

SERVER_COMMON = Capabilities([AUTH_SELECTION, MINI_HEADER])
"""What a server announces besides the mechanisms that it offers."""

SASL_MECHANISMS = ("SCRAM-SHA-256", "PLAIN")

EXPLANATIONS = {
    LinkErrorCode.ERROR: "the server failed",
    LinkErrorCode.INVALID_MAGIC: "the server does not take this for SPICE",
    LinkErrorCode.INVALID_DATA: "the server does not understand the link message or the mechanism",
    LinkErrorCode.VERSION_MISMATCH: "the server speaks another version, or wants SASL",
    LinkErrorCode.NEED_SECURED: "the server wants TLS for this channel: connect to its TLS port",
    LinkErrorCode.NEED_UNSECURED: "the server wants this channel without TLS: connect to its plain port",
    LinkErrorCode.BAD_CONNECTION_ID: "the session is gone",
    LinkErrorCode.CHANNEL_NOT_AVAILABLE: "the channel is gone",
}
DENIED = "the password is wrong, missing or expired"

_MAGIC_WORD = int.from_bytes(MAGIC, "little")
"""What a reply in place of a number reads like."""

S = TypeVar("S", bound=Struct)
Steps = Generator[int, bytes, None]
"""A side of the conversation: yields how many bytes it needs next, is sent them."""


class LinkRefusedError(LinkError):
    """The server answered a link with an error: `code` says which."""

    def __init__(self, code: LinkErrorCode | int) -> None:
        text = EXPLANATIONS.get(code, "the server refused") if isinstance(code, LinkErrorCode) else "the server refused"
        name = code.name if isinstance(code, LinkErrorCode) else "unknown"
        super().__init__(f"{text} (link error {int(code)}, {name})")
        self.code = code


def channel_name(channel_type: ChannelType | int, channel_id: int) -> str:
    """How errors and logs name a channel: `display 0`."""
    name = channel_type.name.lower() if isinstance(channel_type, ChannelType) else f"channel type {channel_type}"
    return f"{name} {channel_id}"


class _Conversation(ABC):
    """What both sides share: bytes in and out, and steps that ask for bytes as they go."""

    name: str
    """Of the channel, in errors."""

    def __init__(self) -> None:
        self.done = False
        """The link is made; data messages follow."""
        self.closed = False
        """The link has failed: send what is there and close."""
        self._in = bytearray()
        self._out = bytearray()
        self._ending: CarawayError = LinkError("the connection ended")
        """What it means if the connection ends now."""
        self._steps = self._run()
        self._needs = next(self._steps)

    @abstractmethod
    def _run(self) -> Steps:
        """The conversation, from this side."""

    def _waits(self) -> bool:
        """Whether the steps cannot go on, whatever comes."""
        return False

    def receive(self, data: Buffer) -> None:
        """Take bytes from the peer. Raises what ends the link: LinkError, AuthError, ProtocolError."""
        if not self.closed:
            self._in += data
            self._advance()

    def data_to_send(self) -> bytes:
        """Bytes to send now; each is given once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def eof(self) -> None:
        """Take note that the peer ended the connection. Raises what that means, unless the link is done or failed."""
        if not (self.done or self.closed):
            self.closed = True
            raise self._named(self._ending)

    @property
    def rest(self) -> bytes:
        """Bytes behind the link, once it is done."""
        return bytes(self._in) if self.done else b""

    def _advance(self) -> None:
        try:
            while not (self.done or self.closed or self._waits()) and len(self._in) >= self._needs:
                taken = bytes(self._in[: self._needs])
                del self._in[: self._needs]
                try:
                    self._needs = self._steps.send(taken)
                except StopIteration:
                    self.done = True
        except CarawayError as error:
            self.closed = True
            raise self._named(error) from None

    def _named(self, error: CarawayError) -> CarawayError:
        """The same error, saying which channel it is about."""
        error.args = (f"{self.name}: {error}",)
        return error

    def _send(self, *structures: Struct) -> None:
        for structure in structures:
            self._out += structure.pack()

    @staticmethod
    def _read(kind: type[S]) -> Generator[int, bytes, S]:
        """A structure of fixed size."""
        return kind.unpack((yield codec(kind).minimum))


class ClientLink(_Conversation):
    """A client's link of one channel.

    connection_id: 0 for the main channel of a new session, else the session's id.
    common, channel: capabilities to announce.
    password: empty if the server wants none. It is sent in a ticket; by SASL only with a user name and if `secure`.
    secure: whether the connection is protected by TLS (or does not leave this machine).
    """

    def __init__(
        self,
        connection_id: int,
        channel_type: ChannelType,
        channel_id: int,
        *,
        common: Capabilities = CLIENT_COMMON,
        channel: Capabilities = Capabilities(),  # noqa: B008 - immutable
        password: str = "",
        username: str | None = None,
        secure: bool = False,
    ) -> None:
        self.name = channel_name(channel_type, channel_id)
        self.server_common = Capabilities()
        self.server_channel = Capabilities()
        self._common = common
        self._password, self._username, self._secure = password, username, secure
        self._silent = True
        super().__init__()
        message = LinkMessage(connection_id, channel_type, channel_id, 0, 0, 0)
        self._out += pack_link(message, common, channel)

    @property
    def mini_header(self) -> bool:
        """Whether data messages have the header of 6 bytes: both sides can."""
        return self._agreed(MINI_HEADER)

    @property
    def answered(self) -> bool:
        """Whether the server has said anything."""
        return not self._silent

    def _agreed(self, capability: CommonCapability) -> bool:
        return capability in self._common & self.server_common

    def eof(self) -> None:
        if self._silent and not self._in:
            self._ending = LinkError("no reply: the server has no such channel, or this is its TLS port")
        super().eof()

    def _run(self) -> Steps:
        self._ends("in its link reply")
        head = yield codec(LinkHeader).minimum
        self._silent = False
        reply, body = yield from self._reply(LinkHeader.unpack(head))
        try:
            self.server_common, self.server_channel = unpack_capabilities(reply, body)
        except LayoutError as error:
            raise ProtocolError(f"link reply at byte {error.offset}: {error.text}") from None
        if self._mechanism() is SASL:
            yield from self._sasl()
        else:
            self._ends("instead of a link result")
            if not any(reply.pub_key):
                raise AuthError("the server takes no ticket on this connection")
            self._out += encrypt(reply.pub_key, self._password)
        self._password = ""
        self._check((yield from self._number()))

    def _ends(self, where: str) -> None:
        self._ending = LinkError(f"the server closed the connection {where}")

    def _reply(self, header: LinkHeader) -> Generator[int, bytes, tuple[LinkReply, bytes]]:
        """The rest of a reply; one with an error is raised."""
        if header.magic != MAGIC:
            raise ProtocolError(f"not a SPICE server (or a TLS port): it says {header.magic!r}, not {MAGIC!r}")
        if header.major != MAJOR:
            raise ProtocolError(f"the server speaks SPICE {header.major}, not {MAJOR}")
        least = codec(LinkReply).minimum
        if not least <= header.size <= MAX_LINK_SIZE:
            raise ProtocolError(f"link reply of {header.size} bytes, not {least} to {MAX_LINK_SIZE}")
        body = yield header.size
        reply = LinkReply.unpack(body)
        self._check(reply.error)
        return reply, body

    def _check(self, code: LinkErrorCode | int) -> None:
        if code == LinkErrorCode.PERMISSION_DENIED:
            raise AuthError(DENIED)
        if code != LinkErrorCode.OK:
            raise LinkRefusedError(code)

    def _number(self) -> Generator[int, bytes, LinkErrorCode | int]:
        """A number, in place of which the server may send an error reply."""
        word = yield codec(LinkResult).minimum
        number = LinkResult.unpack(word).error
        if number != _MAGIC_WORD:
            return number
        header = LinkHeader.unpack(word + (yield codec(LinkHeader).minimum - len(word)))
        yield from self._reply(header)
        raise ProtocolError("a second link reply without an error")

    def _mechanism(self) -> CommonCapability:
        """Choose a mechanism that the server advertises, and tell it."""
        if not self._agreed(AUTH_SELECTION):
            return TICKET
        chosen = self._choice()
        self._send(AuthMechanism(chosen))
        return chosen

    def _choice(self) -> CommonCapability:
        if self._agreed(SASL) and self._secure and self._username:
            return SASL
        if TICKET in self.server_common:
            return TICKET
        if not self._agreed(SASL):
            raise AuthError("the server offers no way to authenticate that was announced to it")
        if not self._secure:
            raise AuthError("the server wants SASL, which sends no credential without TLS")
        raise AuthError("the server wants SASL, which needs a user name")

    def _sasl(self) -> Steps:
        from caraway.wire.sasl import choose_mechanism

        self._ends("instead of a list of SASL mechanisms")
        offered = yield from self._sasl_data(MAX_SASL_MECHANISM_LIST, "list of SASL mechanisms")
        names = [name for name in offered.decode("ascii", "replace").split(",") if name]
        mechanism = choose_mechanism(names, self._username or "", self._password)
        self._send(SaslData(mechanism.name.encode()), _sasl_message(mechanism.start()))
        self._ending = AuthError(f"the server ended {mechanism.name}: wrong user name or password")
        extra = False
        while True:
            data = yield from self._sasl_data(MAX_SASL_DATA, "SASL challenge")
            complete = (yield from self._read(SaslComplete)).complete
            challenge = _without_nul(data)
            if extra and not complete:
                raise ProtocolError(f"the server does not end {mechanism.name}")
            extra = mechanism.finished
            response = b"" if not challenge and (extra or complete) else mechanism.step(challenge or b"")
            if complete:
                break
            self._send(_sasl_message(response))
        if not mechanism.finished:
            raise AuthError(f"the server ended {mechanism.name} without proving to know the password")
        self._ends("instead of a link result")
        if (yield from self._number()) != LinkErrorCode.OK:
            raise AuthError(f"the server does not accept {mechanism.name} on this connection")

    def _sasl_data(self, limit: int, what: str) -> Generator[int, bytes, bytes]:
        count = int((yield from self._number()))
        if count > limit:
            raise ProtocolError(f"{what} of {count} bytes, limit {limit}")
        return (yield count)


@dataclass(frozen=True, slots=True)
class LinkRequested:
    """A client wants to link a channel: `accept()` or `refuse()` it."""

    connection_id: int
    """0 for a new session (main channel only)."""
    channel_type: ChannelType | int
    """A plain number if it is not known."""
    channel_id: int
    common: Capabilities
    channel: Capabilities


@dataclass(frozen=True, slots=True)
class TicketReceived:
    """The client presents a password: `grant()` or `deny()` it."""

    password: str = field(repr=False)

    def matches(self, password: str) -> bool:
        """Whether it is this one. Takes as long for a nearly right one as for any other."""
        from hmac import compare_digest

        return compare_digest(
            self.password.encode("utf-8", "surrogateescape"), password.encode("utf-8", "surrogateescape")
        )


@dataclass(frozen=True, slots=True)
class SaslAuthenticated:
    """The client has proved to be this user: `grant()` or `deny()` the link."""

    username: str


Question = LinkRequested | TicketReceived | SaslAuthenticated


class ServerLink(_Conversation):
    """A server's side of the link of one channel.

    Its owner answers each `question` by a method; an answer may raise what `receive` raises, when bytes were waiting
    for it. The owner sets deadlines, and keeps WebSocket handshakes away.

    secure: whether the connection is protected by TLS (or does not leave this machine); only then SASL is possible.
    """

    def __init__(self, *, secure: bool = False) -> None:
        self.secure = secure
        self.name = "link"
        self.question: Question | None = None
        """What the owner has to decide before the link goes on."""
        self.common = Capabilities()
        """What was announced to the client."""
        self.channel = Capabilities()
        self.request: LinkRequested | None = None
        """What the client wants, once it has said so."""
        self._ticket_key: TicketKey | None = None
        self._lookup: Lookup | None = None
        self._mechanisms: Sequence[str] = ()
        super().__init__()

    @property
    def mini_header(self) -> bool:
        """Whether data messages have the header of 6 bytes: both sides can."""
        return self._agreed(MINI_HEADER)

    def _agreed(self, capability: CommonCapability) -> bool:
        return self.request is not None and capability in self.common & self.request.common

    def accept(
        self,
        channel: Capabilities = Capabilities(),  # noqa: B008 - immutable
        *,
        ticket_key: TicketKey | None = None,
        sasl: Lookup | None = None,
        mechanisms: Sequence[str] = SASL_MECHANISMS,
        common: Capabilities = SERVER_COMMON,
    ) -> None:
        """Let the client authenticate.

        channel: capabilities of this channel.
        ticket_key: offers tickets. Without it or `sasl` nobody gets in.
        sasl: offers SASL, with these users. Raises ValueError without TLS.
        common: further common capabilities; those of the offered mechanisms are added.
        """
        self._asked(LinkRequested)
        if sasl is not None and not self.secure:
            raise ValueError("SASL is offered over TLS only")
        offered = [kind for kind, means in ((TICKET, ticket_key), (SASL, sasl)) if means is not None]
        self.common, self.channel = common | Capabilities(offered), channel
        self._ticket_key, self._lookup, self._mechanisms = ticket_key, sasl, mechanisms
        self._go_on()

    def refuse(self, code: LinkErrorCode | None = None) -> None:
        """Turn the client away with an error reply; without a code, silently, as for a channel that does not exist."""
        self._asked(LinkRequested)
        if code is not None:
            self._out += pack_error_reply(code)
        self._end()

    def grant(self) -> None:
        """Let the client in."""
        self._asked(TicketReceived, SaslAuthenticated)
        self._send(LinkResult(LinkErrorCode.OK))
        self._go_on()

    def deny(self, code: LinkErrorCode = LinkErrorCode.PERMISSION_DENIED) -> None:
        """Turn the client away with a link result."""
        self._asked(TicketReceived, SaslAuthenticated)
        self._send(LinkResult(code))
        self._end()

    def receive(self, data: Buffer) -> None:
        super().receive(data)
        if self.question is not None and len(self._in) > MAX_EARLY_LINK_BYTES:
            self._end()
            raise ProtocolError(f"{self.name}: {len(self._in)} bytes before an answer, limit {MAX_EARLY_LINK_BYTES}")

    def _asked(self, *kinds: type[Question]) -> None:
        if not isinstance(self.question, kinds):
            raise RuntimeError(f"the question was {self.question!r}")

    def _go_on(self) -> None:
        self.question = None
        self._advance()

    def _end(self) -> None:
        self.question = None
        self.closed = True

    def _waits(self) -> bool:
        return self.question is not None

    def _ask(self, question: Question) -> Steps:
        """Wait for the owner."""
        self.question = question
        yield 0

    def _run(self) -> Steps:
        self._ends("before it had linked")
        request = yield from self._link_message()
        self.name = channel_name(request.channel_type, request.channel_id)
        self.request = request
        yield from self._ask(request)
        if self._ticket_key is None and AUTH_SELECTION not in request.common:
            raise self._error(LinkErrorCode.VERSION_MISMATCH, "the client cannot select SASL, which is the only way")
        pub_key = self._ticket_key.public_bytes if self._ticket_key else bytes(PUBLIC_KEY_SIZE)
        self._out += pack_link(LinkReply(LinkErrorCode.OK, pub_key, 0, 0, 0), self.common, self.channel)
        self._ends("before it had authenticated")
        mechanism: int = TICKET
        if self._agreed(AUTH_SELECTION):
            mechanism = (yield from self._read(AuthMechanism)).mechanism
        if mechanism == TICKET and self._ticket_key is not None:
            yield from self._ticket(self._ticket_key)
        elif mechanism == SASL and self._lookup is not None:
            yield from self._sasl(self._lookup)
        else:
            raise self._error(LinkErrorCode.INVALID_DATA, f"mechanism {mechanism} was not offered")

    def _ends(self, where: str) -> None:
        self._ending = LinkError(f"the client closed the connection {where}")

    def _error(self, code: LinkErrorCode, text: str) -> ProtocolError:
        """Answer with an error reply; the error is for the owner."""
        self._out += pack_error_reply(code)
        return ProtocolError(f"{text} (answered by link error {int(code)}, {code.name})")

    def _link_message(self) -> Generator[int, bytes, LinkRequested]:
        """The client's link message, checked in the order of the deployed server."""
        magic = yield len(MAGIC)
        if magic != MAGIC:
            raise self._error(LinkErrorCode.INVALID_MAGIC, f"{magic!r} is not {MAGIC!r}")
        header = LinkHeader.unpack(magic + (yield codec(LinkHeader).minimum - len(magic)))
        if header.major == 0:
            raise ProtocolError("the client speaks SPICE 0")
        if header.major != MAJOR:
            raise self._error(LinkErrorCode.VERSION_MISMATCH, f"the client speaks SPICE {header.major}")
        least = codec(LinkMessage).minimum
        if not least <= header.size <= MAX_LINK_SIZE:
            raise self._error(LinkErrorCode.INVALID_DATA, f"link message of {header.size} bytes")
        body = yield header.size
        message = LinkMessage.unpack(body)
        try:
            common, channel = unpack_capabilities(message, body)
        except LayoutError as error:
            raise self._error(LinkErrorCode.INVALID_DATA, f"link message: {error.text}") from None
        return LinkRequested(message.connection_id, message.channel_type, message.channel_id, common, channel)

    def _ticket(self, key: TicketKey) -> Steps:
        ticket = yield TICKET_SIZE
        try:
            password = key.decrypt(ticket)
        except AuthError:
            self._send(LinkResult(LinkErrorCode.PERMISSION_DENIED))
            raise
        yield from self._ask(TicketReceived(password))

    def _sasl(self, lookup: Lookup) -> Steps:
        from caraway.wire.sasl import SERVER_MECHANISMS

        self._send(SaslData(f",{','.join(self._mechanisms)},".encode()))
        name = (yield from self._sasl_data(MAX_SASL_MECHANISM_NAME, "mechanism name")).decode("ascii", "replace")
        if name not in self._mechanisms:
            raise self._error(LinkErrorCode.INVALID_DATA, f"SASL mechanism {name!r} was not offered")
        mechanism = SERVER_MECHANISMS[name](lookup)
        response = yield from self._sasl_data(MAX_SASL_DATA, "initial response")
        while True:
            challenge = mechanism.step(_without_nul(response))
            complete = mechanism.username is not None
            self._send(_sasl_message(challenge), SaslComplete(complete))
            if mechanism.username is not None:
                break
            response = yield from self._sasl_data(MAX_SASL_DATA, "SASL response")
        self._send(LinkResult(LinkErrorCode.OK))
        yield from self._ask(SaslAuthenticated(mechanism.username))

    def _sasl_data(self, limit: int, what: str) -> Generator[int, bytes, bytes]:
        count = (yield from self._read(SaslCount)).count
        if count > limit:
            raise ProtocolError(f"{what} of {count} bytes, limit {limit}")
        return (yield count)


def _sasl_message(data: bytes | None) -> SaslData:
    """A response or challenge as it travels: with a NUL, which tells empty data from none."""
    return SaslData(b"" if data is None else data + b"\0")


def _without_nul(data: bytes) -> bytes | None:
    if not data:
        return None
    if data[-1]:
        raise ProtocolError("SASL data does not end in a NUL")
    return data[:-1]
