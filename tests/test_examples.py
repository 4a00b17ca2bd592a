"""Every command that a page or a help shows is run, and makes what it says it makes.

They run as they stand, in this process, in a folder that holds what they name, each page's one after
the other. So that this takes seconds, the pictures are small, flags are added that cut the work short,
as a reader in a hurry would, and what stands on two pages runs once. The server of the README runs in
a process of its own, and is asked by the curl line beside it.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from command_line import run
from fastapi import FastAPI
from safetensors.torch import save_file
from torch import Tensor

from nstlib import (
    cli,
    images,
    masks,
    painting,
    video,
)
from nstlib.benchmarks import contenders, methods, whole
from nstlib.benchmarks import control as benchmarks_control
from nstlib.benchmarks import video as benchmarks_video
from nstlib.config import data_dir
from nstlib.encoders import VGG19_WIDTHS, conv_names, random_encoder, torchvision_indices
from nstlib.evaluation import adain as evaluation_adain
from nstlib.evaluation import judging
from nstlib.evaluation import video as evaluation_video
from nstlib.kernels import benchmark as kernel_benchmark
from nstlib.serving import runner

pytest.importorskip("av")

ONCE = functools.cache(random_encoder)  # twenty million random weights take half a second
PAINTED_ONCE = functools.cache(painting.random)  # each training would paint the same picture
SMALL = 64  # px: the shorter side of every picture that is loaded

# Added where a command has the flag: the last one counts.
IN_A_HURRY = {
    "--autoencoder-steps": "1",
    "--batch": "2",
    "--columns": "3",
    "--crop": "32",
    "--gatys-pairs": "1",
    "--large": "80 96",
    "--painted": "1",
    "--pairs": "pairs.csv",
    "--photo-count": "1",
    "--rehearsed": "1",
    "--repeats": "2",
    "--runs": "2",
    "--seconds": "0.4",
    "--shown": "48",
    "--size": "64",
    "--steps": "3",  # as many as there are sizes of Gatys' ladder
    "--style-count": "1",
    "--style-size": "48",
    "--warm-up": "2",
}
OF_ONE_COMMAND = {
    "nst bench": "--quick",
    "nst bench video": "--frames",
    "nst evaluate fast": "--style-weights 1",
    "nst evaluate video": "--frames 3 --style vortex",
    "nst serve": "--port 0 --style-size 48",  # any port that is free
}


# ---------------------------------------------------------------------------- where commands stand


def commands_in(text: str) -> list[str]:
    """Return the lines of a text that are commands, with those that go on in the next joined."""
    text = re.sub(r"\\\n *", "", text)
    lines = re.findall(r"^ *((?:nst|torchrun|curl) .*)$", text, flags=re.MULTILINE)
    alone = [re.sub(r" +#.*", "", line) for line in lines]
    within = re.findall(r"`(nst [^`]* -[^`]*)`", text)  # such as `nst bench gatys --profile`
    return list(dict.fromkeys(alone + within))


def sources() -> dict[str, list[str]]:
    """Return the commands of each page, and of each command's help."""
    root = Path(__file__).resolve().parent.parent
    pages = [root / "README.md", *sorted((root / "book").glob("*.md"))]
    pages += sorted((root / "data").rglob("*.md"))
    texts = {page.relative_to(root).as_posix(): page.read_text(encoding="utf-8") for page in pages}
    helps: list[argparse.ArgumentParser] = [cli._parser()]
    for parser in helps:
        texts[f"{parser.prog} --help"] = parser.format_help().partition("\nexamples:\n")[2]
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                helps += action.choices.values()
    found: dict[str, list[str]] = {}
    for name, text in texts.items():
        before = set().union(*found.values())
        new = [command for command in commands_in(text) if command not in before]
        found[name] = [command for command in new if not measures(command)]
        found[f"nst bench in {name}"] = [command for command in new if measures(command)]
    return {name: commands for name, commands in found.items() if commands}


def measures(command: str) -> bool:
    """Whether a command times what it runs, again and again: ``make soak`` has the time."""
    return command.startswith("nst bench")


SOURCES = sources()


def test_commands_are_found_where_they_stand() -> None:
    assert {"README.md", "data/mine/README.md", "data/weights/adain.md"} <= SOURCES.keys()
    assert "nst gatys astronaut vortex -o picture.png" in SOURCES["README.md"]
    (first, *_) = SOURCES["data/weights/adain.md"]
    assert first.startswith("nst train adain --content PHOTOS")
    assert first.endswith("--checkpoint runs/first.pt")  # three lines on
    assert SOURCES["nst bench in data/weights/adain.md"] == [
        "nst bench adain --size 256 512 --large 4000 6000"
    ]


# ----------------------------------------------------------------------------- what they are run on


def picture(seed: int) -> Tensor:
    """A picture (1, 3, 64, 96) that is no other: something bright in the middle, and dark around."""
    dots = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(seed))
    dots[..., 4:12, 8:16] += 2
    return images.resize(dots / 3, (64, 96)).clamp(0, 1)


def fill(folder: Path, *names: str) -> None:
    """Write pictures into a folder, of which one is held out from any training."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        images.save_image(picture(seed), folder / name)
    (folder / "MANIFEST.csv").write_text(f"path,split\n{names[-1]},held-out\n", encoding="utf-8")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a VGG-19 of random weights, down to the deepest tap that an example asks for."""
    folder = tmp_path_factory.mktemp("weights")
    state, generator, before = {}, torch.Generator().manual_seed(0), 3
    for (layer, _), width in zip(conv_names(), VGG19_WIDTHS[:9], strict=False):
        name = f"features.{torchvision_indices()[layer]}"
        spread = (2 / (9 * before)) ** 0.5
        state[f"{name}.weight"] = torch.randn(width, before, 3, 3, generator=generator) * spread
        state[f"{name}.bias"] = torch.zeros(width)
        before = width
    save_file(state, folder / "vgg19.safetensors")
    return folder


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the examples name."""
    place = tmp_path_factory.mktemp("named")
    for folder in ("holiday", "paintings", "photos", "coco/train2017", "wikiart"):
        fill(place / folder, "1.jpg", "2.png", "3.jpg")
    for folder in ("PHOTOS", "PAINTINGS", "PAINTED", "data/styles"):
        fill(place / folder, "1.jpg", "2.png", "3.jpg")
    fill(place / "data/mine", "photo.jpg", "painting.jpg")
    fill(place, "a.jpg", "b.jpg", "painting.jpg", "photo.jpg")
    upper = (torch.arange(64) < 30).float().view(1, 1, 64, 1).expand(1, 1, 64, 96)
    masks.save_mask(upper, place / "sky.png")
    for folder in ("FOLDER", "PICTURES", "pictures"):
        fill(place / folder / "content", "1.jpg")
        fill(place / folder / "style", "1.jpg")
    shutil.copy(data_dir() / "weights" / "fast.safetensors", place / "net.safetensors")
    pairs = "content,style\ncontent/1.jpg,style/1.jpg\n"
    (place / "pairs.csv").write_text(pairs, encoding="utf-8")
    frames = torch.cat([picture(0).roll(step, dims=3) for step in range(4)])
    for name in ("clip.mp4", "clip.mov", "holiday.mov"):
        video.write(place / "made.mp4", frames, 10).rename(place / name)
    return place


@pytest.fixture
def place(named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, in which commands run."""
    shutil.copytree(named, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def in_a_hurry(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pictures be small, and what no flag says be little."""
    load = images.load_image

    @functools.wraps(load)
    def small(source: Any, size: int | None = None, crop: bool = False, **given: Any) -> Tensor:
        return load(source, min(size or SMALL, SMALL), crop, **given)

    monkeypatch.setattr(images, "load_image", small)
    monkeypatch.setattr(methods, "random_encoder", ONCE)
    monkeypatch.setattr(contenders, "random_encoder", ONCE)
    monkeypatch.setattr(painting, "random", PAINTED_ONCE)
    size, _, *others = methods.gatys_parts.__defaults__ or ()
    monkeypatch.setattr(methods.gatys_parts, "__defaults__", (size, 1, *others))  # a step
    monkeypatch.setattr(judging, "SIZE", SMALL)
    monkeypatch.setattr(judging.SETTINGS, "steps", 2)
    _, *further = evaluation_adain.evaluate_gatys.__defaults__ or ()
    monkeypatch.setattr(evaluation_adain.evaluate_gatys, "__defaults__", ((1, 2), *further))
    monkeypatch.setattr(benchmarks_video, "FRAMES", 8)
    monkeypatch.setattr(evaluation_video, "WEIGHTS", (0.0, 0.7))
    monkeypatch.setattr(
        painting.clip, "__defaults__", (48, SMALL, 96, *painting.clip.__defaults__[3:])
    )
    monkeypatch.setattr(painting, "Kind", Literal["still", "pan"])
    plan = whole.plan
    monkeypatch.setattr(whole, "plan", lambda *a, **given: plan(*a, **given)[1:2])
    monkeypatch.setattr(whole, "PAIRS", whole.PAIRS[:1])
    monkeypatch.setattr(benchmarks_control, "PHOTO", "coffee")  # a small cup can be cut out
    monkeypatch.setattr(benchmarks_control, "STROKES", (2,))
    monkeypatch.setattr(kernel_benchmark, "ENTRIES", {"gram": kernel_benchmark.ENTRIES["gram"]})
    monkeypatch.setattr(kernel_benchmark, "COURSE", ((1, 16, 24, 32),))
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(weights))


# ------------------------------------------------------------------------------------------ running


def hurried(command: str) -> list[str]:
    """Return the words of a command, with those that cut its work short.

    Where a shell would start several processes, this one does the work alone: that several do the
    same is shown in test_cli_adain_training.py.
    """
    words = shlex.split(command.partition(" nstlib.cli ")[2] or command[4:], comments=True)
    options, _ = cli._parser().parse_known_args(words)
    known = options.command._option_string_actions.keys()
    if getattr(options, "net", None) or getattr(options, "model", None):
        known -= {"--steps", "--style-size"}  # which not every such model takes
    more = [
        f"{flag} {value}"
        for flag, value in IN_A_HURRY.items()
        if flag in known and not is_small(words, flag, value)
    ]
    if "--width" in known and options.start is None:
        more.append("--width 0.25 --blocks 1")
    return words + shlex.split(" ".join([*more, OF_ONE_COMMAND.get(options.command.prog, "")]))


def is_small(words: list[str], flag: str, value: str) -> bool:
    """Whether a command asks for no more by itself: then it stands as it is."""
    asked = words[words.index(flag) + 1] if flag in words else "inf"
    return bool(re.fullmatch(r"[\d.]+", asked)) and float(asked) <= float(value.split()[0])


def state_of(place: Path) -> dict[Path, int]:
    """When each file was last written."""
    return {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}


def check_opens(path: Path) -> None:
    """Open a file as what its name says that it is."""
    if path.suffix in images.WRITABLE:
        assert min(images.load_image(path).shape[2:]) > 1
    elif path.suffix in video.FASTEST:
        assert len(list(video.read(path))) > 1
    elif path.suffix == ".json":
        assert json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".pt":
        assert torch.load(path, weights_only=True)["step"] > 0
    else:
        assert path.stat().st_size > 0


@pytest.mark.parametrize(
    "source",
    [pytest.param(name, marks=pytest.mark.soak) if measures(name) else name for name in SOURCES],
)
def test_commands_run_and_make_what_they_name(
    source: str,
    place: Path,
    in_a_hurry: None,
    served_once: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in SOURCES[source]:
        if command.startswith("curl "):
            continue  # it has a test of its own
        if command.endswith("--help"):
            assert run(*command.split()[1:]) == 0
            continue
        words = hurried(command)
        before = state_of(place)
        code = run(*words)
        said = capsys.readouterr()
        assert code == 0, f"{command}\n{said.err}"
        assert said.out, command
        options = cli._parser().parse_args(words)
        made = {path for path, when in state_of(place).items() if before.get(path) != when}
        for kind in ("out", "whole_out", "checkpoint"):
            if named := getattr(options, kind, None):
                named = place / named
                assert any(path == named or named in path.parents for path in made), command
        for path in made:
            check_opens(path)


# ------------------------------------------------------------------------------------------ serving


@pytest.fixture
def served_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers end when they have answered: else they run until Ctrl-C."""

    def serve(app: FastAPI, listener: socket.socket) -> None:
        with runner.running(app) as address, urllib.request.urlopen(f"{address}/healthz") as answer:
            assert json.load(answer)["status"] == "ok"

    monkeypatch.setattr(runner, "serve", serve)


@pytest.fixture
def ctrl_c_is_heeded() -> Iterator[None]:
    """Let what is started heed Ctrl-C, also where these tests run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_server_of_the_readme_answers_the_curl_line_beside_it(
    place: Path, ctrl_c_is_heeded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand but for the port, which may be taken, and styles that are seen small."""
    (serve, ask) = (
        command
        for command in SOURCES["README.md"]
        if command.startswith(("nst serve", "curl")) and "--help" not in command
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    assert "8000" in serve
    assert "8000" in ask
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    _, *words = shlex.split(f"{serve} --style-size 48".replace("8000", port))
    process = subprocess.Popen(
        [sys.executable, "-m", "nstlib.cli", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()  # it is said once the port is bound
        assert address == f"http://127.0.0.1:{port}"
        assert subprocess.run(shlex.split(ask.replace("8000", port)), timeout=60).returncode == 0
        assert (place / "out.png").read_bytes().startswith(b"\x89PNG")
        photo, painted = (images.load_image(place / name) for name in ("photo.jpg", "out.png"))
        assert painted.shape == photo.shape
        assert (painted - photo).abs().mean() > 0.02
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130  # as `nst --help` says of Ctrl-C
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
