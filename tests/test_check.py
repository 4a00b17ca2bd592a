"""Checks pass what is right, name what is wrong, and wait for what is not done."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nstlib import check, kernels

Answer = Callable[..., Any]

# Written as a student would write them, not as the module does.


def gram_by_einsum(features: Tensor) -> Tensor:
    return torch.einsum("nchw,ndhw->ncd", features, features) / features[0, 0].numel()


def gram_in_a_loop(features: Tensor) -> Tensor:
    return torch.stack([f.flatten(1) @ f.flatten(1).T / f[0].numel() for f in features])


def gram_with_batch_folded(features: Tensor) -> Tensor:
    n, c, h, w = features.shape
    flat = features.view(n * c, h * w)
    return flat @ flat.t() / (h * w)


def gram_with_axes_mixed(features: Tensor) -> Tensor:
    n, c, h, w = features.shape
    flat = features.permute(0, 2, 3, 1).reshape(n, c, h * w)
    return flat @ flat.mT / (h * w)


def covariance(features: Tensor) -> Tensor:
    return torch.stack([f.flatten(1).cov(correction=0) for f in features])


def tv_by_slices(x: Tensor) -> Tensor:
    down = (x[:, :, 1:] - x[:, :, :-1]).abs().mean()
    return down + (x[..., 1:] - x[..., :-1]).abs().mean()


def tv_wrapped_around(x: Tensor) -> Tensor:
    return (x - torch.roll(x, 1, 2)).abs().mean() + (x - torch.roll(x, 1, 3)).abs().mean()


def field(tap: str, window: int = 2, stride: int = 2, first: int = 1) -> int:
    size, step = first, 1
    for block, count in ((1, 2), (2, 2), (3, 4)):
        if block > 1:
            size += (window - 1) * step
            step *= stride
        for i in range(1, count + 1):
            size += 2 * step
            if tap == f"relu{block}_{i}":
                return size
    raise AssertionError(tap)


def masked(f: Tensor, m: Tensor) -> Tensor:
    return torch.einsum("nchw,ndhw,nehw->cd", f, f, m) / m.sum()


def coloured(
    result: Tensor, photo: Tensor, weights: tuple[float, ...] = (0.299, 0.587, 0.114)
) -> Tensor:
    def brightness(image: Tensor) -> Tensor:
        return torch.einsum("c,nchw->nhw", torch.tensor(weights), image)[:, None]

    return (photo + brightness(result) - brightness(photo)).clamp(0, 1)


def tile_of(program: int, block: int, size: int) -> tuple[Tensor, Tensor]:
    places = torch.arange(program * block, (program + 1) * block)
    return places, places.lt(size)


def offsets_of(c: int, p: Tensor, width: int, strides: tuple[int, int, int]) -> Tensor:
    rows = torch.div(p, width, rounding_mode="floor")
    return strides[0] * c + strides[1] * rows + strides[2] * (p - rows * width)


def half_gram(f: Tensor) -> Tensor:
    return torch.einsum("nchw,ndhw->ncd", f.float(), f.float()) / f[0, 0].numel()


def slopes(x: Tensor, value: Answer = tv_by_slices) -> Tensor:
    moved = x.clone().requires_grad_()
    return torch.autograd.grad(value(moved), moved)[0]


RIGHT: dict[str, list[Answer]] = {
    "gram": [kernels.gram, gram_by_einsum, gram_in_a_loop],
    "total_variation": [kernels.total_variation, tv_by_slices, lambda x: float(tv_by_slices(x))],
    "receptive_field": [field],
    "masked_gram": [masked, lambda f, m: masked(f.double(), m.double())],
    "keep_colour": [coloured],
    "tile": [tile_of, lambda *given: [part.float() for part in tile_of(*given)]],
    "offsets": [offsets_of],
    "half_gram": [half_gram, kernels.gram],
    "masked_max": [lambda values, mask: values.masked_fill(~mask, -1e30).max(1).values],
    "tv_gradient": [slopes],
}

# What is wrong, and words of the hint that it must get.
WRONG: dict[str, list[tuple[str, Answer]]] = {
    "gram": [
        ("not divided", lambda f: f.flatten(2) @ f.flatten(2).mT),
        ("divided by C·H·W", lambda f: f.flatten(2) @ f.flatten(2).mT / f[0].numel()),
        ("transposed", lambda f: f.flatten(2).mT @ f.flatten(2) / f[0, 0].numel()),
        ("batch is folded", gram_with_batch_folded),
        ("batch is summed", lambda f: torch.einsum("nchw,ndhw->cd", f, f) / f[0, 0].numel()),
        ("batch is averaged", lambda f: gram_in_a_loop(f).mean(0)),
        ("means are subtracted", covariance),
        ("channels and positions are mixed", gram_with_axes_mixed),
        ("the shape is (2, 3, 4, 5); it must be (2, 3, 3)", lambda f: f),
        ("where", lambda f: 1.5 * gram_in_a_loop(f)),
        ("returns 2 values; it must return a tensor of shape (2, 3, 3)", lambda f: (f, f)),
    ],
    "total_variation": [
        ("not absolute", lambda x: x.diff(dim=2).mean() + x.diff(dim=3).mean()),
        ("squared", lambda x: x.diff(dim=2).pow(2).mean() + x.diff(dim=3).pow(2).mean()),
        ("add those side by side", lambda x: (x[:, :, 1:] - x[:, :, :-1]).abs().mean()),
        ("add those above each other", lambda x: (x[..., 1:] - x[..., :-1]).abs().mean()),
        ("summed", lambda x: x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()),
        ("wrapped around", tv_wrapped_around),
        ("axes 2 and 3", lambda x: x.diff(dim=1).abs().mean() + x.diff(dim=2).abs().mean()),
        ("returns a value of type str", lambda x: "0.5"),
    ],
    "receptive_field": [
        ("strides are missing", lambda tap: field(tap, stride=1)),
        ("pools are missing", lambda tap: field(tap, window=1)),
        ("begins at 1", lambda tap: field(tap, first=0)),
        ("too early", lambda tap: {"relu1_2": 6, "relu2_2": 16}.get(tap, field(tap))),
    ],
    "masked_gram": [
        ("divided by H·W", lambda f, m: masked(f, m) * m.sum() / m.numel()),
        ("not divided", lambda f, m: masked(f, m) * m.sum()),
        ("both factors", lambda f, m: kernels.gram(f * m, "sum")[0] / m.sum()),
        ("number of masked positions", lambda f, m: masked(f, m) * m.sum() / m.count_nonzero()),
        ("soft edge is lost", lambda f, m: kernels.gram(f[..., m[0, 0, 0] > 0])[0]),
        ("mask is not used", lambda f, m: kernels.gram(f)[0]),
        ("axis of length one", lambda f, m: masked(f, m)[None]),
    ],
    "keep_colour": [
        ("not clamped", lambda x, c: c + coloured(x, 0 * c) - coloured(c, 0 * c)),
        ("swapped", lambda x, c: coloured(c, x)),
        ("plain mean", lambda x, c: (c + (x - c).mean(1, keepdim=True)).clamp(0, 1)),
        ("subtract Y(c)", lambda x, c: (c + coloured(x, 0 * x)).clamp(0, 1)),
        ("colour is gone", lambda x, c: coloured(x, 0 * x).expand_as(x)),
        ("blue, green, red", lambda x, c: coloured(x, c, (0.114, 0.587, 0.299))),
    ],
    "tile": [
        ("mask is missing", lambda i, b, n: (tile_of(i, b, n)[0], torch.ones(b).bool())),
        ("one too many", lambda i, b, n: (tile_of(i, b, n)[0], tile_of(i, b, n)[0] < n + 1)),
        ("all programs read one block", lambda i, b, n: tile_of(0, b, n)),
        ("blocks overlap", lambda i, b, n: (torch.arange(i, i + b), torch.arange(i, i + b) < n)),
        ("it must return 2 values", lambda i, b, n: tile_of(i, b, n)[0]),
    ],
    "offsets": [
        ("rows are taken to join", lambda c, p, w, s: c * s[0] + p * s[2]),
        ("swapped", lambda c, p, w, s: c * s[0] + p % w * s[1] + p // w * s[2]),
        ("columns' stride is missing", lambda c, p, w, s: offsets_of(c, p, w, (*s[:2], 1))),
        ("channel's stride is missing", lambda c, p, w, s: offsets_of(c, p, w, (1, *s[1:]))),
        ("channel is missing", lambda c, p, w, s: offsets_of(0, p, w, s)),
    ],
    "half_gram": [
        ("overflows", lambda f: f.flatten(2) @ f.flatten(2).mT / 16384),
        ("vanishes", lambda f: f.flatten(2).div(16384) @ f.flatten(2).mT),
        ("overflows", lambda f: (f.flatten(2) @ f.flatten(2).mT).float() / 16384),
        ("not divided", lambda f: 16384 * half_gram(f)),
    ],
    "masked_max": [
        ("masked lanes hold 0", lambda values, mask: (values * mask).amax(1)),
        ("mask is not used", lambda values, mask: values.max(1).values),
        ("smallest", lambda values, mask: values[:, :6].amin(1)),
        ("one number for all", lambda values, mask: values[mask].max()),
    ],
    "tv_gradient": [
        ("sign is turned round", lambda x: -slopes(x)),
        (
            "not divided",
            lambda x: slopes(x, lambda y: sum(y.diff(dim=d).abs().sum() for d in (2, 3))),
        ),
        (
            "steps themselves",
            lambda x: slopes(x, lambda y: sum(y.diff(dim=d).square().mean() / 2 for d in (2, 3))),
        ),
        (
            "count one pair alike",
            lambda x: slopes(
                x, lambda y: sum(y.diff(dim=d).abs().sum() for d in (2, 3)) / y.numel()
            ),
        ),
        (
            "only the neighbour ahead",
            lambda x: slopes(
                x,
                lambda y: (
                    (x[:, :, 1:] - y[:, :, :-1]).abs().mean()
                    + (x[..., 1:] - y[..., :-1]).abs().mean()
                ).mul(1),
            ),
        ),
    ],
}


def run(exercise: str, answer: Answer) -> check.Result:
    result = getattr(check, exercise)(answer)
    assert isinstance(result, check.Result)
    return result


@pytest.mark.parametrize(
    ("exercise", "answer"), [(name, answer) for name, all_ in RIGHT.items() for answer in all_]
)
def test_right_answers_pass(exercise: str, answer: Answer) -> None:
    assert run(exercise, answer) == check.Result(exercise, True, "right")


@pytest.mark.parametrize(
    ("exercise", "words", "answer"),
    [(name, *wrong) for name, all_ in WRONG.items() for wrong in all_],
)
def test_wrong_answers_get_the_hint_that_names_them(
    exercise: str, words: str, answer: Answer
) -> None:
    result = run(exercise, answer)
    assert result.passed is False
    assert words in result.hint


@pytest.mark.parametrize("exercise", RIGHT)
@pytest.mark.parametrize("stub", [lambda *_: None, lambda *_: ...])
def test_an_open_exercise_is_not_done_yet(exercise: str, stub: Answer) -> None:
    result = run(exercise, stub)
    assert result.passed is None
    assert repr(result) == f"… {exercise}: not done yet"


def test_an_answer_that_raises_is_told_what_it_raised() -> None:
    result = check.gram(lambda features: features @ features)
    assert result.passed is False
    assert "raises RuntimeError: " in result.hint


def test_nan_is_wrong() -> None:
    result = check.total_variation(lambda image: image.mean() / 0 * 0)
    assert result.passed is False
    assert "nan where" in result.hint


def test_an_answer_cannot_spoil_its_own_check() -> None:
    def zeroing(features: Tensor) -> Tensor:
        return kernels.gram(features.zero_())

    assert check.gram(zeroing).passed is False


def test_every_check_is_held() -> None:
    public = {
        name
        for name, value in vars(check).items()
        if inspect.isfunction(value) and value.__module__ == check.__name__ and name[0] != "_"
    }
    assert public == set(RIGHT) == set(WRONG)
    assert all(len(wrong) >= 3 for wrong in WRONG.values())


def test_a_result_is_one_line_with_a_mark() -> None:
    assert repr(check.Result("gram", True, "right")) == "✓ gram: right"
    assert repr(check.Result("gram", False, "not divided")) == "✗ gram: not divided"
