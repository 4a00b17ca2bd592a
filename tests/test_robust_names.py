"""Names that a shell, a terminal or a library may stumble over, no home, and one bad file in many."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run

from nstlib import cli, config, images, masks, video, weights
from nstlib.cli.flags import find_picture
from nstlib.datasets import Crops, picture_paths
from nstlib.decoding import _FORMATS
from nstlib.errors import ImageError
from nstlib.files import expanded
from nstlib.transform_net import TransformNet

PHOTO = images.load_image(torch.arange(24 * 30 * 3).view(24, 30, 3).remainder(256).byte().numpy())
TOO_LONG = "n" * 300

STEMS = [
    "a b", "it's", '"quoted"', "é 😀", "two\nlines", "-a", "--debug", "~$letter", "~nobody-at-all",
    "%03d", "$(ls)", "*?[a]", "file:a", "a.b.", "n" * 240,
]  # fmt: skip
NO_TEXT = os.fsdecode(b"\xff\xfe")
if sys.platform == "linux":  # where a name may be any bytes
    STEMS.append(NO_TEXT)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that names are seen from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(name: str) -> None:
    """Write a picture under a name, however odd."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(images.to_png_bytes(PHOTO))


unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has few such names")


@unix
@pytest.mark.parametrize("stem", STEMS)
def test_any_name_is_written_and_read(stem: str, here: Path) -> None:
    path = images.save_image(PHOTO, f"{stem}.png", {"content": stem})
    assert os.listdir() == [f"{stem}.png"]
    for found in (images.load_image(path), images.load_image(str(path)), find_picture(str(path))):
        assert torch.equal(found, PHOTO)
    assert images.read_recipe(path)["content"] == stem
    masks.save_mask(PHOTO[:, :1], f"{stem}.png")
    assert torch.allclose(masks.load_mask(f"{stem}.png"), PHOTO[:, :1])
    weights.save_checkpoint({"a": torch.ones(1)}, Path(f"{stem}.pt"))
    assert torch.load(f"{stem}.pt")["a"].item() == 1
    assert sorted(os.listdir()) == sorted([f"{stem}.png", f"{stem}.pt"])
    if stem == NO_TEXT:  # safetensors' own reader says that it takes none such
        return
    weights.save_weights({"a": torch.ones(1)}, Path(f"{stem}.safetensors"), {"style": stem})
    state, facts = weights.read_weights(Path(f"{stem}.safetensors"))
    assert (state["a"].item(), facts) == (1, {"style": stem})


@unix
@pytest.mark.parametrize("stem", ["two\nlines", "-a", "~$letter", "*?[a]", "n" * 240])
def test_any_name_is_a_clips(stem: str, here: Path) -> None:
    for suffix in (".gif", ".mp4"):
        clip = video.read(video.write(f"{stem}{suffix}", PHOTO))
        assert len(list(clip)) == 1
    assert sorted(os.listdir()) == [f"{stem}.gif", f"{stem}.mp4"]


@unix
def test_a_folder_of_odd_names_is_painted(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen from within, so that their beginnings are the arguments' own."""
    monkeypatch.setattr(TransformNet, "stylize", lambda _, content, *_rest, **_turned: content)
    for stem in STEMS:
        make(f"photos/{stem}.png")
    monkeypatch.chdir("photos")
    assert run("fast", ".", "-o", "../out") == 0
    assert capsys.readouterr().out == f"../out: {len(STEMS)} of {len(STEMS)} pictures\n"
    assert sorted(os.listdir("../out")) == sorted(f"{stem}.png" for stem in STEMS)


@unix
def test_a_name_of_several_lines_is_complained_of_in_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos").mkdir()
    Path("photos/two\nlines.png").write_bytes(b"no picture")
    make("photos/a.png")
    for command in (
        ["fast", "photos", "-o", "out"],
        ["fast", "photos/two\nlines.png", "-o", "a.png"],
        ["fast", "no\nbody.png", "-o", "a.png"],
        ["video", "no\nbody.mp4", "vortex", "-o", "a.mp4"],
        ["fast", "photos/a.png", "-o", "a.png", "a\nword"],
    ):
        assert run(*command) in (1, 2)
        assert capsys.readouterr().err.count("\n") == 1


def test_a_name_that_begins_with_a_dash_stands_after_two(here: Path) -> None:
    make("-a.png")
    assert run("fast", "-o", "b.png", "--", "-a.png") == 0
    assert Path("b.png").is_file()


TOO_LONG_COMMANDS = [
    ["fast", f"{TOO_LONG}.png", "-o", "a.png"],
    ["fast", "photo.png", "-o", f"{TOO_LONG}.png"],
    ["fast", "photo.png", "--net", TOO_LONG, "-o", "a.png"],
    ["adain", "photo.png", TOO_LONG, "-o", "a.png"],
    ["adain", "photo.png", "vortex", "--mask", TOO_LONG, "-o", "a.png"],
    ["gatys", "photo.png", "vortex", "--size", "32", "--init", TOO_LONG, "-o", "a.png"],
    ["video", f"{TOO_LONG}.mp4", "vortex", "-o", "a.mp4"],
    ["train", "fast", "--style", TOO_LONG, "--content", ".", "--checkpoint", "a.pt"],
    ["train", "fast", "--style", "vortex", "--content", TOO_LONG, "--checkpoint", "a.pt"],
    ["paint", "vortex", "--size", "32", "-o", f"{TOO_LONG}.png"],
    ["paint", "vortex", "--size", "32", "-o", f"{TOO_LONG}/a.png"],
]


@pytest.mark.parametrize("command", TOO_LONG_COMMANDS, ids=lambda words: " ".join(words)[:40])
def test_a_name_that_is_too_long_is_a_line(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("photo.png")
    assert run(*command) in (1, 2)
    said = capsys.readouterr().err
    assert said.startswith("nst: ")
    assert said.count("\n") == 1
    assert "Error" not in said
    assert os.listdir() == ["photo.png"]


def test_a_null_byte_is_no_name() -> None:
    with pytest.raises(ImageError, match="cannot be read: embedded null"):
        images.load_image("a\0b.png")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reads another variable")
def test_a_tilde_is_the_home_folder_where_it_stands_for_one(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    make("home/a.png")
    assert expanded("~/a.png") == here / "home" / "a.png"
    assert expanded("~nobody-at-all/a.png") == Path("~nobody-at-all/a.png")
    assert run("fast", "~/a.png", "-o", "~/b.png") == 0
    assert sorted(path.name for path in here.rglob("*.png")) == ["a.png", "b.png"]
    assert os.listdir() == ["home"], "and no folder is called ~"


@unix
@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_what_a_terminal_cannot_show_does_not_end_a_run(
    encoding: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(TransformNet, "stylize", lambda _, content, *_rest, **_turned: content)
    make("photo.png")
    for name in ("😀.png", f"{NO_TEXT}.png" if sys.platform == "linux" else "ÿ.png"):
        assert cli.main(["fast", "photo.png", "-o", name]) == 0
        assert Path(name).is_file()
    assert written.getvalue().count(b"\n") == 2


# ------------------------------------------------------------------------------- home and caches

NO_HOME = """
import sys
from pathlib import Path
import torch
from nstlib import cli, flow
from nstlib.encoders import find_vgg19_weights
assert find_vgg19_weights() is None and flow.find_raft_weights() is None
for command in sys.argv[1:]:
    code = cli.main(command.split())
    assert code == 0, (command, code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps homes elsewhere")
def test_without_a_home_or_a_place_for_caches_all_works(tmp_path: Path) -> None:
    """Neither can be written, nor even looked into; no variable says where else to."""
    file = tmp_path / "file"
    file.write_text("no folder")
    nowhere = {
        name: str(file / "nowhere")
        for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TORCH_HOME", "TRITON_CACHE_DIR")
    }
    names = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "OMP_NUM_THREADS", "TMPDIR")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    commands = [
        "doctor",
        "demo -o demo.png",
        "gatys coffee vortex --size 48 --preset default --steps 1 -o gatys.png",
    ]
    ended = subprocess.run(
        [sys.executable, "-c", NO_HOME, *commands],
        cwd=tmp_path,
        env=kept | nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["demo.png", "file", "gatys.png"]


def test_a_user_without_a_name_or_a_home_has_paths_as_they_are(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container that runs under a number that nobody has."""
    pwd = pytest.importorskip("pwd", reason="Unix has this file of users")

    def unknown(_: Any) -> None:
        raise KeyError("uid not found")

    for name in ("getpwuid", "getpwnam"):
        monkeypatch.setattr(pwd, name, unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("NSTLIB_WEIGHTS", "~/weights")
    assert config.weights_dirs() == [Path("~/weights")]
    assert run("doctor") == 0
    assert "NSTLIB_WEIGHTS names ~/weights" in capsys.readouterr().out
    assert run("paint", "vortex", "--size", "32", "-o", "a.png") == 0


# ------------------------------------------------------------------------------- one bad in many


@pytest.fixture
def hundred(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 99 pictures and one that is none."""
    monkeypatch.setattr(TransformNet, "stylize", lambda _, content, *_rest, **_turned: content)
    make("photos/000.png")
    for number in range(1, 100):
        shutil.copy("photos/000.png", f"photos/{number:03d}.png")
    Path("photos/050.png").write_bytes(b"no picture")
    return here / "photos"


def test_ninety_nine_of_a_hundred_are_painted_and_the_bad_one_named(
    hundred: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fast", "photos", "-o", "out") == 1
    said = capsys.readouterr()
    assert said.out == "out: 99 of 100 pictures\n"
    (line,) = said.err.splitlines()
    assert line.startswith("nst: left out: 'photos/050.png' is not a picture")
    assert len(os.listdir("out")) == 99


TRAINING = """
train fast --style vortex --style-size 32 --content photos --crop 12 --width 0.25 --steps 1
--batch 1 --checkpoint net.pt
"""


def test_ninety_nine_of_a_hundred_are_trained_on_and_the_bad_one_named(
    hundred: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = Crops(picture_paths(hundred), crop=8)
    assert len(crops) == 99
    (line,) = crops.skipped
    assert f"'{hundred / '050.png'}' is not a picture" in line
    assert run(*shlex.split(TRAINING)) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("left out: 'photos/050.png' is not a picture")
    assert told[1] == "left out: 1 in all"


# Pillow's names of what it writes, and suffixes that such files have.
WRITTEN = {
    "JPEG": (".jpg", ".JPEG", ".jpe", ".jfif"), "PNG": (".png", ".PNG"), "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"), "GIF": (".gif",), "HEIF": (".heic", ".heif"), "BMP": (".bmp",),
    "AVIF": (".avif",),
}  # fmt: skip


def test_no_kind_of_picture_that_can_be_read_is_passed_over_in_silence(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    assert set(WRITTEN) == set(_FORMATS)
    wanted = []
    for kind, suffixes in WRITTEN.items():
        for suffix in suffixes:
            path = tmp_path / f"{kind}{suffix}"
            images.Image.fromarray(images.to_uint8(PHOTO)).save(path, kind)
            assert images.load_image(path).shape == PHOTO.shape
            wanted.append(path)
    assert picture_paths(tmp_path) == sorted(wanted)
