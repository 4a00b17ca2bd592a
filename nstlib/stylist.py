"""Everything that can be turned, in one call: mixture, alpha, colours, regions, strokes.

A :class:`Stylist` paints by AdaIN and remembers what its encoder saw of the last photos and styles, so
that a slider's next answer is one pass of the decoder. :class:`NetStylist` has the same names for the
styles of a fast net, where they have a meaning. Notebooks, labs and the command line all call these.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar, get_args

import torch
from torch import Tensor

from nstlib import color, masks
from nstlib.adain import AdaIN, Content, Match, check_alphas, together
from nstlib.images import check_image, resize
from nstlib.memory import check_memory
from nstlib.strokes import Size, enlarged, painted_size
from nstlib.styles import Style, mix, stacked
from nstlib.transform_net import TransformNet

KeepColor = Literal["luminance", "match"]
Weights = Sequence[float] | Tensor
Answer = TypeVar("Answer")
FAINT = 0.05  # what regions cover less of than this fades into the photo itself


class Kept(Generic[Answer]):
    """A function that is called once for the same tensors: its last answers are kept.

    Tensors are the same where they are one object that nobody has written into since. (PyTorch knows
    of its own writing only: not of a NumPy array's whose memory a tensor shares.)

    Args:
        function: of tensors and of what can be hashed.
        count: how many answers are kept; the one asked for longest ago goes first.

    Example:
        >>> calls = []
        >>> twice = Kept(lambda image: calls.append(1) or 2 * image, count=1)
        >>> image = torch.ones(1)
        >>> twice(image) is twice(image), len(calls)
        (True, 1)
        >>> twice(image.add_(1)).item(), len(calls)
        (4.0, 2)
    """

    def __init__(self, function: Callable[..., Answer], count: int) -> None:
        self._function = function
        # The versions are part of what is asked for. (A tensor's hash is its identity.)
        self._kept = functools.lru_cache(count)(lambda versions, *given: function(*given))

    def __call__(self, *given: Any) -> Answer:
        """Return the function's answer, or the kept one."""
        tensors = [part for part in given if isinstance(part, Tensor)]
        if any(tensor.is_inference() for tensor in tensors):  # which count no versions
            return self._function(*given)
        return self._kept(tuple(tensor._version for tensor in tensors), *given)


class Stylist:
    """AdaIN with all that can be turned, and a memory of what was encoded.

    Args:
        model: which paints.
        kept: how many photos, and four times as many styles, it remembers.

    ``style`` is :meth:`AdaIN.style`, remembered.

    Example:
        >>> from nstlib.adain import load_adain
        >>> stylist = Stylist(load_adain())
        >>> photo, a, b = torch.rand(1, 3, 64, 96), torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
        >>> tuple(stylist.stylize(photo, [a, b], weights=[0.3, 0.7], keep_color="luminance").shape)
        (1, 3, 64, 96)
    """

    def __init__(self, model: AdaIN, kept: int = 4) -> None:
        self.model = model
        self._resized = Kept(resize, 2 * kept)
        self._content = Kept(model.content_or_photo, kept)
        self.style = Kept(model.style, 4 * kept)
        self._colors = Kept(color.colors_of, kept)
        self._recolored = Kept(color.recolored, 4 * kept)  # which so hold no photo

    def stylize(
        self,
        content: Tensor | list[Tensor],
        style: Tensor | Style | Sequence[Tensor | Style],
        *,
        weights: Weights | None = None,
        alpha: float | Sequence[float] | Tensor = 1.0,
        mask: Tensor | None = None,
        keep_color: KeepColor | None = None,
        match: Match = "deviation",
        stroke_size: float = 1.0,
    ) -> Tensor:
        """Return ``content`` in a mixture of styles, or with one in each region.

        Args:
            content: a photo, (1, 3, H, W) in [0, 1]; or N of one size, where there is no mask: in one
                tensor, such as frames, which are remembered together, or in a list, each by itself.
            style: pictures (1, 3, H', W'), or what :meth:`AdaIN.style` returned: one, or several.
            weights: how much of each, divided by their sum; or a table (N, K) with a row for each of
                N pictures (:mod:`nstlib.interpolation`). Equal without.
            alpha: how much of the style, in [0, 1]; or several.
            mask: (R, 1, H, W) in [0, 1], with a style for each region in place of a mixture. Where no
                region is, the photo itself stays.
            keep_color: the photo's colours, by ``"luminance"`` (:func:`~nstlib.color.keep_color`) or
                by a ``"match"`` of the style pictures (:func:`~nstlib.color.match_color`); without,
                the style's.
            match: what maps take from the style's: see :meth:`AdaIN.stylize`.
            stroke_size: how large the strokes are; 1: as the model has learnt them, in pixels. Twice
                the picture with twice the ``stroke_size`` looks alike.

        Raises:
            TypeError, ValueError: as :meth:`AdaIN.stylize`, a colour mode that there is not, weights
                beside a mask, or a ``stroke_size`` off its range or too large for the photo.
        """
        check_colors(keep_color)
        photos = _of_one_size(content) if isinstance(content, list) else [content]
        content = photos[0] if len(photos) == 1 else torch.cat(photos)
        # Regions are of one photo, and the styles' pictures can have the colours of one.
        check_image("content", content, batch=mask is None and keep_color != "match")
        alphas = check_alphas(alpha)
        several = [style] if isinstance(style, (Tensor, Style, str)) else style
        known = [self._known(one, content, keep_color) for one in several]
        if match == "deviation":  # what is not asked for need not be mixed, nor decomposed
            known = [replace(one, covariances={}) for one in known]
        if mask is None:
            wanted = mix(known, weights)
        else:
            mask = _checked_regions(mask, weights, content)
            if len(alphas) not in (1, len(mask)):
                raise ValueError(
                    f"alpha has {len(alphas)} values, and mask {len(mask)} regions; it takes 1, or "
                    f"{len(mask)}"
                )
            wanted = stacked(known)

        def paint(picture: Tensor, part: float) -> Tensor:
            here = None if mask is None else resize(mask, _size(picture))
            turned: dict[str, Any] = {"alpha": part * alphas, "mask": here, "match": match}
            if part == 1:  # what is painted for the first time is the photo, and will be again
                with suppress(MemoryError):
                    seen = self._seen(photos if picture is content else [picture])
                    return self.model.stylize(seen, wanted, **turned)
            return self.model.stylize(picture, wanted, **turned)  # in tiles, where memory is short

        fades = (1 - alphas).to(content).view(-1, 1, 1, 1)
        if mask is not None:
            fades = (fades * masks.shares(mask)).sum(dim=0, keepdim=True)
        turned = _Turned(stroke_size, keep_color, fades, mask)
        return _painted(content, paint, turned, self._resized)

    def _seen(self, photos: list[Tensor]) -> Content | Tensor:
        """Return what the model sees of photos, each remembered by itself."""
        seen = [self._content(photo) for photo in photos]
        if len(seen) == 1:
            return seen[0]
        encoded = [one for one in seen if isinstance(one, Content)]
        return together(encoded) if len(encoded) == len(seen) else torch.cat(photos)

    def _known(self, style: Tensor | Style, photo: Tensor, keep_color: KeepColor | None) -> Style:
        """Return the statistics of a style, in the photo's colours where they are to match."""
        if not isinstance(style, Style):
            check_image("style", style)
            if keep_color == "match":
                style = self._recolored(style, self._colors(photo))
            return self.style(style)
        if keep_color == "match":
            raise ValueError(
                "keep_color='match' recolours pictures; style has what was taken from one"
            )
        return style


class NetStylist:
    """A fast net with the same names, for the styles that it was trained for.

    Args:
        net: which paints.

    Example:
        >>> from nstlib.transform_net import load_net
        >>> stylist = NetStylist(load_net())
        >>> photo = torch.rand(1, 3, 64, 96)
        >>> both = ["vortex", "impasto"]
        >>> tuple(stylist.stylize(photo, both, weights=[0.3, 0.7], stroke_size=2).shape)
        (1, 3, 64, 96)
    """

    def __init__(self, net: TransformNet) -> None:
        self.net = net

    def stylize(
        self,
        content: Tensor,
        style: str | Sequence[str] | None = None,
        *,
        weights: Weights | None = None,
        style_weight: float | None = None,
        mask: Tensor | None = None,
        keep_color: Literal["luminance"] | None = None,
        stroke_size: float = 1.0,
    ) -> Tensor:
        """Return ``content`` in a mixture of styles, or with one in each region.

        A net takes no statistics of a style, so that these cannot be taken in a region, or be those
        of a recoloured picture: where there is a mask, the styles' pictures are blended by it.

        Args:
            content: a photo, (1, 3, H, W) in [0, 1]; or N of one size.
            style: a name, or several.
            weights, mask, keep_color, stroke_size: as :meth:`Stylist.stylize` takes them.
            style_weight: the place of the dial.

        Raises:
            TypeError, ValueError: as :meth:`TransformNet.stylize` and :meth:`Stylist.stylize`.
        """
        check_image("content", content, batch=True)
        check_colors(keep_color, ("luminance",))
        names = [style] if isinstance(style, str) else list(style or self.net.shape.styles[:1])
        if mask is not None:
            mask = _checked_regions(mask, weights, content)
            count = max(1, len(names))  # a net of one style may have no name for it
            if count != len(mask):
                raise ValueError(f"mask has {len(mask)} regions, and there are {count} styles")

        def paint(picture: Tensor, part: float) -> Tensor:
            place = self._part_of(style_weight, part)
            if mask is None:
                return self.net.stylize(picture, names, style_weight=place, weights=weights)
            here = masks.shares(resize(mask, _size(picture)))
            blended = (1 - here.sum(dim=0, keepdim=True)) * picture
            for share, row in zip(here, torch.eye(len(mask)), strict=True):
                blended = blended + share * self.net.stylize(
                    picture, names, style_weight=place, weights=row
                )
            return blended

        return _painted(
            content, paint, _Turned(stroke_size, keep_color, content.new_zeros(1, 1, 1, 1), mask)
        )

    def _part_of(self, style_weight: float | None, part: float) -> float | None:
        """Return the place of the dial with part of the style; a net without a dial gives all."""
        dial = self.net.shape.dial
        if not dial or part == 1:  # all of it is where the dial stands, to the last digit
            return style_weight
        high = dial[-1] if style_weight is None else style_weight
        return float(dial[0] * (high / dial[0]) ** part)


# ----------------------------------------------------------------------------------------- shared


@dataclass(frozen=True)
class _Turned:
    """What is turned after, or around, the model."""

    stroke_size: float
    keep_color: str | None
    fades: (
        Tensor  # (N, 1, H, W) or (N, 1, 1, 1): how much of the style is wanting where it is, 1 − α
    )
    mask: Tensor | None


def _painted(
    photo: Tensor,
    paint: Callable[[Tensor, float], Tensor],
    turned: _Turned,
    resized: Callable[[Tensor, Size], Tensor] = resize,
) -> Tensor:
    """Paint a photo with strokes of a size, in its own colours where these are kept.

    Args:
        photo: (1, 3, H, W) in [0, 1].
        paint: takes a picture, and the part of the style to paint it with.
        turned: what is turned.
        resized: what makes the photo smaller or larger.
    """
    size = _size(photo)
    small = painted_size(size, turned.stroke_size)
    if turned.stroke_size < 1:  # several pictures of that size are alive at once
        check_memory(
            "content, enlarged for its strokes,", small, 60 * small[0] * small[1], photo.device
        )
    covered = photo.new_ones(1, 1, 1, 1)
    if turned.mask is not None:
        covered = masks.shares(turned.mask).sum(dim=0, keepdim=True)
    painted = paint(photo if small == size else resized(photo, small), 1.0)
    if small != size and turned.stroke_size > 1:
        painted = enlarged(painted, photo, 1 - covered + turned.fades, paint)
    elif small != size:
        painted = resize(painted, size)
    if turned.keep_color == "luminance":
        painted = color.keep_color(painted, photo)
    if turned.mask is None:
        return painted
    # What no region covers is not what the model makes of the photo, but the photo.
    # (Where one covers part, the model has mixed so much of the photo in already.)
    back = (covered / FAINT).clamp(max=1).to(painted)
    return torch.lerp(photo.to(painted).expand_as(painted), painted, back)


def _of_one_size(photos: list[Tensor]) -> list[Tensor]:
    """Return photos, or raise an error unless there are some, all of one size."""
    if not photos:
        raise ValueError("content is empty; it takes one photo at least")
    for photo in photos:
        check_image("content", photo)
    sizes = sorted({_size(photo) for photo in photos})
    if len(sizes) > 1:
        raise ValueError(
            f"content has photos of {' and '.join(map(str, sizes))}; it takes one size"
        )
    return photos


def _size(image: Tensor) -> Size:
    return image.shape[2], image.shape[3]


def check_colors(keep_color: str | None, takes: Sequence[str] = get_args(KeepColor)) -> None:
    """Raise ValueError unless there is such a way to keep colours; None keeps none."""
    if keep_color is not None and keep_color not in takes:
        known = ", ".join(map(repr, takes))
        raise ValueError(f"keep_color is {keep_color!r}; it takes {known}, or None")


def _checked_regions(mask: Tensor, weights: Weights | None, photo: Tensor) -> Tensor:
    """Return a mask of the photo's type, where the photo is; or raise an error."""
    masks.check_mask("mask", mask, _size(photo))
    if weights is not None:
        raise ValueError("weights and mask are both given; a region of a mask has one style")
    return mask.to(photo)
