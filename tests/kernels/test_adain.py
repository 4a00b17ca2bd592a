"""AdaIN against float64: the style's statistics arrive, alpha and mask blend, in every layout."""

from __future__ import annotations

import pytest
import torch
from proof import DEVICE, Case, Subject, draw, maps_of
from torch import Tensor

from nstlib import kernels

EPS = 1e-5


def oracle(
    content: Tensor,
    style_mean: Tensor,
    style_std: Tensor,
    alpha: Tensor | float = 1.0,
    mask: Tensor | float = 1.0,
) -> Tensor:
    mean = content.mean((2, 3), keepdim=True)
    std = ((content - mean) ** 2).mean((2, 3), keepdim=True).add(EPS).sqrt()
    styled = (content - mean) / std * style_std[..., None, None] + style_mean[..., None, None]
    amount = mask * (alpha.view(-1, 1, 1, 1) if isinstance(alpha, Tensor) else alpha)
    return (1 - amount) * content + amount * styled


def inputs(case: Case) -> list[Tensor]:
    images, channels, height, width = case.size
    content = maps_of(case)
    exact = torch.float64 if case.dtype == torch.float64 else torch.float32
    statistics = draw(2, images, channels, seed=1).to(DEVICE, exact)
    given = [content, statistics[0], statistics[1].abs()]
    if case.option != "plain":
        given.append(draw(images, seed=2).sigmoid().to(DEVICE, exact))
    if case.option == "alpha and mask":
        given.append(draw(images, 1, height, width, seed=3).sigmoid().to(DEVICE, exact))
    return given


def magnitude(content: Tensor, *_: Tensor) -> float:
    """x − μ keeps the rounding of x, and σₛ/σ magnifies it."""
    finite = content.double().nan_to_num()
    std = finite.flatten(2).std(2, correction=0).clamp_min(EPS**0.5).min().item()
    return finite.abs().max().item() * max(1.0, 2 / std)


SUBJECT = Subject(
    name="adain",
    inputs=inputs,
    call=lambda kernels, *tensors: kernels.adain(*tensors, eps=EPS),
    oracle=oracle,
    options={"plain": {}, "alpha": {}, "alpha and mask": {}},
    magnitude=magnitude,
)


@pytest.mark.parametrize("side", [16, 200])  # one tile holds the plane, and it does not
def test_the_result_has_the_styles_statistics(side: int) -> None:
    content = draw(1, 3, side, side).float().to(DEVICE)
    mean = torch.tensor([[1.0, -2.0, 0.5]], device=DEVICE)
    std = torch.tensor([[0.1, 3.0, 1.0]], device=DEVICE)
    found_mean, found_std = kernels.moments(kernels.adain(content, mean, std, eps=0))
    torch.testing.assert_close(found_mean, mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found_std, std, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_alpha_0_is_the_content_bit_for_bit(dtype: torch.dtype) -> None:
    content = draw(2, 3, 9, 7).to(DEVICE, dtype)
    style = torch.ones(2, 3, device=DEVICE)
    assert torch.equal(kernels.adain(content, style, style, alpha=0.0), content)
    mask = torch.zeros(1, 1, 1, 1, device=DEVICE)
    assert torch.equal(kernels.adain(content, style, style, mask=mask), content)


def test_each_image_has_its_alpha_and_shares_a_style() -> None:
    content = draw(2, 3, 9, 7).float().to(DEVICE)
    mean, std = draw(2, 1, 3, seed=1).float().abs().to(DEVICE)
    both = kernels.adain(content, mean, std, alpha=torch.tensor([0.2, 0.9], device=DEVICE))
    for image, alpha, found in zip(content, (0.2, 0.9), both, strict=True):
        torch.testing.assert_close(found[None], kernels.adain(image[None], mean, std, alpha))


@pytest.mark.parametrize("constant", [0.3, 100.0, 1000.0])
def test_a_constant_channel_becomes_the_styles_mean(constant: float) -> None:
    content = torch.full((1, 1, 5, 7), constant, device=DEVICE)
    found = kernels.adain(
        content, torch.full((1, 1), 2.0, device=DEVICE), torch.ones(1, 1, device=DEVICE)
    )
    torch.testing.assert_close(found, torch.full_like(found, 2.0), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"style_mean": torch.zeros(1, 4)},
            r"style_mean has shape \(1, 4\); .* it must be \(2, 3\)",
        ),
        ({"style_std": torch.zeros(3)}, r"style_std has shape \(3,\)"),
        ({"alpha": torch.zeros(3)}, r"alpha has shape \(3,\); beside content it must be \(2,\)"),
        ({"mask": torch.zeros(2, 3, 4, 4)}, r"mask has shape \(2, 3, 4, 4\)"),
        ({"eps": -1.0}, "eps is -1.0; it must be at least 0"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, object], message: str) -> None:
    arguments = {"style_mean": torch.zeros(2, 3), "style_std": torch.ones(2, 3)} | change
    with pytest.raises(ValueError, match=message):
        kernels.adain(torch.zeros(2, 3, 4, 4), **arguments)


def test_a_style_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="style_mean is list; it must be a floating-point tensor"):
        kernels.adain(torch.zeros(1, 1, 2, 2), [0.0], torch.ones(1, 1))  # type: ignore[arg-type]
