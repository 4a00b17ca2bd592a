"""The models of the labs: the menu of fast style nets, and AdaIN."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets

from nstlib.adain import AdaIN, load_adain
from nstlib.config import data_dir
from nstlib.errors import WeightsError
from nstlib.transform_net import TransformNet, load_net
from nstlib.widgets.controls import menu_control
from nstlib.widgets.display import USERS_ERRORS, sentence

SHIPPED = "fast"
_Loader = Callable[[], TransformNet]


class NetPicker:
    """One fast style net of the user's choice: the one that ships, or a file of ``data/mine``.

    ``net`` is the net, ``name`` what it is called. A file that is no such net leaves both, and the
    menu, as they were, and is told of in a sentence.

    Args:
        first: where to begin: ``"fast"`` (what ships), a file, or a net.
    """

    def __init__(self, first: str | Path | TransformNet) -> None:
        self._loaders: dict[str, _Loader] = {SHIPPED: partial(load_net, SHIPPED), **_own_nets()}
        self.name = self._add(first)
        self.net = self._loaders[self.name]()
        tooltip = "What ships, and the files of your own nets in the folder data/mine"
        self.menu = menu_control(list(self._loaders), self.name, "Net", tooltip, 44, 180).view
        self.message = ipywidgets.HTML()
        self._followers: list[Callable[[], None]] = []
        self.menu.observe(self._pick, names="value")

    def on_change(self, follower: Callable[[], None]) -> None:
        """Call ``follower`` whenever another net has been chosen."""
        self._followers.append(follower)

    def _add(self, first: str | Path | TransformNet) -> str:
        """Make sure that the menu has what the notebook begins with; return its name there."""
        if isinstance(first, TransformNet):
            self._loaders["the notebook's net"] = lambda: first
            return "the notebook's net"
        if first not in self._loaders:
            self._loaders[Path(first).name] = partial(load_net, first)
            return Path(first).name
        return str(first)

    def _pick(self, _: Any = None) -> None:
        if self.menu.value == self.name:
            return
        try:
            net = self._loaders[self.menu.value]()
        except USERS_ERRORS as error:
            reason = str(error).partition("\n")[0]  # below it stands a list of tensors
            self.message.value = sentence(WeightsError(f"{reason.rstrip(':')}; {self.name} stays"))
            self.menu.value = self.name
            return
        self.net, self.name, self.message.value = net, self.menu.value, ""
        for follower in self._followers:
            follower()


def _own_nets() -> dict[str, _Loader]:
    """Return a loader for each file of weights in the user's own folder."""
    files = sorted((data_dir() / "mine").glob("*.safetensors"))
    return {file.name: partial(load_net, file) for file in files}


def loaded_model(model: AdaIN | str | Path | None) -> tuple[AdaIN, str]:
    """Return a model, or the one of a file, or the one that ships; and what it is called."""
    if isinstance(model, AdaIN):
        return model, "the notebook's model"
    source = "adain" if model is None else model
    return load_adain(source), Path(source).name
