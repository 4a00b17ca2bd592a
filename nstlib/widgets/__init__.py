"""Live controls for notebooks: the labs, and small sliders over any function.

Widgets only wire: what is computed lives in the methods' modules, and what is drawn in pure
functions, so that a plain cell, or a test, can draw the same without controls.
"""

from __future__ import annotations

from nstlib.widgets.adain_lab import AdaINLab
from nstlib.widgets.browser import SampleBrowser
from nstlib.widgets.clip_player import ClipPlayer
from nstlib.widgets.controls import (
    Control,
    choice_control,
    full_words,
    layer_boxes,
    range_control,
)
from nstlib.widgets.curves import Record, draw_losses, figure_bytes
from nstlib.widgets.explorer import Explorer, explore
from nstlib.widgets.fast_lab import FastLab
from nstlib.widgets.gatys_lab import GatysLab
from nstlib.widgets.mask_brush import MaskBrush
from nstlib.widgets.mask_lab import MaskLab
from nstlib.widgets.mix_lab import MixLab
from nstlib.widgets.mixer import StyleMixer
from nstlib.widgets.nets import NetPicker
from nstlib.widgets.pad_lab import PadLab
from nstlib.widgets.pictures import PicturePicker
from nstlib.widgets.progress import Throttle, work_done
from nstlib.widgets.serving_lab import ServingLab
from nstlib.widgets.style_pad import StylePad
from nstlib.widgets.video_lab import VideoLab

__all__ = [
    "AdaINLab",
    "ClipPlayer",
    "Control",
    "Explorer",
    "FastLab",
    "GatysLab",
    "MaskBrush",
    "MaskLab",
    "MixLab",
    "NetPicker",
    "PadLab",
    "PicturePicker",
    "Record",
    "SampleBrowser",
    "ServingLab",
    "StyleMixer",
    "StylePad",
    "Throttle",
    "VideoLab",
    "choice_control",
    "draw_losses",
    "explore",
    "figure_bytes",
    "full_words",
    "layer_boxes",
    "range_control",
    "work_done",
]
