"""What is measured of colours that are kept, and of ways to match: on cases whose answer is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from command_line import run
from test_adain_model import picture, tiny_model
from torch import Tensor

from nstlib import adain, cli, images
from nstlib.adain import AdaIN, Match
from nstlib.color import luminance
from nstlib.encoders import Encoder, random_encoder
from nstlib.evaluation import judging
from nstlib.evaluation.control import (
    COLORS,
    ColorResult,
    MatchResult,
    chroma_distance,
    color_table,
    evaluate_colors,
    evaluate_matches,
    match_table,
)
from nstlib.stylist import Stylist

MATCHES: tuple[Match, ...] = get_args(Match)


@pytest.fixture(scope="module")
def model() -> AdaIN:
    return tiny_model("skips")


@pytest.fixture(scope="module")
def judge() -> Encoder:
    return random_encoder("slim", seed=3)


@pytest.fixture(scope="module")
def photos() -> dict[str, Tensor]:
    return {name: images.sample(name, size=48, crop=True) for name in ("coffee", "rocket")}


@pytest.fixture(scope="module")
def styles() -> dict[str, Tensor]:
    return {name: images.style(name, size=48) for name in ("vortex", "woodblock")}


# ----------------------------------------------------------------------------------------- chroma


def flat(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(1, 3, 4, 6)


def test_greys_of_any_lightness_have_the_same_colour() -> None:
    greys = torch.rand(2, 1, 4, 6).expand(-1, 3, -1, -1)
    assert chroma_distance(greys[:1], greys[1:]) == pytest.approx(0, abs=1e-6)


def test_lightness_alone_is_no_distance() -> None:
    photo = 0.5 * picture(20, 30)
    assert chroma_distance(photo + 0.3, photo) == pytest.approx(0, abs=1e-6)
    lighter = photo + 0.4 * torch.rand(1, 1, 20, 30)
    assert chroma_distance(lighter, photo) == pytest.approx(0, abs=1e-6)


def test_the_distance_of_a_colour_to_grey_is_the_length_of_what_is_no_grey() -> None:
    # Y = 0.299·0.8 + 0.587·0.5 + 0.114·0.2
    light = 0.5555
    length = math.dist((0.8, 0.5, 0.2), (light, light, light))
    orange = flat(0.8, 0.5, 0.2)
    assert chroma_distance(orange, flat(0.1, 0.1, 0.1)) == pytest.approx(length, rel=1e-5)
    assert chroma_distance(flat(0.1, 0.1, 0.1), orange) == pytest.approx(length, rel=1e-5)


def test_the_distance_is_a_mean_over_the_pixels_of_lengths() -> None:
    """Not the length of a mean: two colours to either side of grey do not cancel."""
    half = flat(1.0, 0.0, 0.0).clone()
    half[..., :3] = 0
    whole = chroma_distance(flat(1.0, 0.0, 0.0), torch.zeros(1, 3, 4, 6))
    assert whole == pytest.approx(math.sqrt(0.701**2 + 2 * 0.299**2), rel=1e-5)
    assert chroma_distance(half, torch.zeros(1, 3, 4, 6)) == pytest.approx(whole / 2, rel=1e-5)
    sides = torch.cat([flat(0.6, 0.5, 0.5), flat(0.4, 0.5, 0.5)], dim=3)
    apart = chroma_distance(sides, torch.full_like(sides, 0.5))
    assert apart == pytest.approx(whole / 10, rel=1e-4)


# ----------------------------------------------------------------------------------------- colours


def test_each_photo_in_each_style_is_judged_in_each_way(
    model: AdaIN, judge: Encoder, photos: dict[str, Tensor], styles: dict[str, Tensor]
) -> None:
    results = list(evaluate_colors(model, judge, photos, styles))
    assert COLORS == (None, "luminance", "match")
    assert [(r.photo, r.style, r.keep_color) for r in results] == [
        (photo, style, keep) for photo in photos for style in styles for keep in COLORS
    ]
    for plain, by_lightness, matched in zip(*(results[i::3] for i in range(3)), strict=True):
        # Lightness is the painting's to the last bit but rounding; only colours make room for it.
        assert by_lightness.style_loss == pytest.approx(plain.style_loss, rel=1e-4)
        assert by_lightness.chroma < 0.35 * plain.chroma
        assert matched.chroma != plain.chroma
        assert matched.style_loss != plain.style_loss


def test_where_there_is_room_for_all_of_a_colour_none_of_it_is_lost(judge: Encoder) -> None:
    """A model whose pictures are of a middle lightness, and a photo of pale colours."""
    pale = 0.5 + 0.1 * (picture(48, 48) - 0.5)
    steady: Any = SimpleNamespace(
        style=lambda image: adain.style_of({"relu1_1": image}),
        content_or_photo=lambda image: image,
        stylize=lambda content, *_, **__: (
            0.4 + 0.2 * luminance(picture(48, 48, seed=5)).expand(-1, 3, -1, -1)
        ),
    )
    photos, styles = {"pale": pale}, {"a": picture(48, 48, seed=6)}
    plain, by_lightness, _ = evaluate_colors(steady, judge, photos, styles)
    assert plain.chroma > 0.01
    assert by_lightness.chroma < 1e-6
    assert by_lightness.style_loss == pytest.approx(plain.style_loss, rel=1e-4)


def statistics64(maps: Tensor) -> Tensor:
    flat = maps.double().flatten(2)
    return torch.cat([flat.mean(2), (flat.var(2, correction=0) + 1e-5).sqrt()])


def gram64(maps: Tensor) -> Tensor:
    flat = maps.double().flatten(2)[0]
    return flat @ flat.T / flat.shape[1]


def loss64(judge: Encoder, image: Tensor, wanted: Tensor, of: Callable[[Tensor], Tensor]) -> float:
    """Return the mean relative squared error of statistics at the judged taps."""
    found, goal = (judge(each, judging.JUDGED_TAPS) for each in (image, wanted))
    pairs = [(of(found[tap]), of(goal[tap])) for tap in judging.JUDGED_TAPS]
    return fmean(float((a - b).square().sum() / b.square().sum()) for a, b in pairs)


def grey(image: Tensor) -> Tensor:
    return luminance(image).repeat(1, 3, 1, 1)


def test_the_style_loss_is_that_of_the_grey_pictures(
    model: AdaIN, judge: Encoder, photos: dict[str, Tensor], styles: dict[str, Tensor]
) -> None:
    results = evaluate_colors(model, judge, photos, styles)
    for keep, result in zip(COLORS, results, strict=False):
        made = Stylist(model).stylize(photos["coffee"], styles["vortex"], keep_color=keep)
        wanted = loss64(judge, grey(made), grey(styles["vortex"]), statistics64)
        assert result.style_loss == pytest.approx(wanted, rel=1e-4)
        assert result.chroma == chroma_distance(made, photos["coffee"])


def test_the_colours_table_takes_means_and_shares_of_plain() -> None:
    results = [
        ColorResult(photo, "x", keep, chroma, loss)
        for photo, keep, chroma, loss in (
            ("a", None, 0.2, 0.1), ("a", "luminance", 0.1, 0.1), ("a", "match", 0.3, 0.3),
            ("b", None, 0.4, 0.3), ("b", "luminance", 0.0, 0.3), ("b", "match", 0.2, 0.1),
        )
    ]  # fmt: skip
    _, _, plain, by_lightness, matched = color_table(results).splitlines()
    assert plain == "| the style's | 2 | 0.300 | 100 % | 100 % | 0.200 | 1.00 |"
    assert by_lightness == "| luminance | 2 | 0.050 | 17 % | 50 % | 0.200 | 1.00 |"
    assert matched == "| match | 2 | 0.250 | 83 % | 150 % | 0.200 | 1.00 |"


# ----------------------------------------------------------------------------------------- matches


def test_each_way_to_match_is_judged_by_deviations_and_by_grams(
    model: AdaIN, judge: Encoder, photos: dict[str, Tensor], styles: dict[str, Tensor]
) -> None:
    results = list(evaluate_matches(model, judge, photos, styles))
    assert [(r.photo, r.style, r.match) for r in results] == [
        (photo, style, match) for photo in photos for style in styles for match in MATCHES
    ]
    photo, style = photos["coffee"], styles["vortex"]
    for match, result in zip(MATCHES, results, strict=False):
        made = model.stylize(photo, style, match=match)
        for found, of in ((result.deviations, statistics64), (result.grams, gram64)):
            left = loss64(judge, made, style, of) / loss64(judge, photo, style, of)
            assert found == pytest.approx(left, rel=1e-3)
        maps, goal = (
            judge(each, [judging.CONTENT_TAP])[judging.CONTENT_TAP].double()
            for each in (made, photo)
        )
        lost = float((maps - goal).square().sum() / goal.square().sum())
        assert result.content == pytest.approx(lost, rel=1e-4)


SHARES = dict(zip(MATCHES, (0.0, 0.5, 1.0), strict=True))


class Blender:
    """Stands for AdaIN: it gives so much of the style picture itself as a way to match stands for."""

    def style(self, image: Tensor) -> Tensor:
        return image

    content = style

    def stylize(self, content: Tensor, style: Tensor, match: Match) -> Tensor:
        return torch.lerp(content, style, SHARES[match])


def test_what_gives_the_photo_keeps_all_and_what_gives_the_style_leaves_nothing(
    judge: Encoder, photos: dict[str, Tensor], styles: dict[str, Tensor]
) -> None:
    model: Any = Blender()
    results = list(evaluate_matches(model, judge, photos, styles))
    for nothing, half, all_of_it in zip(*(results[i::3] for i in range(3)), strict=True):
        assert (nothing.deviations, nothing.grams, nothing.content) == (1, 1, 0)
        assert 0 < half.deviations < 1
        assert 0 < half.grams < 1
        assert max(all_of_it.deviations, all_of_it.grams) < 1e-9
        assert 0 < half.content < all_of_it.content


def test_the_matches_table_takes_means_and_medians() -> None:
    results = [
        MatchResult("a", style, match, scale * left, scale * left / 2, content)
        for match, scale in (("deviation", 1), ("transport", 0.5))
        for style, left, content in (("x", 0.1, 0.5), ("y", 0.2, 0.7), ("z", 0.6, 0.6))
    ]
    _, _, first, second = match_table(results).splitlines()
    assert first == "| deviation | 3 | 30.0 % | 20.0 % | 15.0 % | 10.0 % | 0.60 |"
    assert second == "| transport | 3 | 15.0 % | 10.0 % | 7.5 % | 5.0 % | 0.60 |"


@pytest.mark.parametrize("evaluate", [evaluate_colors, evaluate_matches])
def test_a_judge_that_is_too_shallow_is_refused_before_any_work(
    evaluate: Callable[..., Any], photos: dict[str, Tensor], styles: dict[str, Tensor]
) -> None:
    refused: Any = SimpleNamespace()
    shallow = Encoder((8, 8), name="shallow")
    with pytest.raises(ValueError, match="judge asks for relu2_1, .* which encoder 'shallow'"):
        next(evaluate(refused, shallow, photos, styles))


# ------------------------------------------------------------------------------------- the command


@pytest.fixture
def held_out(tmp_path: Path, model: AdaIN, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags that name folders of which a few are held out; model and judge are small."""
    for folder, names in (("photos", "ab"), ("styles", "xyz")):
        for i, name in enumerate(names):
            image = picture(40, 52, seed=i + len(folder))
            (tmp_path / folder / "deep").mkdir(parents=True, exist_ok=True)
            images.save_image(image, tmp_path / folder / "deep" / f"{name}.png")
        rows = ["path,split", *(f"deep/{name}.png,held-out" for name in names[:2])]
        rows += [f"deep/{name}.png,train" for name in names[2:]]
        (tmp_path / folder / "MANIFEST.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    weights = tmp_path / "small.safetensors"
    weights.touch()  # that there is such a file is seen to before it is read
    monkeypatch.setattr(adain, "load_adain", {str(weights): model}.__getitem__)
    monkeypatch.setattr(
        cli.measure, "load_encoder", lambda name: {"vgg19": random_encoder("slim", seed=3)}[name]
    )
    monkeypatch.setattr(judging, "SIZE", 32)
    folders = ["--photos", str(tmp_path / "photos"), "--styles", str(tmp_path / "styles")]
    return ["evaluate", "control", "--model", str(weights), *folders]


def test_the_command_judges_what_is_held_out_and_writes_what_it_prints(
    held_out: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "figures"
    assert run(*held_out, "--out", out) == 0
    (path,) = out.iterdir()
    assert path.name == "adain-control.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (set(content), content["size"]) == ({"machine", "size", "colors", "matches"}, 32)
    pairs = [(f"deep/{photo}.png", f"deep/{style}.png") for photo in "ab" for style in "xy"]
    assert [(r["photo"], r["style"], r["keep_color"]) for r in content["colors"]] == [
        (*pair, keep) for pair in pairs for keep in COLORS
    ]
    assert [(r["photo"], r["style"], r["match"]) for r in content["matches"]] == [
        (*pair, match) for pair in pairs for match in MATCHES
    ]
    colors = color_table([ColorResult(**row) for row in content["colors"]])
    matches = match_table([MatchResult(**row) for row in content["matches"]])
    said = capsys.readouterr()
    assert said.out == f"2 photos × 2 styles at 32 px\n\n{colors}\n\n{matches}\n"
    assert said.err == ""


def test_the_command_takes_as_many_as_it_is_told(
    held_out: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*held_out, "--photo-count", "1", "--style-count", "2", "--out", tmp_path) == 0
    assert capsys.readouterr().out.startswith("1 photos × 2 styles")
    content = json.loads((tmp_path / "adain-control.json").read_text(encoding="utf-8"))
    assert len(content["colors"]) == len(content["matches"]) == 3 * 2


@pytest.mark.parametrize("flag", ["--photo-count", "--style-count"])
def test_the_command_needs_one_of_each_at_least(
    flag: str, held_out: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*held_out, flag, "0", "--out", tmp_path / "out") == 2
    assert f"argument {flag}: 0 is no whole number of at least 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_judge_without_the_taps_ends_the_command_in_a_sentence(
    held_out: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli.measure, "load_encoder", lambda name: Encoder((8, 8), name="shallow"))
    assert run(*held_out, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.startswith("nst: judge asks for relu2_1")
    assert said.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_the_card_has_the_tables_of_what_was_measured(root: Path) -> None:
    measured = json.loads((root / "data/benchmarks/adain-control.json").read_text())
    card = (root / "data/weights/adain.md").read_text()
    assert color_table([ColorResult(**result) for result in measured["colors"]]) in card
    assert match_table([MatchResult(**result) for result in measured["matches"]]) in card
