"""What the lab of clips computes: what is slow once, and from it what its controls ask for.

Nothing here knows of widgets. A clip's motion is found once for each method, its frames are encoded
once, and painted once for each style and alpha that was kept; to steady them is all that is left.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nstlib.adain import AdaIN, Content
from nstlib.encoders import load_encoder
from nstlib.evaluation.video import StrengthMeter, warping_error
from nstlib.flow import Method
from nstlib.images import at_size, check_image
from nstlib.painting.clips import KnownClip
from nstlib.stylist import Kept
from nstlib.video.moving import Motion, motions
from nstlib.video.reading import Frame, read
from nstlib.video.steadying import steady
from nstlib.video.stylizing import AT_ONCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Clip = KnownClip | str | Path | Tensor | Iterable[Tensor | Frame]
Points = Mapping[float, float]  # warping errors by their temporal weights

KEPT = 6  # looks of a clip (a style and an alpha) that are kept
JUDGED = 3  # frames by which style strength is told: each costs about as much as to paint it


# ------------------------------------------------------------------------------------- what comes


@dataclass(frozen=True, eq=False)
class Footage:
    """A clip in memory, and what is known of it."""

    frames: Sequence[Tensor]  # each (1, 3, H, W)
    rate: float | Fraction  # frames a second
    name: str
    truth: KnownClip | None = None
    sound: Path | None = None  # the file that has it


def footage_of(
    clip: Clip, frames: int = 48, size: int = 144, rate: float | Fraction = 25
) -> Footage:
    """Return the first frames of a clip.

    Args:
        clip: made by :func:`nstlib.painting.clip`, which keeps its size, since its truths have it; a
            file; or images (1, 3, H, W), or one tensor of them all.
        frames: how many at most.
        size: the shorter side of frames; smaller ones keep their own pixels.
        rate: frames a second, where a file does not say.

    Raises:
        VideoError: the file cannot be read.
        ValueError, TypeError: a frame is no image, or there are fewer than two.

    Example:
        >>> from nstlib.painting import clip
        >>> len(footage_of(clip("pan", frames=6, height=48, width=64), frames=4).frames)
        4
    """
    if isinstance(clip, KnownClip):
        first = slice(frames)
        truth = KnownClip(
            clip.frames[first],
            clip.flows[first],
            clip.visible[first],
            clip.masks[first],
            tuple(cut for cut in clip.cuts if cut < frames),
        )
        return Footage(_checked(truth.frames, frames), rate, "clip", truth)
    if isinstance(clip, (str, Path)):
        reader = read(clip, size)
        sound = reader.path if reader.has_audio else None
        return Footage(_checked(reader, frames), reader.rate or rate, reader.path.stem, sound=sound)
    whole = _checked(clip, frames)
    return Footage([at_size(frame, size) for frame in whole], rate, "clip")


def _checked(clip: Tensor | Iterable[Tensor | Frame], count: int) -> list[Tensor]:
    """Return the first images of a clip, if they are images, and two or more."""
    sources = torch.split(clip, 1) if isinstance(clip, Tensor) else clip
    images = [
        source.image if isinstance(source, Frame) else source
        for source in itertools.islice(sources, count)
    ]
    for i, image in enumerate(images):
        check_image(f"frame {i} of clip", image)
    if len(images) < 2:
        raise ValueError(f"clip has {len(images)} frames; it takes 2 or more")
    return images


# ----------------------------------------------------------------------------------- what is slow


class PaintedClip:
    """A clip and a model that paints it: its motion, its frames as the model sees them, and their looks.

    Example:
        >>> from nstlib.adain import load_adain
        >>> from nstlib.painting import clip
        >>> known = clip("pan", frames=3, height=48, width=64)
        >>> painted = PaintedClip(footage_of(known), load_adain())
        >>> style = torch.rand(1, 3, 48, 48)
        >>> painted.look(style, 0.5) is painted.look(style, 0.5)
        True
    """

    def __init__(self, footage: Footage, model: AdaIN) -> None:
        self.footage, self.model = footage, model
        self.motions = Kept(self._motions, 3)  # by method
        self.look = Kept(self._look, KEPT)  # by style and alpha
        self._meter = Kept(self._meter_of, KEPT)  # by style
        self.alone = Kept(self._alone, KEPT)  # by style, alpha and method
        self._style = Kept(model.style, KEPT)

    @cached_property
    def contents(self) -> list[Content]:
        """The frames as the model sees them."""
        groups = torch.split(torch.cat(list(self.footage.frames)), AT_ONCE)
        return [self.model.content(group) for group in groups]

    def _motions(self, method: Method) -> list[Motion]:
        return list(motions(self.footage.frames, method))

    def _look(self, style: Tensor, alpha: float) -> list[Tensor]:
        """Return each frame by itself in a style."""
        known = self._style(style)
        groups = (self.model.stylize(content, known, alpha=alpha) for content in self.contents)
        return [frame for group in groups for frame in torch.split(group, 1)]

    def _alone(self, style: Tensor, alpha: float, method: Method) -> tuple[float, float]:
        """Return the warping error and the style strength of the frames by themselves."""
        look = self.look(style, alpha)
        return self.error(look, method), self.strength(look, style)

    @property
    def judged(self) -> list[int]:
        """The frames by which style strength is told: not the first, which is never blended."""
        count = len(self.footage.frames)
        return sorted({max(1, (i + 1) * count // (JUDGED + 1)) for i in range(JUDGED)})

    def strength(self, frames: Sequence[Tensor], style: Tensor) -> float:
        """Return the style strength of a few frames, through the slim encoder.

        Raises:
            ValueError: a photo has the style's statistics already.
        """
        return self._meter(style).of(frames[i] for i in self.judged)

    def _meter_of(self, style: Tensor) -> StrengthMeter:
        photos = (self.footage.frames[i] for i in self.judged)
        return StrengthMeter(load_encoder("slim"), photos, style)

    def error(self, frames: Sequence[Tensor], method: Method) -> float:
        """Return the warping error: by the true motion where that is known, else by what was found."""
        truth = self.footage.truth
        if truth is not None:
            return warping_error(frames, truth.flows, truth.visible)
        found = self.motions(method)
        return warping_error(frames, *zip(*map(_flow_and_visible, found), strict=True))


def _flow_and_visible(motion: Motion) -> tuple[Tensor, Tensor]:
    if motion.flow is None or motion.visible is None:
        height, width = motion.frame.shape[2:]
        return torch.zeros(1, 2, height, width), torch.zeros(1, 1, height, width)
    return motion.flow, motion.visible


# ------------------------------------------------------------------------------------ what is made


@dataclass(frozen=True, eq=False)
class Params:
    """What a steady clip is made from."""

    look: Sequence[Tensor]  # each frame by itself, in its style: (1, 3, H, W)
    motions: Sequence[Motion]
    temporal_weight: float = 0.7
    masked: bool = True


def compute(params: Params) -> list[Tensor]:
    """Return the clip made steady; where the mask is not used, what came into sight has ghosts.

    Raises:
        ValueError, TypeError: no such weight, or more of one than of the other.

    Example:
        >>> shades = [torch.full((1, 3, 8, 8), shade) for shade in (0.2, 0.6)]
        >>> hidden = Motion(1, shades[1], torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8))
        >>> params = Params(shades, [Motion(0, shades[0]), hidden], 0.5)
        >>> [round(compute(p)[1].mean().item(), 3) for p in (params, replace(params, masked=False))]
        [0.6, 0.4]
    """
    known = params.motions if params.masked else map(_unmasked, params.motions)
    return list(steady(params.look, known, params.temporal_weight))


def _unmasked(motion: Motion) -> Motion:
    """Return a motion that is trusted everywhere; where a scene begins there is none."""
    seen = motion.visible
    return motion if seen is None else replace(motion, visible=torch.ones_like(seen))


@dataclass(frozen=True)
class Measures:
    """How steady a clip is and how much of the style it has; and of the same frame by frame."""

    error: float
    error_alone: float
    strength: float
    strength_alone: float

    def in_words(self) -> tuple[str, str]:
        """Return the two as sentences.

        Example:
            >>> for sentence in Measures(0.001, 0.004, 0.57, 0.6).in_words():
            ...     print(sentence)
            Warping error 1.00 × 10⁻³, frame by frame 4.00: 75 % less
            Style strength 0.57, frame by frame 0.60: 95 % kept
        """
        kept = self.strength / self.strength_alone if self.strength_alone > 0 else 0.0
        return (
            f"Warping error {1000 * self.error:.2f} × 10⁻³, frame by frame "
            f"{1000 * self.error_alone:.2f}: {less(self.error, self.error_alone)}",
            f"Style strength {self.strength:.2f}, frame by frame {self.strength_alone:.2f}"
            + (f": {100 * kept:.0f} % kept" if kept > 0 else ""),
        )


def less(error: float, than: float) -> str:
    """Return in words how much less an error is.

    Example:
        >>> less(0.25, 1), less(1.1, 1), less(1, 1)
        ('75 % less', '10 % more', 'the same')
    """
    change = round(100 * (error - than) / than) if than else 0
    if not change:
        return "the same"
    return f"{abs(change)} % {'less' if change < 0 else 'more'}"


def draw(points: Points, here: float) -> Figure:
    """Draw warping errors over their temporal weights, the one that stands now filled.

    Example:
        >>> draw({0.0: 0.004, 0.7: 0.001}, here=0.7).axes[0].get_xlabel()
        'temporal weight λ'
    """
    from matplotlib.figure import Figure  # not pyplot, which would keep the figure

    figure = Figure(figsize=(3.9, 2.5), dpi=150, facecolor="white")  # reads on dark pages too
    axes = figure.add_axes((0.13, 0.19, 0.83, 0.69))
    weights = sorted(points)
    errors = [1000 * points[weight] for weight in weights]
    axes.plot(weights, errors, "-o", color="#0072B2", lw=1.8, ms=5, mfc="white", mew=1.5)
    axes.plot([here], [1000 * points[here]], "o", color="#D55E00", ms=9)
    axes.axhline(1000 * points[0.0], color="#666666", ls="--", lw=1)
    axes.text(
        0.95, 1000 * points[0.0], "frame by frame", ha="right", va="bottom", color="#444444", size=8
    )
    axes.set_xlim(-0.03, 1)
    axes.set_ylim(0, 1.18 * max(errors) or 1)
    axes.set_xlabel("temporal weight λ", labelpad=2)
    axes.set_title("warping error (10⁻³)", loc="left", size=10)
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
