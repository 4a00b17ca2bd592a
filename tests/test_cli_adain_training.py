"""nst train adain: a decoder trained from folders, one bad file among good ones, a run taken up."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import pytest
import torch
from command_line import run

from nstlib import cli, config, images
from nstlib.adain import load_adain
from nstlib.datasets import Crops
from nstlib.encoders import Encoder, load_encoder
from nstlib.weights import read_weights

DEEP = Encoder((4, 4, 6, 6, 8, 8, 8, 8, 10), name="vgg19", weights="random")  # down to conv4_1


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with photos, and paintings in folders within folders, as WikiArt has them."""
    for name, picture in {
        "photos ☀/000000000009.png": images.sample("coffee", size=40),
        "photos ☀/000000000025.jpg": images.sample("chelsea", size=37),
        "photos ☀/000000000030.png": images.sample("rocket", size=48),
        "art/Impressionism/l'étang.png": images.style("impasto", size=40),
        "art/Ukiyo_e/deep/wave.jpg": images.style("woodblock", size=44),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        images.save_image(picture, tmp_path / name)
    return tmp_path


def train(pictures: Path, checkpoint: Path, *flags: str | Path) -> int:
    return run(
        *("train", "adain", "--content", pictures / "photos ☀", "--style", pictures / "art"),
        *("--checkpoint", checkpoint, "--crop", "32", "--batch", "2", "--warm-up", "1", *flags),
    )


def test_a_decoder_is_trained_and_paints(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = pictures / "runs" / "adain.pt"
    (pictures / "photos ☀" / "bad.png").write_bytes(b"no picture")
    (pictures / "art" / "Ukiyo_e" / "bad.jpg").write_bytes(b"no picture")
    assert train(pictures, checkpoint, "--steps", "4", "--every", "2", "--painted", "1") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == "training on 3 photos and 3 paintings"  # two in folders and a painted one
    told = [json.loads(line) for line in lines[1:-1]]
    assert [line["step"] for line in told] == [2, 4]
    assert {"total", "content", "style", "identity", "grid", "seconds_left"} < told[0].keys()
    assert Path(lines[-1]) == checkpoint.with_suffix(".safetensors")
    left_out = said.err.splitlines()
    assert ["bad.png" in left_out[0], "bad.jpg" in left_out[1]] == [True, True]
    assert left_out[2:] == ["left out: 2 in all"]
    model = load_adain(lines[-1])
    assert model.decoder.shape.widths == load_encoder("slim").widths[:5]
    photo = images.sample("astronaut", size=37)
    assert model.stylize(photo, images.style("mosaic", size=50)).shape == photo.shape


def test_what_turns_out_to_be_bad_when_it_is_drawn_is_told_of_once(
    pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As most files of a large collection, which does not fit in memory."""

    monkeypatch.setattr(cli.training, "Crops", partial(Crops, in_memory=0))
    (pictures / "photos ☀" / "bad.png").write_bytes(b"no picture")
    assert train(pictures, pictures / "net.pt", "--steps", "6", "--every", "2") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "training on 4 photos and 2 paintings"
    assert re.fullmatch(r"left out: .*bad\.png.*\nleft out: 1 in all\n", said.err)


def test_flags_say_shape_recipe_and_settings(pictures: Path) -> None:
    checkpoint = pictures / "net.pt"
    flags = "--steps 1 --tap relu2_2 --skips relu1_1,relu2_1 --steered-by relu2_1 "
    flags += "--last-channels 5 --coarse 2 --coarse-channels 16 "
    flags += "--output clamp --recipe gram --identity-share 0.5 --style-taps relu1_1=2,relu3_1=1 "
    flags += "--autoencoder-steps 7 --decay 5e-5 --shorter-side 38 --seed 3 --temporal-weight 50"
    assert train(pictures, checkpoint, *flags.split()) == 0
    _, facts = read_weights(checkpoint.with_suffix(".safetensors"))
    shape, recipe = facts["shape"], facts["recipe"]
    assert shape["widths"] == list(load_encoder("slim").widths[:4])
    assert (shape["tap"], shape["skips"]) == ("relu2_2", ["relu1_1", "relu2_1"])
    assert (shape["steered_by"], shape["last_channels"]) == (["relu2_1"], 5)
    assert (shape["coarse"], shape["coarse_channels"], shape["output"]) == (2, 16, "clamp")
    assert (recipe["gram_weight"], recipe["identity_share"]) == (10, 0.5)
    assert recipe["temporal_weight"] == 50
    assert (recipe["style_taps"], recipe["autoencoder_steps"]) == ({"relu1_1": 2, "relu3_1": 1}, 7)
    assert (facts["decay"], facts["seed"]) == (5e-5, 3)
    kept = torch.load(checkpoint, weights_only=True)["task"]
    assert (kept["crop"], kept["shorter_sides"]) == (32, [38, 38])


def test_a_run_sets_out_from_a_trained_decoder(pictures: Path) -> None:
    checkpoint = pictures / "net.pt"
    gently = ("--steps", "2", "--learning-rate", "1e-6", "--identity-weight", "300")
    assert train(pictures, checkpoint, "--start", "adain", *gently) == 0
    shipped, facts = read_weights(config.data_dir() / "weights" / "adain.safetensors")
    found, own = read_weights(checkpoint.with_suffix(".safetensors"))
    assert own["shape"] == facts["shape"]
    assert own["recipe"]["identity_weight"] == 300
    moved = [(found[name].float() - shipped[name].float()).abs().max() for name in shipped]
    assert 0 < max(moved) < 1e-3
    further = pictures / "further.pt"
    assert train(pictures, further, "--start", checkpoint.with_suffix(".safetensors"), *gently) == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--coarse", "2"], "--start brings a decoder whose shape is settled: leave out --coarse"),
        (["--encoder", "vgg19"], "adain.safetensors: was trained with the encoder"),
        (["--start", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_a_decoder_that_cannot_be_set_out_from_is_told_of(
    flags: list[str],
    sentence: str,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "--encoder" in flags:
        monkeypatch.setattr(cli.training, "load_encoder", lambda name: DEEP)
    assert train(pictures, pictures / "net.pt", "--start", "adain", *flags) in (1, 2)
    assert sentence in capsys.readouterr().err


def test_the_literatures_recipe_decodes_what_it_compares(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cli.training, "load_encoder", lambda name: {"vgg19": DEEP, "slim": load_encoder()}[name]
    )
    checkpoint = pictures / "net.pt"
    flags = ["--recipe", "style10", "--steps", "1", "--encoder", "vgg19"]
    assert train(pictures, checkpoint, *flags) == 0
    decoder = load_adain(checkpoint.with_suffix(".safetensors"), encoder=DEEP).decoder
    assert decoder.shape.tap == "relu4_1"
    other = pictures / "eyes.pt"
    flags = ["--recipe", "style10", "--steps", "1", "--eyes", "vgg19", "--tap", "relu3_1"]
    assert train(pictures, other, *flags) == 0
    _, facts = read_weights(other.with_suffix(".safetensors"))
    assert (facts["encoder"]["name"], facts["eyes"]["name"]) == ("slim", "vgg19")
    assert facts["shape"]["tap"] == "relu3_1"


def test_shards_stand_for_the_pictures_within(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = pictures / "shards"
    shards.mkdir()
    with tarfile.open(shards / "photos-00000.tar", "w") as tar:
        for path in sorted((pictures / "photos ☀").iterdir()):
            tar.add(path, path.name)
    flags = ["--steps", "2", "--tap", "relu2_1"]
    assert train(pictures, pictures / "files.pt", *flags) == 0
    assert train(pictures, pictures / "shards.pt", *flags, "--content", shards) == 0
    assert capsys.readouterr().out.count("training on 3 photos and 2 paintings") == 2
    first, second = (
        torch.load(pictures / f"{name}.pt", weights_only=True)["model"]
        for name in ("files", "shards")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("flags", [["--recipe", "perceptual"], ["--coarse", "1"], ["--decay", "1"]])
def test_another_recipe_decoder_or_rate_does_not_take_up_the_run(
    pictures: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = pictures / "net.pt"
    small = ["--tap", "relu2_1"]
    assert train(pictures, checkpoint, "--steps", "1", *small) == 0
    assert train(pictures, checkpoint, "--steps", "2", *small, *flags) == 2
    assert "was trained with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--recipe", "style10"], "recipe asks for relu4_1, which encoder 'slim'"),
        (["--tap", "relu4_1"], "tap asks for relu4_1, which encoder 'slim'"),
        (["--tap", "conv3_1"], "tap is 'conv3_1'; with 5 widths it must be 'relu3_1'"),
        (["--skips", "relu3_1"], "skips is ('relu3_1',)"),
        (["--coarse", "-1"], "coarse is -1"),
        (["--style-weight", "-1"], "style_weight is -1"),
        (["--learning-rate", "2"], "learning_rate is 2"),
        (["--crop", "34"], "crops of 34 px; this decoder and its losses take a multiple of 4 px"),
        (["--crop", "36", "--coarse", "1"], "crops of 36 px; this decoder and its losses take a"),
    ],
)
def test_what_is_wrong_with_a_training_is_said_before_the_pictures_are_read(
    flags: list[str],
    sentence: str,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli.training, "Crops", None)
    assert train(pictures, pictures / "net.pt", "--steps", "1", *flags) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--crop", "64"], "no picture of at least 64 px"),
        (["--crop", "64", "--shorter-side", "40"], "must lie in [1, shorter_side], 40"),
        (["--style", "nowhere"], "folder is 'nowhere', which is not a folder"),
        (["--checkpoint", "net.bin"], "'net.bin' must end in .pt"),
    ],
)
def test_pictures_or_files_that_cannot_be_used_are_named(
    flags: list[str],
    sentence: str,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(pictures)
    assert train(pictures, pictures / "net.pt", "--steps", "1", *flags) == 2
    assert sentence in capsys.readouterr().err
    assert not list(pictures.glob("net.*"))


@pytest.mark.parametrize(("crop", "side"), [(128, 304), (320, 320)])
def test_painted_pictures_are_never_smaller_than_the_crop(
    crop: int, side: int, pictures: Path
) -> None:
    (pictures / "large").mkdir()
    large = images.save_image(torch.rand(1, 3, 330, 330), pictures / "large" / "photo.png")
    options = argparse.Namespace(crop=crop, shorter_side=400)
    crops = cli.training._crops(options, [large.parent], painted=1)
    assert not crops.skipped
    shapes = [picture.shape for picture in crops.pictures if isinstance(picture, torch.Tensor)]
    assert shapes == [(3, 330, 330), (3, side, side)]


def test_the_help_says_what_folders_hold_and_names_no_widths(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are the encoder's."""
    assert run("train", "adain", "--help") == 0
    told = capsys.readouterr().out
    assert "--widths" not in told
    assert "WikiArt" in told


@pytest.mark.soak  # test_training.py has two processes for each model; this is by the command
def test_two_processes_train_what_one_does(pictures: Path) -> None:
    flags = ["--steps", "3", "--tap", "relu2_1", "--precision", "float32", "--device", "cpu"]
    flags += ["--temporal-weight", "50"]  # for which the net is asked twice a step
    assert train(pictures, pictures / "one.pt", *flags) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "nstlib.cli", "train", "adain", "--content", str(pictures / "photos ☀")]
    command += ["--style", str(pictures / "art"), "--checkpoint", str(pictures / "two.pt")]
    command += ["--crop", "32", "--batch", "2", "--warm-up", "1", *flags]
    root = str(Path(cli.__file__).parent.parent.parent)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    finished = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, encoding="utf-8"
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("training on 3 photos and 2 paintings") == 1, "the first tells"
    assert finished.stdout.splitlines()[-1] == str(pictures / "two.safetensors")
    one, two = (
        torch.load(pictures / f"{name}.pt", weights_only=True)["model"] for name in ("one", "two")
    )
    torch.testing.assert_close(two, one, rtol=0, atol=1e-4)
