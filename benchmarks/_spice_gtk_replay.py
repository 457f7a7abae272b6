"""The C client for `replay.py`: connects, takes what comes, and tells its CPU seconds when it is asked.

Runs under the system's python, which has the bindings. Arguments: the server's URI. A line on the standard input asks.
"""

import sys
import time

import gi

gi.require_version("SpiceClientGLib", "2.0")
from gi.repository import GLib, GObject, SpiceClientGLib  # noqa: E402

LINKED = (SpiceClientGLib.DisplayChannel, SpiceClientGLib.CursorChannel, SpiceClientGLib.InputsChannel)

loop = GLib.MainLoop()
session = SpiceClientGLib.Session()
session.props.uri = sys.argv[1]
session.props.enable_audio = False


def new(_, channel):
    if isinstance(
        channel, (SpiceClientGLib.DisplayChannel, SpiceClientGLib.CursorChannel, SpiceClientGLib.InputsChannel)
    ):
        channel.connect()


def tell(*_):
    sys.stdin.readline()
    print(time.process_time() - began, flush=True)
    loop.quit()
    return False


# A session has a `connect` of its own, which hides that of signals.
GObject.Object.connect(session, "channel-new", new)
GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, 0, GLib.IOCondition.IN, tell)
began = time.process_time()
session.connect()
loop.run()
