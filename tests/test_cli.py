"""The command line: flags are the settings, errors are one sentence, pictures say how they were made."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from command_line import run

import nstlib
from nstlib import benchmarks, cli, distillation, gatys, images, painting
from nstlib.benchmarks import control, methods
from nstlib.benchmarks.profiling import Part

QUICK = ["--size", "48", "--preset", "default", "--steps", "2"]


def test_gatys_writes_the_picture_and_its_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out.png"
    assert (
        run("gatys", "astronaut", "vortex", "mosaic", "-o", out, *QUICK, "--style-weight", "7") == 0
    )
    assert Path(capsys.readouterr().out.strip()) == out
    assert nstlib.load_image(out).shape == (1, 3, 48, 48)
    recipe = images.read_recipe(out)
    assert recipe["content"] == "astronaut"
    assert recipe["style"] == ["vortex", "mosaic"]
    assert recipe["encoder"]["name"] == "slim"
    assert recipe["settings"]["style_weight"] == 7
    assert recipe["steps_done"] == 2


def test_the_same_flags_make_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        run("gatys", "chelsea", "vortex", "-o", tmp_path / name, *QUICK, "--init", "noise")
    assert torch.equal(nstlib.load_image(tmp_path / "a.png"), nstlib.load_image(tmp_path / "b.png"))


def test_the_flags_reach_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(content: object, styles: object, encoder: object, settings: gatys.Settings) -> object:
        seen.append(settings)
        return iter([gatys.Step(1, 1, torch.zeros(1, 3, 8, 8), {}, {"total": 0.0}, {}, 1, 0.0)])

    monkeypatch.setattr(gatys, "optimize", spy)
    flags = ["--style-taps", "relu1_1=0.5,relu2_1=2", "--content-taps", "relu3_1", "--no-clamp"]
    run("gatys", "astronaut", "vortex", "-o", tmp_path / "o.png", *flags, "--tv-power", "2")
    assert seen[0].style_taps == {"relu1_1": 0.5, "relu2_1": 2.0}
    assert seen[0].content_taps == ("relu3_1",)
    assert seen[0].clamp is False
    assert seen[0].tv_power == 2
    assert seen[0].ladder == gatys.preset("picture").ladder  # what is not given is the preset's


def test_every_setting_has_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gatys", "--help") == 0
    text = capsys.readouterr().out
    for item in dataclasses.fields(gatys.Settings):
        assert "--" + item.name.replace("_", "-") in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody", "vortex"], "nobody: no such file"),
        (["astronaut", "vortex", "--style-weight", "-1"], "style_weight is -1"),
        (["astronaut", "vortex", "--preset", "d2l"], "content_taps asks for conv4_4"),
        (["astronaut", "vortex", "--ladder", "9"], "ladder is 9"),
        (
            ["astronaut", "vortex", "--weights", "1", "2"],
            "weights has 2 values; there are 1 styles",
        ),
        (["astronaut", "vortex", "--device", "tpu"], "device is 'tpu'"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("gatys", *arguments, "--size", "48", "-o", tmp_path / "o.png") == 2
    message = capsys.readouterr().err
    assert message.startswith("nst: ")
    assert sentence in message
    assert "Traceback" not in message
    assert not (tmp_path / "o.png").exists()


def test_a_run_that_diverges_keeps_the_last_good_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        raise gatys.PixelDivergenceError("the run diverged", torch.full((1, 3, 8, 8), 0.5))

    monkeypatch.setattr(gatys, "optimize", diverge)
    assert run("gatys", "astronaut", "vortex", "-o", tmp_path / "o.png") == 1
    assert "it is saved as" in capsys.readouterr().err
    assert nstlib.load_image(tmp_path / "o.png").shape == (1, 3, 8, 8)


def test_ctrl_c_keeps_the_picture_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = gatys.optimize

    def interrupted(*arguments: object) -> object:
        for step in real(*arguments):  # type: ignore[arg-type]
            yield step
            raise KeyboardInterrupt

    monkeypatch.setattr(gatys, "optimize", interrupted)
    assert run("gatys", "astronaut", "vortex", "-o", tmp_path / "o.png", *QUICK) == 0
    assert images.read_recipe(tmp_path / "o.png")["steps_done"] == 1


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three pictures, of which one is in a folder of its own."""
    folder = tmp_path / "photos"
    for seed, name in enumerate(("a.png", "b.jpg", "deep/c.gif")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = images.to_uint8(torch.rand(1, 3, 40 + seed, 48))
        images.Image.fromarray(pixels).save(path)
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_every_photo_of_a_folder_is_optimised_and_a_bad_one_left_out(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("gatys", photos, "vortex", "-o", out, *QUICK) == 0
    assert names_in(out) == ["a-vortex.png", "b-vortex.jpg", "deep/c-vortex.png"]
    assert capsys.readouterr().out == f"{out}: 3 of 3 pictures\n"
    (photos / "bad.png").write_bytes(b"no picture")
    assert run("gatys", photos, "vortex", "mosaic", "-o", out, *QUICK) == 1
    said = capsys.readouterr()
    assert said.out == f"{out}: 3 of 4 pictures\n"
    assert said.err.startswith("nst: left out: ")
    assert "bad.png" in said.err


def test_ctrl_c_ends_a_folder_with_the_picture_so_far(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = gatys.optimize

    def interrupted(*arguments: object) -> object:
        for step in real(*arguments):  # type: ignore[arg-type]
            yield step
            raise KeyboardInterrupt

    monkeypatch.setattr(gatys, "optimize", interrupted)
    assert run("gatys", photos, "vortex", "-o", tmp_path / "out", *QUICK) == 130
    assert names_in(tmp_path / "out") == ["a-vortex.png"]


def test_styles_are_mixed_by_weights_however_they_are_written(tmp_path: Path) -> None:
    for name, weights in (("a.png", [".3", ".7"]), ("b.png", ["3,7"]), ("c.png", ["1", "0"])):
        mixed = ["vortex", "mosaic", "--weights", *weights]
        assert run("gatys", "astronaut", *mixed, "-o", tmp_path / name, *QUICK) == 0
    first, again, other = (
        nstlib.load_image(tmp_path / name) for name in ("a.png", "b.png", "c.png")
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_suffix_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("gatys", "astronaut", "vortex", "-o", tmp_path / "o.psd") == 2
    assert ".png" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_said_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run("gatys", "astronaut", "vortex", "-o", tmp_path / "file" / "o.png") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_an_init_picture_of_another_shape_is_refused_and_not_squashed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.png"
    assert run("gatys", "astronaut", "vortex", "-o", out, *QUICK, "--init", "chelsea") == 2
    assert "init has shape" in capsys.readouterr().err


def test_a_tap_weight_that_is_no_number_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["-o", tmp_path / "o.png", "--style-taps", "relu1_1=much"]
    assert run("gatys", "astronaut", "vortex", *flags) == 2
    assert "relu1_1=0.5,relu2_1=2" in capsys.readouterr().err


def test_a_gallery_shows_every_style_with_every_photo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[torch.Tensor, torch.Tensor, int]] = []

    def spy(
        content: torch.Tensor, style: torch.Tensor, _: object, settings: gatys.Settings
    ) -> object:
        made.append((content, style, settings.steps))
        return content

    monkeypatch.setattr(gatys, "stylize", spy)
    pictures = ["--photos", "coffee", "chelsea", "--styles", "vortex", "mosaic", "cubism"]
    out = tmp_path / "new" / "sheet.jpg"
    sizes = ["--size", "48", "--shown", "40", "--columns", "2", "--steps", "5"]
    assert run("gallery", *pictures, "-o", out, *sizes) == 0
    assert Path(capsys.readouterr().out.strip()) == out
    photos = [images.sample(name, size=48, crop=True) for name in ("coffee", "chelsea")]
    styles = [images.style(name, size=48) for name in ("vortex", "mosaic", "cubism")]
    wanted = [(photo, style, 5) for style in styles for photo in photos]
    for (content, style, steps), expected in zip(made, wanted, strict=True):
        assert steps == expected[2]
        assert torch.equal(content, expected[0])
        assert torch.equal(style, expected[1])
    height, width = nstlib.load_image(out).shape[2:]
    assert 6 * 40 < width < 6 * 80  # two styles in a row, each beside its two photos
    assert 2 * 40 < height < 2 * 80


def test_a_gallery_is_a_jpeg(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gallery", "-o", "sheet.png") == 2
    assert "'sheet.png' must end in .jpg" in capsys.readouterr().err


def test_paint_is_the_painter(tmp_path: Path) -> None:
    out = tmp_path / "p.png"
    assert run("paint", "vortex", "-o", out, "--size", "64", "--seed", "3") == 0
    painted = painting.paint("vortex", size=64, seed=3)
    assert (nstlib.load_image(out) - painted).abs().max() <= 0.5 / 255 + 1e-6
    assert images.read_recipe(out)["seed"] == 3


def test_paint_takes_a_palette(tmp_path: Path) -> None:
    out = tmp_path / "p.png"
    assert run("paint", "weaving", "-o", out, "--size", "64", "--palette", "pond") == 0
    painted = painting.paint("weaving", size=64, palette="pond")
    assert (nstlib.load_image(out) - painted).abs().max() <= 0.5 / 255 + 1e-6
    assert (painted - painting.paint("weaving", size=64)).abs().mean() > 0.05
    assert images.read_recipe(out)["palette"] == "pond"


def test_the_flags_of_a_distillation_reach_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def distill(*given: Any, device: str) -> list[distillation.Progress]:
        asked.extend([*given, device])
        return [distillation.Progress(7, 0.5, 0.25)]

    monkeypatch.setattr(distillation, "distill", distill)
    monkeypatch.setattr(cli.training, "load_encoder", lambda name: f"the encoder {name}")
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        images.save_image(torch.rand(1, 3, 40, 48), tmp_path / "photos" / name)
    manifest = "path,split\nc.png,held-out\n"
    (tmp_path / "photos" / "MANIFEST.csv").write_text(manifest, encoding="utf-8")
    changed: dict[str, Any] = {
        "widths": (4, 4, 8, 8, 16, 16, 16, 16),
        "steps": 7,
        "batch": 3,
        "crop": 32,
        "learning_rate": 1e-3,
        "weight_decay": 0.5,
        "warm_up": 2,
        "average": 0.9,
        "rehearsed": 1,
        "gram_weight": 2.5,
        "seed": 5,
    }
    assert changed.keys() == {field.name for field in dataclasses.fields(distillation.Recipe)}
    flags: list[str] = []
    for name, value in changed.items():
        said = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        flags += [f"--{name.replace('_', '-')}", said]
    out = tmp_path / "slim.pt"
    pictures = ("--pictures", tmp_path / "photos", "--checkpoint", out, "--device", "cpu")
    assert run("distill", *pictures, *flags) == 0
    teacher, crops, held_out, checkpoint, recipe, device = asked
    assert (teacher, checkpoint, device) == ("the encoder vgg19", out, "cpu")
    assert recipe == distillation.Recipe(**changed)
    assert (len(crops), len(held_out), crops.crop) == (2, 1, 32)
    first, last = capsys.readouterr().out.splitlines()
    assert first == "training on 2 pictures, judged on 1"
    assert json.loads(last) == {"step": 7, "train": 0.5, "held_out": 0.25}


def test_a_file_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vortex").mkdir()  # a folder does not hide what ships
    assert cli.find_picture("vortex", 64).shape == (1, 3, 64, 64)
    images.save_image(torch.zeros(1, 3, 4, 4), Path("astronaut.png"))
    Path("astronaut.png").rename("astronaut")
    assert cli.find_picture("astronaut").shape == (1, 3, 4, 4)


def test_evaluate_needs_its_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cli.measure, "load_encoder", lambda name: nstlib.encoders.random_encoder("slim")
    )
    assert run("evaluate", "encoder", "--pictures", tmp_path) == 1
    assert "content/" in capsys.readouterr().err


def test_bench_measures_each_size_and_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def rows(size: int, repeats: int, device: str) -> list[benchmarks.Row]:
        asked.append((size, repeats, device))
        return [benchmarks.Row("plain", float(size), 1.0, 2.0, 1.0)]

    def parts(size: int, device: str) -> list[Part]:
        return [Part("plain", "pooling", float(size), 0.5)]

    monkeypatch.setattr(methods, "gatys_rows", rows)
    monkeypatch.setattr(methods, "gatys_parts", parts)
    flags = ["--size", "64", "96", "--repeats", "3", "--device", "cpu"]
    assert run("bench", "gatys", *flags, "--profile", "--out", tmp_path / "new") == 0
    assert asked == [(64, 3, "cpu"), (96, 3, "cpu")]
    printed = capsys.readouterr().out
    assert "64 × 64 px" in printed
    assert "| pooling | 96.0 ms, 50 % |" in printed
    written = json.loads((tmp_path / "new" / "gatys.json").read_text())
    assert [entry["size"] for entry in written["sizes"]] == [64, 96]
    assert written["sizes"][1]["rows"][0]["milliseconds"] == 96
    assert written["sizes"][1]["parts"][0]["part"] == "pooling"
    assert run("bench", "gatys") == 0
    assert asked[2:] == [(256, 15, "auto")]
    assert "pooling" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "measures", "work", "size"),
    [
        ("fast", methods, "pass", 512),
        ("adain", methods, "pass", 512),
        ("control", control, "answer", 384),
    ],
)
def test_each_subject_of_bench_is_measured_told_of_and_written(
    what: str,
    measures: ModuleType,
    work: str,
    size: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def rows(size: int, repeats: int, device: str) -> list[benchmarks.Row]:
        asked.append((size, repeats, device))
        return [benchmarks.Row("plain", 72.9, 70.0, 75.0, 3.9)]

    monkeypatch.setattr(measures, f"{what}_rows", rows)
    flags = ["--size", "64", "96", "--repeats", "3", "--device", "cpu"]
    assert run("bench", what, *flags, "--out", tmp_path / "new") == 0
    said = capsys.readouterr().out
    assert "96 × 96 px" in said
    assert f"| {work} | median |" in said
    assert "| plain | 72.9 ms | 70.0–75.0 ms | 3.9 |" in said
    written = json.loads((tmp_path / "new" / f"{what}.json").read_text())
    assert set(written) == {"machine", "repeats", "device", "sizes"}
    assert (written["repeats"], written["device"]) == (3, "cpu")
    assert [(e["size"], e["rows"][0]["name"]) for e in written["sizes"]] == [
        (64, "plain"),
        (96, "plain"),
    ]
    assert run("bench", what) == 0
    assert asked == [(64, 3, "cpu"), (96, 3, "cpu"), (size, 15, "auto")]


def test_kernels_that_cannot_run_are_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSTLIB_KERNELS", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    pictures = ("coffee", "vortex", "-o", tmp_path / "a.png", "--size", "96", "--steps", "3")
    assert run("gatys", *pictures) == 1
    told = capsys.readouterr().err
    assert told.startswith("nst: ")
    assert "NSTLIB_KERNELS=" in told  # the way out
