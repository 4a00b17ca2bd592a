"""Pictures in and out of a lab: chosen, brought by the user, made, and saved with their recipe."""

from __future__ import annotations

import html
import io
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
import torch
from torch import Tensor

from nstlib import images
from nstlib.config import data_dir
from nstlib.datasets import READABLE
from nstlib.widgets.display import (
    USERS_ERRORS,
    at_most,
    image_widget,
    pixels,
    preview,
    sentence,
    told,
)

WRAPPING = {"flex_flow": "row wrap", "align_items": "center"}

_Loader = Callable[[], Tensor]


class PicturePicker:
    """One picture of the user's choice: one that ships, one of ``data/mine``, or an upload.

    ``image`` is the picture at all its pixels, ``name`` what it is called. A file that is no
    picture leaves both as they were, and is told of in a sentence.
    """

    def __init__(
        self, title: str, kind: str, shipped: Mapping[str, _Loader], first: str | Path | Tensor
    ) -> None:
        self._title = title
        self._loaders = {**shipped, **_own_pictures()}
        self.name = self._add(first, f"the notebook's {kind}")
        self.image = self._loaders[self.name]()
        self.menu = ipywidgets.Dropdown(
            options=list(self._loaders), value=self.name, layout={"width": "auto"}
        )
        self.upload = ipywidgets.FileUpload(
            accept=",".join(READABLE),
            description="Upload",
            # A server takes no message above 10 MB, unless it is told to, and does not say so.
            tooltip=f"Your own {kind}, up to 10 MB; put a larger file into the folder data/mine",
            layout={"width": "auto"},
        )
        self.thumbnail = image_widget(self._thumbnail_bytes(), height="90px")
        self.message = ipywidgets.HTML()
        heading = ipywidgets.HTML(f"<b>{title}</b>")
        parts = [heading, self.thumbnail, self.menu, self.upload, self.message]
        self.view = ipywidgets.VBox(parts, layout={"width": "50%"})
        self._followers: list[Callable[[], None]] = []
        self.menu.observe(self._pick, names="value")
        self.upload.observe(self._receive, names="value")

    def on_change(self, follower: Callable[[], None]) -> None:
        """Call ``follower`` whenever another picture has been chosen."""
        self._followers.append(follower)

    def line(self) -> Any:
        """Return the menu, named by the title, and the button beside it."""
        self.menu.description, self.menu.style.description_width = self._title, "44px"
        self.menu.layout.width = "230px"
        return ipywidgets.HBox([self.menu, self.upload])

    def _add(self, first: str | Path | Tensor, name: str) -> str:
        """Make sure that the menu has what the notebook begins with; return its name there."""
        if isinstance(first, Tensor):
            self._loaders[name] = lambda: first
            return name
        if first not in self._loaders:
            self._loaders[Path(first).name] = partial(images.load_image, Path(first))
            return Path(first).name
        return str(first)

    def _pick(self, _: Any = None) -> None:
        name = self.menu.value
        image = self._read(self._loaders[name])
        if image is not None:
            self._take(name, image)

    def _receive(self, _: Any = None) -> None:
        if not self.upload.value:
            return
        file = self.upload.value[0]
        # The file is kept, not the picture, which takes ten times as much.
        load = partial(_uploaded, file["name"], bytes(file["content"]))
        image = self._read(load)
        if image is not None:
            self._loaders[file["name"]] = load
            # A menu that is given options goes to its first, which nobody picked.
            self.menu.unobserve(self._pick, names="value")
            self.menu.options, self.menu.value = list(self._loaders), file["name"]
            self.menu.observe(self._pick, names="value")
            self._take(file["name"], image)
        self.upload.value = ()  # so that the same file, mended, can be sent again

    def _read(self, load: _Loader) -> Tensor | None:
        """Return a picture, or say in a sentence why not: a file may be damaged, or gone."""
        try:
            return load()
        except USERS_ERRORS as error:
            self.message.value = sentence(error)
            return None

    def _take(self, name: str, image: Tensor) -> None:
        """Show another picture, and tell the followers."""
        self.image, self.name, self.message.value = image, name, ""
        self.thumbnail.value = self._thumbnail_bytes()
        for follower in self._followers:
            follower()

    def _thumbnail_bytes(self) -> bytes:
        return images.to_jpeg_bytes(at_most(self.image, 320))


def photo_picker(first: str | Path | Tensor) -> PicturePicker:
    """Return a picker of photos; what ships are the samples."""
    photos = {name: partial(images.sample, name) for name in images.sample_names()}
    return PicturePicker("Photo", "photo", photos, first)


def style_picker(first: str | Path | Tensor) -> PicturePicker:
    """Return a picker of paintings; what ships are the painted styles."""
    paintings = {name: partial(images.style, name) for name in images.style_names()}
    return PicturePicker("Style", "painting", paintings, first)


def _uploaded(name: str, content: bytes) -> Tensor:
    """Return the picture in a file; an error calls it by its name."""
    stream = io.BytesIO(content)
    stream.name = name
    return images.load_image(stream)


def _own_pictures() -> dict[str, _Loader]:
    """Return a loader for each picture in the user's own folder."""
    folder = data_dir() / "mine"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    pictures = [file for file in files if file.suffix.lower() in READABLE]
    return {file.name: partial(images.load_image, file) for file in pictures}


# ------------------------------------------------------------------------------------------- made


@dataclass(frozen=True)
class Result:
    """A picture, how long it took, and on what."""

    image: Tensor  # (1, 3, H, W)
    seconds: float
    place: str


def timed(paint: Callable[[], Tensor], device: torch.device) -> Result:
    """Return what ``paint`` returns, and how long ``device`` took for it.

    Example:
        >>> timed(lambda: torch.rand(1, 3, 24, 32), torch.device("cuda")).place
        'cuda'
    """
    began = time.perf_counter()
    image = paint()
    seconds = time.perf_counter() - began
    threads = torch.get_num_threads()
    cores = f"{threads} thread{'s' if threads > 1 else ''}"
    return Result(image, seconds, cores if device.type == "cpu" else device.type)


def draw(result: Result) -> bytes:
    """Return the picture as the bytes of a JPEG file: a longer side above 1024 px becomes that.

    Example:
        >>> draw(Result(torch.rand(1, 3, 24, 32), 0.1, "2 threads"))[6:10]
        b'JFIF'
    """
    return preview(result.image)


def took(seconds: float) -> str:
    """Return the time of an answer in words.

    Example:
        >>> took(0.143), took(2.44)
        ('143 ms', '2.4 s')
    """
    milliseconds = 1000 * seconds
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{seconds:.1f} s"


def caption(result: Result) -> str:
    """Return what a picture cost, in words.

    Example:
        >>> caption(Result(torch.rand(1, 3, 24, 32), 0.143, "2 threads"))
        '32 × 24 px in 143 ms on 2 threads'
    """
    return f"{pixels(result.image)} in {took(result.seconds)} on {result.place}"


# ------------------------------------------------------------------------------------------ saved


def save_button(tooltip: str) -> Any:
    """Return the button that saves a picture."""
    return ipywidgets.Button(
        description="Save", icon="save", tooltip=tooltip, layout={"width": "104px"}
    )


def save(write: Callable[[], tuple[str, Path]], button: Any, message: Any) -> Path | None:
    """Let ``write`` make a file, and tell in ``message`` what was saved where.

    ``write`` returns what it wrote, in words, and where. The button rests meanwhile. What cannot be
    written is told in a sentence, and None returned.
    """
    was_disabled, button.disabled = button.disabled, True
    try:
        what, path = write()
    except USERS_ERRORS as error:
        message.value = sentence(error)
        return None
    finally:
        button.disabled = was_disabled
    message.value = saved(what, path)
    return path


def save_picture(
    paint: Callable[[], Tensor],
    where: tuple[Path, str, Mapping[str, Any]],
    button: Any,
    message: Any,
) -> Path | None:
    """Write what ``paint`` returns as a PNG: ``where`` is the folder, the stem of its name, its recipe."""
    folder, stem, recipe = where

    def write() -> tuple[str, Path]:
        image = paint()
        return pixels(image), images.save_image(image, free_path(folder, stem, ".png"), recipe)

    return save(write, button, message)


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """Return a path, in the folder (made where it is missing), that no file has yet.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     first = free_path(Path(place) / "out", "waves", ".mp4")
        ...     first.touch()
        ...     first.name, free_path(first.parent, "waves", ".mp4").name
        ('waves-1.mp4', 'waves-2.mp4')
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / f"{stem}-{number}{suffix}" for number in itertools.count(1))
    return next(path for path in paths if not path.exists())


def saved(what: str, path: Path) -> str:
    """Return the line for the page that tells what lies where; a path is the user's, and is escaped.

    Example:
        >>> saved("24 frames", Path("/tmp/<b>.mp4"))
        '<div role="status" ...>Saved, 24 frames: <code>...&lt;b&gt;.mp4</code></div>'
    """
    return told(f"Saved, {what}: <code>{html.escape(str(path.resolve()))}</code>")
