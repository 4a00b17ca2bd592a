"""Styles: what there is to know of a picture's maps, kept, mixed, and gathered from tiles.

To AdaIN a style is the mean and the deviation of each channel. The covariance goes further: it also
knows which channels rise and fall together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import kernels
from nstlib.gaussians import covariance_of, root_of
from nstlib.kernels.arguments import float32_at_least
from nstlib.losses import mixing_table

STYLE_EPS = 1e-8  # added to a channel's variance, as kernels.moments does


@dataclass(frozen=True, eq=False)
class Style:
    """What a model takes from a style picture: a row for each of N styles.

    Args:
        means, stds: (N, C) for each tap: mean and deviation of each channel.
        covariances: (N, C, C) of the channels, for the tap that is decoded; or nothing, which is
            enough where ``match`` is ``"deviation"``. They are decomposed, and so lie in float64 on
            the CPU.
    """

    means: Mapping[str, Tensor]
    stds: Mapping[str, Tensor]
    covariances: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def roots(self) -> Mapping[str, Tensor]:
        """The symmetric roots of the covariances: computed when they are first asked for."""
        return {tap: root_of(covariance) for tap, covariance in self.covariances.items()}

    def __len__(self) -> int:
        return len(next(iter(self.means.values())))

    def rows(self, chosen: Sequence[int]) -> Style:
        """Return some of the styles, in the order that is asked for."""
        found = [
            {tap: part[list(chosen)] for tap, part in getattr(self, item.name).items()}
            for item in fields(Style)
        ]
        return _known(Style(*found), {tap: root[list(chosen)] for tap, root in self.roots.items()})


def mix(
    styles: Sequence[Style],
    weights: Sequence[float] | Tensor | None = None,
    normalize: bool = True,
) -> Style:
    """Return the style whose statistics are the weighted means of those of ``styles``.

    AdaIN is linear in the style's statistics, so this equals mixing the maps of each style. Of
    covariances it is the roots that are mixed, as of variances it is the deviations.

    Args:
        styles: of one model.
        weights: one for each; or a table (N, K) with a row for each of N mixtures, all in one
            :class:`Style`. Equal without.
        normalize: divide the weights by their sum; else they must sum to 1.

    Raises:
        ValueError: no style, styles of different models, or weights that cannot be shares.

    Example:
        >>> a, b = (Style({"relu1_1": torch.full((1, 2), v)}, {"relu1_1": torch.ones(1, 2)})
        ...         for v in (0.0, 1.0))
        >>> mix([a, b], weights=[1, 3]).means
        {'relu1_1': tensor([[0.7500, 0.7500]])}
    """
    check_alike(styles)
    table = mixing_table(weights, sum(map(len, styles)), normalize)  # (N, K)

    def mixed(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        rows = {tap: torch.cat([part[tap] for part in parts]) for tap in parts[0]}
        return {tap: torch.tensordot(table.to(each), each, dims=1) for tap, each in rows.items()}

    means, stds = mixed([style.means for style in styles]), mixed([style.stds for style in styles])
    roots = mixed([style.roots for style in styles])
    return _known(Style(means, stds, {tap: root @ root for tap, root in roots.items()}), roots)


def stacked(styles: Sequence[Style]) -> Style:
    """Return several styles of one model as one, a row for each.

    Example:
        >>> a = Style({"relu1_1": torch.zeros(1, 2)}, {"relu1_1": torch.ones(1, 2)})
        >>> len(stacked([a, a, a]))
        3
    """
    check_alike(styles)
    found = [
        {tap: torch.cat([part[tap] for part in parts]) for tap in parts[0]}
        for parts in ([getattr(style, item.name) for style in styles] for item in fields(Style))
    ]
    roots = {tap: torch.cat([style.roots[tap] for style in styles]) for tap in styles[0].roots}
    return _known(Style(*found), roots)


def _known(style: Style, roots: Mapping[str, Tensor]) -> Style:
    """Return a style whose roots are known already: to find them takes longer than all the rest."""
    vars(style)["roots"] = roots  # where its cached property would keep them
    return style


def check_alike(styles: Sequence[Style]) -> None:
    """Raise ValueError unless there are styles, all of one model."""
    if not styles:
        raise ValueError("styles is empty; it takes one at least")
    channels = [{tap: mean.shape[1] for tap, mean in style.means.items()} for style in styles]
    if any(other != channels[0] for other in channels):
        raise ValueError("styles come from different models: their taps or channels differ")
    if any(style.covariances.keys() != styles[0].covariances.keys() for style in styles):
        raise ValueError("styles have a covariance in part only; AdaIN.style gives each its own")


# --------------------------------------------------------------------------------------- gathered


def style_of(
    maps: Mapping[str, Tensor],
    eps: float = STYLE_EPS,
    shares: Tensor | None = None,
    whole: Sequence[str] = (),
) -> Style:
    """Return the statistics of maps (N, C, H, W), a row for each picture, or for each region of one.

    Args:
        maps: by their taps.
        eps: added to each channel's variance.
        shares: (R, 1, H', W') in [0, 1], of one picture: how much each of R regions counts where;
            the maps' strides divide H' and W'.
        whole: taps of which the covariance is wanted too.
    """
    counted = {tap: _counted(shares, features) for tap, features in maps.items()}
    found = {tap: _moments(features, counted[tap], eps) for tap, features in maps.items()}
    means, stds = ({tap: part[i] for tap, part in found.items()} for i in (0, 1))
    return Style(means, stds, {tap: _covariance(maps[tap], counted[tap]) for tap in whole})


def _counted(shares: Tensor | None, features: Tensor) -> Tensor | None:
    """Return how much each position of maps counts in each region, (R, H·W), of sum 1."""
    if shares is None:
        return None
    here = at_size_of(shares, features).flatten(1)
    return here / here.sum(dim=1, keepdim=True)  # (R, H·W)


def at_size_of(shares: Tensor, features: Tensor) -> Tensor:
    """Return shares (R, 1, H', W') as maps of ``features``' size, which divides theirs.

    Example:
        >>> at_size_of(torch.eye(2).view(1, 1, 2, 2), torch.zeros(1, 4, 1, 1))
        tensor([[[[0.5000]]]])
    """
    height, width = features.shape[2:]
    return F.adaptive_avg_pool2d(shares, (height, width))


def _moments(features: Tensor, counted: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """Return mean and deviation, (N, C), or (R, C) where positions do not count alike."""
    if counted is None:
        return kernels.moments(features, eps)
    positions = _positions(features)[0]  # (H·W, C)
    mean = counted.to(positions) @ positions  # (R, C)
    # Deviations are taken from the mean of their own region: E[x²] − E[x]² would cancel.
    variance = torch.stack(
        [
            share @ (positions - middle).square()
            for share, middle in zip(counted.to(positions), mean, strict=True)
        ]
    )
    return mean, (variance + eps).sqrt()


def _covariance(features: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return the channels' covariance, (N, C, C), or (R, C, C) for regions."""
    vectors = _positions(features).mT  # (N, C, H·W)
    _, covariance = covariance_of(vectors, None if counted is None else counted.to(vectors))
    return covariance.cpu().double()


def _positions(features: Tensor) -> Tensor:
    """Return maps as vectors of channels, one a position: (N, H·W, C), a view with channels last."""
    return float32_at_least(features).permute(0, 2, 3, 1).flatten(1, 2)


def gathered(parts: Sequence[Style], counts: Tensor, eps: float) -> Style:
    """Return the statistics of a whole from those of its parts (Chan, Golub & LeVeque).

    Args:
        parts: of N pictures, or R regions, each; with an ``eps`` of 0.
        counts: (parts, N) or (parts, 1): how much there is of each in each part.
        eps: added to each channel's variance.

    Example:
        >>> halves = [Style({"relu1_1": torch.tensor([[level]])}, {"relu1_1": torch.ones(1, 1)})
        ...           for level in (0.0, 2.0)]
        >>> whole = gathered(halves, torch.ones(2, 1), eps=0)
        >>> whole.means["relu1_1"].item(), round(whole.stds["relu1_1"].item() ** 2, 4)
        (1.0, 2.0)
    """
    means, stds, covariances = {}, {}, {}
    for tap in parts[0].means:
        mean, std = (torch.stack([p[tap] for p in of]) for of in _columns(parts))  # (parts, N, C)
        share = (counts / counts.sum(dim=0)).to(mean)[..., None]
        means[tap] = (share * mean).sum(dim=0)
        apart = mean - means[tap]
        stds[tap] = ((share * (std.square() + apart.square())).sum(dim=0) + eps).sqrt()
        if tap in parts[0].covariances:
            within = torch.stack([part.covariances[tap] for part in parts])  # (parts, N, C, C)
            apart = apart.cpu().double()
            between = apart[..., None] * apart[..., None, :]
            weights = share.cpu().double()[..., None]
            covariances[tap] = (weights * (within + between)).sum(dim=0)
    return Style(means, stds, covariances)


def _columns(parts: Sequence[Style]) -> tuple[list[Mapping[str, Tensor]], ...]:
    return [part.means for part in parts], [part.stds for part in parts]
