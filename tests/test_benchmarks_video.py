"""What is timed is what is said: each stage on its frames, a whole clip both ways to the same file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adain_model import tiny_model
from torch import Tensor

from nstlib import cli, flow, images, video
from nstlib.benchmarks import Row
from nstlib.benchmarks import video as video_benchmarks
from nstlib.benchmarks.video import Painter, Weighed
from nstlib.transform_net import TransformNet
from nstlib.video import moving

pytest.importorskip("av")
pytest.importorskip("cv2")

SIZE = 48  # px: frames of 86 x 48


@pytest.fixture
def who(monkeypatch: pytest.MonkeyPatch) -> list[Painter]:
    monkeypatch.setattr(video_benchmarks, "STYLE_SIZE", 40)
    monkeypatch.setattr(video_benchmarks, "FRAMES", 9)
    net = TransformNet(width=0.125, blocks=1).requires_grad_(False).eval()
    return video_benchmarks.painters("cpu", tiny_model("skips"), net)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return video_benchmarks.write_clip(tmp_path / "clip.mp4", SIZE, 9)


@pytest.fixture
def counted(source: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many frames each stage has worked on, since the clip was written."""
    seen: Counter[str] = Counter()

    def watch(place: Any, name: str, count: Callable[..., int]) -> None:
        work = getattr(place, name)

        def watched(*given: Any, **more: Any) -> Any:
            seen[name] += count(*given)
            return work(*given, **more)

        monkeypatch.setattr(place, name, watched)

    watch(flow, "flow", lambda *pair: 1)
    watch(flow, "is_cut", lambda *given: 1)
    watch(flow, "alike", lambda *given: 1)
    watch(Painter, "paint", lambda one, group: len(group))
    watch(video_benchmarks.Steadied, "__call__", lambda *given: 1)
    watch(video_benchmarks.video, "write", lambda path, frames, rate: len(frames))
    return seen


def test_a_long_clip_goes_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_benchmarks, "FRAMES", 4)
    clip = video.read(video_benchmarks.write_clip(tmp_path / "clip.mp4", SIZE, 11))
    assert (len(clip), clip.height, clip.width, clip.rate) == (11, 48, 86, 25)
    frames = [frame.image for frame in clip]
    order = [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2]
    for index, frame in enumerate(frames):
        off = [float((frame - other).abs().mean()) for other in frames[:4]]
        assert off.index(min(off)) == order[index]


def test_each_stage_does_its_own_work_on_its_number_of_frames(
    who: list[Painter], source: Path, counted: Counter[str]
) -> None:
    stages = video_benchmarks.stages_of(source, who)
    done = {}
    for name, stage in stages.items():
        counted.clear()
        for _ in range(3):  # whichever frames it is at
            stage.work()
        done[name] = dict(counted)
    assert done == {
        "read": {},
        "shrink, flow both ways": {"flow": 6},
        "visible, cut, alike, enlarge": {"is_cut": 3, "alike": 3},
        "paint: AdaIN": {"paint": 12},
        "paint: fast net": {"paint": 12},
        "warp, blend, anchor": {"__call__": 3},
        "write": {"write": 27},
    }
    assert [stage.frames for stage in stages.values()] == [9, 1, 1, 4, 4, 1, 9]


def test_motion_is_found_and_judged_as_in_the_pipeline(
    who: list[Painter], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same size, by the same calls in the same order: else its rows time something else."""
    stages = video_benchmarks.stages_of(source, who)
    calls: list[Any] = []

    def noted(place: Any, name: str) -> None:
        work = getattr(place, name)

        def noting(*given: Any, **more: Any) -> Any:
            calls.append((name, *(tuple(x.shape) if isinstance(x, Tensor) else x for x in given)))
            return work(*given, **more)

        monkeypatch.setattr(place, name, noting)

    for name in ("flow", "visible", "is_cut", "alike"):
        noted(flow, name)
    noted(moving.F, "interpolate")
    first, second, *_ = video.read(source)
    assert not list(video.motions([first, second]))[1].begins
    of_the_pipeline = calls.copy()
    calls.clear()
    stages["shrink, flow both ways"].work()
    stages["visible, cut, alike, enlarge"].work()
    assert calls == of_the_pipeline
    assert ("flow", (1, 3, 24, 43), (1, 3, 24, 43), "dis", 0) in calls, "of frames of 86 x 48"


def test_stages_are_timed_a_frame(who: list[Painter], monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(works: dict[str, Any], repeats: int) -> list[Row]:
        return [Row(name, 18.0, 9.0, 36.0, repeats) for name in works]

    monkeypatch.setattr(video_benchmarks, "compare", compare)
    rows = {row.name: row for row in video_benchmarks.stage_rows(who, SIZE, 2)}
    assert (rows["read"].milliseconds, rows["read"].low, rows["read"].high) == (2, 1, 4)
    assert rows["shrink, flow both ways"].milliseconds == 18
    assert rows["paint: AdaIN"].milliseconds == 4.5


def test_both_ways_paint_the_same_clip(who: list[Painter], source: Path) -> None:
    for painter in who:
        whole = [frame.image for frame in video.read(video_benchmarks.overlapped(source, painter))]
        parts = [frame.image for frame in video.read(video_benchmarks.one_by_one(source, painter))]
        assert len(whole) == len(parts) == 9
        # The encoder is told another time base, and chooses a little otherwise.
        assert float((torch.cat(whole) - torch.cat(parts)).abs().mean()) < 0.01


def test_a_clip_is_timed_a_frame_both_ways_after_a_warm_up(
    who: list[Painter], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []

    def timed(way: str) -> Callable[[Path, Painter], None]:
        return lambda source, painter: runs.append(f"{painter.name}, {way}")

    ways = {"one_by_one": "stage after stage", "overlapped": "overlapped"}
    for name, way in ways.items():
        monkeypatch.setattr(video_benchmarks, name, timed(way))
    clock = iter(range(10_000))
    monkeypatch.setattr(video_benchmarks.time, "perf_counter", lambda: next(clock))
    rows = video_benchmarks.pipeline_rows(who, SIZE, 3)
    names = [f"{painter.name}, {way}" for painter in who for way in ways.values()]
    assert [row.name for row in rows] == names
    assert runs == names * 4, "interleaved, and the first turn is not counted"
    assert all(row.milliseconds == pytest.approx(1000 / 9) for row in rows)
    with pytest.raises(ValueError, match="runs is 1; a median and quantiles need 2 at least"):
        video_benchmarks.pipeline_rows(who, SIZE, 1)


def test_memory_is_weighed_in_another_process_all_along_the_way() -> None:
    found = video_benchmarks.weigh(40, SIZE, "cpu", tiny_model("skips"))
    assert found.frames == 40
    assert len(found.samples) == video_benchmarks.SAMPLES
    assert 0.05 < min(found.samples) <= max(found.samples) < 8
    assert found.peak > 0.9 * max(found.samples)
    assert found.seconds > 0
    with pytest.raises(ValueError, match="frames is 1; it must be at least 2"):
        video_benchmarks.weigh(1)


def test_what_is_held_shows_in_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that nobody lets go make memory grow, and that is seen."""
    levels = iter(range(100))
    monkeypatch.setattr(video_benchmarks, "_resident", lambda: float(next(levels)))
    samples: list[float] = []
    frames: list[Any] = list(range(50))
    passed = list(video_benchmarks._watched(frames, 50, samples))
    assert passed == frames
    assert samples == [float(k) for k in range(video_benchmarks.SAMPLES)]


def test_the_painters_are_those_that_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_benchmarks, "STYLE_SIZE", 40)
    adain, net = video_benchmarks.painters("cpu")
    assert video_benchmarks.STYLE in images.style_names()
    assert (adain.name, net.name, net.style) == ("AdaIN", "fast net", video_benchmarks.STYLE)
    assert adain.paint([torch.rand(1, 3, 32, 48)] * 2).shape == (2, 3, 32, 48)


def test_the_command_prints_the_tables_and_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def noted(*answer: Any) -> Callable[..., Any]:
        def answering(*given: Any) -> Any:
            asked.append(given)
            return list(answer) if isinstance(answer[0], Row) else answer[0]

        return answering

    monkeypatch.setattr(video_benchmarks, "painters", lambda device: [device])
    monkeypatch.setattr(video_benchmarks, "stage_rows", noted(Row("read", 2.0, 1.0, 4.0, 1.0)))
    monkeypatch.setattr(video_benchmarks, "pipeline_rows", noted(Row("all", 80.0, 75.0, 90.0, 1.0)))
    monkeypatch.setattr(video_benchmarks, "weigh", noted(Weighed(30, 3.0, 0.5, [0.4, 0.5])))
    flags = ["--size", "96", "--repeats", "3", "--runs", "2", "--frames", "30", "--device", "cpu"]
    assert cli.main(["bench", "video", *flags, "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert "| read | 2.0 ms | 1.0–4.0 ms | 500.0 |" in said
    assert "| all | 80.0 ms | 75.0–90.0 ms | 12.5 |" in said
    assert "| 30 | 0.50 GB | 1.00 | 0.40, 0.50 GB | 10.0 |" in said
    found = json.loads((tmp_path / "new" / "video.json").read_text(encoding="utf-8"))
    assert set(found) == {
        *("machine", "size", "device", "repeats", "runs", "stages", "pipeline", "memory")
    }
    assert found["memory"] == [{"frames": 30, "seconds": 3.0, "peak": 0.5, "samples": [0.4, 0.5]}]
    assert cli.main(["bench", "video"]) == 0
    assert asked == [
        *((["cpu"], 96, 3), (["cpu"], 96, 2), (30, 96, "cpu")),
        *((["auto"], 216, 15), (["auto"], 216, 5), (30, 216, "auto"), (300, 216, "auto")),
    ]


def test_a_soak_is_a_long_clip_among_the_lengths(root: Path) -> None:
    lines = (root / "Makefile").read_text(encoding="utf-8").splitlines()
    soak = [line for line in lines if "bench video" in line and "--out" in line]
    assert [line.strip() for line in soak] == [
        "$(BIN)/nst bench video --repeats 30 --frames 30 300 2000 --out data/benchmarks"
    ]
