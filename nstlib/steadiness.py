r"""Steady strokes: a photo that is seen twice, a little moved and with noise, is to be painted alike.

Two frames of a clip differ by motion and by the noise of the sensor. A net that paints each of them
by itself turns differences that nobody sees into other strokes: the clip flickers. No clip is needed
to teach it otherwise, for a second frame can be made of any photo c, by a small smooth motion W and
noise n, both drawn at random. What the net f makes of it is to be what it made of the first, moved:

.. math:: c' = W(c) + n, \qquad
          L_t = \frac{1}{3\,\lvert V\rvert} \sum_{p \in V} \lVert f(c')(p) - W(f(c))(p) \rVert^2

V are the pixels that come from within the frame. The motion is known exactly, as that of no filmed
clip is, and nothing hides anything. Besides, a pixel of c' lies between four of c: W makes what it
moves a little smoother, and a picture without fine strokes has the smallest L_t. So it must not be
alone: the losses of style and content hold against it.

Reference:
    Gupta, Johnson, Alahi & Fei-Fei, Characterizing and Improving Stability in Neural Style Transfer,
    2017; Huang et al., Real-Time Neural Style Transfer for Videos, 2017 (both learn from clips);
    Wang, Xu, Zhang, Wang & Liu, Consistent Video Style Transfer via Compound Regularization, 2020
    (motion and noise on single pictures).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import kernels
from nstlib.datasets import generator_of

# The motion between two frames of a camera held in the hand, and what moves before it.
SHIFT = 4.0  # px, at most, along each axis
TURN = math.radians(2)  # at most, to either side
ZOOM = 0.02  # at most, nearer or farther
BEND = 0.7  # px, the deviation of what bends the picture, at each knot of a coarse lattice
KNOTS = 4  # of the lattice, along each axis
NOISE = 0.04  # the largest deviation, of pixels in [0, 1]: the grain of a camera at dusk


def seen_again(
    photos: Tensor, step: int, count: int, seed: int, share: slice = slice(None)
) -> dict[str, Tensor]:
    """Return the photos of a training step as a second frame would show them, and the motion.

    Each row is a function of its place in the batch, of the seed and the step, so that processes that
    share a batch out agree.

    Args:
        photos: the ``share`` of the step's photos, (N, 3, H, W) in [0, 1].
        step: 1 is the first.
        count: pictures of the whole batch.
        seed: another seed, other motions.
        share: which of the batch ``photos`` are.

    Returns:
        ``"again"``, (N, 3, H, W) in [0, 1], and ``"flow"``, (N, 2, H, W) in pixels: where in the photo
        each of its pixels was, as :func:`nstlib.kernels.warp` takes it.

    Example:
        >>> photos = torch.rand(2, 3, 24, 32)
        >>> second = seen_again(photos, step=1, count=2, seed=0)
        >>> tuple(second["again"].shape), tuple(second["flow"].shape)
        ((2, 3, 24, 32), (2, 2, 24, 32))
    """
    flows, noises = [], []
    for place in range(count)[share]:
        generator = generator_of(seed, step, place, 1)
        flows.append(_motion(photos.shape[2], photos.shape[3], generator))
        strength = NOISE * torch.rand(1, generator=generator)
        noises.append(strength * torch.randn(photos.shape[1:], generator=generator))
    flow = torch.stack(flows)
    # As a sensor does, which knows nothing darker than black.
    again = (kernels.warp(photos, flow) + torch.stack(noises)).clamp(0, 1)
    return {"again": again, "flow": flow}


def _motion(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Return a flow (2, H, W): a random similarity about the middle, and a slight bend."""
    right, down, turn, zoom = (2 * torch.rand(4, generator=generator) - 1).tolist()
    scale, angle = 1 + ZOOM * zoom, TURN * turn
    cosine, sine = scale * math.cos(angle) - 1, scale * math.sin(angle)
    y = torch.arange(height)[:, None] - (height - 1) / 2  # from the middle
    x = torch.arange(width) - (width - 1) / 2
    moved = torch.stack(
        [cosine * x - sine * y + SHIFT * right, sine * x + cosine * y + SHIFT * down]
    )
    knots = BEND * torch.randn(1, 2, KNOTS, KNOTS, generator=generator)
    bend = F.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    return moved + bend[0]


def unsteadiness(painted: Tensor, again: Tensor, flow: Tensor) -> Tensor:
    """Return how far the second picture is from the first, moved along the flow, (N,).

    Both sides have a gradient: either may change.

    Args:
        painted, again: what a net made of a photo, and of its second look: (N, 3, H, W) in [0, 1].
        flow: the motion between the photos, (N, 2, H, W) in pixels.

    Returns:
        Mean squares over the pixels that come from within the frame.

    Example:
        >>> painted, flow = torch.rand(1, 3, 8, 8), torch.zeros(1, 2, 8, 8)
        >>> unsteadiness(painted, painted, flow)
        tensor([0.])
    """
    shown = _from_within(flow)
    apart = (again - kernels.warp(painted, flow)).square() * shown
    # A motion that leaves nothing of a tiny picture in sight leaves nothing to compare.
    area = shown.sum(dim=(1, 2, 3)).clamp_min(1)
    return apart.sum(dim=(1, 2, 3)) / (painted.shape[1] * area)


def _from_within(flow: Tensor) -> Tensor:
    """Return where a flow does not lead beyond the frame, (N, 1, H, W)."""
    height, width = flow.shape[2:]
    x = torch.arange(width, device=flow.device) + flow[:, :1]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1:]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
