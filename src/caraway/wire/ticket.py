"""Tickets: a password under the RSA key that a server made for one link (spec/wire.md 3.1, 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from caraway.errors import AuthError, ProtocolError
from caraway.wire.fields import Constant, LayoutError, Length, Struct, struct
from caraway.wire.limits import MAX_TICKET_PASSWORD
from caraway.wire.messages.link import PUBLIC_KEY_SIZE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import OAEP
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KEY_BITS = 1024
EXPONENT = 65537


@struct
class PublicKeyInfo(Struct):
    """DER SubjectPublicKeyInfo of a ticket key. Key size and exponent are fixed, so that only the modulus varies."""

    algorithm: ClassVar = Constant(bytes.fromhex("30819f300d06092a864886f70d010101050003818d0030818902818100"))
    modulus: Annotated[bytes, Length(KEY_BITS // 8)]
    """Big-endian."""
    exponent: ClassVar = Constant(bytes.fromhex("0203010001"))


def encrypt(pub_key: bytes, password: str) -> bytes:
    """The ticket for a password: 128 bytes.

    pub_key: of the link reply, 162 bytes.
    Raises AuthError for a password that no ticket carries, ProtocolError for a key that is not one of a ticket.
    """
    # Of cryptography only what this needs: `serialization` alone takes longer to import than a whole link.
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    text = encode_password(password) + b"\0"
    try:
        if len(pub_key) != PUBLIC_KEY_SIZE:
            raise ValueError(f"it has {len(pub_key)} bytes")
        modulus = int.from_bytes(PublicKeyInfo.unpack(pub_key).modulus, "big")
        return RSAPublicNumbers(EXPONENT, modulus).public_key().encrypt(text, _oaep())
    except (LayoutError, ValueError) as error:
        raise ProtocolError(f"the ticket key is not an RSA key of {KEY_BITS} bits: {error}") from None


def encode_password(password: str) -> bytes:
    """UTF-8 of a password that a ticket can carry, or AuthError. Bytes that were not UTF-8 come back as they were."""
    try:
        encoded = password.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise AuthError("the password is not valid Unicode") from None
    if b"\0" in encoded:
        raise AuthError("the password holds a NUL, where a ticket ends")
    if len(encoded) > MAX_TICKET_PASSWORD:
        raise AuthError(f"the password has {len(encoded)} bytes; a ticket carries at most {MAX_TICKET_PASSWORD}")
    return encoded


class TicketKey:
    """A server's key for the ticket of one link."""

    def __init__(self, private_key: RSAPrivateKey) -> None:
        self._private_key = private_key

    @classmethod
    def generate(cls) -> TicketKey:
        """A fresh key. Takes some ten milliseconds: make it ahead, or in a thread."""
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

        return cls(generate_private_key(EXPONENT, KEY_BITS))

    @property
    def public_bytes(self) -> bytes:
        """The `pub_key` of the link reply, 162 bytes."""
        modulus = self._private_key.public_key().public_numbers().n
        return PublicKeyInfo(modulus.to_bytes(KEY_BITS // 8, "big")).pack()

    def decrypt(self, ticket: bytes) -> str:
        """The password in a ticket of 128 bytes, up to its first NUL. Raises AuthError if there is none."""
        try:
            text = self._private_key.decrypt(ticket, _oaep())
        except ValueError:
            raise AuthError("the ticket cannot be decrypted") from None
        return text.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _oaep() -> OAEP:
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.hashes import SHA1

    return OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)
