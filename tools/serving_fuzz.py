"""Send a server on this machine broken pictures: ``python tools/serving_fuzz.py --count 10000``.

Each is a small good picture with bytes turned, cut, or put together with another; each has to be
answered by a picture, or by what is wrong with it, and a good one that follows by its picture. Then
the same pictures come once more: the server, which is a process of its own, may need no more memory.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pillow_heif
import psutil
from PIL import Image
from serving_load import MOST_GROWTH, ask, body, growth, health, memory_table, server

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


@dataclass
class Answers:
    """What one run over the broken pictures brought."""

    statuses: dict[int, int] = field(default_factory=dict)  # how many had each
    wrong: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)  # of the server, in tenths of the run
    seconds: float = 0.0


def send(
    port: int, process: psutil.Process, good: Mapping[str, bytes], options: argparse.Namespace
) -> Answers:
    """Send the broken pictures of a seed, and good ones in between, by several clients at once."""
    coming = itertools.islice(requests(random.Random(options.seed), good), options.count)
    kinds = itertools.cycle(sorted(good))
    answers = Answers(memory_mb=[process.memory_info().rss / 1e6])
    lock = threading.Lock()

    def note(status: int) -> None:
        answers.statuses[status] = answers.statuses.get(status, 0) + 1
        if status not in ANSWERS:
            answers.wrong.append(f"a broken picture had {status or 'no answer'}")
        done = sum(answers.statuses.values())
        if done * 10 // options.count > len(answers.memory_mb) - 1:
            answers.memory_mb.append(process.memory_info().rss / 1e6)
            print(f"{done} sent, {answers.memory_mb[-1]:.0f} MB", flush=True)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        with contextlib.closing(connection):
            for number in itertools.count(1):
                with lock:
                    data, kind = next(coming, None), next(kinds)
                if data is None:
                    return
                status = ask(connection, *data).status
                with lock:
                    note(status)
                if number % GOOD:
                    continue
                status = ask(connection, *body(good[kind], style="vortex", size="32")).status
                if status != 200:
                    answers.wrong.append(f"a good {kind} had {status or 'no answer'}")

    began = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.seconds = time.perf_counter() - began
    return answers


def problems(first: Answers, again: Answers, after: Mapping[str, Any]) -> list[str]:
    """Return what is wrong: with the answers, with places that are kept, with memory."""
    wrong = first.wrong + again.wrong
    if after["waiting"] or after["painting"]:
        wrong.append("a request still has a place")
    ratio = growth(first.memory_mb, again.memory_mb)
    if ratio > MOST_GROWTH:
        wrong.append(f"memory grew by {ratio:.2f}")
    return wrong


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="of broken pictures, each time")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="of the server's model")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Send the pictures, twice; return 1 if one was answered as none may be, or memory grew."""
    options, good = parsed(arguments), pictures()
    with server(options.threads) as (port, process):
        first, again = (send(port, process, good, options) for _ in range(2))
        wrong = problems(first, again, health(port))
    for answers in (first, again):
        told = (
            f"{count} × {status or 'no answer'}"
            for status, count in sorted(answers.statuses.items())
        )
        print(f"{answers.seconds:.0f} s: {', '.join(told)}")
    print(memory_table(first.memory_mb, again.memory_mb))
    if options.json:
        facts = {"first": asdict(first), "again": asdict(again), "wrong": wrong}
        with replaced(options.json) as file:
            file.write_text(json.dumps(facts, indent=1) + "\n")
    for line in wrong[:20]:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
