"""SASL mechanisms PLAIN (RFC 4616) and SCRAM-SHA-256 (RFC 5802, 7677), each side as a step machine.

How their messages travel is in spec/wire.md 3.3 and in `link`. Passwords are prepared with SASLprep (RFC 4013). There
is no channel binding: SPICE carries these over TLS only, and the deployed servers do not bind.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from caraway.errors import AuthError, ProtocolError
from caraway.wire.limits import MAX_SCRAM_ITERATIONS, MIN_SCRAM_ITERATIONS

GS2_HEADER = "n,,"
"""No channel binding, no authorization identity."""

SALT_SIZE = 16
NONCE_SIZE = 18
"""Random bytes in each side's half of the nonce: 24 characters of base64."""


class ClientMechanism(Protocol):
    """One attempt to authenticate as a client."""

    name: ClassVar[str]

    @property
    def finished(self) -> bool:
        """Whether nothing is missing on this side: all is sent, and the server is who it should be."""

    def start(self) -> bytes:
        """The initial response."""

    def step(self, challenge: bytes) -> bytes:
        """The response to a challenge. Raises AuthError or ProtocolError."""


class ServerMechanism(Protocol):
    """One attempt of a client to authenticate."""

    name: ClassVar[str]

    @property
    def username(self) -> str | None:
        """Who the client has proved to be, once it has."""

    def step(self, response: bytes | None) -> bytes | None:
        """The challenge after a response; None for no data. Raises AuthError or ProtocolError."""


@dataclass(frozen=True, slots=True)
class ScramCredential:
    """What a server stores of a password: enough to check it, not enough to present it."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def derive(
        cls, password: str, *, salt: bytes | None = None, iterations: int = MIN_SCRAM_ITERATIONS
    ) -> ScramCredential:
        """The credential of a password. `salt` is random if omitted. Raises AuthError if SASLprep forbids it."""
        salt = secrets.token_bytes(SALT_SIZE) if salt is None else salt
        salted = _salted_password(password, salt, iterations)
        stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
        return cls(salt, iterations, stored_key, _hmac(salted, b"Server Key"))

    def verify(self, password: str) -> bool:
        """Whether this is the password."""
        found = ScramCredential.derive(password, salt=self.salt, iterations=self.iterations)
        return hmac.compare_digest(found.stored_key, self.stored_key)


Lookup = Callable[[str], ScramCredential | None]
"""Finds the credential of a user name (after SASLprep); None if there is no such user."""


# A user who does not exist gets a salt too, always the same one, so that nobody can ask who exists.
_decoy_secret = secrets.token_bytes(32)


def _credential(lookup: Lookup, username: str) -> tuple[ScramCredential, bool]:
    """The user's credential, or one that no password fits; and whether it is real."""
    found = lookup(username)
    if found is not None:
        return found, True
    salt = _hmac(_decoy_secret, username.encode("utf-8", "surrogatepass"))[:SALT_SIZE]
    return ScramCredential(salt, MIN_SCRAM_ITERATIONS, bytes(32), bytes(32)), False


class PlainClient:
    """Sends the password as it is: only ever over TLS."""

    name: ClassVar[str] = "PLAIN"

    def __init__(self, username: str, password: str) -> None:
        self._message = b"\0".join([b"", _encode(username, "user name"), _encode(password, "password")])
        self.finished = False

    def start(self) -> bytes:
        self.finished = True
        return self._message

    def step(self, challenge: bytes) -> bytes:
        raise ProtocolError("SASL PLAIN: the server sent a challenge, where the mechanism has none")


class PlainServer:
    """Checks a password that came as it is."""

    name: ClassVar[str] = "PLAIN"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self.username: str | None = None

    def step(self, response: bytes | None) -> bytes | None:
        if response is None:
            return b""
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise ProtocolError(f"SASL PLAIN: {len(parts)} parts, where there are 3")
        identity, username, password = (_decode(part, "SASL PLAIN: message") for part in parts)
        if identity not in ("", username):
            raise AuthError("SASL PLAIN: acting as another user is not possible")
        username = saslprep(username, "user name")
        credential, known = _credential(self._lookup, username)
        if not credential.verify(password) or not known:
            raise AuthError("SASL PLAIN: wrong user name or password")
        self.username = username
        return None


class ScramClient:
    """Proves to know the password without telling it, and wants the server to prove the same."""

    name: ClassVar[str] = "SCRAM-SHA-256"

    def __init__(self, username: str, password: str, *, nonce: str | None = None) -> None:
        prepared = saslprep(username, "user name")
        if not prepared:
            raise AuthError("the user name is empty")
        self._password = saslprep(password, "password")
        self._nonce = nonce or _nonce()
        self._first = f"n={prepared.replace('=', '=3D').replace(',', '=2C')},r={self._nonce}"
        self._server_signature: bytes | None = None
        self.finished = False

    def start(self) -> bytes:
        return (GS2_HEADER + self._first).encode()

    def step(self, challenge: bytes) -> bytes:
        if self.finished:
            raise ProtocolError("SCRAM: the server sent a challenge after the last")
        text = _decode(challenge, "SCRAM: challenge")
        if self._server_signature is None:
            return self._prove(text)
        self._check_server(text)
        return b""

    def _prove(self, server_first: str) -> bytes:
        nonce, salt64, count = _attributes(server_first, "rsi")
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ProtocolError("SCRAM: the server's nonce does not begin with ours")
        salt = _unbase64(salt64, "salt")
        iterations = _iterations(count)
        final = f"c={_base64(GS2_HEADER.encode())},r={nonce}"
        salted = _salted_password(self._password, salt, iterations)
        self._password = ""
        signed = f"{self._first},{server_first},{final}".encode()
        client_key = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.sha256(client_key).digest(), signed)
        self._server_signature = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{final},p={_base64(_xor(client_key, signature))}".encode()

    def _check_server(self, server_final: str) -> None:
        if server_final.startswith("e="):
            raise AuthError(f"SCRAM: the server says {server_final[2:34]!r}: wrong user name or password")
        (signature64,) = _attributes(server_final, "v")
        if not hmac.compare_digest(_unbase64(signature64, "signature"), self._server_signature or b""):
            raise AuthError("SCRAM: the server does not know the password: it is not the server that it claims to be")
        self.finished = True


class ScramServer:
    """Checks a client's proof, and proves to know its credential."""

    name: ClassVar[str] = "SCRAM-SHA-256"

    def __init__(self, lookup: Lookup, *, nonce: str | None = None) -> None:
        self._lookup = lookup
        self._own_nonce = nonce or _nonce()
        self._claimed: str | None = None
        self.username: str | None = None

    def step(self, response: bytes | None) -> bytes | None:
        if response is None:
            return b""
        text = _decode(response, "SCRAM: response")
        return self._challenge(text) if self._claimed is None else self._check_client(text, self._claimed)

    def _challenge(self, client_first: str) -> bytes:
        binding, _, rest = client_first.partition(",")
        identity, comma, bare = rest.partition(",")
        if binding not in ("n", "y") or not comma:
            raise ProtocolError("SCRAM: the client wants a channel binding, which was not offered")
        name, nonce = _attributes(bare, "nr")
        if identity not in ("", f"a={name}"):
            raise AuthError("SCRAM: acting as another user is not possible")
        if not nonce:
            raise ProtocolError("SCRAM: the client's nonce is empty")
        self._header = f"{binding},{identity},"
        self._claimed = saslprep(_unescape(name), "user name")
        self._credential, self._known = _credential(self._lookup, self._claimed)
        self._nonce = nonce + self._own_nonce
        first = f"r={self._nonce},s={_base64(self._credential.salt)},i={self._credential.iterations}"
        self._signed = f"{bare},{first}"
        return first.encode()

    def _check_client(self, client_final: str, claimed: str) -> bytes:
        without_proof, comma, proof64 = client_final.rpartition(",p=")
        if not comma:
            raise ProtocolError("SCRAM: the client's final message has no proof")
        binding64, nonce = _attributes(without_proof, "cr")
        if _unbase64(binding64, "channel binding") != self._header.encode() or nonce != self._nonce:
            raise ProtocolError("SCRAM: the client's final message does not fit its first")
        signed = f"{self._signed},{without_proof}".encode()
        proof = _unbase64(proof64, "proof")
        signature = _hmac(self._credential.stored_key, signed)
        client_key = _xor(proof, signature) if len(proof) == len(signature) else b""
        right = hmac.compare_digest(hashlib.sha256(client_key).digest(), self._credential.stored_key)
        if not right or not self._known:
            raise AuthError("SCRAM: wrong user name or password")
        self.username = claimed
        return f"v={_base64(_hmac(self._credential.server_key, signed))}".encode()


CLIENT_MECHANISMS: dict[str, Callable[[str, str], ClientMechanism]] = {
    ScramClient.name: ScramClient,
    PlainClient.name: PlainClient,
}
"""What a client can do, the best first."""

SERVER_MECHANISMS: dict[str, Callable[[Lookup], ServerMechanism]] = {
    ScramServer.name: ScramServer,
    PlainServer.name: PlainServer,
}


def choose_mechanism(offered: Iterable[str], username: str, password: str) -> ClientMechanism:
    """Begin the best mechanism among those that a server offers. Raises AuthError if there is none."""
    names = list(offered)
    for name, begin in CLIENT_MECHANISMS.items():
        if name in names:
            return begin(username, password)
    theirs, ours = ", ".join(names)[:200] or "no mechanism", ", ".join(CLIENT_MECHANISMS)
    raise AuthError(f"the server offers SASL with {theirs}, Caraway has {ours}")


def saslprep(text: str, what: str) -> str:
    """Prepare a user name or password so that the same text typed in two ways is the same (RFC 4013).

    what: how the error names the text, which it does not show.
    Raises AuthError if it has characters that are prohibited.
    """
    if text.isascii() and text.isprintable():
        return text
    import stringprep
    import unicodedata

    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if any(table(c) for c in prepared for table in prohibited):
        raise AuthError(f"the {what} has a character that SASL prohibits")
    if any(stringprep.in_table_d1(c) for c in prepared) and (
        any(stringprep.in_table_d2(c) for c in prepared)
        or not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1]))
    ):
        raise AuthError(f"the {what} mixes writing directions in a way that SASL prohibits")
    return prepared


def _encode(text: str, what: str) -> bytes:
    """A user name or password for PLAIN, which the server prepares."""
    try:
        encoded = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise AuthError(f"the {what} is not valid Unicode") from None
    if not encoded and what == "user name":
        raise AuthError("the user name is empty")
    if b"\0" in encoded:
        raise AuthError(f"the {what} holds a NUL")
    return encoded


def _decode(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProtocolError(f"{what} is not UTF-8") from None


def _attributes(message: str, keys: str) -> list[str]:
    """The values of a SCRAM message that begins with these attributes, in this order; further ones are ignored."""
    parts = message.split(",")
    if len(parts) < len(keys) or any(not part.startswith(f"{key}=") for key, part in zip(keys, parts, strict=False)):
        raise ProtocolError(f"SCRAM: a message does not begin with the attributes {', '.join(keys)}")
    return [part[2:] for part in parts[: len(keys)]]


def _iterations(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ProtocolError("SCRAM: the iteration count is not a number")
    count = int(text)
    if not MIN_SCRAM_ITERATIONS <= count <= MAX_SCRAM_ITERATIONS:
        raise AuthError(
            f"SCRAM: the server wants {count} iterations, outside of {MIN_SCRAM_ITERATIONS} to {MAX_SCRAM_ITERATIONS}"
        )
    return count


def _unescape(name: str) -> str:
    parts = name.split("=")
    if any(part[:2] not in ("2C", "3D") for part in parts[1:]):
        raise ProtocolError("SCRAM: the user name has an escape that does not exist")
    return parts[0] + "".join({"2C": ",", "3D": "="}[part[:2]] + part[2:] for part in parts[1:])


def _salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", saslprep(password, "password").encode(), salt, iterations)


def _nonce() -> str:
    return _base64(secrets.token_bytes(NONCE_SIZE))


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError(f"SCRAM: the {what} is not base64") from None
