r"""Fast style nets: one pass of a small network does what Gatys' method needs hundreds of steps for.

The network shrinks the photo, works on the small maps, and grows them back. What makes it a *style*
net is how it was trained (:mod:`nstlib.training`), and its instance norms: after each convolution
every channel is brought to mean 0 and spread 1, picture by picture, then given the spread γ and the
mean β that the style asks for.

So a style is a list of γ and β, and all else can be shared. This file goes two steps further:

* **several styles in one net**: a table with one row of γ and β a style. A mixture of styles is the
  weighted mean of their rows.
* **a dial for the style weight**: each row stands at several places of the dial, and between two of
  them γ and β lie on a straight line over log(style weight).

.. math:: \gamma = \sum_k m_k \sum_j h_j(\log w)\,\gamma_{kj}, \qquad \sum_k m_k = \sum_j h_j = 1

Reference:
    Johnson, Alahi & Fei-Fei, Perceptual Losses for Real-Time Style Transfer, 2016 (the network);
    Ulyanov, Vedaldi & Lempitsky, Instance Normalization, 2016; Odena, Dumoulin & Olah,
    Deconvolution and Checkerboard Artifacts, 2016 (nearest upsampling); Dumoulin, Shlens & Kudlur,
    A Learned Representation for Artistic Style, 2017 (a row a style); Babaeizadeh & Ghiasi,
    Adjustable Real-time Style Transfer, 2018 (the dial).
"""

from __future__ import annotations

import copy
import itertools
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import config, kernels
from nstlib.config import Precision, Range
from nstlib.errors import WeightsError
from nstlib.images import check_image
from nstlib.kernels.arguments import float32_at_least
from nstlib.layers import Conv, TransposedConv, UpsampledConv
from nstlib.losses import mixing_table
from nstlib.memory import memory_for, reused_memory
from nstlib.weights import read_weights

Norm = Literal["instance", "batch"]
Upsample = Literal["nearest", "transposed"]
Output = Literal["sigmoid", "tanh", "clamp"]

BASE_CHANNELS = 32  # of the stem in the paper's width; each stride-2 convolution doubles them


@dataclass(frozen=True)
class Shape:
    """What a net is made of; it goes into the file of its weights.

    Raises:
        ValueError, TypeError: a value that no net can have.

    Example:
        >>> Shape(width=0.5).channels, TEXTBOOK.channels
        ((16, 32, 64), (32, 64))
    """

    width: float = 1.0  # of the paper's channels: 32, 64 and 128
    downsamplings: Annotated[int, Range(0, 6, "convolutions of stride 2")] = 2
    blocks: Annotated[int, Range(0, 100, "residual blocks")] = 5
    norm: Norm = "instance"
    upsample: Upsample = "nearest"
    output: Output = "sigmoid"  # (tanh + 1) / 2 and clamp are the others: all end in [0, 1]
    kernels: tuple[int, int] = (9, 9)  # px: of the first and the last convolution
    margin: int = 0  # px painted around the picture and cut off: strokes are dull along a border
    styles: tuple[str, ...] = ()  # names of the rows of γ and β; without, one row and no name
    dial: tuple[float, ...] = ()  # style weights at which the rows stand; without, none to turn

    def __post_init__(self) -> None:
        if isinstance(self.styles, str):
            raise TypeError(f"styles is the string {self.styles!r}; it takes a tuple of names")
        config.check_fields(self)
        if not 0 < self.width < 100:
            raise ValueError(f"width is {self.width}; it must lie between 0 and 100")
        if min(self.channels) < 1:
            raise ValueError(f"width is {self.width}; a net has a channel at least")
        if self.margin < 0 or self.margin % self.stride:
            raise ValueError(
                f"margin is {self.margin}; it takes a multiple of the strides' {self.stride} px"
            )
        if len(self.kernels) != 2 or any(
            not isinstance(size, int) or size not in range(1, 100, 2) for size in self.kernels
        ):
            raise ValueError(f"kernels is {self.kernels}; it takes two odd sizes of up to 99 px")
        if len(set(self.styles)) < len(self.styles):
            raise ValueError(f"styles is {self.styles}; each name may stand there once")
        if any(not 0 < w < math.inf for w in self.dial) or sorted(set(self.dial)) != list(
            self.dial
        ):
            raise ValueError(f"dial is {self.dial}; it takes style weights above 0, rising")
        if self.norm == "batch" and (self.styles or self.dial):
            raise ValueError("norm is 'batch'; styles and a dial need norm 'instance'")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the stem, and after each stride-2 convolution."""
        return tuple(
            round(BASE_CHANNELS * self.width * 2**i) for i in range(self.downsamplings + 1)
        )

    @property
    def stride(self) -> int:
        """How many pixels of the picture one step in the innermost map covers."""
        return int(2**self.downsamplings)


# The smaller form that many courses teach.
TEXTBOOK = Shape(downsamplings=1, output="tanh")


class ConditionalNorm(nn.Module):
    r"""Normalise, then give each channel the γ and β of a mixture of table rows.

    .. math:: y = \gamma\,\frac{x - \mu}{\sigma} + \beta, \qquad \gamma = \sum_r c_r \gamma_r

    Args:
        channels: of the maps.
        rows: of the table, one for each style and place of the dial.
        norm: ``"instance"`` takes μ and σ from each picture alone; ``"batch"`` from all pictures of
            a batch, and in eval mode from running means of the training.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, rows: int = 1, norm: Norm = "instance") -> None:
        super().__init__()
        self.norm = norm
        self.weight = nn.Parameter(torch.ones(rows, channels))
        self.bias = nn.Parameter(torch.zeros(rows, channels))
        if norm == "batch":
            self.register_buffer("running_mean", torch.zeros(channels))
            self.register_buffer("running_var", torch.ones(channels))

    def forward(
        self,
        features: Tensor,
        condition: Tensor,
        relu: bool = False,
        residual: Tensor | None = None,
    ) -> Tensor:
        """Return maps of the features' shape; ``condition`` (N, rows) mixes the table's rows."""
        if self.norm == "batch":
            return self._batch_norm(features, relu, residual)
        # Sums of products, not a matrix product, which autocast would round to bfloat16: (N, C).
        weight, bias = (
            (condition[:, :, None] * rows).sum(dim=1) for rows in (self.weight, self.bias)
        )
        return kernels.instance_norm(features, weight, bias, residual, relu)

    def _batch_norm(self, features: Tensor, relu: bool, residual: Tensor | None) -> Tensor:
        out = F.batch_norm(
            features,
            self.running_mean,
            self.running_var,
            self.weight[0],
            self.bias[0],
            training=self.training,
        )
        out = F.relu(out) if relu else out
        return out if residual is None else out + residual


class Residual(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, channels: int, rows: int, norm: Norm) -> None:
        super().__init__()
        self.conv1, self.norm1 = Conv(channels, channels, 3), ConditionalNorm(channels, rows, norm)
        self.conv2, self.norm2 = Conv(channels, channels, 3), ConditionalNorm(channels, rows, norm)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Return maps of the features' shape."""
        inner = self.norm1(self.conv1(features), condition, relu=True)
        out: Tensor = self.norm2(self.conv2(inner), condition, residual=features)
        return out


class TransformNet(nn.Module):
    """A net that paints any photo in the styles that it was trained for, in one pass.

    Args:
        **fields: what it is made of: the fields of :class:`Shape`, by name.

    Example:
        >>> net = TransformNet(width=0.25, styles=("vortex", "mosaic"), dial=(1, 100))
        >>> photo = torch.rand(1, 3, 37, 50)
        >>> tuple(net(photo, net.condition({"vortex": 0.3, "mosaic": 0.7}, style_weight=10)).shape)
        (1, 3, 37, 50)
    """

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.shape = shape = Shape(**fields)
        channels, norm = shape.channels, shape.norm
        rows = max(1, len(shape.styles)) * max(1, len(shape.dial))
        steps = list(itertools.pairwise(channels))  # fewer and more channels
        self.stem = Conv(3, channels[0], shape.kernels[0])
        self.down = nn.ModuleList(Conv(few, many, 3, stride=2) for few, many in steps)
        self.residuals = nn.ModuleList(
            Residual(channels[-1], rows, norm) for _ in range(shape.blocks)
        )
        upsampled = UpsampledConv if shape.upsample == "nearest" else TransposedConv
        self.up = nn.ModuleList(upsampled(many, few) for few, many in reversed(steps))
        self.head = Conv(channels[0], 3, shape.kernels[1], bias=True)
        self.norms = nn.ModuleList(
            ConditionalNorm(count, rows, norm) for count in (*channels, *channels[-2::-1])
        )
        self.to(memory_format=torch.channels_last)

    @property
    def dtype(self) -> torch.dtype:
        """What the convolutions compute in."""
        return self.stem.weight.dtype

    def in_dtype(self, dtype: torch.dtype) -> Self:
        """Return this net with convolutions that compute in ``dtype``: itself, or a copy."""
        if dtype == self.dtype:
            return self
        twin = copy.deepcopy(self)
        for part in twin.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                part.to(dtype)  # γ and β stay: the norms work in float32
        return twin

    @torch.no_grad()
    def stylize(
        self,
        content: Tensor,
        style: str | Sequence[str] | Mapping[str, float] | None = None,
        *,
        weights: Sequence[float] | Tensor | None = None,
        style_weight: float | None = None,
    ) -> Tensor:
        """Return ``content`` (N, 3, H, W) in a style or a mixture: the same size, on its own device.

        Args:
            content: in [0, 1]; one for all mixtures, or one for each.
            style, weights, style_weight: see :meth:`condition`.

        Raises:
            TypeError, ValueError: no such picture, style or style weight.
            MemoryError: the picture is too large for what is free; the message says what fits.

        Example:
            >>> net = load_net("fast")
            >>> tuple(net.stylize(torch.rand(1, 3, 45, 31), "vortex", style_weight=10).shape)
            (1, 3, 45, 31)
        """
        check_image("content", content, batch=True)
        condition = self.condition(style, style_weight, weights)
        place = self.head.weight.device
        count, (height, width) = max(len(content), len(condition)), content.shape[2:]
        if not {len(content), len(condition)} <= {1, count}:
            raise ValueError(
                f"content has {len(content)} images, and weights {len(condition)} mixtures; it takes "
                "1 of one kind, or as many of both"
            )
        content = content.expand(count, -1, -1, -1)
        needed = count * memory_needed(self, (height, width))
        was_training = self.training
        try:
            with memory_for("content", (height, width), needed, place), reused_memory():
                painted: Tensor = self.eval()(content.to(place), condition.to(place))
        finally:
            self.train(was_training)
        return painted.to(content.device)

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return pictures of exactly the size of ``image`` (N, 3, H, W), in [0, 1], in float32.

        (In float64 where the net itself is: ``net.double()``.)

        Args:
            image: in [0, 1].
            condition: from :meth:`condition`, (1, rows) or (N, rows); without, the first row.
        """
        height, width = image.shape[2:]
        if condition is None:
            condition = self.condition()
        condition = condition.to(image.device).expand(len(image), -1)
        features = image.to(self.dtype, memory_format=torch.channels_last)
        features = _with_margin(features, self.shape)
        norms = iter(self.norms)
        for conv in (self.stem, *self.down):
            features = next(norms)(conv(features), condition, relu=True)
        for block in self.residuals:
            features = block(features, condition)
        for conv in self.up:
            features = next(norms)(conv(features), condition, relu=True)
        margin = self.shape.margin
        painted = self.head(features)[:, :, margin : margin + height, margin : margin + width]
        painted = float32_at_least(painted)
        if self.shape.output == "clamp":
            return painted.clamp(0, 1)
        return torch.sigmoid(painted if self.shape.output == "sigmoid" else 2 * painted)

    def condition(
        self,
        style: str | Sequence[str] | Mapping[str, float] | None = None,
        style_weight: float | None = None,
        weights: Sequence[float] | Tensor | None = None,
    ) -> Tensor:
        """Return (N, rows): how much of each row of the norms' tables to take, for N mixtures.

        Args:
            style: a name of ``shape.styles``, several, or names with their weights; without, the
                first.
            style_weight: the place of the dial, within ``shape.dial``; without, its upper end.
            weights: of several styles, divided by their sum; or a table (N, K), a row a mixture.

        Raises:
            TypeError, ValueError: a style that the net lacks, or a style weight off the dial.
        """
        mixtures, position = self._mixtures(style, weights), self._position(style_weight)
        return torch.einsum("ns,d->nsd", mixtures, position).flatten(1)

    def _mixtures(
        self,
        style: str | Sequence[str] | Mapping[str, float] | None,
        weights: Sequence[float] | Tensor | None,
    ) -> Tensor:
        """Return (N, styles): the shares of each style, for each mixture."""
        known = self.shape.styles
        if isinstance(style, Mapping):
            if weights is not None:
                raise ValueError(f"weights is {weights!r}, and style has weights by name; give one")
            weights = list(style.values())
        names = [style] if isinstance(style, str) else list(style or known[:1])
        unknown = [name for name in names if name not in known]
        if unknown:
            has = ", ".join(known) or "none by name"
            raise ValueError(f"style is {', '.join(map(repr, unknown))}; the net has: {has}")
        if not names:
            return torch.ones(1, 1)
        table = mixing_table(weights, len(names))
        mixtures = torch.zeros(len(table), len(known))
        return mixtures.index_add(1, torch.tensor([known.index(name) for name in names]), table)

    def _position(self, style_weight: float | None) -> Tensor:
        dial = self.shape.dial
        if not dial:
            if style_weight is not None:
                raise ValueError(f"style_weight is {style_weight}; the net has no dial")
            return torch.ones(1)
        value = dial[-1] if style_weight is None else style_weight
        if not isinstance(value, numbers.Real):
            raise TypeError(f"style_weight is {value!r}; it must be a number")
        if not dial[0] <= value <= dial[-1]:
            raise ValueError(
                f"style_weight is {value}; the net's dial goes from {dial[0]:g} to {dial[-1]:g}"
            )
        return dial_position(torch.tensor([value]), dial)[0]


def dial_position(style_weight: Tensor, dial: Sequence[float]) -> Tensor:
    """Return (N, J): how near each of N style weights is to each of J places, along log(weight).

    A row sums to 1, and at most two neighbours of it are above 0.

    Example:
        >>> dial_position(torch.tensor([1.0, 10.0, 31.6227766]), (1, 10, 100))
        tensor([[1.0000, 0.0000, 0.0000],
                [0.0000, 1.0000, 0.0000],
                [0.0000, 0.5000, 0.5000]])
    """
    logs = style_weight.double().log()
    places = torch.tensor([math.log(place) for place in dial], dtype=torch.float64)
    corners = torch.eye(len(dial), dtype=torch.float64)
    if len(dial) == 1:
        return corners.float().expand(len(logs), 1)
    right = torch.searchsorted(places, logs).clamp(1, len(dial) - 1)
    left = right - 1
    share = ((logs - places[left]) / (places[right] - places[left])).clamp(0, 1)
    return torch.lerp(corners[left], corners[right], share[:, None]).float()


def memory_needed(net: TransformNet, size: tuple[int, int]) -> int:
    """Return about how many bytes a pass takes at ``size`` (height, width), weights left out.

    Most is alive at full size, at the first convolution and around the last: a map, what comes of
    it, and a copy with a border.

    Example:
        >>> net = TransformNet(width=0.5)
        >>> memory_needed(net, (512, 512)) == 4 * memory_needed(net, (256, 256))
        True
    """
    pixels = size[0] * size[1]
    bytes_each = torch.finfo(net.dtype).bits // 8
    return pixels * (4 * net.shape.channels[0] * bytes_each + 4 * 3 * 4)


# ----------------------------------------------------------------------------------------- files


def load_net(
    source: str | Path = "fast",
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "auto",
) -> TransformNet:
    """Return a trained net, ready to stylise.

    Args:
        source: ``"fast"``, the net that ships; a ``.safetensors`` file that ``nst train fast``
            wrote; or a ``.pth``, ``.pt`` or ``.model`` file in the layout of PyTorch's own
            fast-neural-style example.
        device: where it computes.
        precision: what its convolutions compute in; ``"auto"`` is the faster on that device.

    Raises:
        WeightsError: no such file, or none of such a net.

    Example:
        >>> net = load_net("fast")
        >>> len(net.shape.styles) >= 8, net.shape.dial[-1] > net.shape.dial[0]
        (True, True)
    """
    path = Path(source)
    if source == "fast":
        path = config.data_dir() / "weights" / "fast.safetensors"
    state, facts = read_weights(path)
    try:
        if "conv1.conv2d.weight" in state:
            net = TransformNet(output="clamp")
            state = _from_pytorch_example(state)
        else:
            net = TransformNet(**{k: _tupled(v) for k, v in facts["shape"].items()})
        net.load_state_dict({name: value.float() for name, value in state.items()})
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise WeightsError(f"{path}: is no fast style net: {what}") from error
    place = config.pick_device(device)
    net = net.to(place).in_dtype(config.pick_dtype(precision, place))
    return net.requires_grad_(False).eval()


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _from_pytorch_example(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of PyTorch's example under our names, for pictures in [0, 1].

    Its pictures go from 0 to 255, so its first weights are multiplied by 255 and its last divided.
    The biases before a norm, and the running means that old files hold, have no effect: left out.
    """
    convs = {"conv1": "stem", "conv2": "down.0", "conv3": "down.1"}
    convs |= {f"res{i + 1}.conv{j}": f"residuals.{i}.conv{j}" for i in range(5) for j in (1, 2)}
    convs |= {"deconv1": "up.0", "deconv2": "up.1", "deconv3": "head"}
    norms = {f"in{i + 1}": f"norms.{i}" for i in range(5)}
    norms |= {f"res{i + 1}.in{j}": f"residuals.{i}.norm{j}" for i in range(5) for j in (1, 2)}
    state = {f"{ours}.weight": theirs[f"{name}.conv2d.weight"] for name, ours in convs.items()}
    state["stem.weight"] = 255 * state["stem.weight"]
    state["head.weight"] = state["head.weight"] / 255
    state["head.bias"] = theirs["deconv3.conv2d.bias"] / 255
    for name, ours in norms.items():
        for part in ("weight", "bias"):
            state[f"{ours}.{part}"] = theirs[f"{name}.{part}"][None]  # (1, C): a table of one row
    return state


# --------------------------------------------------------------------------------------- helpers


def _with_margin(image: Tensor, shape: Shape) -> Tensor:
    """Repeat the last row and column until the strides divide the size, then mirror the margin."""
    height, width = image.shape[2:]
    stride, margin = shape.stride, shape.margin
    # A mirror of n px needs n + 1: of the first and last convolution here, of 1 px in the middle.
    smallest = max(2 * stride, max(shape.kernels) // 2 + 1, margin + 1)
    more_height, more_width = (
        -(-max(smallest, side) // stride) * stride - side for side in (height, width)
    )
    if more_height or more_width:
        image = F.pad(image, (0, more_width, 0, more_height), mode="replicate")
    return F.pad(image, (margin,) * 4, mode="reflect") if margin else image
