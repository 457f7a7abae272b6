"""What is offered, and where a session lets itself be sent (spec/migration.md 4.4, 12, D-08)."""

import pytest

from caraway.endpoint import Endpoint, Proxy
from caraway.errors import MigrationError, TlsError
from caraway.migration import Failed, Offer, Policy
from caraway.migration.actions import EndSession, Link, Reconnect, Reply
from caraway.migration.channels import MAIN
from caraway.migration.states import State
from caraway.wire.capabilities import Capabilities
from caraway.wire.messages.main import MigrateBegin, MigrateConnected, MigrateConnectError, MigrateSwitchHost
from support.migration_world import BEGIN, BEGIN_SEAMLESS, DISPLAY, END, SOURCE, SWITCH_HOST, Script

TARGET = SOURCE.moved_to("target", 5901)


@pytest.mark.parametrize(
    ("offer", "bits"),
    [("auto", [0, 3, 63]), ("semi-seamless", [0]), ("switch-host", []), ("refuse", [])],
)
def test_capabilities_of_an_offer(offer, bits):
    assert Offer(offer).capabilities == Capabilities(bits)


def test_offer_of_semi_seamless_never_asks_for_more():
    script = Script(DISPLAY, policy=Policy(Offer.SEMI_SEAMLESS))
    script.get(BEGIN_SEAMLESS)
    assert script.up(MAIN) == [Link(1, DISPLAY, TARGET)]
    assert script.up(DISPLAY) == [Reply(1, MigrateConnected())]


def test_offer_of_switch_host_does_not_link_early():
    script = Script(DISPLAY, policy=Policy(Offer.SWITCH_HOST))
    assert script.get(BEGIN) == [Reply(1, MigrateConnectError())]
    script.get(END)
    assert script.actions[-1] == Reconnect(2, TARGET)


@pytest.mark.parametrize("message", [SWITCH_HOST, END])
def test_session_that_refuses_stays(message):
    script = Script(DISPLAY, policy=Policy(Offer.REFUSE))
    assert script.get(BEGIN) == [Reply(1, MigrateConnectError())]
    assert isinstance(script.told[-1], Failed)
    script.get(message)
    assert isinstance(script.actions[-1], EndSession)
    assert isinstance(script.actions[-1].error, MigrationError)
    assert not any(isinstance(action, Reconnect) for action in script.actions)
    assert script.state is State.CLOSED


def test_unannounced_end_of_a_session_that_refuses():
    script = Script(DISPLAY, policy=Policy(Offer.REFUSE))
    script.get(END)
    assert isinstance(script.actions[-1], EndSession)


@pytest.mark.parametrize(
    ("targets", "host", "allowed"),
    [
        (["target"], "target", True),
        (["target"], "TARGET", True),
        (["Target"], "target", True),
        ("target", "tar", False),
        (["target"], "other", False),
        ([], "target", False),
        (["*.example.org"], "a.example.org", True),
        (["*.example.org"], "example.org", False),
        (["*.example.org"], "aexample.org", False),
        (["2001:db8::1"], "2001:db8::1", True),
    ],
)
def test_allowed_targets(targets, host, allowed):
    script = Script(DISPLAY, policy=Policy(targets=targets))
    [action] = script.get(MigrateBegin(5901, 0, host, None))
    assert isinstance(action, Link if allowed else Reply)
    script = Script(DISPLAY, policy=Policy(targets=targets))
    script.get(MigrateSwitchHost(5901, 0, host, None))
    assert isinstance(script.actions[-1], Reconnect if allowed else EndSession)


def test_target_that_was_not_allowed_is_not_gone_to_later_either():
    script = Script(DISPLAY, policy=Policy(targets=["friend"]))
    script.get(BEGIN)
    script.get(END)
    assert isinstance(script.actions[-1], EndSession)
    assert "'target'" in str(script.actions[-1].error)


@pytest.mark.parametrize("absent", [0, 65535])
def test_absent_ports(absent):
    script = Script(DISPLAY)
    [link] = script.get(MigrateBegin(absent, 5902, "target", "CN=target"))
    assert isinstance(link, Link)
    assert (link.endpoint.port, link.endpoint.tls_port) == (None, 5902)
    assert link.endpoint.host_subject == "CN=target"


def test_target_without_any_port_is_refused_at_once():
    script = Script(DISPLAY)
    assert script.get(MigrateBegin(0, 65535, "target", None)) == [Reply(1, MigrateConnectError())]


def test_session_that_uses_tls_keeps_it():
    script = Script(DISPLAY, endpoint=Endpoint(host="source", tls_port=5900))
    assert script.get(BEGIN) == [Reply(1, MigrateConnectError())]
    assert isinstance(script.told[-1], Failed)
    assert isinstance(script.told[-1].error, TlsError)


def test_endpoint_may_become_stricter():
    script = Script(DISPLAY, endpoint=Endpoint(host="source", port=5900, tls_port=5901))
    script.machine.endpoint = script.machine.endpoint.require_tls()
    assert script.get(BEGIN) == [Reply(1, MigrateConnectError())]


def test_proxy_and_credentials_serve_the_target_and_the_host_stays_opaque():
    proxy = Proxy.parse("http://proxy:3128")
    script = Script(DISPLAY, endpoint=Endpoint(host="vm/1", port=1, proxy=proxy, password="secret"))
    [link] = script.get(MigrateBegin(1, 0, "vm/2", None))
    assert isinstance(link, Link)
    assert (link.endpoint.host, link.endpoint.proxy, link.endpoint.password) == ("vm/2", proxy, "secret")
    assert "secret" not in repr(script.actions) + repr(script.told)
