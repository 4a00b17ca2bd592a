r"""How the slim encoder was made: a small VGG taught to see what VGG-19 sees.

The student is a narrower VGG. It looks at the same pictures as the teacher, and has to predict each
of the teacher's maps: directly where it has as many channels as the teacher (relu3_1 and relu3_4,
where a style is read), elsewhere through a linear map :math:`P_l`, a 1×1 convolution:

.. math:: L = \frac1{|l|} \sum_l \frac{\operatorname{mean}\,(P_l\,s_l - t_l)^2}{\operatorname{mean}\,t_l^2}

so that every layer counts alike: 1 is a student that knows nothing, 0 one that knows all. The maps
:math:`P_l` are thrown away afterwards.

Why wide just there? A narrow layer hands on nearly all that the next one needs, but its ReLUs throw
away what a linear map would need to say the same: a convolution to 256 channels reads VGG-19's
relu3_1 off the student's relu2_2 with half the error that a linear map leaves after 128 of them.

Four things make the student good. It *begins as its teacher, cut down*: of each narrow layer those
channels are kept that tell most about the others, and each layer reads the one below through the
linear map that best restores what was cut (:func:`cut_down`). That takes seconds, and its error of
the maps is one that random weights need thousands of steps to reach. It predicts the teacher's *Gram
matrices* too, so that matching the one is matching the other. It *rehearses*: part of each batch
are pictures halfway between a photo and a style, made by Gatys' method with the student as it is
now, for that is where it will be asked, and where a small network has blind spots that an optimiser
finds. And it is *balanced* in the end: each channel of a narrow layer is scaled by how much it says
about the teacher's maps, so that a distance between Gram matrices weighs channels as the teacher
would.

Reference:
    Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015; Romero et al.,
    FitNets: Hints for Thin Deep Nets, 2015; He, Zhang & Sun, Channel Pruning for Accelerating Very
    Deep Neural Networks, 2017 (layers cut one after the other, each restored by least squares).
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nstlib import config, kernels
from nstlib.config import Range
from nstlib.datasets import Crops
from nstlib.encoders import SLIM_WIDTHS, Encoder, check_taps, checked_widths
from nstlib.training import diverged
from nstlib.weights import (
    check_checkpoint,
    checkpoint_named,
    read_checkpoint,
    save_checkpoint,
    save_weights,
)

_WHAT = "distillation"  # what a checkpoint is one of
STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
LOOKED_AT = 48  # crops that the student's beginning is fitted to
TAPS = tuple(f"relu{b}_{i}" for b, depth in enumerate((2, 2, 4), 1) for i in range(1, depth + 1))


@dataclass(frozen=True)
class Recipe:
    """What a distillation depends on; it goes into the file of the encoder and its model card.

    Raises:
        ValueError, TypeError: a value outside its range, or one that does not go with another.
    """

    widths: tuple[int, ...] = SLIM_WIDTHS  # channels of the student's convolutions
    steps: Annotated[int, Range(1, 100_000_000, "optimiser steps")] = 6_000
    batch: Annotated[int, Range(1, 65_536, "pictures in a step")] = 6
    crop: Annotated[int, Range(8, 4096, "side of a crop in pixels")] = 128
    learning_rate: Annotated[float, Range(1e-8, 1, "step size of AdamW", log=True)] = 3e-4
    weight_decay: Annotated[float, Range(0, 1, "pull of the weights towards 0")] = 1e-4
    # (At 1, torch's schedule divides by zero.)
    warm_up: Annotated[int, Range(2, 1_000_000, "first steps, in which the rate rises")] = 200
    # The weights that ship are a mean of the last 1/(1 - average) steps.
    average: Annotated[float, Range(0, 0.99999, "memory of the averaged weights that ship")] = 0.999
    rehearsed: Annotated[
        int, Range(0, 65_535, "pictures of a batch that the student has led towards a style")
    ] = 2
    gram_weight: Annotated[
        float, Range(0, 1e6, "of the error of the Gram matrices, beside that of the maps", log=True)
    ] = 4.0
    seed: Annotated[int, Range(0, 2**63 - 1, "another seed, another result")] = 0

    def __post_init__(self) -> None:
        config.check_fields(self)
        checked_widths(self.widths)
        if len(self.widths) != len(TAPS):
            raise ValueError(f"widths has {len(self.widths)} values; it takes {len(TAPS)}")
        if self.warm_up >= self.steps:
            raise ValueError(f"warm_up is {self.warm_up}; it must be less than steps, {self.steps}")
        if self.rehearsed >= self.batch:
            raise ValueError(
                f"rehearsed is {self.rehearsed}; it must be at least 0 and less than batch, "
                f"{self.batch}"
            )


@dataclass(frozen=True)
class Progress:
    """One point of the training curve."""

    step: int
    train: float  # the maps' error, a mean over the steps since the last point
    held_out: float  # the maps' error of the averaged student on crops that it never trains on


class Student(nn.Module):
    """The slim encoder, and the linear maps from its taps to the teacher's where it is narrower."""

    def __init__(self, teacher: Encoder, widths: Sequence[int] = SLIM_WIDTHS) -> None:
        super().__init__()
        self.encoder = Encoder(widths, name="slim").requires_grad_(True)
        channels = {tap: (self.encoder.channels[tap], teacher.channels[tap]) for tap in TAPS}
        for tap, (ours, theirs) in channels.items():
            if ours > theirs:
                raise ValueError(f"widths has {ours} for {tap}; the teacher has {theirs}")
        self.projections = nn.ModuleDict(
            {
                tap: nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1)
                for tap, (ours, theirs) in channels.items()
            }
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predict the teacher's maps."""
        maps = self.encoder(image, TAPS)
        return {tap: self.projections[tap](maps[tap]) for tap in TAPS}


class Rehearsal:
    """Pictures on their way from a photo to a style, led there by the student as it is now.

    Each starts as one crop and follows, for ``life`` steps of Adam, the student's own style loss
    towards the Gram matrices of another crop; then a new one takes its place.
    """

    _STATE = ("images", "styles", "ages", "moments", "next")

    def __init__(self, crops: Crops, generator: torch.Generator, slots: int = 24) -> None:
        self.crops, self.generator, self.life = crops, generator, 100
        self.images = crops.draw(slots, generator)
        self.styles = crops.draw(slots, generator)
        self.ages = [1 + slot * self.life // slots for slot in range(slots)]  # of all ages at once
        self.moments = torch.zeros(2, *self.images.shape)
        self.next = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on exactly."""
        return {name: getattr(self, name) for name in self._STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        for name in self._STATE:
            setattr(self, name, state[name])

    def draw(self, count: int, encoder: Encoder, dtype: torch.dtype) -> Tensor:
        """Lead the next ``count`` pictures one step further and return them."""
        slots = [(self.next + i) % len(self.images) for i in range(count)]
        self.next = (slots[-1] + 1) % len(self.images)
        place = encoder.mean.device
        image = self.images[slots].to(place).requires_grad_()
        with torch.autocast(place.type, dtype, enabled=dtype != torch.float32):
            with torch.no_grad():
                targets = encoder(self.styles[slots].to(place), STYLE_TAPS)
            maps = encoder(image, STYLE_TAPS)
        errors = [
            _relative_error(kernels.gram(maps[tap]), kernels.gram(targets[tap]))
            for tap in STYLE_TAPS
        ]
        (gradient,) = torch.autograd.grad(torch.stack(errors).sum(), image)
        return torch.stack(
            [self._advance(slot, slope) for slot, slope in zip(slots, gradient.cpu(), strict=True)]
        )

    def _advance(self, slot: int, gradient: Tensor, rate: float = 0.03) -> Tensor:
        """Do one step of Adam, written out because each picture has an age of its own."""
        first, second = self.moments[:, slot]
        first.lerp_(gradient, 0.1)
        second.lerp_(gradient.square(), 0.01)
        age = self.ages[slot]
        step = (first / (1 - 0.9**age)) / ((second / (1 - 0.99**age)).sqrt() + 1e-12)
        led = self.images[slot].sub_(rate * step).clamp_(0, 1).clone()
        self.ages[slot] += 1
        if self.ages[slot] > self.life:
            self.images[slot], self.styles[slot] = self.crops.draw(2, self.generator)
            self.moments[:, slot], self.ages[slot] = 0, 1
        return led


def distill(
    teacher: Encoder,
    crops: Crops,
    held_out: Crops,
    checkpoint: Path,
    recipe: Recipe | None = None,
    *,
    device: str | torch.device = "auto",
    every: int = 250,
) -> Iterator[Progress]:
    """Train a student, saving to ``checkpoint`` and yielding a :class:`Progress` ``every`` steps.

    Where ``checkpoint`` exists, training goes on from it. The averaged student, ready to be used,
    is written beside it as ``.safetensors``.

    Args:
        teacher: an encoder with the taps relu1_1 … relu3_4.
        crops, held_out: what to train on, and what to be judged on.

    Raises:
        ValueError: the checkpoint belongs to another recipe, or has no folder to lie in.
        WeightsError: the checkpoint cannot be read.
        DivergenceError: the loss is no longer a number.
    """
    recipe = recipe or Recipe()
    check_checkpoint(checkpoint, every)
    if crops.crop != recipe.crop:
        raise ValueError(f"crops are of {crops.crop} px; the recipe's crop is {recipe.crop}")
    check_taps(teacher, TAPS, "a teacher")
    if (teacher.pooling, teacher.padding) != ("max", "zeros"):
        raise ValueError(
            f"teacher has pooling {teacher.pooling!r} and padding {teacher.padding!r}; the student "
            "learns with 'max' and 'zeros'"
        )
    place = config.pick_device(device)
    dtype = config.pick_dtype("auto", place)
    generator = torch.Generator().manual_seed(recipe.seed)
    looked_at = crops.draw(LOOKED_AT, generator).to(place)
    teacher = unit_energy(copy.deepcopy(teacher).to(place), looked_at).in_dtype(dtype)
    student = Student(teacher, recipe.widths).to(place)
    cut_down(student, teacher, looked_at)
    running_mean = get_ema_multi_avg_fn(recipe.average)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(student, multi_avg_fn=running_mean)
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=recipe.warm_up / recipe.steps
    )
    rehearsal = Rehearsal(crops, generator, slots=max(24, recipe.rehearsed))
    state: dict[str, Any] = {
        "teacher": teacher,  # its units are of the pictures that the run began with
        "student": student,
        "averaged": averaged,
        "optimizer": optimizer,
        "schedule": schedule,
        "rehearsal": rehearsal,
    }
    first = _resume(checkpoint, recipe, state, generator)
    exam = held_out.draw(64, torch.Generator().manual_seed(1)).to(place)
    errors: list[float] = []
    for step in range(first, recipe.steps + 1):
        image = crops.draw(recipe.batch - recipe.rehearsed, generator)
        if recipe.rehearsed:
            led = rehearsal.draw(recipe.rehearsed, student.encoder, dtype)
            image = torch.cat([image, led])
        image = image.to(place)
        maps, matrices = prediction_losses(student, teacher, image, dtype)
        loss = maps + recipe.gram_weight * matrices
        if not torch.isfinite(loss):
            raise diverged(f"the loss is {loss.item()} at step {step}")
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(student)
        errors.append(maps.item())
        if step % every == 0 or step == recipe.steps:
            with torch.no_grad():
                parts = torch.split(exam, 8)
                judged = [prediction_losses(averaged, teacher, part, dtype)[0] for part in parts]
            trained = averaged.module
            assert isinstance(trained, Student)
            # The encoder first: a run that stops in between does this step again.
            save_encoder(balanced(trained), checkpoint.with_suffix(".safetensors"), recipe, step)
            _save_checkpoint(checkpoint, recipe, state, generator, step)
            yield Progress(step, statistics.fmean(errors), float(torch.stack(judged).mean()))
            errors.clear()


def prediction_losses(
    student: nn.Module, teacher: Encoder, image: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the relative squared error of the maps, and of the Gram matrices of the style taps.

    Each is a mean over its taps; 1 means that nothing is known.
    """
    with torch.no_grad():
        targets = teacher(image, TAPS)
    with torch.autocast(image.device.type, dtype, enabled=dtype != torch.float32):
        predicted = student(image)
        grams = {t: (kernels.gram(predicted[t]), kernels.gram(targets[t])) for t in STYLE_TAPS}
    maps = [_relative_error(predicted[tap], targets[tap]) for tap in TAPS]
    matrices = [_relative_error(*grams[tap]) for tap in STYLE_TAPS]
    return torch.stack(maps).mean(), torch.stack(matrices).mean()


def balanced(student: Student) -> Encoder:
    """Return the student's encoder with each channel scaled by its weight in the projections.

    A ReLU passes a positive factor through, so a channel can be scaled where it is made and the
    factor taken back where it is read: what the network computes stays the same, but a channel that
    the teacher's maps hardly contain is now small in a Gram matrix, as it should be.
    """
    encoder = copy.deepcopy(student.encoder).requires_grad_(False)
    before = torch.ones(3)
    for layer, tap in zip(encoder.convs, TAPS, strict=True):
        conv = _conv(encoder, layer)
        assert conv.bias is not None
        factor = torch.ones_like(conv.bias)  # one for each channel
        projection = student.projections[tap]
        if isinstance(projection, nn.Conv2d):
            factor = projection.weight.detach().flatten(1).norm(dim=0)
            factor = factor.clamp_min(1e-3 * float(factor.max()))  # a silent channel has none
        conv.weight.mul_(factor[:, None, None, None] / before.to(factor)[:, None, None])
        conv.bias.mul_(factor)
        before = factor
    return encoder


@torch.no_grad()
def unit_energy(teacher: Encoder, image: Tensor) -> Encoder:
    """Return the teacher with each map of ``TAPS`` divided by its root mean square over ``image``.

    A ReLU passes a positive factor through, so it is the same network in other units. In these,
    VGG-19's maps do not grow a hundredfold from layer to layer, and one learning rate suits all.
    Layers deeper than ``TAPS`` compute what they did.
    """
    maps = teacher(image, TAPS)
    scaled = copy.deepcopy(teacher)
    before = 1.0
    for layer in scaled.convs:
        tap, conv = layer.replace("conv", "relu"), _conv(scaled, layer)
        energy = float(maps[tap].float().square().mean().sqrt()) if tap in maps else 1.0
        conv.weight.mul_(before / energy)
        conv.bias.div_(energy)  # type: ignore[union-attr]
        before = energy
    return scaled


@torch.no_grad()
def cut_down(student: Student, teacher: Encoder, image: Tensor) -> None:
    """Let the student begin as its teacher, cut down to its widths.

    Layer by layer: of the teacher's channels those are kept that best tell the others, each reads
    the narrow layer below through the linear map that best restores the teacher's, and such a map is
    fitted to the new layer in turn. ``image`` (N, 3, H, W) is what is looked at. It takes seconds.
    """
    wanted = teacher(image, TAPS)
    below = None
    for layer, tap in zip(student.encoder.convs, TAPS, strict=True):
        ours, projection = _conv(student.encoder, layer), student.projections[tap]
        weight, bias = _seen_through(_conv(teacher, layer), below)
        keep = _telling_channels(wanted[tap], ours.out_channels)
        ours.weight.copy_(weight[keep])
        ours.bias.copy_(bias[keep])  # type: ignore[union-attr]
        below = None
        if isinstance(projection, nn.Conv2d):
            _fit(projection, student.encoder(image, [tap])[tap], wanted[tap])
            below = projection


def _conv(encoder: Encoder, layer: str) -> nn.Conv2d:
    conv = encoder.convs[layer]
    assert isinstance(conv, nn.Conv2d)
    return conv


def _seen_through(conv: nn.Conv2d, projection: nn.Conv2d | None) -> tuple[Tensor, Tensor]:
    """Return weight and bias of ``conv`` after a 1×1 ``projection``, as one convolution."""
    assert conv.bias is not None
    weight, bias = conv.weight.float(), conv.bias.float()
    if projection is None:
        return weight, bias
    assert projection.bias is not None
    bias = bias + torch.einsum("oikl,i->o", weight, projection.bias)
    return torch.einsum("oikl,ij->ojkl", weight, projection.weight[:, :, 0, 0]), bias


def _telling_channels(features: Tensor, count: int) -> Tensor:
    """Return which ``count`` channels tell most about all: those that a pivoted Cholesky picks.

    Each next channel is the one with the most energy that those before it do not explain linearly.
    """
    flat = _positions(features)
    left = flat.T @ flat  # what is left to explain, (C, C)
    picked: list[int] = []
    for _ in range(count):
        energy = left.diagonal().clone()
        energy[picked] = -torch.inf
        best = int(energy.argmax())
        picked.append(best)
        left -= torch.outer(left[:, best], left[best]) / left[best, best].clamp_min(1e-12)
    return torch.tensor(sorted(picked))


def _positions(features: Tensor) -> Tensor:
    """Return maps (N, C, H, W) as rows of channels, (N·H·W, C), in float64: on the CPU, as MPS has none."""
    return features.float().cpu().permute(0, 2, 3, 1).flatten(0, 2).double()


def _fit(projection: nn.Conv2d, found: Tensor, wanted: Tensor) -> None:
    """Set a 1×1 convolution to the least-squares map from one tensor of maps to another."""
    flat, target = _positions(found), _positions(wanted)
    flat = torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)  # the last is for the bias
    normal = flat.T @ flat
    ridge = 1e-6 * normal.diagonal().mean() * torch.eye(len(normal))  # for channels that are silent
    solution = torch.linalg.solve(normal + ridge, flat.T @ target)
    projection.weight.copy_(solution[:-1].T[:, :, None, None])
    projection.bias.copy_(solution[-1])  # type: ignore[union-attr]


def _relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Return ‖found − wanted‖² / ‖wanted‖², summed in float32 while maps stay in their own dtype."""
    norm = partial(torch.linalg.vector_norm, dtype=torch.float32)
    error: Tensor = (norm(found - wanted) / norm(wanted)).square()
    return error


def save_encoder(encoder: Encoder, path: Path, recipe: Recipe, step: int) -> None:
    """Write ``encoder`` alone, in float16, with its shape and recipe in the file's metadata."""
    facts = {"weights": "distilled from VGG-19", "steps_done": step, **asdict(recipe)}
    save_weights(encoder.state_dict(), path, facts)


def _save_checkpoint(
    path: Path, recipe: Recipe, state: dict[str, Any], generator: torch.Generator, step: int
) -> None:
    content = {name: part.state_dict() for name, part in state.items()}
    content |= {"recipe": asdict(recipe), "generator": generator.get_state(), "step": step}
    save_checkpoint(content, path)


def _resume(path: Path, recipe: Recipe, state: dict[str, Any], generator: torch.Generator) -> int:
    """Load ``path`` where it exists; return the first step that is still to be done."""
    if not path.is_file():
        return 1
    content = read_checkpoint(path, _WHAT)
    with checkpoint_named(path, _WHAT):
        theirs, done = content["recipe"], int(content["step"])
    if theirs != asdict(recipe):
        raise ValueError(f"checkpoint is {str(path)!r}, of recipe {theirs}; this one is {recipe}")
    with checkpoint_named(path, _WHAT):
        for name, part in state.items():
            part.load_state_dict(content[name])
        generator.set_state(content["generator"])
    return done + 1
