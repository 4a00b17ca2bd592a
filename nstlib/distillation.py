r"""How the slim encoder was made: a small VGG taught to see what VGG-19 sees.

The student is a VGG of fewer channels. It looks at the same pictures as the teacher, and a linear
map :math:`P_l` (a 1×1 convolution) has to predict each of the teacher's maps from its own:

.. math:: L = \frac1{|l|} \sum_l \frac{\operatorname{mean}\,(P_l\,s_l - t_l)^2}{\operatorname{mean}\,t_l^2}

so that every layer counts alike: 1 is a student that knows nothing, 0 one that knows all. The maps
:math:`P_l` are thrown away afterwards: Gram matrices do not mind a change of basis.

Reference:
    Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015; Romero et al.,
    FitNets: Hints for Thin Deep Nets, 2015.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nstlib import config
from nstlib.datasets import Crops
from nstlib.encoders import Encoder, random_encoder

TAPS = tuple(f"relu{b}_{i}" for b, depth in enumerate((2, 2, 4), 1) for i in range(1, depth + 1))


@dataclass(frozen=True)
class Recipe:
    """What a distillation depends on; it goes into the file of the encoder and its model card."""

    steps: int = 12_000
    batch: int = 8
    crop: int = 96  # px
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warm_up: int = 200  # steps
    average: float = 0.999  # the weights that ship are a mean of the last 1/(1 - average) steps
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """One point of the training curve."""

    step: int
    train: float  # running mean of the loss
    held_out: float  # the loss of the averaged student on crops that it never trains on


class Student(nn.Module):
    """The slim encoder, and the linear maps from its taps to the teacher's."""

    def __init__(self, teacher: Encoder, start: Encoder | None = None, seed: int = 0) -> None:
        super().__init__()
        self.encoder = start if start is not None else random_encoder("slim", seed)
        self.encoder.requires_grad_(True)
        torch.manual_seed(seed)
        self.projections = nn.ModuleDict(
            {tap: nn.Conv2d(self.encoder.channels[tap], teacher.channels[tap], 1) for tap in TAPS}
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predict the teacher's maps."""
        maps = self.encoder(image, TAPS)
        return {tap: self.projections[tap](maps[tap]) for tap in TAPS}


def distill(
    teacher: Encoder,
    crops: Crops,
    held_out: Crops,
    checkpoint: Path,
    recipe: Recipe | None = None,
    *,
    start: Encoder | None = None,
    device: str | torch.device = "auto",
    every: int = 250,
) -> Iterator[Progress]:
    """Train a student, saving to ``checkpoint`` and yielding a :class:`Progress` ``every`` steps.

    Where ``checkpoint`` exists, training goes on from it. The averaged student, ready to be used,
    is written beside it as ``.safetensors``.

    Args:
        teacher: an encoder with the taps relu1_1 … relu3_4.
        crops, held_out: what to train on, and what to be judged on.
        start: an encoder to go on from, instead of random weights.

    Raises:
        ValueError: the checkpoint belongs to another recipe.
        FloatingPointError: the loss is no longer a number.
    """
    recipe = recipe or Recipe()
    place = config.pick_device(device)
    dtype = config.pick_dtype("auto", place)
    teacher = teacher.to(place).in_dtype(dtype)
    student = Student(teacher, start, recipe.seed).to(place)
    averaged = torch.optim.swa_utils.AveragedModel(
        student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.average)
    )
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=recipe.warm_up / recipe.steps
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    state = {"student": student, "averaged": averaged, "optimizer": optimizer, "schedule": schedule}
    first = _resume(checkpoint, recipe, state, generator)
    exam = held_out.draw(64, torch.Generator().manual_seed(1)).to(place)
    running = 0.0
    for step in range(first, recipe.steps + 1):
        image = crops.draw(recipe.batch, generator).to(place)
        loss = prediction_loss(student, teacher, image, dtype)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(student)
        running = loss.item() if step == first else 0.98 * running + 0.02 * loss.item()
        if step % every == 0 or step == recipe.steps:
            with torch.no_grad():
                judged = [prediction_loss(averaged, teacher, part, dtype) for part in exam.split(8)]
            _save_checkpoint(checkpoint, recipe, state, generator, step)
            trained = averaged.module
            assert isinstance(trained, Student)
            save_encoder(trained.encoder, checkpoint.with_suffix(".safetensors"), recipe, step)
            yield Progress(step, running, float(torch.stack(judged).mean()))


def prediction_loss(
    student: nn.Module, teacher: Encoder, image: Tensor, dtype: torch.dtype
) -> Tensor:
    """Return the mean over the taps of the relative squared error; 1 means that nothing is known."""
    with torch.no_grad():
        targets = teacher(image, TAPS)
    with torch.autocast(image.device.type, dtype, enabled=dtype != torch.float32):
        predicted = student(image)
    # Norms, summed in float32, of maps that stay in their own dtype: half of a step is reading maps.
    norm = partial(torch.linalg.vector_norm, dtype=torch.float32)
    errors = [(norm(predicted[tap] - targets[tap]) / norm(targets[tap])).square() for tap in TAPS]
    return torch.stack(errors).mean()


def save_encoder(encoder: Encoder, path: Path, recipe: Recipe, step: int) -> None:
    """Write ``encoder`` alone, with its shape and recipe in the file's metadata."""
    shape = {
        "widths": encoder.widths,
        "depths": encoder.depths,
        "weights": "distilled from VGG-19",
        "steps_done": step,
        **asdict(recipe),
    }
    tensors = {
        name: value.detach().float().contiguous().cpu()
        for name, value in encoder.state_dict().items()
    }
    unfinished = path.with_name(path.name + ".partial")
    save_file(tensors, unfinished, metadata={"config": json.dumps(shape), "format": "pt"})
    os.replace(unfinished, path)


def _save_checkpoint(
    path: Path, recipe: Recipe, state: dict[str, Any], generator: torch.Generator, step: int
) -> None:
    content = {name: part.state_dict() for name, part in state.items()}
    content |= {"recipe": asdict(recipe), "generator": generator.get_state(), "step": step}
    unfinished = path.with_name(path.name + ".partial")
    torch.save(content, unfinished)
    os.replace(unfinished, path)


def _resume(path: Path, recipe: Recipe, state: dict[str, Any], generator: torch.Generator) -> int:
    """Load ``path`` where it exists; return the first step that is still to be done."""
    if not path.is_file():
        return 1
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["recipe"] != asdict(recipe):
        raise ValueError(
            f"checkpoint is {str(path)!r}, of recipe {content['recipe']}; this one is {recipe}"
        )
    for name, part in state.items():
        part.load_state_dict(content[name])
    generator.set_state(content["generator"])
    return int(content["step"]) + 1
