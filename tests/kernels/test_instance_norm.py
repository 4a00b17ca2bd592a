"""Instance norm against PyTorch's own in float64, with affine map, ReLU and residual in order."""

from __future__ import annotations

import pytest
import torch
from proof import DEVICE, Case, Subject, draw, maps_of
from torch import Tensor
from torch.nn import functional as F

from nstlib import kernels

EPS = 1e-5


def oracle(
    features: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    single = features[0, 0].numel() == 1  # PyTorch refuses to normalise one position; NaN stays
    out = features - features if single else F.instance_norm(features, eps=EPS)
    if weight is not None:
        out = out * weight.expand(features.shape[:2])[..., None, None]
    if bias is not None:
        out = out + bias.expand(features.shape[:2])[..., None, None]
    out = out.relu() if relu else out
    return out if residual is None else out + residual


def inputs(case: Case) -> list[Tensor]:
    images, channels = case.size[:2]
    given = [maps_of(case)]
    exact = torch.float64 if case.dtype == torch.float64 else torch.float32
    if case.option != "plain":
        own = (2, images, channels) if case.option == "each its own" else (2, channels)
        given += list(draw(*own, seed=1).to(DEVICE, exact))
    if case.option == "all":
        other = "channels_last" if case.layout == "contiguous" else "contiguous"
        given.append(maps_of(Case(case.shape, other, case.dtype, "normal", ""), seed=2))
    return given


def magnitude(features: Tensor, *_: Tensor, **__: bool) -> float:
    """x − μ keeps the rounding of x, and γ/σ magnifies it."""
    finite = features.double().nan_to_num()
    std = finite.flatten(2).std(2, correction=0).clamp_min(EPS**0.5).min().item()
    return finite.abs().max().item() * max(1.0, 2 / std)


SUBJECT = Subject(
    name="instance_norm",
    inputs=inputs,
    call=lambda kernels, *tensors, relu=False: kernels.instance_norm(*tensors, relu=relu, eps=EPS),
    oracle=oracle,
    options={
        "plain": {},
        "each its own": {},
        "affine, relu": {"relu": True},
        "all": {"relu": True},
    },
    magnitude=magnitude,
)


@pytest.mark.parametrize("side", [16, 200])  # one tile holds the plane, and it does not
def test_the_residual_comes_after_the_relu(side: int) -> None:
    features = draw(1, 2, side, side).float().to(DEVICE)
    residual = torch.full_like(features, -3.0)
    found = kernels.instance_norm(features, residual=residual, relu=True)
    assert found.min() == -3, "where the ReLU cut, the residual alone is left"
    torch.testing.assert_close(found + 3, kernels.instance_norm(features).relu())


def test_it_is_pytorchs_layer() -> None:
    layer = torch.nn.InstanceNorm2d(4, affine=True).to(DEVICE)
    torch.nn.init.normal_(layer.weight)
    features = draw(2, 4, 9, 12).float().to(DEVICE)
    found = kernels.instance_norm(features, layer.weight, layer.bias)
    torch.testing.assert_close(found, layer(features), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weight": torch.zeros(4)},
            r"weight has shape \(1, 4\); beside features it must be \(2, 3\)",
        ),
        ({"bias": torch.zeros(3, 3)}, r"bias has shape \(3, 3\)"),
        ({"residual": torch.zeros(2, 3, 4, 5)}, r"residual has shape \(2, 3, 4, 5\) on cpu"),
        ({"eps": -1.0}, "eps is -1.0; it must be at least 0"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernels.instance_norm(torch.zeros(2, 3, 4, 4), **change)


def test_any_order_of_axes_in_memory_is_kept() -> None:
    maps = draw(2, 4, 6, 5).to(DEVICE).permute(0, 1, 3, 2)
    out = kernels.instance_norm(maps)
    assert out.stride() == torch.empty_like(maps).stride()
    assert torch.allclose(out, kernels.instance_norm(maps.contiguous()), atol=1e-6)
