r"""The losses of neural style transfer: small modules that hold their target.

What they measure stands in :mod:`nstlib.kernels` (Gram matrices, channel statistics, and total
variation, a loss without a target); the modules here keep a target, computed once without a
gradient, and compare with it.

How a squared difference becomes a number is a convention, and papers and libraries differ by
factors of up to a trillion. With C channels and a map of H × W positions, for one image:

============ ============================== ======================== ===========================
normalize    content map F                  Gram matrix G = F·Fᵀ     channel statistics (μ, σ)
============ ============================== ======================== ===========================
``"energy"`` Σ(F−F̂)² / ΣF̂²                  Σ(G−Ĝ)² / ΣĜ²            Σ(μ−μ̂)²+Σ(σ−σ̂)² / Σμ̂²+Σσ̂²
``"chw"``    Σ(F−F̂)² / CHW                  of G/CHW, mean over C²   mean over C
``"hw"``     Σ(F−F̂)² / HW                   of G/HW, mean over C²    sum over C
``"sum"``    Σ(F−F̂)²                        of G/HW, sum over C²     sum over C
============ ============================== ======================== ===========================

``"energy"``, our default, is a relative error: 0 is a perfect match and 1 is what an all-zero map
scores, on every encoder, layer and picture size, so that one set of weights serves them all. The
hat marks the target. The others differ from each other by constants that the tests hold:
``hw = C·chw`` for content, ``hw = C²·chw`` and ``sum = C²·hw`` for Gram matrices.
"""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from nstlib.config import Range, check_choice
from nstlib.kernels import gram, moments
from nstlib.kernels.arguments import check_maps, float32_at_least
from nstlib.kernels.gram import GramScale

if TYPE_CHECKING:
    from nstlib.encoders import Encoder

Normalize = Literal["energy", "chw", "hw", "sum"]
# Names of taps, which share a weight of 1, or a weight for each.
Taps = Mapping[str, float] | Sequence[str]

# Keeps a relative error finite where the target is flat or black and has no energy at all. It is a
# mean square, far below that of any picture's maps, so it changes no digit that matters.
EPS = 1e-8


# ----------------------------------------------------------------------- distances, image by image


def content_distance(
    features: Tensor,
    target: Tensor,
    normalize: Normalize = "energy",
    energy: Tensor | None = None,
) -> Tensor:
    """Return how far maps are from ``target``'s, (N,): the content loss of each image.

    Args:
        features, target: maps ``(N, C, H, W)``; one target may serve all images.
        normalize: see the table at the top of this module.
        energy: the target's mean square, (N,), where it is known already.

    Example:
        >>> maps = torch.ones(2, 2, 4, 4)
        >>> content_distance(maps, 2 * maps)
        tensor([0.2500, 0.2500])
    """
    _, channels, height, width = target.shape
    # By norms, one an image: their gradient keeps the layout of the maps, for the convolution.
    apart = float32_at_least(features) - float32_at_least(target)
    norms: Tensor = torch.linalg.vector_norm(apart, dim=(1, 2, 3))
    mean_squares = norms.square() / (channels * height * width)
    if normalize == "energy":
        if energy is None:
            energy = float32_at_least(target).square().mean(dim=(1, 2, 3))
        return mean_squares / (energy + EPS)
    return mean_squares * {"chw": 1, "hw": channels, "sum": channels * height * width}[normalize]


def gram_distance(found: Tensor, target: Tensor, normalize: Normalize = "energy") -> Tensor:
    """Return how far Gram matrices are from ``target``, (N,): the style loss of each image.

    Args:
        found, target: ``(N, C, C)``, scaled by :func:`gram_scale`; one target may serve all images.
        normalize: see the table at the top of this module.

    Example:
        >>> gram_distance(torch.ones(2, 3, 3), 2 * torch.ones(1, 3, 3))
        tensor([0.2500, 0.2500])
    """
    found, target = float32_at_least(found), float32_at_least(target)
    mean_squares = (found - target).square().mean(dim=(1, 2))
    if normalize == "energy":
        return mean_squares / (target.square().mean(dim=(1, 2)) + EPS)
    return mean_squares * (target.shape[-1] ** 2 if normalize == "sum" else 1)


def statistics_distance(found: Tensor, target: Tensor, normalize: Normalize = "energy") -> Tensor:
    """Return how far channel statistics are from ``target``'s, (N,): AdaIN's style loss of each image.

    Args:
        found, target: ``(N, 2, C)``, means and deviations; one target may serve all images.
        normalize: see the table at the top of this module.

    Example:
        >>> statistics_distance(torch.ones(2, 2, 3), 2 * torch.ones(1, 2, 3))
        tensor([0.2500, 0.2500])
    """
    found, target = float32_at_least(found), float32_at_least(target)
    squares = (found - target).square().sum(dim=(1, 2))
    if normalize == "energy":
        return squares / (target.square().sum(dim=(1, 2)) + EPS)
    return squares / (target.shape[2] if normalize == "chw" else 1)


def gram_scale(normalize: Normalize) -> GramScale:
    """Return what Gram matrices are divided by under a convention.

    Example:
        >>> gram_scale("chw"), gram_scale("energy")
        ('chw', 'hw')
    """
    return "chw" if normalize == "chw" else "hw"


def grid_variance(image: Tensor, period: int) -> Tensor:
    r"""Return how much of a pattern that repeats every ``period`` pixels is in images, (N,).

    A net that shrinks a picture by 4 and grows it back knows each pixel's place modulo 4, and finds
    it easy to draw strokes that keep to this grid. The variance of the mean pixels :math:`m_{pq}` at
    each place is 0 where none are preferred:

    .. math:: \frac{1}{3 P^2} \sum_{c,p,q} (m_{cpq} - \bar m_c)^2

    Args:
        image: ``(N, 3, H, W)``, at least ``period`` pixels a side; a rest is left out.
        period: P, in pixels.

    Example:
        >>> checkerboard = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).tile(1, 3, 4, 4)
        >>> grid_variance(checkerboard, 2), grid_variance(checkerboard, 3) < 0.01
        (tensor([0.2500]), tensor([True]))
    """
    height, width = (side // period * period for side in image.shape[2:])
    if not height or not width:
        raise ValueError(
            f"image is {image.shape[2]}×{image.shape[3]} px; a period of {period} px needs that much"
        )
    shape = (*image.shape[:2], height // period, period, width // period, period)
    blocks = float32_at_least(image[:, :, :height, :width]).reshape(shape)  # (N, 3, H/P, P, W/P, P)
    means = blocks.mean(dim=(2, 4)).flatten(2)  # (N, 3, P·P)
    variance: Tensor = means.var(dim=2, correction=0)
    return variance.mean(dim=1)


# ------------------------------------------------------------------------- modules with a target


class ContentLoss(nn.Module):
    """How far feature maps are from those of the content, position by position.

    Args:
        features: the target's maps ``(N, C, H, W)``.
        normalize: see the table at the top of this module.

    Example:
        >>> target = torch.ones(1, 2, 4, 4)
        >>> ContentLoss(target)(target).item(), ContentLoss(target)(0 * target).item()
        (0.0, 1.0)
    """

    target: Tensor
    energy: Tensor

    def __init__(self, features: Tensor, normalize: Normalize = "energy") -> None:
        super().__init__()
        check_maps(features)
        self.normalize = checked_normalize(normalize)
        # A copy: an optimiser that moves the caller's picture in place must not move the target.
        self.register_buffer("target", float32_at_least(features.detach()).clone())
        self.register_buffer("energy", self.target.square().mean(dim=(1, 2, 3)))

    def forward(self, features: Tensor) -> Tensor:
        """Return the loss of ``features``, a mean over the batch.

        Raises:
            ValueError: the maps have another shape than the target's.
        """
        if features.shape[1:] != self.target.shape[1:]:
            raise ValueError(
                f"features has shape {tuple(features.shape)}; "
                f"the content's is {tuple(self.target.shape)}"
            )
        _check_batch(features, self.target)
        return content_distance(features, self.target, self.normalize, self.energy).mean()


class GramLoss(nn.Module):
    """How far the Gram matrix of feature maps is from the style's: the style loss of one layer.

    Several styles are mixed by their Gram matrices: the weighted mean of the losses to each and the
    loss to the weighted mean differ by a constant only, so they pull alike.

    Args:
        features: the style's maps ``(1, C, H, W)``, or a sequence of them, of any sizes.
        normalize: see the table at the top of this module.
        weights: one for each style; divided by their sum. Equal without.

    Example:
        >>> style = torch.rand(1, 3, 8, 8)
        >>> shuffled = style.flatten(2)[..., torch.randperm(64)].view(1, 3, 8, 8)
        >>> GramLoss(style)(shuffled).item() < 1e-10
        True
    """

    target: Tensor

    def __init__(
        self,
        features: Tensor | Sequence[Tensor],
        normalize: Normalize = "energy",
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.normalize = checked_normalize(normalize)
        self._scale = gram_scale(normalize)
        grams = torch.stack([gram(style, self._scale) for style in _style_maps(features)])
        self.register_buffer("target", _mixed(grams, weights))

    def forward(self, features: Tensor) -> Tensor:
        """Return the loss of ``features``, a mean over the batch.

        Raises:
            ValueError: the maps have another number of channels than the style's.
        """
        if features.shape[1] != self.target.shape[-1]:
            raise ValueError(
                f"features has {features.shape[1]} channels; the style's has {self.target.shape[-1]}"
            )
        _check_batch(features, self.target)
        return gram_distance(gram(features, self._scale), self.target, self.normalize).mean()


class StatisticsLoss(nn.Module):
    """How far the channels' means and standard deviations are from the style's: AdaIN's style loss.

    A mean is the first moment of a channel and a standard deviation comes from the second; what the
    Gram matrix knows beyond them is how channels fire *together*.

    Args:
        features: the style's maps ``(1, C, H, W)``, or a sequence of them.
        normalize: see the table at the top of this module.
        weights: one for each style; divided by their sum. Equal without.

    Example:
        >>> style = torch.rand(1, 3, 8, 8)
        >>> StatisticsLoss(style)(style.flip(3)).item() < 1e-10
        True
    """

    target: Tensor

    def __init__(
        self,
        features: Tensor | Sequence[Tensor],
        normalize: Normalize = "energy",
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.normalize = checked_normalize(normalize)
        statistics = [torch.stack(moments(style), dim=1) for style in _style_maps(features)]
        # (1, 2, C): means, then deviations
        self.register_buffer("target", _mixed(torch.stack(statistics), weights))

    def forward(self, features: Tensor) -> Tensor:
        """Return the loss of ``features``, a mean over the batch.

        Raises:
            ValueError: the maps have another number of channels than the style's.
        """
        channels = self.target.shape[-1]
        if features.shape[1] != channels:
            raise ValueError(
                f"features has {features.shape[1]} channels; the style's has {channels}"
            )
        _check_batch(features, self.target)
        found = torch.stack(moments(features), dim=1)  # (N, 2, C)
        return statistics_distance(found, self.target, self.normalize).mean()


class PerceptualLoss(nn.Module):
    """How different two pictures look to an encoder: the content loss over several layers.

    Args:
        encoder: whose eyes to look with.
        image: the target picture ``(N, 3, H, W)``.
        layers: a weight for each tap. Taps after a ReLU are the usual choice.
        normalize: see the table at the top of this module.

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> image = torch.rand(1, 3, 32, 32)
        >>> PerceptualLoss(random_encoder(), image)(image).item()
        0.0

    Reference:
        Johnson, Alahi & Fei-Fei, Perceptual Losses for Real-Time Style Transfer, 2016.
    """

    def __init__(
        self,
        encoder: Encoder,
        image: Tensor,
        layers: Mapping[str, float] | None = None,
        normalize: Normalize = "energy",
    ) -> None:
        super().__init__()
        chosen = {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0} if layers is None else layers
        if not chosen:
            raise ValueError("layers is {}; it takes a weight for one tap at least")
        self.layers = dict(chosen)
        self.encoder = encoder
        with torch.no_grad():
            maps = encoder(image, list(self.layers))
        self.losses = nn.ModuleDict(
            {tap: ContentLoss(features, normalize) for tap, features in maps.items()}
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the weighted sum over the layers."""
        maps = self.encoder(image, list(self.layers))
        total = image.new_zeros(())
        for tap, weight in self.layers.items():
            total = total + weight * self.losses[tap](maps[tap])
        return total


# -------------------------------------------------------------------------------------- helpers


def mixing_weights(weights: Sequence[float] | None, count: int) -> Tensor:
    """Return ``count`` weights that sum to one.

    Raises:
        ValueError: another number of weights, a negative one, or none above zero.
        TypeError: no sequence of numbers.

    Example:
        >>> mixing_weights([1, 3], 2)
        tensor([0.2500, 0.7500])
    """
    if weights is None:
        return torch.ones(count) / count
    check_weights(weights)
    if len(weights) != count:
        raise ValueError(f"weights has {len(weights)} values; there are {count} styles")
    # In float64, and beside the largest: neither a huge sum nor a tiny weight leaves the range.
    values = torch.tensor([float(weight) for weight in weights], dtype=torch.float64)
    values /= values.max()
    return (values / values.sum()).float()


def mixing_table(
    weights: Sequence[float] | Tensor | None, count: int, normalize: bool = True
) -> Tensor:
    """Return (N, ``count``): for each of N mixtures, weights that sum to one.

    Args:
        weights: of one mixture, or a table (N, ``count``); equal without.
        count: of the styles.
        normalize: divide by the sums; else they must be 1.

    Raises:
        ValueError: as :func:`mixing_weights`; or sums that are not 1 and are not to be made so.
        TypeError: no numbers.

    Example:
        >>> mixing_table(torch.tensor([[1.0, 3.0], [2.0, 0.0]]), 2)
        tensor([[0.2500, 0.7500],
                [1.0000, 0.0000]])
    """
    rows: Sequence[Any] = [weights]
    if isinstance(weights, Tensor):
        if weights.dim() not in (1, 2) or not weights.numel() or weights.shape[-1] != count:
            raise ValueError(
                f"weights has shape {tuple(weights.shape)}; it takes ({count},) or (N, {count})"
            )
        rows = weights.view(-1, count).tolist()
    if not normalize and weights is not None:
        for row in rows:
            if abs(sum(row) - 1) > 1e-4:
                raise ValueError(
                    f"weights is {row}, of sum {sum(row):g}; with normalize=False it is 1"
                )
    return torch.stack([mixing_weights(row, count) for row in rows])


def tap_weights(name: str, taps: Taps) -> dict[str, float]:
    """Return a weight for each tap; bare names share a weight of one.

    Raises:
        TypeError, ValueError: no taps, a name twice, or a weight below 0; ``name`` is what they are
            called.

    Example:
        >>> tap_weights("style_taps", ("relu1_1", "relu2_1"))
        {'relu1_1': 0.5, 'relu2_1': 0.5}
    """
    wanted = f"{name} is {taps!r}; it takes names such as ('relu1_1', 'relu2_1')"
    if not isinstance(taps, (Mapping, Sequence)) or not all(isinstance(tap, str) for tap in taps):
        raise TypeError(wanted)
    if isinstance(taps, str) or not taps:
        raise ValueError(wanted)
    if not isinstance(taps, Mapping):
        repeated = [tap for tap, count in Counter(taps).items() if count > 1]
        if repeated:
            raise ValueError(f"{name} names {', '.join(repeated)} more than once")
        return {tap: 1 / len(taps) for tap in taps}
    for tap, weight in taps.items():
        Range(0, 1e12).check(f"{name}[{tap!r}]", weight)
    return dict(taps)


def check_weights(weights: Sequence[float]) -> None:
    """Raise TypeError or ValueError unless ``weights`` can be divided by their sum."""
    if (
        isinstance(weights, str)
        or not isinstance(weights, Sequence)
        or not all(isinstance(weight, numbers.Real) for weight in weights)
    ):
        raise TypeError(f"weights is {weights!r}; it takes a sequence of numbers, one a style")
    if not all(weight >= 0 for weight in weights) or not 0 < sum(weights) < float("inf"):
        raise ValueError(f"weights is {weights!r}; none may be negative, one must be above 0")


def _style_maps(features: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Return the maps of one style or several as a list, without their gradients."""
    styles = [features] if isinstance(features, Tensor) else list(features)
    for style in styles:
        check_maps(style)
    if not styles:
        raise ValueError("features holds no style; it takes one at least")
    channels = [style.shape[1] for style in styles]
    if len(set(channels)) > 1:
        raise ValueError(f"features has styles of {' and '.join(map(str, channels))} channels")
    return [style.detach() for style in styles]


def _mixed(targets: Tensor, weights: Sequence[float] | None) -> Tensor:
    """Return the weighted mean over the first axis, one target a style."""
    shares = mixing_weights(weights, len(targets)).to(targets)
    mixed: Tensor = torch.tensordot(shares, targets, dims=1)
    return mixed


def checked_normalize(normalize: Normalize) -> Normalize:
    """Return ``normalize``, or raise ValueError where there is no such convention.

    Example:
        >>> checked_normalize("chw")
        'chw'
    """
    check_choice("normalize", normalize, get_args(Normalize))
    return normalize


def _check_batch(features: Tensor, target: Tensor) -> None:
    if len(target) not in (1, len(features)):
        raise ValueError(f"features has {len(features)} images; the target has {len(target)}")
