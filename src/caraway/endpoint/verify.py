"""What is checked of a server's certificate (spec/wire.md 4.2)."""

import enum


class Verify(enum.Enum):
    """The one check that decides. Endpoints derive it from what they were given; see `Endpoint.verify`."""

    HOSTNAME = "hostname"
    """The chain leads to a trusted authority and the certificate names the host. The default."""
    SUBJECT = "subject"
    """The chain leads to a trusted authority and the subject is the given one; the host name does not count."""
    PUBKEY = "pubkey"
    """The certificate holds the pinned public key; chain, names and dates do not count."""
    NONE = "none"
    """Every certificate is accepted."""
