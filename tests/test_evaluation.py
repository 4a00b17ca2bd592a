"""The evaluation of encoders and nets: pairs are held out, the judge is fair, figures are shares."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import nstlib
from nstlib import evaluation, images
from nstlib.encoders import Encoder, load_encoder, random_encoder
from nstlib.evaluation import Pair, PairResult
from nstlib.transform_net import load_net

QUICK = evaluation.gatys.Settings(style_weight=1e3, tv_weight=0, steps=8, precision="float32")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    images.save_image(nstlib.sample("chelsea", size=96), tmp_path / "photo.png")
    images.save_image(nstlib.style("vortex", size=96), tmp_path / "style.png")
    return tmp_path


def test_the_committed_pairs_are_twenty_photos_and_twenty_hands() -> None:
    pairs = evaluation.read_pairs()
    assert len(pairs) == len({pair.content for pair in pairs}) == 20
    assert len({pair.style for pair in pairs}) == 20


def test_the_committed_photos_are_of_the_held_out_tenth() -> None:
    # Every tenth file of the collection by name is held out, and a photo's name is its number.
    numbers = [int(Path(pair.content).name[:4]) for pair in evaluation.read_pairs()]
    assert all(number % 10 == 0 for number in numbers)


def test_distance_is_the_mean_relative_error_of_the_judged_grams() -> None:
    judge = random_encoder("slim", seed=3)
    image, style = torch.rand(1, 3, 40, 40), torch.rand(1, 3, 36, 52)

    def gram64(maps: Tensor) -> Tensor:
        flat = maps[0].double().flatten(1)
        return flat @ flat.T / flat.shape[1]

    found, wanted = judge(image, evaluation.JUDGED_TAPS), judge(style, evaluation.JUDGED_TAPS)
    errors = [
        (gram64(found[tap]) - gram64(wanted[tap])).square().sum()
        / gram64(wanted[tap]).square().sum()
        for tap in evaluation.JUDGED_TAPS
    ]
    expected = torch.stack(errors).mean().item()
    assert evaluation.style_distance(judge, image, style) == pytest.approx(expected, rel=1e-4)


def test_an_encoder_that_judges_itself_leaves_little(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "SIZE", 64)
    encoder = load_encoder("slim")
    settings = evaluation.gatys.changed(QUICK, {"steps": 30})
    pair = Pair("photo.png", "style.png")
    (result,) = evaluation.evaluate_encoder(encoder, encoder, [pair], pictures, settings)
    assert result.pair == pair
    assert 0 < result.left < 0.25
    assert result.left == result.after / result.before


def test_a_missing_picture_and_a_shallow_judge_are_named(pictures: Path) -> None:
    encoder = random_encoder("slim")
    with pytest.raises(nstlib.ImageError, match=r"nothing\.png"):
        list(
            evaluation.evaluate_encoder(encoder, encoder, [Pair("nothing.png", "x.png")], pictures)
        )
    shallow = nstlib.encoders.Encoder((8, 8), name="shallow")
    with pytest.raises(ValueError, match="judge asks for relu2_1"):
        list(evaluation.evaluate_encoder(encoder, shallow, [Pair("a", "b")], pictures))


def test_pairs_without_their_columns_are_refused(tmp_path: Path) -> None:
    bad = tmp_path / "pairs.csv"
    bad.write_text("photo,style\na,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs\.csv.*content and style"):
        evaluation.read_pairs(bad)


def test_summary_takes_mean_median_and_worst() -> None:
    results = [PairResult(Pair("a", "b"), 2.0, after) for after in (0.2, 0.02, 0.04, 0.06)]
    summary = evaluation.summarise("x", results)
    assert summary.mean == pytest.approx(0.04)
    assert summary.median == pytest.approx(0.025)
    assert summary.worst == pytest.approx(0.1)


@pytest.mark.vgg19_weights
def test_vgg19_judges_that_the_slim_encoder_leads_to_the_style(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "SIZE", 96)
    judge = load_encoder("vgg19")
    settings = evaluation.gatys.changed(QUICK, {"steps": 40})
    left = {}
    for name, encoder in {"slim": load_encoder("slim"), "random": random_encoder("slim")}.items():
        pairs = [Pair("photo.png", "style.png")]
        (result,) = evaluation.evaluate_encoder(encoder, judge, pairs, pictures, settings)
        left[name] = result.left
    assert left["slim"] < 0.25
    assert left["slim"] < left["random"] / 2


# ------------------------------------------------------------------------------------ fast nets


class Painter:
    """Stands for a net: at each place of the dial it paints so much of the style picture."""

    def __init__(self, share: dict[float | None, float], styles: dict[str, Tensor]) -> None:
        self.share, self.styles = share, styles
        self.shape = SimpleNamespace(styles=tuple(styles))

    def stylize(self, content: Tensor, style: str, style_weight: float | None) -> Tensor:
        return torch.lerp(content, self.styles[style], self.share[style_weight])


def test_a_net_that_does_nothing_leaves_all_and_one_that_gives_the_style_leaves_nothing() -> None:
    photos = {"photo": images.sample("coffee", size=48, crop=True)}
    styles = {name: images.style(name, size=48) for name in ("vortex", "woodblock")}
    net: Any = Painter({1.0: 0.0, 2.0: 0.5, None: 1.0}, styles)
    judge = random_encoder("slim", seed=3)
    results = list(evaluation.evaluate_net(net, judge, photos, styles, (1.0, 2.0, None)))
    assert [(r.style, r.style_weight) for r in results] == [
        (style, weight) for style in styles for weight in (1.0, 2.0, None)
    ]
    for nothing, half, all_of_it in (results[:3], results[3:]):
        assert (nothing.left, nothing.content) == (1, 0)
        assert 0 < half.left < 1
        assert all_of_it.left < 1e-10
        assert 0 < half.content < all_of_it.content


def test_the_dial_s_table_takes_mean_median_and_worst_of_each_place() -> None:
    results = [
        evaluation.DialResult("a", style, weight, left, content)
        for weight in (1.0, None)
        for style, left, content in (("x", 0.1, 0.5), ("y", 0.2, 0.7), ("z", 0.6, 0.6))
    ]
    rows = evaluation.dial_table(results).splitlines()[2:]
    assert rows[0] == "| 1 | 30.0 % | 20.0 % | 60.0 % | 0.60 |"
    assert rows[1].startswith("| full |")
    assert evaluation.style_table(results).splitlines()[-1] == "| z | 60.0 % | 60.0 % |"


PHOTOS = ("astronaut", "coffee")


def judged(judge: Encoder) -> list[evaluation.DialResult]:
    """The net that ships, on photos that ship, at every place of its dial."""
    net = load_net("fast")
    photos = {name: images.sample(name, size=256, crop=True) for name in PHOTOS}
    styles = {name: images.style(name, size=256) for name in net.shape.styles}
    return list(evaluation.evaluate_net(net, judge, photos, styles, net.shape.dial))


def check_the_dial(results: list[evaluation.DialResult]) -> None:
    """At most a tenth of the distance is left at the full dial; down the dial the photo returns."""
    places = list(dict.fromkeys(result.style_weight for result in results))
    here = [[r for r in results if r.style_weight == place] for place in places]
    left = [fmean(r.left for r in some) for some in here]
    lost = [fmean(r.content for r in some) for some in here]
    assert left == sorted(left, reverse=True)
    assert lost == sorted(lost)
    assert left[-1] < 0.10
    assert lost[0] < 0.3 * lost[-1]
    for style in dict.fromkeys(result.style for result in results):  # each style, too
        own = [fmean(r.left for r in some if r.style == style) for some in here]
        assert own == sorted(own, reverse=True)


def test_the_net_that_ships_turns_from_the_photo_to_the_style_along_its_dial() -> None:
    check_the_dial(judged(load_encoder("slim")))


@pytest.mark.vgg19_weights
def test_vgg19_too_sees_the_dial_turn_from_the_photo_to_the_style() -> None:
    check_the_dial(judged(load_encoder("vgg19")))
