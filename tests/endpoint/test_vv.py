"""`.vv` files (spec/wire.md 15)."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.endpoint import CHANNEL_NAMES, Endpoint, OvirtSettings, Proxy, ViewerSettings
from caraway.errors import EndpointError

EVERYTHING = r"""# made by a test
[virt-viewer]
type=spice
host=pvespiceproxy:6536e2a1:100:pve1::a3f9
port=5900
tls-port=5901
username=ann
password=hunter2\s
ca=-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n
host-subject=C=GB,O=Red Hat\\, Inc.,CN=vm host
tls-ciphers=DEFAULT
secure-channels=main;inputs;tunnel;
disable-channels=usbredir; smartcard ;
proxy=http://u:p@proxy:3128
title=vm\t1 = "one"
fullscreen=1
toggle-fullscreen=shift+f11
release-cursor=ctrl+alt
zoom-in=ctrl+plus
zoom-out=ctrl+minus
zoom-reset=ctrl+0
smartcard-insert=shift+f8
smartcard-remove=shift+f9
secure-attention=ctrl+alt+end
usb-device-reset=ctrl+shift+r
color-depth=16
disable-effects=wallpaper;animation
enable-smartcard=0
enable-usbredir=true
enable-usb-autoshare=false
usb-filter=-1,-1,-1,-1,0
delete-this-file=0
version=2.0-128
versions=rhev-win64:2.0-128;rhev-win32:2.0-128
newer-version-url=http://example.org/
some-later-key=\q

[ovirt]
host=engine:443
vm-guid=0c
jsessionid=hunter2
sso-token=hunter2
admin=1
ca=hunter2

[some-later-group]
x=1
"""


def vv(*lines):
    return "\n".join(("[virt-viewer]", "type=spice", *lines)) + "\n"


def test_every_key():
    endpoint = Endpoint.from_vv(EVERYTHING)
    assert endpoint == Endpoint(
        host="pvespiceproxy:6536e2a1:100:pve1::a3f9",
        port=5900,
        tls_port=5901,
        username="ann",
        password="hunter2 ",
        ca="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        host_subject="C=GB,O=Red Hat\\, Inc.,CN=vm host",
        tls_ciphers="DEFAULT",
        secure_channels=frozenset(("main", "inputs")),
        disable_channels=frozenset(("usbredir", "smartcard")),
        proxy=Proxy(host="proxy", username="u", password="p"),
        title='vm\t1 = "one"',
        viewer=ViewerSettings(
            fullscreen=True,
            toggle_fullscreen="shift+f11",
            release_cursor="ctrl+alt",
            zoom_in="ctrl+plus",
            zoom_out="ctrl+minus",
            zoom_reset="ctrl+0",
            smartcard_insert="shift+f8",
            smartcard_remove="shift+f9",
            secure_attention="ctrl+alt+end",
            usb_device_reset="ctrl+shift+r",
            color_depth=16,
            disable_effects=frozenset(("wallpaper", "animation")),
            enable_smartcard=False,
            enable_usbredir=True,
            enable_usb_autoshare=False,
            usb_filter="-1,-1,-1,-1,0",
            delete_this_file=False,
            version="2.0-128",
            versions=("rhev-win64:2.0-128", "rhev-win32:2.0-128"),
            newer_version_url="http://example.org/",
            ovirt=OvirtSettings(
                host="engine:443", vm_guid="0c", jsessionid="hunter2", sso_token="hunter2", admin=True, ca="hunter2"
            ),
        ),
    )
    assert "hunter2" not in repr(endpoint)
    assert "hunter2" not in str(endpoint)


def test_little_is_enough():
    assert Endpoint.from_vv(vv("host=h", "port=5900")) == Endpoint(host="h", port=5900)


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (["host=h", "port=0", "tls-port=5901"], {"host": "h", "tls_port": 5901}),
        (["host=h", "port=5900", "tls-port=-1"], {"host": "h", "port": 5900}),
        (["host=h", "port=  5900  ", "password="], {"host": "h", "port": 5900}),
        (["host=[::1]", "port=5900"], {"host": "::1", "port": 5900}),
        (["host=h", "port=1", "host=i"], {"host": "i", "port": 1}),
        (["  host \t=  h", "port=1\r"], {"host": "h", "port": 1}),
        (["host=h", "port=1", "password=a\\\\n\\tb=c;d#  "], {"host": "h", "port": 1, "password": "a\\n\tb=c;d#  "}),
        (["unix-path=/run/a b", "host=h", "port=1"], {"unix_path": "/run/a b"}),
        (
            ["host=h", "tls-port=1", "secure-channels=all"],
            {"host": "h", "tls_port": 1, "secure_channels": CHANNEL_NAMES},
        ),
        (["host=h", "port=1", "secure-channels=;;"], {"host": "h", "port": 1}),
        (["host=h", "port=1", "color-depth=0"], {"host": "h", "port": 1}),
        (
            ["host=h", "port=1", "[other]", "port=2", "[virt-viewer]", "tls-port=3"],
            {"host": "h", "port": 1, "tls_port": 3},
        ),
    ],
)
def test_values(lines, fields):
    assert Endpoint.from_vv(vv(*lines)) == Endpoint(**fields)


def test_escaped_semicolon_stays_in_its_item():
    endpoint = Endpoint.from_vv(vv("host=h", "port=1", r"versions=a\;b;c\\;d"))
    assert endpoint.viewer.versions == ("a;b", "c\\", "d")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", r"no \[virt-viewer\] group"),
        ("[other]\ntype=spice\n", r"no \[virt-viewer\] group"),
        ("type=spice\n[virt-viewer]\n", "line 1: 'type' comes before"),
        ("[virt-viewer]\nhost=h\nport=1\n", "type is missing"),
        ("[virt-viewer]\ntype=vnc\nhost=h\nport=1\n", "VNC"),
        ("[virt-viewer]\ntype=rdp\nhost=h\nport=1\n", "'rdp'"),
        (vv("port=1"), "neither host nor unix_path"),
        (vv("host=h"), "neither port nor tls_port"),
        (vv("host=h", "port=x"), "port must be a whole number"),
        (vv("host=h", "port=65536"), "65536"),
        (vv("host=h", "port=" + "9" * 5000), "port must be"),
        (vv("host=h", "port=5900 x"), "port must be"),
        (vv("host=h", "port=1", "nonsense"), "line 5"),
        (vv("host=h", "port=1", "=x"), "line 5"),
        (vv("host=h", "port=1", "[virt-viewer"), "line 5"),
        (vv("host=h", "port=1", "fullscreen=yes"), "fullscreen must be 1, 0, true or false"),
        (vv("host=h", "port=1", "delete-this-file=2"), "delete-this-file"),
        (vv("host=h", "port=1", "color-depth=24"), "24"),
        (vv("host=h", "port=1", "disable-effects=sparkle"), "sparkle"),
        (vv("host=h", "port=1", "secure-channels=main;inputz"), "did you mean 'inputs'"),
        (vv("host=h", "port=1", "disable-channels=main"), "'main' cannot be disabled"),
        (vv("host=h", "port=1", "host-subject=nonsense"), "host subject"),
        (vv("host=h", "port=1", "host-subject=O=a\\, b"), "host-subject holds an unknown escape"),
        (vv("host=h", "port=1", "proxy=socks://p"), "socks"),
        (vv("host=h\\nX", "port=1"), "control"),
        ("\ufeff" + vv("host=h", "port=1"), "line 1"),
    ],
)
def test_error(text, error):
    with pytest.raises(EndpointError, match=error):
        Endpoint.from_vv(text)


@pytest.mark.parametrize("line", ["password=hunter2\\", "password=hunter2\\x", "hunter2", "fullscreen=hunter2"])
def test_errors_show_no_value(line):
    with pytest.raises(EndpointError) as caught:
        Endpoint.from_vv(vv("host=h", "port=1", line))
    assert "hunter2" not in str(caught.value)


lines = st.lists(
    st.one_of(
        st.text(),
        st.tuples(
            st.sampled_from(
                ["type", "host", "port", "tls-port", "ca", "host-subject", "secure-channels", "proxy", "fullscreen"]
            ),
            st.sampled_from(["spice", "5900", "1", "main;", "CN=a\\\\,b", "h", "p:1", "\\"]) | st.text(),
        ).map("=".join),
    )
)


@given(lines)
def test_any_text_gives_an_endpoint_or_an_endpoint_error(lines):
    for text in (vv("host=h", "port=5900", *lines), "\n".join(lines)):
        try:
            endpoint = Endpoint.from_vv(text)
        except EndpointError:
            continue
        assert isinstance(endpoint, Endpoint)


def test_load_keeps_an_ordinary_file(tmp_path):
    path = tmp_path / "console.vv"
    path.write_text(vv("host=h", "port=5900"))
    assert Endpoint.load(path) == Endpoint.load(str(path)) == Endpoint(host="h", port=5900)
    assert path.exists()


@pytest.mark.parametrize("value", ["1", "true"])
def test_load_removes_a_file_that_asks_for_it(tmp_path, value):
    path = tmp_path / "console.vv"
    path.write_text(vv("host=h", "port=5900", f"delete-this-file={value}"))
    assert Endpoint.load(path).viewer.delete_this_file
    assert not path.exists()


def test_load_keeps_a_file_that_it_does_not_understand(tmp_path):
    path = tmp_path / "console.vv"
    path.write_text(vv("host=h", "delete-this-file=1"))
    with pytest.raises(EndpointError):
        Endpoint.load(path)
    assert path.exists()


def test_load_goes_on_if_the_file_cannot_be_removed(tmp_path, monkeypatch, caplog):
    path = tmp_path / "console.vv"
    path.write_text(vv("host=h", "port=5900", "password=hunter2", "delete-this-file=1"))

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.unlink", refuse)
    with caplog.at_level(logging.WARNING):
        assert Endpoint.load(path).password == "hunter2"
    assert "Permission denied" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("content", "error"), [(None, "No such file"), (b"\xff", "UTF-8"), (b" " * (4 << 20) + b"x", "larger than")]
)
def test_load_errors(tmp_path, content, error):
    path = tmp_path / "console.vv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EndpointError, match=error):
        Endpoint.load(path)
