"""Upper bounds of everything whose size a peer names. Each says why it is what it is."""

MAX_LINK_SIZE = 4096
"""Bytes of a link message or reply after its header: the deployed server's own limit; 200 are usual."""

MAX_CAPABILITY_WORDS = 1024
"""Capability words of one kind in a link: the deployed server's own limit; 1 is usual."""

MAX_TICKET_PASSWORD = 85
"""Bytes of a password in a ticket: OAEP with SHA-1 leaves 86 of RSA-1024's 128, and one is the NUL."""

MAX_MESSAGE_SIZE = 128 << 20
"""Bytes of a message body from a server: a raw 8K picture is 127 MiB; no deployed server sends more at once."""

MAX_AGENT_CHUNK = 2048
"""Bytes of an AGENT_DATA body: the protocol's own limit."""

MAX_AGENT_MESSAGE = 128 << 20
"""Bytes of one guest agent message: the deployed clients' clipboard limit is 100 MiB."""

MAX_ELEMENTS = 1 << 18
"""Elements of a list: an element costs a hundred bytes once unpacked, so a list stays below some 50 MiB."""

MAX_SASL_MECHANISM_LIST = 1024
"""Bytes of a server's list of SASL mechanisms: some ten names."""

MAX_SASL_MECHANISM_NAME = 100
"""Bytes of a mechanism's name: the deployed server's own limit."""

MAX_SASL_DATA = 1 << 16
"""Bytes of one SASL challenge or response: SCRAM needs less than 1 KiB, Kerberos tickets stay below 64 KiB."""

MIN_SCRAM_ITERATIONS = 4096
"""Iterations that a client accepts: RFC 7677's minimum. Fewer make a recorded exchange cheap to guess."""

MAX_SCRAM_ITERATIONS = 1_000_000
"""Iterations that a client computes: half a second, while the event loop waits. Servers use 4096 to 600,000."""

MAX_EARLY_LINK_BYTES = 2 * MAX_SASL_DATA
"""Bytes that a client may send before its server has decided on what it sent: clients have to wait there."""

MAX_AGENT_MONITORS = 256
"""Monitors of one agent MONITORS_CONFIG: the deployed server's own limit."""
