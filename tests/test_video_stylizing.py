import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from nstlib import color, flow
from nstlib.adain import AdaIN, Decoder
from nstlib.encoders import random_encoder
from nstlib.painting import clip
from nstlib.stylist import NetStylist, Stylist
from nstlib.transform_net import TransformNet
from nstlib.video import Frame, carried, motions, steady, stylize
from nstlib.video.stylizing import ahead

FRAMES = clip("pan", frames=6, height=48, width=64, seed=1).frames.split(1)
STYLES = torch.rand(2, 1, 3, 40, 40, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def model() -> AdaIN:
    encoder = random_encoder("slim")
    torch.manual_seed(0)
    return AdaIN(encoder, Decoder.of(encoder, tap="relu2_1"))


@pytest.fixture(scope="module")
def net() -> TransformNet:
    torch.manual_seed(0)
    return TransformNet(styles=("a", "b"), dial=(1.0, 10.0), width=0.25, blocks=1).eval()


def alone(model: AdaIN, frames: Any, style: Any, **turned: Any) -> list[Tensor]:
    """Each frame by itself, steadied: what the pipeline is to give."""
    stylist = Stylist(model)
    painted = [stylist.stylize(frame, style, **turned) for frame in frames]
    return list(steady(painted, motions(frames), 0.7))


def close(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(torch.cat(list(found)), torch.cat(list(wanted)), atol=2e-5, rtol=0)


# -------------------------------------------------------------------------------------- the pipeline


@pytest.mark.parametrize("at_once", [1, 4, 16])
def test_it_is_each_frame_by_itself_steadied(model: AdaIN, at_once: int) -> None:
    wanted = alone(model, FRAMES, STYLES[0], alpha=0.8)
    close(stylize(FRAMES, model, STYLES[0], 0.8, at_once=at_once), wanted)


def test_without_temporal_weight_nothing_is_blended_and_no_motion_looked_for(
    model: AdaIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [model.stylize(frame, STYLES[0]) for frame in FRAMES]
    monkeypatch.setattr(flow, "flow", None)
    close(stylize(FRAMES, model, STYLES[0], temporal_weight=0), wanted)


def test_frames_come_as_they_came(model: AdaIN) -> None:
    times = [Fraction(i * i, 30) for i in range(6)]
    frames = [Frame(f, t, Fraction(1, 30)) for f, t in zip(FRAMES, times, strict=True)]
    found = list(stylize(frames, model, STYLES[0]))
    assert [frame.time for frame in found] == times
    assert all(frame.duration == Fraction(1, 30) for frame in found)
    close([frame.image for frame in found], stylize(FRAMES, model, STYLES[0]))


def test_a_mixture_with_all_of_one_style_is_that_style(model: AdaIN) -> None:
    mixed = stylize(FRAMES, model, list(STYLES), weights=[0, 1])
    close(mixed, stylize(FRAMES, model, STYLES[1]))


def test_styles_and_alpha_may_change_from_frame_to_frame(model: AdaIN) -> None:
    table = torch.linspace(0, 1, 6)[:, None] * torch.tensor([-1.0, 1]) + torch.tensor([1.0, 0])
    alphas = torch.linspace(0.2, 1, 6)
    stylist = Stylist(model)
    painted = [
        stylist.stylize(frame, list(STYLES), weights=row, alpha=alpha.item())
        for frame, row, alpha in zip(FRAMES, table, alphas, strict=True)
    ]
    wanted = steady(painted, motions(FRAMES), 0.7)
    close(stylize(FRAMES, model, list(STYLES), alphas, weights=table), wanted)


@pytest.mark.parametrize(("name", "given"), [("alpha", {"alpha": [0.5] * 5}), ("weights", {})])
def test_too_few_values_for_the_frames_are_told(
    model: AdaIN, name: str, given: dict[str, Any]
) -> None:
    given = given or {"weights": torch.ones(5, 2)}
    with pytest.raises(ValueError, match=f"{name} is given for 5 frames; the clip has 6"):
        stylize(FRAMES, model, list(STYLES), **given)
    with pytest.raises(ValueError, match=f"{name} is given for 5 frames; the clip has more"):
        list(stylize(iter(FRAMES), model, list(STYLES), **given))


def test_regions_are_painted_where_they_have_moved_to(model: AdaIN) -> None:
    known = clip("sprites", frames=4, height=96, width=128, seed=1)
    frames = known.frames.split(1)
    regions = torch.cat([known.masks[:1], 1 - known.masks[:1]])
    stylist = Stylist(model)
    painted = [
        stylist.stylize(motion.frame, list(STYLES), mask=mask)
        for motion, mask in carried(regions, motions(frames))
    ]
    wanted = list(steady(painted, motions(frames), 0.7))
    close(stylize(frames, model, list(STYLES), mask=regions), wanted)
    mixed = torch.cat(list(stylize(frames, model, list(STYLES))))
    assert float((torch.cat(wanted) - mixed).abs().mean()) > 1e-3


def test_colours_are_matched_once_a_scene(model: AdaIN, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matched to each frame anew they would flicker."""
    known = clip("cut", frames=6, height=96, width=128, seed=1)
    frames, matched = known.frames.split(1), []
    match_color = color.match_color

    def counting(style: Tensor, frame: Tensor) -> Tensor:
        matched.append(next(i for i, own in enumerate(frames) if torch.equal(own, frame)))
        return match_color(style, frame)

    monkeypatch.setattr(color, "match_color", counting)
    found = list(stylize(frames, model, STYLES[0], temporal_weight=0, keep_color="match"))
    assert matched == [0, *known.cuts]
    for first in (0, *known.cuts):
        wanted = Stylist(model).stylize(frames[first], STYLES[0], keep_color="match")
        torch.testing.assert_close(found[first], wanted, atol=2e-5, rtol=0)


def test_styles_are_looked_at_once(model: AdaIN, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, style = [], AdaIN.style
    monkeypatch.setattr(AdaIN, "style", lambda self, image: looks.append(1) or style(self, image))
    list(stylize(FRAMES, model, list(STYLES), at_once=1))
    assert len(looks) == 2


def test_fast_nets_paint_clips_too(net: TransformNet) -> None:
    stylist = NetStylist(net)
    painted = [
        stylist.stylize(frame, ["a", "b"], weights=[0.3, 0.7], style_weight=5.0) for frame in FRAMES
    ]
    wanted = steady(painted, motions(FRAMES), 0.7)
    close(stylize(FRAMES, net, ["a", "b"], weights=[0.3, 0.7], style_weight=5.0), wanted)
    close(stylize(FRAMES, net, "a"), stylize(FRAMES, net, ["a", "b"], weights=[1, 0]))


# ----------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"temporal_weight": 1.0}, ValueError, "temporal_weight"),
        ({"alpha": 2.0}, ValueError, "alpha"),
        ({"keep_color": "hue"}, ValueError, "keep_color"),
        ({"flow": "nearest"}, ValueError, "method"),
        (
            {"flow": "nearest", "temporal_weight": 0},
            ValueError,
            "method is 'nearest'; it takes 'dis'",
        ),
        ({"model": "adain"}, TypeError, "model is a str"),
        ({"at_once": 0}, ValueError, "at_once"),
    ],
)
def test_wrong_arguments_are_named(
    model: AdaIN, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        list(stylize(FRAMES, **({"model": model, "style": STYLES[0]} | given)))


def test_what_was_taken_from_a_style_cannot_be_recoloured(model: AdaIN) -> None:
    with pytest.raises(ValueError, match="keep_color='match' recolours pictures"):
        stylize(FRAMES, model, model.style(STYLES[0]), keep_color="match")


def test_a_fast_net_has_no_alpha(net: TransformNet) -> None:
    with pytest.raises(ValueError, match="style_weight is its dial"):
        stylize(FRAMES, net, "a", 0.5)


def test_what_fails_while_a_clip_is_read_is_raised_after_what_came_before(model: AdaIN) -> None:
    def failing() -> Iterator[Tensor]:
        yield from FRAMES[:3]
        raise OSError("the disk is gone")

    pictures = stylize(failing(), model, STYLES[0], at_once=1)
    assert len([next(pictures) for _ in range(3)]) == 3
    with pytest.raises(OSError, match="the disk is gone"):
        next(pictures)


def threads() -> int:
    return threading.active_count()


def test_threads_end_when_it_is_closed_early(model: AdaIN) -> None:
    before, closed = threads(), []

    def endless() -> Iterator[Tensor]:
        try:
            while True:
                yield FRAMES[0]
        finally:
            closed.append(True)

    pictures = stylize(endless(), model, STYLES[0])
    next(pictures)
    assert threads() == before + 3
    pictures.close()
    assert threads() == before
    assert closed == [True]


def test_no_more_than_a_few_frames_are_read_ahead(model: AdaIN) -> None:
    read = []

    def counted() -> Iterator[Tensor]:
        for i in range(100):
            read.append(i)
            yield FRAMES[i % 6]

    pictures = stylize(counted(), model, STYLES[0], at_once=2)
    next(pictures)
    time.sleep(0.5)  # all the stages are as far ahead as they go
    assert len(read) <= 20
    pictures.close()


# ------------------------------------------------------------------------------------------- ahead


def test_items_come_in_order_and_while_the_consumer_works() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        yield 1
        made.set()
        yield 2

    coming = ahead(items(), 2)
    assert next(coming) == 0
    assert made.wait(5)  # though nobody has asked for it yet
    assert list(coming) == [1, 2]


def test_it_ends_also_where_nobody_takes_what_is_made() -> None:
    before = threads()
    coming = ahead(iter(range(1000)), 1)
    next(coming)
    coming.close()
    assert threads() == before


def test_threads_that_begin_in_one_another_keep_their_numbers() -> None:
    """A thread that begins takes over how many it may share its work among: none may see 1."""
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for _ in range(40):
            counts = ahead((torch.get_num_threads() for _ in range(3)), 1)
            with_one = ahead((count for count in counts), 1, threads=1)
            assert list(ahead(with_one, 1)) == [3, 3, 3]
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)


def test_what_fails_when_the_source_is_closed_is_raised() -> None:
    def failing() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(ahead(failing(), 1))


@pytest.mark.parametrize("wrong", [{"count": 0}, {"threads": 0}])
def test_ahead_takes_one_at_least(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is 0"):
        ahead(iter([1]), **({"count": 1} | wrong))


def test_a_thread_may_be_told_to_share_its_work_among_fewer() -> None:
    usual = torch.get_num_threads()

    def counts() -> Iterator[int]:
        while True:
            yield torch.get_num_threads()

    other = 1 if usual > 1 else 2
    fewer, same = ahead(counts(), 1, threads=other), ahead(counts(), 1)
    assert next(fewer) == other
    assert next(same) == usual
    assert torch.get_num_threads() == usual
    fewer.close()
    same.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alpha": [0.5] * 5 + [1.5]}, r"alpha is 1\.5; it must lie in \[0, 1\]"),
        ({"alpha": -1.0}, r"alpha is -1\.0; it must lie in \[0, 1\]"),
        ({"weights": [[1.0, 1.0]] * 5 + [[0.0, 0.0]]}, "weights is"),
        ({"weights": [[1.0, 1.0, 1.0]] * 6}, r"weights has shape \(6, 3\); it takes \(2,\) or"),
        ({"weights": [1.0, -1.0]}, "weights is"),
    ],
)
@pytest.mark.parametrize("of_net", [False, True])
def test_a_value_of_a_late_frame_that_is_wrong_is_told_before_the_first(
    model: AdaIN, net: TransformNet, given: dict[str, Any], said: str, of_net: bool
) -> None:
    """Also where nobody knows how many frames there will be."""
    painter: Any = (net, ["a", "b"]) if of_net else (model, list(STYLES))
    if of_net and "alpha" in given:
        said = "a fast net has none: style_weight is its dial"
    with pytest.raises(ValueError, match=said):
        stylize(iter(FRAMES), *painter, **given)
