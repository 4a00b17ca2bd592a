"""What widgets show: pictures, and sentences about what was done or went wrong."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
from torch import Tensor

from nstlib import images
from nstlib.errors import NstError

# What the user's own choices can bring about: told in one sentence. In a handler anything else is
# a defect of ours, and is not hidden.
USERS_ERRORS = (ValueError, TypeError, ArithmeticError, MemoryError, OSError, NstError)


def sentence(error: BaseException) -> str:
    """Return an error as one line for the page; what it quotes is the user's, and is escaped."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f'<div role="alert" style="line-height: 1.5">⚠ {html.escape(text[:1].upper() + text[1:])}.</div>'


def attempt(action: Callable[[], object], message: Any) -> bool:
    """Do what the user's choices ask for; return whether it could be done.

    ``message`` (a widget with a ``value``) then says nothing, or else in a sentence why not.

    Example:
        >>> message = ipywidgets.HTML()
        >>> attempt(lambda: images.style("vortx"), message), "vortx" in message.value
        (False, True)
    """
    try:
        action()
    except USERS_ERRORS as error:
        message.value = sentence(error)
        return False
    message.value = ""
    return True


def told(text: str) -> str:
    """Return a text (HTML) as a line for the page that screen readers announce."""
    return f'<div role="status" style="line-height: 1.5">{text}</div>'


_CONTAINED = {"object_fit": "contain", "object_position": "center top", "margin": "2px 0"}


def image_widget(data: bytes, **layout: str) -> Any:
    """Return an image widget whose size on the page does not follow its file's.

    The widget has no alt text (and its view fails when given a tooltip), so what a picture shows is
    always said in the text beside it too.
    """
    kind = "png" if data[1:4] == b"PNG" else "jpeg"
    return ipywidgets.Image(value=data, format=kind, layout=_CONTAINED | layout)


def at_most(image: Tensor, side: int) -> Tensor:
    """Return the picture, made smaller where its longer side is above ``side``."""
    height, width = image.shape[2:]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    return images.resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))


PREVIEW = 1024  # px: the longer side of what is sent to the page where the picture is larger


def preview(image: Tensor) -> bytes:
    """Return a picture as the bytes of a JPEG file that is quick to send to a page."""
    return images.to_jpeg_bytes(at_most(image, PREVIEW))


def pixels(image: Tensor) -> str:
    """Return a picture's width and height in words."""
    height, width = image.shape[2:]
    return f"{width} × {height} px"


def add_classes(named: Mapping[str, Any]) -> None:
    """Name the parts of a lab for style sheets and tests: ``style_weight`` is ``nst-style-weight``."""
    for name, widget in named.items():
        widget.add_class(f"nst-{name.replace('_', '-')}")


class Panel:
    """One of several pictures in a row, all of one height: each as wide as its aspect asks."""

    def __init__(self, title: str) -> None:
        self.widget = image_widget(b"", width="100%", max_height="440px")
        heading = ipywidgets.HTML(f'<div style="text-align: center">{title}</div>')
        self.view = ipywidgets.VBox([self.widget, heading], layout={"min_width": "0"})
        self._image: Tensor | None = None

    def show(self, image: Tensor) -> None:
        """Show a picture; nothing is sent where it is the one that is shown."""
        if image is self._image:
            return
        self._image, self.widget.value = image, preview(image)
        height, width = image.shape[2:]
        self.view.layout.flex = f"{width / height:.4f} 1 0"
