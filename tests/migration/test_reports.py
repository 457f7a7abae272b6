"""Reports of a migration as an operator reads them."""

import pytest

from caraway.endpoint import Endpoint
from caraway.errors import LinkError
from caraway.migration import Announced, Cancelled, ChannelGone, Failed, Linked, Mode, Reconnecting
from caraway.wire.constants import ChannelType

TARGET = Endpoint.parse("spice://host-b:5900?password=secret")
ERROR = LinkError("host-b does not answer")


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (Announced(TARGET), "Announced: spice://host-b:5900"),
        (Linked(TARGET, Mode.SEMI_SEAMLESS), "Linked: spice://host-b:5900, semi-seamless"),
        (Cancelled(), "Cancelled"),
        (Failed(ERROR), "Failed: host-b does not answer"),
        (Reconnecting(TARGET, ERROR), "Reconnecting: spice://host-b:5900, host-b does not answer"),
        (ChannelGone((ChannelType.CURSOR, 0), ERROR), "ChannelGone: cursor 0, host-b does not answer"),
    ],
)
def test_a_report_prints_as_one_line_without_secrets(report, line):
    assert str(report) == line
