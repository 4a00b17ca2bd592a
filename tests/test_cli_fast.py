"""nst fast and nst train fast: a photo or a folder, one bad file among good ones, a run taken up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run

import nstlib
from nstlib import cli, images, masks, transform_net
from nstlib.encoders import random_encoder
from nstlib.evaluation import judging
from nstlib.stylist import NetStylist
from nstlib.weights import read_weights


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos ☀"
    for name, size in (("a.png", 40), ("deep/b'c.jpg", 37), ("d.gif", 32)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = images.sample("coffee", size=size)
        if path.suffix == ".gif":
            images.save_image(image, path.with_suffix(".png"))
            images.Image.open(path.with_suffix(".png")).save(path)
            path.with_suffix(".png").unlink()
        else:
            images.save_image(image, path)
    return folder


# ------------------------------------------------------------------------------------------- fast


def test_a_photo_is_painted_as_the_net_paints_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out.png"
    flags = ["--style", "vortex", "woodblock", "--weights", "1,3", "--style-weight", "5"]
    assert run("fast", "coffee", *flags, "--size", "64", "-o", out) == 0
    assert Path(capsys.readouterr().out.strip()) == out
    net, photo = transform_net.load_net("fast"), images.sample("coffee", size=64)
    wanted = net.stylize(photo, {"vortex": 1, "woodblock": 3}, style_weight=5)
    assert (nstlib.load_image(out) - wanted).abs().max() < 0.5 / 255 + 1e-6
    recipe = images.read_recipe(out)
    assert recipe["style"] == ["vortex", "woodblock"]
    assert (recipe["weights"], recipe["style_weight"]) == ([1, 3], 5)


def test_without_a_size_every_pixel_is_kept(tmp_path: Path) -> None:
    images.save_image(images.sample("rocket", size=51), tmp_path / "odd.png")
    assert run("fast", tmp_path / "odd.png", "-o", tmp_path / "o.jpg") == 0
    kept = nstlib.load_image(tmp_path / "odd.png").shape
    assert nstlib.load_image(tmp_path / "o.jpg").shape == kept


def test_a_folder_is_painted_file_by_file_under_the_same_names(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("fast", photos, "--style", "mosaic-cathedral", "-o", out) == 0
    # A GIF cannot be written: its picture is a PNG.
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert found == ["a.png", "d.png", "deep/b'c.jpg"]
    assert "3 of 3 pictures" in capsys.readouterr().out


def test_two_photos_never_share_a_file(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "a.png", photos / "d.png")  # beside d.gif, which would be d.png too
    assert run("fast", photos, "-o", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_a_photo_is_not_painted_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = images.save_image(images.sample("coffee", size=32), tmp_path / "a.png")
    kept = photo.read_bytes()
    assert run("fast", photo, "-o", photo) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert photo.read_bytes() == kept


@pytest.mark.parametrize("out", [".", "deep", "new", ".."])
def test_no_photo_of_a_folder_is_painted_over_nor_becomes_one(
    photos: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the pictures would lie beside photos, or in a folder above them."""
    images.save_image(images.sample("coffee", size=32), photos / "deep" / "a.png")
    (photos / "deep" / "deep").mkdir()
    images.save_image(images.sample("coffee", size=32), photos / "deep" / "deep" / "a.png")
    kept = {path: path.read_bytes() for path in photos.rglob("*.*")}
    folder = photos / "deep" if out == ".." else photos
    assert run("fast", folder, "-o", photos / out if out != ".." else photos) == 2
    said = capsys.readouterr().err
    assert ("lies within the folder of the photos" in said) == (out != "..")
    assert said.count("\n") == 1
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == kept


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--style", "ice"], "style is 'ice'; the net has: vortex"),
        (["--style-weight", "1e9"], "the net's dial goes from"),
        (["--net", "gone.safetensors"], "gone.safetensors: there is no such file"),
        (["--size", "0"], "argument --size: 0 is no whole number of at least 1"),
        (["-o", "out.xyz"], "its suffix must be one of"),
    ],
)
def test_a_wrong_flag_is_one_sentence_before_any_work(
    flags: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fast", "coffee", "-o", tmp_path / "o.png", *flags) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "o.png").exists()


TWO = ("--style", "vortex", "--style", "gilded")


def painted(path: Path, *flags: str | Path) -> torch.Tensor:
    """What the command makes of the coffee."""
    assert run("fast", "coffee", *flags, "--size", "64", "--device", "cpu", "-o", path) == 0
    return nstlib.load_image(path)


def by_hand(**turned: Any) -> torch.Tensor:
    """What a NetStylist makes of it, as a picture file holds it."""
    stylist = NetStylist(transform_net.load_net("fast"))
    made = stylist.stylize(images.sample("coffee", size=64), ["vortex", "gilded"], **turned)
    return (made * 255).round() / 255


@pytest.mark.parametrize(
    ("flags", "turned"),
    [
        ("", {}),
        ("--weights .3 .7", {"weights": [0.3, 0.7]}),
        ("--weights 3,7 --style-weight 5", {"weights": [0.3, 0.7], "style_weight": 5}),
        ("--keep-color luminance --stroke-size 2", {"keep_color": "luminance", "stroke_size": 2}),
    ],
)
def test_a_picture_is_what_a_stylist_makes_with_the_same_names(
    flags: str, turned: dict[str, Any], tmp_path: Path
) -> None:
    found = painted(tmp_path / "o.png", *TWO, *flags.split())
    assert (found - by_hand(**turned)).abs().max() < 1e-6
    recipe = images.read_recipe(tmp_path / "o.png")
    assert recipe["style"] == ["vortex", "gilded"]
    assert recipe["style_weight"] == turned.get("style_weight", 30)
    assert recipe["keep_color"] == turned.get("keep_color")


def test_all_the_weight_on_one_style_is_that_style(tmp_path: Path) -> None:
    alone = painted(tmp_path / "a.png", "--style", "vortex")
    assert torch.equal(painted(tmp_path / "b.png", *TWO, "--weights", "1", "0"), alone)
    assert torch.equal(painted(tmp_path / "c.png"), alone)  # the net's first


def test_each_style_goes_into_its_region(tmp_path: Path) -> None:
    left = (torch.arange(150) < 75).float().expand(1, 1, 100, 150)
    file = masks.save_mask(left, tmp_path / "left.png")
    here = masks.load_mask(file, size=(64, 96))
    found = painted(tmp_path / "o.png", *TWO, "--mask", file)
    assert (found - by_hand(mask=torch.cat([here, 1 - here]))).abs().max() < 1e-6
    assert images.read_recipe(tmp_path / "o.png")["mask"] == ["left.png"]
    cup = masks.foreground(images.sample("coffee", size=64), (0.2, 0.1, 0.8, 0.9))
    found = painted(tmp_path / "o.png", *TWO, "--foreground", ".2", ".1", ".8", ".9")
    assert (found - by_hand(mask=torch.cat([cup, 1 - cup]))).abs().max() < 1e-6


def test_a_mask_of_ones_is_no_mask(tmp_path: Path) -> None:
    ones = masks.save_mask(torch.ones(1, 1, 80, 120), tmp_path / "ones.png")
    plain = painted(tmp_path / "a.png", "--style", "vortex")
    found = painted(tmp_path / "b.png", "--style", "vortex", "--mask", ones)
    assert (found - plain).abs().max() < 1.5 / 255


def test_a_photo_that_a_mask_does_not_fit_is_left_out_with_its_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images.save_image(images.sample("rocket", size=40, crop=True), photos / "square.png")
    mask = masks.save_mask(torch.ones(1, 1, 80, 120), tmp_path / "m.png")
    assert run("fast", photos, "--mask", mask, "-o", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "3 of 4 pictures" in said.out
    assert said.err == (
        f"nst: left out: {photos / 'square.png'}: the mask '{mask}' has 120 x 80 pixels, the photo "
        "40 x 40; they must be of one shape\n"
    )


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--stroke-size 4", "coffee: stroke_size is 4; a picture of 64×96 px takes 2 at most"),
        ("--stroke-size 0", "stroke_size is 0.0; it must lie in [0.25, 256]"),
        ("--style vortex gilded --weights 1", "weights has 1 values; there are 2 styles"),
        ("--style vortex gilded --mask a.png --weights 1 2", "--weights are of a mixture"),
        ("--mask a.png --mask a.png", "styles: 1, regions: 2; each region takes a style"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    flags: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    masks.save_mask(torch.ones(1, 1, 8, 12), "a.png")
    out = tmp_path / "o.png"
    assert run("fast", "coffee", *flags.split(), "--size", "64", "-o", out) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not out.exists()


# ------------------------------------------------------------------------------------------ train

SHIPPED = transform_net.load_net("fast").shape.styles
SMALL = ["--width", "0.125", "--blocks", "1", "--kernels", "3,3", "--crop", "32", "--batch", "2"]


def train(photos: Path, checkpoint: Path, *flags: str | Path) -> int:
    return run(
        *("train", "fast", "--style", "vortex", "--style-size", "48", "--content", photos),
        *("--checkpoint", checkpoint, "--warm-up", "1", *SMALL, *flags),
    )


def test_a_net_is_trained_and_paints(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "runs" / "vortex.pt"
    (photos / "bad.png").write_bytes(b"no picture")
    assert train(photos, checkpoint, "--steps", "4", "--every", "2", "--painted", "1") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == "training on 4 pictures"  # three photos and a painted one
    assert [json.loads(line)["step"] for line in lines[1:-1]] == [2, 4]
    assert Path(lines[-1]) == checkpoint.with_suffix(".safetensors")
    assert said.err.splitlines()[-1] == "left out: 1 in all"
    out = tmp_path / "out.png"
    assert run("fast", photos / "a.png", "--net", lines[-1], "-o", out) == 0
    assert nstlib.load_image(out).shape == nstlib.load_image(photos / "a.png").shape


def test_a_log_has_what_tensorboard_reads_and_a_sheet_of_samples(
    photos: Path, tmp_path: Path
) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = tmp_path / "log"
    assert train(photos, tmp_path / "net.pt", "--steps", "10", "--every", "10", "--log", log) == 0
    events = reader.EventAccumulator(str(log))
    events.Reload()
    assert [point.step for point in events.Scalars("loss/total")] == [10]
    (sheet,) = log.glob("samples-*10.png")
    assert min(nstlib.load_image(sheet).shape[2:]) >= 32


def test_a_net_of_two_styles_with_a_dial_has_their_names(photos: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "two.pt"
    flags = ["--style", "vortex", "mosaic", "--dial", "1,100", "--steps", "1"]
    assert train(photos, checkpoint, *flags) == 0
    shape = transform_net.load_net(checkpoint.with_suffix(".safetensors")).shape
    assert (shape.styles, shape.dial) == (("vortex", "mosaic"), (1, 100))


def test_a_run_sets_out_from_a_trained_net(photos: Path, tmp_path: Path) -> None:
    first, further = tmp_path / "first.pt", tmp_path / "further.pt"
    flags = ["--style", "vortex", "mosaic", "--dial", "1,100"]
    assert train(photos, first, *flags, "--steps", "1") == 0
    found = train_from(photos, further, first.with_suffix(".safetensors"), *flags[:3])
    assert found == 0
    start, facts = read_weights(first.with_suffix(".safetensors"))
    taught, own = read_weights(further.with_suffix(".safetensors"))
    assert own["shape"] == facts["shape"]
    assert (facts["recipe"]["temporal_weight"], own["recipe"]["temporal_weight"]) == (0, 50)
    moved = [(taught[name].float() - start[name].float()).abs().max() for name in start]
    assert 0 < max(moved) < 1e-3


def train_from(photos: Path, checkpoint: Path, start: str | Path, *flags: str) -> int:
    """Run a short training of a net that has its shape, gently, for steadier strokes."""
    return run(
        *("train", "fast", "--start", start, "--style-size", "48", "--content", photos),
        *("--checkpoint", checkpoint, "--crop", "32", "--batch", "2", "--steps", "2"),
        *("--learning-rate", "1e-6", "--temporal-weight", "50", *flags),
    )


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--style", "vortex"], "--style is vortex; the net to start from has: vortex woodblock"),
        (["--style", "vortex", "--width", "1"], "whose shape is settled: leave out --width"),
        (["--style", *SHIPPED[::-1]], "--style is impasto halftone-surf"),
        (["--style", *SHIPPED, "--style-weight", "5"], "--dial says its style weights"),
        (["--style", "vortex", "--start", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_a_net_that_cannot_be_set_out_from_is_told_of(
    flags: list[str],
    sentence: str,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli.training, "Crops", None)
    assert train_from(photos, tmp_path / "net.pt", "fast", *flags) == 2
    assert sentence in capsys.readouterr().err


def test_a_net_of_one_style_is_asked_for_by_its_name(photos: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "net.pt"
    assert train(photos, checkpoint, "--steps", "1") == 0
    net, out = checkpoint.with_suffix(".safetensors"), tmp_path / "o.png"
    assert run("fast", "coffee", "--size", "32", "--net", net, "--style", "vortex", "-o", out) == 0


def test_another_style_does_not_take_up_the_run(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor another picture of the same name."""
    checkpoint, mine = tmp_path / "net.pt", tmp_path / "vortex.png"
    assert train(photos, checkpoint, "--steps", "1") == 0
    images.save_image(images.style("mosaic", size=64), mine)
    for style in ("impasto", str(mine)):
        assert train(photos, checkpoint, "--steps", "2", "--style", style) == 2
        assert "was trained with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--style", "gone"], "gone: no such file"),
        (["--dial", "1,10", "--style-weight", "5"], "--dial says its style weights"),
        (["--kernels", "4,4"], "kernels is (4, 4)"),
        (["--checkpoint", "net.bin"], "'net.bin' must end in .pt"),
    ],
)
def test_what_is_wrong_with_a_training_is_said_before_the_photos_are_read(
    flags: list[str],
    sentence: str,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--checkpoint" not in flags:
        monkeypatch.setattr(cli.training, "Crops", None)
    assert train(photos, tmp_path / "net.pt", "--steps", "1", *flags) == 2
    assert sentence in capsys.readouterr().err


def test_a_checkpoint_given_as_a_net_names_the_net_beside_it(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "net.pt"
    train(photos, checkpoint, "--steps", "1")
    assert run("fast", "coffee", "--net", checkpoint, "-o", tmp_path / "o.png") == 1
    assert "net.safetensors" in capsys.readouterr().err


def test_another_recipe_does_not_take_up_the_run(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "net.pt"
    assert train(photos, checkpoint, "--steps", "1") == 0
    assert train(photos, checkpoint, "--steps", "2", "--recipe", "perceptual") == 2
    assert "was trained with" in capsys.readouterr().err


# --------------------------------------------------------------------------------------- evaluate


def test_evaluate_judges_every_photo_in_every_style_along_the_dial(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (photos / "MANIFEST.csv").write_text("path,split\na.png,held-out\n", encoding="utf-8")
    monkeypatch.setattr(cli.measure, "load_encoder", lambda name: random_encoder("slim"))
    monkeypatch.setattr(judging, "SIZE", 48)
    flags = ["--photos", photos, "--style-weights", "1,10", "--out", tmp_path]
    assert run("evaluate", "fast", *flags) == 0
    styles = transform_net.load_net("fast").shape.styles
    results = json.loads((tmp_path / "fast-quality.json").read_text())["results"]
    judged = [(r["photo"], r["style"], r["style_weight"]) for r in results]
    assert judged == [("a.png", style, weight) for style in styles for weight in (1, 10)]
    assert f"1 photos × {len(styles)} styles at 48 px" in capsys.readouterr().out


def test_a_gallery_of_a_net_shows_its_styles_at_the_dial_asked_for(tmp_path: Path) -> None:
    flags = ["--photos", "coffee", "--size", "48", "--shown", "48", "--columns", "1"]
    assert (
        run("gallery", "--net", "fast", "--style-weight", "2", *flags, "-o", tmp_path / "s.jpg")
        == 0
    )
    sheet = nstlib.load_image(tmp_path / "s.jpg")
    assert sheet.shape[2] > 48 * len(transform_net.load_net("fast").shape.styles)
