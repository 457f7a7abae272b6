"""Count the server's messages in a recorded session: inspect_capture.py FILE."""

import sys
from collections import Counter

from caraway.wire import capture
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.messages import base

for connection in capture.load(sys.argv[1]).connections:
    names = base.messages(ChannelType(connection.channel_type), Sender.SERVER)
    counts = Counter(names[m.frame.type].wire_name() for m in connection.frames(Sender.SERVER))
    print(connection.name, *(f"{name}={count}" for name, count in counts.most_common()))
