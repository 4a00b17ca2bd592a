"""What every check shares: an answer is run, compared with what is right, and its mistake is named."""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Answer = Callable[..., Any]
Mistakes = dict[str, Answer]  # a hint, and what somebody who makes the mistake would have written
Number = int | float | np.number | np.bool_

SHORT = 100  # letters: what an example was called with is told where it takes no more
HALF = (torch.float16, torch.bfloat16)


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
    *,
    read: Callable[[Any], Any] = lambda value: value,
    has_gradient: bool = False,
) -> Result:
    """Run ``answer`` on every input; compare with ``right``, and where they differ, find out why.

    ``read`` brings what an answer may return in several forms into the one of ``right``. With
    ``has_gradient``, what the answer returns must also lead a gradient back to its first input.
    """
    try:
        hint = _verdict(answer, right, inputs, mistakes, read, has_gradient)
    except _AnswerError as raised:
        error = raised.__cause__ or raised
        is_stub = isinstance(error, NotImplementedError) and not error.args
        hint = None if is_stub else _raised(error, answer)
    if hint is None:
        return Result(exercise, None, "not done yet")
    return Result(exercise, not hint, hint or "right")


def seeded_maps(*shape: int, seed: int = 0) -> Tensor:
    """Return seeded maps with means that are not zero, as after a ReLU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.5


class _AnswerError(Exception):
    """An answer raised its cause."""


def _verdict(
    answer: Answer,
    right: Answer,
    inputs: Sequence[tuple[Any, ...]],
    mistakes: Mistakes,
    read: Callable[[Any], Any],
    has_gradient: bool,
) -> str | None:
    """Return what is wrong: nothing where all is right, and None where there is no answer yet."""
    if not callable(answer):
        return f"this is {_kind(answer)}: hand over the function itself, and do not call it"
    if not _takes(answer, len(inputs[0])):
        return f"it is called with {_count(len(inputs[0]), 'argument')}, as the stub is"
    found, wanted, changed = [], [], ""
    for given in inputs:
        mine = copy.deepcopy(given)
        found.append(_run(answer, mine, read))
        wanted.append(right(*given))
        changed = changed or _changed(answer, mine, given)
        tensors = isinstance(found[-1], Tensor) and isinstance(wanted[-1], Tensor)
        if tensors and found[-1].shape != wanted[-1].shape:
            break  # it may be a matrix over positions, and the next example is larger
    inputs = inputs[: len(found)]
    if all(value is ... or (value is None and _is_stub(answer)) for value in found):
        return None
    for given, value in zip(inputs, found, strict=True):
        if value is None or value is ...:
            return f"{_example(answer, given, inputs)}it returns nothing: a `return` is missing"
    if not _same(found, wanted):
        named = (
            hint for hint, made in mistakes.items() if _same(found, [made(*g) for g in inputs])
        )
        return next(named, changed) or _difference(answer, found, wanted, inputs)
    if has_gradient and not changed:
        return _lost_gradient(answer, inputs[0])
    return changed


def _run(answer: Answer, given: Sequence[Any], read: Callable[[Any], Any]) -> Any:
    """Return what the answer gives, made into a list where it comes one by one."""
    try:
        value = answer(*given)
        return read(list(value) if isinstance(value, Iterator) else value)
    except Exception as error:  # whatever a student's function raises is an answer of its kind
        raise _AnswerError from error


def _takes(answer: Answer, count: int) -> bool:
    """Say whether a function can be called with so many arguments."""
    try:
        inspect.signature(answer).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # built in, and without a signature that could be read
        return True
    return True


def _is_stub(answer: Answer) -> bool:
    """Say whether nothing is done in a function: it asks for no name, and sets none."""
    code = getattr(answer, "__code__", None)
    if code is None:
        return False
    starred = (inspect.CO_VARARGS, inspect.CO_VARKEYWORDS)
    arguments = code.co_argcount + code.co_kwonlyargcount
    arguments += sum(bool(code.co_flags & flag) for flag in starred)
    return not code.co_names and code.co_nlocals == arguments


def _changed(answer: Answer, mine: Sequence[Any], given: Sequence[Any]) -> str:
    """Say which argument was written to, if one was."""
    names = _arguments(answer)
    for place, (now, before) in enumerate(zip(mine, given, strict=True)):
        if not _same(now, before):
            name = names[place] if place < len(names) else "its argument"
            return f"it writes into {name}, which belongs to whoever calls: work on a copy"
    return ""


def _lost_gradient(answer: Answer, given: Sequence[Any]) -> str:
    """Say that no gradient leads back from the answer to its arguments, if none does."""
    watched = [value.clone() if isinstance(value, Tensor) else value for value in given]
    watched[0].requires_grad_()
    try:
        if answer(*watched).requires_grad:
            return ""
    except Exception:  # without a gradient it ran: NumPy, say, takes no tensor that needs one
        pass
    return (
        "the numbers are right, but no gradient leads back through them: leave out what cuts it "
        "(detach, no_grad, numpy, torch.tensor)"
    )


def _raised(error: BaseException, answer: Answer) -> str:
    """Say what was raised, and in which line of the answer."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    hint = f"raises {': '.join([type(error).__name__, *said[:1]])}"
    code = getattr(answer, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    if not own:
        return hint
    return f"{hint} (line {': '.join(filter(None, [str(own[-1].lineno), own[-1].line]))})"


def _same(found: Any, wanted: Any) -> bool:
    """Say whether two answers agree: their structure, shapes and values, NaN equal to NaN."""
    if isinstance(wanted, list | tuple):
        alike = isinstance(found, list | tuple) and len(found) == len(wanted)
        return alike and all(map(_same, found, wanted))
    if isinstance(wanted, str) or not isinstance(found, Tensor | Number):
        return type(found) is type(wanted) and bool(found == wanted)
    mine, theirs = _tensor(found), _tensor(wanted)
    if mine.is_complex() or (mine.dtype in HALF and theirs.dtype not in HALF):
        return False
    return mine.shape == theirs.shape and torch.allclose(
        _exact(mine), _exact(theirs), rtol=1e-4, atol=1e-6, equal_nan=True
    )


def _difference(answer: Answer, found: Any, wanted: Any, inputs: Sequence[tuple[Any, ...]]) -> str:
    """Say in words where the answers first differ, and in which example."""
    for given, one, other in zip(inputs, found, wanted, strict=True):
        if not _same(one, other):
            factor = _factor(found, wanted)
            return _example(answer, given, inputs) + (factor or _first_difference(one, other))
    raise AssertionError("answers that are the same do not differ")


def _first_difference(found: Any, wanted: Any) -> str:
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        if len(found) != len(wanted):
            return f"returns {_kind(found)}; it must return {_kind(wanted)}"
        pairs = zip(found, wanted, strict=True)
        place, one, other = next(
            (place, *pair) for place, pair in enumerate(pairs) if not _same(*pair)
        )
        return f"number {place}, counted from 0: {_first_difference(one, other)}"
    if isinstance(found, str) and isinstance(wanted, str | int):
        return f"it is {found!r}; {wanted!r} is right"
    numbers = isinstance(found, Tensor | Number)
    if not numbers or not isinstance(wanted, Tensor | int | float):
        return f"returns {_kind(found)}; it must return {_kind(wanted)}{_way_out(found, wanted)}"
    mine, theirs = _tensor(found), _tensor(wanted)
    if mine.shape != theirs.shape:
        return f"the shape is {tuple(mine.shape)}; it must be {tuple(theirs.shape)}"
    if mine.is_complex():
        return "the numbers are complex; real ones are wanted (eigh is for symmetric matrices)"
    if mine.dtype in HALF and theirs.dtype not in HALF:
        return f"the dtype is {mine.dtype}, which holds three digits: return float32"
    worst = int((_exact(mine) - _exact(theirs)).abs().nan_to_num(torch.inf).argmax())
    one, other = _exact(mine).flatten()[worst], _exact(theirs).flatten()[worst]
    if mine.ndim == 0:
        return f"{one:.4g} where {other:.4g} is right"
    whole = theirs.is_floating_point() and not mine.is_floating_point()
    rounded = f" (the dtype is {mine.dtype}, which has whole numbers only)" if whole else ""
    return f"the shape is right, the numbers are not: {one:.4g} where {other:.4g} is right{rounded}"


def _factor(found: Sequence[Any], wanted: Sequence[Any]) -> str:
    """Say that all numbers are right but for a factor, where they are: a division is missing, say."""
    factors = []
    for one, other in zip(found, wanted, strict=True):
        if not isinstance(one, Tensor) or not isinstance(other, Tensor) or other.numel() < 2:
            return ""
        if one.is_complex() or one.shape != other.shape or not other.any():
            return ""
        mine, theirs = _exact(one), _exact(other)
        factors.append((mine * theirs).sum() / theirs.square().sum())
        if factors[-1] == 0 or not factors[-1].isfinite() or not _same(mine, factors[-1] * theirs):
            return ""
    times = list(dict.fromkeys(f"{float(factor):.4g}" for factor in factors))
    hint = f"all numbers are {', then '.join(times)} times what they should be"
    return hint if len(times) == 1 else f"{hint}: take sizes from the shape, not from one example"


def _example(answer: Answer, given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> str:
    """Say which example this is, by what differs from one to the next; not where it is long."""
    if any(isinstance(value, Tensor) for value in given) or len(inputs) == 1:
        return ""
    names = (*_arguments(answer), *[""] * len(given))  # those of *given have none
    telling = [
        f"{name} = {value!r}".removeprefix(" = ")
        for name, value, column in zip(names, given, zip(*inputs, strict=True), strict=False)
        if any(not _same(other, value) for other in column)
    ]
    text = f"for {', '.join(telling)}: "
    return text if len(text) <= SHORT else ""


def _arguments(answer: Answer) -> tuple[str, ...]:
    """Return the names of a function's arguments, as far as it names them."""
    code = getattr(answer, "__code__", None)
    return tuple(code.co_varnames[: code.co_argcount]) if code else ()


def _tensor(value: Tensor | Number) -> Tensor:
    """Return a number or a tensor as a dense tensor; a number too large for any is infinite."""
    try:
        return torch.as_tensor(value).to_dense()
    except (OverflowError, RuntimeError, ValueError):
        return torch.tensor(torch.inf)


def _exact(value: Tensor) -> Tensor:
    """Return a tensor as float64 on the CPU, without a gradient."""
    return value.detach().double().cpu()


def _kind(value: Any) -> str:
    if isinstance(value, Number) or (isinstance(value, Tensor) and value.ndim == 0):
        return "a number"
    if isinstance(value, Tensor | np.ndarray):
        name = "tensor" if isinstance(value, Tensor) else "NumPy array"
        return f"a {name} of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return _count(len(value), "value")
    return "nothing" if value is None else f"a value of type {type(value).__name__}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _way_out(found: Any, wanted: Any) -> str:
    """Say what makes the one kind into the other, where there is such a thing."""
    if isinstance(found, np.ndarray) and isinstance(wanted, Tensor):
        return " (torch.from_numpy makes one of it, but stay with tensors: NumPy has no gradients)"
    if isinstance(found, torch.return_types.max) and isinstance(wanted, Tensor):
        return " (take its .values)"
    if isinstance(found, list | tuple) and isinstance(wanted, Tensor):
        return " (torch.stack, torch.cat or torch.tensor makes one of them)"
    is_row = isinstance(found, Tensor | np.ndarray) and found.ndim == 1
    if is_row and isinstance(wanted, list | tuple) and len(found) == len(wanted):
        return " (its .tolist() is a list)"
    return ""
