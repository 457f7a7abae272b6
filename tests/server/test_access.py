"""Passwords, their end, and how fast one may guess."""

import time

import pytest

from caraway.errors import AuthError
from caraway.server.access import (
    FORGOTTEN_AFTER,
    FREE_FAILURES,
    LONGEST_DELAY,
    MAX_ADDRESSES,
    Access,
    Throttle,
    Verdict,
)
from caraway.wire.link import TicketReceived


def check(access: Access, password: str) -> Verdict:
    return access.check(TicketReceived(password))


def test_without_a_password_everybody_comes_in() -> None:
    assert check(Access(), "") is check(Access(), "anything") is Verdict.FULL


def test_each_password_opens_its_own() -> None:
    access = Access("full", "look")
    assert check(access, "full") is Verdict.FULL
    assert check(access, "look") is Verdict.VIEW_ONLY
    assert check(access, "") is check(access, "ful") is Verdict.DENIED


@pytest.mark.parametrize("access", [Access(""), Access("", ""), Access(None, "look")])
def test_an_empty_password_opens_nothing(access: Access) -> None:
    assert check(access, "") is Verdict.DENIED


def test_an_expired_password_opens_nothing_until_it_is_renewed() -> None:
    access = Access("full")
    access.expire(time.time() + 3600)
    assert check(access, "full") is Verdict.FULL
    access.expire(time.time() - 1)
    assert check(access, "full") is Verdict.DENIED
    access.expire(None)
    assert check(access, "full") is Verdict.FULL


def test_a_password_that_no_ticket_carries_is_refused() -> None:
    with pytest.raises(AuthError):
        Access("x" * 86)
    with pytest.raises(AuthError):
        Access().set_password("a\0b")


def test_guessing_becomes_slow_for_one_address_only() -> None:
    throttle = Throttle()
    for _ in range(FREE_FAILURES):
        assert throttle.delay("a", 0.0) == 0.0
        throttle.failed("a", 0.0)
    delays = []
    for _ in range(8):
        delays.append(throttle.delay("a", 1.0))
        throttle.failed("a", 1.0)
    assert delays == sorted(delays)
    assert 0 < delays[0] < delays[-1] == LONGEST_DELAY
    assert throttle.delay("b", 1.0) == 0.0
    assert throttle.delay("a", 1.0 + FORGOTTEN_AFTER + 1) == 0.0


def test_addresses_remembered_are_bounded() -> None:
    throttle = Throttle()
    for number in range(MAX_ADDRESSES + 10):
        throttle.failed(str(number), 0.0)
    assert len(throttle._failures) == MAX_ADDRESSES
