"""What can go wrong, as one small tree.

Every error says what happened, to which peer, and what to do. The command line's exit code follows the class.
"""


class CarawayError(Exception):
    """Base of every error that Caraway raises on purpose."""

    exit_code = 1


class EndpointError(CarawayError, ValueError):
    """A connection URI, `.vv` file or setting that makes no sense."""

    exit_code = 2


class KeyNameError(CarawayError, ValueError):
    """A key or character that no key of the keyboard makes."""

    exit_code = 2


class OutputError(CarawayError):
    """A file that cannot be written, or whose suffix names no format."""

    exit_code = 2


class AuthError(CarawayError):
    """The server refused the credentials, or offers no way to present them safely."""

    exit_code = 3


class TlsError(CarawayError):
    """TLS could not be established, or the certificate is not the one that was asked for."""

    exit_code = 4


class LinkError(CarawayError):
    """The server could not be reached, refused the link or went away."""

    exit_code = 5


class ProtocolError(CarawayError):
    """The peer sent something that the protocol does not allow."""

    exit_code = 6


class CodecError(ProtocolError):
    """An image payload that cannot be decoded."""


class MigrationError(CarawayError):
    """The viewer could not follow its VM."""

    exit_code = 7


class PointerModeError(CarawayError):
    """The guest's pointer is absolute where motion was sent, or relative where a position was."""


class DeadlineError(CarawayError, TimeoutError):
    """Something did not happen in time."""

    exit_code = 8
