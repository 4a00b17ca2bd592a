import pytest
import torch
from test_video_steadying import generator, known_motions

from nstlib.evaluation.video import warping_error
from nstlib.painting import clip
from nstlib.video import motions, steady


def test_a_scene_begins_with_the_first_frame_and_after_a_cut() -> None:
    known = clip("cut", frames=8, height=96, width=128, seed=1)
    found = list(motions(known.frames.split(1)))
    assert [motion.begins for motion in found] == [i in (0, *known.cuts) for i in range(8)]
    assert [motion.index for motion in found] == list(range(8))


def test_found_motion_makes_strokes_nearly_as_steady_as_the_true_one() -> None:
    known = clip("pan", frames=8, height=96, width=128, seed=1)
    strokes = generator()
    painted = [
        (f + 0.1 * torch.randn(f.shape, generator=strokes)).clamp(0, 1)
        for f in known.frames.split(1)
    ]
    truth = (known.flows.split(1), known.visible.split(1))
    before = warping_error(painted, *truth)
    errors = [
        warping_error(list(steady(painted, used, 0.7)), *truth)
        for used in (known_motions(known), list(motions(known.frames.split(1))))
    ]
    assert errors[0] < 0.3 * before
    assert errors[1] < 1.3 * errors[0]


def test_frames_that_are_too_small_are_named_at_once() -> None:
    with pytest.raises(ValueError, match="frame 0 is 15 × 40 px; flow by DIS takes 16 px"):
        next(motions([torch.zeros(1, 3, 15, 40)]))


def test_a_frame_of_another_size_is_named() -> None:
    frames = [torch.zeros(1, 3, 48, 64), torch.zeros(1, 3, 48, 60)]
    with pytest.raises(ValueError, match=r"frame 1 has shape \(1, 3, 48, 60\)"):
        list(motions(frames))
    with pytest.raises(TypeError, match="frame 0"):
        list(motions(["no image"]))  # type: ignore[list-item]


@pytest.mark.parametrize("frames", [[], [torch.zeros(1, 3, 48, 64)]])
def test_an_unknown_method_is_refused_at_once(frames: list[torch.Tensor]) -> None:
    with pytest.raises(
        ValueError, match="method is 'nearest'; it takes 'dis', 'farneback', 'raft'"
    ):
        motions(frames, "nearest")  # type: ignore[arg-type]
