"""Answers to the exercises of notebook 06, right ones and wrong ones, for ``test_check.py``.

Written as a student would write them, not as the checks do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from nstlib.serving.answers import accepted
from nstlib.serving.problems import Problem
from nstlib.serving.uploads import KeptPictures

Answer = Callable[..., Any]


# ------------------------------------------------------------------------------------- percentile


def enough_for(seconds: Sequence[float], share: float) -> float:
    """Try every time that somebody waited."""
    quick = (t for t in seconds if sum(s <= t for s in seconds) >= share * len(seconds))
    return min(quick)


def nearest_rank_by_numpy(seconds: Sequence[float], share: float) -> float:
    return float(np.quantile(seconds, share, method="inverted_cdf"))


# ------------------------------------------------------------------------------------------ admit


def statuses(
    arrivals: Sequence[float],
    seconds: float,
    places: float,
    lingers: bool = False,
    refused_waits: bool = False,
) -> list[int]:
    """Keep what is inside as a list of when each is done."""
    inside: list[float] = []
    last, found = -math.inf, []
    for now in arrivals:
        inside = [done for done in inside if (done >= now if lingers else done > now)]
        found.append(503 if len(inside) >= places else 200)
        if found[-1] == 200 or refused_waits:
            last = max(now, last) + seconds
            inside.append(last)
    return found


def by_the_clock(arrivals: Sequence[float], seconds: float, places: int) -> list[int]:
    """Know only when the queue is worked off: that says how many are inside."""
    free, found = -math.inf, []
    for now in arrivals:
        inside = math.ceil(max(free - now, 0) / seconds)
        found.append(200 if inside < places else 503)
        if inside < places:
            free = max(free, now) + seconds
    return found


def side_by_side(arrivals: Sequence[float], seconds: float, places: int) -> list[int]:
    done: list[float] = []
    found = []
    for now in arrivals:
        taken = [t for t in done if t > now]
        found.append(200 if len(taken) < places else 503)
        if found[-1] == 200:
            done.append(now + seconds)
    return found


def closes_for_good(arrivals: Sequence[float], seconds: float, places: int) -> list[int]:
    return list(itertools.accumulate(statuses(arrivals, seconds, places), max))


# ------------------------------------------------------------------------------------------- kind


def by_the_package(accept: str, kinds: Sequence[str]) -> str | int:
    try:
        found = accepted(accept)
    except Problem as problem:
        return problem.status_code
    if found not in kinds:
        raise AssertionError(found)
    return found


def read(accept: str) -> list[tuple[str, float]]:
    pairs = []
    for part in accept.split(","):
        name, *rest = part.strip().split(";")
        pairs.append((name, float(rest[0].partition("=")[2]) if rest else 1.0))
    return pairs


def fits(of: str, kind: str) -> bool:
    return of in (kind, "*/*") or (of.endswith("/*") and kind.startswith(of[:-1]))


def by_stars(accept: str, kinds: Sequence[str]) -> str | int:
    """The range with fewest stars is the closest."""
    best, most = 406, 0.0
    for kind in kinds:
        near = sorted((of.count("*"), share) for of, share in read(accept) if fits(of, kind))
        if near and near[0][1] > most:
            best, most = kind, near[0][1]
    return best


def chosen(accept: str, kinds: Sequence[str], share: Answer) -> str | int:
    shares = [share(read(accept), kind) for kind in kinds]
    return kinds[shares.index(max(shares))] if max(shares) > 0 else 406


def named_only(ranges: list[tuple[str, float]], kind: str) -> float:
    return dict(ranges).get(kind, 0.0)


def most_generous(ranges: list[tuple[str, float]], kind: str) -> float:
    return max((share for of, share in ranges if fits(of, kind)), default=0.0)


def without_shares(ranges: list[tuple[str, float]], kind: str) -> float:
    return float(any(fits(of, kind) for of, _ in ranges))


def first_come(accept: str, kinds: Sequence[str]) -> str | int:
    pairs = ((of, kind) for of, _ in read(accept) for kind in kinds)
    return next((kind for of, kind in pairs if fits(of, kind)), 406)


def in_the_headers_order(accept: str, kinds: Sequence[str]) -> str | int:
    places = {of: place for place, (of, _) in enumerate(read(accept))}
    return by_stars(accept, sorted(kinds, key=lambda kind: places.get(kind, len(places))))


# ------------------------------------------------------------------------------------------- kept


def hits_of_the_server(requests: Sequence[tuple[str, int]], most: int) -> list[int]:
    cache = KeptPictures(most)
    hits = []
    for key, size in requests:
        hits.append(int(cache.get(key) is not None))
        cache.put(key, torch.zeros(size, dtype=torch.uint8))
    return hits


def hits(
    requests: Sequence[tuple[str, int]],
    most: int,
    *,
    leaves: int | None = 0,
    renews: bool = True,
    count: int | None = None,
    often: int = 99,
    keeps_large: bool = False,
) -> list[int]:
    """Hold a list, the oldest first; ``leaves`` is the place in it of what goes: None, the largest."""
    held: list[tuple[str, int]] = []
    found = []
    for key, size in requests:
        known = (key, size) in held
        found.append(int(known))
        if known:
            if renews:
                held.remove((key, size))
                held.append((key, size))
            continue
        if size > most and not keeps_large:
            continue
        for _ in range(often):
            is_full = len(held) >= count if count else sum(s for _, s in held) + size > most
            if held and is_full:
                sizes = [s for _, s in held]
                held.pop(sizes.index(max(sizes)) if leaves is None else leaves)
        if size <= most:
            held.append((key, size))
    return found


# -------------------------------------------------------------------------------------- in_server


def area_under_steps(arrived: Sequence[float], left: Sequence[float]) -> float:
    """Add up how many are inside, from one event to the next."""
    events = sorted([(t, 1) for t in arrived] + [(t, -1) for t in left])
    area, inside = 0.0, 0
    for (now, change), (after, _) in itertools.pairwise(events):
        inside += change
        area += inside * (after - now)
    return area / (events[-1][0] - events[0][0])


def by_littles_law(arrived: Sequence[float], left: Sequence[float]) -> float:
    rate = len(arrived) / (max(left) - min(arrived))
    return rate * float(np.mean(np.subtract(left, arrived)))


def crowd(arrived: Sequence[float], left: Sequence[float]) -> int:
    starts = itertools.accumulate(
        change for _, change in sorted([(t, 1) for t in arrived] + [(t, -1) for t in left])
    )
    return max(starts)


def seen_by_arrivals(arrived: Sequence[float], left: Sequence[float]) -> float:
    seen = [np.less_equal(arrived, now).sum() - np.less_equal(left, now).sum() for now in arrived]
    return float(np.mean(seen))


RIGHT: dict[str, list[Answer]] = {
    "percentile": [enough_for, nearest_rank_by_numpy],
    "admit": [statuses, lambda *given: (status for status in statuses(*given)), by_the_clock],
    "kind": [by_the_package, by_stars],
    "kept": [hits_of_the_server, hits],
    "in_server": [area_under_steps, by_littles_law],
}

# What is wrong, and words of the hint that it must get.
WRONG: dict[str, list[tuple[str, Answer]]] = {
    "percentile": [
        ("not sorted", lambda s, share: s[math.ceil(share * len(s)) - 1]),
        ("one too far", lambda s, share: sorted(s)[int(share * len(s))]),
        ("rounded down", lambda s, share: sorted(s)[math.floor(share * len(s)) - 1]),
        ("to the nearest rank", lambda s, share: sorted(s)[round(share * len(s)) - 1]),
        ("somebody waited", lambda s, share: float(np.percentile(s, 100 * share))),
        ("wrong way round", lambda s, q: sorted(s, reverse=True)[math.ceil(q * len(s)) - 1]),
        ("the mean", lambda s, share: sum(s) / len(s)),
        ("the longest", lambda s, share: sorted(s)[-1]),
        ("writes into s,", lambda s, share: s.sort() or s[math.ceil(share * len(s)) - 1]),
    ],
    "admit": [
        ("nobody is refused", lambda arrivals, *_: [200 for _ in arrivals]),
        ("one too many", lambda t, s, places: statuses(t, s, places + 1)),
        ("one too few", lambda t, s, places: statuses(t, s, places - 1)),
        ("who is refused goes away", lambda *given: statuses(*given, refused_waits=True)),
        ("this very moment", lambda *given: statuses(*given, lingers=True)),
        ("painted at once", side_by_side),
        ("once full, full for good", closes_for_good),
        ("True and False", lambda *given: [status < 500 for status in statuses(*given)]),
        ("must return 10 values", lambda *given: statuses(*given)[:9]),
    ],
    "kind": [
        ("the first that is named", first_come),
        ("q is not read", lambda accept, kinds: chosen(accept, kinds, without_shares)),
        ("are ranges", lambda accept, kinds: chosen(accept, kinds, named_only)),
        (
            "a range, too",
            lambda accept, kinds: chosen(
                accept,
                kinds,
                lambda ranges, kind: named_only(
                    [(kind, dict(ranges).get("*/*", 0)), *ranges], kind
                ),
            ),
        ),
        ("most closely", lambda accept, kinds: chosen(accept, kinds, most_generous)),
        ("of equals", in_the_headers_order),
        (
            "it is 406",
            lambda accept, kinds: ((k := by_stars(accept, kinds)) == 406 and kinds[0]) or k,
        ),
    ],
    "kept": [
        ("must make it the newest", lambda *given: hits(*given, renews=False)),
        ("the newest goes", lambda *given: hits(*given, leaves=-1)),
        ("the largest goes", lambda *given: hits(*given, leaves=None)),
        ("writes into", lambda requests, most: [requests.pop() and 0 for _ in range(3)]),
        ("nothing ever goes", lambda requests, most: hits(requests, 10**9)),
        ("only one goes", lambda *given: hits(*given, often=1)),
        ("throws all others out", lambda *given: hits(*given, keeps_large=True)),
        ("are counted", lambda *given: hits(*given, count=3)),
    ],
    "in_server": [
        ("how long one stays", lambda a, b: float(np.mean(np.subtract(b, a)))),
        ("how many leave a second", lambda a, b: len(a) / (max(b) - min(a))),
        ("until the last one leaves", lambda a, b: sum(np.subtract(b, a)) / (a[-1] - a[0])),
        ("it begins at 0", lambda a, b: sum(np.subtract(b, a)) / max(b)),
        ("not divided", lambda a, b: float(sum(np.subtract(b, a)))),
        ("the most at once", crowd),
        ("counted when one arrives", seen_by_arrivals),
    ],
}
