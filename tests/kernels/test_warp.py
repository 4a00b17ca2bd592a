"""Warping against PyTorch's grid sampling in float64: three borders, the blend, odd flows."""

from __future__ import annotations

import pytest
import torch
from proof import DEVICE, Case, Subject, draw, maps_of
from torch import Tensor
from torch.nn import functional as F

from nstlib import kernels

BORDERS = ("border", "zeros", "reflection")


def oracle(
    image: Tensor,
    flow: Tensor,
    current: Tensor | None = None,
    mask: Tensor | None = None,
    border: str = "border",
) -> Tensor:
    height, width = image.shape[2:]
    x = torch.arange(width, device=image.device) + flow[:, 0]
    y = torch.arange(height, device=image.device)[:, None] + flow[:, 1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    moved = F.grid_sample(image.contiguous(), grid, padding_mode=border, align_corners=False)
    if mask is None or current is None:
        return moved
    return mask * moved + (1 - mask) * current


def inputs(case: Case) -> list[Tensor]:
    images, _, height, width = case.size
    exact = torch.float64 if case.dtype == torch.float64 else torch.float32
    # Some pixels a frame, and for a few far beyond it; never whole, where the oracle has a kink.
    flow = 3 * draw(images, 2, height, width, seed=1)
    flow[..., ::5] *= 20
    flow = flow + 0.01 * (flow - flow.round()).abs().lt(0.005)
    given = [maps_of(case), flow.to(DEVICE, exact)]
    if "blend" in case.option:
        given.append(maps_of(Case(case.shape, "contiguous", case.dtype, "normal", ""), seed=2))
        given.append(draw(images, 1, height, width, seed=3).sigmoid().to(DEVICE, exact))
    return given


def call(kernels: object, image: Tensor, flow: Tensor, *blend: Tensor, border: str) -> Tensor:
    return kernels.warp(image, flow, border, *blend)  # type: ignore[attr-defined]


SUBJECT = Subject(
    name="warp",
    inputs=inputs,
    call=call,
    oracle=oracle,
    options={border: {"border": border} for border in BORDERS}
    | {f"{border}, blend": {"border": border} for border in BORDERS},
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("border", BORDERS)
def test_a_still_scene_stays_bit_for_bit(border: str, dtype: torch.dtype) -> None:
    image = draw(1, 3, 11, 1025).to(DEVICE, dtype)
    still = torch.zeros(1, 2, 1, 1, device=DEVICE)
    assert torch.equal(kernels.warp(image, still, border), image)


@pytest.mark.parametrize("border", BORDERS)
def test_whole_pixels_are_moved_whole(border: str) -> None:
    """Each pixel asks where it came from: a flow to the right shows what stands to the right."""
    image = torch.arange(1.0, 7, device=DEVICE).view(1, 1, 1, 6)
    flow = torch.tensor([2.0, 0.0], device=DEVICE).view(1, 2, 1, 1)
    beyond = {"border": [6.0, 6], "zeros": [0.0, 0], "reflection": [6.0, 5]}[border]
    assert kernels.warp(image, flow, border).flatten().tolist() == [3, 4, 5, 6, *beyond]
    back = {"border": [1.0, 1], "zeros": [0.0, 0], "reflection": [2.0, 1]}[border]
    assert kernels.warp(image, -flow, border).flatten().tolist() == [*back, 1, 2, 3, 4]


def test_down_is_down() -> None:
    image = torch.arange(6.0, device=DEVICE).view(1, 1, 3, 2)
    flow = torch.tensor([0.0, 1.0], device=DEVICE).view(1, 2, 1, 1)
    assert kernels.warp(image, flow).flatten().tolist() == [2, 3, 4, 5, 4, 5]


@pytest.mark.parametrize("border", BORDERS)
def test_a_flow_that_is_no_number_spoils_its_own_pixel_alone(border: str) -> None:
    image = draw(1, 2, 5, 6).float().to(DEVICE)
    flow = torch.zeros(1, 2, 5, 6, device=DEVICE)
    flow[0, 0, 1, 2] = flow[0, 1, 3, 4] = torch.nan
    found = kernels.warp(image, flow, border)
    wanted = torch.zeros_like(found, dtype=torch.bool)
    wanted[:, :, 1, 2] = wanted[:, :, 3, 4] = True
    assert torch.equal(found.isnan(), wanted)
    assert torch.equal(found[~wanted], image[~wanted])


@pytest.mark.parametrize("far", [1e20, torch.inf])
@pytest.mark.parametrize("border", BORDERS)
def test_a_flow_far_beyond_the_picture(border: str, far: float) -> None:
    image = draw(1, 1, 4, 8).float().to(DEVICE)
    found = kernels.warp(image, torch.full((1, 2, 1, 1), far, device=DEVICE), border)
    if border == "zeros":
        assert not found.any()
    elif border == "border":
        assert (found == image[0, 0, -1, -1]).all()
    else:
        assert torch.isin(found, image).all()


def test_the_mask_chooses_between_the_frames() -> None:
    before, now = torch.zeros(1, 1, 2, 2, device=DEVICE), torch.ones(1, 1, 2, 2, device=DEVICE)
    mask = torch.tensor([[1.0, 0.0], [0.25, 0.5]], device=DEVICE).view(1, 1, 2, 2)
    still = torch.zeros(1, 2, 1, 1, device=DEVICE)
    found = kernels.warp(before, still, current=now, mask=mask)
    assert found.flatten().tolist() == [0, 1, 0.75, 0.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow": torch.zeros(1, 3, 4, 4)}, r"flow has shape \(1, 3, 4, 4\); .* \(2, 2, 4, 4\)"),
        ({"border": "edge"}, "border is 'edge'; it takes 'border', 'zeros', 'reflection'"),
        ({"mask": torch.zeros(2, 1, 4, 4)}, "current is missing"),
        ({"current": torch.zeros(2, 3, 4, 4)}, "mask is missing"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, object], message: str) -> None:
    arguments = {"flow": torch.zeros(2, 2, 4, 4)} | change
    with pytest.raises(ValueError, match=message):
        kernels.warp(torch.zeros(2, 3, 4, 4), **arguments)
