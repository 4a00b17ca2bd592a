"""Checks for notebook 05: a zoom's flow, what was visible, steady frames, and a weight for a given calm.

A clip's frames, flows and masks are (N, 3, H, W), (N, 2, H, W) and (N, 1, H, W), as those of
:func:`nstlib.painting.clip`: flow and mask i lead from frame i to frame i − 1, so that those of the
first frame are of no use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nstlib.check.common import Answer, Mistakes, Result, compare, seeded_maps
from nstlib.kernels import warp


def zoom_flow(answer: Answer) -> Result:
    """Check ``answer(height, width, scale) -> (1, 2, H, W)``: the backward flow of a camera that zooms in.

    The middle of the frame stays; what is at p now was at middle + (p − middle) / scale.
    """

    def right(
        height: int, width: int, scale: float, middle: tuple[float, float] | None = None
    ) -> Tensor:
        return _zoom(height, width, 1 / scale, middle)

    def grid_units(height: int, width: int, scale: float) -> Tensor:
        halves = torch.tensor([width - 1, height - 1]) / 2
        return right(height, width, scale) / halves.view(1, 2, 1, 1)

    mistakes: Mistakes = {
        "this leads to where things are going: divide p − middle by the scale, do not multiply": _zoom,
        "the sign is turned round: the flow is where a thing was minus where it is": (
            lambda *given: -right(*given)
        ),
        "it zooms into the top left corner: subtract the middle before you divide": (
            lambda height, width, scale: right(height, width, scale, (0, 0))
        ),
        "the middle is half a pixel off: pixels count from 0, so it is at (H − 1) / 2": (
            lambda height, width, scale: right(height, width, scale, (height / 2, width / 2))
        ),
        "the middle is rounded: of an even size it lies between two pixels, so take (H − 1) / 2": (
            lambda height, width, scale: right(height, width, scale, (height // 2, width // 2))
        ),
        "x and y are swapped: a flow has its pixels to the right first": (
            lambda *given: right(*given).flip(1)
        ),
        "these are places: subtract p, since a flow says how far away a thing was": (
            lambda height, width, scale: right(height, width, scale) + _places(height, width)
        ),
        "these are the units of grid_sample: multiply by half of W − 1 and H − 1 to get pixels": (
            grid_units
        ),
    }
    return compare("zoom_flow", answer, right, [(4, 7, 1.25), (6, 5, 2.0)], mistakes)


def visible(answer: Answer) -> Result:
    """Check ``answer(backward, forward) -> (N, 1, H, W)``: 1 where there and back leads home, else 0.

    Motion edges are left out. So is the border: no backward flow leads out of its frame.
    """

    def squared(vectors: Tensor) -> Tensor:
        return vectors.square().sum(dim=1, keepdim=True)

    def agree(
        there: Tensor,
        back: Tensor,
        *,
        apart: Callable[[Tensor, Tensor], Tensor] = torch.add,
        length: Callable[[Tensor], Tensor] = squared,
        share: float = 0.01,
        offset: float = 0.5,
    ) -> Tensor:
        allowed = share * (length(there) + length(back)) + offset
        return (length(apart(there, back)) <= allowed).float()

    def right(backward: Tensor, forward: Tensor, **changed: Any) -> Tensor:
        return agree(warp(forward, backward), backward, **changed)

    mistakes: Mistakes = {
        "the forward flow is taken where it starts now: warp it by the backward flow first": (
            lambda backward, forward: agree(forward, backward)
        ),
        "the flows are subtracted: there and back cancel, so that their sum is near 0": (
            lambda *given: right(*given, apart=torch.sub)
        ),
        "the forward flow is warped by itself: the backward flow leads to where it is to be read": (
            lambda backward, forward: agree(warp(forward, forward), backward)
        ),
        "forward and backward are swapped: warp the forward flow, by the backward one": (
            lambda backward, forward: right(forward, backward)
        ),
        "lengths in place of their squares: leave out the root, on both sides": (
            lambda *given: right(*given, length=lambda vectors: squared(vectors).sqrt())
        ),
        "the mean over x and y: a squared length is their sum, u² + v²": (
            lambda *given: right(*given, length=lambda vectors: squared(vectors) / 2)
        ),
        "the mask is turned round: 1 is what could be seen, 0 what was hidden": (
            lambda *given: 1 - right(*given)
        ),
        "the share is missing: long flows may err more, so also allow 0.01 (|ψ|² + |φ|²)": (
            lambda *given: right(*given, share=0)
        ),
        "the 0.5 is missing: no flow is exact to a fraction of a pixel, so allow 0.5 more": (
            lambda *given: right(*given, offset=0)
        ),
    }
    scales, size = (1.5, 2.5), (12, 15)
    backward = torch.cat([_zoom(*size, 1 / scale) for scale in scales])
    forward = torch.cat([_zoom(*size, scale) for scale in scales])
    flows = backward, forward + 1.5 * (seeded_maps(2, 2, *size) - 0.5)
    return compare("visible", answer, right, [flows], mistakes)


def steady(answer: Answer) -> Result:
    """Check ``answer(painted, flows, visible, weight)``: all frames steady, as a list or (N, 3, H, W)."""

    def blend(new: Tensor, moved: Tensor, seen: Tensor, weight: float) -> Tensor:
        return (1 - weight * seen) * new + weight * seen * moved

    def right(
        painted: Tensor, flows: Tensor, visible: Tensor, weight: float, mix: Answer = blend
    ) -> Tensor:
        frames = [painted[:1]]
        for i in range(1, len(painted)):
            moved = warp(frames[-1], flows[i : i + 1])
            frames.append(mix(painted[i : i + 1], moved, visible[i : i + 1], weight))
        return torch.cat(frames)

    def swapped(new: Tensor, moved: Tensor, seen: Tensor, weight: float) -> Tensor:
        return blend(moved, new, seen, weight)

    def one_back(painted: Tensor, flows: Tensor, visible: Tensor, weight: float) -> Tensor:
        later = blend(painted[1:], warp(painted[:-1], flows[1:]), visible[1:], weight)
        return torch.cat([painted[:1], later])

    def from_black(painted: Tensor, flows: Tensor, visible: Tensor, weight: float) -> Tensor:
        black = 0 * painted[:1]
        flows, visible = (torch.cat([part[:1], part]) for part in (flows, visible))
        return right(torch.cat([black, painted]), flows, visible, weight)[1:]

    mistakes: Mistakes = {
        "moved along is the frame as it was painted by itself: warp the steady one before it": one_back,
        "the weight is turned round: λ is the share of what was moved along": (
            lambda painted, flows, seen, weight: right(painted, flows, seen, 1 - weight)
        ),
        "the two pictures are swapped: λ v goes with what was moved along, 1 − λ v with the new": (
            lambda painted, flows, seen, weight: right(painted, flows, seen, weight, swapped)
        ),
        "the mask is missing, which leaves ghosts: multiply the weight by visible": (
            lambda painted, flows, seen, weight: right(painted, flows, seen * 0 + 1, weight)
        ),
        "the mask is turned round: where it is 0 the new picture stands alone": (
            lambda painted, flows, seen, weight: right(painted, flows, 1 - seen, weight)
        ),
        "the flow is turned round: warp takes the backward flow as it is": (
            lambda painted, flows, seen, weight: right(painted, -flows, seen, weight)
        ),
        "nothing is moved: warp the steady frame before by the flow": (
            lambda painted, flows, seen, weight: right(painted, 0 * flows, seen, weight)
        ),
        "flows and masks are one late: flows[i] leads from frame i to frame i − 1": (
            lambda painted, flows, seen, weight: right(painted, _late(flows), _late(seen), weight)
        ),
        "the first frame is blended too: none is before it, so it stays as it is painted": from_black,
        "the first frame is lost: the first steady frame is the first painted one": (
            lambda *given: right(*given)[1:]
        ),
        "nothing is steadied: these are the frames as they were painted": (
            lambda painted, *given: painted
        ),
        "only the last frame: return one for each that was painted": (
            lambda *given: right(*given)[len(given[0]) - 1 :]
        ),
    }

    inputs = [(*_clip(4, seed=0), 0.7), (*_clip(3, seed=1), 0.4)]
    return compare("steady", answer, right, inputs, mistakes, read=_as_clip)


def warping_error(answer: Answer) -> Result:
    """Check ``answer(frames, flows, visible) -> float``: how much a clip changes beyond its motion.

    Of each pair something is visible.
    """

    def change(frames: Tensor, flows: Tensor) -> Tensor:
        return frames[1:] - warp(frames[:-1], flows[1:])  # (N − 1, 3, H, W)

    def pairs(changed: Tensor, visible: Tensor) -> Tensor:
        squares, seen = changed.square().mean(dim=1, keepdim=True), visible[1:]
        return (seen * squares).sum((1, 2, 3)) / seen.sum((1, 2, 3))

    def right(frames: Tensor, flows: Tensor, visible: Tensor) -> Tensor:
        return pairs(change(frames, flows), visible).mean()

    def forward(frames: Tensor, flows: Tensor, visible: Tensor) -> Tensor:
        return pairs(frames[:-1] - warp(frames[1:], flows[1:]), visible).mean()

    def all_at_once(frames: Tensor, flows: Tensor, visible: Tensor) -> Tensor:
        return change(frames, flows)[visible[1:].expand(-1, 3, -1, -1) > 0].square().mean()

    mistakes: Mistakes = {
        "the mask is missing: what just came into sight cannot flicker, so count visible pixels only": (
            lambda frames, flows, seen: change(frames, flows).square().mean()
        ),
        "divided by all pixels: divide by the number of those that were visible": (
            lambda frames, flows, seen: (seen[1:] * change(frames, flows)).square().mean()
        ),
        "the root of the mean: leave it out, the error is a mean of squares": (
            lambda *given: right(*given).sqrt()
        ),
        "the root for each pair: leave it out, the error is a mean of squares": (
            lambda frames, flows, seen: pairs(change(frames, flows), seen).sqrt().mean()
        ),
        "the three channels are added up: take their mean": lambda *given: 3 * right(*given),
        "the current frame is warped: it is the one before that the backward flow moves along": forward,
        "nothing is moved, so motion counts as change: warp the frame before by the flow": (
            lambda frames, flows, seen: right(frames, 0 * flows, seen)
        ),
        "flows and masks are one late: flows[i] leads from frame i to frame i − 1": (
            lambda frames, flows, seen: right(frames, _late(flows), _late(seen))
        ),
        "the first frame counts, too: N frames have N − 1 pairs, so divide by that": (
            lambda frames, *given: right(frames, *given) * (len(frames) - 1) / len(frames)
        ),
        "not divided by the number of pairs: the error is the mean over them": (
            lambda frames, *given: right(frames, *given) * (len(frames) - 1)
        ),
        "a pair counts by its visible pixels: take each pair's mean, then the mean over pairs": all_at_once,
    }
    # Pairs are not as many as channels in both, or a sum over the one would look like the other.
    inputs = [_clip(4, seed=0), _clip(3, seed=1)]
    return compare("warping_error", answer, right, inputs, mistakes)


def weight_for(answer: Answer) -> Result:
    """Check ``answer(share) -> λ``: the weight that leaves a share of a still scene's flicker.

    The share is that of the change from frame to frame, as the warping error takes it.
    """

    def right(share: float, sign: float = -1) -> float:
        # λ² − (2 + share) λ + (1 − share) = 0; the other solution is above 1
        return (2 + share + sign * math.sqrt(share**2 + 8 * share)) / 2

    mistakes: Mistakes = {
        "this is the share that is left by a weight: solve it for λ": (
            lambda weight: (1 - weight) ** 2 / (1 + weight)
        ),
        "this weight leaves that share of the variance: start from the change, (1 − λ)² / (1 + λ)": (
            lambda share: (1 - share) / (1 + share)
        ),
        "1 + λ is missing: the share of the change is (1 − λ)² / (1 + λ)": (
            lambda share: 1 - math.sqrt(share)
        ),
        "the other solution: λ is a share, from 0 to 1, so take the smaller one": (
            lambda share: right(share, sign=1)
        ),
        "λ is turned round: it is the share of the frame before, and 1 − λ that of the new one": (
            lambda share: 1 - right(share)
        ),
        "the change is not a share: divide it by that of the flicker itself, which is 2 σ²": (
            lambda share: right(share / 2)
        ),
        "both solutions are negative: the equation is λ² − (2 + r) λ + (1 − r) = 0": (
            lambda share: -right(share)
        ),
    }
    return compare("weight_for", answer, right, [(0.05,), (0.4,)], mistakes)


def _zoom(
    height: int, width: int, factor: float, middle: tuple[float, float] | None = None
) -> Tensor:
    """Return the flow (1, 2, H, W) that leads each pixel to ``factor`` times as far from the middle."""
    row, column = middle or ((height - 1) / 2, (width - 1) / 2)
    return (factor - 1) * (_places(height, width) - torch.tensor([column, row]).view(1, 2, 1, 1))


def _places(height: int, width: int) -> Tensor:
    """Return where each pixel lies, (1, 2, H, W): how far to the right, and how far down."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y])[None].float()


def _clip(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return frames, flows and masks; unlike those of a real clip, the first mask is 1.

    So an answer that takes the first frame to have one before it is found out.
    """
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(count, 3, 6, 8, generator=generator)
    flows = 1.5 * torch.randn(count, 2, 6, 8, generator=generator)
    seen = (torch.rand(count, 1, 6, 8, generator=generator) > 0.3).float()
    seen[2, :, :3] = 0  # fewer of one pair than of another
    flows[0], seen[0] = 0, 1
    return frames, flows, seen


def _late(parts: Tensor) -> Tensor:
    """Return each frame's flow or mask with the next frame."""
    return torch.cat([parts[:1], parts[:-1]])


def _as_clip(frames: Any) -> Any:
    """Return frames that come as a list as one tensor; all else as it is."""
    if not isinstance(frames, list | tuple) or not all(isinstance(one, Tensor) for one in frames):
        return frames
    return torch.cat([frame.reshape(-1, *frame.shape[-3:]) for frame in frames])
