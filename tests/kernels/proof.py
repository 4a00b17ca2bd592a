"""How a kernel is proved: cases that cover every pair of circumstances, oracles in float64.

A kernel's test file describes it as a :class:`Subject`: inputs for a case, the call, and an oracle,
a function of float64 tensors that autograd can differentiate. The checks here do the rest, put to
all kernels in ``test_proofs.py``. They
take the package of kernels as an argument, so that copies of it with a planted mistake can be put
through the same checks, and must fail them.

Where they run is said from outside: plainly they prove the references; with ``TRITON_INTERPRET=1``
and ``NSTLIB_KERNELS=triton`` the Triton kernels, in the interpreter; with ``NSTLIB_TEST_DEVICE=cuda``
these on a GPU, at the course's sizes too.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nstlib.kernels.backend import is_interpreted

DEVICE = os.environ.get("NSTLIB_TEST_DEVICE", "cpu")
IN_TRITON = is_interpreted() or DEVICE == "cuda"
plainly = pytest.mark.skipif(is_interpreted(), reason="of the operator, not of the Triton kernel")

# A tile is 2048 pixels, or a power of two that holds the plane.
SHAPES = {
    "one": (1, 1, 1, 1),
    "primes": (3, 7, 61, 67),
    "tile": (1, 2, 32, 64),
    "tile-1": (1, 3, 23, 89),
    "tile+1": (2, 2, 1, 2049),
    "beyond 16 bits": (1, 1, 257, 263),
}
COURSE_SHAPES = {
    "relu1_1": (1, 64, 512, 512),
    "relu3_1": (8, 256, 64, 64),
    "video": (1, 3, 288, 512),
}
if DEVICE == "cuda":
    SHAPES |= COURSE_SHAPES
LAYOUTS = ("contiguous", "channels_last", "channel slice", "crop", "offset", "expanded")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
VALUES = ("normal", "constant", "far from 0", "large", "one NaN")

# What an element may be off, as a share of the largest value; sums of very many terms more.
TOLERANCES = {
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 1.6e-2,
    torch.float64: 1e-12,
}
OF_LONG_SUMS = 1e-4
LONG = 100_000


@dataclass(frozen=True)
class Case:
    """Circumstances of one call."""

    shape: str
    layout: str
    dtype: torch.dtype
    values: str
    option: str

    @property
    def size(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return SHAPES[self.shape]

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.option or '-'}, {self.shape}, {self.layout}, {dtype}, {self.values}"


@dataclass(frozen=True)
class Subject:
    """A kernel, and what is right.

    ``inputs`` makes the tensors of a case, each in the dtype that the call takes it in; ``call``
    gives them to a package of kernels; ``oracle`` takes the same tensors in float64. Both return
    one tensor or several. ``magnitude`` says how large the numbers are that a result is the sum of:
    where they nearly cancel, the result keeps their rounding, and is measured against them.
    """

    name: str
    inputs: Callable[[Case], list[Tensor]]
    call: Callable[..., Tensor | tuple[Tensor, ...]]
    oracle: Callable[..., Tensor | tuple[Tensor, ...]]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    magnitude: Callable[..., float] = lambda *_, **__: 0.0
    sums: bool = False  # whether an output is a sum over a plane, or the picture
    rounded: bool = False  # whether on a CPU PyTorch sums bfloat16 in float32, but rounds the sum
    own_gradient: bool = False  # whether Triton computes it, not a formula in PyTorch's operations

    def cases(self) -> list[Case]:
        """Return cases among which every pair of circumstances occurs."""
        return [
            Case(*row)
            for row in all_pairs(tuple(SHAPES), LAYOUTS, DTYPES, VALUES, tuple(self.options))
        ]

    def gradient_cases(self) -> list[Case]:
        """Return cases for gradients: all that have one, or in each option and type."""
        if self.own_gradient:
            return [
                case for case in self.cases() if case.values != "one NaN" and case.shape != "one"
            ]
        layouts = itertools.cycle(("channels_last", "contiguous"))
        return [
            Case("tile-1", layout, dtype, "normal", option)
            for option, dtype, layout in zip(
                *zip(*itertools.product(self.options, DTYPES), strict=True), layouts, strict=False
            )
        ]


@functools.cache
def all_pairs(*axes: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    """Return rows, a value of each axis in each, such that any two values stand in one together."""
    pairs = [
        ((i, a), (j, b))
        for (i, left), (j, right) in itertools.combinations(enumerate(axes), 2)
        for a in left
        for b in right
    ]
    bits = {pair: 1 << place for place, pair in enumerate(pairs)}  # a set of pairs is a number
    held = {
        row: sum(bits[pair] for pair in itertools.combinations(enumerate(row), 2))
        for row in itertools.product(*axes)
    }
    rows, missing = [], sum(bits.values())
    while missing:
        best = max(held, key=lambda row: (held[row] & missing).bit_count())
        rows.append(best)
        missing &= ~held[best]
    return tuple(rows)


# ---------------------------------------------------------------------------------------- inputs


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in float64, drawn on the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps_of(case: Case, seed: int = 0) -> Tensor:
    """Return maps with the values, the dtype and the layout of a case."""
    values = draw(*case.size, seed=seed)
    if case.values == "constant":
        values = torch.full_like(values, 0.7)
    elif case.values == "far from 0":
        values = values + 1000
    elif case.values == "large":
        values = 3000 * values
    elif case.values == "one NaN":
        values[0, 0, -1, -1] = torch.nan
    return laid_out(values.to(DEVICE, case.dtype), case.layout)


def laid_out(values: Tensor, layout: str) -> Tensor:
    """Return the same maps, in another order of memory; expanded, the first row stands for all."""
    images, channels, height, width = values.shape
    if layout == "channels_last":
        return values.contiguous(memory_format=torch.channels_last)
    if layout == "channel slice":
        around = values.new_full((images, channels + 3, height, width), 7.0)
        return around[:, 1:-2].copy_(values)
    if layout == "crop":
        around = values.new_full((images, channels, height + 2, width + 3), 7.0)
        return around[:, :, 1:-1, 2:-1].copy_(values)
    if layout == "offset":
        return values.new_full((values.numel() + 3,), 7.0)[3:].view(values.shape).copy_(values)
    if layout == "expanded":
        return values[:, :, :1].contiguous().expand(values.shape)
    return values.contiguous()


def as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return one output or several as several."""
    return (outputs,) if isinstance(outputs, Tensor) else outputs


@contextmanager
def by_pytorch() -> Iterator[None]:
    """Let PyTorch compute, whatever was chosen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSTLIB_KERNELS", "torch")
        yield


# ---------------------------------------------------------------------------------------- checks


def error_of(found: Tensor, exact: Tensor, magnitude: float = 0.0) -> float:
    """Return the largest error as a share of the largest value; refuse NaN in other places."""
    found, exact = found.double().cpu(), exact.cpu()
    assert found.shape == exact.shape
    assert torch.equal(found.isnan(), exact.isnan()), "NaN stands in other places"
    largest = exact.nan_to_num().abs().max().item()
    worst = (found - exact).nan_to_num().abs().max().item()
    return worst / max(largest, magnitude, 1e-6)


def check_value(kernels: Any, subject: Subject, case: Case) -> None:
    """Compare with the oracle, and Triton also with what PyTorch makes of the same dtype."""
    inputs, option = subject.inputs(case), subject.options[case.option]
    found = as_tuple(subject.call(kernels, *inputs, **option))
    exact = as_tuple(subject.oracle(*(value.double() for value in inputs), **option))
    magnitude = subject.magnitude(*inputs, **option)
    errors = [error_of(*pair, magnitude) for pair in zip(found, exact, strict=True)]
    for error, ours in zip(errors, found, strict=True):
        assert error <= tolerance_of(subject, case, ours.dtype), f"{error:.1e} off"
    if not IN_TRITON:  # it is PyTorch that computes
        return
    with by_pytorch():
        plain = as_tuple(subject.call(kernels, *inputs, **option))
    for error, theirs, right in zip(errors, plain, exact, strict=True):
        theirs_off = error_of(theirs, right, magnitude)
        # A few units of rounding are forgiven: PyTorch may have none, by luck.
        units = 4 * torch.finfo(theirs.dtype).eps
        assert error <= 2 * theirs_off + units, f"{error:.1e} off; PyTorch {theirs_off:.1e}"


def tolerance_of(subject: Subject, case: Case, dtype: torch.dtype) -> float:
    """Return what an output of this dtype may be off."""
    _, channels, height, width = case.size
    if subject.rounded and not IN_TRITON and case.dtype == torch.bfloat16:
        return TOLERANCES[torch.bfloat16]
    if subject.sums and channels * height * width > LONG and dtype == torch.float32:
        return OF_LONG_SUMS
    return TOLERANCES[dtype]


def check_gradient(kernels: Any, subject: Subject, case: Case) -> None:
    """Compare the gradients with those of the oracle."""
    option = subject.options[case.option]
    inputs = [value.detach().requires_grad_() for value in subject.inputs(case)]
    twins = [value.detach().double().requires_grad_() for value in inputs]
    found, exact = (
        as_tuple(outputs)
        for outputs in (
            subject.call(kernels, *inputs, **option),
            subject.oracle(*twins, **option),
        )
    )
    # A mean's gradient is its elements' number times too small for half precision, but for this.
    probes = [
        draw(*value.shape, seed=9).to(value.device) * (1 if value.ndim else inputs[0].numel())
        for value in exact
    ]
    ours, right = (
        torch.autograd.grad(
            outputs,
            leaves,
            [probe.to(value.dtype) for value, probe in zip(outputs, probes, strict=True)],
        )
        for outputs, leaves in ((found, inputs), (exact, twins))
    )
    for value, gradient, wanted in zip(inputs, ours, right, strict=True):
        assert gradient.dtype == value.dtype
        error = error_of(gradient, wanted)
        assert error <= 3 * TOLERANCES[case.dtype], f"{error:.1e} off in a gradient"


def check_twice(kernels: Any, subject: Subject, case: Case) -> None:
    """Two equal calls give equal bits."""
    inputs, option = subject.inputs(case), subject.options[case.option]
    first, second = (as_tuple(subject.call(kernels, *inputs, **option)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())


def check_operator(kernels: Any, subject: Subject) -> None:
    """Schema, fake and gradient are consistent; ``torch.compile`` sees one node and no break."""
    layouts = itertools.cycle(("contiguous", "channels_last"))
    for option, layout in zip(subject.options, layouts, strict=False):
        small = dataclasses.replace(
            subject.cases()[0], layout=layout, dtype=torch.float32, values="normal", option=option
        )
        inputs = [value.requires_grad_() for value in subject.inputs(small)]

        def call(*values: Tensor, option: str = option) -> tuple[Tensor, ...]:
            return as_tuple(subject.call(kernels, *values, **subject.options[option]))

        called = operators_called(lambda inputs=inputs: call(*inputs))
        assert called
        for operator, arguments in called:
            with warnings.catch_warnings():
                # opcheck looks at the .grad of copies that it made itself.
                warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not")
                torch.library.opcheck(operator, arguments)
        torch._dynamo.reset()
        compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
        for plain, made in zip(call(*inputs), compiled(*inputs), strict=True):
            assert torch.equal(plain, made)
            assert plain.stride() == made.stride()


def check_derivatives(kernels: Any, subject: Subject) -> None:
    """First and second derivatives against differences, in float64."""
    for option in subject.options:
        case = Case("tiny", "contiguous", torch.float64, "normal", option)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(SHAPES, "tiny", (2, 3, 4, 3))
            inputs = tuple(value.double().requires_grad_() for value in subject.inputs(case))

        def call(*values: Tensor, option: str = option) -> tuple[Tensor, ...]:
            return as_tuple(subject.call(kernels, *values, **subject.options[option]))

        assert torch.autograd.gradcheck(call, inputs)
        # Along random directions: every entry of every second derivative takes a minute.
        assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


def operators_called(call: Callable[[], object]) -> list[tuple[Any, tuple[Any, ...]]]:
    """Return the operators of our own that a call reaches, with their arguments."""
    seen: list[tuple[Any, tuple[Any, ...]]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, arguments: Any = (), options: Any = None
        ) -> Any:
            if "aten" not in function.namespace and "prim" not in function.namespace:
                leaves = (
                    value.detach().requires_grad_() if isinstance(value, Tensor) else value
                    for value in arguments
                )
                seen.append((function, tuple(leaves)))
            return function(*arguments, **(options or {}))

    with torch.no_grad(), Watch():
        call()
    return seen
