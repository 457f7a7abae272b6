"""From a connection to a channel of a viewer: who links what, with which credentials (spec/wire.md 1 to 3)."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

from caraway.errors import AuthError
from caraway.server.access import Verdict
from caraway.server.channel import ServerChannel
from caraway.server.connection import Connection
from caraway.server.viewer import Viewer
from caraway.wire.constants import ChannelType, LinkErrorCode
from caraway.wire.link import LinkRequested, SaslAuthenticated, ServerLink, TicketReceived

if TYPE_CHECKING:
    from caraway.server.server import Server
    from caraway.wire.ticket import TicketKey

log = logging.getLogger(__name__)


class Admission:
    """One connection's way in. Its `answer` answers what the link asks.

    address: where the client comes from: who fails too often is known by it.
    """

    def __init__(self, server: Server, connection: Connection, address: str) -> None:
        self._server, self._connection, self._address = server, connection, address
        self._view_only = server.view_only

    async def admit(self) -> ServerChannel:
        """Go through the link; gives the channel, which belongs to its viewer already. Raises what ends the link."""
        connection = self._connection
        try:
            await connection.authenticate(self._answer)
        except AuthError:
            self._failed()
            raise
        request = connection.link.request
        assert request is not None
        server = self._server
        kind = ChannelType(request.channel_type)
        if kind is ChannelType.MAIN:
            id = request.connection_id or self._new_id()
            viewer = Viewer(server, id, connection.peer, view_only=self._view_only)
            server.welcome(viewer, arrives=bool(request.connection_id))
        else:
            viewer = server.viewers[request.connection_id]
        return server.open_channel(viewer, kind, request.channel_id, connection)

    async def _answer(self, link: ServerLink) -> None:
        question = link.question
        if isinstance(question, LinkRequested):
            await self._requested(link, question)
        elif isinstance(question, TicketReceived):
            await self._ticket(link, question)
        elif isinstance(question, SaslAuthenticated):
            self._let_in(link)

    async def _requested(self, link: ServerLink, request: LinkRequested) -> None:
        server = self._server
        try:
            kind = ChannelType(request.channel_type)
            available = server.offers(kind, request.channel_id)
        except ValueError:
            available = False
        if not available:
            link.refuse(LinkErrorCode.CHANNEL_NOT_AVAILABLE)
        elif kind in server.secure_channels and not (self._connection.secure or self._connection.local):
            link.refuse(LinkErrorCode.NEED_SECURED)
        elif kind in server.plain_channels and self._connection.secure:
            link.refuse(LinkErrorCode.NEED_UNSECURED)
        elif server.access.needs_user and not link.secure:
            link.refuse(LinkErrorCode.NEED_SECURED)
        else:
            if server.access.lookup is not None:
                await self._wait_turn()
            key = None if server.access.needs_user else await self._key()
            link.accept(server.capabilities(kind), ticket_key=key, sasl=server.access.lookup if link.secure else None)

    async def _key(self) -> TicketKey:
        open_to_all = not self._server.access.needs_password
        if open_to_all or self._connection.secure or self._connection.local:
            return await self._server.ticket_keys.shared()
        return await self._server.ticket_keys.fresh()

    async def _ticket(self, link: ServerLink, ticket: TicketReceived) -> None:
        await self._wait_turn()
        verdict = self._server.access.check(ticket)
        if verdict is Verdict.DENIED:
            self._failed()
            log.warning("%s: wrong password, or expired", self._connection.peer)
            link.deny()
            return
        self._view_only = self._view_only or verdict is Verdict.VIEW_ONLY
        self._let_in(link)

    async def _wait_turn(self) -> None:
        """Who keeps failing waits before the next attempt is looked at."""
        if delay := self._server.throttle.delay(self._address, asyncio.get_running_loop().time()):
            await asyncio.sleep(delay)

    def _failed(self) -> None:
        self._server.throttle.failed(self._address, asyncio.get_running_loop().time())

    def _let_in(self, link: ServerLink) -> None:
        request = link.request
        assert request is not None
        if not self._server.offers(ChannelType(request.channel_type), request.channel_id):
            link.deny(LinkErrorCode.CHANNEL_NOT_AVAILABLE)
            return
        if request.channel_type != ChannelType.MAIN:
            viewer = self._server.viewers.get(request.connection_id)
            known = viewer is not None and (viewer.view_only or not self._view_only)
            if not known:
                if request.connection_id not in self._server.former_ids:
                    self._failed()
                    log.warning("%s: no session of that id", self._connection.peer)
                link.deny(LinkErrorCode.BAD_CONNECTION_ID)
                return
            assert viewer is not None
            if not self._server.may_open(viewer, ChannelType(request.channel_type), request.channel_id):
                link.deny(LinkErrorCode.CHANNEL_NOT_AVAILABLE)
                return
        elif request.connection_id:
            if not self._may_arrive(request.connection_id):
                link.deny(LinkErrorCode.BAD_CONNECTION_ID)
                return
        elif not self._server.has_room():
            link.deny(LinkErrorCode.PERMISSION_DENIED)
            return
        link.grant()

    def _may_arrive(self, id: int) -> bool:
        """Whether this is a viewer from another host, and none that is here already."""
        viewer = self._server.viewers.get(id)
        return self._server.expects_arrivals() and (viewer is None or viewer.arrival is not None)

    def _new_id(self) -> int:
        while (id := secrets.randbits(32)) == 0 or id in self._server.viewers:
            continue
        return id
