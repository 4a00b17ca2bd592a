"""Neural style transfer, from Gram matrices to serving.

Importing the package is cheap: each name below loads its module when it is first used, so that
``import nstlib`` pulls in no widget, video, web or training library.

>>> import nstlib
>>> photo = nstlib.sample("astronaut", size=64)
>>> tuple(photo.shape)
(1, 3, 64, 64)
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from nstlib.errors import ImageError, NstError, VideoError, WeightsError

if TYPE_CHECKING:
    from nstlib.encoders import load_encoder
    from nstlib.images import load_image, sample, save_image, style
    from nstlib.showing import compare, show

__version__ = "0.1.0"

# Where each lazily loaded name lives.
_HOMES = {
    "load_encoder": "encoders",
    "compare": "showing",
    "load_image": "images",
    "sample": "images",
    "save_image": "images",
    "show": "showing",
    "style": "images",
}

__all__ = [
    "ImageError",
    "NstError",
    "VideoError",
    "WeightsError",
    "__version__",
    "compare",
    "load_encoder",
    "load_image",
    "sample",
    "save_image",
    "show",
    "style",
]


def __getattr__(name: str) -> Any:
    """Load a public name, or a module of the package, the first time that it is asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"nstlib.{_HOMES[name]}"), name)
    if not name.startswith("_") and importlib.util.find_spec(f"nstlib.{name}"):
        return importlib.import_module(f"nstlib.{name}")
    raise AttributeError(f"module 'nstlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
