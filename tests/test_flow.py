"""Flow, visibility and cuts: against motion that is known, and against the published formulas."""

from __future__ import annotations

import functools
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import images, kernels
from nstlib.errors import WeightsError
from nstlib.flow import (
    Method,
    _opencv,
    _raft,
    alike,
    find_raft_weights,
    flow,
    is_cut,
    visible,
)
from nstlib.painting import KnownClip, clip
from nstlib.painting.clips import Kind

pytest.importorskip("cv2", reason="flow needs OpenCV")

HEIGHT, WIDTH = 108, 192


@functools.cache
def known_clip(kind: Kind, seed: int = 0) -> KnownClip:
    return clip(kind, frames=14, height=HEIGHT, width=WIDTH, seed=seed)


def pair_of(kind: Kind, i: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return frame ``i`` of a clip, and the one before."""
    frames = known_clip(kind, seed).frames
    return frames[i : i + 1], frames[i - 1 : i]


def both_flows(current: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
    return flow(current, previous), flow(previous, current)


def waves(places: np.ndarray) -> Tensor:
    """Return a picture that is known at every place x + iy, of waves that run in many directions."""
    total = np.zeros(places.shape)
    for k in range(1, 12):
        wave = np.exp(1j * 2.4 * k) / (7 + 2 * k)  # its direction, and its length in px
        total += np.sin(2 * np.pi * (places * wave).real + k)
    grey = 0.5 + total / 24
    return torch.from_numpy(grey).float().expand(1, 3, *places.shape)


def pixels(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return columns + 1j * rows


def off_border(values: Tensor, by: int = 12) -> Tensor:
    return values[..., by:-by, by:-by]


# ------------------------------------------------------------------------------ known motion


@pytest.mark.parametrize("shift", [3 + 0j, 2j, -1.5 - 0.5j, 4.25 + 2.75j])
def test_a_shifted_picture_has_the_flow_back_to_where_it_was(shift: complex) -> None:
    previous, current = waves(pixels()), waves(pixels() - shift)
    found = off_border(flow(current, previous))
    wanted = torch.tensor([-shift.real, -shift.imag]).view(1, 2, 1, 1)
    assert (found - wanted).norm(dim=1).mean() < 0.15


def test_a_turn_about_a_known_centre_has_the_flow_of_that_turn() -> None:
    centre, turn = 80 + 50j, np.exp(1j * math.radians(2))
    back = centre + (pixels() - centre) / turn  # where each pixel was
    previous, current = waves(pixels()), waves(back)
    wanted = np.stack([(back - pixels()).real, (back - pixels()).imag])
    found = flow(current, previous)
    assert off_border((found - torch.from_numpy(wanted)).norm(dim=1)).mean() < 0.15
    assert found[0, :, 50, 80].norm() < 0.15  # the centre stays


def test_equal_frames_have_no_flow() -> None:
    current, _ = pair_of("pan", 5)
    assert flow(current, current).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("kind", "bound", "gain"), [("pan", 0.25, 8), ("zoom", 0.2, 3), ("sprites", 0.8, 3)]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dis_is_near_the_truth_of_made_clips(
    kind: Kind, bound: float, gain: float, seed: int
) -> None:
    known = known_clip(kind, seed)
    found = flow(known.frames[8:13], known.frames[7:12])
    error = (found - known.flows[8:13]).norm(dim=1).mean()
    assert error < bound  # px
    assert gain * error < known.flows[8:13].norm(dim=1).mean()  # the error of no flow at all


@pytest.mark.parametrize("kind", ["pan", "zoom"])
def test_farneback_finds_the_motion_less_exactly(kind: Kind) -> None:
    known = known_clip(kind)
    errors = {
        method: (flow(known.frames[8:13], known.frames[7:12], method) - known.flows[8:13])
        .norm(dim=1)
        .mean()
        for method in ("dis", "farneback")
    }
    assert errors["dis"] < errors["farneback"] < known.flows[8:13].norm(dim=1).mean() / 2


@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_the_frame_before_warped_by_the_flow_is_the_current_frame(method: Method) -> None:
    current, previous = pair_of("pan", 10)
    moved = kernels.warp(previous, flow(current, previous, method))
    error, unmoved = ((x - current).abs().mean() for x in (moved, previous))
    assert 4 * error < unmoved


@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_the_forward_flow_or_swapped_axes_would_be_found_out(method: Method) -> None:
    current, previous = pair_of("pan", 10)
    right, forward = flow(current, previous, method), flow(previous, current, method)
    error = (kernels.warp(previous, right) - current).square().mean()
    for wrong in (forward, right.flip(1)):
        assert (kernels.warp(previous, wrong) - current).square().mean() > 8 * error


def test_there_and_back_again_is_where_one_was() -> None:
    current, previous = pair_of("sprites", 10)
    backward, forward = both_flows(current, previous)
    away = (backward + kernels.warp(forward, backward)).norm(dim=1, keepdim=True)
    seen = visible(backward, forward) == 1
    assert away[seen].mean() < 0.2
    assert away[~seen].mean() > 3 * away[seen].mean()


# ------------------------------------------------------------------------------ the interface


def test_a_batch_is_its_pairs_one_by_one() -> None:
    frames = known_clip("zoom").frames
    together = flow(frames[1:4], frames[:3])
    alone = [flow(frames[i : i + 1], frames[i - 1 : i]) for i in (1, 2, 3)]
    assert torch.equal(together, torch.cat(alone))
    assert together.shape == (3, 2, HEIGHT, WIDTH)
    assert together.dtype == torch.float32


def test_threads_at_once_find_what_one_finds() -> None:
    jobs = [pair_of(kind, i) for kind in ("pan", "zoom", "sprites") for i in range(1, 12)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda job: flow(*job), jobs))
    assert all(torch.equal(found, flow(*job)) for found, job in zip(at_once, jobs, strict=True))


@pytest.mark.parametrize(
    "size", [(16, 16), (17, 200), (90, 33), (16, 1500), (48, 2000), (1000, 31)]
)
def test_small_and_long_frames_have_a_flow(size: tuple[int, int]) -> None:
    previous, current = waves(pixels(*size)), waves(pixels(*size) - 1)
    found = flow(current, previous)
    assert found.shape == (1, 2, *size)
    assert found.isfinite().all()


def test_a_large_frame_is_followed_at_a_reduced_size() -> None:
    shift = 6 - 3j
    previous, current = waves(pixels(400, 700) / 3), waves((pixels(400, 700) - shift) / 3)
    found = off_border(flow(current, previous), 40)
    wanted = torch.tensor([-shift.real, -shift.imag]).view(1, 2, 1, 1)
    assert (found - wanted).norm(dim=1).mean() < 0.3


def test_wrong_arguments_are_named() -> None:
    frame = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match="method is 'lucas'; it takes 'dis', 'farneback', 'raft'"):
        flow(frame, frame, "lucas")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"previous has shape .*; beside current it must be"):
        flow(frame, torch.zeros(1, 3, 32, 40))
    with pytest.raises(ValueError, match="current has values from 3 to 3"):
        flow(frame + 3, frame)
    with pytest.raises(ValueError, match="current is 15 × 32 px; method='dis' takes 16 px a side"):
        flow(frame[:, :, :15], frame[:, :, :15])
    with pytest.raises(TypeError, match="previous is ndarray"):
        flow(frame, frame.numpy())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"forward has shape \(1, 2, 4, 4\)"):
        visible(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match=r"backward has shape \(1, 1, 8, 8\)"):
        visible(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))


def test_without_opencv_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    _opencv.cache_clear()
    frame = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ImportError, match=r"pip install 'nstlib\[video\]'"):
        flow(frame, frame)


# ---------------------------------------------------------------------------------- visibility


def vectors(x: Tensor, y: Tensor | float = 0.0) -> Tensor:
    """Return a flow (1, 2, H, W) of x (H, W) to the right and y down."""
    return torch.stack([x, torch.as_tensor(y).expand_as(x)])[None]


def test_what_leads_out_of_the_frame_is_not_visible() -> None:
    right = vectors(torch.full((6, 8), 2.0), 1.0)
    seen = visible(right, -right)[0, 0]
    assert seen[:5, :6].all()
    assert not seen[5].any()
    assert not seen[:, 6:].any()


@pytest.mark.parametrize(("astray", "seen"), [(0.70, 1), (0.72, 0)])
def test_still_pixels_may_stray_by_the_root_of_a_half(astray: float, seen: int) -> None:
    still = torch.zeros(1, 2, 8, 8)
    # 0.01 |w|² adds half a hundredth: |w|² > 0.01 |w|² + 0.5 from 0.7107 on.
    assert (visible(still, vectors(torch.full((8, 8), astray))) == seen).all()


@pytest.mark.parametrize(("slope", "seen"), [(0.044, 1), (0.046, 0)])
def test_an_edge_of_the_motion_is_not_visible(slope: float, seen: int) -> None:
    across = torch.arange(-20, 21.0) * slope
    backward = vectors(across.expand(41, 41))
    middle = visible(backward, -backward, consistency=(0.01, 10))[0, 0, 20, 20]
    assert middle == seen  # slope² > 0.01 · 0² + 0.002 from 0.0447 on
    without = visible(backward, -backward, consistency=(0.01, 10), motion_edge=None)
    assert without[0, 0, 20, 20] == 1


def test_visible_is_the_published_rule_pixel_by_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    size = (1, 2, 12, 15)
    # Whole pixels, so that the oracle needs no interpolation; most agree there and back.
    backward = torch.randint(-3, 4, size, generator=generator).double()
    backward = torch.where(torch.rand(1, 1, 12, 15, generator=generator) < 0.6, 1.0, backward)
    forward = -torch.ones_like(backward) + 0.4 * torch.randn(size, generator=generator)
    found = visible(backward, forward, motion_edge=(0.05, 4.0))
    u, v = backward[0].numpy()
    for y in range(12):
        for x in range(15):
            to_x, to_y = int(x + u[y, x]), int(y + v[y, x])
            inside = 0 <= to_x < 15 and 0 <= to_y < 12
            w = forward[0, :, to_y, to_x].numpy() if inside else np.zeros(2)
            hat = np.array([u[y, x], v[y, x]])
            strays = sum((w + hat) ** 2) > 0.01 * (sum(w**2) + sum(hat**2)) + 0.5
            left, right, up, down = max(x - 1, 0), min(x + 1, 14), max(y - 1, 0), min(y + 1, 11)
            slopes = sum(
                ((f[y, right] - f[y, left]) / 2) ** 2 + ((f[down, x] - f[up, x]) / 2) ** 2
                for f in (u, v)
            )
            edge = slopes > 0.05 * sum(hat**2) + 4.0
            assert found[0, 0, y, x] == (inside and not strays and not edge)
    assert 0.1 < found.mean() < 0.9
    assert found.dtype == torch.float64


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mask_finds_most_of_what_was_hidden_and_keeps_most_of_what_was_not(seed: int) -> None:
    known = known_clip("sprites", seed)
    backward, forward = both_flows(known.frames[8:13], known.frames[7:12])
    seen, truth = visible(backward, forward) == 1, known.visible[8:13] == 1
    assert (seen & truth).sum() > 0.97 * seen.sum()
    assert (seen & truth).sum() > 0.75 * truth.sum()
    assert (~seen & ~truth).sum() > 0.6 * (~truth).sum()


# ------------------------------------------------------------------------------------- alike


def test_what_looks_like_what_was_there_is_alike() -> None:
    """Noise is, and so is a frame that all of it has become lighter."""
    known = clip("pan", frames=2, height=96, width=128, seed=1, noise=0.03)
    previous, current = known.frames[:1], known.frames[1:]
    backward = known.flows[1:]
    assert float(alike(current, previous, backward).mean()) > 0.97
    lighter = (current * 0.7 + 0.25).clamp(0, 1)
    assert float(alike(0.7 * current, 0.7 * previous, backward).mean()) > 0.97
    assert float(alike(lighter, 0.7 * previous, backward).mean()) > 0.97


def test_a_flow_that_fetches_another_thing_gives_itself_away() -> None:
    """There and back agree, for both flows are the same lie."""
    known = clip("sprites", frames=2, height=96, width=128, seed=1)
    previous, current = known.frames[:1], known.frames[1:]
    lie = torch.full((1, 2, 96, 128), 20.0)
    assert float(visible(lie, -lie).mean()) > 0.5
    trusted = visible(lie, -lie) * alike(current, previous, lie)
    apart = (current - kernels.warp(previous, lie)).abs().amax(dim=1, keepdim=True)
    assert float((trusted * (apart > 0.3)).mean()) < 0.01
    assert float((visible(lie, -lie) * (apart > 0.3)).mean()) > 0.1


def test_it_is_the_rule_that_it_says_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    current, previous = torch.rand(2, 1, 3, 9, 11, generator=generator, dtype=torch.float64)
    still = torch.zeros(1, 2, 9, 11, dtype=torch.float64)
    apart = current - previous
    wanted = torch.empty(9, 11)
    smooth = torch.empty(3, 9, 11, dtype=torch.float64)
    for y in range(9):
        for x in range(11):
            rows = [min(max(y + d, 0), 8) for d in (-1, 0, 1)]
            columns = [min(max(x + d, 0), 10) for d in (-1, 0, 1)]
            smooth[:, y, x] = apart[0][:, rows][:, :, columns].mean(dim=(1, 2))
    level = F.adaptive_avg_pool2d(smooth, 32).flatten(1).median(dim=1).values
    for y in range(9):
        for x in range(11):
            off = (smooth[:, y, x] - level).abs().max()
            wanted[y, x] = float(off < 0.2)
    assert torch.equal(alike(current, previous, still, 0.2)[0, 0].float(), wanted)
    assert 0.1 < wanted.mean() < 0.95


# ---------------------------------------------------------------------------------------- cuts


def says_cut(current: Tensor, previous: Tensor) -> bool:
    backward, forward = both_flows(current, previous)
    return is_cut(current, previous, backward, visible(backward, forward))


@pytest.mark.parametrize("seed", range(6))
def test_a_cut_is_found_where_it_is_and_nowhere_else(seed: int) -> None:
    frames = known_clip("cut", seed).frames.split(1)
    found = [i for i in range(1, 14) if says_cut(frames[i], frames[i - 1])]
    assert found == list(known_clip("cut", seed).cuts)


@pytest.mark.parametrize("kind", ["still", "pan", "zoom", "sprites"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_neither_motion_nor_flashes_nor_noise_are_cuts(kind: Kind, seed: int) -> None:
    frames = known_clip(kind, seed).frames
    current, previous = frames[8:9], frames[7:8]
    assert not says_cut(current, previous)
    assert not says_cut(frames[8:9], frames[4:5])  # four times as fast
    for flash in (0.3 + current, 1.6 * current, 0.4 * current):
        assert not says_cut(flash.clamp(0, 1), previous)
        assert not says_cut(current, flash.clamp(0, 1))
    noise = 0.05 * torch.randn(2, *current.shape, generator=torch.Generator().manual_seed(seed))
    assert not says_cut((current + noise[0]).clamp(0, 1), (previous + noise[1]).clamp(0, 1))


def test_black_frames_after_each_other_are_no_cut_but_a_picture_after_black_is() -> None:
    picture, black = pair_of("pan", 5)[0], torch.zeros(1, 3, HEIGHT, WIDTH)
    assert not says_cut(black, black)
    textured = images.resize(images.sample("coffee"), (HEIGHT, WIDTH))
    backward = flow(textured, black)
    assert is_cut(textured, black, backward, torch.zeros(1, 1, HEIGHT, WIDTH))
    assert not is_cut(
        picture, picture, torch.zeros_like(backward), torch.zeros_like(picture[:, :1])
    )


# ---------------------------------------------------------------------------------------- RAFT


@pytest.fixture
def no_raft(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let no weights be found but those in the folder returned."""
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    _raft.cache_clear()
    return tmp_path


def random_raft(folder: Path) -> torch.nn.Module:
    """Write the weights of an untrained RAFT into a folder, and return the network."""
    optical_flow = pytest.importorskip("torchvision.models.optical_flow")
    torch.manual_seed(0)
    network = optical_flow.raft_small(weights=None).eval()
    torch.save(network.state_dict(), folder / "raft_small_untrained.pth")
    return network


def test_raft_without_weights_says_which_and_where_they_are_looked_for(no_raft: Path) -> None:
    frame = torch.zeros(1, 3, 32, 32)
    assert find_raft_weights() is None
    with pytest.raises(
        WeightsError, match=r"raft_large_C_T_SKHT_V2-ff5fadd5\.pth or raft_small"
    ) as e:
        flow(frame, frame, "raft")
    assert "NSTLIB_WEIGHTS" in str(e.value)
    assert str(no_raft / "torch") in str(e.value)


def test_raft_leads_from_the_current_frame_to_the_one_before(no_raft: Path) -> None:
    network = random_raft(no_raft)
    current, previous = pair_of("pan", 8)
    found = flow(current, previous, "raft")
    assert found.shape == (1, 2, HEIGHT, WIDTH)
    # To 128 × 192 px, a size that it takes.
    padded = [
        torch.nn.functional.pad(2 * image - 1, (0, 0, 0, 20), mode="replicate")
        for image in (current, previous)
    ]
    with torch.no_grad():
        right, wrong = network(*padded)[-1], network(*padded[::-1])[-1]
    torch.testing.assert_close(found, right[:, :, :HEIGHT])
    assert not torch.allclose(found, wrong[:, :, :HEIGHT], atol=1e-2)
    assert not found.is_inference()


def test_damaged_raft_weights_are_named(no_raft: Path) -> None:
    path = no_raft / "raft_large.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    frame = torch.zeros(1, 3, 32, 32)
    with pytest.raises(WeightsError, match=r"raft_large\.pth: holds no weights of torchvision's"):
        flow(frame, frame, "raft")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_is_visible_does_not_depend_on_how_exact_the_flows_dtype_is(
    dtype: torch.dtype,
) -> None:
    # Beyond column 2048 float16 knows only even numbers, and the square of 300 px is above its end.
    right = vectors(torch.full((4, 2500), 300.0)).to(dtype)
    seen = visible(right, -right)
    assert seen.dtype == dtype
    assert torch.equal(seen.float(), visible(right.float(), -right.float()))
    still = torch.zeros(1, 2, 4, 2500, dtype=dtype)
    assert visible(still, still).all()


@pytest.mark.parametrize(
    ("halved", "method", "error", "message"),
    [
        (-1, "dis", ValueError, "halved is -1; of frames of 108 × 192 px it takes 0 to 3"),
        (4, "dis", ValueError, "halved is 4; of frames"),
        ("x", "dis", TypeError, "halved is 'x'; it takes a whole number"),
        (True, "dis", TypeError, "halved is True"),
        (1.5, "dis", TypeError, "halved is 1.5"),
        (1, "farneback", ValueError, "halved is 1; method='farneback' halves no frames"),
    ],
)
def test_a_number_of_halvings_that_does_not_fit_is_refused(
    halved: int, method: Method, error: type[Exception], message: str
) -> None:
    frame = torch.rand(1, 3, HEIGHT, WIDTH)
    with pytest.raises(error, match=message):
        flow(frame, frame, method, halved)
