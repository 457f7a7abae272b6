"""Images as bytes: raw bitmaps and the display channel's codecs (spec/lz.md). Knows no messages, no surfaces."""
