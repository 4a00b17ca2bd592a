"""How good is an encoder, a net, a control, a clip? Not by a training loss: by the pictures that come out.

A photo is stylised, by Gatys' method through the encoder under test or by one pass of a net, and a judge
says how much of the distance to the style is left: ``judging`` says how. ``encoders``, ``nets`` and
``adain`` let it look at each of these, ``control`` at colours and covariances, ``video`` at whole
clips, whose steadiness it measures beside.

What most callers need is here by itself; the rest is in its module.
"""

from __future__ import annotations

from nstlib.evaluation.adain import Judged, draw_quality, readings, where_equal
from nstlib.evaluation.judging import best_judge, style_distance

__all__ = ["Judged", "best_judge", "draw_quality", "readings", "style_distance", "where_equal"]
