"""Masks in a clip: regions that are drawn once, and move along with what they are on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from nstlib import kernels, masks
from nstlib.video.moving import Motion

SOFT = 0.2  # of the pixels: regions that have more half-tones have no edges to be kept narrow
STEEPER = 1.5  # edges of masks are made so much narrower in each frame, which each warp widens
FILL = range(-36, 37, 6)  # px: how far, in both directions, what came into sight looks about
FILLED_AT_ONCE = 8192  # pixels: each looks at 169 places
ALIKE = 0.05  # standard deviation of colours, in [0, 1], that count as those of one thing


def carried(
    mask: Tensor | Mapping[int, Tensor], motions: Iterable[Motion]
) -> Iterator[tuple[Motion, Tensor]]:
    """Yield each motion with the regions of its frame: drawn once, and moved along with what they are on.

    Args:
        mask: (R, 1, H, W) in [0, 1], the regions of the first frame; or of several, by their indices:
            ``{0: ..., 120: ...}``.
        motions: as :func:`~nstlib.video.motions` yields them.

    What just came into sight belongs to what is next to it. Where a scene begins for which there is
    no mask, nobody knows where its things are, and all of it is of the last region: the background.
    (With one region, of none.)

    Raises:
        TypeError, ValueError: no masks of the clip's size, not all of as many regions, or none for the
            first frame.
    """
    drawn = mask if isinstance(mask, Mapping) else {0: mask}
    if 0 not in drawn:
        raise ValueError(f"mask has frames {sorted(drawn)}; it must begin with frame 0")
    if len({len(regions) for regions in drawn.values()}) > 1:
        counts = {index: len(regions) for index, regions in sorted(drawn.items())}
        raise ValueError(f"mask has a number of regions that changes: {counts}")
    return _carried(drawn, motions)


def _carried(
    drawn: Mapping[int, Tensor], motions: Iterable[Motion]
) -> Iterator[tuple[Motion, Tensor]]:
    regions, has_edges = drawn[0], True
    for motion in motions:
        if motion.index in drawn:
            regions = drawn[motion.index].to(motion.frame)
            has_edges = _has_edges(regions)
            size = (motion.frame.shape[2], motion.frame.shape[3])
            masks.check_mask(f"mask of frame {motion.index}", regions, size)
        elif motion.flow is None or motion.visible is None:
            regions = _background(regions)
        else:
            regions = _moved(regions, motion, motion.flow, motion.visible, has_edges)
        yield motion, regions


def _background(regions: Tensor) -> Tensor:
    """Return masks of which the last has all; a single one has nothing."""
    all_of_it = torch.zeros_like(regions)
    if len(regions) > 1:
        all_of_it[-1] = 1
    return all_of_it


def _moved(
    regions: Tensor, motion: Motion, backward: Tensor, visible: Tensor, has_edges: bool
) -> Tensor:
    """Return regions (R, 1, H, W) where they are a frame later."""
    moved = kernels.warp(regions, backward.expand(len(regions), -1, -1, -1))
    crisp = _crisp(moved) if has_edges else moved
    filled, new = crisp.clone(), (visible[0, 0] < 0.5).nonzero()  # (K, 2): rows and columns
    for start in range(0, len(new), FILLED_AT_ONCE):
        part = new[start : start + FILLED_AT_ONCE]
        filled[:, 0, part[:, 0], part[:, 1]] = _of_what_is_alike(crisp, motion.frame, visible, part)
    return filled


def _crisp(moved: Tensor) -> Tensor:
    """Return moved regions with edges as narrow as before; in all they have of a pixel what they had."""
    crisp = ((moved - 0.5) * STEEPER + 0.5).clamp(0, 1)
    total = crisp.sum(dim=0, keepdim=True).clamp_min(1e-6)
    return (crisp * moved.sum(dim=0, keepdim=True) / total).clamp(0, 1)


def _has_edges(regions: Tensor) -> bool:
    """Say whether regions were cut out: nearly all of a pixel is theirs, or nothing."""
    between = (regions > 0.1) & (regions < 0.9)
    return bool(between.float().mean() < SOFT)


def _of_what_is_alike(regions: Tensor, frame: Tensor, visible: Tensor, new: Tensor) -> Tensor:
    """Return regions (R, K) of pixels that just came into sight, by their colours.

    They were behind something, or beyond the border: next to them lies both what hid them and what
    they belong to. Which it is, colours tell: a mean over what is near and was seen before, where each
    counts as much as it is alike.
    """
    height, width = frame.shape[2:]
    about = torch.cartesian_prod(torch.tensor(FILL), torch.tensor(FILL)).to(new.device)  # (L, 2)
    places = new[:, None] + about  # (K, L, 2)
    inside = ((places >= 0) & (places < new.new_tensor([height, width]))).all(dim=2)
    rows, columns = places[..., 0].clamp(0, height - 1), places[..., 1].clamp(0, width - 1)
    colors = frame[0, :, rows, columns]  # (3, K, L)
    own = frame[0, :, new[:, 0], new[:, 1]][..., None]
    unlike = (colors - own).square().mean(dim=0) / ALIKE**2
    far = about.square().sum(dim=1) / FILL[-1] ** 2
    # However unlike all of it is, the nearest of it counts.
    alike = (-(unlike + far) / 2).exp() + 1e-6 * (-4 * far).exp()
    weights = alike * visible[0, 0, rows, columns] * inside
    known = regions[:, 0, rows, columns]  # (R, K, L)
    nothing_seen = regions[:, 0, new[:, 0], new[:, 1]]
    total = weights.sum(dim=1)
    found = (weights * known).sum(dim=2) / total.clamp_min(1e-12)
    return torch.where(total > 1e-9, found, nothing_seen)
