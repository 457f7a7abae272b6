"""Connect with TLS and say why it failed, if it did: tls.py URI CA_FILE [HOST_SUBJECT]."""

import asyncio
import sys

import caraway


async def main(uri: str, ca_file: str, host_subject: str | None = None) -> None:
    try:
        async with caraway.connect(uri, ca_file=ca_file, host_subject=host_subject) as session:
            await session.display.ready()
            print(f"a display of {session.display.size}, over TLS")
    except caraway.TlsError as error:
        sys.exit(f"not trusted: {error}")
    except caraway.AuthError as error:
        sys.exit(f"not let in: {error}")


asyncio.run(main(*sys.argv[1:]))
