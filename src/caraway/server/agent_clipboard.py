"""Whose the clipboards are, and who waits for their contents, where several viewers share one agent.

Each viewer and the agent see a conversation of two, with layouts and grab serials of its own (spec/messages.md 10.5).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

from caraway.wire.messages.agent import (
    AgentCapability,
    AgentMessage,
    Clipboard,
    ClipboardGrab,
    ClipboardRelease,
    ClipboardRequest,
    ClipboardType,
    Selection,
)

if TYPE_CHECKING:
    from caraway.server.agent import Agent
    from caraway.server.agent_client import AgentClient

CLIPBOARD_TYPES = frozenset(
    message.number for message in (Clipboard, ClipboardGrab, ClipboardRequest, ClipboardRelease)
)

C = TypeVar("C", Clipboard, ClipboardGrab, ClipboardRelease, ClipboardRequest)

MAX_ASKED = 64
"""Requests that wait for their answers, for each clipboard: there should be one at a time."""


class GrabSerials:
    """The number of grabs of both ends of one conversation, for each clipboard."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(Selection, 0)

    def accept(self, message: ClipboardGrab, selection: Selection) -> bool:
        """Whether the peer's grab counts; if not it has crossed one of ours."""
        if message.serial is not None:
            if message.serial != self._counts[selection]:
                return False
            self._counts[selection] += 1
        return True

    def next(self, selection: Selection, agreed: int) -> int | None:
        """The serial of a grab of ours; None if the peer wants none."""
        if not agreed >> AgentCapability.CLIPBOARD_GRAB_SERIAL & 1:
            return None
        self._counts[selection] += 1
        return self._counts[selection] - 1


class Clipboards:
    """The clipboards of the guest."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.reset()

    def reset(self) -> None:
        """The agent has come or gone."""
        self._serials = GrabSerials()
        self._owners: dict[Selection, AgentClient] = {}
        self._offered: dict[Selection, list[ClipboardType]] = {}
        """What the guest has in clipboards that it owns."""
        self._asked: dict[Selection, deque[AgentClient | None]] = {selection: deque() for selection in Selection}
        """Viewers whom the agent owes contents, in order; None: the viewer has left."""
        self._owed = dict.fromkeys(Selection, 0)
        """Contents that each clipboard's owner owes the agent."""

    def from_client(self, client: AgentClient, message: AgentMessage) -> AgentMessage | None:
        """What the agent is told for a viewer's message, if anything. Of Clipboard, it may be the first part."""
        selection = _selection(message)
        if selection is None:
            return None
        match message:
            case ClipboardGrab():
                return self._client_grabs(client, message, selection)
            case ClipboardRelease() if self._owners.get(selection) is client:
                self._give_up(selection)
                return self._reaching(message, selection)
            case ClipboardRequest():
                if selection in self._offered and len(self._asked[selection]) < MAX_ASKED:
                    self._asked[selection].append(client)
                    return self._reaching(message, selection)
                client.say(Clipboard(selection, ClipboardType.NONE, b""))
            case Clipboard() if self._owners.get(selection) is client and self._owed[selection]:
                self._owed[selection] -= 1
                return self._reaching(message, selection)
        return None

    def from_agent(self, message: AgentMessage) -> None:
        """The agent grabs, releases or wants to paste."""
        selection = _selection(message)
        if selection is None:
            return
        match message:
            case ClipboardGrab() if self._serials.accept(message, selection):
                self._give_up(selection)
                self._offered[selection] = message.types
                for client in self._agent.listeners():
                    self._offer(client, selection)
            case ClipboardRelease():
                self._withdraw(selection)
            case ClipboardRequest():
                owner = self._owners.get(selection)
                if owner is None:
                    self._agent.say(Clipboard(selection, ClipboardType.NONE, b""))
                else:
                    self._owed[selection] += 1
                    owner.say(message)

    def asker(self, message: Clipboard) -> AgentClient | None:
        """To whom these contents go."""
        selection = _selection(message)
        asked = self._asked[selection] if selection is not None else None
        return asked.popleft() if asked else None

    def introduce(self, client: AgentClient) -> None:
        """A viewer has agreed on capabilities: tell it what the guest has."""
        for selection in self._offered:
            self._offer(client, selection)

    def leave(self, client: AgentClient) -> None:
        """A viewer has left: what it owned is nobody's, what it was to say is said to be nothing."""
        for asked in self._asked.values():
            for index, asker in enumerate(asked):
                if asker is client:
                    asked[index] = None
        for selection in [selection for selection, owner in self._owners.items() if owner is client]:
            for _ in range(min(self._owed[selection], MAX_ASKED)):
                self._agent.say(Clipboard(selection, ClipboardType.NONE, b""))
            self._give_up(selection)
            self._agent.say(ClipboardRelease(selection))

    def _client_grabs(self, client: AgentClient, message: ClipboardGrab, selection: Selection) -> AgentMessage | None:
        if not client.serials.accept(message, selection):
            return None
        self._withdraw(selection, but=client)
        self._give_up(selection)
        self._owners[selection] = client
        serial = self._serials.next(selection, self._agent.agreed)
        return self._reaching(ClipboardGrab(selection, serial, message.types), selection)

    def _give_up(self, selection: Selection) -> None:
        self._owners.pop(selection, None)
        self._owed[selection] = 0

    def _withdraw(self, selection: Selection, but: AgentClient | None = None) -> None:
        if self._offered.pop(selection, None) is not None:
            for client in self._agent.listeners():
                if client is not but and _knows(client.agreed, selection):
                    client.say(ClipboardRelease(selection))

    def _offer(self, client: AgentClient, selection: Selection) -> None:
        if _knows(client.agreed, selection):
            serial = client.serials.next(selection, client.agreed)
            client.say(ClipboardGrab(selection, serial, self._offered[selection]))

    def _reaching(self, message: C, selection: Selection) -> C | None:
        if not _knows(self._agent.agreed, selection):
            return None
        message.selection = selection
        return message


def _selection(message: AgentMessage) -> Selection | None:
    selection = getattr(message, "selection", None)
    if selection is None:
        return Selection.CLIPBOARD
    return selection if isinstance(selection, Selection) else None


def _knows(agreed: int, selection: Selection) -> bool:
    """Whether a peer has this clipboard at all."""
    return selection == Selection.CLIPBOARD or bool(agreed >> AgentCapability.CLIPBOARD_SELECTION & 1)
