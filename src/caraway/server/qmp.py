"""The protocol of the control socket, without a socket: QMP as QEMU 7.2 speaks it on its monitors.

A client is greeted, negotiates capabilities, and then sends requests, JSON objects in a row; every one is answered, and
events come between the answers. Names, classes and texts of errors are QEMU's own, so that whatever drives a monitor
of QEMU drives this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from caraway.errors import CarawayError, ProtocolError

MAX_REQUEST = 4 << 20
"""Bytes of a request: the state of a port with a megabyte that waits for the guest, in base64."""

MAX_NESTING = 64
"""Arrays and objects in each other; only an `id` nests at all. QEMU takes 1024, more than Python's parser does."""

VERSION = {"major": 7, "minor": 2, "micro": 0}
"""The QEMU whose commands these are."""

CAPABILITIES = ("oob",)
"""What QEMU's clients may ask for. Nothing of it is offered here: no command takes long."""

TYPES: Mapping[str, type] = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}

_MARK = re.compile(rb'[\x00-\x1f"\\{}\[\]]')
_QUOTE, _BACKSLASH, _NEWLINE = b'"\\\n'


class CommandError(CarawayError):
    """A request is refused.

    kind: QMP's class of the error.
    """

    def __init__(self, message: str, kind: str = "GenericError") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument that a command takes.

    type: JSON's, as QEMU's errors say it. values: the strings that it takes, if not all.
    """

    name: str
    type: str = "string"
    values: tuple[str, ...] = ()
    optional: bool = False

    def check(self, value: object) -> None:
        """Raise CommandError if it does not take this value."""
        if type(value) is not TYPES[self.type]:
            raise CommandError(f"Invalid parameter type for '{self.name}', expected: {self.type}")
        if self.values and value not in self.values:
            raise CommandError(f"Parameter '{self.name}' does not accept value '{value}'")


@dataclass(frozen=True, slots=True)
class Command:
    """What a client can ask for.

    execute: gets the arguments by their names, `_` for `-`; gives what the answer returns. May raise CommandError.
    """

    name: str
    execute: Callable[..., object | Awaitable[object]]
    parameters: tuple[Parameter, ...] = ()

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check arguments; gives them as `execute` takes them. Raises CommandError."""
        for parameter in self.parameters:
            if parameter.name in given:
                parameter.check(given[parameter.name])
            elif not parameter.optional:
                raise CommandError(f"Parameter '{parameter.name}' is missing")
        known = {parameter.name for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise CommandError(f"Parameter '{name}' is unexpected")
        return {name.replace("-", "_"): value for name, value in given.items()}


class Requests:
    """Cuts a stream of bytes into JSON values.

    An object or array ends with its last bracket, anything else with its line. What makes no sense costs its line.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = self._depth = 0
        self._in_string = self._skipping = False

    def feed(self, data: bytes) -> Iterator[object]:
        """More bytes: gives the values that they complete, and a CommandError for each that is none.

        Raises ProtocolError if one is longer than MAX_REQUEST.
        """
        self._buffer += data
        while True:
            try:
                text = self._next()
                if text is None:
                    break
                if not text.isspace():
                    yield _parsed(text)
            except CommandError as error:
                yield error
        if len(self._buffer) > MAX_REQUEST:
            raise ProtocolError("JSON token size limit exceeded")

    def _next(self) -> bytes | None:
        """The next value as it came; None if it has not ended."""
        if self._skipping:
            line = self._buffer.find(b"\n")
            self._cut(len(self._buffer) if line < 0 else line + 1)
            self._skipping = line < 0
        while mark := _MARK.search(self._buffer, self._scanned):
            at = mark.start()
            byte = self._buffer[at]
            if self._in_string and byte == _BACKSLASH:
                if at + 1 == len(self._buffer):
                    return None
                at += 1
            elif byte == _QUOTE:
                self._in_string = not self._in_string
            elif self._in_string:
                if byte < 0x20:
                    self._refuse("JSON parse error, control character in a string", at)
            elif byte in b"{[":
                self._depth += 1
                if self._depth > MAX_NESTING:
                    self._refuse("JSON nesting depth limit exceeded", at)
            elif byte in b"}]" and self._depth:
                self._depth -= 1
                if not self._depth:
                    return self._cut(at + 1)
            elif byte == _NEWLINE and not self._depth:
                return self._cut(at + 1)
            self._scanned = at + 1
        self._scanned = len(self._buffer)
        return None

    def _cut(self, end: int) -> bytes:
        text = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._scanned = self._depth = 0
        self._in_string = False
        return text

    def _refuse(self, why: str, at: int) -> NoReturn:
        self._cut(at)
        self._skipping = True
        raise CommandError(why)


def _parsed(text: bytes) -> object:
    try:
        value = json.loads(text.decode(), object_pairs_hook=_object)
        # What JSON cannot say again, such as half of a surrogate pair or 1e999, is no value.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise CommandError(f"JSON parse error, {why[:1].lower()}{why[1:]}") from None
    return value


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(made := dict(members)) < len(members):
        raise ValueError("duplicate key")
    return made


@dataclass(frozen=True, slots=True)
class Request:
    """A command to be executed. id: None, or what the answer repeats, in a tuple."""

    command: Command
    arguments: Mapping[str, Any]
    id: tuple[object] | None


class Dialogue:
    """What is said with one client.

    commands: by their names. package: the program that serves.
    """

    def __init__(self, commands: Mapping[str, Command], package: str) -> None:
        negotiate = Command("qmp_capabilities", self._negotiate, (Parameter("enable", "array", optional=True),))
        version = Command("query-version", self.version)
        listing = Command("query-commands", self._names)
        self._commands = {command.name: command for command in (negotiate, version, listing)} | dict(commands)
        self._package = package
        self._requests = Requests()
        self.negotiated = False
        """Whether the client has negotiated, so that it may give commands and gets events."""

    def version(self) -> Mapping[str, object]:
        """Whose commands these are, and whose program."""
        return {"qemu": VERSION, "package": self._package}

    def greeting(self) -> bytes:
        """What is said first."""
        return packed({"QMP": {"version": self.version(), "capabilities": []}})

    def receive(self, data: bytes) -> Iterator[Request | bytes]:
        """More bytes of the client: gives requests to be executed, and answers to what is none.

        A request has to be executed before the next is asked for. Raises ProtocolError at an endless one.
        """
        for value in self._requests.feed(data):
            id = (value["id"],) if isinstance(value, dict) and "id" in value else None
            try:
                if isinstance(value, CommandError):
                    raise value
                yield self._request(value, id)
            except CommandError as error:
                yield refusal(error, id)

    def _request(self, value: object, id: tuple[object] | None) -> Request:
        if not isinstance(value, dict):
            raise CommandError("QMP input must be a JSON object")
        for name, member in value.items():
            if name == "execute" and not isinstance(member, str):
                raise CommandError("QMP input member 'execute' must be a string")
            if name == "arguments" and not isinstance(member, dict):
                raise CommandError("QMP input member 'arguments' must be an object")
            if name not in ("execute", "arguments", "id"):
                raise CommandError(f"QMP input member '{name}' is unexpected")
        if "execute" not in value:
            raise CommandError("QMP input lacks member 'execute'")
        name = value["execute"]
        if not self.negotiated and name != "qmp_capabilities":
            raise CommandError("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound")
        command = self._commands.get(name)
        if command is None:
            raise CommandError(f"The command {name} has not been found", "CommandNotFound")
        return Request(command, command.arguments(value.get("arguments", {})), id)

    def _negotiate(self, enable: list[object] | None = None) -> Mapping[str, object]:
        for number, wanted in enumerate(enable or ()):
            Parameter(f"enable[{number}]").check(wanted)
            # QEMU has no name for an element here.
            Parameter("null", values=CAPABILITIES).check(wanted)
        if self.negotiated:
            done = "Capabilities negotiation is already complete, command ignored"
            raise CommandError(done, "CommandNotFound")
        for wanted in enable or ():
            raise CommandError(f"Capability {wanted} not available")
        self.negotiated = True
        return {}

    def _names(self) -> list[Mapping[str, str]]:
        return [{"name": name} for name in self._commands]


def packed(value: object) -> bytes:
    """A JSON value as it is sent."""
    return json.dumps(value).encode() + b"\r\n"


def answer(value: object, id: tuple[object] | None = None) -> bytes:
    """What a command has returned. id: as of its request."""
    return packed({"return": value} | ({"id": id[0]} if id else {}))


def refusal(error: CommandError, id: tuple[object] | None = None) -> bytes:
    """Why a request is refused."""
    return packed(({"id": id[0]} if id else {}) | {"error": {"class": error.kind, "desc": str(error)}})


def event(name: str, data: Mapping[str, object] | None, time: float) -> bytes:
    """Something that has happened. time: seconds since 1970."""
    seconds, rest = divmod(int(time * 1_000_000), 1_000_000)
    happened = {"timestamp": {"seconds": seconds, "microseconds": rest}, "event": name}
    return packed(happened if data is None else happened | {"data": data})
