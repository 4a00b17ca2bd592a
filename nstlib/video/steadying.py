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

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import flow, kernels, masks
from nstlib.color import luminance
from nstlib.config import Range
from nstlib.flow import Method
from nstlib.images import check_image
from nstlib.video.reading import Frame

TEMPORAL_WEIGHT = Range(0, 0.95, "how much of a picture is the one before it, moved along")
DETAILS = (1, 2)  # px: how far apart the pixels are that each smoothing mixes
SOFT = 0.2  # of the pixels: regions that have more half-tones have no edges to be kept narrow
STEEPER = 1.5  # edges of masks are made so much narrower in each frame, which each warp widens
STRONGEST = 2.0  # more would make the flow's errors stand out


@dataclass(frozen=True, eq=False)
class Motion:
    """A frame of a clip, and how what it shows has moved since the one before."""

    index: int
    frame: Tensor  # (1, 3, H, W) in [0, 1]
    flow: Tensor | None = None  # (1, 2, H, W), px: to the frame before; None where a scene begins
    visible: Tensor | None = None  # (1, 1, H, W) in [0, 1]: where that is to be trusted
    source: Tensor | Frame | None = None  # the frame as it came

    @property
    def begins(self) -> bool:
        """Whether a scene begins with this frame: the first, and each after a cut."""
        return self.flow is None


def motions(clip: Iterable[Tensor | Frame], method: Method | None = "dis") -> Iterator[Motion]:
    """Yield each frame of a clip with its motion: the flow to the one before, and where it holds.

    Args:
        clip: images (1, 3, H, W) in [0, 1], all of one size; or a :class:`~nstlib.video.Reader`.
        method: how the flow is found: see :func:`nstlib.flow.flow`. None looks for none: each frame
            begins anew.

    Raises:
        TypeError, ValueError: a frame is no image, or of another size than the first; no such method.

    Example:
        >>> from nstlib.painting import clip
        >>> [motion.begins for motion in motions(clip("pan", frames=3).frames.split(1))]
        [True, False, False]
    """
    before: Tensor | None = None
    for index, source in enumerate(clip):
        frame = source.image if isinstance(source, Frame) else source
        check_image(f"frame {index}", frame)
        if method == "dis" and min(frame.shape[2:]) < flow.DIS_SMALLEST:
            raise ValueError(
                f"frame {index} is {frame.shape[2]} × {frame.shape[3]} px; flow by DIS takes "
                f"{flow.DIS_SMALLEST} px a side at least"
            )
        if before is None:
            motion = Motion(index, frame, source=source)
        elif frame.shape != before.shape:
            raise ValueError(
                f"frame {index} has shape {tuple(frame.shape)}; the frames before it have "
                f"{tuple(before.shape)}"
            )
        elif method is None:
            motion = Motion(index, frame, source=source)
        else:
            motion = _motion(index, frame, before, method, source)
        yield motion
        before = frame


def _motion(
    index: int, frame: Tensor, before: Tensor, method: Method, source: Tensor | Frame
) -> Motion:
    """Find where a frame's pixels were, at the size that the method looks at, and enlarge that.

    DIS halves frames before it looks; what it finds needs no finer check than it has itself, and of a
    frame of 384 × 216 px that takes two thirds of the time, of 1280 × 720 px a tenth.
    """
    size = (frame.shape[2], frame.shape[3])
    halved = flow.halvings(*size) if method == "dis" else 0
    if min(size) >> halved < flow.DIS_SMALLEST:
        halved = 0
    times = 2**halved
    small = (-(-size[0] // times), -(-size[1] // times))
    now, then = (F.interpolate(image, small, mode="area") for image in (frame, before))
    finest = 0 if halved else None
    backward = flow.flow(now, then, method, finest)
    # The thresholds are of the frame's own pixels: times as many.
    (share, offset), (edge_share, edge) = flow.CONSISTENCY, flow.MOTION_EDGE
    visible = flow.visible(
        backward,
        flow.flow(then, now, method, finest),
        (share, offset / times**2),
        (edge_share * times**2, edge),
    )
    if flow.is_cut(now, then, backward, visible):
        return Motion(index, frame, source=source)
    trusted = visible * flow.alike(now, then, backward)
    if halved:
        backward, trusted = (_enlarged(maps, size) for maps in (times * backward, trusted))
    return Motion(index, frame, backward, trusted, source)


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def steady(
    painted: Iterable[Tensor],
    motions: Iterable[Motion],
    temporal_weight: float = 0.7,
    anchored: bool = True,
) -> Iterator[Tensor]:
    """Yield painted frames made steady: each blended with the one before, moved along.

    Args:
        painted: each frame in its style, painted by itself: (1, 3, H, W).
        motions: as :func:`motions` yields them, or known ones.
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
    """One step of :func:`steady` after the other: a painted frame and its motion to a steady picture."""

    def __init__(self, temporal_weight: float = 0.7, anchored: bool = True) -> None:
        self.temporal_weight = TEMPORAL_WEIGHT.check("temporal_weight", temporal_weight)
        self.anchored = anchored
        self._before: Tensor | None = None  # what was blended last; what is anchored never returns
        self._gains = torch.ones(len(DETAILS))

    @torch.no_grad()
    def __call__(self, picture: Tensor, motion: Motion) -> Tensor:
        """Return a painted frame (1, 3, H, W) steadied by the one before."""
        # A copy: whoever is given the picture may write into it.
        before, self._before = self._before, picture.detach().clone()
        if before is None or motion.flow is None or motion.visible is None:
            self._gains = torch.ones(len(DETAILS))
            return picture
        if not self.temporal_weight:
            return picture
        place = picture.device
        visible = motion.visible.to(place)
        self._before = kernels.warp(
            before, motion.flow.to(place), current=picture, mask=self.temporal_weight * visible
        )
        if not self.anchored:
            return self._before.clone()
        return self._anchored(self._before, picture, visible)

    def _anchored(self, blended: Tensor, picture: Tensor, visible: Tensor) -> Tensor:
        """Return the blend, where it is one, with details stronger by what they lack of the picture's."""
        grey = [luminance(image) for image in (picture, blended)]
        wanted, found = (_energies(image, visible) for image in grey)
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


# --------------------------------------------------------------------------- masks that move along


def carried(
    mask: Tensor | Mapping[int, Tensor], motions: Iterable[Motion]
) -> Iterator[tuple[Motion, Tensor]]:
    """Yield each motion with the regions of its frame: drawn once, and moved along with what they are on.

    Args:
        mask: (R, 1, H, W) in [0, 1], the regions of the first frame; or of several, by their indices:
            ``{0: ..., 120: ...}``.
        motions: as :func:`motions` yields them.

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


FILL = range(-36, 37, 6)  # px: how far, in both directions, what came into sight looks about
FILLED_AT_ONCE = 8192  # pixels: each looks at 169 places
ALIKE = 0.05  # standard deviation of colours, in [0, 1], that count as those of one thing


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
