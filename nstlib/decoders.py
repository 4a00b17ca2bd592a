"""Decoders: the mirrors of encoders, from the maps of a tap back to a picture.

A decoder's layers bear the names of those that they undo. It grows the maps by nearest neighbours
where the encoder halved them, pads by reflection, and has no norms, which would undo what AdaIN did.

Reference:
    Huang & Belongie, Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization,
    2017.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib.config import check_fields
from nstlib.encoders import Encoder, block_of, check_taps, checked_widths, conv_names, relu_of
from nstlib.kernels.arguments import float32_at_least
from nstlib.layers import Conv, UpsampledConv
from nstlib.styles import at_size_of

Output = Literal["sigmoid", "clamp"]


@dataclass(frozen=True)
class Shape:
    """What a decoder is made of; it goes into the file of its weights.

    Raises:
        ValueError, TypeError: a value that no decoder can have.
    """

    widths: tuple[int, ...]  # of the encoder's convolutions, conv1_1 first, to that of the tap
    tap: str = "relu3_1"  # whose maps it turns into a picture
    skips: tuple[str, ...] = ()  # shallower taps whose maps join on the way
    steered_by: tuple[str, ...] = ()  # taps whose target statistics scale and shift each layer
    coarse: int = 0  # residual blocks at twice the tap's stride: larger strokes, few products
    coarse_channels: int = 128
    last_channels: int = 0  # before the last convolution, where pixels are most; 0: the encoder's
    output: Output = "sigmoid"  # or a clamp; both end in [0, 1]

    def __post_init__(self) -> None:
        known = [relu_of(layer) for layer in self.layers]
        checked_widths(self.widths)
        if self.tap != known[-1]:
            raise ValueError(
                f"tap is {self.tap!r}; with {len(self.widths)} widths it must be {known[-1]!r}"
            )
        for name, fit in (("skips", known[:-1]), ("steered_by", known)):
            taps = getattr(self, name)
            if not set(taps) <= set(fit) or sorted(set(taps)) != list(taps):
                names = ", ".join(fit) or "none"
                raise ValueError(f"{name} is {taps}; it takes taps in order out of: {names}")
        check_fields(self)
        if not (0 <= self.coarse <= 100 and 1 <= self.coarse_channels <= 4096):
            raise ValueError(
                f"coarse is {self.coarse} and coarse_channels {self.coarse_channels}; it takes 0 to "
                "100 blocks, of 1 to 4096 channels"
            )
        if not 0 <= self.last_channels <= 4096 or (self.last_channels and len(self.layers) == 1):
            raise ValueError(
                f"last_channels is {self.last_channels}; it must lie in [0, 4096], and be 0 where "
                "the last convolution is the only one"
            )

    @property
    def layers(self) -> tuple[str, ...]:
        """The convolutions of the encoder, the shallow ones first."""
        return tuple(layer for layer, _ in conv_names())[: len(self.widths)]

    @property
    def taps(self) -> tuple[str, ...]:
        """Taps whose restyled maps the decoder takes, the shallow ones first."""
        return (*self.skips, self.tap)

    @property
    def looked_at(self) -> tuple[str, ...]:
        """All taps at which a model with this decoder looks at pictures, the shallow ones first."""
        return tuple(sorted({*self.taps, *self.steered_by}))

    @property
    def steering(self) -> int:
        """How many numbers steer the layers: a mean and a deviation of each channel."""
        channels = dict(zip(map(relu_of, self.layers), self.widths, strict=True))
        return 2 * sum(channels[tap] for tap in self.steered_by)

    @property
    def stride(self) -> int:
        """How many pixels of the picture one step in the decoder's smallest map covers."""
        return int(2 ** (block_of(self.layers[-1]) - 1 + (self.coarse > 0)))


class Coarse(nn.Module):
    """What a decoder does at twice the stride: strokes larger than the tap's own map can see.

    Its last weights are 0 at first, so it adds 0, and changes a decoder only by what it learns.
    """

    def __init__(self, inputs: int, channels: int, blocks: int, outputs: int) -> None:
        super().__init__()
        self.down = Conv(inputs, channels, 3, stride=2, bias=True)
        self.blocks = nn.ModuleList(
            nn.ModuleList(Conv(channels, channels, 3, bias=True) for _ in range(2))
            for _ in range(blocks)
        )
        self.up = UpsampledConv(channels, outputs)
        nn.init.zeros_(self.up.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Return maps of the features' size, to be added to those of the layer beside it."""
        coarse = F.relu(self.down(features))
        for block in self.blocks:
            first, second = block.children()
            coarse = coarse + second(F.relu(first(coarse)))
        grown: Tensor = self.up(coarse)
        return grown


class Steering(nn.Module):
    """What the target's statistics tell the layers: a scale and a shift for each of their channels.

    The maps of a deep tap say what is where, and little of how colours and fine strokes are spread;
    the statistics of shallow ones do. This is no norm: nothing is taken away. Its last weights are 0
    at first, so that it changes nothing.
    """

    HIDDEN = 64

    def __init__(self, inputs: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = list(channels)
        self.look = nn.Linear(inputs, self.HIDDEN)
        self.tell = nn.Linear(self.HIDDEN, 2 * sum(channels))
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)

    def forward(self, target: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return scale and shift of each layer, (N, C, 1, 1), for statistics (N, inputs)."""
        with torch.autocast(target.device.type, enabled=False):  # as exact as where it is used
            # They span decades; after a ReLU all are positive.
            seen = F.relu(self.look(target.log1p().to(self.look.weight.dtype)))
            scales, shifts = self.tell(seen)[..., None, None].chunk(2, dim=1)
        parts = (part.split(self.channels, dim=1) for part in (1 + scales, shifts))
        return list(zip(*parts, strict=True))


class Decoder(nn.Module):
    """The mirror of an encoder: from the maps of a tap to a picture.

    Args:
        **fields: what it is made of: the fields of :class:`Shape`, by name.

    Example:
        >>> decoder = Decoder(widths=(4, 8, 16), tap="relu2_1")
        >>> list(decoder.convs)
        ['conv2_1', 'conv1_2', 'conv1_1']
        >>> tuple(decoder({"relu2_1": torch.rand(1, 16, 12, 10)}).shape)
        (1, 3, 24, 20)
    """

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.shape = shape = Shape(**fields)
        given = [3, *shape.widths]  # channels that the mirror of each layer returns, and takes
        if shape.last_channels:
            given[1] = shape.last_channels
        self.convs, self.sides = nn.ModuleDict(), nn.ModuleDict()
        for i, layer in reversed(list(enumerate(shape.layers))):
            fewer, many = given[i], given[i + 1]
            # Where the encoder halved the maps after this layer, its mirror grows them first.
            is_halved = layer != shape.layers[-1] and block_of(shape.layers[i + 1]) > block_of(
                layer
            )
            if is_halved:
                self.convs[layer] = UpsampledConv(many, fewer, bias=True)
            else:
                self.convs[layer] = Conv(many, fewer, 3, bias=True)
            if relu_of(layer) in shape.skips:
                self.sides[layer] = Conv(shape.widths[i], fewer, 3)
        self.coarse = (
            Coarse(shape.widths[-1], shape.coarse_channels, shape.coarse, given[-2])
            if shape.coarse
            else None
        )
        self.steering = Steering(shape.steering, given[-2::-1]) if shape.steered_by else None
        self.to(memory_format=torch.channels_last)

    @classmethod
    def of(cls, encoder: Encoder, tap: str = "relu3_1", **fields: Any) -> Self:
        """Return a new decoder for the maps of ``encoder`` at ``tap``.

        Example:
            >>> from nstlib.encoders import load_encoder
            >>> Decoder.of(load_encoder("slim"), coarse=2).shape.widths
            (32, 32, 64, 64, 256)
        """
        check_taps(encoder, [tap], "tap")
        depth = encoder.taps.index(tap) // 2 + 1
        return cls(widths=encoder.widths[:depth], tap=tap, **fields)

    @property
    def dtype(self) -> torch.dtype:
        """What the convolutions compute in."""
        return next(self.convs.parameters()).dtype

    def in_dtype(self, dtype: torch.dtype) -> Self:
        """Return this decoder with convolutions that compute in ``dtype``: itself, or a copy."""
        if dtype == self.dtype:
            return self
        twin = copy.deepcopy(self)
        for name, part in twin.named_children():
            if name != "steering" or dtype.itemsize >= 4:  # what steers them is exact
                part.to(dtype)
        return twin

    def forward(
        self,
        maps: Mapping[str, Tensor],
        target: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> Tensor:
        """Return pictures (N, 3, H·stride, W·stride) in [0, 1], in float32.

        Args:
            maps: of each tap in :attr:`Shape.taps`.
            target: statistics that the result is to have, (N, :attr:`Shape.steering`), from
                :func:`nstlib.adain.steering_of`; of a decoder that is steered by some.
            shares: (R, 1, H·stride, W·stride), of sum 1: how much of each of R rows of ``target``
                steers one picture where. Without, a row steers a picture.
        """
        if (target is None) != (self.steering is None):
            raise ValueError(
                f"target is {'missing' if target is None else 'given'}; this decoder is steered by "
                f"{', '.join(self.shape.steered_by) or 'nothing'}"
            )
        steered = iter(self.steering(target) if self.steering is not None else ())
        features = maps[self.shape.tap]
        for layer, conv in self.convs.items():
            out = conv(features)
            if self.coarse is not None and layer == self.shape.layers[-1]:
                out = out + self.coarse(features)
            if layer in self.sides:
                out = out + self.sides[layer](maps[relu_of(layer)])
            if self.steering is not None:
                scale, shift = (_spread(part, shares, out) for part in next(steered))
                out = torch.addcmul(shift, out, scale)
            features = out.relu_() if layer != "conv1_1" else out
        painted = float32_at_least(features)
        return painted.sigmoid() if self.shape.output == "sigmoid" else painted.clamp(0, 1)


def _spread(part: Tensor, shares: Tensor | None, features: Tensor) -> Tensor:
    """Return numbers (R, C, 1, 1) as maps of ``features``' size, (1, C, H, W): mixed as shares say."""
    if shares is None:
        return part.to(features.dtype)
    here = at_size_of(shares, features)  # (R, 1, H, W)
    mixed = torch.einsum(
        "rc,rhw->hwc", part[:, :, 0, 0], here[:, 0].to(part)
    )  # as channels lie, last
    return mixed.permute(2, 0, 1)[None].to(features.dtype)
