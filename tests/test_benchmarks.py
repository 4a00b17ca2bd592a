"""The benchmark does the same work in each contender; how fast is not a unit test's question."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nstlib import benchmarks, gatys, kernels
from nstlib.adain import AdaIN, Decoder
from nstlib.benchmarks import memory, methods, plain, profiling, timing
from nstlib.encoders import Encoder, random_encoder
from nstlib.memory import reused_memory


def test_the_yardstick_makes_the_same_picture_as_the_package() -> None:
    generator = torch.Generator().manual_seed(0)
    content = torch.rand(1, 3, 32, 48, generator=generator)
    style = torch.rand(1, 3, 40, 32, generator=generator)
    vgg19 = random_encoder("vgg19")
    yardstick = plain.PlainGatys(vgg19)
    steps = yardstick.steps(content, style)
    ours = gatys.optimize(content, style, vgg19, gatys.preset("d2l", precision="float32", steps=5))
    for _ in range(5):
        picture, step = next(steps), next(ours)
    torch.testing.assert_close(yardstick.shown(picture), step.image, atol=1e-4, rtol=0)


def test_the_yardstick_slows_down_as_the_recipe_says() -> None:
    """After fifty steps it goes on at four fifths of its rate, as the package does by that recipe."""
    content, style = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    vgg19 = Encoder([4, 4], name="vgg19")
    yardstick = plain.PlainGatys(vgg19, plain.d2l_within(vgg19))
    moves, before = [], yardstick.normalized(content)
    for picture, _ in zip(yardstick.steps(content, style), range(52), strict=False):
        moves.append(float((picture.detach() - before).abs().max()))
        before = picture.detach().clone()
    assert moves[0] == pytest.approx(0.9, rel=1e-3)  # Adam's first step is its rate
    settings = gatys.preset("d2l")
    assert (settings.learning_rate, settings.decay_every, settings.decay_factor) == (0.9, 50, 0.8)
    assert max(moves[50:]) <= 0.9 * 0.8 * 1.5


@pytest.mark.parametrize(
    ("depth", "content", "styles"),
    [
        (16, "conv4_4", 5),
        (13, "conv4_4", 5),
        (12, "conv4_4", 4),
        (8, "conv3_4", 3),
        (3, "conv2_1", 2),
    ],
)
def test_the_recipe_goes_as_far_as_an_encoder_does(depth: int, content: str, styles: int) -> None:
    encoder = Encoder([2] * depth)
    recipe = plain.d2l_within(encoder)
    assert recipe.content_tap == content
    assert recipe.style_taps == plain.D2L.style_taps[:styles]
    layers = [name for name, _ in plain.PlainGatys(encoder, recipe).layers if "conv" in name]
    assert layers == [*encoder.convs][: min(depth, 13)]
    assert layers[-1] == recipe.deepest


def test_contenders_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    rows = benchmarks.compare(
        {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, repeats=3
    )
    # Two turns of warm-up, and in each turn a run to warm the caches.
    assert turns == ["a", "a", "b", "b"] * 5
    assert [row.name for row in rows] == ["a", "b"]
    assert all(row.low <= row.milliseconds <= row.high for row in rows)


def test_ratios_are_of_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0] * 4 + [0, 4, 0, 1, 0, 8, 0, 2, 0, 90, 0, 3])  # seconds; warm-ups first
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    first, second = benchmarks.compare({"slow": lambda: None, "fast": lambda: None}, repeats=3)
    assert (first.milliseconds, first.ratio) == (8000, 1)
    assert (second.milliseconds, second.ratio) == (2000, 4)


def test_too_few_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats is 1"):
        benchmarks.compare({"a": lambda: None}, repeats=1)


def test_every_contender_runs_and_is_written_as_a_table(tmp_path: Path) -> None:
    rows = methods.gatys_rows(size=32, repeats=2, slim=random_encoder("slim"))
    assert len(rows) == 4
    path = tmp_path / "figures" / "gatys.json"
    benchmarks.write_json(path, {"machine": benchmarks.machine(), "rows": rows})
    read = json.loads(path.read_text(encoding="utf-8"))
    assert read["machine"]["torch"] == torch.__version__
    assert [row["name"] for row in read["rows"]] == [row.name for row in rows]
    assert benchmarks.as_table(rows).count("\n") == 5
    assert list(path.parent.iterdir()) == [path]  # nothing is left of the writing


def test_every_fast_contender_runs_and_only_the_shipped_one_is_small() -> None:
    """That the plain net computes what ours does is held in test_transform_net."""
    contenders = methods.fast_contenders(size=24)
    with torch.no_grad():
        painted = {name: work() for name, work in contenders.items()}
    for picture in painted.values():
        assert isinstance(picture, torch.Tensor)
        assert picture.shape == (1, 3, 24, 24)
    rows = methods.fast_rows(size=24, repeats=2)
    assert [row.name for row in rows] == list(contenders)
    assert benchmarks.as_table(rows, "pass").startswith("| pass | median |")


def counting(forward: Callable[..., object], seen: list[torch.Tensor]) -> Callable[..., object]:
    """Return ``forward`` of an encoder, which keeps in ``seen`` what it looked at."""

    def look(encoder: Encoder, image: torch.Tensor, *rest: object) -> object:
        seen.append(image)
        return forward(encoder, image, *rest)

    return look


def small_adain(depth: int = 9) -> AdaIN:
    """A model of VGG-19's form, down to relu4_1 or less, but narrow."""
    torch.manual_seed(7)
    encoder = Encoder((4, 4, 6, 6, 8, 8, 8, 8, 10)[:depth], name="small")
    tap = encoder.taps[-1]
    return AdaIN(encoder, Decoder.of(encoder, tap=tap)).requires_grad_(False).eval()


@pytest.mark.parametrize("depth", [2, 3, 9])
def test_the_plain_adain_computes_what_the_package_does(depth: int) -> None:
    """But for the borders of what it encodes, which the package mirrors: here both see zeros."""
    model = small_adain(depth).double()
    yardstick = plain.PlainAdaIN(model.encoder, model.decoder).double()
    photo, painting = (torch.rand(1, 3, *size).double() for size in ((32, 48), (40, 24)))
    (tap,) = model.taps
    seen, style = (model.encoder(image, [tap])[tap] for image in (photo, painting))
    wanted = model.decoder({tap: kernels.adain(seen, *kernels.moments(style, eps=1e-5))})
    assert wanted.std() > 1e-3  # a flat picture would prove nothing
    torch.testing.assert_close(yardstick(photo, painting), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("fields", [{"coarse": 1}, {"last_channels": 2}, {"output": "clamp"}])
def test_a_decoder_that_is_not_plain_is_no_yardstick(fields: dict[str, Any]) -> None:
    encoder = small_adain(3).encoder
    with pytest.raises(ValueError, match="a plain one is"):
        plain.PlainAdaIN(encoder, Decoder.of(encoder, tap="relu2_1", **fields))


def test_every_adain_contender_paints_and_what_is_cached_is_not_encoded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(methods, "random_encoder", lambda name: small_adain().encoder)
    shipped = small_adain(3)
    contenders = methods.adain_contenders(32, "cpu", shipped)
    assert len(contenders) == 5
    encoded: list[torch.Tensor] = []
    monkeypatch.setattr(Encoder, "forward", counting(Encoder.forward, encoded))
    looks = []
    for work in contenders.values():
        encoded.clear()
        picture = work()
        assert isinstance(picture, torch.Tensor)
        assert picture.shape == (1, 3, 32, 32)
        looks.append(len(encoded))
    assert looks == [0, 2, 1, 1, 0]  # the plain one has an encoder of its own
    rows = methods.adain_rows(32, 2, "cpu", shipped)
    assert [row.name for row in rows] == list(contenders)
    assert rows[0].ratio == 1


def test_a_profile_splits_the_time_of_a_step_and_misses_nothing() -> None:
    parts = methods.gatys_parts(size=32, steps=2, slim=random_encoder("slim"))
    assert len({part.contender for part in parts}) == 4
    for contender in {part.contender for part in parts}:
        own = [part for part in parts if part.contender == contender]
        assert sum(part.share for part in own) == pytest.approx(1)
        assert {"convolutions, forward", "convolutions, backward", "Gram products", "ReLUs"} <= {
            part.part for part in own
        }
    table = profiling.parts_table(parts)
    assert all(part.part in table for part in parts)


def test_a_profile_names_the_work_that_was_done() -> None:
    """Matrices this large leave no doubt where the time went."""
    left, image = torch.rand(500, 500), torch.rand(1, 16, 128, 128)
    weight = torch.rand(16, 16, 5, 5)
    works = {
        "Gram products": lambda: left @ left,
        "convolutions, forward": lambda: torch.nn.functional.conv2d(image, weight),
        "pooling": lambda: torch.nn.functional.max_pool2d(image, 2),
        "other arithmetic": image.sin,
    }
    for name, work in works.items():
        parts = benchmarks.profile(name, (work() for _ in range(7)), steps=5)
        named = [part for part in parts if part.part != profiling.REST]
        assert max(named, key=lambda part: part.milliseconds).part == name
    with pytest.raises(ValueError, match="device is 'mps'; a profile is of 'cpu' or 'cuda'"):
        benchmarks.profile("none", iter([]), device="mps")
    with pytest.raises(ValueError, match="steps is 0"):
        benchmarks.profile("none", iter([]), steps=0)


def test_a_large_photo_is_timed_and_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With tiles of 256 px it takes less memory than in one piece, as a photo of 1 MP shows."""
    model = small_adain(5)
    monkeypatch.setattr(methods, "TILE", 256)
    in_tiles = methods.adain_large(1024, 1024, model)
    monkeypatch.setattr(methods, "TILE", 1024)
    whole = methods.adain_large(1024, 1024, model)
    assert (in_tiles.height, in_tiles.width) == (1024, 1024)
    assert in_tiles.seconds > 0
    assert in_tiles.gigabytes < 0.5 * whole.gigabytes


def take(count: int) -> None:
    """Take so many bytes, and give them back."""
    torch.ones(count // 4)


marks_peaks = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux marks how much a process held"
)


@marks_peaks
def test_the_peak_is_seen_however_short_it_was() -> None:
    for count in (300_000_000, 100_000_000):  # the lesser after the greater
        with benchmarks.PeakMemory() as peak:
            take(count)
        assert peak.bytes == pytest.approx(count, rel=0.1)
    with benchmarks.PeakMemory() as peak:
        pass
    assert peak.bytes < 2_000_000


@marks_peaks
def test_what_was_freed_before_counts_when_it_is_taken_again() -> None:
    with reused_memory():  # which keeps it
        for _ in range(2):
            take(100_000_000)
            with benchmarks.PeakMemory() as peak:
                take(100_000_000)
            assert peak.bytes == pytest.approx(100e6, rel=0.1)


@marks_peaks
def test_what_is_freed_within_is_not_counted_twice() -> None:
    with reused_memory(), benchmarks.PeakMemory() as peak:
        take(100_000_000)
        take(80_000_000)
    assert peak.bytes == pytest.approx(100e6, rel=0.1)


def test_elsewhere_the_peak_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_begins_mark", lambda held: False)
    with benchmarks.PeakMemory() as peak:
        block = torch.ones(50_000_000)  # 200 MB
        until = time.monotonic() + 60
        while peak.bytes < 0.19e9 and time.monotonic() < until:
            time.sleep(0.01)
        del block
    assert 0.19e9 < peak.bytes < 0.3e9


def test_a_mark_that_does_not_begin_anew_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a system only plays Linux: its mark would be that of the whole process."""
    monkeypatch.setattr(memory, "_mark", lambda: 10**12)
    assert not memory._begins_mark(10**8)
