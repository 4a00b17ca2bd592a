"""What every check shares: an answer is run, compared with what is right, and its mistake is named."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Answer = Callable[..., Any]
Mistakes = dict[str, Answer]  # a hint, and what somebody who makes the mistake would have written


@dataclass(frozen=True)
class Result:
    """What a check found; a notebook shows its one line."""

    exercise: str
    passed: bool | None  # None: not done yet
    hint: str = ""

    def __repr__(self) -> str:
        mark = {True: "✓", False: "✗", None: "…"}[self.passed]
        return f"{mark} {self.exercise}: {self.hint}"


def compare(
    exercise: str,
    answer: Answer,
    right: Answer,
    inputs: Sequence[tuple[Any, ...]],
    mistakes: Mistakes,
) -> Result:
    """Run ``answer`` on every input; compare with ``right``, and where they differ, find out why."""
    wanted = [right(*arguments) for arguments in inputs]
    try:
        found = [answer(*copy.deepcopy(arguments)) for arguments in inputs]  # it may write to them
    except Exception as error:  # whatever a student's function raises is an answer of its kind
        return Result(exercise, False, f"raises {type(error).__name__}: {error}")
    if any(value is None or value is ... for value in found):
        return Result(exercise, None, "not done yet")
    if _same(found, wanted):
        return Result(exercise, True, "right")
    for hint, mistaken in mistakes.items():
        if _same(found, [mistaken(*arguments) for arguments in inputs]):
            return Result(exercise, False, hint)
    return Result(exercise, False, _difference(found, wanted))


def seeded_maps(*shape: int, seed: int = 0) -> Tensor:
    """Return seeded maps with means that are not zero, as after a ReLU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def _same(found: Any, wanted: Any) -> bool:
    """Say whether two answers agree: their structure, shapes and values, NaN equal to NaN."""
    if isinstance(wanted, list | tuple):
        alike = isinstance(found, list | tuple) and len(found) == len(wanted)
        return alike and all(map(_same, found, wanted))
    if not isinstance(found, Tensor | int | float):
        return False
    mine, theirs = _tensor(found), _tensor(wanted)
    return mine.shape == theirs.shape and torch.allclose(
        mine, theirs, rtol=1e-4, atol=1e-6, equal_nan=True
    )


def _difference(found: Any, wanted: Any) -> str:
    """Say in words where two answers first differ."""
    if isinstance(wanted, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(wanted):
            return f"returns {_kind(found)}; it must return {len(wanted)} values"
        pairs = zip(found, wanted, strict=True)
        return next(_difference(one, other) for one, other in pairs if not _same(one, other))
    if not isinstance(found, Tensor | int | float):
        return f"returns {_kind(found)}; it must return {_kind(wanted)}"
    mine, theirs = _tensor(found), _tensor(wanted)
    if mine.shape != theirs.shape:
        return f"the shape is {tuple(mine.shape)}; it must be {tuple(theirs.shape)}"
    worst = int((mine - theirs).abs().nan_to_num(torch.inf).argmax())
    numbers = f"{mine.flatten()[worst]:.4g} where {theirs.flatten()[worst]:.4g} is right"
    return f"the shape is right, the numbers are not: {numbers}"


def _tensor(value: Tensor | float) -> Tensor:
    """Return a number or a tensor as a float64 tensor on the CPU, without a gradient."""
    return torch.as_tensor(value).detach().double().cpu()


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"{len(value)} values"
    return f"a value of type {type(value).__name__}"
