r"""Any style in one pass: AdaIN, and the decoder that turns its maps back into pictures.

An encoder sees the photo and the style. Each channel of the photo's maps is brought to the mean and
the spread that it has in the style; a decoder, trained once and for all styles, paints a picture
that the encoder would see so:

.. math:: t = (1-\alpha)\,f(c) + \alpha\left(\sigma(f(s))\,\frac{f(c)-\mu(f(c))}{\sigma(f(c))}
          + \mu(f(s))\right), \qquad x = g(t)

The decoder g mirrors the encoder f: its layers bear the names of those they undo, it grows the maps
by nearest neighbours where the encoder halved them, and it has no norms, which would undo what AdaIN
did.

Reference:
    Huang & Belongie, Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization,
    2017.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import config, kernels
from nstlib.config import Precision, Range
from nstlib.encoders import (
    Encoder,
    block_of,
    check_taps,
    checked_widths,
    conv_names,
    load_encoder,
    mirrored_maps,
    relu_of,
)
from nstlib.errors import WeightsError
from nstlib.images import check_image
from nstlib.kernels.arguments import float32_at_least
from nstlib.kernels.moments import renormalized_exactly
from nstlib.layers import Conv, UpsampledConv
from nstlib.losses import mixing_weights
from nstlib.memory import check_memory, reused_memory
from nstlib.weights import read_weights

Output = Literal["sigmoid", "clamp"]
Maps = dict[str, Tensor]
LARGEST_WHOLE = 1 << 22  # pixels of a picture that is made in one piece
TILE = 1024  # px
EPS = 1e-5  # added to a channel's variance, as kernels.adain does
STYLE_EPS = 1e-8  # the same of a style's, as kernels.moments does
ALPHA = Range(0, 1, "how much of the style")


# ---------------------------------------------------------------------------------------- styles


@dataclass(frozen=True, eq=False)
class Style:
    """What a model takes from a style picture: mean and deviation of each channel, at its taps.

    Args:
        means, stds: (1, C) for each tap.
    """

    means: Mapping[str, Tensor]
    stds: Mapping[str, Tensor]


def mix(styles: Sequence[Style], weights: Sequence[float] | None = None) -> Style:
    """Return the style whose statistics are the weighted means of those of ``styles``.

    AdaIN is linear in the style's statistics, so this equals mixing the maps of each style.

    Args:
        styles: of one model.
        weights: one for each; divided by their sum. Equal without.

    Raises:
        ValueError: no style, styles of different models, or weights that cannot be shares.

    Example:
        >>> a, b = (Style({"relu1_1": torch.full((1, 2), v)}, {"relu1_1": torch.ones(1, 2)})
        ...         for v in (0.0, 1.0))
        >>> mix([a, b], weights=[1, 3]).means
        {'relu1_1': tensor([[0.7500, 0.7500]])}
    """
    if not styles:
        raise ValueError("styles is empty; it takes one at least")
    shapes = {tuple((tap, mean.shape[1]) for tap, mean in style.means.items()) for style in styles}
    if len(shapes) > 1:
        raise ValueError("styles come from different models: their taps or channels differ")
    shares = mixing_weights(weights, len(styles)).tolist()

    def mixed(parts: Sequence[Mapping[str, Tensor]]) -> Maps:
        each = zip(shares, parts, strict=True)
        weighed = [{tap: share * part[tap] for tap in part} for share, part in each]
        return {tap: torch.stack([part[tap] for part in weighed]).sum(dim=0) for tap in parts[0]}

    return Style(mixed([style.means for style in styles]), mixed([style.stds for style in styles]))


# --------------------------------------------------------------------------------------- decoder


@dataclass(frozen=True)
class Shape:
    """What a decoder is made of; it goes into the file of its weights.

    Raises:
        ValueError: a value that no decoder can have.
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
        for name in ("coarse", "coarse_channels", "last_channels"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} is {getattr(self, name)!r}; it takes a whole number")
        if self.coarse < 0 or self.coarse_channels < 1:
            raise ValueError(
                f"coarse is {self.coarse} and coarse_channels {self.coarse_channels}; it takes 0 "
                "blocks or more, of 1 channel at least"
            )
        if self.last_channels < 0 or (self.last_channels and len(self.layers) == 1):
            raise ValueError(
                f"last_channels is {self.last_channels}; it must be at least 0, and 0 where the "
                "last convolution is the only one"
            )
        if self.output not in get_args(Output):
            outputs = ", ".join(map(repr, get_args(Output)))
            raise ValueError(f"output is {self.output!r}; it takes {outputs}")

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
            >>> Decoder.of(load_encoder("slim"), coarse=2).shape.widths
            (32, 32, 64, 64, 256)
        """
        check_taps(encoder, [tap], "tap")
        depth = encoder.taps.index(tap) // 2 + 1
        return cls(widths=encoder.widths[:depth], tap=tap, **fields)

    def in_dtype(self, dtype: torch.dtype) -> Decoder:
        """Return a copy with convolutions that compute in ``dtype``; what steers them is exact."""
        twin = copy.deepcopy(self).to(dtype)
        if self.steering is not None and dtype.itemsize < 4:
            twin.steering = copy.deepcopy(self.steering)
        return twin

    def forward(self, maps: Mapping[str, Tensor], target: Tensor | None = None) -> Tensor:
        """Return pictures (N, 3, H·stride, W·stride) in [0, 1], in float32.

        Args:
            maps: of each tap in :attr:`Shape.taps`.
            target: statistics that the result is to have, (N, :attr:`Shape.steering`), from
                :func:`steering_of`; of a decoder that is steered by some.
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
                scale, shift = next(steered)
                out = torch.addcmul(shift.to(out.dtype), out, scale.to(out.dtype))
            features = out.relu_() if layer != "conv1_1" else out
        painted = float32_at_least(features)
        return painted.sigmoid() if self.shape.output == "sigmoid" else painted.clamp(0, 1)


# ----------------------------------------------------------------------------------------- model


@dataclass(frozen=True, eq=False)
class Content:
    """A photo as a model sees it: encoded once, decoded as often as its style or alpha changes."""

    maps: Mapping[str, Tensor]
    own: Style  # what steers the decoder where alpha is 0
    size: tuple[int, int]  # height and width, in pixels
    stride: int  # that the size was made a multiple of
    device: torch.device  # where the photo lay, and where its pictures go


class AdaIN(nn.Module):
    """An encoder and the decoder that was trained for it: any photo in any style.

    Args:
        encoder: whose maps are given the style's statistics.
        decoder: of that encoder's shape.

    Raises:
        ValueError: a decoder of another encoder.

    Example:
        >>> model = load_adain()
        >>> photo, painting = torch.rand(1, 3, 45, 31), torch.rand(1, 3, 64, 64)
        >>> tuple(model.stylize(photo, model.style(painting), alpha=0.7).shape)
        (1, 3, 45, 31)
    """

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        widths = decoder.shape.widths
        if encoder.widths[: len(widths)] != widths:
            raise ValueError(
                f"decoder mirrors an encoder of widths {widths}; encoder {encoder.name!r} has "
                f"{encoder.widths[: len(widths)]}"
            )
        self.encoder, self.decoder = encoder, decoder

    def in_dtype(self, dtype: torch.dtype) -> AdaIN:
        """Return this model with convolutions that compute in ``dtype``; its style and alpha do not."""
        return AdaIN(self.encoder.in_dtype(dtype), self.decoder.in_dtype(dtype))

    @property
    def taps(self) -> tuple[str, ...]:
        """Where photos are given the statistics of the style."""
        return self.decoder.shape.taps

    @torch.no_grad()
    def style(self, image: Tensor) -> Style:
        """Return what there is to know about a style picture: to be kept, and used for many photos.

        Args:
            image: (1, 3, H, W) in [0, 1], of any size.
        """
        check_image("style", image)
        if _is_large(image):
            padded = _in_whole_strides(image, self.decoder.shape.stride)
            return self._style_of_tiles(padded, TILE, STYLE_EPS)
        return style_of(self._encoded(image))

    @torch.no_grad()
    def content(self, image: Tensor) -> Content:
        """Return a photo as :meth:`stylize` takes it a second time, without encoding it again.

        Args:
            image: (N, 3, H, W) in [0, 1], of any size.

        Raises:
            MemoryError: its maps are too large for what is free; the message says what fits.
        """
        check_image("content", image, batch=True)
        height, width = image.shape[2:]
        place = self.encoder.mean.device
        check_memory("content", (height, width), self._memory_needed(image), place)
        maps, shape = self._encoded(image), self.decoder.shape
        own = style_of({tap: maps[tap] for tap in shape.steered_by}, EPS)
        kept = {tap: maps[tap] for tap in shape.taps}
        return Content(kept, own, (height, width), shape.stride, image.device)

    def _memory_needed(self, image: Tensor) -> int:
        """Return about how many bytes a picture takes in one piece: most, at its full size.

        There a map of the first layer, what comes of it and a copy with a border are alive at once.
        """
        bytes_each = next(self.decoder.parameters()).element_size()
        pixels = len(image) * image.shape[2] * image.shape[3]
        return int(pixels * (4 * self.decoder.shape.widths[0] * bytes_each + 4 * 3 * 4))

    def content_or_photo(self, image: Tensor) -> Content | Tensor:
        """Return what :meth:`stylize` is to be given for several styles or alphas of one photo.

        That is its :meth:`content`; or the photo as it is where it will be made in tiles, since the
        maps of all tiles would fill the memory.
        """
        check_image("content", image, batch=True)
        return image if _is_large(image) else self.content(image)

    @torch.no_grad()
    def stylize(
        self,
        content: Tensor | Content,
        style: Tensor | Style,
        alpha: float = 1.0,
        tile: int | None = None,
    ) -> Tensor:
        """Return ``content`` in a style: exactly its size, on its own device.

        Args:
            content: (N, 3, H, W) in [0, 1], or what :meth:`content` returned for it.
            style: a picture (1, 3, H, W), or what :meth:`style` or :func:`mix` returned.
            alpha: how much of the style, in [0, 1].
            tile: side in pixels of the tiles that a picture is made in, with the statistics of the
                whole: less memory, more time, the same picture. Without, pictures of more than 4
                megapixels are made so.

        Raises:
            TypeError, ValueError: no such pictures, a style or content of another model, an alpha or
                tile outside its range, or a tile for a content that was encoded as a whole.
        """
        ALPHA.check("alpha", alpha)
        if isinstance(content, Content):
            self._check_content(content)
            if tile is not None:
                raise ValueError(
                    f"tile is {tile}; a Content was encoded as a whole: give the picture"
                )
        else:
            check_image("content", content, batch=True)
            tile = TILE if tile is None and _is_large(content) else tile
        style = style if isinstance(style, Style) else self.style(style)
        self._check_maps("style", style.means, self.decoder.shape.looked_at)
        with reused_memory():
            if tile is not None and isinstance(content, Tensor):
                return self._in_tiles(content, style, alpha, tile)
            content = content if isinstance(content, Content) else self.content(content)
            return self._decoded(content, style, alpha)

    def _check_content(self, content: Content) -> None:
        """Raise ValueError unless a content was encoded by a model whose decoder is like this one's."""
        shape = self.decoder.shape
        self._check_maps("content", content.maps, self.taps)
        self._check_maps("content", content.own.means, shape.steered_by)
        if content.stride != shape.stride:
            raise ValueError(
                f"content is of another model: its stride is {content.stride}; this model's is "
                f"{shape.stride}"
            )

    def _check_maps(self, argument: str, found: Mapping[str, Tensor], taps: Sequence[str]) -> None:
        """Raise ValueError unless what was taken from a picture is of this model's taps."""
        has = {tap: part.shape[1] for tap, part in found.items()}
        takes = {tap: self.encoder.channels[tap] for tap in taps}
        if has != takes:
            raise ValueError(
                f"{argument} is of another model: its taps and their channels are {has}; this "
                f"model's are {takes}"
            )

    def _decoded(self, content: Content, style: Style, alpha: float) -> Tensor:
        restyled = {
            tap: kernels.adain(features, style.means[tap], style.stds[tap], alpha)
            for tap, features in content.maps.items()
        }
        height, width = content.size
        target = steering_of(content.own, style, alpha, self.decoder.shape)
        painted: Tensor = self.decoder(restyled, target)[:, :, :height, :width]
        return painted.to(content.device)

    def _encoded(self, image: Tensor) -> Maps:
        """Return the maps of a picture that goes on as in a mirror, of whole decoder strides."""
        padded = _in_whole_strides(image.to(self.encoder.mean.device), self.decoder.shape.stride)
        return mirrored_maps(self.encoder, padded, self.decoder.shape.looked_at)

    # ---------------------------------------------------------------------------------- in tiles

    @property
    def reach(self) -> int:
        """How many pixels away a pixel of the photo can be, at most, to change one of the result.

        (Through the maps. Through the statistics, every pixel changes all.)
        """
        shape = self.decoder.shape
        strides = [1 << (block_of(layer) - 1) for layer in shape.layers]
        # A convolution sees one step to each side; so does its mirror, and an upsampling or pool.
        seen = 2 * (sum(strides) + sum(set(strides)))
        seen += (2 * shape.coarse + 2) * shape.stride if shape.coarse else 0
        # A border of 8 px is mirrored, which takes a tile of more than that.
        return math.ceil(max(seen, 8) / shape.stride) * shape.stride

    def _in_tiles(self, content: Tensor, style: Style, alpha: float, tile: int) -> Tensor:
        stride, (height, width) = self.decoder.shape.stride, content.shape[2:]
        if not isinstance(tile, int) or tile < 1 or tile % stride:
            raise ValueError(f"tile is {tile}; it takes a multiple of {stride} px")
        padded = _in_whole_strides(content, stride)
        own = self._style_of_tiles(padded, tile, EPS)
        target = steering_of(own, style, alpha, self.decoder.shape)
        painted: Tensor | None = None
        for inside, around in _tiles(padded.shape[2:], tile, self.reach):
            maps = self._encoded(padded[around.of(1)])
            restyled = {tap: _restyled(maps[tap], own, style, tap, alpha) for tap in self.taps}
            whole = self.decoder(restyled, target)
            if painted is None:
                painted = padded.new_empty(padded.shape, dtype=whole.dtype)
            painted[inside.of(1)] = whole[inside.within(around).of(1)]
        assert painted is not None  # no picture is empty
        return painted[:, :, :height, :width]

    def _style_of_tiles(self, padded: Tensor, tile: int, eps: float) -> Style:
        """Return the statistics of the whole picture's maps, (N, C), from those of its tiles."""
        counts: list[int] = []
        taps = self.decoder.shape.looked_at
        found: dict[str, list[tuple[Tensor, Tensor]]] = {tap: [] for tap in taps}
        for inside, around in _tiles(padded.shape[2:], tile, self.reach):
            counts.append(inside.area)
            for tap, features in self._encoded(padded[around.of(1)]).items():
                here = inside.within(around).of(self.encoder.strides[tap])
                found[tap].append(kernels.moments(features[here], eps=0))
        means, stds = {}, {}
        for tap, parts in found.items():
            mean, std = (torch.stack(part) for part in zip(*parts, strict=True))  # (tiles, N, C)
            share = mean.new_tensor(counts).view(-1, 1, 1) / sum(counts)
            means[tap] = (share * mean).sum(dim=0)
            apart = mean - means[tap]
            variance = (share * (std.square() + apart.square())).sum(dim=0)
            stds[tap] = (variance + eps).sqrt()
        return Style(means, stds)


@dataclass(frozen=True)
class _Box:
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def within(self, other: _Box) -> _Box:
        """Return this box as seen from the corner of another."""
        rows, columns = other.top, other.left
        return _Box(self.top - rows, self.left - columns, self.bottom - rows, self.right - columns)

    def of(self, stride: int) -> tuple[EllipsisType, slice, slice]:
        """Return what cuts the box out of maps (N, C, H, W) with a stride."""
        rows = slice(self.top // stride, self.bottom // stride)
        return ..., rows, slice(self.left // stride, self.right // stride)


def _tiles(size: Sequence[int], tile: int, reach: int) -> Iterator[tuple[_Box, _Box]]:
    """Yield the boxes that make up a picture, each with the box that it depends on."""
    height, width = size
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            around = _Box(
                max(0, top - reach),
                max(0, left - reach),
                min(height, bottom + reach),
                min(width, right + reach),
            )
            yield _Box(top, left, bottom, right), around


def style_of(maps: Mapping[str, Tensor], eps: float = STYLE_EPS) -> Style:
    """Return the statistics of maps, (N, C) for each tap; ``eps`` is added to each variance."""
    found = {tap: kernels.moments(features, eps) for tap, features in maps.items()}
    return Style({t: m for t, (m, _) in found.items()}, {t: s for t, (_, s) in found.items()})


def steering_of(content: Style, style: Style, alpha: float, shape: Shape) -> Tensor | None:
    """Return the statistics that a result is to have, (N, :attr:`Shape.steering`), or None.

    Args:
        content, style: what a photo has by itself, and a style; alpha lies between them.
        alpha: in [0, 1].
        shape: of the decoder, which may be steered by none.
    """
    if not shape.steered_by:
        return None
    sides = ((content.means, style.means), (content.stds, style.stds))
    return torch.cat(
        [
            torch.lerp(own[tap], other[tap].expand_as(own[tap]), alpha)
            for own, other in sides
            for tap in shape.steered_by
        ],
        dim=1,
    )


def _restyled(features: Tensor, own: Style, style: Style, tap: str, alpha: float) -> Tensor:
    """Compute :func:`nstlib.kernels.adain` with statistics that are known already."""
    mean, std = own.means[tap], own.stds[tap]
    gain = torch.lerp(std, style.stds[tap], alpha)
    return renormalized_exactly(
        features, mean, std, gain, torch.lerp(mean, style.means[tap], alpha)
    )


def _is_large(image: Tensor) -> bool:
    return len(image) * image.shape[2] * image.shape[3] > LARGEST_WHOLE


def _in_whole_strides(image: Tensor, stride: int) -> Tensor:
    """Repeat the last row and column until the stride divides the size, and there is a mirror."""
    # A mirrored border of 8 px needs 9 px, and that of one step in the smallest map two steps.
    smallest = max(9, 2 * stride)
    more_height, more_width = (
        math.ceil(max(side, smallest) / stride) * stride - side for side in image.shape[2:]
    )
    if not more_height and not more_width:
        return image
    return F.pad(image, (0, more_width, 0, more_height), mode="replicate")


# ----------------------------------------------------------------------------------------- files


def load_adain(
    source: str | Path = "adain",
    encoder: Encoder | None = None,
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "auto",
) -> AdaIN:
    """Return a trained model, ready to stylise.

    Args:
        source: ``"adain"``, the decoder that ships; a file that ``nst train adain`` wrote; or the
            ``decoder.pth`` of AdaIN's port to PyTorch, with its own encoder:
            ``load_adain("decoder.pth", load_encoder("vgg19", weights="vgg_normalised.pth"))``.
        encoder: for which it was trained, where that does not ship.
        device: where it computes.
        precision: what its convolutions compute in; ``"auto"`` is the faster on that device.

    Raises:
        WeightsError: no such file, or none of such a decoder.
        ValueError: no encoder, or one of another shape, for a decoder that does not say its own.
    """
    path = Path(source)
    if source == "adain":
        path = config.data_dir() / "weights" / "adain.safetensors"
    state, facts = read_weights(path)
    is_of_port = "1.weight" in state
    try:
        if is_of_port:
            state, facts = _from_adain_port(state)
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in facts["shape"].items()}
        decoder = Decoder(**fields)
        decoder.load_state_dict({name: value.float() for name, value in state.items()})
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise WeightsError(f"{path}: is no decoder of ours: {what}") from error
    if is_of_port and not (encoder and encoder.mirrors):
        raise ValueError(
            f"encoder is {encoder and encoder.name!r}; {path.name} takes the one that it was trained "
            'with: load_encoder("vgg19", weights="vgg_normalised.pth")'
        )
    identity = facts.get("encoder")  # of the one that it was trained for, if the file says so
    if encoder is None:
        encoder = _encoder_of(identity, path) if identity else load_encoder("slim")
    if identity and encoder.identity != identity:
        raise WeightsError(
            f"{path}: was trained with the encoder {identity}; the one here is {encoder.identity}"
        )
    place = config.pick_device(device)
    model = (
        AdaIN(copy.deepcopy(encoder), decoder)
        .to(place)
        .in_dtype(config.pick_dtype(precision, place))
    )
    return model.requires_grad_(False).eval()


def _encoder_of(identity: dict[str, str], path: Path) -> Encoder:
    try:
        options: Any = {"pooling": identity["pooling"], "padding": identity["padding"]}
        return load_encoder(identity["name"], **options)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"encoder is None; {path} was trained with {identity}, which does not ship"
        ) from error


def _from_adain_port(theirs: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights of the port's ``decoder.pth`` under our names, and the shape they are of.

    It is a mirror of VGG-19 to relu4_1, as ours are: for each layer a padding by reflection, the
    convolution and a ReLU, and after the last of a block an upsampling.
    """
    layers = [layer for layer, _ in conv_names()][:9]
    indices = {layer: 1 + 3 * i + 4 - block_of(layer) for i, layer in enumerate(reversed(layers))}
    names = {
        f"{index}.{part}": f"convs.{layer}.{part}"
        for layer, index in indices.items()
        for part in ("weight", "bias")
    }
    widths = [theirs[f"{indices[layer]}.weight"].shape[1] for layer in layers]
    shape = {"widths": widths, "tap": "relu4_1", "output": "clamp"}
    return {names.get(name, name): value for name, value in theirs.items()}, {"shape": shape}
