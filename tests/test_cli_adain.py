"""nst adain: any photo in any style, folders of both, nothing lost on the way; and how it is judged."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

import nstlib
from nstlib import adain, benchmarks, cli, evaluation, images
from nstlib.adain import AdaIN, Decoder
from nstlib.encoders import Encoder, random_encoder

WIDTHS = (4, 8, 8)


def run(*arguments: str | Path) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> AdaIN:
    """A small random model, in place of the one that is loaded."""
    torch.manual_seed(5)
    small = AdaIN(Encoder(WIDTHS, name="small"), Decoder(widths=WIDTHS, tap="relu2_1"))
    small.requires_grad_(False).eval()
    load = adain.load_adain

    def loaded(source: str, **rest: str) -> AdaIN:
        return small if source == "adain" else load(source, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(adain, "load_adain", loaded)
    return small


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos ☀"
    for name, size in (("a.png", 40), ("deep/b'c.v1.jpg", 37)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        images.save_image(images.sample("coffee", size=size), folder / name)
    images.save_image(images.sample("rocket", size=33), tmp_path / "d.png")
    Image.open(tmp_path / "d.png").save(folder / "d.gif")
    return folder


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    folder = tmp_path / "paintings"
    folder.mkdir()
    for name in ("vortex", "mosaic"):
        images.save_image(images.style(name, size=48), folder / f"{name}.jpg")
    return folder


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def contents(*folders: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


# --------------------------------------------------------------------------------- one photo


def test_a_photo_is_painted_as_the_model_paints_it(
    tmp_path: Path, model: AdaIN, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out.png"
    flags = ["--alpha", "0.7", "--size", "50", "--style-size", "40"]
    assert run("adain", "coffee", "vortex", *flags, "-o", out) == 0
    assert Path(capsys.readouterr().out.strip()) == out
    photo, style = images.sample("coffee", size=50), images.style("vortex", size=40)
    wanted = model.stylize(photo, style, alpha=0.7)
    assert (nstlib.load_image(out) - wanted).abs().max() < 0.5 / 255 + 1e-6
    recipe = images.read_recipe(out)
    assert {name: recipe[name] for name in recipe if name != "version"} == {
        "method": "adain",
        "content": "coffee",
        "style": "vortex",
        "model": "adain",
        "alpha": 0.7,
        "size": 50,
        "style_size": 40,
    }


def test_without_sizes_every_pixel_is_kept_and_a_style_is_seen_at_512(
    tmp_path: Path, model: AdaIN
) -> None:
    photo = images.save_image(images.sample("rocket", size=51), tmp_path / "odd.png")
    assert run("adain", photo, "mosaic", "-o", tmp_path / "o.png") == 0
    wanted = model.stylize(nstlib.load_image(photo), images.style("mosaic", size=512))
    found = nstlib.load_image(tmp_path / "o.png")
    assert found.shape == wanted.shape == nstlib.load_image(photo).shape
    assert (found - wanted).abs().max() < 0.5 / 255 + 1e-6


@pytest.mark.parametrize(("asked", "used"), [(40, 40), (48, 48), (512, 48)])
def test_a_small_style_is_seen_at_its_own_size_and_the_recipe_says_which(
    asked: int, used: int, tmp_path: Path, styles: Path, model: AdaIN
) -> None:
    painting, out = styles / "vortex.jpg", tmp_path / "o.png"
    flags = ["--size", "40", "--style-size", str(asked)]
    assert run("adain", "coffee", painting, *flags, "-o", out) == 0
    seen = nstlib.load_image(painting, size=used)
    wanted = model.stylize(images.sample("coffee", size=40), seen)
    assert (nstlib.load_image(out) - wanted).abs().max() < 0.5 / 255 + 1e-6
    assert images.read_recipe(out)["style_size"] == used


def test_a_photo_too_large_for_one_piece_is_made_in_tiles(
    tmp_path: Path, model: AdaIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adain, "LARGEST_WHOLE", 1000)
    monkeypatch.setattr(adain, "TILE", 32)
    monkeypatch.setattr(AdaIN, "content", None)  # would encode it in one piece
    assert run("adain", "coffee", "vortex", "--size", "40", "-o", tmp_path / "o.png") == 0
    assert min(nstlib.load_image(tmp_path / "o.png").shape[2:]) == 40


@pytest.mark.parametrize("lost", ["photo", "style"])
def test_neither_the_photo_nor_the_style_is_painted_over(
    lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {
        n: images.save_image(torch.rand(1, 3, 24, 24), tmp_path / n) for n in ("p.png", "s.png")
    }
    kept = contents(tmp_path)
    out = paths["p.png" if lost == "photo" else "s.png"]
    assert run("adain", *paths.values(), "-o", out) == 2
    assert f"is the {lost}, which would be overwritten" in capsys.readouterr().err
    assert contents(tmp_path) == kept


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--alpha", "1.5"], "alpha is 1.5; it must lie in [0, 1]"),
        (["--model", "gone.safetensors"], "gone.safetensors: there is no such file"),
        (["--size", "0"], "size is 0"),
        (["--style-size", "0"], "size is 0"),
        (["-o", "out.xyz"], "its suffix must be one of"),
    ],
)
def test_a_wrong_flag_is_one_sentence_before_any_work(
    flags: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("adain", "coffee", "vortex", "-o", tmp_path / "o.png", *flags) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert written(tmp_path) == []


@pytest.mark.parametrize("pair", [("gone", "vortex"), ("coffee", "gone")])
def test_a_picture_that_is_not_there_is_named_with_those_that_are(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("adain", *pair, "--size", "32", "-o", tmp_path / "o.png") == 2
    assert "gone: no such file, and none that ships is called so" in capsys.readouterr().err


# ----------------------------------------------------------------------------------- folders


def test_every_photo_is_painted_in_every_style_and_named_after_both(
    photos: Path, styles: Path, tmp_path: Path, model: AdaIN, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("adain", photos, styles, "--style-size", "48", "-o", out) == 0
    assert written(out) == [
        *("a-mosaic.png", "a-vortex.png"),
        *("d-mosaic.png", "d-vortex.png"),  # a GIF cannot be written
        *("deep/b'c.v1-mosaic.jpg", "deep/b'c.v1-vortex.jpg"),
    ]
    assert capsys.readouterr().out == f"{out}: 6 of 6 pictures\n"
    photo, style = (nstlib.load_image(p) for p in (photos / "a.png", styles / "mosaic.jpg"))
    wanted = model.stylize(photo, style)
    assert (nstlib.load_image(out / "a-mosaic.png") - wanted).abs().max() < 0.5 / 255 + 1e-6


def test_one_photo_in_a_folder_of_styles_and_a_folder_of_photos_in_one_style(
    photos: Path, styles: Path, tmp_path: Path
) -> None:
    flags = ["--size", "32", "--style-size", "48"]
    assert run("adain", "coffee", styles, *flags, "-o", tmp_path / "1") == 0
    assert written(tmp_path / "1") == ["coffee-mosaic.png", "coffee-vortex.png"]
    assert run("adain", photos, "vortex", *flags, "-o", tmp_path / "2") == 0
    assert written(tmp_path / "2") == ["a-vortex.png", "d-vortex.png", "deep/b'c.v1-vortex.jpg"]


def test_each_style_and_each_photo_is_encoded_once(
    photos: Path, styles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[object] = []
    encode = AdaIN._encoded

    def counted(model: AdaIN, image: torch.Tensor) -> adain.Maps:
        encoded.append(image)
        return encode(model, image)

    monkeypatch.setattr(AdaIN, "_encoded", counted)
    assert run("adain", photos, styles, "--style-size", "48", "-o", tmp_path / "out") == 0
    assert len(encoded) == 3 + 2


def test_bad_files_are_told_of_once_each_and_the_others_are_painted(
    photos: Path, styles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "bad.png").write_bytes(b"no picture")
    (styles / "worse.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert run("adain", photos, styles, "--style-size", "48", "-o", out) == 1
    said = capsys.readouterr()
    assert said.out == f"{out}: 6 of 12 pictures\n"
    style_line, photo_line = said.err.splitlines()
    assert style_line.startswith("nst: left out: ")
    assert "worse.png" in style_line
    assert "bad.png" in photo_line
    assert len(written(out)) == 6


def gpu_is_full() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def cpu_is_full() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)  # a RuntimeError, such as a GPU does not raise


def overfilled(monkeypatch: pytest.MonkeyPatch, device_is_full: Callable[[], None]) -> None:
    """Let the photo with a shorter side of 40 px be too large."""
    encode = AdaIN.content

    def full(model: AdaIN, image: torch.Tensor) -> adain.Content:
        if min(image.shape[2:]) == 40:
            device_is_full()
        return encode(model, image)

    monkeypatch.setattr(AdaIN, "content", full)


@pytest.mark.parametrize("device_is_full", [gpu_is_full, cpu_is_full])
def test_a_photo_too_large_for_its_device_does_not_end_the_folder(
    device_is_full: Callable[[], None],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    overfilled(monkeypatch, device_is_full)
    assert run("adain", photos, "vortex", "--style-size", "48", "-o", tmp_path / "out") == 1
    assert written(tmp_path / "out") == ["d-vortex.png", "deep/b'c.v1-vortex.jpg"]
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"nst: left out: (CUDA out of memory|DefaultCPUAllocator: )", line)


@pytest.mark.parametrize("device_is_full", [gpu_is_full, cpu_is_full])
def test_a_single_photo_too_large_for_its_device_is_one_line(
    device_is_full: Callable[[], None],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    overfilled(monkeypatch, device_is_full)
    assert run("adain", photos / "a.png", "vortex", "-o", tmp_path / "o.png") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"nst: (CUDA out of memory|DefaultCPUAllocator: )", line)


def test_a_mistake_in_a_folder_run_is_not_taken_for_a_photo_that_is_too_large(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    overfilled(monkeypatch, wrong)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run("adain", photos, "vortex", "--style-size", "48", "-o", tmp_path / "out")


def test_a_picture_that_cannot_be_saved_does_not_end_the_others(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "a-vortex.png" / "in the way").mkdir(parents=True)
    assert run("adain", photos, "vortex", "--style-size", "48", "-o", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "2 of 3 pictures" in said.out
    assert "a-vortex.png' cannot be written" in said.err


@pytest.mark.parametrize("named", ["photo", "style"])
def test_a_bad_file_that_was_named_itself_ends_the_run(
    named: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    asked = (bad, photos) if named == "photo" else (photos, bad)
    assert run("adain", *asked, "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "bad.png" in said
    assert "left out" not in said
    assert not (tmp_path / "out").exists()


def test_two_pictures_never_share_a_file(
    photos: Path, styles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(styles / "vortex.jpg", styles / "vortex.jpeg")
    assert run("adain", photos, styles, "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "vortex.jpeg" in said
    assert "would both be written to" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["photos", "photos/deep", "styles", "styles/new", "above"])
def test_no_input_of_a_folder_is_painted_over_nor_becomes_one(
    out: str, photos: Path, styles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a picture in the folder above would have the name of a photo below."""
    asked, place = photos, {"photos": photos, "styles": styles}
    images.save_image(torch.rand(1, 3, 24, 24), photos / "a-vortex.png")
    (photos / "deep" / "a.png").write_bytes((photos / "a.png").read_bytes())
    if out == "above":
        asked, target = photos / "deep", photos
        asked.joinpath("deep").mkdir()
        shutil.copy(photos / "a.png", asked / "deep" / "x.png")
        shutil.copy(photos / "a.png", asked / "deep" / "x-vortex.png")
        shutil.copy(photos / "a.png", asked / "x-vortex.png")
    else:
        first, *rest = out.split("/")
        target = place[first].joinpath(*rest)
    kept = contents(photos, styles)
    assert run("adain", asked, styles, "-o", target) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert contents(photos, styles) == kept


def test_a_folder_is_not_made_into_a_file(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"mine")
    assert run("adain", photos, "vortex", "-o", out) == 2
    assert "is a file; what is made of a folder goes into a folder" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"


# --------------------------------------------------------------------------------- measuring


@pytest.fixture
def held_out(photos: Path, styles: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Folders of which two photos and two styles are held out, and a judge that is small."""
    rows = ["path,split", "a.png,held-out", "deep/b'c.v1.jpg,held-out", "d.gif,train"]
    (photos / "MANIFEST.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = ["path,split", "vortex.jpg,held-out", "mosaic.jpg,held-out"]
    (styles / "MANIFEST.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.setattr(cli.measure, "load_encoder", lambda name: random_encoder("slim"))
    monkeypatch.setattr(evaluation, "SIZE", 32)
    return photos, styles


def evaluate(held_out: tuple[Path, Path], *flags: str | Path) -> int:
    folders = ("--photos", held_out[0], "--styles", held_out[1])
    return run("evaluate", "adain", *folders, *flags)


def test_evaluate_judges_every_held_out_photo_in_every_held_out_style(
    held_out: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "figures"
    assert evaluate(held_out, "--out", out) == 0
    assert written(out) == ["adain-quality.json", "adain-quality.md", "adain-quality.png"]
    content = json.loads((out / "adain-quality.json").read_text())
    assert [(r["photo"], r["style"]) for r in content["results"][::4]] == [
        (photo, style)
        for photo in ("a.png", "deep/b'c.v1.jpg")
        for style in ("mosaic.jpg", "vortex.jpg")
    ]
    assert [r["left"] for r in content["results"]] == [
        r["after"] / r["before"] for r in content["results"]
    ]
    assert [(r["place"], r["pairs"]) for r in content["readings"]] == [
        (alpha, 4) for alpha in evaluation.ALPHAS
    ]
    assert content["equal"] == []
    table = (out / "adain-quality.md").read_text()
    assert table.count("\n") == 2 + 1 + len(evaluation.ALPHAS)
    assert capsys.readouterr().out == f"2 photos × 2 styles at 32 px\n\n{table}"
    assert nstlib.load_image(out / "adain-quality.png").shape == (1, 3, 660, 960)


def test_evaluate_runs_gatys_on_a_few_pairs_of_different_pictures(
    held_out: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = partial(evaluation.evaluate_gatys, at=(1, 3))
    monkeypatch.setattr(evaluation, "evaluate_gatys", steps)
    assert evaluate(held_out, "--gatys", "--gatys-pairs", "2", "--out", tmp_path) == 0
    content = json.loads((tmp_path / "adain-quality.json").read_text())
    runs = [r for r in content["results"] if r["method"] == "gatys"]
    assert [(r["photo"], r["style"], r["place"]) for r in runs] == [
        *(("a.png", "mosaic.jpg", steps) for steps in (1, 3)),
        *(("deep/b'c.v1.jpg", "vortex.jpg", steps) for steps in (1, 3)),
    ]
    assert tuple(equal["alpha"] for equal in content["equal"]) == evaluation.ALPHAS


@pytest.mark.parametrize("flag", ["--contents", "--count", "--gatys-pairs"])
def test_evaluate_needs_one_of_each_at_least(
    flag: str, held_out: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(held_out, flag, "0", "--out", tmp_path / "out") == 2
    assert f"{flag} is 0; it must be at least 1" in capsys.readouterr().err


def test_bench_measures_a_pass_at_each_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(size: int, repeats: int, device: str) -> list[benchmarks.Row]:
        return [benchmarks.Row(f"{size} {repeats} {device}", float(size), 1.0, 2.0, 1.0)]

    monkeypatch.setattr(benchmarks, "adain_rows", rows)
    flags = ["--size", "256", "512", "--repeats", "3", "--device", "cpu"]
    assert run("bench", "adain", *flags, "--out", tmp_path) == 0
    said = capsys.readouterr().out
    assert "512 × 512 px" in said
    assert "| pass | median |" in said
    found = json.loads((tmp_path / "adain.json").read_text())
    assert [entry["rows"][0]["name"] for entry in found["sizes"]] == ["256 3 cpu", "512 3 cpu"]
    assert (found["repeats"], found["device"]) == (3, "cpu")


# ------------------------------------------------------------------------------------ a gallery

SMALL = ("--photos", "coffee", "--size", "48", "--shown", "48", "--columns", "1")


def test_a_gallery_shows_what_the_model_paints(
    tmp_path: Path, model: AdaIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, float]] = []
    stylize = model.stylize

    def watched(content: torch.Tensor, style: torch.Tensor, alpha: float) -> torch.Tensor:
        asked.append(("adain", alpha))
        return stylize(content, style, alpha)

    monkeypatch.setattr(model, "stylize", watched)
    flags = ["--model", "adain", "--alpha", "0.5", "--styles", "vortex", "mosaic"]
    assert run("gallery", *flags, *SMALL, "-o", tmp_path / "sheet.jpg") == 0
    assert asked == [("adain", 0.5)] * 2
    assert nstlib.load_image(tmp_path / "sheet.jpg").shape[2] > 2 * 48


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--alpha", "0.5"], "--alpha is of AdaIN: it goes with --model"),
        (["--model", "adain", "--steps", "5"], "--model paints in one pass; steps has no effect"),
        (["--model", "adain", "--net", "fast"], "not allowed with argument"),
    ],
)
def test_a_gallery_refuses_what_it_would_not_use(
    flags: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = run("gallery", *flags, *SMALL, "-o", tmp_path / "sheet.jpg")
    except SystemExit as error:  # argparse's own
        code = int(error.code or 0)
    assert code == 2
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
