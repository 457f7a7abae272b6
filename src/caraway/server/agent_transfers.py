"""Files on their way to the guest: viewers number their transfers themselves, the agent wants each number once.

Described in spec/messages.md 10.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from caraway.wire.messages.agent import (
    AgentCapability,
    FileXferData,
    FileXferResult,
    FileXferStart,
    FileXferStatus,
)

if TYPE_CHECKING:
    from caraway.server.agent import Agent
    from caraway.server.agent_client import AgentClient

TRANSFER_TYPES = frozenset(message.number for message in (FileXferStart, FileXferStatus, FileXferData))

MAX_TRANSFERS = 1024
"""Transfers of one viewer at a time: all files that a person drops at once."""


class Transfers:
    """The transfers of all viewers."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.reset()

    def reset(self) -> None:
        """The agent has come or gone."""
        self._last = 0
        self._numbers: dict[AgentClient, dict[int, int]] = {}
        """The agent's number of each transfer of a viewer."""
        self._viewers: dict[int, tuple[AgentClient, int]] = {}

    def start(self, client: AgentClient, id: int) -> int | None:
        """The agent's number of a new transfer; None if there may be no more of them."""
        numbers = self._numbers.setdefault(client, {})
        if id in numbers or len(numbers) >= MAX_TRANSFERS:
            client.say(status_for(client, id, FileXferResult.ERROR))
            return None
        self._last = number = self._last % 0xFFFFFFFF + 1
        numbers[id] = number
        self._viewers[number] = (client, id)
        return number

    def number(self, client: AgentClient, id: int) -> int | None:
        """The agent's number of a transfer that is under way."""
        return self._numbers.get(client, {}).get(id)

    def from_client(self, client: AgentClient, message: FileXferStatus) -> FileXferStatus | None:
        """What the agent is told for a viewer's message: it has cancelled."""
        number = self.number(client, message.id)
        if number is None:
            return None
        self._end(number, message.result)
        return FileXferStatus(number, message.result, message.detail)

    def from_agent(self, message: FileXferStatus) -> None:
        """How a transfer stands: its viewer wants to know."""
        if message.id in self._viewers:
            client, id = self._viewers[message.id]
            self._end(message.id, message.result)
            client.say(status_for(client, id, message.result, message.detail))

    def leave(self, client: AgentClient) -> None:
        """A viewer has left: what it was sending is cancelled."""
        for number in self._numbers.pop(client, {}).values():
            del self._viewers[number]
            self._agent.say(FileXferStatus(number, FileXferResult.CANCELLED, b""))

    def _end(self, number: int, result: int) -> None:
        if result != FileXferResult.CAN_SEND_DATA:
            client, id = self._viewers.pop(number)
            del self._numbers[client][id]


def status_for(client: AgentClient, id: int, result: FileXferResult, detail: bytes = b"") -> FileXferStatus:
    """A status in words that the viewer knows."""
    if not client.agreed >> AgentCapability.FILE_XFER_DETAILED_ERRORS & 1:
        detail = b""
        if result > FileXferResult.SUCCESS:
            result = FileXferResult.ERROR
    return FileXferStatus(id, result, detail)
