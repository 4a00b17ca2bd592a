"""Clips: read frame by frame, stylised, written as MP4 or GIF, and shown in the page of a notebook.

A frame is an image (1, 3, H, W) in [0, 1]; a clip is any iterable of them, all of one size.
"""

from nstlib.video.carrying import carried
from nstlib.video.moving import Motion, motions
from nstlib.video.reading import Frame, Reader, read
from nstlib.video.showing import Clip, display
from nstlib.video.steadying import TEMPORAL_WEIGHT, steady
from nstlib.video.stylizing import stylize
from nstlib.video.writing import FASTEST, write

__all__ = [
    "FASTEST",
    "TEMPORAL_WEIGHT",
    "Clip",
    "Frame",
    "Motion",
    "Reader",
    "carried",
    "display",
    "motions",
    "read",
    "steady",
    "stylize",
    "write",
]
