"""The SPICE client: `connect` gives a `Session`, whose channels show the VM and take keys and clicks for it."""

from caraway.client.connect import connect
from caraway.client.screenshot import Screenshot
from caraway.client.session import Session
from caraway.errors import KeyNameError

__all__ = ["KeyNameError", "Screenshot", "Session", "connect"]
