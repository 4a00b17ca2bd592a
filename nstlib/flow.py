r"""Optical flow: where each pixel of a frame was in the frame before, and whether it could be seen.

To carry the last result along, :func:`nstlib.kernels.warp` asks for each pixel of the *current*
frame where it came from, and so needs the flow that leads backward:

.. math:: \text{previous}(p + \text{flow}(\text{current}, \text{previous})(p)) \approx
          \text{current}(p)

The forward flow in its place would fetch every moving thing from where it is going to.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import config, kernels
from nstlib.color import luminance
from nstlib.errors import WeightsError
from nstlib.images import check_image
from nstlib.kernels.arguments import check_like, check_maps, float32_at_least
from nstlib.masks import check_mask
from nstlib.weights import read_weights

if TYPE_CHECKING:
    from types import ModuleType

Method = Literal["dis", "farneback", "raft"]
Grey = npt.NDArray[np.uint8]  # (H, W)

# DIS's settings, by end-point error and time on the made clips (`nstlib.painting.clip`) at 384 × 216
# on one core: 0.47 px in 3.1 ms. OpenCV's presets: ultrafast 0.96 px in 0.9 ms, fast 0.71 px in
# 1.6 ms, medium 0.44 px in 10 ms.
DIS_STRIDE = 5  # px between patches of 8 × 8 px
DIS_DESCENTS = 4  # steps that each patch takes; more follow the noise
DIS_REFINEMENTS = 2  # rounds of variational refinement, which smooths the seams between patches
DIS_WIDTH = 256  # px; frames are halved, once at least, until about so wide
DIS_SMALLEST = 16  # px a side: two patches

# The textbook's: pyramid scale, levels, window, iterations, and the polynomials' size and sigma.
FARNEBACK = (0.5, 3, 15, 3, 5, 1.2)

RAFT_FILES = {  # torchvision's, the better first
    "raft_large": "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    "raft_small": "raft_small_C_T_V2-01064c6d.pth",
}
RAFT_STRIDE, RAFT_SMALLEST = 8, 128  # px: sizes are multiples of the one, and at least the other

# Sundaram, Brox & Keutzer 2010; of squared pixels. With DIS on the made sprites 99 % of what they
# call visible is, they keep 89 % of what was visible and find 76 % of what was hidden. Without the
# motion edges that is 92 % and 74 %, and the more that is kept lies at outlines.
CONSISTENCY = (0.01, 0.5)  # how far there and back may lead astray: a share of the flows, and more
MOTION_EDGE = (0.01, 0.002)  # how much the flow may change from pixel to pixel

# Of the pixels of made clips that both rules above let pass, and whose colours are wrong by 0.15 and
# more, this drops nine in ten; of all pixels one in a hundred. At 0.05 noise would be dropped, too.
TOLERANCE = 0.08

# Of 540 made cuts none is missed: at most 0.20 of a frame was visible, and the likeness was at most
# 0.59. Of 1,128 other pairs, which pan, zoom, turn and cross at up to 12 times their speed, flash,
# dim to a tenth and are noisy, 5 are taken for a cut: all at 8 times the speed or more.
SHOWN_AT_CUT = 0.3
LIKE_AT_CUT = 0.6
CELLS = 32  # a side: they see what is where, not the detail that a wrong flow tears


# ---------------------------------------------------------------------------------------- flow


def flow(
    current: Tensor, previous: Tensor, method: Method = "dis", halved: int | None = None
) -> Tensor:
    """Return where each pixel of ``current`` was in ``previous``: (N, 2, H, W), px, x first.

    ``kernels.warp(previous, flow(current, previous))`` is about ``current``, where it was in view.

    Args:
        current, previous: images (N, 3, H, W) in [0, 1]; one after the other in time.
        method: ``"dis"`` for all usual ends (on the CPU, by OpenCV, which is held to one thread: it
            runs beside PyTorch's); ``"farneback"`` with the textbook's settings, 5 times slower
            and less exact; ``"raft"``, a network, where its weights are found (`find_raft_weights`).
        halved: how often DIS halves the frames that it looks at; its flow is enlarged again, and what
            is too thin to be seen there is not followed. None: once, or until they are about
            ``DIS_WIDTH`` pixels wide. The other methods halve none.

    Returns:
        float32, on the device of ``current``.

    Raises:
        ValueError, TypeError: an argument is wrong.
        ImportError: OpenCV, or for RAFT torchvision, is missing.
        WeightsError: RAFT's weights are not found, or not RAFT's.

    Example:
        >>> from nstlib.painting import clip
        >>> known = clip("pan", frames=2, height=96, width=128)
        >>> found = flow(known.frames[1:], known.frames[:1])
        >>> bool((found - known.flows[1:]).norm(dim=1).mean() < 0.3)  # px
        True

    Reference:
        Kroeger et al., Fast Optical Flow using Dense Inverse Search, 2016; Farnebäck, Two-Frame
        Motion Estimation Based on Polynomial Expansion, 2003; Teed & Deng, RAFT, 2020.
    """
    check_image("current", current, batch=True)
    check_image("previous", previous, batch=True)
    check_like("previous", previous, tuple(current.shape), current, (), "current")
    check_method(method)
    _check_halved(halved, method, (current.shape[2], current.shape[3]))
    current, previous = current.detach(), previous.detach()
    if method == "raft":
        return _by_raft(current.float(), previous.float())
    if method == "dis" and min(current.shape[2:]) < DIS_SMALLEST:
        size = f"{current.shape[2]} × {current.shape[3]} px"
        raise ValueError(f"current is {size}; method='dis' takes {DIS_SMALLEST} px a side at least")
    cv2 = _opencv()
    found = [
        _by_dis(cv2, now, before, halved) if method == "dis" else _by_farneback(cv2, now, before)
        for now, before in zip(_greys(current), _greys(previous), strict=True)
    ]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous().to(current.device)


def check_method(method: str) -> None:
    """Raise ValueError unless motion can be found so.

    Example:
        >>> check_method("guess")
        Traceback (most recent call last):
        ...
        ValueError: method is 'guess'; it takes 'dis', 'farneback', 'raft'
    """
    if method not in get_args(Method):
        known = ", ".join(map(repr, get_args(Method)))
        raise ValueError(f"method is {method!r}; it takes {known}")


def _check_halved(halved: int | None, method: Method, size: tuple[int, int]) -> None:
    """Raise TypeError or ValueError unless frames of a size can be halved so often."""
    if halved is None:
        return
    if isinstance(halved, bool) or not isinstance(halved, int):
        raise TypeError(f"halved is {halved!r}; it takes a whole number, or None")
    if method != "dis":
        raise ValueError(f"halved is {halved}; method={method!r} halves no frames")
    if not 0 <= halved <= _most_halvings(*size):
        frames = f"frames of {size[0]} × {size[1]} px"
        raise ValueError(f"halved is {halved}; of {frames} it takes 0 to {_most_halvings(*size)}")


@functools.cache
def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "flow needs OpenCV, which is not installed: pip install 'nstlib[video]'"
        ) from error
    # Its own pool beside PyTorch's would be twice as many threads as there are cores.
    cv2.setNumThreads(1)
    return cv2


def _greys(images: Tensor) -> Iterator[Grey]:
    levels = (luminance(images) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    yield from levels[:, 0]


def _by_dis(
    cv2: ModuleType, current: Grey, previous: Grey, halved: int | None
) -> npt.NDArray[np.float32]:
    """Return the flow (H, W, 2); an object of its own for each call, since it keeps what it found."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(halvings(*current.shape) if halved is None else halved)
    search.setPatchStride(DIS_STRIDE)
    search.setGradientDescentIterations(DIS_DESCENTS)
    search.setVariationalRefinementIterations(DIS_REFINEMENTS)
    found: npt.NDArray[np.float32] = search.calc(current, previous, None)
    return found


def halvings(height: int, width: int) -> int:
    """Return how often frames are halved before DIS looks at them.

    Example:
        >>> halvings(216, 384), halvings(720, 1280)
        (1, 2)
    """
    wanted = max(1, round(math.log2(max(height, width) / DIS_WIDTH)))
    return min(wanted, _most_halvings(height, width))


def _most_halvings(height: int, width: int) -> int:
    """Return DIS's coarsest scale: from there on, where its patches would fill the frame, it crashes."""
    coarsest = min(math.log2(max(height, width) / 32) + 0.5, math.log2(min(height, width) / 8))
    return max(0, int(coarsest))


def _by_farneback(cv2: ModuleType, current: Grey, previous: Grey) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = cv2.calcOpticalFlowFarneback(
        current, previous, None, *FARNEBACK, 0
    )
    return found


# ---------------------------------------------------------------------------------------- RAFT


def find_raft_weights() -> Path | None:
    """Return the file of RAFT's weights on this machine, or None; nothing is ever downloaded.

    Looks in ``NSTLIB_WEIGHTS`` (files and folders) for ``raft_large*``, then ``raft_small*``, ending
    in ``.pth`` or ``.safetensors``, then in torch hub's cache for torchvision's own files.

    Example:
        >>> found = find_raft_weights()
        >>> found is None or found.name.startswith("raft_")
        True
    """
    for place in config.weights_dirs():
        files = sorted(place.glob("raft_*")) if place.is_dir() else [place]
        for name in RAFT_FILES:
            for file in files:
                if file.name.startswith(name) and file.suffix in (".pth", ".safetensors"):
                    return file
    cache = _hub_cache()
    return next((cache / file for file in RAFT_FILES.values() if (cache / file).is_file()), None)


def _hub_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _by_raft(current: Tensor, previous: Tensor) -> Tensor:
    path = find_raft_weights()
    if path is None:
        raise WeightsError(
            f"RAFT's weights are not found: {' or '.join(RAFT_FILES.values())}, in a folder that "
            f"NSTLIB_WEIGHTS names, or in torch hub's cache, {_hub_cache()}; method='dis' needs none"
        )
    network = _raft(path, current.device)
    height, width = current.shape[2:]
    down, right = (_padding(side) for side in (height, width))
    pair = (
        F.pad(2 * image - 1, (0, right, 0, down), mode="replicate") for image in (current, previous)
    )
    with torch.inference_mode():
        found: Tensor = network(*pair)[-1]  # the last of its refinements
    return found[:, :, :height, :width].clone()


def _padding(side: int) -> int:
    """Return how many pixels a side lacks to a size that RAFT takes."""
    return max(RAFT_SMALLEST, -(-side // RAFT_STRIDE) * RAFT_STRIDE) - side


@functools.lru_cache(maxsize=1)
def _raft(path: Path, device: torch.device) -> nn.Module:
    from torchvision.models import optical_flow

    name = next(name for name in RAFT_FILES if path.name.startswith(name))
    network: nn.Module = getattr(optical_flow, name)(weights=None)
    state, _ = read_weights(path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{path}: holds no weights of torchvision's {name} ({error})") from error
    return network.eval().requires_grad_(False).to(device)


# ----------------------------------------------------------------------------------- visibility


def visible(
    backward: Tensor,
    forward: Tensor,
    consistency: tuple[float, float] = CONSISTENCY,
    motion_edge: tuple[float, float] | None = MOTION_EDGE,
) -> Tensor:
    r"""Return 1 where a pixel of the current frame could be seen in the one before, else 0.

    With the backward flow :math:`\hat w` and the forward flow where it leads,
    :math:`w = \text{forward}(x + \hat w(x))`, a pixel was hidden where going there and back leads
    elsewhere, and is not to be trusted at the edge of a motion:

    .. math:: |w + \hat w|^2 > 0.01\,(|w|^2 + |\hat w|^2) + 0.5, \qquad
              |\nabla \hat u|^2 + |\nabla \hat v|^2 > 0.01\,|\hat w|^2 + 0.002

    nor can have been seen what the flow leads out of the frame.

    Args:
        backward: ``flow(current, previous)``, (N, 2, H, W) in pixels.
        forward: ``flow(previous, current)``.
        consistency: share and offset (px²) of the first threshold.
        motion_edge: those of the second; None leaves it out.

    Returns:
        (N, 1, H, W) of 0 and 1, of the flow's dtype, on its device.

    Raises:
        ValueError, TypeError: they are no flows of one shape.

    Example:
        >>> to_the_left = torch.tensor([-1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
        >>> visible(to_the_left, -to_the_left)[0, 0]  # what came in on the left is new
        tensor([[0., 1., 1., 1.]])

    Reference:
        Sundaram, Brox & Keutzer, Dense Point Trajectories by GPU-Accelerated Large Displacement
        Optical Flow, 2010; Ruder, Dosovitskiy & Brox, Artistic Style Transfer for Videos, 2016.
    """
    check_flow("backward", backward)
    check_flow("forward", forward)
    check_like("forward", forward, tuple(backward.shape), backward, (), "backward")
    # Half precision does not know a wide frame's columns apart, nor hold the square of 256 px.
    dtype, backward, forward = backward.dtype, float32_at_least(backward), float32_at_least(forward)
    there_and_back = kernels.warp(forward, backward)
    length = _squared(backward)
    share, offset = consistency
    allowed = share * (_squared(there_and_back) + length) + offset
    seen = (_squared(there_and_back + backward) <= allowed) & _leads_inside(backward)
    if motion_edge is not None:
        share, offset = motion_edge
        seen &= _squared_slopes(backward) <= share * length + offset
    return seen.to(dtype)


def alike(
    current: Tensor, previous: Tensor, backward: Tensor, tolerance: float = TOLERANCE
) -> Tensor:
    r"""Return 1 where the frame before, moved by the flow, looks like the current one, else 0.

    A fast thing that goes behind another leaves two flows that agree with each other and are wrong.
    What they fetch gives them away:

    .. math:: \max_{rgb} \bigl\lvert S(c - W p) - \operatorname{median}(c - W p) \bigr\rvert < 0.08

    S smooths over 3 × 3 pixels, in which noise falls to a third; and the median over the frame is
    taken off, since a flash changes all of it and hides nothing.

    Args:
        current, previous: images (N, 3, H, W) in [0, 1].
        backward: ``flow(current, previous)``.
        tolerance: how far colours may be apart, in [0, 1].

    Returns:
        (N, 1, H, W) of 0 and 1, as :func:`visible`, with which it is to be multiplied.

    Raises:
        ValueError, TypeError: they do not fit each other.

    Example:
        >>> frame = torch.zeros(1, 3, 8, 8)
        >>> other = frame.clone()
        >>> other[..., 2:5, 2:5] = 1
        >>> same = alike(frame, other, torch.zeros(1, 2, 8, 8))
        >>> same[0, 0, 3, 3].item(), same[0, 0, 7, 7].item()
        (0.0, 1.0)
    """
    check_image("current", current, batch=True)
    check_image("previous", previous, batch=True)
    check_like("previous", previous, tuple(current.shape), current, (), "current")
    check_flow("backward", backward)
    apart = current - kernels.warp(previous, backward)
    apart = F.avg_pool2d(F.pad(apart, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    # A median of all pixels takes long. (On the CPU: Apple's GPU wants sides that cells divide.)
    cells = F.adaptive_avg_pool2d(apart.cpu(), CELLS).flatten(2)
    apart = apart - cells.median(dim=2).values[..., None, None].to(apart)
    return (apart.abs().amax(dim=1, keepdim=True) < tolerance).to(backward.dtype)


def check_flow(name: str, value: Tensor) -> None:
    """Raise TypeError or ValueError unless ``value`` is a flow, (N, 2, H, W).

    Example:
        >>> check_flow("backward", torch.zeros(1, 3, 8, 8))
        Traceback (most recent call last):
        ...
        ValueError: backward has shape (1, 3, 8, 8); it must be (N, 2, H, W)
    """
    check_maps(value, name)
    if value.shape[1] != 2:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; it must be (N, 2, H, W)")


def _squared(vectors: Tensor) -> Tensor:
    """Return the squared lengths (N, 1, H, W)."""
    return (vectors * vectors).sum(dim=1, keepdim=True)


def _leads_inside(backward: Tensor) -> Tensor:
    """Say where a flow ends within the frame, which reaches half a pixel beyond its pixels' centres."""
    height, width = backward.shape[2:]
    x = backward[:, :1] + torch.arange(width, device=backward.device)
    y = backward[:, 1:] + torch.arange(height, device=backward.device)[:, None]
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)


def _squared_slopes(backward: Tensor) -> Tensor:
    """Return |∇u|² + |∇v|² of a flow by central differences, (N, 1, H, W)."""
    around = F.pad(backward, (1, 1, 1, 1), mode="replicate")
    across = (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]) / 2
    down = (around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]) / 2
    return _squared(across) + _squared(down)


# ------------------------------------------------------------------------------------------ cuts


def is_cut(current: Tensor, previous: Tensor, backward: Tensor, shown: Tensor) -> bool:
    r"""Say whether a new scene begins at ``current``.

    It does where two things come together: less than ``SHOWN_AT_CUT`` of the frame was visible
    before, and the frame before, moved by the flow, is not even roughly like the current one. Fast
    motion hides as much as a cut does, but leaves alike what is where; and so does a flash, since
    the likeness is a correlation, which no change of brightness or contrast touches:

    .. math:: r = \frac{\sum_c (a_c - \bar a)(b_c - \bar b)}
              {\sqrt{\sum_c (a_c - \bar a)^2 \sum_c (b_c - \bar b)^2}}

    over the lightness of ``CELLS`` × ``CELLS`` cells of both. It is not looked at where enough was
    visible. A dissolve from one scene to the next is no cut.

    Args:
        current, previous: images (1, 3, H, W) in [0, 1].
        backward: ``flow(current, previous)``.
        shown: ``visible(backward, flow(previous, current))``.

    Raises:
        ValueError, TypeError: they do not fit each other.

    Example:
        >>> from nstlib.painting import clip
        >>> known = clip("cut", frames=4, height=96, width=128)
        >>> def cut_at(i):
        ...     now, before = known.frames[i : i + 1], known.frames[i - 1 : i]
        ...     backward = flow(now, before)
        ...     return is_cut(now, before, backward, visible(backward, flow(before, now)))
        >>> known.cuts, [i for i in range(1, 4) if cut_at(i)]
        ((2,), [2])
    """
    check_image("current", current)
    check_image("previous", previous)
    check_like("previous", previous, tuple(current.shape), current, (), "current")
    check_flow("backward", backward)
    check_mask("shown", shown, (current.shape[2], current.shape[3]))
    if shown.mean() >= SHOWN_AT_CUT:
        return False
    moved = kernels.warp(previous, backward).clamp(0, 1)  # rounding leads out by 1e-7
    return _correlation(_cells(current), _cells(moved)) < LIKE_AT_CUT


def _cells(image: Tensor) -> Tensor:
    # On the CPU: Apple's GPU has no float64, and pools to such cells only sides that they divide.
    return F.adaptive_avg_pool2d(luminance(image).cpu(), CELLS).flatten().double()


def _correlation(first: Tensor, second: Tensor) -> float:
    """Return Pearson's correlation of two vectors; 0 where one of them is flat."""
    first, second = first - first.mean(), second - second.mean()
    lengths = first.norm() * second.norm()
    return float(first @ second / lengths.clamp(min=1e-9))
