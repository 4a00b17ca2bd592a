r"""One training loop for every model of the course: seeded, resumable, and the same on many processes.

Step t of a run is a function of the weights before it, the seed and t alone: which pictures, which
crops of them, which styles is drawn from a generator seeded with (seed, t), never from one that
lives through the run. So a run that was killed goes on from its last checkpoint exactly as if
nothing had happened, and any number of processes agree on each batch without a word.

What is trained is a :class:`Task`: a model, how to draw a batch for it, and its losses.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from nstlib import config
from nstlib.config import Precision, Range
from nstlib.errors import DivergenceError
from nstlib.images import save_image
from nstlib.memory import allocation_named, reused_memory
from nstlib.weights import check_checkpoint, checkpoint_named, read_checkpoint, save_checkpoint

_WHAT = "training"  # what a checkpoint is one of
Batch = dict[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Settings:
    """How long and how fast to learn. What to learn is the task's.

    Raises:
        ValueError: a value outside its range, or no such precision.
        TypeError: no number, or none that is whole, where one is wanted.
    """

    steps: Annotated[int, Range(1, 100_000_000, "optimiser steps")] = 10_000
    batch: Annotated[int, Range(1, 65_536, "pictures in a step, over all processes")] = 4
    learning_rate: Annotated[float, Range(1e-8, 1, "step size of Adam", log=True)] = 1e-3
    warm_up: Annotated[int, Range(0, 1_000_000, "first steps, in which it rises")] = 100
    cool_down: Annotated[float, Range(0, 1, "last share, in which it falls to 0")] = 0.3
    decay: Annotated[float, Range(0, 1, "divides it by 1 + decay · steps done")] = 0.0
    average: Annotated[float, Range(0, 0.99999, "memory of the averaged weights that ship")] = 0.999
    seed: Annotated[int, Range(0, 2**31 - 1, "of the weights, crops and styles")] = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        config.check_fields(self)


@dataclass(frozen=True)
class Progress:
    """One step of a training, as everybody who watches sees it."""

    step: int  # 1 is the first
    steps: int  # of the whole run
    losses: Mapping[str, float]  # "total" and its terms, of the weights before the step
    learning_rate: float
    seconds_left: float
    saved: bool = False  # whether a checkpoint was written after this step


class Task(ABC, Generic[Model]):
    """What is trained.

    ``model`` holds what is learned and nothing else; :meth:`draw` makes a batch out of pictures and
    a generator; :meth:`losses` compares what the model makes of it with what is wanted.
    """

    model: Model

    @abstractmethod
    def draw(self, step: int, count: int, seed: int, share: slice) -> Batch:
        """Return tensors whose first axis is that of the batch of a step, or of a ``share`` of it.

        It depends on its arguments alone, and so may run ahead of the training.
        """

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the terms, and their sum ``"total"``, each a mean over the batch.

        ``model`` is :attr:`model`, or a wrapper of it that gathers the gradients of all processes.
        """

    @abstractmethod
    def samples(self, model: Model) -> Tensor:
        """Return a sheet (1, 3, H, W) of what the averaged ``model`` makes of fixed pictures."""

    @abstractmethod
    def export(self, model: Model, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the averaged ``model`` to ``path``, ready to be used."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What the task was made with, in plain values: a checkpoint of another is refused."""

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the model to ``device``, and whatever its losses need, there to compute in ``dtype``.

        The weights themselves learn in float32: in bfloat16 a small step would be rounded away.
        """
        self.model.to(device, torch.float32).requires_grad_().train()

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return what learns, in groups that may have a ``lr`` of their own."""
        return [{"params": list(self.model.parameters())}]


def train(
    task: Task[Model],
    settings: Settings | None = None,
    checkpoint: Path | None = None,
    *,
    every: int = 500,
    device: str | torch.device = "auto",
    log: Path | None = None,
) -> Iterator[Progress]:
    """Train ``task.model``, yielding a :class:`Progress` after each step; stopping is ``break``.

    Where ``checkpoint`` exists, training goes on from it, bit for bit on a CPU. In a process that
    ``torchrun`` started (see :func:`processes`) each process computes its share of every batch, and
    the first writes the files; a batch norm sees that share alone. Afterwards the task's model holds
    the averaged weights.

    Args:
        task: what to train.
        settings: how long and how fast.
        checkpoint: a ``.pt`` file, written every so many steps and at the end, and beside it the
            averaged model as ``.safetensors``; without, nothing is written.
        every: how many steps lie between two checkpoints.
        device: where to compute.
        log: a folder for TensorBoard's scalars and sheets, and for the sheets as PNG: one at each
            checkpoint, and after 500, 5,000, 50,000 and every 100,000 pictures.

    Raises:
        ValueError: a checkpoint of another task or settings, or one that has done more steps; a
            batch that cannot be shared out; a log without TensorBoard.
        WeightsError: a checkpoint that cannot be read.
        DivergenceError: the loss, or a weight, is no longer a number.
        MemoryError: a batch does not fit into memory.
        OSError: a file cannot be written; the old one is as it was.
    """
    settings = settings or Settings()
    _check(settings, checkpoint, every)
    run = _Run(task, settings, checkpoint, every, _place(device))
    run.resume()
    journal = _Journal(log if _rank() == 0 else None, first=run.step + 1)
    with reused_memory(), journal, closing(_batches(task, settings, run.step + 1)) as batches:
        try:
            for batch in batches:
                with _batch_named(settings.batch):
                    progress = run.advance(batch)
                if (run.is_due or run.is_milestone) and _rank() == 0:
                    journal.sheet(task, run.averaged.module, run.step)
                journal.scalars(progress)
                yield progress
        finally:
            task.model.load_state_dict(run.averaged.module.state_dict())
            task.model.eval()


def _batches(task: Task[Model], settings: Settings, first: int) -> Generator[Batch, None, None]:
    """Yield this process's share of each batch; the next one is made while one is learned from."""
    share = slice(_rank(), None, _world())
    coming: Future[Batch] | None = None
    with ThreadPoolExecutor(max_workers=1) as pool:
        for step in range(first, settings.steps + 2):
            ready, coming = coming, None
            if step <= settings.steps:
                coming = pool.submit(task.draw, step, settings.batch, settings.seed, share)
            if ready is not None:
                yield ready.result()


class _Run(Generic[Model]):
    """All that changes during a training, and how it is kept."""

    def __init__(
        self,
        task: Task[Model],
        settings: Settings,
        checkpoint: Path | None,
        every: int,
        place: torch.device,
    ) -> None:
        self.task, self.settings, self.checkpoint = task, settings, checkpoint
        self.every, self.place, self.step = every, place, 0
        self.dtype = config.pick_dtype(settings.precision, place)
        task.to(place, self.dtype)
        average = partial(_average, settings.average)
        self.averaged = AveragedModel(task.model, multi_avg_fn=average)
        self.averaged.eval()
        groups = task.parameter_groups(settings.learning_rate)
        self.optimizer = torch.optim.Adam(groups, settings.learning_rate)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, partial(_rate, settings=settings)
        )
        self.model = _shared(task.model, place)
        self.seconds: deque[float] = deque(maxlen=50)  # of the last steps
        self.last_step_ended = time.perf_counter()

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint belongs after this step."""
        return self.step % self.every == 0 or self.step == self.settings.steps

    @property
    def is_milestone(self) -> bool:
        """Whether the pictures of this step are the first beyond a round number of them."""
        before, seen = ((self.step - i) * self.settings.batch for i in (1, 0))
        return _milestones(before) < _milestones(seen)

    def advance(self, batch: Batch) -> Progress:
        """Do one step of Adam, and write the files where they are due."""
        here = {name: part.to(self.place) for name, part in batch.items()}
        with torch.autocast(self.place.type, self.dtype, enabled=self.dtype != torch.float32):
            terms = self.task.losses(self.model, here)
        losses = _mean_over_processes(terms)
        if not math.isfinite(losses["total"]):
            raise diverged(f"the loss is {losses['total']} at step {self.step + 1}")
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(terms["total"])
        self.optimizer.step()
        self.schedule.step()
        self.averaged.update_parameters(self.task.model)
        self.step += 1
        saved = self.is_due and self.checkpoint is not None
        if saved:
            self._check_weights()
            if _rank() == 0:
                self.save()
        return Progress(self.step, self.settings.steps, losses, rate, self._seconds_left(), saved)

    def _seconds_left(self) -> float:
        """Return how long the steps to come will take, drawing their batches included."""
        now = time.perf_counter()
        self.seconds.append(now - self.last_step_ended)
        self.last_step_ended = now
        return statistics.median(self.seconds) * (self.settings.steps - self.step)

    def _check_weights(self) -> None:
        """Raise DivergenceError for weights whose loss would be no number: none are written."""
        for name, value in self.task.model.state_dict().items():
            if not value.isfinite().all():
                raise diverged(f"{name} is no number after step {self.step}")

    def save(self) -> None:
        """Write the averaged model, then the checkpoint: a run that stops in between redoes both."""
        assert self.checkpoint is not None
        facts = {"steps_done": self.step, **asdict(self.settings)}
        trained: Any = self.averaged.module
        self.task.export(trained, self.checkpoint.with_suffix(".safetensors"), facts)
        content = {name: part.state_dict() for name, part in self._parts().items()}
        content |= {"task": self.task.config, "settings": asdict(self.settings), "step": self.step}
        save_checkpoint(content, self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one of this task and these settings."""
        path = self.checkpoint
        if path is None or not path.is_file():
            return
        content = read_checkpoint(path, _WHAT)
        with checkpoint_named(path, _WHAT):
            found, done = {**content["task"], **content["settings"]}, int(content["step"])
        for name, value in {**self.task.config, **asdict(self.settings)}.items():
            # A longer run may take up a shorter one: only the fall at its end moves.
            if found.get(name) != value and name != "steps":
                raise ValueError(
                    f"{name} is {value!r}; the checkpoint '{path}' was trained with "
                    f"{found.get(name)!r}"
                )
        if done > self.settings.steps:
            raise ValueError(
                f"steps is {self.settings.steps}; the checkpoint '{path}' has done {done}"
            )
        with checkpoint_named(path, _WHAT):
            for name, part in self._parts().items():
                part.load_state_dict(content[name])
        self.step = done
        # The rate that was kept is of the settings' steps then.
        for group, rate in zip(self.optimizer.param_groups, self.schedule.base_lrs, strict=True):
            group["lr"] = rate * _rate(done, self.settings)

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.task.model,
            "averaged": self.averaged,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }


@contextmanager
def _batch_named(batch: int) -> Iterator[None]:
    """Say what helps where memory runs out."""
    try:
        with allocation_named():
            yield
    except MemoryError as error:
        raise MemoryError(
            f"batch is {batch}, and memory ran out: {error}. {max(1, batch // 2)} may fit, or a "
            "smaller crop"
        ) from error


def diverged(what: str) -> DivergenceError:
    """Return the error of a training whose loss, or a weight, is no longer a number."""
    return DivergenceError(
        f"{what}; the last checkpoint is as it was. A lower learning_rate or a longer warm_up may "
        "help"
    )


def _rate(done: int, settings: Settings) -> float:
    """Return the share of the learning rate for the next step: it rises, stays, and falls to 0.

    A ``decay`` divides it as the literature does for AdaIN: 1e-4 / (1 + 5e-5·t).
    """
    falling = settings.cool_down * settings.steps
    rising = (done + 1) / (settings.warm_up + 1)
    share = min(1.0, rising, (settings.steps - done) / falling if falling else 1.0)
    return share / (1 + settings.decay * done)


def _milestones(pictures: int) -> int:
    """Return how many of the round numbers 500, 5,000, 50,000 and 100,000·n have been reached."""
    return sum(pictures >= first for first in (500, 5_000, 50_000)) + pictures // 100_000


def _average(
    memory: float, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int
) -> None:
    """Update a running mean of the weights of all steps, ``count`` of them before this one.

    Its memory grows with the run: the mean lies at nine tenths of the steps done, so that the
    beginning is soon forgotten, until ``memory`` is reached.
    """
    done = int(count)
    kept = min(memory, (1 + done) / (10 + done))
    for mean, value in zip(averaged, current, strict=True):
        mean.lerp_(value, 1 - kept)


def _check(settings: Settings, checkpoint: Path | None, every: int) -> None:
    check_checkpoint(checkpoint, every)
    if settings.batch % _world():
        raise ValueError(
            f"batch is {settings.batch}, which {_world()} processes cannot share out evenly"
        )


# ------------------------------------------------------------------------------- many processes


@contextmanager
def processes() -> Iterator[int]:
    """Join the processes that ``torchrun`` started, if it did; yield this one's rank.

    Example:
        >>> with processes() as rank:
        ...     rank
        0
    """
    if "RANK" not in os.environ:
        yield 0
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield _rank()
    finally:
        distributed.destroy_process_group()


def _rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def _world() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _place(device: str | torch.device) -> torch.device:
    place = config.pick_device(device)
    if place.type == "cuda" and "LOCAL_RANK" in os.environ:
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))  # one GPU a process
        torch.cuda.set_device(place)
    return place


def _shared(model: nn.Module, place: torch.device) -> nn.Module:
    """Return ``model``, wrapped where there are others whose gradients must be averaged with its."""
    if _world() == 1:
        return model
    return DistributedDataParallel(model, [place.index] if place.type == "cuda" else None)


def _mean_over_processes(terms: Mapping[str, Tensor]) -> dict[str, float]:
    # One wait for the device; float64 only afterwards, for MPS has none.
    values = torch.stack([term.detach().float() for term in terms.values()]).cpu().double()
    if _world() > 1:
        distributed.all_reduce(values)
        values /= _world()
    return dict(zip(terms, values.tolist(), strict=True))


# ------------------------------------------------------------------------------------- journal


class _Journal:
    """TensorBoard's scalars and sheets, and the sheets as PNG; without a folder, nothing."""

    def __init__(self, folder: Path | None, first: int, every: int = 10) -> None:
        self.folder, self.every = folder, every
        self.writer: Any = None
        if folder is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ValueError(
                    "log needs TensorBoard, which is not installed: pip install 'nstlib[train]'"
                ) from error
            # What a killed run wrote of steps that are done again is taken back.
            self.writer = SummaryWriter(folder, purge_step=first)

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *error: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def scalars(self, progress: Progress) -> None:
        if self.writer is None or progress.step % self.every:
            return
        for name, value in progress.losses.items():
            self.writer.add_scalar(f"loss/{name}", value, progress.step)
        self.writer.add_scalar("learning_rate", progress.learning_rate, progress.step)

    def sheet(self, task: Task[Any], model: Any, step: int) -> None:
        if self.writer is None or self.folder is None:
            return
        sheet = task.samples(model)
        self.writer.add_image("samples", sheet[0], step)
        save_image(sheet, self.folder / f"samples-{step:08d}.png")
