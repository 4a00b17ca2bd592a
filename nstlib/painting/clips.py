"""Made clips: photos set in motion, of which the flow, what was hidden and the subject are known.

Places are complex numbers, x + iy in pixels, so that to turn, to scale and to shift is one product
and one sum: each thing in a clip has, in each frame, a similarity that leads from the frame's
pixels to its own picture's. All truths are computed from these similarities in float64, none from
the pixels. Nothing casts a shadow and nothing reflects: what moves keeps its colours.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from nstlib.config import Range
from nstlib.images import check_image, resize, sample, style
from nstlib.painting.canvas import generator
from nstlib.painting.registry import SEEDS, Seed, check_kind

Kind = Literal["still", "pan", "zoom", "sprites", "cut"]
Places = npt.NDArray[np.complex128]
Distances = npt.NDArray[np.float64]

FRAMES = Range(1, 10_000, "how many frames")
SIDE = Range(32, 4096, "a frame's height or width in pixels")
NOISE = Range(0, 0.5, "standard deviation of the sensor's noise; an image has values in [0, 1]")

PHOTOS = ("coffee", "chelsea", "astronaut", "rocket")  # backgrounds: one seed after the other
LAP = 96  # frames from one turn of the camera to the next: about 4 s
START = 8  # frames of a lap before the clip begins: at its turn a camera would stand still
ROOM = 1.3  # how much larger than the frame a photo is that the camera pans over
TILT = math.radians(8)  # how far the camera turns while it zooms
CLOSEST = 1.4  # how much larger things are at the end of the zoom
# A pixel is the mean of a small area. Without that blur, bilinear warping, which all the course
# uses, would miss a photo's finest detail by more than what it is to be measured by.
AREA = 0.7  # standard deviation, px
RIM = 0.02  # of a frame's height: the white paper around what was cut out


@dataclass(frozen=True, eq=False)
class KnownClip:
    """A clip and the truth about it, all float32.

    Example:
        >>> known = clip("pan", frames=3, height=48, width=64)
        >>> known.frames.shape, known.flows.shape, known.visible.shape, known.cuts
        (torch.Size([3, 3, 48, 64]), torch.Size([3, 2, 48, 64]), torch.Size([3, 1, 48, 64]), ())
    """

    frames: Tensor  # (N, 3, H, W) in [0, 1]
    flows: Tensor  # (N, 2, H, W): from frame i to frame i − 1, px, x first; flows[0] is 0
    visible: Tensor  # (N, 1, H, W): 1 where the thing at a pixel was in view in frame i − 1
    masks: Tensor  # (N, 1, H, W): how much of a pixel the subject covers
    cuts: tuple[int, ...]  # frames that begin a new scene; flow and visible are 0 there


def clip(
    kind: Kind,
    frames: Annotated[int, FRAMES] = 48,
    height: Annotated[int, SIDE] = 216,
    width: Annotated[int, SIDE] = 384,
    seed: Seed = 0,
    noise: Annotated[float, NOISE] = 0.0,
    photo: Tensor | None = None,
) -> KnownClip:
    r"""Set photos in motion, so that it is known where each pixel was in the frame before.

    .. math:: \text{frame}_i(p) = \text{frame}_{i-1}(p + \text{flow}_i(p)) \quad
              \text{where } \text{visible}_i(p) = 1

    of the scene, which has no pixels; `nstlib.kernels.warp`, which mixes the four pixels around a
    place, meets it to 0.01 in the mean. Of a pixel at an edge the truth is that of the thing which
    covers more than half of it. The frame reaches half a pixel beyond the centres of its pixels. A
    longer clip begins as a shorter one does, but for a cut's: the camera goes to and fro.

    Args:
        kind: what is to be seen:

            - ``"still"``: a photo that does not move;
            - ``"pan"``: a camera that swings over a photo, by parts of pixels, at changing speed;
            - ``"zoom"``: a camera that comes closer and turns;
            - ``"sprites"``: three cut-outs, the subject, that move, turn and cross before a pan;
            - ``"cut"``: two of these, the second from the middle frame on.
        frames: how many; at least 2 for ``"cut"``.
        height, width: of a frame in pixels; all motion grows with them.
        seed: another one takes other photos and other ways.
        noise: standard deviation of Gaussian noise, new in each frame and each channel. As a
            sensor's, the values stay in [0, 1].
        photo: the background, (1, 3, H, W) in [0, 1]; None takes one of scikit-image's photos.

    Raises:
        ValueError, TypeError: an argument is wrong.

    Example:
        >>> from nstlib import kernels
        >>> known = clip("zoom", frames=2, height=96, width=128)
        >>> moved = kernels.warp(known.frames[:1], known.flows[1:])
        >>> float(((moved - known.frames[1:]).abs() * known.visible[1:]).mean()) < 0.01
        True
    """
    _check(kind, frames, height, width, seed, noise, photo)
    rng = generator(f"clip-{kind}", seed)
    scenes = _scenes(kind, rng, seed, height, width, photo)
    lengths = [frames - frames // 2, frames // 2] if kind == "cut" else [frames]
    parts = [_filmed(*part, height, width) for part in zip(scenes, lengths, strict=True)]
    pictures, flows, visible, masks = (torch.cat(maps) for maps in zip(*parts, strict=True))
    if noise:
        grain = rng.standard_normal(pictures.shape, dtype=np.float32)
        pictures = (pictures + noise * torch.from_numpy(grain)).clamp(0, 1)
    return KnownClip(pictures, flows, visible, masks, cuts=tuple(lengths[:-1]))


def _check(
    kind: str, frames: int, height: int, width: int, seed: int, noise: float, photo: Tensor | None
) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}; it takes {', '.join(map(repr, get_args(Kind)))}")
    whole = (("frames", FRAMES, frames), ("height", SIDE, height), ("width", SIDE, width))
    for argument, allowed, value in (*whole, ("seed", SEEDS, seed)):
        check_kind(argument, int, value)
        allowed.check(argument, value)
    if kind == "cut" and frames < 2:
        raise ValueError(f"frames is {frames}; a cut takes at least 2, one on each side of it")
    check_kind("noise", float, noise)
    NOISE.check("noise", noise)
    if photo is not None:
        check_image("photo", photo)


# ---------------------------------------------------------------------------------- what is seen


@dataclass(frozen=True)
class _Similarity:
    """From a frame's places to those of a picture: turned and scaled, then shifted."""

    turn: complex
    shift: complex

    def there(self, places: Places) -> Places:
        return self.turn * places + self.shift

    def back(self, places: Places) -> Places:
        return (places - self.shift) / self.turn


def _about(turn: complex, centre: complex, target: complex) -> _Similarity:
    """Return the similarity that brings the frame's ``centre`` to ``target`` in the picture."""
    return _Similarity(turn, target - turn * centre)


@dataclass(frozen=True)
class _Thing:
    """A picture (1, 3, h, w) that moves; cut out along a shape, or the background, without one."""

    picture: Tensor
    at: Callable[[int], _Similarity]
    outside: Callable[[Places], Distances] | None = None  # px from the outline; negative within


_Scene = Sequence[_Thing]  # from the background to what is in front of all


def _filmed(
    scene: _Scene, frames: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the frames of a scene, their flows, what was visible, and the subject's masks."""
    rows, columns = np.mgrid[:height, :width]
    pixels: Places = columns + 1j * rows
    shown = [_drawn(scene, i, pixels) for i in range(frames)]
    known = [_truth(scene, i, pixels) for i in range(1, frames)]
    nothing = torch.zeros(1, 2, height, width), torch.zeros(1, 1, height, width)
    pictures, masks = zip(*shown, strict=True)
    flows, visible = zip(nothing, *known, strict=True)
    return torch.cat(pictures), torch.cat(flows), torch.cat(visible), torch.cat(masks)


def _drawn(scene: _Scene, i: int, pixels: Places) -> tuple[Tensor, Tensor]:
    """Return frame ``i``, (1, 3, H, W), and how much of each pixel the cut-outs cover."""
    canvas, uncovered = torch.zeros(1, 3, *pixels.shape), torch.ones(1, 1, *pixels.shape)
    for thing in scene:
        places = thing.at(i).there(pixels)
        colours = _colours(thing.picture, places)
        if thing.outside is None:
            canvas = colours
            continue
        # A straight edge at this distance from a pixel's centre covers this much of the pixel.
        cover = _tensor(np.clip(0.5 - thing.outside(places), 0, 1))
        canvas = torch.lerp(canvas, colours, cover)
        uncovered = uncovered * (1 - cover)
    return canvas.clamp(0, 1), 1 - uncovered


def _truth(scene: _Scene, i: int, pixels: Places) -> tuple[Tensor, Tensor]:
    """Return the flow from frame ``i`` to the one before, and where what it shows was in view."""
    seen = _seen(scene, i, pixels)
    before = pixels.copy()
    for number, thing in enumerate(scene):
        own = seen == number
        before[own] = thing.at(i - 1).back(thing.at(i).there(pixels[own]))
    height, width = pixels.shape
    inside = (before.real >= -0.5) & (before.real < width - 0.5)
    inside &= (before.imag >= -0.5) & (before.imag < height - 0.5)
    visible = inside & (_seen(scene, i - 1, before) == seen)
    flow = before - pixels
    return torch.cat([_tensor(flow.real), _tensor(flow.imag)], dim=1), _tensor(visible)


def _seen(scene: _Scene, i: int, places: Places) -> npt.NDArray[np.int64]:
    """Return the number of the thing that is in front at places of frame ``i``."""
    front = np.zeros(places.shape, dtype=np.int64)
    for number, thing in enumerate(scene):
        if thing.outside is not None:
            front[thing.outside(thing.at(i).there(places)) < 0] = number
    return front


def _tensor(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[None, None]


def _colours(picture: Tensor, places: Places) -> Tensor:
    """Return a picture's colours at places (H, W) in it, by cubic interpolation: (1, 3, H, W)."""
    height, width = picture.shape[2:]
    x = 2 * places.real / max(width - 1, 1) - 1  # −1 and 1 are the centres of the outermost pixels
    y = 2 * places.imag / max(height - 1, 1) - 1
    grid = torch.from_numpy(np.stack([x, y], axis=-1).astype(np.float32))[None]
    return F.grid_sample(picture, grid, mode="bicubic", padding_mode="border", align_corners=True)


# --------------------------------------------------------------------------------------- scenes


def _scenes(
    kind: Kind,
    rng: np.random.Generator,
    seed: int,
    height: int,
    width: int,
    photo: Tensor | None,
) -> list[_Scene]:
    """Return the scene of a kind, or the two of a cut."""
    name = PHOTOS[seed % len(PHOTOS)]
    other = PHOTOS[(seed + 1 + int(rng.integers(len(PHOTOS) - 1))) % len(PHOTOS)]
    if kind == "cut":
        first, second = (str(kind) for kind in rng.permutation(list(_BACKGROUNDS))[:2])
        return [
            _scene(first, rng, name, photo, height, width),
            _scene(second, rng, other, None, height, width),
        ]
    return [_scene(kind, rng, name, photo, height, width)]


def _scene(
    kind: str, rng: np.random.Generator, name: str, photo: Tensor | None, height: int, width: int
) -> _Scene:
    background = _BACKGROUNDS[kind](rng, sample(name) if photo is None else photo, height, width)
    if kind != "sprites":
        return [background]
    usable = [cutout for cutout in _CUTOUTS if photo is not None or cutout.source != name]
    chosen = rng.permutation(len(usable))[: len(_WAYS)]
    mirrored = bool(rng.integers(2))
    ways = [_mirrored(way) if mirrored else way for way in _WAYS]
    return [
        background,
        *(
            _sprite(usable[number], way, rng, height, width)
            for number, way in zip(chosen, ways, strict=True)
        ),
    ]


def _angle(i: int) -> float:
    return 2 * math.pi * (i + START) / LAP


def _covering(photo: Tensor, height: float, width: float) -> Tensor:
    """Bring a photo to the least size that covers so many pixels."""
    scale = max(height / photo.shape[2], width / photo.shape[3])
    size = (math.ceil(photo.shape[2] * scale), math.ceil(photo.shape[3] * scale))
    return resize(photo.detach().float().cpu(), size)


def _sensed(picture: Tensor) -> Tensor:
    """Return a picture as a sensor sees it, whose pixels are means."""
    blurred = ndimage.gaussian_filter(picture.numpy(), (0, 0, AREA, AREA), mode="nearest")
    return torch.from_numpy(blurred)


def _centre(picture: Tensor) -> complex:
    return complex(picture.shape[3] - 1, picture.shape[2] - 1) / 2


def _still(rng: np.random.Generator, photo: Tensor, height: int, width: int) -> _Thing:
    picture = _covering(photo, height, width)
    similarity = _about(1, complex(width - 1, height - 1) / 2, _centre(picture))
    return _Thing(_sensed(picture), lambda _: similarity)


def _pan(rng: np.random.Generator, photo: Tensor, height: int, width: int) -> _Thing:
    """Swing the camera along an ellipse whose axes are the room that the photo leaves it."""
    picture = _covering(photo, ROOM * height, ROOM * width)
    swing = (ROOM - 1) / 2 * np.array([width, height]) * rng.choice([-1, 1], 2)
    lag = rng.uniform(0.2, 0.8) * math.pi  # how round the ellipse is
    middle = complex(width - 1, height - 1) / 2

    def at(i: int) -> _Similarity:
        x, y = swing * np.cos([_angle(i), _angle(i) + lag])
        return _about(1, middle, _centre(picture) + complex(x, y))

    return _Thing(_sensed(picture), at)


def _zoom(rng: np.random.Generator, photo: Tensor, height: int, width: int) -> _Thing:
    """Bring the camera closer, and turn it while the view narrows, so that its corners stay in."""
    picture = _covering(photo, ROOM * height, ROOM * width)
    tilt = TILT * rng.choice([-1, 1])
    # Off the middle, so that the flow's centre is not the frame's.
    target = _centre(picture) + complex(*(rng.uniform(-0.1, 0.1, 2) * (width, height)))
    middle = complex(width - 1, height - 1) / 2

    def at(i: int) -> _Similarity:
        nearness = (1 - math.cos(_angle(i))) / 2
        turn = CLOSEST**-nearness * cmath.exp(1j * tilt * nearness)
        return _about(turn, middle, target)

    return _Thing(_sensed(picture), at)


_BACKGROUNDS = {"still": _still, "pan": _pan, "zoom": _zoom, "sprites": _pan}


# --------------------------------------------------------------------------------------- cut-outs


def _disc(places: Places, radius: float) -> Distances:
    return np.abs(places) - radius


def _blossom(places: Places, radius: float) -> Distances:
    """Return about the distance from five round petals: the outline's slope shrinks it a little."""
    return np.abs(places) - radius * (0.85 + 0.15 * np.cos(5 * np.angle(places)))


def _leaf(places: Places, radius: float) -> Distances:
    """Return the distance from where two discs overlap, whose tips are ``radius`` from the middle."""
    apart = 0.6 * radius
    size = math.hypot(apart, radius)
    return np.maximum(np.abs(places - 1j * apart), np.abs(places + 1j * apart)) - size


@dataclass(frozen=True)
class _CutOut:
    """A piece of a photo or of a style; places as shares of the picture's width and height."""

    source: str
    centre: complex
    radius: float  # as a share of the height
    outside: Callable[[Places, float], Distances]

    def picture(self) -> Tensor:
        is_photo = self.source in (*PHOTOS, "retina")
        return sample(self.source) if is_photo else style(self.source)


_CUTOUTS = (
    _CutOut("coffee", 0.47 + 0.47j, 0.46, _disc),
    _CutOut("chelsea", 0.56 + 0.47j, 0.45, _disc),
    _CutOut("astronaut", 0.44 + 0.24j, 0.25, _disc),
    _CutOut("retina", 0.50 + 0.50j, 0.48, _blossom),
    _CutOut("marbling", 0.36 + 0.37j, 0.34, _blossom),
    _CutOut("vortex", 0.50 + 0.50j, 0.45, _leaf),
)


@dataclass(frozen=True)
class _Way:
    """Where a cut-out goes to and fro, as shares of the frame, and how it turns meanwhile."""

    start: complex
    end: complex
    radius: float  # as a share of the frame's height
    spin: float  # radians from start to end
    lag: int  # frames


_WAYS = (
    _Way(0.15 + 0.35j, 0.80 + 0.60j, 0.27, 1.0, lag=0),
    _Way(0.85 + 0.30j, 0.25 + 0.55j, 0.24, -1.3, lag=6),
    _Way(0.55 + 0.90j, 0.45 + 0.20j, 0.21, 1.6, lag=-6),
)


def _mirrored(way: _Way) -> _Way:
    start, end = (1 - place.conjugate() for place in (way.start, way.end))
    return replace(way, start=start, end=end, spin=-way.spin)


def _sprite(
    cutout: _CutOut, way: _Way, rng: np.random.Generator, height: int, width: int
) -> _Thing:
    """Cut a disc, a blossom or a leaf out of a picture, with a rim of white paper, and move it."""
    source, radius = cutout.picture(), way.radius * height
    scale = radius / (cutout.radius * source.shape[2])
    picture = _covering(source, scale * source.shape[2], scale * source.shape[3])
    rows, columns = np.mgrid[: picture.shape[2], : picture.shape[3]]
    centre = _place(cutout.centre, picture.shape[2], picture.shape[3])
    tilt = rng.uniform(-0.5, 0.5)

    def outside(places: Places) -> Distances:
        return cutout.outside(places - centre, radius)

    def at(i: int) -> _Similarity:
        nearness = (1 - math.cos(_angle(i + way.lag))) / 2
        place = way.start + nearness * (way.end - way.start)
        turn = cmath.exp(1j * (tilt + way.spin * nearness))
        return _about(turn, _place(place, height, width), centre)

    paper = _tensor(np.clip(0.5 + outside(columns + 1j * rows) + RIM * height, 0, 1))
    return _Thing(_sensed(torch.lerp(picture, torch.ones(()), paper)), at, outside)


def _place(share: complex, height: int, width: int) -> complex:
    """Return the place in pixels that lies at shares of a width and a height."""
    return complex(share.real * width, share.imag * height)
