"""How fast a clip is painted: each stage by itself, all of them together; and the memory that it takes.

The clip is a made one and lies in a file, as anyone's does. Its frames are 16 : 9.
"""

from __future__ import annotations

import itertools
import multiprocessing
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import torch
from torch import Tensor

from nstlib import config, images, painting, video
from nstlib.adain import AdaIN, load_adain
from nstlib.benchmarks.memory import PeakMemory
from nstlib.benchmarks.timing import Row, as_rows, compare
from nstlib.styles import Style
from nstlib.transform_net import TransformNet, load_net
from nstlib.video.moving import flows_between, trusted
from nstlib.video.steadying import Steadied
from nstlib.video.stylizing import AT_ONCE, in_passes

STYLE = "vortex"
STYLE_SIZE = 512  # px: the shorter side at which the painting is looked at
FRAMES = 48  # of the clip that is timed
RATE = 25  # frames a second
SAMPLES = 20  # looks at the memory along the way

Work = Callable[[], object]

# ------------------------------------------------------------------------------------------ the clip


def write_clip(path: Path, size: int, frames: int) -> Path:
    """Write a made clip, its shorter side ``size`` px; a long one goes there and back."""
    width = 2 * round(size * 16 / 9 / 2)
    known = torch.split(painting.clip("sprites", min(frames, FRAMES), size, width).frames, 1)
    lap = [*known, *known[-2:0:-1]]
    return video.write(path, itertools.islice(itertools.cycle(lap), frames), RATE)


@contextmanager
def _clip_file(size: int, frames: int) -> Iterator[Path]:
    """Give the path of a clip in a folder of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield write_clip(Path(folder) / "clip.mp4", size, frames)


def _beside(source: Path) -> Path:
    """Return the path of what is made of a clip."""
    return source.with_name("painted.mp4")


# ---------------------------------------------------------------------------------------- who paints


@dataclass(frozen=True, eq=False)
class Painter:
    """A model and its style, as `video.stylize` takes them."""

    name: str
    model: AdaIN | TransformNet
    style: Style | str | None

    def paint(self, group: Sequence[Tensor]) -> Tensor:
        """Return frames (1, 3, H, W) painted in one pass, (N, 3, H, W)."""
        return self.model.stylize(torch.cat(list(group)), self.style)  # type: ignore[arg-type]


def painters(
    device: str = "auto", adain: AdaIN | None = None, net: TransformNet | None = None
) -> list[Painter]:
    """Return the models that ship, or those that stand for them, with a style each."""
    place = config.pick_device(device)
    adain, net = adain or load_adain(device=place), net or load_net(device=place)
    picture = images.at_size(images.style(STYLE), STYLE_SIZE)
    name = STYLE if STYLE in net.shape.styles else None
    return [Painter("AdaIN", adain, adain.style(picture)), Painter("fast net", net, name)]


# -------------------------------------------------------------------------------- stage after stage


@dataclass(frozen=True)
class Stage:
    """A stage's work on so many frames."""

    work: Work
    frames: int = 1


def stage_rows(who: Sequence[Painter], size: int = 216, repeats: int = 15) -> list[Row]:
    """Time each stage by itself, on all threads, in ms a frame."""
    with _clip_file(size, FRAMES) as source:
        stages = stages_of(source, who)
        rows = compare({name: stage.work for name, stage in stages.items()}, repeats)
    return [_a_frame(row, stages[row.name].frames) for row in rows]


def stages_of(source: Path, who: Sequence[Painter]) -> dict[str, Stage]:
    """Return each stage's work, on what the stage before it makes of a clip."""
    clip = video.read(source)
    motions = list(video.motions(clip))
    frames = [motion.frame for motion in motions]
    painted = _painted(who[0], frames)
    finished = list(video.steady(painted, motions))
    return {
        "read": Stage(lambda: deque(clip, maxlen=0), len(clip)),
        **_of_motion(frames),
        **{f"paint: {one.name}": _painting(one, frames) for one in who},
        "warp, blend, anchor": _steadying(painted, motions),
        "write": Stage(lambda: video.write(_beside(source), finished, RATE), len(clip)),
    }


def _of_motion(frames: Sequence[Tensor]) -> dict[str, Stage]:
    """Return what finds the flows from frame to frame, and what judges them, as `video.motions` does."""
    pairs = [(new, old) for old, new in itertools.pairwise(frames)]
    to_find = itertools.cycle(pairs)
    to_judge = itertools.cycle([flows_between(*pair) for pair in pairs])
    return {
        "shrink, flow both ways": Stage(lambda: flows_between(*next(to_find))),
        "visible, cut, alike, enlarge": Stage(lambda: trusted(next(to_judge))),
    }


def _painting(painter: Painter, frames: Sequence[Tensor]) -> Stage:
    """Return what paints some frames in one pass."""
    whole = range(0, len(frames) - AT_ONCE + 1, AT_ONCE)  # a rest would be painted faster
    groups = itertools.cycle([frames[start : start + AT_ONCE] for start in whole])
    return Stage(lambda: painter.paint(next(groups)), AT_ONCE)


def _steadying(painted: Sequence[Tensor], motions: Sequence[video.Motion]) -> Stage:
    """Return what steadies a painted frame by the one before."""
    step = Steadied()
    step(painted[0], motions[0])
    turns = itertools.cycle(
        [pair for pair in zip(painted, motions, strict=True) if not pair[1].begins]
    )
    return Stage(lambda: step(*next(turns)))


def _a_frame(row: Row, frames: int) -> Row:
    """Return what a frame takes, of a row that so many took together."""
    return replace(
        row, milliseconds=row.milliseconds / frames, low=row.low / frames, high=row.high / frames
    )


# -------------------------------------------------------------------------------------- all together


def pipeline_rows(who: Sequence[Painter], size: int = 216, runs: int = 5) -> list[Row]:
    """Time a whole clip from file to file, in ms a frame: stage after stage, and overlapped."""
    if runs < 2:
        raise ValueError(f"runs is {runs}; a median and quantiles need 2 at least")
    with _clip_file(size, FRAMES) as source:
        works: dict[str, Work] = {}
        for one in who:
            works[f"{one.name}, stage after stage"] = partial(one_by_one, source, one)
            works[f"{one.name}, overlapped"] = partial(overlapped, source, one)
        times: dict[str, list[float]] = {name: [] for name in works}
        for turn in range(runs + 1):
            for name, work in works.items():
                started = time.perf_counter()
                work()
                if turn:  # the first chooses algorithms
                    times[name].append(1000 * (time.perf_counter() - started) / FRAMES)
    return as_rows(times)


def overlapped(source: Path, painter: Painter) -> Path:
    """Paint a clip's file as `video.stylize` does it."""
    painted = video.stylize(video.read(source), painter.model, painter.style)
    return video.write(_beside(source), painted)


def one_by_one(source: Path, painter: Painter) -> Path:
    """Do the same to a short clip, where each stage waits until the one before it has ended."""
    frames = [frame.image for frame in video.read(source)]
    motions = list(video.motions(frames))
    finished = list(video.steady(_painted(painter, frames), motions))
    return video.write(_beside(source), finished, RATE)


def _painted(painter: Painter, frames: Sequence[Tensor]) -> list[Tensor]:
    """Paint all frames, some at once."""
    return [picture for _, picture in in_passes(frames, painter.paint)]


# -------------------------------------------------------------------------------------------- memory


@dataclass(frozen=True)
class Weighed:
    """The memory that a process held while it painted a clip from file to file."""

    frames: int
    seconds: float  # it took
    peak: float  # GB
    samples: list[float]  # GB, evenly along the way; the last is at the end


def weigh(
    frames: int, size: int = 216, device: str = "auto", adain: AdaIN | None = None
) -> Weighed:
    """Paint so many frames by AdaIN in a process of their own, and weigh it; ``adain`` as in painters."""
    if frames < 2:
        raise ValueError(f"frames is {frames}; it must be at least 2")
    alone = multiprocessing.get_context("spawn")  # a fork would hold what this process holds
    with _clip_file(size, frames) as source, ProcessPoolExecutor(1, mp_context=alone) as pool:
        return pool.submit(_weighed, source, device, adain).result()


def _weighed(source: Path, device: str, adain: AdaIN | None) -> Weighed:
    painter, clip = painters(device, adain)[0], video.read(source)
    before, started = _resident(), time.perf_counter()
    samples: list[float] = []
    with PeakMemory() as peak:
        painted = video.stylize(clip, painter.model, painter.style)
        video.write(_beside(source), _watched(painted, len(clip), samples))
    seconds = time.perf_counter() - started
    return Weighed(len(clip), seconds, before + peak.bytes / 1e9, samples)


def _watched(
    painted: Iterable[video.Frame], count: int, samples: list[float]
) -> Iterator[video.Frame]:
    """Pass frames on, and look at the memory along the way."""
    looks = {round(count * (k + 1) / SAMPLES) for k in range(SAMPLES)}
    for number, frame in enumerate(painted, start=1):
        yield frame
        if number in looks:
            samples.append(_resident())


def _resident() -> float:
    """Return the GB that this process holds."""
    return float(psutil.Process().memory_info().rss) / 1e9


# -------------------------------------------------------------------------------------------- tables


def as_table(rows: Sequence[Row], work: str) -> str:
    """Return a Markdown table of what a frame takes.

    Example:
        >>> print(as_table([Row("read", 2.0, 1.9, 2.2, 1.0)], "stage"))
        | stage | a frame | 20–80 % | frames a second |
        | --- | ---: | ---: | ---: |
        | read | 2.0 ms | 1.9–2.2 ms | 500.0 |
    """
    lines = [f"| {work} | a frame | 20–80 % | frames a second |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {r.name} | {r.milliseconds:.1f} ms | {r.low:.1f}–{r.high:.1f} ms "
        f"| {1000 / r.milliseconds:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)


def memory_table(weighed: Sequence[Weighed]) -> str:
    """Return a Markdown table of the memory that clips of several lengths took.

    Example:
        >>> print(memory_table([Weighed(30, 3.0, 0.5, [0.4, 0.5]), Weighed(300, 25, 0.55, [0.5])]))
        | frames | peak | of the first | at half, at the end | frames a second |
        | ---: | ---: | ---: | ---: | ---: |
        | 30 | 0.50 GB | 1.00 | 0.40, 0.50 GB | 10.0 |
        | 300 | 0.55 GB | 1.10 | 0.50, 0.50 GB | 12.0 |
    """
    lines = [
        "| frames | peak | of the first | at half, at the end | frames a second |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in weighed:
        half, end = one.samples[(len(one.samples) - 1) // 2], one.samples[-1]
        lines.append(
            f"| {one.frames} | {one.peak:.2f} GB | {one.peak / weighed[0].peak:.2f} "
            f"| {half:.2f}, {end:.2f} GB | {one.frames / one.seconds:.1f} |"
        )
    return "\n".join(lines)
