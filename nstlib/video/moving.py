"""How what a clip shows has moved from frame to frame, and where that is to be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from nstlib import flow
from nstlib.flow import Method, check_method
from nstlib.images import check_image
from nstlib.video.reading import Frame

Size = tuple[int, int]  # (H, W)


@dataclass(frozen=True, eq=False)
class Motion:
    """A frame of a clip, and how what it shows has moved since the one before."""

    index: int
    frame: Tensor  # (1, 3, H, W) in [0, 1]
    flow: Tensor | None = None  # (1, 2, H, W), px: to the frame before; None where a scene begins
    visible: Tensor | None = None  # (1, 1, H, W) in [0, 1]: where that is to be trusted
    source: Tensor | Frame | None = None  # the frame as it came

    @property
    def begins(self) -> bool:
        """Whether a scene begins with this frame: the first, and each after a cut."""
        return self.flow is None


def motions(clip: Iterable[Tensor | Frame], method: Method | None = "dis") -> Iterator[Motion]:
    """Yield each frame of a clip with its motion: the flow to the one before, and where it holds.

    Args:
        clip: images (1, 3, H, W) in [0, 1], all of one size; or a :class:`~nstlib.video.Reader`.
        method: how the flow is found: see :func:`nstlib.flow.flow`. None looks for none: each frame
            begins anew.

    Raises:
        TypeError, ValueError: a frame is no image, or of another size than the first; no such method.

    Example:
        >>> from nstlib.painting import clip
        >>> [motion.begins for motion in motions(clip("pan", frames=3).frames.split(1))]
        [True, False, False]
    """
    if method is not None:
        check_method(method)
    return _motions(clip, method)


def _motions(clip: Iterable[Tensor | Frame], method: Method | None) -> Iterator[Motion]:
    before: Tensor | None = None
    for index, source in enumerate(clip):
        frame = source.image if isinstance(source, Frame) else source
        check_image(f"frame {index}", frame)
        if before is None:
            _check_smallest(frame, method)
        elif frame.shape != before.shape:
            raise ValueError(
                f"frame {index} has shape {tuple(frame.shape)}; the frames before it have "
                f"{tuple(before.shape)}"
            )
        found: tuple[Tensor | None, Tensor | None] = (None, None)
        if before is not None and method is not None:
            found = trusted(flows_between(frame, before, method)) or found
        yield Motion(index, frame, *found, source)
        before = frame


def _check_smallest(frame: Tensor, method: Method | None) -> None:
    if method == "dis" and min(frame.shape[2:]) < flow.DIS_SMALLEST:
        raise ValueError(
            f"frame 0 is {frame.shape[2]} × {frame.shape[3]} px; flow by DIS takes "
            f"{flow.DIS_SMALLEST} px a side at least"
        )


@dataclass(frozen=True, eq=False)
class Flows:
    """Two frames as small as a method looks at them, and the flows between them in their pixels."""

    current: Tensor  # (1, 3, h, w) in [0, 1]
    previous: Tensor
    backward: Tensor  # (1, 2, h, w): from current to previous
    forward: Tensor
    times: int  # so many of the clip's pixels are one of these, along each axis
    size: Size  # of the clip's frames


def flows_between(current: Tensor, previous: Tensor, method: Method = "dis") -> Flows:
    """Find where the pixels of a frame were, and where those before are, at the method's own size.

    DIS halves frames before it looks; what it finds needs no finer check than it has itself, and of a
    frame of 384 × 216 px that takes two thirds of the time, of 1280 × 720 px a tenth.

    Example:
        >>> from nstlib.painting import clip
        >>> before, frame = clip("pan", frames=2, height=96, width=128).frames.split(1)
        >>> flows = flows_between(frame, before)
        >>> flows.times, tuple(flows.backward.shape)
        (2, (1, 2, 48, 64))
    """
    size = (current.shape[2], current.shape[3])
    halved = _halvings(size, method)
    times = 2**halved
    small = (-(-size[0] // times), -(-size[1] // times))
    now, then = (F.interpolate(image, small, mode="area") for image in (current, previous))
    finest = 0 if halved else None  # DIS is not to halve them once more
    backward, forward = (flow.flow(*pair, method, finest) for pair in ((now, then), (then, now)))
    return Flows(now, then, backward, forward, times, size)


def _halvings(size: Size, method: Method) -> int:
    """Return how often a method halves frames, where it then still finds motion in them."""
    halved = flow.halvings(*size) if method == "dis" else 0
    return halved if min(size) >> halved >= flow.DIS_SMALLEST else 0


def trusted(flows: Flows) -> tuple[Tensor, Tensor] | None:
    """Return the flow to the frame before and where it is to be trusted, of the clip's size.

    Returns:
        (1, 2, H, W) in pixels, and (1, 1, H, W) in [0, 1]; None where a new scene begins.

    Example:
        >>> from nstlib.painting import clip
        >>> before, frame = clip("pan", frames=2, height=96, width=128).frames.split(1)
        >>> [tuple(maps.shape) for maps in trusted(flows_between(frame, before))]
        [(1, 2, 96, 128), (1, 1, 96, 128)]
    """
    now, then, backward = flows.current, flows.previous, flows.backward
    # The thresholds are of the clip's own pixels: times as many.
    (share, offset), (edge_share, edge) = flow.CONSISTENCY, flow.MOTION_EDGE
    visible = flow.visible(
        backward,
        flows.forward,
        (share, offset / flows.times**2),
        (edge_share * flows.times**2, edge),
    )
    if flow.is_cut(now, then, backward, visible):
        return None
    visible = visible * flow.alike(now, then, backward)
    return _enlarged(flows.times * backward, flows.size), _enlarged(visible, flows.size)


def _enlarged(maps: Tensor, size: Size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
