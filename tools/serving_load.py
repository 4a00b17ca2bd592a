"""Load a server on this machine, and tell how it did: ``python tools/serving_load.py``.

The server is a process of its own. First as many clients as it has places ask again and again for
photos that they send: every request has to be answered by its picture. The same once more: now that
it has what it wants to keep, it may need no more memory. Then twice as many clients: what is refused
has to be refused at once, by 503.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from nstlib.files import replaced
from nstlib.images import sample, to_png_bytes

STYLES = ("vortex", "mosaic", "impasto")
PHOTOS = 8  # of one size: more than the server remembers
START = 120  # seconds in which the server has to start
MOST_GROWTH = 1.05  # of the most memory, when the same is asked for once more
DROPPED = 0  # the status of a request that had no answer


@dataclass(frozen=True)
class Reply:
    """One answer: its status, and how long it took."""

    status: int
    seconds: float


@dataclass(frozen=True)
class Part:
    """What came of one part of the load. Times in ms."""

    clients: int
    requests: int
    seconds: float
    statuses: dict[int, int]
    a_second: float  # pictures
    p50: float
    p95: float
    p99: float
    refused_p99: float  # of 503


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all do not exceed; NaN of none.

    Example:
        >>> percentile([4, 1, 3, 2], 0.5), percentile([4, 1, 3, 2], 0.99)
        (2, 4)
    """
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def part_of(replies: Sequence[Reply], clients: int, seconds: float) -> Part:
    """Return what a part's replies come to."""
    good = [1000 * reply.seconds for reply in replies if reply.status == 200]
    refused = [1000 * reply.seconds for reply in replies if reply.status == 503]
    return Part(
        clients=clients,
        requests=len(replies),
        seconds=seconds,
        statuses=dict(sorted(Counter(reply.status for reply in replies).items())),
        a_second=len(good) / seconds,
        p50=percentile(good, 0.5),
        p95=percentile(good, 0.95),
        p99=percentile(good, 0.99),
        refused_p99=percentile(refused, 0.99),
    )


def failures(part: Part) -> int:
    """Return how many requests had neither a picture nor the refusal that they may have."""
    return sum(count for status, count in part.statuses.items() if status not in (200, 503))


def growth(first: Sequence[float], again: Sequence[float]) -> float:
    """Return by what ratio the most memory grew when the same was asked for again.

    The first time caches fill, and the largest pictures take their share, at any moment; a leak takes
    as much the second time.
    """
    return max(again) / max(first)


def memory_table(first: Sequence[float], again: Sequence[float]) -> str:
    """Return the memory of both times as text."""
    tenths = [" ".join(f"{value:.0f}" for value in memory) for memory in (first, again)]
    return f"memory in MB: {tenths[0]}\n       again: {tenths[1]}; at most × {growth(first, again):.2f}"


def table(parts: Sequence[Part]) -> str:
    """Return the figures as text."""
    lines = ["clients  requests     s  pictures/s  p50 ms  p95 ms  p99 ms  503 p99 ms  statuses"]
    for part in parts:
        statuses = ", ".join(
            f"{count} × {status or 'dropped'}" for status, count in part.statuses.items()
        )
        lines.append(
            f"{part.clients:7} {part.requests:9} {part.seconds:5.0f} {part.a_second:11.2f}"
            f" {part.p50:7.0f} {part.p95:7.0f} {part.p99:7.0f} {part.refused_p99:11.1f}  {statuses}"
        )
    return "\n".join(lines)


# ------------------------------------------------------------------------------------ the server


@contextlib.contextmanager
def server(threads: int | None = None) -> Iterator[tuple[int, psutil.Process]]:
    """Run the server as a process within a block; give its port, and the process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "nstlib.serving:create_app"]
    command += ["--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    with subprocess.Popen(command, env=environment) as process:
        try:
            _wait(process, port)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start; its exit status is {process.poll()}")


def health(port: int) -> dict[str, Any]:
    """Return what the server says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as reply:
        return dict(json.load(reply))


def body(photo: bytes, **fields: str) -> tuple[bytes, str]:
    """Return a request's body, and its type."""
    boundary = "nst-boundary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="photo"\r\n\r\n'
    whole = b"".join([*parts, head.encode(), photo, f"\r\n--{boundary}--\r\n".encode()])
    return whole, f"multipart/form-data; boundary={boundary}"


def ask(connection: http.client.HTTPConnection, data: bytes, kind: str) -> Reply:
    """Send a request and read its answer; a connection that fails is closed, to be opened anew."""
    began = time.perf_counter()
    try:
        connection.request("POST", "/stylize", data, {"Content-Type": kind})
        reply = connection.getresponse()
        reply.read()
        status = reply.status
    except (OSError, http.client.HTTPException):
        connection.close()
        status = DROPPED
    return Reply(status, time.perf_counter() - began)


# -------------------------------------------------------------------------------------- the load


def load(
    port: int,
    clients: int,
    requests: int,
    size: int,
    process: psutil.Process,
    styles: Sequence[str] = STYLES,
) -> tuple[list[Reply], float, list[float]]:
    """Return the replies of a part, its seconds, and the server's memory, in MB, in tenths of it."""
    bodies = [
        body(to_png_bytes((sample("coffee", size) + 0.02 * seed).clamp(max=1)), style=style)
        for seed, style in zip(range(PHOTOS), itertools.cycle(styles))
    ]
    replies: list[Reply] = []
    memory, numbers, lock = [_megabytes(process)], iter(range(requests)), threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        with contextlib.closing(connection):
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                reply = ask(connection, *bodies[number % PHOTOS])
                with lock:
                    replies.append(reply)
                    if len(replies) * 10 // requests > len(memory) - 1:
                        memory.append(_megabytes(process))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies, time.perf_counter() - began, memory


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000, help="of the first part")
    parser.add_argument("--clients", type=int, default=32, help="of the first part")
    parser.add_argument("--crowd", type=int, default=64, help="clients of the second part; 0: none")
    parser.add_argument("--crowd-requests", type=int, default=1000, help="of the second part")
    parser.add_argument("--size", type=int, default=256, help="shorter side in pixels")
    parser.add_argument(
        "--threads", type=int, help="of the server's model; PyTorch's choice without"
    )
    parser.add_argument("--json", type=Path, help="a file for the figures")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load; return 1 if a request failed, or a refusal was wanting."""
    options = parsed(arguments)
    with server(options.threads) as (port, process):
        loads = [(options.clients, options.requests)] * 2
        if options.crowd:
            loads.append((options.crowd, options.crowd_requests))
        parts, memory = [], []
        for clients, requests in loads:
            replies, seconds, megabytes = load(port, clients, requests, options.size, process)
            parts.append(part_of(replies, clients, seconds))
            memory.append(megabytes)
        after = health(port)
    print(table(parts), memory_table(*memory[:2]), sep="\n")
    facts = {
        "size": options.size,
        "torch": torch.__version__,
        "parts": [asdict(part) for part in parts],
        "memory_mb": memory,
        "growth": growth(*memory[:2]),
    }
    if options.json:
        with replaced(options.json) as file:
            file.write_text(json.dumps(facts, indent=1) + "\n")
    wrong = sum(map(failures, parts))
    if wrong or after["waiting"] or after["painting"]:
        print(f"{wrong} requests failed; {after['waiting']} still wait", file=sys.stderr)
        return 1
    if growth(*memory[:2]) > MOST_GROWTH:
        print(f"memory grew by {growth(*memory[:2]):.2f}", file=sys.stderr)
        return 1
    if options.crowd and 503 not in parts[-1].statuses:
        print("nobody was refused: there was no crowd", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
