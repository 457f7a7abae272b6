"""Getting in, or not: tickets, SASL, TLS, sockets, proxies, against a real QEMU and libspice-server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import caraway
from caraway.client import Session
from caraway.endpoint import Endpoint, Proxy, password_file
from caraway.qemu.process import Qemu
from caraway.qemu.spice_options import free_ports
from support.certificates import Authority
from support.leaks import nothing_left
from support.peers import require_qemu
from support.relays import http_proxy, relay

pytestmark = pytest.mark.asyncio(loop_scope="session")

SUBJECT = r"C=DE,O=Caraway\, Inc.,CN=console.test"


def machine(extra: tuple[str, ...] = (), **spice: Any) -> Qemu:
    """A QEMU that shows its firmware."""
    require_qemu()
    return Qemu(spice={name.replace("_", "-"): value for name, value in spice.items()}, extra=extra)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ticket_vm() -> AsyncIterator[Qemu]:
    """A server that wants the ticket `right`."""
    async with machine(("-object", "secret,id=ticket,data=right"), password_secret="ticket") as vm:
        yield vm


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tls_vm(certificates: Path) -> AsyncIterator[Qemu]:
    """A server with TLS only."""
    async with machine(tls_port="auto", x509_dir=str(certificates), disable_ticketing=True) as vm:
        yield vm


async def works(session: Session) -> None:
    """The session is whole: there is a picture, and the server takes keys."""
    await session.display.ready()
    await session.inputs.press("shift")
    assert session.error is None
    assert session.inputs.error is None


async def refused(error: type[caraway.CarawayError], server: Any, match: str | None = None, **options: Any) -> None:
    """Connecting raises the error."""
    with pytest.raises(error, match=match) as caught:
        await caraway.connect(server, **options)
    assert not any(secret in str(caught.value) for secret in ("pw-secret", "hunter2"))


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def leaves_nothing(demo_vm: Qemu, ticket_vm: Qemu, tls_vm: Qemu) -> AsyncIterator[None]:
    """Whatever a test did, when it has ended there is no task, socket or thread of it."""
    with nothing_left():
        yield


# tickets


async def test_right_ticket(ticket_vm: Qemu) -> None:
    async with caraway.connect(ticket_vm.spice_uri(), password="right") as session:
        await works(session)


@pytest.mark.parametrize("password", ["wrong", "", None, "Right", "right ", "x" * 85])
async def test_wrong_ticket(ticket_vm: Qemu, password: str | None) -> None:
    await refused(caraway.AuthError, ticket_vm.spice_uri(), "wrong, missing or expired", password=password)


async def test_ticket_longer_than_any(ticket_vm: Qemu) -> None:
    await refused(caraway.AuthError, ticket_vm.spice_uri(), "86 bytes", password="x" * 86)


async def test_expired_ticket_and_a_new_one(ticket_vm: Qemu) -> None:
    await ticket_vm.qmp("expire_password", protocol="spice", time="now")
    await refused(caraway.AuthError, ticket_vm.spice_uri(), "expired", password="right")
    await ticket_vm.qmp("set_password", protocol="spice", password="other")
    await ticket_vm.qmp("expire_password", protocol="spice", time="never")
    await refused(caraway.AuthError, ticket_vm.spice_uri(), password="right")
    async with caraway.connect(ticket_vm.spice_uri(), password="other") as session:
        await works(session)
    await ticket_vm.qmp("set_password", protocol="spice", password="right")


async def test_password_by_file_and_by_vv(ticket_vm: Qemu, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    async with caraway.connect(ticket_vm.spice_uri(), credentials=password_file(secret)) as session:
        await works(session)
    assert ticket_vm.spice is not None
    vv = tmp_path / "console.vv"
    vv.write_text(
        f"[virt-viewer]\ntype=spice\nhost=127.0.0.1\nport={ticket_vm.spice.port}\npassword=right\ndelete-this-file=1\n"
    )
    async with caraway.connect(vv) as session:
        await works(session)
    assert not vv.exists()


async def test_credentials_are_asked_with_the_endpoint(ticket_vm: Qemu) -> None:
    asked = []

    async def give(endpoint: Endpoint) -> str:
        asked.append(endpoint)
        return "right"

    async with caraway.connect(ticket_vm.spice_uri(), credentials=give) as session:
        await works(session)
    assert asked == [Endpoint.parse(ticket_vm.spice_uri())]


async def test_any_password_where_none_is_wanted(demo_vm: Qemu) -> None:
    async with caraway.connect(demo_vm.spice_uri(), password="whatever") as session:
        await works(session)


# TLS


async def test_tls_with_authority_and_host_name(tls_vm: Qemu, certificates: Path) -> None:
    async with caraway.connect(tls_vm.spice_uri("localhost"), ca_file=str(certificates / "ca-cert.pem")) as session:
        await works(session)
        assert all(channel.connection.secure for channel in session.channels.values())


async def test_tls_with_authority_and_subject(tls_vm: Qemu, certificates: Path) -> None:
    ca_file = str(certificates / "ca-cert.pem")
    async with caraway.connect(tls_vm.spice_uri(), ca_file=ca_file, host_subject=SUBJECT) as session:
        await works(session)


@pytest.mark.parametrize(
    "subject", ["CN=console.test", r"C=DE,O=Caraway\, Inc.,CN=other", r"O=Caraway\, Inc.,C=DE,CN=console.test"]
)
async def test_wrong_subject(tls_vm: Qemu, certificates: Path, subject: str) -> None:
    options = {"ca_file": str(certificates / "ca-cert.pem"), "host_subject": subject}
    await refused(caraway.TlsError, tls_vm.spice_uri("localhost"), "subject is 'C=DE", **options)


async def test_wrong_host_name(tls_vm: Qemu, certificates: Path) -> None:
    ca_file = str(certificates / "ca-cert.pem")
    await refused(caraway.TlsError, tls_vm.spice_uri("127.0.0.1"), "is for 'localhost', '::1'", ca_file=ca_file)


async def test_common_name_counts_without_alternative_names(authority: Authority, tmp_path: Path) -> None:
    folder = authority.issue(tmp_path / "old", [("O", "Caraway"), ("CN", "localhost")])
    vm = machine(tls_port="auto", x509_dir=str(folder), disable_ticketing=True)
    async with vm, caraway.connect(vm.spice_uri("localhost"), ca_file=str(folder / "ca-cert.pem")) as session:
        await works(session)


async def test_unknown_authority(tls_vm: Qemu, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text(Authority("another authority").pem)
    for options in {"ca_file": str(tmp_path / "other.pem")}, {}:
        await refused(caraway.TlsError, tls_vm.spice_uri("localhost"), "CERTIFICATE_VERIFY_FAILED", **options)


async def test_plain_port_as_tls_port_and_the_reverse(demo_vm: Qemu, tls_vm: Qemu) -> None:
    assert demo_vm.spice is not None
    assert tls_vm.spice is not None
    await refused(caraway.TlsError, f"spice://127.0.0.1?tls-port={demo_vm.spice.port}")
    await refused(caraway.LinkError, f"spice://127.0.0.1:{tls_vm.spice.tls_port}", "TLS port")


@pytest.mark.parametrize("secured", ["inputs", "default", "main"])
async def test_channel_that_must_use_tls(certificates: Path, authority: Authority, secured: str) -> None:
    options = {"port": "auto", "tls_port": "auto", "x509_dir": str(certificates), "disable_ticketing": True}
    async with machine(**options, tls_channel=secured) as vm:
        assert vm.spice is not None
        endpoint = Endpoint(
            host="localhost", port=vm.spice.port, tls_port=vm.spice.tls_port, ca=authority.pem, password="hunter2"
        )
        async with caraway.connect(endpoint) as session:
            await works(session)
            assert session.inputs.connection.secure
            assert session.main.connection.secure == (secured != "inputs")
            # Once one link was made by TLS no later one is made without.
            assert session.endpoint.tls_only
            if secured != "inputs":
                assert all(channel.connection.secure for channel in session.channels.values())
        without_tls = Endpoint(host="localhost", port=vm.spice.port)
        await refused(caraway.TlsError, without_tls, "must use TLS, but no TLS port is known")


async def test_session_begun_with_tls_never_falls_back(certificates: Path, authority: Authority) -> None:
    options = {"port": "auto", "tls_port": "auto", "x509_dir": str(certificates), "disable_ticketing": True}
    async with machine(**options, tls_channel="main", plaintext_channel="inputs") as vm:
        assert vm.spice is not None
        async with relay("127.0.0.1", vm.spice.port or 0) as (plain, port):
            endpoint = Endpoint(host="localhost", port=port, tls_port=vm.spice.tls_port, ca=authority.pem)
            await refused(caraway.LinkError, endpoint, "wants this channel without TLS")
            assert [piped.channel_type for piped in plain.connections] == [1]


# SASL


@contextlib.asynccontextmanager
async def sasl_vm(folder: Path, certificates: Path, mechanisms: str) -> AsyncIterator[Qemu]:
    """A server that wants SASL, with one of its mechanisms."""
    for name in "qemu.conf", "spice.conf":
        text = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join([f"mech_list: {mechanisms}", *text[1:], ""]))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SASL_CONF_PATH", str(folder))
        vm = machine(sasl=True, port="auto", tls_port="auto", x509_dir=str(certificates))
        await vm.start()
    try:
        yield vm
    finally:
        await vm.aclose()


@pytest.mark.parametrize("mechanism", ["plain", "scram-sha-256"])
async def test_sasl(sasl_folder: Path, certificates: Path, authority: Authority, mechanism: str) -> None:
    async with sasl_vm(sasl_folder, certificates, mechanism) as vm:
        assert vm.spice is not None
        place = {"host": "localhost", "tls_port": vm.spice.tls_port, "ca": authority.pem}
        async with caraway.connect(Endpoint(**place, username="alice@caraway", password="pw-secret")) as session:
            await works(session)
        for user, password in ("alice@caraway", "pw-Secret"), ("bob@caraway", "pw-secret"), ("alice@caraway", ""):
            await refused(caraway.AuthError, Endpoint(**place, username=user, password=password), "wrong user name")
        await refused(caraway.AuthError, Endpoint(**place, password="pw-secret"), "needs a user name")
        async with relay("127.0.0.1", vm.spice.port or 0) as (seen, port):
            plain = Endpoint(host="127.0.0.1", port=port, username="alice@caraway", password="pw-secret")
            await refused(caraway.AuthError, plain, "no credential without TLS")
            [piped] = seen.connections
            assert len(piped.to_server) == 16 + int.from_bytes(piped.to_server[12:16], "little")


# where servers listen


async def test_unix_socket() -> None:
    async with machine(unix=True, disable_ticketing=True) as vm:
        assert vm.spice_uri().startswith("spice+unix://")
        async with caraway.connect(vm.spice_uri()) as session:
            await works(session)
            assert session.main.silence_limit is None
    await refused(caraway.LinkError, vm.spice_uri(), "No such file")


async def test_ipv6(authority: Authority, certificates: Path) -> None:
    options = {"port": "auto", "tls_port": "auto", "x509_dir": str(certificates)}
    async with machine(**options, addr="::1", disable_ticketing=True) as vm:
        assert vm.spice is not None
        async with caraway.connect(f"spice://[::1]:{vm.spice.port}") as session:
            await works(session)
        async with caraway.connect(Endpoint(host="::1", tls_port=vm.spice.tls_port, ca=authority.pem)) as session:
            await works(session)


async def test_nobody_listens() -> None:
    [port] = free_ports(1)
    await refused(caraway.LinkError, f"spice://127.0.0.1:{port}", "refused")
    await refused(caraway.LinkError, f"spice://localhost:{port}")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 64, "a..b", "exämple.invalid"])
async def test_host_that_does_not_exist(host: str) -> None:
    with contextlib.suppress(caraway.EndpointError):
        endpoint = Endpoint(host=host, port=5900)
        await refused(caraway.LinkError, endpoint)


async def test_server_that_says_nothing() -> None:
    async with relay_to_silence() as port:
        await refused(caraway.DeadlineError, f"spice://127.0.0.1:{port}", "connecting: not within 0.2 s", timeout=0.2)
        tls = f"spice://127.0.0.1?tls-port={port}"
        await refused(caraway.DeadlineError, tls, "not within", timeout=0.2)
        proxied = Endpoint(host="pve", port=1, proxy=Proxy(host="127.0.0.1", port=port))
        await refused(caraway.DeadlineError, proxied, "not within", timeout=0.2)


@contextlib.asynccontextmanager
async def relay_to_silence() -> AsyncIterator[int]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


# proxies


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("credentials", [None, "me:s%cret"])
async def test_proxy_that_alone_knows_the_host(
    demo_vm: Qemu, tls_vm: Qemu, authority: Authority, tls: bool, credentials: str | None
) -> None:
    token = "pvespiceproxy:6656a1c5:100:node::5dd0aa"
    vm = tls_vm if tls else demo_vm
    assert vm.spice is not None
    port = vm.spice.tls_port if tls else vm.spice.port
    assert port is not None
    username, _, password = (credentials or "").partition(":")
    # A colon in the token makes the target look like an IPv6 address, which CONNECT puts in brackets.
    names = {f"{spelled}:61000": ("127.0.0.1", port) for spelled in (token, f"[{token}]")}
    async with http_proxy(names, credentials) as (proxy, proxy_port):
        endpoint = Endpoint(
            host=token,
            **({"tls_port": 61000} if tls else {"port": 61000}),
            ca=authority.pem,
            host_subject=SUBJECT if tls else None,
            proxy=Proxy(host="127.0.0.1", port=proxy_port, username=username, password=password),
        )
        async with caraway.connect(endpoint) as session:
            await works(session)
            assert session.main.connection.secure == tls
        assert len(proxy.asked) == 4


async def test_proxy_that_refuses(demo_vm: Qemu) -> None:
    async with http_proxy({}) as (_, port):
        endpoint = Endpoint(host="pve", port=1, proxy=Proxy(host="127.0.0.1", port=port))
        await refused(caraway.LinkError, endpoint, "refused to connect to pve port 1: 'HTTP/1.1 403")
    await refused(caraway.LinkError, endpoint, "proxy http://127.0.0.1")
    assert demo_vm.spice is not None
    async with http_proxy({}, "me:hunter2") as (_, port):
        endpoint = Endpoint(host="pve", port=1, proxy=Proxy(host="127.0.0.1", port=port, password="hunter3"))
        await refused(caraway.LinkError, endpoint, "407")
    not_a_proxy = Proxy(host="127.0.0.1", port=demo_vm.spice.port or 0)
    await refused(caraway.LinkError, Endpoint(host="pve", port=1, proxy=not_a_proxy), "proxy")


# two at once, and again


async def test_connects_again_and_again(demo_vm: Qemu) -> None:
    for _ in range(5):
        async with caraway.connect(demo_vm.spice_uri(), channels=()) as session:
            assert session.main.vm_name == "caraway"


async def test_second_client_takes_the_server_over(demo_vm: Qemu) -> None:
    async with caraway.connect(demo_vm.spice_uri()) as first:
        await first.display.ready()
        async with caraway.connect(demo_vm.spice_uri()) as second:
            await works(second)
            with pytest.raises(caraway.LinkError, match="the server closed the connection"):
                await first.until(asyncio.Event().wait())
            with pytest.raises(caraway.LinkError):
                await first.inputs.press("a")
