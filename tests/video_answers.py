"""Answers to the exercises of notebook 05, right and wrong: what test_check.py holds the checks to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import flow
from nstlib.evaluation.video import warping_error as known_warping_error
from nstlib.kernels import warp
from nstlib.video import Motion
from nstlib.video import steady as steady_as_the_package_does

Answer = Callable[..., Any]

# Written as a student would write them, not as the module does.


def zoomed(height: int, width: int, place: Answer) -> Tensor:
    """Ask for each pixel where it was, given its x, y and the middle's."""
    middle = (width - 1) / 2, (height - 1) / 2
    out = torch.zeros(1, 2, height, width)
    for y in range(height):
        for x in range(width):
            was_x, was_y = place(x, y, *middle)
            out[0, 0, y, x], out[0, 1, y, x] = was_x - x, was_y - y
    return out


def zoom(height: int, width: int, scale: float) -> Tensor:
    return zoomed(height, width, lambda x, y, a, b: (a + (x - a) / scale, b + (y - b) / scale))


def zoom_forward(height: int, width: int, scale: float) -> Tensor:
    return zoomed(height, width, lambda x, y, a, b: (a + (x - a) * scale, b + (y - b) * scale))


def zoom_into(row: Answer) -> Answer:
    """Zoom into a middle that ``row(size)`` gives."""

    def answer(height: int, width: int, scale: float) -> Tensor:
        a, b = row(width), row(height)
        return zoomed(height, width, lambda x, y, *_: (a + (x - a) / scale, b + (y - b) / scale))

    return answer


def zoom_by_grid_sample(height: int, width: int, scale: float) -> Tensor:
    """In pixels, from the grid of grid_sample."""
    size = [1, 1, height, width]
    grids = [
        F.affine_grid(torch.tensor([[[s, 0, 0], [0, s, 0]]]), size, align_corners=True)
        for s in (1 / scale, 1.0)
    ]
    moved = (grids[0] - grids[1]).permute(0, 3, 1, 2)
    return moved * torch.tensor([width - 1, height - 1]).view(1, 2, 1, 1) / 2


def zoom_in_grid_units(height: int, width: int, scale: float) -> Tensor:
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    return torch.stack([x / scale - x, y / scale - y])[None]


def places(height: int, width: int) -> Tensor:
    return zoomed(height, width, lambda x, y, *_: (2 * x, 2 * y))


def seen(there: Tensor, back: Tensor, share: float = 0.01, offset: float = 0.5) -> Tensor:
    u, v = (there + back).unbind(1)
    long = there[:, 0] ** 2 + there[:, 1] ** 2 + back[:, 0] ** 2 + back[:, 1] ** 2
    return (u * u + v * v <= share * long + offset)[:, None].float()


def seen_by(length: Answer) -> Answer:
    def answer(backward: Tensor, forward: Tensor) -> Tensor:
        there = warp(forward, backward)
        return length(there + backward) <= 0.01 * (length(there) + length(backward)) + 0.5

    return answer


def seen_with_minus(backward: Tensor, forward: Tensor) -> Tensor:
    there = warp(forward, backward)
    long = there.pow(2).sum(1, True) + backward.pow(2).sum(1, True)
    return ((there - backward).pow(2).sum(1, True) <= 0.01 * long + 0.5).float()


def walk(painted: Tensor, flows: Tensor, visible: Tensor, weight: float) -> Iterator[Tensor]:
    before = painted[0]
    yield before
    for x, f, v in zip(painted[1:], flows[1:], visible[1:], strict=True):
        moved = warp(before[None], f[None])[0]
        before = torch.where(v > 0, torch.lerp(x, moved, weight), x)
        yield before


def walk_by_the_package(
    painted: Tensor, flows: Tensor, visible: Tensor, weight: float
) -> list[Tensor]:
    motions = [Motion(0, painted[:1])] + [
        Motion(i, painted[i : i + 1], flows[i : i + 1], visible[i : i + 1])
        for i in range(1, len(painted))
    ]
    return list(steady_as_the_package_does(painted.split(1), motions, weight, anchored=False))


def walk_with(
    step: Answer, own: bool = False, late: int = 0, start: Answer = torch.clone
) -> Answer:
    """Walk with a step of ``(new, moved, visible, weight)``; or from the painted frame before."""

    def answer(painted: Tensor, flows: Tensor, visible: Tensor, weight: float) -> list[Tensor]:
        out = [start(painted[:1])]
        for i in range(1, len(painted)):
            f, v = flows[i - late][None], visible[i - late][None]
            moved = warp(painted[i - 1 : i] if own else out[-1], f)
            out.append(step(painted[i : i + 1], moved, v, weight))
        return out

    return answer


def blend(new: Tensor, moved: Tensor, v: Tensor, weight: float) -> Tensor:
    return new + weight * v * (moved - new)


def walk_from_black(painted: Tensor, flows: Tensor, visible: Tensor, weight: float) -> list[Tensor]:
    out, before = [], torch.zeros_like(painted[:1])
    for x, f, v in zip(painted.split(1), flows.split(1), visible.split(1), strict=True):
        before = blend(x, warp(before, f), v, weight)
        out.append(before)
    return out


def error_over_pairs(
    pair: Answer, total: Answer = lambda errors: sum(errors) / len(errors), late: int = 0
) -> Answer:
    """Take ``pair(change, mask)`` of each pair of frames, and the mean."""

    def answer(frames: Tensor, flows: Tensor, visible: Tensor) -> Any:
        errors = []
        for i in range(1, len(frames)):
            moved = warp(frames[i - 1 : i], flows[i - late : i - late + 1])
            errors.append(pair(frames[i] - moved[0], visible[i - late]))
        return total(errors)

    return answer


def mean_square(change: Tensor, mask: Tensor) -> Tensor:
    return change[mask.expand_as(change) > 0].square().mean()


def error_of_current(frames: Tensor, flows: Tensor, visible: Tensor) -> float:
    errors = [
        mean_square(frames[i - 1] - warp(frames[i : i + 1], flows[i : i + 1])[0], visible[i])
        for i in range(1, len(frames))
    ]
    return sum(errors).item() / len(errors)


def error_unmoved(frames: Tensor, flows: Tensor, visible: Tensor) -> float:
    errors = [mean_square(frames[i] - frames[i - 1], visible[i]) for i in range(1, len(frames))]
    return float(torch.stack(errors).mean())


def error_from_the_first(frames: Tensor, flows: Tensor, visible: Tensor) -> float:
    error, before = 0.0, frames[:1]
    for i in range(len(frames)):
        error += float(mean_square(frames[i] - warp(before, flows[i : i + 1])[0], visible[i]))
        before = frames[i : i + 1]
    return error / len(frames)


def error_of_all_at_once(frames: Tensor, flows: Tensor, visible: Tensor) -> Tensor:
    return mean_square(frames[1:] - warp(frames[:-1], flows[1:]), visible[1:])


def change_left(weight: float, frames: int = 400) -> float:
    """Add up the squares of the shares that each frame's flicker has in a change."""
    shares = [weight**age * (1 - weight) for age in range(frames)]
    changes = [new - old for new, old in zip([*shares, 0.0], [0.0, *shares], strict=True)]
    return math.fsum(change**2 for change in changes) / 2


def bisected(share: float) -> float:
    """Find the weight by trying: the more of the past, the less of the change is left."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if change_left(middle) > share else (low, middle)
    return low


def smaller_root(share: float) -> float:
    """Solve the quadratic equation."""
    return (2 + share - math.sqrt((2 + share) ** 2 - 4 * (1 - share))) / 2


RIGHT: dict[str, list[Answer]] = {
    "zoom_flow": [zoom, zoom_by_grid_sample],
    "visible": [
        lambda backward, forward: seen(warp(forward, backward), backward),
        lambda backward, forward: flow.visible(backward, forward, motion_edge=None),
        seen_by(lambda vectors: vectors.norm(dim=1, keepdim=True) ** 2),
    ],
    "steady": [
        walk,
        walk_by_the_package,
        walk_with(blend),
        lambda *given: torch.stack(list(walk(*given))),
        lambda *given: tuple(walk(*given)),
    ],
    "warping_error": [
        known_warping_error,
        error_over_pairs(mean_square),
        lambda *given: float(error_over_pairs(mean_square)(*given)),
    ],
    "weight_for": [bisected, smaller_root, lambda share: torch.tensor(smaller_root(share))],
}

# What is wrong, and words of the hint that it must get.
WRONG: dict[str, list[tuple[str, Answer]]] = {
    "zoom_flow": [
        ("where things are going", zoom_forward),
        ("the sign is turned round", lambda *given: -zoom(*given)),
        ("top left corner", zoom_into(lambda size: 0)),
        ("half a pixel off", zoom_into(lambda size: size / 2)),
        ("the middle is rounded", zoom_into(lambda size: size // 2)),
        ("x and y are swapped", lambda *given: zoom(*given)[:, [1, 0]]),
        ("these are places", lambda h, w, scale: zoom(h, w, scale) + places(h, w)),
        ("grid_sample", zoom_in_grid_units),
        ("it must be (1, 2, 4, 7)", lambda *given: zoom(*given)[0]),
        ("it must be (1, 2, 4, 7)", lambda h, w, scale: zoom(w, h, scale)),
    ],
    "visible": [
        ("warp it by the backward flow first", lambda b, f: seen(f, b)),
        ("the flows are subtracted", seen_with_minus),
        ("warped by itself", lambda b, f: seen(warp(f, f), b)),
        ("forward and backward are swapped", lambda b, f: seen(warp(b, f), f)),
        ("in place of their squares", seen_by(lambda vectors: vectors.norm(dim=1, keepdim=True))),
        ("the mean over x and y", seen_by(lambda vectors: (vectors**2).mean(1, keepdim=True))),
        ("the mask is turned round", lambda b, f: 1 - seen(warp(f, b), b)),
        ("the share is missing", lambda b, f: seen(warp(f, b), b, share=0)),
        ("the 0.5 is missing", lambda b, f: seen(warp(f, b), b, offset=0)),
        ("it must be (2, 1, 12, 15)", lambda b, f: seen(warp(f, b), b)[:, 0]),
    ],
    "steady": [
        ("warp the steady one before it", walk_with(blend, own=True)),
        (
            "the weight is turned round",
            lambda painted, f, v, weight: list(walk(painted, f, v, 1 - weight)),
        ),
        (
            "the two pictures are swapped",
            walk_with(lambda x, moved, v, w: w * v * x + (1 - w * v) * moved),
        ),
        ("leaves ghosts", walk_with(lambda x, moved, v, w: torch.lerp(x, moved, w))),
        ("the mask is turned round", walk_with(lambda x, m, v, w: blend(x, m, 1 - v, w))),
        ("the flow is turned round", lambda painted, f, *given: list(walk(painted, -f, *given))),
        ("nothing is moved", lambda painted, f, *given: list(walk(painted, f * 0, *given))),
        ("one late", walk_with(blend, late=1)),
        ("the first frame is blended too", walk_from_black),
        ("the first frame is lost", lambda *given: list(walk(*given))[1:]),
        ("only the last frame", lambda *given: walk_with(blend)(*given)[-1]),
        ("it must be (4, 3, 6, 8)", lambda painted, *_: painted[0]),
        ("nothing is steadied", lambda painted, *_: painted),
        ("0.5 times", lambda *given: [frame / 2 for frame in walk(*given)]),
        ("value of type str", lambda *_: "steady"),
    ],
    "warping_error": [
        ("the mask is missing", error_over_pairs(lambda change, mask: (change**2).mean())),
        (
            "divided by all pixels",
            error_over_pairs(lambda change, mask: (mask * change).square().mean()),
        ),
        ("the root of the mean", lambda *given: error_over_pairs(mean_square)(*given) ** 0.5),
        ("the root for each pair", error_over_pairs(lambda *pair: mean_square(*pair).sqrt())),
        (
            "the three channels are added up",
            error_over_pairs(lambda change, mask: (mask * change**2).sum() / mask.sum()),
        ),
        ("the current frame is warped", error_of_current),
        ("motion counts as change", error_unmoved),
        ("one late", error_over_pairs(mean_square, late=1)),
        ("the first frame counts, too", error_from_the_first),
        ("not divided by the number of pairs", error_over_pairs(mean_square, total=sum)),
        ("a pair counts by its visible pixels", error_of_all_at_once),
        ("the shape is (3,); it must be ()", error_over_pairs(mean_square, total=torch.stack)),
    ],
    "weight_for": [
        ("this is the share that is left by a weight", lambda w: (1 - w) ** 2 / (1 + w)),
        ("that share of the variance", lambda r: (1 - r) / (1 + r)),
        ("1 + λ is missing", lambda r: 1 - math.sqrt(r)),
        ("take the smaller one", lambda r: smaller_root(r) + math.sqrt(r * r + 8 * r)),
        ("λ is turned round", lambda r: 1 - smaller_root(r)),
        ("2 σ²", lambda r: smaller_root(r / 2)),
        ("both solutions are negative", lambda r: -smaller_root(r)),
    ],
}
