"""The lab of clips: what it computes, how little of it anew, and what its controls bring about.

The model is small and random; no two styles or alphas give the same picture.
"""

from __future__ import annotations

import dataclasses
import re
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adain_model import picture, tiny_model
from torch import Tensor

from nstlib import flow, images, video, widgets
from nstlib.adain import AdaIN
from nstlib.color import luminance
from nstlib.encoders import load_encoder
from nstlib.errors import VideoError, WeightsError
from nstlib.evaluation.video import StrengthMeter, warping_error
from nstlib.images import at_size
from nstlib.painting import KnownClip, clip
from nstlib.video import Motion, motions, steady
from nstlib.widgets import VideoLab
from nstlib.widgets.display import preview
from nstlib.widgets.painted_clip import (
    Measures,
    PaintedClip,
    Params,
    compute,
    draw,
    footage_of,
    less,
)

HEIGHT, WIDTH, COUNT = 48, 64, 6
STYLE_SIZE = 40
Make = Callable[..., VideoLab]


@pytest.fixture(scope="module")
def model() -> AdaIN:
    return tiny_model("skips")


@pytest.fixture(scope="module")
def known() -> KnownClip:
    return clip("sprites", frames=COUNT, height=HEIGHT, width=WIDTH)


@pytest.fixture
def make_lab(
    model: AdaIN, known: KnownClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Return what makes a lab; where a test says nothing, of a made clip."""
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(widgets.pictures, "data_dir", lambda: tmp_path)

    def make(given: Any = known, **changes: Any) -> VideoLab:
        options = {"model": model, "style_size": STYLE_SIZE, "folder": tmp_path / "out"}
        return VideoLab(given, **{**options, **changes})

    return make


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count what is slow: frames and styles that are encoded, frames that are painted, flows."""
    counted = {"encoded": 0, "styles": 0, "painted": 0, "flows": 0}

    def count(owner: Any, name: str, what: str, weigh: Callable[..., int]) -> None:
        original = getattr(owner, name)

        def counting(*given: Any, **named: Any) -> Any:
            counted[what] += weigh(*given)
            return original(*given, **named)

        monkeypatch.setattr(owner, name, counting)

    count(AdaIN, "content", "encoded", lambda model, image: len(image))
    count(AdaIN, "style", "styles", lambda *given: 1)
    count(
        AdaIN, "stylize", "painted", lambda model, content, *given: len(content.maps[content.tap])
    )
    count(flow, "flow", "flows", lambda *given: 1)
    return counted


def turn(lab: VideoLab, **values: Any) -> None:
    for name, value in values.items():
        lab.controls[name].view.value = value


def look_by_hand(model: AdaIN, known: KnownClip, style: str, alpha: float = 1.0) -> list[Tensor]:
    painting = at_size(images.style(style), STYLE_SIZE)
    return [model.stylize(frame, painting, alpha=alpha) for frame in known.frames.split(1)]


def are_shown(lab: VideoLab, position: int, frames: Sequence[Tensor]) -> bool:
    """Whether the page has these frames."""
    return getattr(lab.player, f"frames_{position}") == [preview(frame) for frame in frames]


def close(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    return len(found) == len(wanted) and all(
        torch.allclose(a, b, atol=1e-5) for a, b in zip(found, wanted, strict=True)
    )


# -------------------------------------------------------------------------------- what is computed


def test_a_clip_is_made_steady_as_by_hand(known: KnownClip) -> None:
    found = list(motions(known.frames.split(1)))
    look = known.frames.flip(2).split(1)
    assert close(compute(Params(look, found, 0.6)), list(steady(look, found, 0.6)))


def test_without_the_mask_all_is_blended_but_what_begins_a_scene() -> None:
    shades = [torch.full((1, 3, 8, 8), shade) for shade in (0.2, 0.6, 0.9)]
    moved, hidden = torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)
    found = [Motion(0, shades[0]), Motion(1, shades[1], moved, hidden), Motion(2, shades[2])]
    for masked, wanted in ((True, [0.2, 0.6, 0.9]), (False, [0.2, 0.4, 0.9])):
        frames = compute(Params(shades, found, 0.5, masked))
        assert [frame.mean().item() for frame in frames] == pytest.approx(wanted)


def test_a_weight_of_zero_leaves_each_frame_by_itself(known: KnownClip) -> None:
    look = known.frames.split(1)
    found = list(motions(look))
    assert all(a is b for a, b in zip(compute(Params(look, found, 0)), look, strict=True))
    with pytest.raises(ValueError, match=r"temporal_weight is 0.99; it must lie in \[0, 0.95\]"):
        compute(Params(look, found, 0.99))


def mean_strength(lab: PaintedClip, painted: Sequence[Tensor], style: Tensor) -> float:
    judge, photos = load_encoder("slim"), lab.footage.frames
    strengths = [StrengthMeter(judge, [photos[i]], style).of([painted[i]]) for i in lab.judged]
    return sum(strengths) / len(strengths)


def test_strength_is_that_of_the_evaluation(known: KnownClip, model: AdaIN) -> None:
    style, photos = picture(40, 40, seed=3), known.frames.split(1)
    painted = [0.5 * photo + 0.2 for photo in photos]
    lab = PaintedClip(footage_of(known), model)
    assert len(lab.judged) == 3
    assert 0 not in lab.judged  # which is never blended
    assert lab.strength(painted, style) == pytest.approx(
        mean_strength(lab, painted, style), abs=1e-6
    )


def test_the_shortest_clip_is_judged_by_its_second_frame(known: KnownClip, model: AdaIN) -> None:
    assert PaintedClip(footage_of(known, frames=2), model).judged == [1]


def test_a_photo_that_is_its_own_style_has_no_strength(known: KnownClip, model: AdaIN) -> None:
    frames = known.frames[:1].expand(4, -1, -1, -1).split(1)
    lab = PaintedClip(footage_of(frames), model)
    with pytest.raises(ValueError, match="photo has the statistics of style already"):
        lab.strength(frames, frames[0])


def test_errors_are_by_the_true_motion_where_it_is_known(known: KnownClip, model: AdaIN) -> None:
    frames = known.frames.flip(3).split(1)
    of_known = PaintedClip(footage_of(known), model)
    wanted = warping_error(frames, known.flows, known.visible)
    assert of_known.error(frames, "dis") == of_known.error(frames, "farneback") == wanted
    of_images = PaintedClip(footage_of(known.frames), model)
    assert of_images.error(frames, "dis") != pytest.approx(wanted, rel=1e-3)


def test_a_cut_is_left_out_of_the_error_by_found_motion(model: AdaIN) -> None:
    cut = clip("cut", frames=6, height=96, width=128)
    painted = PaintedClip(footage_of(cut.frames), model)
    assert [motion.index for motion in painted.motions("dis") if motion.begins] == [0, 3]
    assert painted.error(cut.frames.split(1), "dis") < 0.002  # the pair of the cut: 0.1


# ----------------------------------------------------------------------------------------- footage


def test_a_clip_is_a_file_images_or_a_made_one(known: KnownClip, tmp_path: Path) -> None:
    path = video.write(tmp_path / "swing.mp4", known.frames, rate=29.97)
    of_file = footage_of(path, frames=4, size=24)
    assert (of_file.name, of_file.rate, len(of_file.frames)) == ("swing", video.read(path).rate, 4)
    assert of_file.frames[0].shape == (1, 3, 24, 32)
    assert of_file.sound is None
    frames = known.frames.split(1)
    for given in (known.frames, frames, iter(frames), video.read(path)):
        assert footage_of(given, size=24).frames[0].shape == (1, 3, 24, 32)
        assert len(footage_of(known.frames, frames=3).frames) == 3


def test_a_made_clip_keeps_its_size_and_its_truth(known: KnownClip) -> None:
    footage = footage_of(known, frames=4, size=24)
    assert footage.truth is not None
    assert torch.equal(footage.truth.flows, known.flows[:4])
    assert torch.equal(torch.cat(list(footage.frames)), known.frames[:4])
    cut = clip("cut", frames=6, height=32, width=32)
    for count, cuts in ((3, ()), (4, (3,))):
        truth = footage_of(cut, frames=count).truth
        assert truth is not None
        assert truth.cuts == cuts


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (torch.rand(1, 3, 32, 32), ValueError, "clip has 1 frames; it takes 2 or more"),
        ([torch.rand(2, 3, 32, 32)], ValueError, "frame 0 of clip has shape"),
        (["one.png"], TypeError, "frame 0 of clip"),
        ("missing.mp4", VideoError, "missing.mp4"),
    ],
)
def test_what_is_no_clip_is_refused(wrong: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        footage_of(wrong)


# --------------------------------------------------------------------------------------- the lab


def test_a_new_lab_shows_three_clips_side_by_side(
    make_lab: Make, model: AdaIN, known: KnownClip, capfd: pytest.CaptureFixture[str]
) -> None:
    lab = make_lab(style="woodblock")
    look = look_by_hand(model, known, "woodblock")
    assert lab.player.titles == ["Original", "Frame by frame", "Steady"]
    assert are_shown(lab, 0, known.frames.split(1))
    assert are_shown(lab, 1, lab.result.params.look)
    assert close(lab.result.params.look, look)
    assert are_shown(lab, 2, lab.frames)
    assert close(lab.frames, list(steady(look, motions(known.frames.split(1)), 0.7)))
    assert not lab.player.playing
    assert lab.message.value == ""
    assert "application/vnd.jupyter.widget-view+json" in lab._repr_mimebundle_()
    assert capfd.readouterr() == ("", "")


def test_it_tells_error_and_strength(make_lab: Make, known: KnownClip) -> None:
    lab = make_lab()
    error = warping_error(lab.frames, known.flows, known.visible)
    alone = warping_error(lab.result.params.look, known.flows, known.visible)
    assert (lab.measures.error, lab.measures.error_alone) == pytest.approx((error, alone))
    strength = mean_strength(lab.clip, lab.frames, lab.result.style)
    assert lab.measures.strength == pytest.approx(strength)
    assert f"Warping error {1000 * error:.2f} × 10⁻³, frame by frame" in lab.status.value
    assert f"{1000 * alone:.2f}: {100 * (1 - error / alone):.0f} % less" in lab.status.value
    assert f"Style strength {lab.measures.strength:.2f}" in lab.status.value
    assert "Measured by the true motion; 6 frames of 64 × 48 px" in lab.status.value
    assert "Measured by the motion that was found" in make_lab(known.frames).status.value


def test_nothing_slow_is_done_twice(make_lab: Make, work: dict[str, int]) -> None:
    lab = make_lab(style="mosaic")
    once = {"encoded": COUNT, "styles": 1, "painted": COUNT, "flows": 2 * (COUNT - 1)}
    assert work == once
    turn(lab, temporal_weight=0.4)
    turn(lab, temporal_weight=0.0)
    turn(lab, masked=False)
    assert work == once
    turn(lab, alpha=0.5)
    assert work == once | {"painted": 2 * COUNT}
    turn(lab, alpha=1.0)
    turn(lab, alpha=0.5)
    turn(lab, method="farneback")
    assert work == once | {"painted": 2 * COUNT, "flows": 4 * (COUNT - 1)}
    turn(lab, method="dis")
    turn(lab, method="farneback")
    lab.style.menu.value = "woodblock"
    again = once | {"styles": 2, "painted": 3 * COUNT, "flows": 4 * (COUNT - 1)}
    assert work == again
    lab.style.menu.value = "mosaic"
    lab.style.menu.value = "woodblock"
    assert work == again


def test_the_temporal_weight_changes_the_steady_clip_alone(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab()
    original, alone, before = lab.player.frames_0, lab.player.frames_1, lab.player.frames_2
    lab.player.index = 4
    turn(lab, temporal_weight=0.3)
    assert lab.player.frames_0 is original
    assert lab.player.frames_1 is alone
    assert lab.player.frames_2 != before
    assert are_shown(lab, 2, lab.frames)
    assert lab.player.index == 4
    turn(lab, temporal_weight=0.0)
    assert lab.player.frames_2 == alone
    assert ": the same<br>" in lab.status.value


def test_controls_change_what_is_painted(make_lab: Make, model: AdaIN, known: KnownClip) -> None:
    lab = make_lab(style="mosaic")
    turn(lab, alpha=0.4)
    assert close(lab.result.params.look, look_by_hand(model, known, "mosaic", 0.4))
    lab.style.menu.value = "vortex"
    look = look_by_hand(model, known, "vortex", 0.4)
    assert close(lab.result.params.look, look)
    assert are_shown(lab, 1, lab.result.params.look)
    turn(lab, masked=False, method="farneback", temporal_weight=0.5)
    found = motions(known.frames.split(1), "farneback")
    ghosts = [
        m if m.begins else dataclasses.replace(m, visible=torch.ones(1, 1, HEIGHT, WIDTH))
        for m in found
    ]
    assert close(lab.frames, list(steady(look, ghosts, 0.5)))


def test_a_curve_has_a_point_for_each_weight_that_was_visited(make_lab: Make) -> None:
    lab = make_lab(temporal_weight=0.7)
    assert list(lab.points) == [0.0, 0.7]
    first, picture_before = dict(lab.points), lab.curve.value
    turn(lab, temporal_weight=0.3)
    assert set(lab.points) == {0.0, 0.7, 0.3}
    assert lab.points[0.0] == lab.measures.error_alone > lab.points[0.3] > lab.points[0.7]
    assert lab.curve.value[1:4] == b"PNG"
    assert lab.curve.value != picture_before
    turn(lab, masked=False)
    assert set(lab.points) == {0.0, 0.3}
    turn(lab, masked=True)
    assert lab.points.items() >= first.items()
    turn(lab, alpha=0.5)
    assert set(lab.points) == {0.0, 0.3}


def test_the_curve_draws_its_points_in_order() -> None:
    figure = draw({0.7: 0.001, 0.0: 0.004, 0.3: 0.002}, here=0.3)
    line, here, *_ = figure.axes[0].lines
    assert list(line.get_xdata()) == [0, 0.3, 0.7]
    assert list(line.get_ydata()) == pytest.approx([4, 2, 1])
    assert (here.get_xdata(), here.get_ydata()) == ([0.3], [2.0])
    assert draw({0.0: 0.0}, here=0.0).axes[0].get_ylim() == (0, 1)  # a clip that stands still


def test_measures_in_words() -> None:
    error, strength = Measures(0.00125, 0.005, 0.61, 0.64).in_words()
    assert error == "Warping error 1.25 × 10⁻³, frame by frame 5.00: 75 % less"
    assert strength == "Style strength 0.61, frame by frame 0.64: 95 % kept"
    assert less(0.0, 0.0) == "the same"  # a clip that stands still
    assert Measures(1, 1, -0.2, -0.1).in_words()[1] == "Style strength -0.20, frame by frame -0.10"


# ------------------------------------------------------------------------------------ what is wrong


def test_what_goes_wrong_is_told_in_a_sentence_and_the_clip_stays(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab()
    shown, pictures, said = lab.result, lab.player.frames_2, lab.status.value

    def fail(*given: Any) -> None:
        raise WeightsError("RAFT's weights are\nnot <found>")

    monkeypatch.setattr(flow, "flow", fail)
    turn(lab, method="farneback")
    assert lab.result is shown
    assert lab.player.frames_2 is pictures
    assert lab.status.value == said
    assert lab.message.value.count('role="alert"') == 1
    assert "RAFT&#x27;s weights are not &lt;found&gt;" in lab.message.value
    turn(lab, method="dis")
    assert lab.message.value == ""


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (
            {"temporal_weight": 1.0},
            ValueError,
            r"temporal_weight is 1.0; it must lie in \[0, 0.95\]",
        ),
        ({"alpha": -0.1}, ValueError, "alpha is -0.1"),
        ({"method": "horn"}, ValueError, "method is 'horn'; it takes 'dis', 'farneback', 'raft'"),
        ({"frames": 1}, ValueError, "frames is 1; it takes a whole number, 2 or more"),
        ({"frames": 2.5}, ValueError, "frames is 2.5"),
        ({"size": 0}, ValueError, "size is 0"),
        ({"style_size": 1.5}, TypeError, "style_size is 1.5"),
        ({"rate": 0}, ValueError, "rate is 0"),
    ],
)
def test_a_wrong_argument_is_named(
    make_lab: Make, wrong: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        make_lab(**wrong)


def test_raft_is_offered_where_its_weights_are_found(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = []
    for found in (None, Path("raft_large.pth")):
        monkeypatch.setattr(flow, "find_raft_weights", lambda found=found: found)
        offered.append([*make_lab().controls["method"].view.options.values()])
    assert offered == [["dis", "farneback"], ["dis", "farneback", "raft"]]


# ------------------------------------------------------------------------------------------- saved


def saved(path: Path | None) -> tuple[video.Reader, Tensor]:
    assert path is not None
    reader = video.read(path)
    return reader, torch.cat([frame.image for frame in reader])


def are_about(found: Tensor, wanted: Tensor) -> bool:
    """Whether frames are alike but for what an MP4 loses: most of it colour."""
    return float((luminance(found) - luminance(wanted)).abs().mean()) < 0.02


def test_save_writes_original_and_steady_side_by_side(
    make_lab: Make, known: KnownClip, tmp_path: Path
) -> None:
    lab = make_lab(rate=12)
    path = lab.save()
    assert path == tmp_path / "out" / "clip-mosaic-beside-1.mp4"
    assert str(path.resolve()) in lab.message.value
    reader, frames = saved(path)
    assert (reader.rate, len(reader), reader.width) == (12, COUNT, 2 * WIDTH)
    wanted = torch.cat([known.frames, torch.cat(list(lab.frames))], dim=3)
    assert are_about(frames, wanted)
    assert lab.save() == tmp_path / "out" / "clip-mosaic-beside-2.mp4"


def test_save_writes_the_steady_clip_alone(
    make_lab: Make, known: KnownClip, tmp_path: Path
) -> None:
    lab = make_lab()
    lab.save_menu.value = "steady alone"
    lab.save_button.click()
    reader, frames = saved(tmp_path / "out" / "clip-mosaic-1.mp4")
    assert (reader.height, reader.width) == (HEIGHT, WIDTH)
    assert are_about(frames, torch.cat(list(lab.frames)))
    assert not are_about(frames, known.frames)


def test_save_keeps_the_sound_and_the_rate_of_a_file(
    make_lab: Make, known: KnownClip, tmp_path: Path
) -> None:
    with wave.open(str(tmp_path / "tone.wav"), "wb") as tone:
        tone.setparams((1, 2, 8000, 0, "NONE", ""))
        tone.writeframes(bytes(range(256)) * 20)
    path = tmp_path / "loud.mp4"
    video.write(path, known.frames, rate=29.97, audio=tmp_path / "tone.wav")
    reader, _ = saved(make_lab(path).save())
    assert reader.path.name == "loud-mosaic-beside-1.mp4"
    assert (reader.has_audio, reader.rate) == (True, video.read(path).rate)


def test_a_clip_that_cannot_be_written_is_told_of(make_lab: Make, tmp_path: Path) -> None:
    lab = make_lab()
    (tmp_path / "out").write_text("no folder")
    assert lab.save() is None
    assert re.search(r'role="alert".*out', lab.message.value)
    assert not lab.save_button.disabled
