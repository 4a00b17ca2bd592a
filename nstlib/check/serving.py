"""Checks for notebook 06: percentiles, full queues, kinds of answers, caches, and Little's law."""

from __future__ import annotations

import math
import statistics
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nstlib.check.common import Answer, Mistakes, Result, compare

Requests = Sequence[tuple[str, int]]  # the picture that each asks for, and its bytes
NONE_FITS = 406
KINDS = ("image/png", "image/jpeg", "image/webp")


def percentile(answer: Answer) -> Result:
    """Check ``answer(seconds, share)``: the shortest time that was enough for a share of all, or more."""

    def rank(
        seconds: Sequence[float], share: float, rounded: Callable[[float], int] = math.ceil
    ) -> float:
        return sorted(seconds)[rounded(share * len(seconds)) - 1]

    mistakes: Mistakes = {
        "not sorted: in the order in which they came, a place in the list says nothing": (
            lambda seconds, share: seconds[math.ceil(share * len(seconds)) - 1]
        ),
        "one too far: ranks count from 1 and places in a list from 0, so subtract 1": (
            lambda seconds, share: sorted(seconds)[int(share * len(seconds))]
        ),
        "the rank is rounded down, and fewer than the share were so quick: round it up": (
            lambda seconds, share: rank(seconds, share, int)
        ),
        "rounded to the nearest rank, so that fewer than the share may be so quick: round it up": (
            lambda seconds, share: rank(seconds, share, round)
        ),
        "it lies between two times: the nearest rank is a time that somebody waited": (
            lambda seconds, share: float(np.quantile(seconds, share))
        ),
        "sorted the wrong way round: the shortest comes first": (
            lambda seconds, share: sorted(seconds)[-math.ceil(share * len(seconds))]
        ),
        "the mean: one that waits long moves it, and it says nothing of a share": (
            lambda seconds, share: statistics.mean(seconds)
        ),
        "the longest: only for a share of 1": lambda seconds, share: max(seconds),
    }
    inputs = [
        ([0.31, 0.12, 0.14, 0.95, 0.11, 0.13, 0.17], 0.5),
        ([0.25, 0.5, 0.125, 4.0, 0.75, 0.625, 2.0, 0.375, 1.0, 1.5], 0.9),
        ([0.31, 0.12, 0.14, 0.95, 0.11, 0.13, 0.17], 0.9),  # rank 6.3 of 7
    ]
    return compare("percentile", answer, rank, inputs, mistakes)


def admit(answer: Answer) -> Result:
    """Check ``answer(arrivals, seconds, places)``: 200 or 503 for each, where one is painted at a time."""

    def right(
        arrivals: Sequence[float],
        seconds: float,
        places: float,
        *,
        refused_stay: bool = False,
        ties_stay: bool = False,
        at_once: bool = False,
    ) -> list[int]:
        ends: list[float] = []
        statuses = []
        for now in arrivals:
            inside = sum(end >= now if ties_stay else end > now for end in ends)
            is_free = inside < places
            statuses.append(200 if is_free else 503)
            if is_free or refused_stay:
                start = now if at_once or not ends else max(now, ends[-1])
                ends.append(start + seconds)
        return statuses

    def full_for_good(arrivals: Sequence[float], *given: Any) -> list[int]:
        statuses = right(arrivals, *given)
        first = statuses.index(503) if 503 in statuses else len(statuses)
        return statuses[:first] + [503] * (len(statuses) - first)

    mistakes: Mistakes = {
        "nobody is refused: the queue grows without end, and so does the wait": (
            lambda arrivals, seconds, places: right(arrivals, seconds, math.inf)
        ),
        "one too many: the picture that is being painted holds a place, too": (
            lambda arrivals, seconds, places: right(arrivals, seconds, places + 1)
        ),
        "one too few: it is full when all places are taken, not before": (
            lambda arrivals, seconds, places: right(arrivals, seconds, places - 1)
        ),
        "who is refused goes away, and takes neither a place nor time": (
            lambda *given: right(*given, refused_stay=True)
        ),
        "a picture that is done at this very moment has left its place": (
            lambda *given: right(*given, ties_stay=True)
        ),
        "all are painted at once: each begins when the one before it is done": (
            lambda *given: right(*given, at_once=True)
        ),
        "once full, full for good: places become free again": full_for_good,
        "True and False: a server answers 200 or 503": (
            lambda *given: [status == 200 for status in right(*given)]
        ),
    }
    inputs = [
        ([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 3.5, 3.75, 4.0, 20.0], 1.0, 2),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 2.5, 9.0], 2.0, 3),
    ]
    return compare("admit", answer, right, inputs, mistakes)


def kind(answer: Answer) -> Result:
    """Check ``answer(accept, kinds)``: the kind that a header likes best, or 406 where it takes none."""

    def shares_of(accept: str) -> dict[str, float]:
        found = {}
        for part in accept.split(","):
            name, _, share = part.partition(";q=")
            found[name.strip()] = float(share or 1)
        return found

    def closest(name: str, shares: dict[str, float]) -> float:
        ranges = (name, name.split("/")[0] + "/*", "*/*")
        return next((shares[of] for of in ranges if of in shares), 0.0)

    def kindest(name: str, shares: dict[str, float]) -> float:
        ranges = (name, name.split("/")[0] + "/*", "*/*")
        return max(shares.get(of, 0.0) for of in ranges)

    def right(
        accept: str,
        kinds: Sequence[str],
        share: Callable[[str, dict[str, float]], float] = closest,
        shares: dict[str, float] | None = None,
    ) -> str | int:
        liked = {name: share(name, shares or shares_of(accept)) for name in kinds}
        best = max(kinds, key=liked.__getitem__)
        return best if liked[best] > 0 else NONE_FITS

    def first_named(accept: str, kinds: Sequence[str]) -> str | int:
        for name in shares_of(accept):
            for one in kinds:
                if name in (one, one.split("/")[0] + "/*", "*/*"):
                    return one
        return NONE_FITS

    def in_its_order(accept: str, kinds: Sequence[str]) -> str | int:
        named = [name for name in shares_of(accept) if name in kinds]
        return right(accept, [*named, *(name for name in kinds if name not in named)])

    mistakes: Mistakes = {
        "the first that is named: it is the share q that counts, wherever it stands": first_named,
        "q is not read: without one it is 1, else it is what stands there": (
            lambda accept, kinds: right(accept, kinds, shares=dict.fromkeys(shares_of(accept), 1.0))
        ),
        "image/* and */* are ranges: they fit kinds that the header does not name": (
            lambda accept, kinds: right(accept, kinds, lambda name, shares: shares.get(name, 0.0))
        ),
        "image/* is a range, too: it fits all images": (
            lambda accept, kinds: right(
                accept, kinds, lambda name, shares: shares.get(name, shares.get("*/*", 0.0))
            )
        ),
        "a kind has the share of the range that names it most closely, not the largest that fits": (
            lambda accept, kinds: right(accept, kinds, kindest)
        ),
        "of equals, the server's first: the header's order means nothing": in_its_order,
        "where none is taken it is 406": (
            lambda accept, kinds: (
                kinds[0] if right(accept, kinds) == NONE_FITS else right(accept, kinds)
            )
        ),
    }
    headers = (
        "image/jpeg",
        "text/html, image/png;q=0.2, image/webp;q=0.8",
        "*/*;q=0.1, image/*;q=0.5",
        "image/*;q=0.9, image/webp",
        "image/*, image/png;q=0.1",
        "*/*, image/png;q=0",
        "image/webp, image/jpeg",
        "text/html, application/xml;q=0.9",
        "image/png;q=0",
    )

    inputs = [(header, KINDS) for header in headers]
    return compare("kind", answer, right, inputs, mistakes)


def kept(answer: Answer) -> Result:
    """Check ``answer(requests, most)``: 1 for each request that finds its picture kept, else 0."""

    def cache(
        requests: Requests,
        most: int,
        *,
        goes: Callable[[OrderedDict[str, int]], str] = lambda held: next(iter(held)),
        touch: bool = True,
        once: bool = False,
        large: bool = False,
        counted: bool = False,
    ) -> list[int]:
        held: OrderedDict[str, int] = OrderedDict()
        hits = []
        for key, size in requests:
            hits.append(int(key in held))
            if key in held:
                if touch:
                    held.move_to_end(key)
            elif size <= most or large:
                while held and (len(held) >= 3 if counted else sum(held.values()) + size > most):
                    del held[goes(held)]
                    if once:
                        break
                held[key] = size
                if size > most:
                    held.clear()
        return hits

    mistakes: Mistakes = {
        "the one that came first goes: asking for a picture again must make it the newest": (
            lambda *given: cache(*given, touch=False)
        ),
        "the newest goes: it is the one asked for longest ago that is missed least": (
            lambda *given: cache(*given, goes=lambda held: next(reversed(held)))
        ),
        "the largest goes: it is the one asked for longest ago": (
            lambda *given: cache(*given, goes=lambda held: max(held, key=held.__getitem__))
        ),
        "nothing ever goes: the sum of bytes has to stay at most so many": (
            lambda requests, most: cache(requests, 1 << 60)
        ),
        "only one goes: a large picture may need the room of several": (
            lambda *given: cache(*given, once=True)
        ),
        "a picture larger than the whole cache throws all others out: do not keep it": (
            lambda *given: cache(*given, large=True)
        ),
        "pictures are counted: bound their bytes": lambda *given: cache(*given, counted=True),
    }
    sizes = {"a": 40, "b": 30, "c": 30, "d": 60, "e": 200, "f": 10, "g": 5, "h": 5}
    orders = ("abcafbacdafdebfadcbcadf", "fghafghbfaghdfaghcefagbh")
    inputs = [([(key, sizes[key]) for key in order], 100) for order in orders]
    return compare("kept", answer, cache, inputs, mistakes)


def in_server(answer: Answer) -> Result:
    """Check ``answer(arrived, left)``: how many requests are in a server, in the mean over time.

    The time runs from when the first arrives until the last one leaves.
    """

    def stays(arrived: Sequence[float], left: Sequence[float]) -> float:
        return sum(left) - sum(arrived)

    def right(arrived: Sequence[float], left: Sequence[float]) -> float:
        return stays(arrived, left) / (max(left) - min(arrived))

    def at_most(arrived: Sequence[float], left: Sequence[float]) -> float:
        return max(sum(a <= now < b for a, b in zip(arrived, left, strict=True)) for now in arrived)

    def at_arrivals(arrived: Sequence[float], left: Sequence[float]) -> float:
        pairs = list(zip(arrived, left, strict=True))
        return statistics.mean(sum(a <= now < b for a, b in pairs) for now in arrived)

    mistakes: Mistakes = {
        "how long one stays, in seconds: Little's law multiplies it by how many arrive a second": (
            lambda arrived, left: stays(arrived, left) / len(arrived)
        ),
        "how many leave a second: Little's law multiplies it by how long one stays": (
            lambda arrived, left: len(left) / (max(left) - min(arrived))
        ),
        "it ends when the last one arrives: go on until the last one leaves": (
            lambda arrived, left: stays(arrived, left) / (max(arrived) - min(arrived))
        ),
        "it begins at 0: begin when the first one arrives": (
            lambda arrived, left: stays(arrived, left) / max(left)
        ),
        "not divided by the time": stays,
        "the most at once: it is the mean over time": at_most,
        "counted when one arrives: moments in which nobody comes count as well": at_arrivals,
    }
    inputs = [
        ([1.0, 1.5, 2.0, 5.0, 5.25], [2.5, 3.0, 4.0, 6.0, 9.0]),
        ([2.0, 2.0, 8.0], [3.0, 7.0, 8.5]),
    ]
    return compare("in_server", answer, right, inputs, mistakes)
