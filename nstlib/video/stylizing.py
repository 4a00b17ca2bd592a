"""A clip in, a clip in a style out: frames that are painted, steadied, and passed on as they come.

Reading, flow, painting and writing overlap. Each stage is a generator, and :func:`ahead` runs it in a
thread of its own, a few frames ahead of the next; no more than those are alive, however long the clip.
Frames are painted some at a time, which keeps all cores busy also where they are small: one by one only
by a mask, or where colours are matched.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from nstlib import color
from nstlib.adain import AdaIN, check_alphas
from nstlib.flow import Method, check_method
from nstlib.losses import mixing_table
from nstlib.memory import reused_memory
from nstlib.styles import Style
from nstlib.stylist import NetStylist, Stylist
from nstlib.transform_net import TransformNet
from nstlib.video.carrying import carried
from nstlib.video.moving import Motion, motions
from nstlib.video.reading import Frame
from nstlib.video.steadying import TEMPORAL_WEIGHT, Steadied

Item = TypeVar("Item")
Styles = Tensor | Style | str | Sequence[Tensor] | Sequence[Style] | Sequence[str]
Alpha = float | Sequence[float] | Tensor
Weights = Sequence[float] | Sequence[Sequence[float]] | Tensor
_Painted = tuple[Motion, Tensor]  # a frame by itself, in its style
AT_ONCE = 4  # frames that are painted in one pass: more are no faster, and take more memory


def stylize(
    clip: Iterable[Tensor | Frame],
    model: AdaIN | TransformNet,
    style: Styles | None = None,
    alpha: Alpha | None = None,
    temporal_weight: float = 0.7,
    *,
    weights: Weights | None = None,
    mask: Tensor | Mapping[int, Tensor] | None = None,
    flow: Method = "dis",
    at_once: int = AT_ONCE,
    **turned: Any,
) -> Generator[Any, None, None]:
    """Yield a clip's frames in a style, steady in time: images for images, Frames for Frames.

    No more than about five times ``at_once`` frames are held, however long the clip.

    Args:
        clip: images (1, 3, H, W) in [0, 1], all of one size; or what :func:`~nstlib.video.read`
            returned.
        model: which paints.
        style: pictures, or what ``model.style`` returned; of a fast net the names of its styles. One,
            or several.
        alpha: how much of the style, in [0, 1]; or as many as there are frames. A fast net has none:
            it takes ``style_weight``, the place of its dial.
        temporal_weight: how much of each picture is the one before it, moved along: 0, each frame by
            itself, to 0.95.
        weights: how much of each style; or a table (frames, styles), for styles that change.
        mask: (R, 1, H, W), with a style for each region in place of a mixture: those of the first
            frame, moved along with what they are on; or of several frames, by their indices.
        flow: how motion is found: see :func:`nstlib.flow.flow`.
        at_once: how many frames are painted in one pass, where there is no mask and none is matched.
        **turned: what else ``stylize`` of the :class:`~nstlib.stylist.Stylist`, or of the
            :class:`~nstlib.stylist.NetStylist`, takes: ``keep_color``, ``match``, ``stroke_size`` ...
            Colours that are matched are those of the first frame of each scene.

    Raises:
        TypeError, ValueError: an argument or a frame is not of this form.
        VideoError: the clip cannot be read.

    Example:
        >>> from nstlib.adain import load_adain
        >>> from nstlib.painting import clip
        >>> frames = clip("pan", frames=3, height=64, width=96).frames.split(1)
        >>> pictures = stylize(frames, load_adain(), torch.rand(1, 3, 64, 64))
        >>> [tuple(picture.shape) for picture in pictures]
        [(1, 3, 64, 96), (1, 3, 64, 96), (1, 3, 64, 96)]
    """
    TEMPORAL_WEIGHT.check("temporal_weight", temporal_weight)
    check_method(flow)
    if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
        raise ValueError(f"at_once is {at_once!r}; it takes a whole number of frames, at least 1")
    paint = _Painter(model, style, alpha, weights, turned)
    if isinstance(clip, Sized):
        paint.check_count(len(clip))
    return _stylized(clip, paint, temporal_weight, mask, flow, at_once)


def _stylized(
    clip: Iterable[Tensor | Frame],
    paint: _Painter,
    temporal_weight: float,
    mask: Tensor | Mapping[int, Tensor] | None,
    method: Method,
    at_once: int,
) -> Generator[Any, None, None]:
    # Where nothing is blended, recoloured scene by scene or carried along, motion is of no use.
    is_moved = temporal_weight > 0 or mask is not None or paint.matches
    moving = motions(clip, method if is_moved else None)
    with reused_memory(), closing(ahead(moving, 2 * at_once, threads=1)) as moving:
        if mask is None:
            painted = in_passes(moving, paint, at_once)
        else:
            painted = _in_regions(carried(mask, moving), paint)
        with (
            closing(ahead(painted, at_once)) as painted,
            closing(ahead(_finished(painted, temporal_weight), at_once, threads=1)) as finished,
        ):
            yield from finished


# ---------------------------------------------------------------------------------------- painting


class _Painter:
    """Paints frames by a stylist; what changes from frame to frame is looked up by their indices."""

    def __init__(
        self,
        model: AdaIN | TransformNet,
        style: Styles | None,
        alpha: Alpha | None,
        weights: Weights | None,
        turned: Mapping[str, Any],
    ) -> None:
        self._turned: dict[str, Any] = dict(turned)
        self._tables: dict[str, Tensor] = {}  # what changes, with an entry for each frame
        for name, given, axes in (("alpha", alpha, 0), ("weights", weights, 1)):
            if given is not None:
                values = torch.as_tensor(given).cpu()
                where = self._tables if values.ndim > axes else self._turned
                where[name] = values
        self.matches = False
        if isinstance(model, AdaIN):
            self._place, self._look = model.encoder.mean.device, model.style
            self._stylist: Any = Stylist(model, kept=1)
            self._styles: list[Any] = (
                [style] if isinstance(style, (Tensor, Style)) else list(style or [])
            )
            self.matches = turned.get("keep_color") == "match"
            if self.matches:
                self._turned["keep_color"] = None  # the styles have the colours already
                if any(isinstance(style, Style) for style in self._styles):
                    raise ValueError(
                        "keep_color='match' recolours pictures; style has what was taken from one"
                    )
            self._known: Any = self._styles if self.matches else self._seen(self._styles)
            count = sum(map(len, self._known))
        elif isinstance(model, TransformNet):
            if alpha is not None:
                raise ValueError(f"alpha is {alpha}; a fast net has none: style_weight is its dial")
            self._place, self._stylist = model.head.weight.device, NetStylist(model)
            self._known = style
            count = 1 if style is None or isinstance(style, str) else len(style)
        else:
            found = type(model).__name__
            raise TypeError(f"model is a {found}; it takes an AdaIN or a TransformNet")
        # Of all frames, before the first: what is wrong is told at once, not an hour later.
        if alpha is not None:
            check_alphas(alpha)
        if weights is not None:
            mixing_table(torch.as_tensor(weights), count)

    def check_count(self, frames: int) -> None:
        """Raise ValueError where there are fewer values than frames."""
        for name, values in self._tables.items():
            if len(values) < frames:
                raise ValueError(f"{name} is given for {len(values)} frames; the clip has {frames}")

    def _seen(self, styles: Sequence[Any]) -> list[Any]:
        """Return styles as the model knows them: each picture is looked at once, for all frames."""
        return [self._look(style) if isinstance(style, Tensor) else style for style in styles]

    def __call__(self, group: Sequence[Motion], regions: Tensor | None = None) -> Tensor:
        """Return frames (N, 3, H, W) in their styles, by regions (R, 1, H, W) if there are any."""
        if self.matches:
            return torch.cat([self._matched(motion, regions) for motion in group])
        return self._paint(group, regions)

    def _matched(self, motion: Motion, regions: Tensor | None) -> Tensor:
        """Paint a frame in styles that have the colours of its scene's first frame.

        Matched to each frame anew, the colours would flicker.
        """
        if motion.begins:
            colored = [color.match_color(style, motion.frame) for style in self._styles]
            self._known = self._seen(colored)
        return self._paint([motion], regions)

    def _paint(self, group: Sequence[Motion], regions: Tensor | None) -> Tensor:
        painted: Tensor = self._stylist.stylize(
            torch.cat([motion.frame for motion in group]).to(self._place),
            self._known,
            mask=None if regions is None else regions.to(self._place),
            **self._turned,
            **self._changed([motion.index for motion in group]),
        )
        return painted

    def _changed(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return what frames take of what changes, by their indices."""
        for name, values in self._tables.items():
            if indices[-1] >= len(values):
                raise ValueError(f"{name} is given for {len(values)} frames; the clip has more")
        return {name: values[list(indices)] for name, values in self._tables.items()}


# --------------------------------------------------------------------------------- stage by stage


def in_passes(
    items: Iterable[Item], paint: Callable[[list[Item]], Tensor], at_once: int = AT_ONCE
) -> Iterator[tuple[Item, Tensor]]:
    """Paint so many items in one pass, and yield each with its picture (1, 3, H, W).

    Args:
        items: frames, or what stands for them.
        paint: some of them to their pictures (N, 3, H, W).
        at_once: how many; the last pass may have fewer.

    Example:
        >>> frames = torch.rand(5, 1, 3, 8, 8)
        >>> pairs = list(in_passes(frames, lambda group: 1 - torch.cat(group)))
        >>> len(pairs), all(torch.equal(picture, 1 - frame) for frame, picture in pairs)
        (5, True)
    """
    source = iter(items)
    while group := list(itertools.islice(source, at_once)):
        yield from zip(group, torch.split(paint(group), 1), strict=True)


def _in_regions(moving: Iterable[tuple[Motion, Tensor]], paint: _Painter) -> Iterator[_Painted]:
    """Paint each frame by the regions that have moved along with it."""
    for motion, regions in moving:
        yield motion, paint([motion], regions)


def _finished(painted: Iterable[_Painted], temporal_weight: float) -> Iterator[Tensor | Frame]:
    """Steady the painted frames, and give each the form in which it came."""
    step = Steadied(temporal_weight)
    for motion, picture in painted:
        image = step(picture, motion).to(motion.frame.device)
        source = motion.source
        yield replace(source, image=image) if isinstance(source, Frame) else image


# --------------------------------------------------------------------------------------- overlap


_starting = threading.Lock()  # a thread that begins takes over how many it may share its work among


def ahead(
    items: Iterable[Item], count: int, threads: int | None = None
) -> Generator[Item, None, None]:
    """Yield items that a thread makes in the meantime, so many ahead at most.

    What goes wrong in making one, or in closing ``items``, is raised where the next would have come.
    When the generator is closed, the thread ends before :meth:`close` returns: as soon as the item is
    made that it is at.

    Args:
        items: what to make, one after the other.
        count: how many may wait to be taken, at least 1.
        threads: among how many PyTorch may share each operation on a CPU. For small ones, beside
            others at work, to share takes longer than the work. None leaves that as it is.

    Raises:
        ValueError: a ``count`` or number of threads below 1.

    Example:
        >>> list(ahead((n * n for n in range(4)), 2))
        [0, 1, 4, 9]
    """
    for name, value in (("count", count), ("threads", 1 if threads is None else threads)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    return _ahead(items, count, threads)


def _ahead(items: Iterable[Item], count: int, threads: int | None) -> Generator[Item, None, None]:
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(count)
    stopped, begun, restored = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        ending: BaseException = _Ended()
        try:
            if threads is not None:
                torch.set_num_threads(threads)  # of this thread, and of all that begin later
                torch.get_num_threads()  # else it takes over another number with its first work
            begun.set()
            restored.wait()
            with torch.no_grad(), closing(items) if isinstance(items, Generator) else nullcontext():
                for item in items:
                    ready.put((item, None))
                    if stopped.is_set():
                        break
        except BaseException as error:
            ending = error
        ready.put((None, ending))

    # A daemon: one that is left waiting for its consumer must not keep Python from ending.
    thread = threading.Thread(target=work, daemon=True)
    try:
        with _starting:
            usual = torch.get_num_threads()
            try:
                thread.start()
                begun.wait()
            finally:
                if threads is not None:
                    torch.set_num_threads(usual)  # of those that begin later, again
                restored.set()
        while True:
            item, ending = ready.get()
            if isinstance(ending, _Ended):
                return
            if ending is not None:
                raise ending
            yield cast(Item, item)
    finally:
        stopped.set()
        while thread.is_alive():  # it may wait for room
            with suppress(queue.Empty):
                ready.get(timeout=0.01)


class _Ended(Exception):
    """All items have come."""
