"""CPU seconds of a recorded session: ours against the C client's (SpiceClientGLib), in turn on the same captures.

    python benchmarks/replay.py [CAPTURE...] [--rounds 5] [--json]

CAPTURE is a name in ../shared/captures (or CARAWAY_CAPTURES). The C client is served by the replay tool over loopback
TCP, ours by `caraway replay`; each figure is from the first link to the last drawn message, the best of the rounds.
The ratio is ours over the C client's: smaller is better.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
CAPTURES = Path(os.environ.get("CARAWAY_CAPTURES", SHARED / "captures"))
TOOL = SHARED / "tools" / "spice_capture.py"
CHILD = Path(__file__).with_name("_spice_gtk_replay.py")
DEADLINE = 120.0

LIMITS = {
    "long-photo-quic": 0.5,
    "long-scroll-auto_glz": 0.5,
    "long-scroll-lz": 0.5,
    "text-lz": 1.0,
    "xspice-perf-lz": 1.0,
}
"""What the ratio is to stay below, by capture."""


def ours(capture: Path) -> float:
    """CPU seconds of our client."""
    command = [
        sys.executable,
        "-c",
        "from caraway.cli import main; main()",
        "replay",
        str(capture),
        "--stats",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE)
    return float(json.loads(done.stdout)["cpu_seconds"])


def theirs(capture: Path) -> float:
    """CPU seconds of the C client."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = [sys.executable, str(TOOL), "replay", str(capture), str(port)]
    view = ["/usr/bin/python3", str(CHILD), f"spice://127.0.0.1:{port}"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            server.stdout.readline()
            with subprocess.Popen(
                view, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as client:
                server.stdout.readline()
                out, _ = client.communicate("\n", timeout=DEADLINE)
        finally:
            server.kill()
    return float(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="*", default=sorted(LIMITS), metavar="CAPTURE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for name in options.captures:
        path = CAPTURES / f"{name}.cap.xz"
        pairs = [(ours(path), theirs(path)) for _ in range(options.rounds)]
        us, them = (min(figures) for figures in zip(*pairs, strict=True))
        results.append({"capture": name, "ours": us, "c_client": them, "ratio": us / them, "limit": LIMITS.get(name)})
        if not options.json:
            limit = f"  limit {LIMITS[name]}" if name in LIMITS else ""
            print(f"{name:<24} ours {us:7.3f} s   C client {them:7.3f} s   ratio {us / them:5.2f}{limit}", flush=True)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
