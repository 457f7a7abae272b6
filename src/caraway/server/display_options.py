"""How displays are served: compression, loss, video. The words are those of QEMU's `-spice` options."""

from __future__ import annotations

from dataclasses import dataclass

from caraway.wire.messages.display import ImageCompression

_COMPRESSIONS = tuple(compression.name.lower() for compression in ImageCompression)
_WHEN = ("auto", "always", "never")
_STREAMING = ("off", "filter", "all")


@dataclass(frozen=True, slots=True)
class DisplayOptions:
    """What a server does with its displays.

    Raises ValueError for a word that an option does not have.
    """

    compression: str = "auto_glz"
    """off, auto_glz, auto_lz, quic, glz, lz or lz4; a viewer's own preference comes first."""
    jpeg: str = "auto"
    """Pictures with loss, made good once the screen is still. auto: on slow links; always; never."""
    zlib: str = "auto"
    """A second compression over GLZ. auto: on slow links; always; never."""
    streaming: str = "filter"
    """Video streams: off; filter: of regions that look like video; all: of whatever is redrawn often."""

    def __post_init__(self) -> None:
        for option, words in (
            ("compression", _COMPRESSIONS),
            ("jpeg", _WHEN),
            ("zlib", _WHEN),
            ("streaming", _STREAMING),
        ):
            word = getattr(self, option)
            if word not in words:
                raise ValueError(f"display option {option}: {word!r} is none of {', '.join(words)}")

    @property
    def image_compression(self) -> ImageCompression:
        """The compression by its number on the wire."""
        return ImageCompression[self.compression.upper()]


def applies(when: str, low_bandwidth: bool) -> bool:
    """Whether auto, always or never means now."""
    return when == "always" or (when == "auto" and low_bandwidth)
