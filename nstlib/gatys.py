r"""Style transfer by optimisation: the pixels of one picture are the unknowns.

.. math:: L(x) = w_c \sum_l a_l\,L^c_l(x) + w_s \sum_l b_l\,L^s_l(x) + w_{tv}\,TV(x)

The picture x starts as the content (or as noise) and follows the gradient of L, through an encoder
that stays as it is. The run is an iterator of :class:`Step`: progress bars, notebooks, widgets and
tests all read that one stream, and stopping is ``break``.

Beyond the paper, two things that make pictures better: a *ladder* of sizes, from small to large in
steps of √2, so that broad strokes are laid before fine ones; and the *average* of the last
iterates, which is smoother than any of them. Both were shown to work by Katherine Crowson's
style-transfer-pytorch; here, the optimiser's moments are also rescaled from rung to rung.

Reference:
    Gatys, Ecker & Bethge, Image Style Transfer Using Convolutional Neural Networks, 2016.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import config, kernels, losses
from nstlib.config import Precision, Range
from nstlib.encoders import Encoder, check_taps, load_encoder
from nstlib.errors import DivergenceError
from nstlib.images import check_image, resize
from nstlib.losses import Taps
from nstlib.memory import check_memory, memory_for, reused_memory

FIRST_MOVE = 0.01  # how far L-BFGS first looks along the gradient, a mean over the pixels
Init = Literal["content", "noise"]  # what a run begins with, where that is no picture
SMALLEST_RUNG = 32  # px: below it the deepest maps are too small to carry a style


@dataclass
class Settings:
    """Every knob of a run. Command-line flags and sliders take names, ranges and defaults from here.

    ``content_weight``, ``style_weight``, ``tv_weight`` and ``learning_rate`` may be moved during a
    run: they act from the next step; the others are read once, at its start. With
    ``normalize="energy"`` they mean the same on every encoder and size. L-BFGS finds its own step
    sizes: ``learning_rate``, ``decay_…``, ``beta2`` and ``clamp`` are Adam's.

    Raises:
        ValueError: a value outside its range, or an unknown choice.
        TypeError: a value that is no number where one is wanted.

    Example:
        >>> Settings(style_weight=-1)
        Traceback (most recent call last):
        ...
        ValueError: style_weight is -1; it must lie in [0, 1e+12]
    """

    content_weight: Annotated[float, Range(0, 1e6, "pull towards the photo", log=True)] = 1.0
    style_weight: Annotated[float, Range(0, 1e12, "pull towards the style", log=True)] = 100.0
    tv_weight: Annotated[float, Range(0, 1e6, "smoothness between neighbours", log=True)] = 0.5
    content_taps: Taps = ("relu3_3",)  # names share a weight of 1; a mapping gives each its own
    style_taps: Taps = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
    weights: Sequence[float] | None = None  # of several styles; divided by their sum
    init: Init | Tensor = "content"
    optimizer: Literal["adam", "lbfgs"] = "adam"
    steps: Annotated[int, Range(1, 1_000_000, "optimiser steps, over all rungs")] = 200
    learning_rate: Annotated[float, Range(1e-6, 10, "step size of the optimiser", log=True)] = 0.03
    decay_factor: Annotated[float, Range(0, 1, "learning rate is multiplied by this")] = 1.0
    decay_every: Annotated[int, Range(1, 1_000_000, "… every so many steps")] = 50
    beta2: Annotated[float, Range(0, 0.9999, "memory of Adam's step sizes")] = 0.99
    ladder: Annotated[int, Range(1, 16, "sizes to climb, each √2 larger")] = 1
    average: Annotated[float, Range(0, 0.9999, "memory of the averaged picture; 0 is off")] = 0.0
    style_scale: Annotated[float, Range(0.05, 20, "size of the style, so of the strokes")] = 1.0
    tv_power: Literal[1, 2] = 1
    normalize: losses.Normalize = "energy"
    space: Literal["pixels", "normalized"] = "pixels"  # which numbers are optimised, and smoothed
    clamp: bool = True  # Adam only: keep the picture in [0, 1] at every step
    precision: Precision = "auto"
    device: str = "auto"
    seed: Annotated[int, Range(0, 2**63 - 1, "of the noise")] = 0

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError where a value is none that its setting takes."""
        config.check_fields(self)
        if not isinstance(self.init, Tensor):
            config.check_choice("init", self.init, get_args(Init), " or a picture (1, 3, H, W)")
        if not isinstance(self.device, str):
            raise TypeError(f"device is {self.device!r}; it takes a name such as 'auto' or 'cpu'")
        if self.weights is not None:
            losses.check_weights(self.weights)
        losses.tap_weights("content_taps", self.content_taps)
        losses.tap_weights("style_taps", self.style_taps)
        if self.normalize == "sum" and self.ladder > 1:
            raise ValueError(
                "ladder is above 1 with normalize 'sum'; that content loss grows with the size, so "
                "its weight and Adam's memory would mean something else on each: 'hw' does not grow"
            )
        if self.optimizer == "lbfgs" and self.ladder > 1:
            raise ValueError("ladder is above 1 with optimizer 'lbfgs'; its history fits one size")
        if self.ladder > self.steps:
            raise ValueError(
                f"ladder is {self.ladder} and steps is {self.steps}; each size takes a step at least"
            )


RANGES = config.ranges_of(Settings)
# What may be moved while a run is under way.
LIVE = ("content_weight", "style_weight", "tv_weight", "learning_rate")

# The recipes of widely read sources, as they stand there. Both need VGG-19 down to its fifth block.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # What the command line starts from: broad strokes first, and the mean of the last pictures.
    "picture": {"ladder": 3, "average": 0.9, "style_weight": 50.0},
    # Dive into Deep Learning, section 14.12. Its code takes index 25, conv4_4; its slides say conv4_2.
    "d2l": {
        "content_taps": {"conv4_4": 1.0},
        "style_taps": {f"conv{block}_1": 1.0 for block in range(1, 6)},
        "content_weight": 1.0,
        "style_weight": 1e4,
        "tv_weight": 5.0,  # 10 times half the sum of the mean absolute differences
        "learning_rate": 0.9,
        "decay_factor": 0.8,
        "decay_every": 50,
        "beta2": 0.999,
        "steps": 500,
        "normalize": "chw",
        "space": "normalized",
        "clamp": False,
    },
    # The textbook form: five ReLUs of VGG-19, Adam at 0.01.
    "core": {
        "content_taps": {"relu4_4": 1.0},
        "style_taps": dict.fromkeys(("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4"), 1.0),
        "content_weight": 1.0,
        "style_weight": 1e6,
        "tv_weight": 0.0,
        "learning_rate": 0.01,
        "beta2": 0.999,
        "steps": 300,
        "normalize": "chw",
    },
}


def preset(name: str = "default", **changes: Any) -> Settings:
    """Return named settings, with ``changes`` made to them.

    Example:
        >>> preset("d2l", steps=20).content_taps
        {'conv4_4': 1.0}
    """
    if name not in PRESETS:
        raise ValueError(f"preset is {name!r}; it takes {', '.join(map(repr, PRESETS))}")
    return changed(Settings(**PRESETS[name]), changes)


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return a copy of ``settings`` with ``changes``, or raise TypeError for a name it lacks."""
    known = [item.name for item in dataclasses.fields(Settings)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise TypeError(f"no setting is called {', '.join(unknown)}; there are: {', '.join(known)}")
    return dataclasses.replace(settings, **changes)


@dataclass(frozen=True)
class Step:
    """One step of a run, as everybody who watches sees it.

    ``losses`` has the bare terms ``content``, ``style`` and ``tv``; ``weighted`` the same times
    their weights, and their ``total``; ``layers`` the style loss of each tap. They are those of the
    picture *before* the step; ``image`` is the picture after it.
    """

    index: int  # 1 is the first
    steps: int  # of the whole run
    image: Tensor  # (1, 3, H, W) in [0, 1], of the rung's size
    losses: Mapping[str, float]
    weighted: Mapping[str, float]
    layers: Mapping[str, float]
    evaluations: int  # of the loss and its gradient, since the start: L-BFGS takes several a step
    seconds: float  # since the start


class PixelDivergenceError(DivergenceError):
    """The loss, or the picture, is no longer finite; ``image`` is the last good picture."""

    def __init__(self, message: str, image: Tensor) -> None:
        super().__init__(message)
        self.image = image


def optimize(
    content: Tensor,
    style: Tensor | Sequence[Tensor] | None,
    encoder: str | Encoder = "slim",
    settings: Settings | None = None,
    **changes: Any,
) -> Iterator[Step]:
    """Start a run, and return the iterator that does a step each time it is asked for one.

    Args:
        content: the photo ``(1, 3, H, W)`` in [0, 1]; the result has exactly its size.
        style: the style picture of any size, or several, or None for no style term.
        encoder: a name for :func:`~nstlib.encoders.load_encoder`, or an encoder.
        settings, changes: the knobs of :class:`Settings`, e.g. ``steps=100``.

    Raises:
        ValueError, TypeError: an argument is not what it must be.
        MemoryError: the picture is too large for this machine; says what would fit.
        PixelDivergenceError: while running, the loss or the picture is no longer finite.

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> photo, painting = torch.rand(1, 3, 48, 64), torch.rand(1, 3, 40, 40)
        >>> for step in optimize(photo, painting, random_encoder(), steps=3):
        ...     print(step.index, tuple(step.image.shape), step.evaluations)
        1 (1, 3, 48, 64) 1
        2 (1, 3, 48, 64) 2
        3 (1, 3, 48, 64) 3
    """
    # The caller's own object is kept where it can be, so that moving its weights acts on the run.
    settings = changed(settings or Settings(), changes) if changes or not settings else settings
    settings.check()
    styles = [] if style is None else [style] if isinstance(style, Tensor) else list(style)
    for name, picture in [("content", content), *(("style", picture) for picture in styles)]:
        check_image(name, picture)
    if isinstance(settings.init, Tensor):
        check_image("init", settings.init)
        if settings.init.shape != content.shape:
            raise ValueError(
                f"init has shape {tuple(settings.init.shape)}; the content's is "
                f"{tuple(content.shape)}"
            )
    if styles:
        losses.mixing_weights(settings.weights, len(styles))
    sizes = _rung_sizes(content, settings.ladder)
    device = config.pick_device(settings.device)
    # L-BFGS measures curvature as differences of gradients, which bfloat16's rounding would drown.
    exact = settings.optimizer == "lbfgs" and settings.precision == "auto"
    dtype = torch.float32 if exact else config.pick_dtype(settings.precision, device)
    found = load_encoder(encoder) if isinstance(encoder, str) else encoder
    found = _on(device, found.in_dtype(dtype))
    content_taps = list(losses.tap_weights("content_taps", settings.content_taps))
    style_taps = list(losses.tap_weights("style_taps", settings.style_taps)) if styles else []
    check_taps(found, content_taps, "content_taps")
    check_taps(found, style_taps, "style_taps")
    _check_size("content", sizes[0], found, [*content_taps, *style_taps])
    needed = memory_needed(found, content_taps + style_taps, sizes[-1])
    room = memory_for("content", sizes[-1], needed, device)  # which the steps will take
    check_memory("content", sizes[-1], needed, device)
    for picture in styles:
        smallest, largest = (
            _scaled_size(picture, settings.style_scale * size[0] / sizes[-1][0])
            for size in (sizes[0], sizes[-1])
        )
        _check_size("style", smallest, found, style_taps)
        needed = len(styles) * encoding_memory_needed(found, style_taps, largest)
        check_memory("style", largest, needed, device)
    # A copy for what is read once; what may be moved is read from the caller's own object.
    run = _climb(content, styles, found, settings, dataclasses.replace(settings), sizes, device)
    return _within(room, run, device)


def _within(
    room: AbstractContextManager[None], run: Iterator[Step], device: torch.device
) -> Iterator[Step]:
    with room, reused_memory() if device.type == "cpu" else nullcontext():
        yield from run


def stylize(
    content: Tensor,
    style: Tensor | Sequence[Tensor] | None,
    encoder: str | Encoder = "slim",
    settings: Settings | None = None,
    **changes: Any,
) -> Tensor:
    """Run :func:`optimize` to its end and return the last picture, ``(1, 3, H, W)`` in [0, 1].

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> photo = torch.rand(1, 3, 33, 47)
        >>> stylize(photo, photo.flip(3), random_encoder(), steps=2).shape
        torch.Size([1, 3, 33, 47])
    """
    for step in optimize(content, style, encoder, settings, **changes):
        image = step.image
    return image


class Objective(nn.Module):
    """The three losses of a picture, at one size; their targets are computed once, here."""

    def __init__(
        self, encoder: Encoder, content: Tensor, styles: Sequence[Tensor], settings: Settings
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.content_taps = losses.tap_weights("content_taps", settings.content_taps)
        self.style_taps = losses.tap_weights("style_taps", settings.style_taps) if styles else {}
        self.taps = list(dict.fromkeys([*self.content_taps, *self.style_taps]))
        with torch.no_grad():
            content_maps = encoder(content, list(self.content_taps))
            style_maps = [encoder(style, list(self.style_taps)) for style in styles]
        self.content_losses = nn.ModuleDict(
            {
                tap: losses.ContentLoss(content_maps[tap], settings.normalize)
                for tap in self.content_taps
            }
        )
        self.style_losses = nn.ModuleDict(
            {
                tap: losses.GramLoss(
                    [maps[tap] for maps in style_maps], settings.normalize, settings.weights
                )
                for tap in self.style_taps
            }
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the content loss, the style loss, and the style loss of each layer."""
        maps = self.encoder(image, self.taps)
        zero = image.new_zeros(())
        layers = {tap: self.style_losses[tap](maps[tap]) for tap in self.style_taps}
        content = sum(
            (w * self.content_losses[t](maps[t]) for t, w in self.content_taps.items()), zero
        )
        style = sum((w * layers[tap] for tap, w in self.style_taps.items()), zero)
        return content, style, layers


class _Canvas:
    """The numbers that are optimised, as a picture: pixels, or pixels in ImageNet's normalisation."""

    def __init__(self, image: Tensor, encoder: Encoder, space: str) -> None:
        normalized = space == "normalized"
        self.mean = encoder.mean.float() if normalized else torch.zeros_like(encoder.mean).float()
        self.std = encoder.std.float() if normalized else torch.ones_like(encoder.std).float()
        self.values = nn.Parameter((image - self.mean) / self.std)

    def image(self) -> Tensor:
        """The picture, as the encoder wants it."""
        return self.values * self.std + self.mean

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring the picture back into [0, 1]."""
        self.values.copy_((self.image().clamp(0, 1) - self.mean) / self.std)


def _climb(
    content: Tensor,
    styles: Sequence[Tensor],
    encoder: Encoder,
    live: Settings,
    settings: Settings,
    sizes: Sequence[tuple[int, int]],
    device: torch.device,
) -> Iterator[Step]:
    """Run the rungs, each from where the last one ended; ``live`` is what the caller may move."""
    started, evaluations, done = time.perf_counter(), 0, 0
    image: Tensor | None = None
    old_optimizer: torch.optim.Optimizer | None = None
    for rung, size in enumerate(sizes):
        scale = size[0] / sizes[-1][0]
        small_content = resize(content.float().to(device), size)
        small_styles = [_scaled(s.float().to(device), scale * settings.style_scale) for s in styles]
        objective = Objective(encoder, small_content, small_styles, settings)
        start = (
            _first_picture(small_content, settings) if image is None else _resampled(image, size)
        )
        canvas = _Canvas(start, encoder, settings.space)
        optimizer = _optimizer(canvas, settings)
        if old_optimizer is not None:
            _carry_moments(old_optimizer, optimizer)
        average = torch.zeros_like(start)
        last = start.clamp(0, 1)
        for step_of_rung in range(1, _steps_of(settings.steps, len(sizes), rung) + 1):
            moved = dataclasses.replace(settings, **{name: getattr(live, name) for name in LIVE})
            if moved != settings and settings.optimizer == "lbfgs":
                optimizer.state.clear()  # its history is of a loss that is no more
            settings = moved
            _set_step_size(optimizer, canvas, settings, done)
            count, terms = _step(objective, canvas, optimizer, settings, last)
            evaluations, done = evaluations + count, done + 1
            _check_pixels(canvas, last)
            if settings.clamp and settings.optimizer == "adam":
                canvas.clamp()
            image = canvas.image().detach()
            if settings.average:
                average.lerp_(image, 1 - settings.average)
                # An average that began at zero is too dark by a known factor.
                image = average / (1 - settings.average**step_of_rung)
            last = image.clamp(0, 1).to(content.device)
            seconds = time.perf_counter() - started
            yield Step(done, settings.steps, last, *terms, evaluations, seconds)
        old_optimizer = optimizer


_Terms = tuple[dict[str, float], dict[str, float], dict[str, float]]


def _step(
    objective: Objective,
    canvas: _Canvas,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    last: Tensor,
) -> tuple[int, _Terms]:
    """Do one step; return how often the loss was evaluated, and its terms before the step."""
    evaluated: list[_Terms] = []
    # torch's L-BFGS forgets curvature below an absolute threshold, and the gradient of a mean over
    # pixels is that small: it is given the gradient of a sum. Adam does not mind either way.
    scale = canvas.values.numel() if settings.optimizer == "lbfgs" else 1

    def closure() -> float:
        optimizer.zero_grad(set_to_none=True)
        content, style, layers = objective(canvas.image())
        tv = kernels.total_variation(canvas.values, settings.tv_power)
        weighted = [
            settings.content_weight * content,
            settings.style_weight * style,
            settings.tv_weight * tv,
        ]
        total = torch.stack(weighted).sum()
        # One transfer for all the numbers: on a GPU each would wait for the device.
        numbers = torch.stack([content, style, tv, *weighted, total, *layers.values()]).tolist()
        _check_loss(numbers[6], last)
        torch.autograd.backward(total * scale)
        names = ("content", "style", "tv")
        evaluated.append(
            (
                dict(zip(names, numbers[:3], strict=True)),
                dict(zip((*names, "total"), numbers[3:7], strict=True)),
                dict(zip(layers, numbers[7:], strict=True)),
            )
        )
        return float(numbers[6]) * scale

    optimizer.step(closure)
    return len(evaluated), evaluated[0]


_ADVICE = "try a lower learning_rate, or lower weights. The error's image is the last good picture"


def _check_loss(total: float, last: Tensor) -> None:
    if not abs(total) < float("inf"):
        raise PixelDivergenceError(f"the run diverged: the loss is {total:g}; {_ADVICE}", last)


def _check_pixels(canvas: _Canvas, last: Tensor) -> None:
    largest = canvas.values.detach().abs().max().item()
    # Pixels live in [0, 1]; a free picture strays a little beyond it, a diverging one without limit.
    if not largest < 1e3:
        raise PixelDivergenceError(
            f"the run diverged: the largest pixel is {largest:g}; {_ADVICE}", last
        )


def _optimizer(canvas: _Canvas, settings: Settings) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        betas = (0.9, float(settings.beta2))  # torch takes no whole number
        return torch.optim.Adam([canvas.values], settings.learning_rate, betas)
    # One iteration a step, so that a run can be watched and stopped; the line search makes L-BFGS
    # safe without a learning rate, at the price of several evaluations.
    return torch.optim.LBFGS(
        [canvas.values],
        lr=1,
        max_iter=1,
        history_size=20,
        tolerance_grad=0,  # these would end a run whose weights happen to be small
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )


def _set_step_size(
    optimizer: torch.optim.Optimizer, canvas: _Canvas, settings: Settings, done: int
) -> None:
    group = optimizer.param_groups[0]
    if settings.optimizer == "adam":
        decay = settings.decay_factor ** (done // settings.decay_every)
        group["lr"] = settings.learning_rate * decay
        return
    state = optimizer.state[canvas.values]
    if state.get("t") == 0:  # the search found nothing lower; the same direction would fail again
        state.clear()
    # Without a history torch moves all pixels together by `lr`: one per picture would drown in
    # rounding, and the curvature seen on the way with it. With one, 1 is the length it foresees.
    group["lr"] = 1 if state else FIRST_MOVE * canvas.values.numel()


def _carry_moments(old: torch.optim.Optimizer, new: torch.optim.Optimizer) -> None:
    """Give the next rung's Adam the memory of the last one's, resampled to its size.

    Losses are means over positions, so a picture of k times the pixels has gradients k times
    smaller: the first moment is divided by k, the second by k².
    """
    (before,), (after,) = old.param_groups[0]["params"], new.param_groups[0]["params"]
    growth = after.numel() / before.numel()
    size = (after.shape[2], after.shape[3])
    moments = old.state[before]
    new.state[after] = {
        "step": moments["step"].clone(),
        "exp_avg": _resampled(moments["exp_avg"], size) / growth,
        "exp_avg_sq": _resampled(moments["exp_avg_sq"], size).clamp_min(0) / growth**2,
    }


def _first_picture(content: Tensor, settings: Settings) -> Tensor:
    if isinstance(settings.init, Tensor):
        return resize(settings.init.to(content), (content.shape[2], content.shape[3]))
    if settings.init == "content":
        return content.clone()
    # Drawn on the CPU, so that a seed is the same noise on every device.
    noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(settings.seed))
    return noise.to(content)


def _rung_sizes(content: Tensor, ladder: int) -> list[tuple[int, int]]:
    """Return the sizes to climb, from small to large; the last is the content's own."""
    height, width = content.shape[2:]
    scales = [2 ** (-rung / 2) for rung in reversed(range(ladder))]
    sizes = [(round(height * scale), round(width * scale)) for scale in scales]
    if ladder > 1 and min(sizes[0]) < SMALLEST_RUNG:
        raise ValueError(
            f"ladder is {ladder}, whose smallest picture would be {sizes[0][0]}×{sizes[0][1]} px; "
            f"no side may be below {SMALLEST_RUNG} px"
        )
    return sizes


def _steps_of(steps: int, rungs: int, rung: int) -> int:
    """Share the steps out evenly; what is left over goes to the first rungs, the cheapest."""
    return steps // rungs + (rung < steps % rungs)


def _scaled(style: Tensor, scale: float) -> Tensor:
    return resize(style, _scaled_size(style, scale))


def _scaled_size(style: Tensor, scale: float) -> tuple[int, int]:
    height, width = style.shape[2:]
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resampled(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values, size, mode="bilinear", align_corners=False)


def _on(device: torch.device, encoder: Encoder) -> Encoder:
    """Return ``encoder`` on ``device``: itself, or a copy, for the caller's own stays where it is."""
    device = torch.empty(0, device=device).device  # "cuda" is the current one: with its number
    return encoder if encoder.mean.device == device else copy.deepcopy(encoder).to(device)


def _check_size(name: str, size: tuple[int, int], encoder: Encoder, taps: Sequence[str]) -> None:
    deepest = max(taps, key=encoder.taps.index)
    needed = encoder.strides[deepest]
    if min(size) < needed:
        raise ValueError(
            f"{name} is {size[0]}×{size[1]} px where it is smallest; {deepest} needs {needed} px a "
            "side. Larger pictures, a shorter ladder, a larger style_scale or shallower taps help"
        )


def memory_needed(encoder: Encoder, taps: Sequence[str], size: tuple[int, int]) -> int:
    """Return about how many bytes one step takes at ``size`` (height, width), weights left out.

    The gradient needs the maps down to the deepest tap, and a pool's map and indices after each
    block; on the way back, a few of the largest maps are alive at once. On processors the true peak
    was measured to be 3 to 25 % lower.

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> small = memory_needed(random_encoder(), ["relu1_1"], (256, 256))
        >>> memory_needed(random_encoder(), ["relu1_1"], (512, 512)) == 4 * small
        True
    """
    bytes_each = torch.finfo(encoder.dtype).bits // 8
    pixels = size[0] * size[1]
    deepest = max(encoder.taps.index(tap) for tap in taps)
    maps = [
        encoder.channels[tap] * pixels // encoder.strides[tap] ** 2
        for tap in encoder.taps[: deepest + 1]
    ]
    pools = [
        encoder.channels[tap] * pixels // (2 * encoder.strides[tap]) ** 2
        for tap, following in zip(encoder.taps, encoder.taps[1:], strict=False)
        if encoder.strides[tap] != encoder.strides[following] and encoder.taps.index(tap) < deepest
    ]
    pictures = 14 * 3 * pixels * 4  # the picture, its gradient, the moments, the average, copies
    return (sum(maps) + 2 * max(maps)) * bytes_each + sum(pools) * (bytes_each + 8) + pictures


def encoding_memory_needed(encoder: Encoder, taps: Sequence[str], size: tuple[int, int]) -> int:
    """Return about how many bytes it takes to see a style at ``size``: no gradient, so much less.

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> encoder, size = random_encoder(), (256, 256)
        >>> encoding_memory_needed(encoder, ["relu3_4"], size) < memory_needed(
        ...     encoder, ["relu3_4"], size
        ... )
        True
    """
    bytes_each = torch.finfo(encoder.dtype).bits // 8
    pixels = size[0] * size[1]
    deepest = max(encoder.taps.index(tap) for tap in taps)
    largest = max(
        encoder.channels[tap] * pixels // encoder.strides[tap] ** 2
        for tap in encoder.taps[: deepest + 1]
    )
    return 3 * largest * bytes_each + 10 * 3 * pixels * 4  # a map kept, one read, one written
