"""Send a server on this machine broken pictures: ``python tools/serving_fuzz.py --count 10000``.

Each is a small good picture with bytes turned, cut, or put together with another; each has to be
answered by a picture, or by what is wrong with it, and a good one that follows by its picture. The
memory of the server, which is a process of its own, is read in tenths of the run.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pillow_heif
from PIL import Image
from serving_load import MOST_GROWTH, ask, body, growth, health, server

from nstlib.files import replaced
from nstlib.images import sample, to_uint8

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
ANSWERS = (200, 413, 415, 422)  # that a picture may have
GOOD = 50  # so many broken ones, then one that is good


def pictures() -> dict[str, bytes]:
    """Return a small good picture in each format."""
    image = Image.fromarray(to_uint8(sample("coffee", 40)))
    made = {}
    for kind in FORMATS:
        stream = io.BytesIO()
        if kind == "HEIF":
            pillow_heif.from_pillow(image).save(stream)
        else:
            image.save(stream, kind)
        made[kind] = stream.getvalue()
    return made


def broken(chance: random.Random, good: Mapping[str, bytes]) -> bytes:
    """Return a picture that something was done to: mostly, it is one no more."""
    data = bytearray(chance.choice(sorted(good.values())))
    for _ in range(chance.choice((1, 1, 2, 4))):
        # Half of what is done is done to the first bytes, where the sizes stand.
        place = chance.randrange(max(1, min(len(data), chance.choice((64, len(data) + 1)))))
        match chance.randrange(6):
            case 0:  # bits are turned
                for _ in range(chance.choice((1, 3, 20))):
                    where = chance.randrange(max(1, len(data)))
                    data[where : where + 1] = bytes([chance.randrange(256)])
            case 1:  # cut
                del data[place:]
            case 2:  # a piece is lost
                del data[place : place + chance.randrange(1, 40)]
            case 3:  # a piece comes twice
                data[place:place] = data[place : place + chance.randrange(1, 200)]
            case 4:  # a number becomes a large one, or none
                data[place : place + 4] = chance.choice(
                    (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff")
                )
            case _:  # the tail of another
                other = chance.choice(sorted(good.values()))
                data[place:] = other[chance.randrange(len(other)) :]
    return bytes(data)


def requests(chance: random.Random, good: Mapping[str, bytes]) -> Iterator[tuple[bytes, str]]:
    """Give bodies of requests, without an end, each with its type."""
    while True:
        yield body(broken(chance, good), style="vortex", size="32")


def memory_limits(memory: Sequence[float]) -> str:
    """Return what is wrong with how memory went; nothing if nothing is."""
    ratio = growth(memory)
    return f"memory grew by {ratio:.2f}" if ratio > MOST_GROWTH else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Send the pictures; return 1 if one was answered as none may be, or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="of the server's model")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args(arguments)
    good = pictures()
    coming = itertools.islice(requests(random.Random(options.seed), good), options.count)
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    lock = threading.Lock()
    with server(options.threads) as (port, process):
        memory = [process.memory_info().rss / 1e6]

        def client() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            with contextlib.closing(connection):
                for number in itertools.count(1):
                    with lock:
                        data = next(coming, None)
                    if data is None:
                        return
                    status = ask(connection, *data).status
                    with lock:
                        statuses[status] += 1
                        if status not in ANSWERS:
                            wrong.append(f"a broken picture had {status or 'no answer'}")
                        done = sum(statuses.values())
                        if done * 10 // options.count > len(memory) - 1:
                            memory.append(process.memory_info().rss / 1e6)
                            print(f"{done} sent, {memory[-1]:.0f} MB", flush=True)
                    if number % GOOD == 0:
                        kind = sorted(good)[number // GOOD % len(good)]
                        status = ask(
                            connection, *body(good[kind], style="vortex", size="32")
                        ).status
                        if status != 200:
                            wrong.append(f"a good {kind} had {status or 'no answer'}")

        began = time.perf_counter()
        threads = [threading.Thread(target=client) for _ in range(options.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        after = health(port)
    if after["waiting"] or after["painting"]:
        wrong.append("a request still has a place")
    if problem := memory_limits(memory):
        wrong.append(problem)
    for status, count in sorted(statuses.items()):
        print(f"{count:7} × {status or 'no answer'}")
    tenths = " ".join(f"{value:.0f}" for value in memory)
    print(f"{seconds:.0f} s; memory in MB: {tenths}; × {growth(memory):.2f} in the second half")
    if options.json:
        facts = {"statuses": statuses, "seconds": seconds, "memory_mb": memory, "wrong": wrong}
        with replaced(options.json) as file:
            file.write_text(json.dumps(facts, indent=1) + "\n")
    for line in wrong[:20]:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
