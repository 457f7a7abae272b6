from caraway.canvas.region import Box
from caraway.server.encoder import Settings
from caraway.server.tiles import Tile, Tiles
from caraway.wire.messages.display import ImageCompression

LZ, QUIC = Settings(ImageCompression.LZ), Settings(ImageCompression.QUIC)
LEFT, RIGHT = Box(0, 0, 10, 10), Box(10, 0, 20, 10)
TILE = Tile(304, b"\0" * 1000, False)


def test_a_tile_is_found_by_its_place_and_settings() -> None:
    tiles = Tiles()
    tiles.put(LEFT, LZ, TILE)
    assert tiles.get(LEFT, LZ) is TILE
    assert tiles.get(LEFT, QUIC) is None
    assert tiles.get(RIGHT, LZ) is None


def test_a_change_makes_those_void_that_it_touches() -> None:
    tiles = Tiles()
    for settings in (LZ, QUIC):
        tiles.put(LEFT, settings, TILE)
        tiles.put(RIGHT, settings, TILE)
    tiles.changed(Box(9, 9, 10, 30))
    assert len(tiles) == 2
    assert tiles.get(RIGHT, LZ) is TILE
    tiles.changed(Box(0, 0, 20, 10))
    assert len(tiles) == tiles.held_bytes == 0


def test_bytes_are_bounded_and_the_least_used_go_first() -> None:
    tiles = Tiles(max_bytes=20_000)
    first = Box(0, 0, 1, 1)
    for at in range(1000):
        tiles.put(Box(at, 0, at + 1, 1), LZ, TILE)
        assert tiles.get(first, LZ) is TILE
        assert tiles.held_bytes <= tiles.max_bytes
    assert tiles.get(Box(1, 0, 2, 1), LZ) is None
    assert tiles.get(Box(999, 0, 1000, 1), LZ) is TILE


def test_one_that_is_too_large_is_not_kept() -> None:
    tiles = Tiles(max_bytes=500)
    tiles.put(LEFT, LZ, TILE)
    assert len(tiles) == tiles.held_bytes == 0


def test_the_same_place_again_replaces() -> None:
    tiles = Tiles()
    for _ in range(3):
        tiles.put(LEFT, LZ, TILE)
    held = tiles.held_bytes
    tiles.clear()
    tiles.put(LEFT, LZ, TILE)
    assert tiles.held_bytes == held
