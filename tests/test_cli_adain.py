"""nst adain: any photo in any style, folders of both, nothing lost on the way; and how it is judged."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from command_line import encoded_pictures, run
from PIL import Image

import nstlib
from nstlib import adain, cli, images, masks
from nstlib.adain import ALPHA, AdaIN, Decoder, Match
from nstlib.cli import control
from nstlib.encoders import Encoder, random_encoder
from nstlib.evaluation import adain as evaluation
from nstlib.evaluation import judging
from nstlib.strokes import STROKE_SIZE
from nstlib.stylist import KeepColor, NetStylist, Stylist

WIDTHS = (4, 8, 8)


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> AdaIN:
    """A small random model, in place of the one that is loaded."""
    torch.manual_seed(5)
    small = AdaIN(Encoder(WIDTHS, name="small"), Decoder(widths=WIDTHS, tap="relu2_1"))
    small.requires_grad_(False).eval()
    for weights in small.parameters():
        if weights.dim() == 4:
            weights.mul_(4)  # else its pictures are all but grey
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
        "style": ["vortex"],
        "style_size": [40],
        "weights": None,
        "alpha": 0.7,
        "keep_color": None,
        "match": "deviation",
        "stroke_size": 1.0,
        "mask": None,
        "foreground": None,
        "model": "adain",
        "size": 50,
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
    assert images.read_recipe(out)["style_size"] == [used]


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
        (["--size", "0"], "argument --size: 0 is no whole number of at least 1"),
        (["--style-size", "0"], "argument --style-size: 0 is no whole number"),
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


# ------------------------------------------------------------------------- what can be turned


def test_the_flags_are_what_the_stylists_take() -> None:
    """Their choices, ranges and defaults are nowhere written a second time."""
    command = argparse.ArgumentParser()
    control.add_controls(command, Stylist.stylize)
    found = {action.dest: action for action in command._actions}
    assert found.keys() == {"help", "alpha", "keep_color", "match", "stroke_size"}
    assert found["keep_color"].choices == get_args(KeepColor)
    assert found["match"].choices == get_args(Match)
    for name, limits in (("alpha", ALPHA), ("stroke_size", STROKE_SIZE)):
        assert f"{limits.meaning}, {limits.low:g} to {limits.high:g} (1.0)" in str(found[name].help)
    of_net = argparse.ArgumentParser()
    control.add_controls(of_net, NetStylist.stylize)
    (colours,) = (action for action in of_net._actions if action.dest == "keep_color")
    assert colours.choices == ("luminance",)


def test_what_is_not_given_is_left_to_the_signature() -> None:
    stands = control.controls(argparse.Namespace(alpha=0.5), Stylist.stylize, "AdaIN")
    assert stands == {"alpha": 0.5, "keep_color": None, "match": "deviation", "stroke_size": 1.0}


TWO = ("--style", "vortex", "--style", "mosaic")
AT = ("--size", "64", "--style-size", "48")


def painted(path: Path, *flags: str | Path) -> torch.Tensor:
    """What the command makes of the coffee."""
    assert run("adain", "coffee", *flags, *AT, "-o", path) == 0
    return nstlib.load_image(path)


def by_hand(model: AdaIN, weights: list[float] | None = None, **turned: Any) -> torch.Tensor:
    """What a Stylist makes of it, as a picture file holds it."""
    styles = [images.style(name, size=48) for name in ("vortex", "mosaic")]
    made = Stylist(model).stylize(
        images.sample("coffee", size=64), styles, weights=weights, **turned
    )
    return (made * 255).round() / 255


def close(found: torch.Tensor, wanted: torch.Tensor, levels: float = 0) -> bool:
    """Whether two pictures differ by no more than some of the 255 levels."""
    return (
        found.shape == wanted.shape and (found - wanted).abs().max().item() <= levels / 255 + 1e-6
    )


@pytest.mark.parametrize(
    ("flags", "weights", "turned"),
    [
        ("", None, {}),
        ("--weights .3 .7", [0.3, 0.7], {}),
        ("--weights 3,7 --alpha 0.5", [0.3, 0.7], {"alpha": 0.5}),
        ("--keep-color luminance", None, {"keep_color": "luminance"}),
        ("--keep-color match --weights 1 2", [1, 2], {"keep_color": "match"}),
        ("--match transport --stroke-size 2", None, {"match": "transport", "stroke_size": 2}),
        ("--match whitening --stroke-size .5", None, {"match": "whitening", "stroke_size": 0.5}),
    ],
)
def test_a_picture_is_what_a_stylist_makes_with_the_same_names(
    flags: str, weights: list[float] | None, turned: dict[str, Any], tmp_path: Path, model: AdaIN
) -> None:
    found = painted(tmp_path / "o.png", *TWO, *flags.split())
    assert close(found, by_hand(model, weights, **turned))


def test_one_style_after_its_flag_or_after_the_photo_and_all_the_weight_on_it_are_one(
    tmp_path: Path,
) -> None:
    after = painted(tmp_path / "a.png", "vortex")
    assert torch.equal(painted(tmp_path / "b.png", "--style", "vortex"), after)
    assert torch.equal(painted(tmp_path / "c.png", *TWO, "--weights", "1", "0"), after)
    late = ["adain", "coffee", *AT, "-o", tmp_path / "late.png", "vortex"]
    assert run(*late) == 0
    assert torch.equal(nstlib.load_image(tmp_path / "late.png"), after)
    both = painted(tmp_path / "d.png", *TWO)
    assert torch.equal(painted(tmp_path / "e.png", "--style", "vortex", "mosaic"), both)
    assert not close(both, after, levels=9)


def test_the_recipe_holds_all_that_was_turned(tmp_path: Path, left: Path) -> None:
    flags = ["--mask", left, "--keep-color", "luminance", "--match", "transport"]
    painted(tmp_path / "o.png", *TWO, *flags, "--stroke-size", "1.5")
    recipe = images.read_recipe(tmp_path / "o.png")
    assert recipe["style"] == ["vortex", "mosaic"]
    assert recipe["style_size"] == [48, 48]
    assert (recipe["mask"], recipe["foreground"]) == (["left.png"], None)
    assert (recipe["keep_color"], recipe["match"]) == ("luminance", "transport")
    assert (recipe["stroke_size"], recipe["weights"]) == (1.5, None)
    painted(tmp_path / "o.png", *TWO, "--weights", ".3", ".7")
    assert images.read_recipe(tmp_path / "o.png")["weights"] == [0.3, 0.7]


# ------------------------------------------------------------------------------------ regions


def half(height: int, width: int) -> torch.Tensor:
    """A mask (1, 1, H, W) whose left half is 1."""
    return (torch.arange(width) < width // 2).float().expand(1, 1, height, width)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A mask of the coffee's shape (400 × 600 px), at another size."""
    return masks.save_mask(half(100, 150), tmp_path / "left.png")


@pytest.fixture
def right(tmp_path: Path) -> Path:
    return masks.save_mask(1 - half(200, 300), tmp_path / "right.png")


def test_each_style_goes_into_its_mask_and_one_more_where_none_is(
    left: Path, right: Path, tmp_path: Path, model: AdaIN
) -> None:
    on_left = masks.load_mask(left, size=(64, 96))
    found = painted(tmp_path / "o.png", *TWO, "--mask", left)
    assert close(found, by_hand(model, mask=torch.cat([on_left, 1 - on_left])))
    both = torch.cat([on_left, masks.load_mask(right, size=(64, 96))])
    found = painted(tmp_path / "o.png", *TWO, "--mask", left, "--mask", right)
    assert close(found, by_hand(model, mask=both))


def test_without_one_more_style_the_photo_stays_where_no_mask_is(
    left: Path, tmp_path: Path
) -> None:
    found, photo = (
        painted(tmp_path / "o.png", "vortex", "--mask", left),
        images.sample("coffee", 64),
    )
    assert close(found[..., 60:], photo[..., 60:], levels=1)
    assert not close(found[..., :36], photo[..., :36], levels=9)


def test_a_mask_of_ones_is_no_mask(tmp_path: Path) -> None:
    ones = masks.save_mask(torch.ones(1, 1, 80, 120), tmp_path / "ones.png")
    plain = painted(tmp_path / "plain.png", "vortex")
    assert close(painted(tmp_path / "a.png", "vortex", "--mask", ones), plain, levels=1)
    assert close(painted(tmp_path / "b.png", *TWO, "--mask", ones), plain, levels=1)


RECTANGLE = ("--foreground", ".2", ".1", ".8", ".9")


def test_the_thing_in_a_rectangle_has_the_first_style_and_its_surroundings_the_second(
    tmp_path: Path, model: AdaIN
) -> None:
    photo = images.sample("coffee", size=64)
    cup = masks.foreground(photo, (0.2, 0.1, 0.8, 0.9))
    found = painted(tmp_path / "o.png", *TWO, *RECTANGLE)
    assert close(found, by_hand(model, mask=torch.cat([cup, 1 - cup])))
    alone = painted(tmp_path / "alone.png", "vortex", *RECTANGLE)
    outside = (cup == 0).expand_as(photo)
    assert close(alone[outside], photo[outside], levels=1)
    assert images.read_recipe(tmp_path / "alone.png")["foreground"] == [0.2, 0.1, 0.8, 0.9]


@pytest.mark.parametrize("shape", [(65, 97), (33, 49), (427, 640)])
def test_a_mask_may_be_off_by_a_pixel_of_the_smaller_picture(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    rounded = masks.save_mask(half(*shape), tmp_path / "m.png")
    assert painted(tmp_path / "o.png", "vortex", "--mask", rounded).shape == (1, 3, 64, 96)


def test_a_mask_of_another_shape_is_named_with_both_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    square = masks.save_mask(half(64, 64), tmp_path / "square.png")
    assert run("adain", "coffee", "vortex", *AT, "--mask", square, "-o", tmp_path / "o.png") == 2
    assert capsys.readouterr().err == (
        f"nst: coffee: the mask '{square}' has 64 x 64 pixels, the photo 96 x 64; they must be of one "
        "shape\n"
    )
    assert not (tmp_path / "o.png").exists()


def test_a_mask_is_not_painted_over(left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = left.read_bytes()
    assert run("adain", "coffee", "vortex", *AT, "--mask", left, "-o", left) == 2
    assert "is a mask, which would be overwritten" in capsys.readouterr().err
    assert left.read_bytes() == kept


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("", "there is no style: name one after the photo, or several with --style"),
        ("gilded --style vortex", "there is a style after the photo, 'gilded', and --style vortex"),
        ("--style vortex mosaic --weights 1", "weights has 1 values; there are 2 styles"),
        ("--style vortex mosaic --weights -1 2", "-1"),
        ("vortex --stroke-size 300", "stroke_size is 300.0; it must lie in [0.25, 256]"),
        (
            "vortex --stroke-size 4",
            "coffee: stroke_size is 4; a picture of 64×96 px takes 2 at most",
        ),
        ("vortex --alpha nan", "alpha is nan; it must lie in [0, 1]"),
        ("vortex --foreground .8 0 .2 1", "--foreground is 0.8 0 0.2 1; it takes LEFT TOP RIGHT"),
        ("vortex --mask gone.png", "argument --mask: gone.png: there is no such file"),
        (
            "--style vortex mosaic gilded --foreground 0 0 .5 1",
            "styles: 3, regions: 1; each region takes a style, and one more goes where they are not",
        ),
        ("vortex --mask a.png --mask a.png", "styles: 1, regions: 2; each region takes a style"),
        (
            "--style vortex mosaic --mask a.png --weights 1 2",
            "--weights are of a mixture; in a region",
        ),
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
    masks.save_mask(half(8, 12), "a.png")
    assert run("adain", "coffee", *flags.split(), *AT, "-o", "o.png") == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert written(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--mask a.png --foreground 0 0 1 1", "--foreground: not allowed with argument --mask"),
        ("--weights .3;.7", "'.3;.7': write .3 .7"),
        ("--keep-color hue", "invalid choice: 'hue' (choose from"),
    ],
)
def test_what_no_run_could_take_is_refused_with_the_flag(
    flags: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.png").touch()
    monkeypatch.chdir(tmp_path)
    assert run("adain", "coffee", "vortex", "-o", "o.png", *flags.split()) == 2
    assert sentence in capsys.readouterr().err


def test_without_opencv_a_rectangle_is_one_sentence(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert run("adain", photos, "vortex", *AT, *RECTANGLE, "-o", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "foreground needs OpenCV" in said
    assert said.count("\n") == 1


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
    encoded = encoded_pictures(monkeypatch)
    assert run("adain", photos, styles, "--style-size", "48", "-o", tmp_path / "out") == 0
    assert len(encoded) == 3 + 2


@pytest.mark.parametrize(
    "flags", [[], ["--mask", "left.png"], ["--keep-color", "luminance"], ["--match", "transport"]]
)
def test_each_of_several_styles_and_each_photo_is_encoded_once(
    flags: list[str],
    left: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = encoded_pictures(monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert run("adain", photos, *TWO, *flags, "--style-size", "48", "-o", tmp_path / "out") == 0
    assert written(tmp_path / "out") == [
        *("a-vortex-mosaic.png", "d-vortex-mosaic.png", "deep/b'c.v1-vortex-mosaic.jpg")
    ]
    assert len(encoded) == 3 + 2


def test_a_folder_of_styles_is_mixed_one_by_one_with_another(
    styles: Path, tmp_path: Path, model: AdaIN
) -> None:
    flags = ["--style", styles, "--style", "gilded", "--weights", "3", "1"]
    assert run("adain", "coffee", *flags, *AT, "-o", tmp_path / "out") == 0
    assert written(tmp_path / "out") == ["coffee-mosaic-gilded.png", "coffee-vortex-gilded.png"]
    pair = [nstlib.load_image(styles / "mosaic.jpg"), images.style("gilded", size=48)]
    wanted = Stylist(model).stylize(images.sample("coffee", size=64), pair, weights=[3, 1])
    assert close(nstlib.load_image(tmp_path / "out/coffee-mosaic-gilded.png"), wanted, levels=0.5)


def test_a_photo_that_does_not_fit_is_left_out_with_its_line(
    photos: Path, left: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images.save_image(images.sample("rocket", size=64, crop=True), photos / "square.png")
    flags = ["--mask", left, "--stroke-size", "1.2", "--style-size", "48"]
    assert run("adain", photos, "vortex", *flags, "-o", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "1 of 4 pictures" in said.out
    assert written(tmp_path / "out") == ["a-vortex.png"]
    _, small, square = sorted(said.err.splitlines())
    assert square.startswith(
        f"nst: left out: {photos / 'square.png'}: the mask '{left}' has 150 x 100 pixels, the photo 64"
    )
    assert small.startswith(
        f"nst: left out: {photos}/deep/b'c.v1.jpg: stroke_size is 1.2; a picture"
    )


def test_a_photo_with_nothing_to_cut_out_is_left_out(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images.save_image(torch.full((1, 3, 40, 40), 0.5), photos / "flat.png")
    flags = [*RECTANGLE, "--style-size", "48"]
    assert run("adain", photos, "vortex", *flags, "-o", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"nst: left out: {photos / 'flat.png'}: rectangle is (0.2, 0.1, 0.8, 0.9)"
    )
    assert len(written(tmp_path / "out")) == 3


def test_a_photo_that_cannot_be_painted_is_told_of_once_and_not_for_each_style(
    photos: Path, styles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--stroke-size", "1.2", "--style-size", "48"]
    assert run("adain", photos, styles, *flags, "-o", tmp_path / "out") == 1
    assert len(capsys.readouterr().err.splitlines()) == 2  # of 37 and of 33 px
    assert written(tmp_path / "out") == ["a-mosaic.png", "a-vortex.png"]


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
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    overfilled(monkeypatch, wrong)
    assert run("adain", photos, "vortex", "--style-size", "48", "-o", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nst: RuntimeError: mat1 and mat2 shapes cannot be multiplied")


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
    assert run("adain", *asked, "-o", tmp_path / "out") == 1
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
    monkeypatch.setattr(judging, "SIZE", 32)
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


@pytest.mark.parametrize("flag", ["--photo-count", "--style-count", "--gatys-pairs"])
def test_evaluate_needs_one_of_each_at_least(
    flag: str, held_out: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(held_out, flag, "0", "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert flag in said
    assert "at least 1" in said


# ------------------------------------------------------------------------------------ a gallery

SMALL = ("--photos", "coffee", "--size", "48", "--shown", "48", "--columns", "1")


def test_a_gallery_shows_what_the_model_paints(
    tmp_path: Path, model: AdaIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, float]] = []
    stylize = model.stylize

    def watched(content: torch.Tensor, style: torch.Tensor, alpha: float) -> torch.Tensor:
        asked.append(("adain", alpha))
        return stylize(content, style, alpha=alpha)

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
    assert run("gallery", *flags, *SMALL, "-o", tmp_path / "sheet.jpg") == 2
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
