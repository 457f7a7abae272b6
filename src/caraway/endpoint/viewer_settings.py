"""What a `.vv` file says to the window rather than to the connection (spec/wire.md 15)."""

from dataclasses import dataclass, field

from caraway.errors import EndpointError

COLOR_DEPTHS = (16, 32)
EFFECTS = frozenset(("wallpaper", "font-smooth", "animation", "all"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OvirtSettings:
    """Management access of the `[ovirt]` group. Caraway carries it and does not use it."""

    host: str | None = None
    vm_guid: str | None = None
    jsessionid: str | None = field(default=None, repr=False)
    sso_token: str | None = field(default=None, repr=False)
    admin: bool = False
    ca: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerSettings:
    """Wishes of a `.vv` file for the viewer; None where the file says nothing."""

    fullscreen: bool = False
    toggle_fullscreen: str | None = None
    """Hotkeys are texts such as `shift+f11` or `ctrl+alt`."""
    release_cursor: str | None = None
    zoom_in: str | None = None
    zoom_out: str | None = None
    zoom_reset: str | None = None
    smartcard_insert: str | None = None
    smartcard_remove: str | None = None
    secure_attention: str | None = None
    usb_device_reset: str | None = None
    color_depth: int | None = None
    """16 or 32: sent to the guest agent."""
    disable_effects: frozenset[str] = frozenset()
    """Of `wallpaper`, `font-smooth`, `animation`, `all`: sent to the guest agent."""
    enable_smartcard: bool | None = None
    enable_usbredir: bool | None = None
    enable_usb_autoshare: bool | None = None
    usb_filter: str | None = None
    """Filter rules in usbredir's own syntax."""
    delete_this_file: bool = False
    """The file holds a one-time ticket: `Endpoint.load` removes it."""
    version: str | None = None
    """Oldest client of the file's author; Caraway ignores it, as other clients do."""
    versions: tuple[str, ...] = ()
    newer_version_url: str | None = None
    ovirt: OvirtSettings | None = None

    def __post_init__(self) -> None:
        if self.color_depth is not None and self.color_depth not in COLOR_DEPTHS:
            raise EndpointError(f"color-depth {self.color_depth!r} is neither 16 nor 32")
        object.__setattr__(self, "disable_effects", frozenset(self.disable_effects))
        unknown = self.disable_effects - EFFECTS
        if unknown:
            raise EndpointError(
                f"disable-effects {sorted(unknown)!r} not known: choose from {', '.join(sorted(EFFECTS))}"
            )
