"""Pictures in and out of a lab: chosen, brought by the user, and saved with their recipe."""

from __future__ import annotations

import html
import io
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
from torch import Tensor

from nstlib import images
from nstlib.config import data_dir
from nstlib.widgets.display import USERS_ERRORS, at_most, image_widget, pixels, sentence, told

_PICTURE_FILES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"),
    *(".gif", ".heic", ".heif", ".avif", ".bmp"),
)
_Loader = Callable[[], Tensor]


class PicturePicker:
    """One picture of the user's choice: one that ships, one of ``data/mine``, or an upload.

    ``image`` is the picture at all its pixels, ``name`` what it is called. A file that is no
    picture leaves both as they were, and is told of in a sentence.
    """

    def __init__(
        self, title: str, kind: str, shipped: Mapping[str, _Loader], first: str | Path | Tensor
    ) -> None:
        self._loaders = {**shipped, **_own_pictures()}
        self.name = self._add(first, f"the notebook's {kind}")
        self.image = self._loaders[self.name]()
        self.menu = ipywidgets.Dropdown(
            options=list(self._loaders), value=self.name, layout={"width": "auto"}
        )
        self.upload = ipywidgets.FileUpload(
            accept=",".join(_PICTURE_FILES),
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
        try:
            self.image = self._loaders[self.menu.value]()
        except USERS_ERRORS as error:  # a file of data/mine may be damaged, or gone
            self.message.value = sentence(error)
            return
        self.name, self.message.value = self.menu.value, ""
        self.thumbnail.value = self._thumbnail_bytes()
        for follower in self._followers:
            follower()

    def _receive(self, _: Any = None) -> None:
        if not self.upload.value:
            return
        file = self.upload.value[0]
        stream = io.BytesIO(file["content"])
        stream.name = file["name"]  # what an error calls it
        try:
            image = images.load_image(stream)
        except USERS_ERRORS as error:
            self.message.value = sentence(error)
        else:
            self._loaders[file["name"]] = lambda: image
            # A menu that is given options goes to its first, which nobody picked.
            self.menu.unobserve(self._pick, names="value")
            self.menu.options, self.menu.value = list(self._loaders), file["name"]
            self.menu.observe(self._pick, names="value")
            self._pick()
        self.upload.value = ()  # so that the same file, mended, can be sent again

    def _thumbnail_bytes(self) -> bytes:
        return images.to_jpeg_bytes(at_most(self.image, 320))


def _own_pictures() -> dict[str, _Loader]:
    """Return a loader for each picture in the user's own folder."""
    folder = data_dir() / "mine"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    pictures = [file for file in files if file.suffix.lower() in _PICTURE_FILES]
    return {file.name: partial(images.load_image, file) for file in pictures}


def save_picture(
    image: Tensor, folder: Path, stem: str, recipe: Mapping[str, Any], message: Any
) -> Path | None:
    """Write a picture with its recipe under a name that is free, and tell where in ``message``.

    What cannot be written is told in a sentence, and None returned.
    """
    try:
        path = images.save_image(image, _free_path(folder, stem), recipe)
    except USERS_ERRORS as error:
        message.value = sentence(error)
        return None
    place = html.escape(str(path.resolve()))
    message.value = told(f"Saved, {pixels(image)}: <code>{place}</code>")
    return path


def _free_path(folder: Path, stem: str) -> Path:
    """Return a path, in the folder (made where it is missing), that no file has yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / f"{stem}-{number}.png" for number in itertools.count(1))
    return next(path for path in paths if not path.exists())
