r"""Pictures of a clip made steady in time: what was painted before is moved along and blended in.

Each frame by itself is painted well, and the clip flickers: a little noise, and the strokes fall
elsewhere. So the picture before, moved to where its things are now, takes a share λ, the temporal
weight, wherever the thing at a pixel could be seen before:

.. math:: y_t = (1 - \lambda v_t)\,x_t + \lambda v_t\; W_t\, y_{t-1}

Here x is a frame as it is painted by itself, W warps by the flow from this frame to the one before,
and v is 1 where that flow is to be trusted. Where it is not, on what just came into sight, the new
picture stands alone: blending there leaves ghosts. After a cut all of it is new.

A flicker that is new in each frame keeps (1 - λ) / (1 + λ) of its variance, and from frame to frame
(1 - λ)² / (1 + λ) of its change. Two anchors hold the result. What was painted n frames ago has a share
of λⁿ (1 - λ): because each new picture has a share of its own, errors of the flow do not add up however
long a scene lasts (which is why λ ends below 1). And strokes that fall elsewhere in each frame blur
where they are averaged, as does what is warped again and again: so details of two sizes are made
stronger, by as much as they are stronger, over all of the picture, in the frames by themselves.

Reference:
    Ruder, Dosovitskiy & Brox, Artistic Style Transfer for Videos, 2016; Huang et al., Real-Time Neural
    Style Transfer for Videos, 2017.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import kernels
from nstlib.color import luminance
from nstlib.config import Range
from nstlib.video.moving import Motion

TEMPORAL_WEIGHT = Range(0, 0.95, "how much of a picture is the one before it, moved along")
DETAILS = (1, 2)  # px: how far apart the pixels are that each smoothing mixes
STRONGEST = 2.0  # more would make the flow's errors stand out


def steady(
    painted: Iterable[Tensor],
    motions: Iterable[Motion],
    temporal_weight: float = 0.7,
    anchored: bool = True,
) -> Iterator[Tensor]:
    """Yield painted frames made steady: each blended with the one before, moved along.

    Args:
        painted: each frame in its style, painted by itself: (1, 3, H, W).
        motions: as :func:`~nstlib.video.motions` yields them, or known ones.
        temporal_weight: λ, how much of the one before; 0 leaves all as it is.
        anchored: whether the blend gets back the contrast of what is painted.

    Raises:
        TypeError, ValueError: no such weight; more of one than of the other; or not of one size.

    Example:
        >>> shades = torch.tensor([0.2, 0.6, 0.6]).view(3, 1, 1, 1, 1).expand(-1, 1, 3, 8, 8)
        >>> still = Motion(1, shades[1], torch.zeros(1, 2, 8, 8), torch.ones(1, 1, 8, 8))
        >>> calm = steady(shades, [Motion(0, shades[0]), still, still], 0.5)
        >>> [round(picture.mean().item(), 3) for picture in calm]
        [0.2, 0.4, 0.5]
    """
    step = Steadied(temporal_weight, anchored)
    return (step(picture, motion) for picture, motion in zip(painted, motions, strict=True))


class Steadied:
    """One step of :func:`steady` after the other: a painted frame and its motion to a steady picture.

    Where nothing is blended, which is where a scene begins, and everywhere at weight 0, the picture
    is the tensor that was given. Any other is a new one, and none is held on to: who gets a picture
    may write into it.
    """

    def __init__(self, temporal_weight: float = 0.7, anchored: bool = True) -> None:
        self.temporal_weight = TEMPORAL_WEIGHT.check("temporal_weight", temporal_weight)
        self.anchored = anchored
        self._before: Tensor | None = None  # what was blended last; what is anchored never returns
        self._gains = torch.ones(len(DETAILS))

    @torch.no_grad()
    def __call__(self, picture: Tensor, motion: Motion) -> Tensor:
        """Return a painted frame (1, 3, H, W) steadied by the one before."""
        if not self.temporal_weight:
            return picture
        if self._before is None or motion.flow is None or motion.visible is None:
            self._before, self._gains = picture.clone(), torch.ones(len(DETAILS))
            return picture
        flow, visible = (maps.to(picture.device) for maps in (motion.flow, motion.visible))
        mask = self.temporal_weight * visible
        self._before = kernels.warp(self._before, flow, current=picture, mask=mask)
        if not self.anchored:
            return self._before.clone()
        return self._anchored(self._before, picture, visible)

    def _anchored(self, blended: Tensor, picture: Tensor, visible: Tensor) -> Tensor:
        """Return the blend, where it is one, with details stronger by what they lack of the picture's."""
        wanted, found = (_energies(luminance(image), visible) for image in (picture, blended))
        gains = (wanted / found.clamp_min(1e-9)).sqrt().clamp(1, STRONGEST)
        # The gains are steadied as the pictures are.
        self._gains = torch.lerp(gains, self._gains, self.temporal_weight)
        for gain, detail in zip(self._gains, _details(blended), strict=True):
            blended = torch.addcmul(blended, ((gain - 1) * visible).to(detail), detail)
        return blended.clamp(0, 1)


def _details(image: Tensor) -> Iterator[Tensor]:
    """Yield what is lost with each smoothing: fine details first."""
    for width in DETAILS:
        smoother = _smooth(image, width)
        yield image - smoother
        image = smoother


def _energies(image: Tensor, visible: Tensor) -> Tensor:
    """Return the mean square of each of the details where they are visible."""
    squares = [(visible * detail.float().square()).mean() for detail in _details(image)]
    return torch.stack(squares).float().cpu()


def _smooth(image: Tensor, step: int) -> Tensor:
    """Return the image smoothed by (1, 2, 1) / 4 in rows and in columns, at pixels ``step`` apart."""
    wide = F.pad(image, (step, step, step, step), mode="replicate")
    rows = (wide[..., : -2 * step] + wide[..., 2 * step :]) / 4 + wide[..., step:-step] / 2
    return (rows[..., : -2 * step, :] + rows[..., 2 * step :, :]) / 4 + rows[..., step:-step, :] / 2
