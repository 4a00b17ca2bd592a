"""The evaluation of encoders and nets: pairs are held out, the judge is fair, figures are shares."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import nstlib
from nstlib import gatys, images
from nstlib.encoders import Encoder, load_encoder, random_encoder
from nstlib.evaluation import adain, encoders, judging, nets
from nstlib.evaluation.encoders import Pair, PairResult
from nstlib.transform_net import load_net

QUICK = gatys.Settings(style_weight=1e3, tv_weight=0, steps=8, precision="float32")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    images.save_image(nstlib.sample("chelsea", size=96), tmp_path / "photo.png")
    images.save_image(nstlib.style("vortex", size=96), tmp_path / "style.png")
    return tmp_path


def test_the_committed_pairs_are_twenty_photos_and_twenty_hands() -> None:
    pairs = encoders.read_pairs()
    assert len(pairs) == len({pair.content for pair in pairs}) == 20
    assert len({pair.style for pair in pairs}) == 20


def test_the_committed_photos_are_of_the_held_out_tenth() -> None:
    # Every tenth file of the collection by name is held out, and a photo's name is its number.
    numbers = [int(Path(pair.content).name[:4]) for pair in encoders.read_pairs()]
    assert all(number % 10 == 0 for number in numbers)


def test_distance_is_the_mean_relative_error_of_the_judged_grams() -> None:
    judge = random_encoder("slim", seed=3)
    image, style = torch.rand(1, 3, 40, 40), torch.rand(1, 3, 36, 52)

    def gram64(maps: Tensor) -> Tensor:
        flat = maps[0].double().flatten(1)
        return flat @ flat.T / flat.shape[1]

    found, wanted = judge(image, judging.JUDGED_TAPS), judge(style, judging.JUDGED_TAPS)
    errors = [
        (gram64(found[tap]) - gram64(wanted[tap])).square().sum()
        / gram64(wanted[tap]).square().sum()
        for tap in judging.JUDGED_TAPS
    ]
    expected = torch.stack(errors).mean().item()
    assert judging.style_distance(judge, image, style) == pytest.approx(expected, rel=1e-4)


def test_an_encoder_that_judges_itself_leaves_little(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "SIZE", 64)
    encoder = load_encoder("slim")
    settings = gatys.changed(QUICK, {"steps": 30})
    pair = Pair("photo.png", "style.png")
    (result,) = encoders.evaluate_encoder(encoder, encoder, [pair], pictures, settings)
    assert result.pair == pair
    assert 0 < result.left < 0.25
    assert result.left == result.after / result.before


def test_a_missing_picture_and_a_shallow_judge_are_named(pictures: Path) -> None:
    encoder = random_encoder("slim")
    with pytest.raises(nstlib.ImageError, match=r"nothing\.png"):
        list(encoders.evaluate_encoder(encoder, encoder, [Pair("nothing.png", "x.png")], pictures))
    shallow = nstlib.encoders.Encoder((8, 8), name="shallow")
    with pytest.raises(ValueError, match="judge asks for relu2_1"):
        list(encoders.evaluate_encoder(encoder, shallow, [Pair("a", "b")], pictures))


def test_pairs_without_their_columns_are_refused(tmp_path: Path) -> None:
    bad = tmp_path / "pairs.csv"
    bad.write_text("photo,style\na,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs\.csv.*content and style"):
        encoders.read_pairs(bad)


def test_summary_takes_mean_median_and_worst() -> None:
    results = [PairResult(Pair("a", "b"), 2.0, after) for after in (0.2, 0.02, 0.04, 0.06)]
    summary = encoders.summarise("x", results)
    assert summary.mean == pytest.approx(0.04)
    assert summary.median == pytest.approx(0.025)
    assert summary.worst == pytest.approx(0.1)


@pytest.mark.vgg19_weights
def test_vgg19_judges_that_the_slim_encoder_leads_to_the_style(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "SIZE", 96)
    judge = load_encoder("vgg19")
    settings = gatys.changed(QUICK, {"steps": 40})
    left = {}
    for name, encoder in {"slim": load_encoder("slim"), "random": random_encoder("slim")}.items():
        pairs = [Pair("photo.png", "style.png")]
        (result,) = encoders.evaluate_encoder(encoder, judge, pairs, pictures, settings)
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
    results = list(nets.evaluate_net(net, judge, photos, styles, (1.0, 2.0, None)))
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
        nets.DialResult("a", style, weight, left, content)
        for weight in (1.0, None)
        for style, left, content in (("x", 0.1, 0.5), ("y", 0.2, 0.7), ("z", 0.6, 0.6))
    ]
    rows = nets.dial_table(results).splitlines()[2:]
    assert rows[0] == "| 1 | 30.0 % | 20.0 % | 60.0 % | 0.60 |"
    assert rows[1].startswith("| full |")
    assert nets.style_table(results).splitlines()[-1] == "| z | 60.0 % | 60.0 % |"


def judged(judge: Encoder, *names: str) -> list[nets.DialResult]:
    """The net that ships, on photos that ship, at every place of its dial."""
    net = load_net("fast")
    photos = {name: images.sample(name, size=256, crop=True) for name in names}
    styles = {name: images.style(name, size=256) for name in net.shape.styles}
    return list(nets.evaluate_net(net, judge, photos, styles, net.shape.dial))


def check_the_dial(results: list[nets.DialResult]) -> None:
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
    check_the_dial(judged(load_encoder("slim"), "astronaut"))


@pytest.mark.soak
@pytest.mark.vgg19_weights
def test_vgg19_too_sees_the_dial_turn_from_the_photo_to_the_style() -> None:
    check_the_dial(judged(load_encoder("vgg19"), "astronaut", "coffee"))


# ---------------------------------------------------------------------------------------- AdaIN


class Blender:
    """Stands for AdaIN: it blends the photo with the style picture itself."""

    def style(self, image: Tensor) -> Tensor:
        return image

    def content(self, image: Tensor) -> Tensor:
        return image

    def stylize(self, content: Tensor, style: Tensor, alpha: float) -> Tensor:
        return torch.lerp(content, style, alpha)


@pytest.fixture
def photos() -> dict[str, Tensor]:
    return {name: images.sample(name, size=48, crop=True) for name in ("coffee", "rocket")}


@pytest.fixture
def styles() -> dict[str, Tensor]:
    return {name: images.style(name, size=48) for name in ("vortex", "woodblock")}


def test_adain_that_gives_the_photo_keeps_all_and_one_that_gives_the_style_leaves_nothing(
    photos: dict[str, Tensor], styles: dict[str, Tensor]
) -> None:
    model: Any = Blender()
    judge = random_encoder("slim", seed=3)
    results = list(adain.evaluate_adain(model, judge, photos, styles, (0.0, 0.5, 1.0)))
    assert [(r.photo, r.style, r.place) for r in results] == [
        (photo, style, alpha) for photo in photos for style in styles for alpha in (0.0, 0.5, 1.0)
    ]
    for nothing, half, all_of_it in zip(results[::3], results[1::3], results[2::3], strict=True):
        assert (nothing.left, nothing.content) == (1, 0)
        assert 0 < half.left < 1
        assert all_of_it.left < 1e-9
        assert 0 < half.content < all_of_it.content
        assert nothing.before == half.before == all_of_it.before


def test_the_style_loss_is_the_mean_relative_error_of_means_and_deviations(
    photos: dict[str, Tensor], styles: dict[str, Tensor]
) -> None:
    """And the content loss that of relu3_3, both in float64."""
    model: Any = Blender()
    judge = random_encoder("slim", seed=3)
    (result, *_) = adain.evaluate_adain(model, judge, photos, styles, (0.5,))
    photo, style = photos["coffee"], styles["vortex"]
    seen, wanted, painted = (
        judge(image, judging.SEEN_TAPS) for image in (photo, style, torch.lerp(photo, style, 0.5))
    )

    def statistics64(maps: Tensor) -> Tensor:
        flat = maps.double().flatten(2)
        return torch.cat([flat.mean(2), (flat.var(2, correction=0) + 1e-5).sqrt()])

    def relative(found: Tensor, target: Tensor) -> float:
        return float((found - target).square().sum() / target.square().sum())

    def style_loss(maps: dict[str, Tensor]) -> float:
        pairs = [(maps[tap], wanted[tap]) for tap in judging.JUDGED_TAPS]
        return fmean(relative(statistics64(a), statistics64(b)) for a, b in pairs)

    assert result.before == pytest.approx(style_loss(seen), rel=1e-4)
    assert result.after == pytest.approx(style_loss(painted), rel=1e-4)
    content = relative(painted["relu3_3"].double(), seen["relu3_3"].double())
    assert result.content == pytest.approx(content, rel=1e-4)


def test_a_run_of_gatys_is_judged_at_the_steps_asked_for_and_ends_at_the_last(
    photos: dict[str, Tensor], styles: dict[str, Tensor]
) -> None:
    judge = random_encoder("slim", seed=3)
    pairs = [("coffee", "vortex"), ("rocket", "woodblock")]
    settings = gatys.changed(QUICK, {"steps": 500})
    at, encoder = (1, 4, 6), load_encoder("slim")
    judged = adain.evaluate_gatys(judge, photos, styles, pairs, at, encoder, settings)
    results = list(judged)
    assert [(r.photo, r.style, r.method, r.place) for r in results] == [
        (*pair, "gatys", steps) for pair in pairs for steps in at
    ]
    picture = gatys.stylize(photos["coffee"], styles["vortex"], encoder, settings, steps=4)
    model: Any = SimpleNamespace(
        style=lambda image: image, content=lambda image: image, stylize=lambda *_, **__: picture
    )
    (same, *_) = adain.evaluate_adain(model, judge, photos, styles, (1.0,))
    fourth = results[1]
    assert (fourth.before, fourth.after, fourth.content) == pytest.approx(
        (same.before, same.after, same.content), rel=1e-5
    )


def test_a_judge_that_is_too_shallow_for_adain_is_refused(
    photos: dict[str, Tensor], styles: dict[str, Tensor]
) -> None:
    model: Any = Blender()
    shallow = Encoder((8, 8), name="shallow")
    with pytest.raises(ValueError, match="judge asks for relu2_1"):
        list(adain.evaluate_adain(model, shallow, photos, styles))
    with pytest.raises(ValueError, match="judge asks for relu2_1"):
        list(adain.evaluate_gatys(shallow, photos, styles, [("coffee", "vortex")]))


def judged_as(
    method: adain.Method, place: float, left: float, content: float, pair: str = "ax"
) -> adain.Judged:
    return adain.Judged(pair[0], pair[1], method, place, 2.0, 2 * left, content)


def exponential_run(rate: float, *at: int, pair: str = "ax") -> list[adain.Judged]:
    """A run whose style loss decays as e^(-rate·steps), and whose content loss grows with steps."""
    return [judged_as("gatys", n, math.exp(-rate * n), 0.002 * n, pair) for n in at]


@pytest.mark.parametrize("steps", [3.0, 10.0, 17.5, 99.0, 100.0])
def test_of_a_style_loss_that_decays_exponentially_the_steps_are_found_exactly(
    steps: float,
) -> None:
    """Also before the first reading: a run begins at the photo."""
    run = exponential_run(0.03, 10, 25, 50, 100)
    ours = judged_as("adain", 1.0, math.exp(-0.03 * steps) * (1 + 1e-12), 0.5)
    (equal,) = adain.where_equal([ours, *reversed(run)])  # in any order
    assert equal.alpha == 1
    assert equal.steps == pytest.approx(steps)
    assert equal.content == pytest.approx(0.002 * steps)


def test_where_the_run_s_style_loss_turns_up_again_its_first_time_there_counts() -> None:
    places = ((10, 0.1, 0.2), (20, 0.2, 0.3), (30, 0.01, 0.4))
    run = [judged_as("gatys", *place) for place in places]
    (equal,) = adain.where_equal([judged_as("adain", 1.0, 0.1**0.5, 0.5), *run])
    assert (equal.steps, equal.content) == pytest.approx((5, 0.1))


def test_what_the_run_never_reaches_and_what_no_step_is_needed_for() -> None:
    run = exponential_run(0.03, 10, 100)
    ours = [judged_as("adain", 1.0, 1e-6, 0.5), judged_as("adain", 0.1, 1.2, 0.5)]
    assert adain.where_equal([*ours, *run]) == [
        adain.Equal(1.0, None, None),
        adain.Equal(0.1, 0.0, 0.0),
    ]
    table = adain.adain_table([*ours, *run]).splitlines()
    assert table[3] == "| AdaIN, α = 1 | 1 | 0.0 % | 0.0 % | 0.0 % | 0.50 | over 100 | – |"
    assert table[4] == "| AdaIN, α = 0.1 | 1 | 120.0 % | 120.0 % | 120.0 % | 0.50 | 0 | 0.00 |"
    assert adain.where_equal(ours) == []


def test_only_pairs_that_both_were_judged_on_are_compared() -> None:
    run = exponential_run(0.03, 10, 100)
    same = judged_as("adain", 1.0, math.exp(-0.03 * 40), 0.5)
    other = judged_as("adain", 1.0, 0.9, 0.1, pair="by")
    (alone,) = adain.where_equal([same, *run])
    assert adain.where_equal([other, same, *run]) == [alone]
    assert alone.steps == pytest.approx(40)
    ours, *_ = adain.readings([other, same, *run])
    assert (ours.pairs, ours.worst) == (2, 0.9)  # though its own reading is of all
    marks = adain.draw_quality([other, same, *run]).axes[0].lines[-1]
    assert np.asarray(marks.get_ydata()).tolist() == [same.left]


def test_a_reading_takes_mean_median_and_worst_of_the_shares_that_are_left() -> None:
    results = [
        adain.Judged("a", str(before), "adain", alpha, before, share * before, content)
        for alpha in (1.0, 0.5)
        for before, share, content in ((1.0, 0.1, 0.2), (2.0, 0.2, 0.4), (40.0, 0.6, 0.9))
    ]
    for reading, alpha in zip(adain.readings(results), (1.0, 0.5), strict=True):
        found = (reading.place, reading.mean, reading.median, reading.worst, reading.content)
        assert found == pytest.approx((alpha, 0.3, 0.2, 0.6, 0.5))


def test_the_figure_has_each_reading_with_its_place_beside_it() -> None:
    run = exponential_run(0.03, 10, 25)
    ours = [judged_as("adain", alpha, 0.5 - 0.3 * alpha, 0.4 * alpha) for alpha in (1.0, 0.5)]
    axes = adain.draw_quality([*ours, *run]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["the photo", "10", "25", "α = 1", "α = 0.5"]
    theirs, mine = axes.lines
    assert np.asarray(theirs.get_xdata()).tolist() == [0, *(result.content for result in run)]
    assert np.asarray(theirs.get_ydata()).tolist() == [1, *(result.left for result in run)]
    assert np.asarray(mine.get_ydata()).tolist() == [result.left for result in ours]
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines}
    assert all(len(set(look)) == 2 for look in zip(*looks, strict=True))


@pytest.mark.parametrize(("rows", "columns"), [(4, 2), (20, 10), (3, 5), (1, 4), (6, 4)])
def test_the_diagonal_meets_every_pair_once_and_its_first_few_are_of_different_members(
    rows: int, columns: int
) -> None:
    first, second = ([f"{kind}{i}" for i in range(n)] for kind, n in (("a", rows), ("b", columns)))
    pairs = list(judging.diagonal(first, second))
    assert len(pairs) == len(set(pairs)) == rows * columns
    few = min(rows, columns)
    assert all(len(set(members)) == few for members in zip(*pairs[:few], strict=True))


def test_pictures_are_taken_from_all_over_a_list() -> None:
    assert judging.spread(range(100), 4) == [0, 25, 50, 75]
    assert judging.spread(range(3), 3) == judging.spread(range(3), 9) == [0, 1, 2]
    with pytest.raises(ValueError, match="count is 0"):
        judging.spread([1], 0)
