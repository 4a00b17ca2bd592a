"""The whole table: what is timed, weighed and judged is what each row says. Never how fast."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from nstlib import benchmarks, config, images
from nstlib.benchmarks import contenders, kernels, report, whole
from nstlib.benchmarks.contenders import Contender, Pictures
from nstlib.benchmarks.rows import FEWER, KEPT, METHODS, PLAIN, SAME, SHIPS, KernelRow, MethodRow
from nstlib.benchmarks.whole import Job
from nstlib.encoders import Encoder, random_encoder
from nstlib.evaluation import judging
from nstlib.transform_net import load_net

CPU = torch.device("cpu")
ONCE = functools.cache(random_encoder)  # twenty million random weights take half a second


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps, small styles, and no weights of the user's own: what is found a test says itself."""
    monkeypatch.setattr(contenders, "find_vgg19_weights", lambda: None)
    monkeypatch.setattr(judging, "find_vgg19_weights", lambda: None)
    monkeypatch.setattr(whole, "JUDGED_STEPS", 2)
    monkeypatch.setattr(whole, "STARTS", 1)
    monkeypatch.setattr(whole, "STYLE_SIZE", 64)
    monkeypatch.setattr(contenders, "random_encoder", ONCE)


@pytest.fixture
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "has_fast_bfloat16", lambda kind="cpu": True)


@pytest.fixture
def without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "has_fast_bfloat16", lambda kind="cpu": False)


@pytest.fixture
def pictures() -> Pictures:
    return contenders.load_pictures(("astronaut", "vortex"), 32, 32, CPU)


def finds(monkeypatch: pytest.MonkeyPatch, vgg19: Encoder) -> None:
    """Let trained weights of VGG-19 be found: those of a narrow network."""
    load = contenders.load_encoder
    monkeypatch.setattr(contenders, "find_vgg19_weights", lambda: "a file")
    monkeypatch.setattr(
        contenders, "load_encoder", lambda name: vgg19 if name == "vgg19" else load(name)
    )


def narrow(depth: int) -> Encoder:
    """VGG-19 with few channels, from its first convolutions."""
    torch.manual_seed(3)
    return Encoder([6] * depth, name="vgg19")


# -------------------------------------------------------------------------------------------- plan


def test_the_plan_has_what_is_asked_for_and_what_the_field_quotes() -> None:
    jobs = whole.plan([256, 128, 256], "cpu")
    assert [(job.method, job.size) for job in jobs] == [
        *(("Gatys", size) for size in (128, 256, 512)),
        *(("fast net", size) for size in (128, 256, 512)),
        *(("AdaIN", size) for size in (128, 256, 512, 1024)),
    ]
    quick = whole.plan([64], "cpu", has_field=False)
    assert quick == [Job(method, 64, "cpu") for method in METHODS]


def test_the_cpu_is_always_measured_and_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for has_gpu, places in ((False, ["cpu"]), (True, ["cpu", "cuda"])):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        jobs = whole.plan([64])
        assert list(dict.fromkeys(job.device for job in jobs)) == places
    assert whole.devices("cpu") == ["cpu"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sizes": [256, 31]}, "size is 31; it must be at least 32 px"),
        ({"sizes": [], "has_field": False}, "size is empty"),
        ({"sizes": [64], "device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        whole.plan(**options)
    with pytest.raises(ValueError, match="repeats is 1"):
        whole.measure_whole([], repeats=1)
    with pytest.raises(ValueError, match="method is 'collage'"):
        contenders.contenders("collage", CPU)


# -------------------------------------------------------------------------------------- contenders


@pytest.mark.parametrize("method", METHODS)
def test_each_method_begins_with_its_plain_form_in_float32(
    method: str, with_bfloat16: None
) -> None:
    found = contenders.contenders(method, CPU)
    assert (found[0].kind, found[0].dtype) == (PLAIN, "float32")
    assert all(one.kind != PLAIN for one in found[1:])
    assert len({(one.network, one.dtype) for one in found}) == len(found)
    ours = {one.kind: {o.dtype for o in found if o.kind == one.kind} for one in found[1:]}
    assert set(ours) == {SAME, SHIPS} | ({KEPT} if method == "AdaIN" else set())
    assert all(dtypes == {"float32", "bfloat16"} for dtypes in ours.values())
    assert {one.kind for one in found if one.is_trained} == set(ours) - {SAME}


def test_a_dtype_that_a_device_emulates_is_not_measured(without_bfloat16: None) -> None:
    assert contenders.dtypes_of(CPU) == [torch.float32]
    assert {one.dtype for one in contenders.contenders("fast net", CPU)} == {"float32"}


@pytest.mark.parametrize(
    ("depth", "wanted"),
    [
        (8, {PLAIN: (5, False), FEWER: (3, True), SAME: (3, True)}),
        (13, {PLAIN: (5, True), SAME: (5, True)}),
    ],
)
def test_the_plain_form_has_trained_weights_as_far_as_they_are_found(
    depth: int,
    wanted: dict[str, tuple[int, bool]],
    without_bfloat16: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finds(monkeypatch, narrow(depth))
    found = contenders.contenders("Gatys", CPU)
    blocks = {one.kind: (int(one.network[-3]), one.is_trained) for one in found[:-1]}
    assert blocks == wanted
    assert (found[-1].kind, found[-1].is_trained) == (SHIPS, True)


@pytest.mark.parametrize("method", METHODS)
def test_every_contender_paints_the_photo_at_its_size(method: str, pictures: Pictures) -> None:
    for contender in contenders.contenders(method, CPU):
        stream = contender.stream(pictures)
        first, second = next(stream), next(stream)
        for picture in (first, second):
            assert picture.shape == (1, 3, 32, 32)
            assert 0 <= float(picture.min()) < float(picture.max()) <= 1
        # A step goes on from the last one; a pass begins anew.
        assert torch.equal(first, second) == (method != "Gatys")
        assert torch.is_grad_enabled(), "a stream that waits leaves its listener alone"


def test_the_same_recipe_makes_the_same_picture_plain_and_by_nstlib(
    pictures: Pictures, without_bfloat16: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of weights as far as they are found: what is compared is one piece of work."""
    finds(monkeypatch, narrow(8))
    _, plain, same, _ = contenders.contenders("Gatys", CPU)
    streams = plain.stream(pictures), same.stream(pictures)
    for _ in range(5):
        ours, theirs = (next(stream) for stream in streams)
    assert (ours - pictures.photo).abs().mean() > 0.02, "it has moved"
    # Adam goes by the sign of a gradient: where that is next to nothing, rounding decides.
    assert (ours - theirs).abs().mean() < 1e-3


def test_a_style_that_is_kept_changes_no_picture(
    pictures: Pictures, without_bfloat16: None
) -> None:
    *_, ships, kept = contenders.contenders("AdaIN", CPU)
    assert (ships.kind, kept.kind) == (SHIPS, KEPT)
    torch.testing.assert_close(next(ships.stream(pictures)), next(kept.stream(pictures)))


def test_the_pairs_are_of_what_ships_and_of_what_the_net_knows() -> None:
    photos, styles = zip(*whole.PAIRS, strict=True)
    assert set(photos) <= set(images.sample_names())
    assert set(styles) <= set(images.style_names()) & set(load_net("fast").shape.styles)


# --------------------------------------------------------------------------------------- measuring


def repeated(work: Callable[[Pictures], Tensor]) -> Callable[[Pictures], Iterator[Tensor]]:
    def stream(of: Pictures) -> Iterator[Tensor]:
        while True:
            yield work(of)

    return stream


def instead(monkeypatch: pytest.MonkeyPatch, *found: Contender) -> None:
    """Let these be the contenders of every method."""
    monkeypatch.setattr(whole, "contenders", lambda method, device: list(found))


@pytest.mark.soak  # with every network at its full width; what a row holds is tested below, too
def test_a_row_says_what_was_measured_of_each_contender(
    with_bfloat16: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(monkeypatch, narrow(8))
    told: list[str] = []
    judge = random_encoder("slim")
    for method in METHODS:
        job, found = Job(method, 32, "cpu"), contenders.contenders(method, CPU)
        rows = whole.measure(job, judge, 2, tell=told.append)
        assert [(r.network, r.kind, r.dtype) for r in rows] == [
            (c.network, c.kind, c.dtype) for c in found
        ]
        assert {(r.method, r.size, r.device) for r in rows} == {(method, 32, "cpu")}
        assert rows[0].ratio == 1
        for row, contender in zip(rows, found, strict=True):
            assert row.low <= row.milliseconds <= row.high
            assert row.memory is not None
            assert (row.left is not None) == contender.is_trained
            assert (row.left_statistics is not None) == contender.is_trained
            assert (row.start is not None) == (method == "Gatys")
            assert row.steps == (2 if method == "Gatys" and contender.is_trained else None)
            assert row.run is None
        assert told.pop() == f"{job}: {found[-1].network}, {found[-1].dtype}"


def test_in_full_all_steps_are_run_and_timed(
    without_bfloat16: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "STEPS", 3)
    rows = whole.measure(Job("Gatys", 32, "cpu"), random_encoder(), 2, is_full=True)
    assert [row.steps for row in rows if row.kind == SHIPS] == [3]
    assert all((row.run is not None) == (row.left is not None) for row in rows)
    assert all(row.whole_run == row.run for row in rows if row.run is not None)


def test_quality_is_what_is_left_of_the_distance_to_the_style(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A photo that nobody touched has all of it left, and the style itself nothing."""
    halfway = repeated(lambda of: (of.photo + images.resize(of.style, 64)) / 2)
    instead(
        monkeypatch,
        Contender("the photo", PLAIN, "float32", repeated(lambda of: of.photo), True),
        Contender("halfway", SAME, "float32", halfway, True),
        Contender("the style", SHIPS, "float32", repeated(lambda of: of.style), True),
        Contender("random", KEPT, "float32", repeated(lambda of: of.style), False),
    )
    judge, job = random_encoder("slim"), Job("AdaIN", 64, "cpu")
    photo, between, style, unjudged = whole.measure(job, judge, 2)
    assert (photo.left, photo.left_statistics) == (1, 1)
    assert (style.left, style.left_statistics) == (0, 0)
    assert between.left is not None
    assert (unjudged.left, unjudged.left_statistics) == (None, None)
    expected = []
    for name, style_name in whole.PAIRS:
        content, painting = images.sample(name, 64, crop=True), images.style(style_name, 64)
        distances = [
            judging.style_distance(judge, image, painting)
            for image in ((content + painting) / 2, content)
        ]
        expected.append(distances[0] / distances[1])
    assert between.left == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_the_judge_looks_after_the_steps_that_the_row_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fading(of: Pictures) -> Iterator[Tensor]:
        yield of.photo
        yield of.style
        yield of.photo

    instead(monkeypatch, Contender("fading", PLAIN, "float32", fading, True))
    monkeypatch.setattr(whole, "compare", lambda works, repeats: [one_row()])
    (row,) = whole.measure(Job("Gatys", 64, "cpu"), random_encoder("slim"))
    assert (row.left, row.steps) == (0, 2)
    (row,) = whole.measure(Job("fast net", 64, "cpu"), random_encoder("slim"))
    assert (row.left, row.steps) == (1, None)


def one_row() -> benchmarks.Row:
    return benchmarks.Row("0", 4.0, 3.0, 5.0, 1.0)


def test_memory_is_what_a_fresh_run_takes_at_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(of: Pictures) -> Tensor:
        return torch.ones(50_000_000).mean() * of.photo  # 200 MB, and gone at once

    instead(
        monkeypatch,
        Contender("modest", PLAIN, "float32", repeated(lambda of: of.photo)),
        Contender("hungry", SAME, "float32", repeated(hungry)),
    )
    modest, glutton = whole.measure(Job("AdaIN", 32, "cpu"), random_encoder(), 2)
    assert modest.memory is not None
    assert modest.memory < 20e6
    assert glutton.memory == pytest.approx(200e6, rel=0.1)


def test_a_start_is_until_the_first_picture(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([10.0, 10.5, 20.0, 20.25, 30.0, 31.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(whole, "STARTS", 3)
    counted: list[int] = []

    def counting(of: Pictures) -> Iterator[Tensor]:
        for step in range(9):
            counted.append(step)
            yield of.photo

    contender = Contender("counting", PLAIN, "float32", counting)
    assert whole._start(contender, pictures) == 500
    assert counted == [0, 0, 0]


# ----------------------------------------------------------------------------------------- kernels


def test_every_kernel_is_timed_beside_a_copy_of_its_bytes(with_bfloat16: None) -> None:
    shape = (1, 4, 16, 24)
    entries = kernels.kernel_benchmark.ENTRIES
    rows = [row for kernel in entries for row in kernels.measure_kernel(kernel, "cpu", 2, shape)]
    wanted = [(kernel, dtype) for kernel in entries for dtype in ("float32", "bfloat16")]
    assert [(row.kernel, row.dtype) for row in rows] == wanted
    for row in rows:
        maps = torch.empty(shape, dtype=getattr(torch, row.dtype))
        assert row.bytes == entries[row.kernel].bytes_moved(maps)
        assert (row.device, row.shape, row.provider) == ("cpu", shape, "eager")
        assert row.low <= row.milliseconds <= row.high
        assert row.roofline is not None
        assert row.roofline > 0
        assert not row.launches
    assert kernels.measure_kernel("gram", "mps") == []


# -------------------------------------------------------------------------------------- all of it


@pytest.mark.soak  # by hand-made rows, and method by method, the other tests hold the same
def test_one_run_measures_every_method_and_the_kernels(
    without_bfloat16: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = [(1, 4, 16, 16)]
    monkeypatch.setattr(kernels.kernel_benchmark, "COURSE", course)
    jobs = whole.plan([32], "cpu", has_field=False)
    all_of_it = whole.measure_whole(jobs, 2)
    assert list(dict.fromkeys(row.method for row in all_of_it.rows)) == list(METHODS)
    assert {row.shape for row in all_of_it.kernels} == set(course)
    assert all_of_it.judge == "the slim encoder that ships"
    assert all_of_it.machine == benchmarks.machine()
    assert (all_of_it.repeats, all_of_it.left_out) == (2, ())
    assert all_of_it.pairs == ("astronaut × vortex", "coffee × woodblock")
    assert report.as_markdown(all_of_it).count("random weights |") >= 3


def test_what_there_is_no_memory_for_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(job: Job, *_: object) -> list[MethodRow]:
        if job.size == 1024:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")
        return [MethodRow(job.method, job.size, "cpu", "float32", "", PLAIN, 1, 1, 1, 1)]

    monkeypatch.setattr(whole, "measure", measure)

    def kernel(name: str, *_: object) -> list[KernelRow]:
        if name == "warp":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return []

    monkeypatch.setattr(whole, "measure_kernel", kernel)
    all_of_it = whole.measure_whole(whole.plan([], "cpu"))
    assert [(row.method, row.size) for row in all_of_it.rows] == [
        ("Gatys", 512),
        ("fast net", 512),
        ("AdaIN", 512),
    ]
    job, kernel_name = all_of_it.left_out
    assert job.startswith("AdaIN, 1024 px, cpu: DefaultCPUAllocator")
    assert kernel_name == "warp, cpu: CUDA out of memory"


# ------------------------------------------------------------------------------------------- judge


def test_the_best_judge_is_vgg19_where_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judging.best_judge().name == "slim"
    monkeypatch.setattr(judging, "find_vgg19_weights", lambda: "a file")
    monkeypatch.setattr(judging, "load_encoder", lambda name: narrow(8))
    assert judging.best_judge().name == "vgg19"


def test_a_judge_that_sees_too_little_is_refused() -> None:
    picture = torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="judge"):
        judging.judging(narrow(2), picture, picture)
