"""CPU time of receiving messages: a linked `Connection` against asyncio streams.

    python benchmarks/receive.py [--mib 1024] [--body 65536] [--json]

A child process sends messages with mini headers over loopback TCP as fast as they are taken. The figure is this
process's CPU time; the ratio is ours over streams (smaller is better).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any

from caraway.client.connection import Connection
from caraway.wire.constants import ChannelType
from caraway.wire.framing import pack_header
from caraway.wire.link import ClientLink, LinkRequested, ServerLink, TicketReceived
from caraway.wire.ticket import TicketKey

ROUNDS = 3
LINKED = multiprocessing.Value("b", False)
"""Whether the client under test makes a SPICE link first."""


def send(listener: socket.socket, count: int, body: int) -> None:
    """A server that accepts one link, if the client makes one, and sends."""
    peer, _ = listener.accept()
    if LINKED.value:
        link = ServerLink()
        while not link.done:
            link.receive(peer.recv(65536))
            if isinstance(link.question, LinkRequested):
                link.accept(ticket_key=TicketKey.generate())
            if isinstance(link.question, TicketReceived):
                link.grant()
            peer.sendall(link.data_to_send())
    message = pack_header(True, 4, body, 0) + bytes(body)
    per_block = max(1, (1 << 20) // body)
    for sent in range(0, count, per_block):
        peer.sendall(message * min(per_block, count - sent))
    peer.close()


async def with_streams(port: int, count: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = 0
    for _ in range(count):
        header = await reader.readexactly(6)
        received += len(await reader.readexactly(int.from_bytes(header[2:], "little")))
    writer.close()
    await writer.wait_closed()
    return received


async def with_caraway(port: int, count: int) -> int:
    connection = Connection("benchmark")
    await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", port)
    await connection.link(ClientLink(0, ChannelType.MAIN, 0))
    received = 0
    while count:
        while count and (frame := connection.next_frame()) is not None:
            received += len(frame.body)
            count -= 1
        if count:
            await connection.readable()
    await connection.aclose()
    return received


def measure(receive: Callable[[int, int], Coroutine[Any, Any, int]], count: int, body: int) -> tuple[float, float]:
    """CPU and wall seconds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = multiprocessing.get_context("fork").Process(target=send, args=(listener, count, body))
        sender.start()
        cpu, wall = time.process_time(), time.perf_counter()
        received = asyncio.run(receive(listener.getsockname()[1], count))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        sender.join()
    assert received == count * body
    return cpu, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--body", type=int, default=65536)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count = options.mib * (1 << 20) // options.body
    result = {}
    for name, receive in {"streams": with_streams, "caraway": with_caraway}.items():
        LINKED.value = receive is with_caraway
        measure(receive, 64, options.body)
        runs = [measure(receive, count, options.body) for _ in range(ROUNDS)]
        cpu, wall = (statistics.median(values) for values in zip(*runs, strict=True))
        result[name] = {"cpu_seconds": round(cpu, 3), "gib_per_second": round(options.mib / 1024 / wall, 2)}
    ratio = result["caraway"]["cpu_seconds"] / result["streams"]["cpu_seconds"]
    result["ratio"] = {"cpu": round(ratio, 3)}
    if options.json:
        print(json.dumps(result))
        return
    print(f"{options.mib} MiB in messages of {options.body} bytes, median of {ROUNDS}")
    for name in ("streams", "caraway"):
        print(f"  {name:8} {result[name]['cpu_seconds']:7.3f} s CPU  {result[name]['gib_per_second']:6.2f} GiB/s")
    print(f"  ratio    {ratio:7.3f}")


if __name__ == "__main__":
    main()
