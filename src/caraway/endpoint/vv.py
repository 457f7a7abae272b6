"""`.vv` connection files as endpoints (spec/wire.md 15)."""

from caraway.endpoint.checks import MAX_PORT
from caraway.endpoint.endpoint import Endpoint
from caraway.endpoint.keyfile import Group, parse_keyfile
from caraway.endpoint.proxy import Proxy
from caraway.endpoint.viewer_settings import OvirtSettings, ViewerSettings
from caraway.errors import EndpointError

MAX_VV_SIZE = 4 << 20
"""Bytes of a `.vv` file: a system's whole CA bundle is some 250 KiB."""


def parse_vv(text: str) -> Endpoint:
    """Read a `.vv` file's text; see `Endpoint.from_vv`."""
    groups = parse_keyfile(text)
    if "virt-viewer" not in groups:
        raise EndpointError(".vv file: there is no [virt-viewer] group")
    group = groups["virt-viewer"]
    kind = group.text("type")
    if kind is None:
        raise EndpointError(".vv file: type is missing (type=spice)")
    if kind == "vnc":
        raise EndpointError(".vv file: type=vnc is a VNC console, and Caraway speaks SPICE only")
    if kind != "spice":
        raise EndpointError(f".vv file: type={kind!r} is not 'spice'")
    unix_path = group.text("unix-path")
    host, port, tls_port = group.text("host"), _port(group, "port"), _port(group, "tls-port")
    if unix_path is not None:
        host, port, tls_port = None, None, None
    proxy = group.text("proxy")
    return Endpoint(
        host=host,
        port=port,
        tls_port=tls_port,
        unix_path=unix_path,
        username=group.text("username"),
        password=group.text("password"),
        ca=group.text("ca"),
        host_subject=group.text("host-subject"),
        tls_ciphers=group.text("tls-ciphers"),
        secure_channels=frozenset(group.items("secure-channels")),
        disable_channels=frozenset(group.items("disable-channels")),
        proxy=Proxy.parse(proxy) if proxy else None,
        title=group.text("title"),
        viewer=_viewer(group, groups.get("ovirt")),
    )


def _port(group: Group, key: str) -> int | None:
    """A port; 0 stands for none, and so does the -1 of management software that had none to write."""
    port = group.integer(key)
    if port is not None and port > MAX_PORT:
        raise EndpointError(f".vv file: {key}={port} is not a port of 1..{MAX_PORT}")
    return port if port is not None and port > 0 else None


def _viewer(group: Group, ovirt: Group | None) -> ViewerSettings:
    return ViewerSettings(
        fullscreen=bool(group.boolean("fullscreen")),
        toggle_fullscreen=group.text("toggle-fullscreen"),
        release_cursor=group.text("release-cursor"),
        zoom_in=group.text("zoom-in"),
        zoom_out=group.text("zoom-out"),
        zoom_reset=group.text("zoom-reset"),
        smartcard_insert=group.text("smartcard-insert"),
        smartcard_remove=group.text("smartcard-remove"),
        secure_attention=group.text("secure-attention"),
        usb_device_reset=group.text("usb-device-reset"),
        color_depth=group.integer("color-depth") or None,
        disable_effects=frozenset(group.items("disable-effects")),
        enable_smartcard=group.boolean("enable-smartcard"),
        enable_usbredir=group.boolean("enable-usbredir"),
        enable_usb_autoshare=group.boolean("enable-usb-autoshare"),
        usb_filter=group.text("usb-filter"),
        delete_this_file=bool(group.boolean("delete-this-file")),
        version=group.text("version"),
        versions=group.items("versions"),
        newer_version_url=group.text("newer-version-url"),
        ovirt=_ovirt(ovirt) if ovirt else None,
    )


def _ovirt(group: Group) -> OvirtSettings:
    return OvirtSettings(
        host=group.text("host"),
        vm_guid=group.text("vm-guid"),
        jsessionid=group.text("jsessionid"),
        sso_token=group.text("sso-token"),
        admin=bool(group.boolean("admin")),
        ca=group.text("ca"),
    )
