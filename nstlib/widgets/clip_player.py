"""Short clips side by side in a page, in step: played, and gone through frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import torch
import traitlets
from torch import Tensor

from nstlib.config import Range
from nstlib.images import check_image
from nstlib.widgets.display import preview
from nstlib.widgets.scripts import with_helpers

Frames = Tensor | Sequence[Tensor]  # (N, 3, H, W), or as many (1, 3, H, W)

RATE = Range(0.1, 120, "frames a second")
MOST = 4  # clips side by side: more would be too small to compare


class _Pictures(traitlets.List[bytes]):
    """The frames of one clip as JPEG files; a trait for each clip, so that one is sent alone."""

    def __init__(self) -> None:
        super().__init__(traitlets.Bytes(), read_only=True)
        self.tag(sync=True)


class ClipPlayer(anywidget.AnyWidget):
    """Clips side by side that show the same frame: with a button to play, and a scrubber.

    The scrubber is a slider over the frames: arrows go to the next frame, Page Up and Page Down
    some further, Home and End to the first and the last. Space plays and pauses. A clip that plays
    begins again at its end, and pauses where a frame is chosen.

    Args:
        tracks: of each clip its title, and its frames: images (1, 3, H, W) in [0, 1], or one tensor
            of them all. As many frames in each, all of one size; one clip to ``MOST``.
        rate: frames a second.
        index: the frame that is shown first, from 0.
        playing: whether it plays from the start; where the reader wants less motion it does not.

    ``index`` and ``playing`` follow the page, and may be set. While it plays, ``index`` stays where
    that began: the page tells the frame that is shown when it pauses.

    Raises:
        ValueError, TypeError: an argument is wrong, or the clips do not fit each other.

    Example:
        >>> import torch
        >>> frames = torch.rand(6, 3, 24, 32)
        >>> player = ClipPlayer([("Original", frames), ("Negative", 1 - frames)], rate=10)
        >>> player.index = 5
        >>> player.set("Negative", frames.flip(0))
        >>> player.titles, player.count, player.index
        (['Original', 'Negative'], 6, 5)
    """

    titles = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    size = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)  # width and height, px
    count = traitlets.Int(1, read_only=True).tag(sync=True)
    rate = traitlets.Float(25.0, read_only=True).tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)
    frames_0, frames_1, frames_2, frames_3 = _Pictures(), _Pictures(), _Pictures(), _Pictures()

    _esm = with_helpers(r"""
    const ICONS = {
        previous: "M11 3v10L4.5 8zM4.5 3v10H3V3z", next: "M5 3v10l6.5-5zM11.5 3v10H13V3z",
        play: "M4 2.5v11L13 8z", pause: "M4 3h3v10H4zM9 3h3v10H9z",
    };
    const ARROWS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };

    function show(button, icon, label) {
        if (button.title === label) return;
        button.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[icon]}"/></svg>`;
        button.title = label;
        button.setAttribute("aria-label", label);
    }

    // Called once a widget: all its views have one clock and the same pictures.
    export default () => {
        const draws = new Set();  // one of each view
        const pictures = [];  // of each clip its frames, decoded
        const drawAll = () => draws.forEach(draw => draw());
        let clock = { stop() {}, follow() {} };

        // What is decoded takes the place of what is shown at once, and in all clips that change
        // together: nothing flashes. What is out of date before it is decoded is not shown.
        function keepDecoded(model) {
            const stale = new Set();
            let latest = 0;
            const decode = clip => Promise.all(model.get(`frames_${clip}`).map(
                data => createImageBitmap(new Blob([data], { type: "image/jpeg" }))));
            const close = bitmaps => bitmaps?.forEach(bitmap => bitmap.close());
            async function refresh() {
                const asked = ++latest, clips = [...stale];
                const decoded = await Promise.all(clips.map(decode));
                if (asked !== latest) return decoded.forEach(close);
                clips.forEach((clip, i) => {
                    close(pictures[clip]);
                    pictures[clip] = decoded[i];
                });
                stale.clear();
                drawAll();
            }
            model.get("titles").forEach((_, clip) => {
                stale.add(clip);
                model.on(`change:frames_${clip}`, () => {
                    stale.add(clip);
                    queueMicrotask(refresh);
                });
            });
            refresh();
            return () => { latest++; pictures.forEach(close); };
        }

        function newClock(model) {
            let request = null, begun = null, own = null;
            function tick(now) {
                const steps = Math.floor(Math.max(0, now - begun.time) * model.get("rate") / 1000);
                own = (begun.index + steps) % model.get("count");
                if (own !== model.get("index")) model.set("index", own);
                request = requestAnimationFrame(tick);
            }
            const begin = () => { begun = { index: model.get("index"), time: performance.now() }; };
            function stop() {
                cancelAnimationFrame(request);
                request = null;
            }
            function follow() {
                if (model.get("playing") && draws.size) {
                    if (request === null) { begin(); request = requestAnimationFrame(tick); }
                } else if (request !== null) {
                    stop();
                    // The frame at which it stopped is told; but not from within a change, where
                    // the model would still send, and take back, the frame before.
                    queueMicrotask(() => model.save_changes());
                }
            }
            model.on("change:playing", () => { follow(); drawAll(); });
            model.on("change:index", () => {
                if (model.get("index") !== own) begin();
                drawAll();
            });
            return { stop, follow };
        }

        return {
            initialize({ model }) {
                if (model.get("playing") && matchMedia("(prefers-reduced-motion: reduce)").matches) {
                    model.set("playing", false);
                    model.save_changes();
                }
                const forget = keepDecoded(model);
                clock = newClock(model);
                return () => { clock.stop(); forget(); };
            },
            render({ model, el }) {
                const titles = model.get("titles"), [width, height] = model.get("size");
                const count = model.get("count");
                const player = part(el, "div", "nst-player");
                player.setAttribute("role", "group");
                player.setAttribute("aria-label", `Clip: ${titles.join(", ")}`);
                player.style.maxWidth = `${Math.max(320, titles.length * (2 * width + 8))}px`;
                const tracks = part(player, "div", "nst-player-tracks");
                const canvases = titles.map(title => {
                    const figure = part(tracks, "figure", "");
                    const canvas = part(figure, "canvas", "");
                    Object.assign(canvas, { width, height });
                    canvas.setAttribute("role", "img");
                    canvas.setAttribute("aria-label", title);
                    part(figure, "figcaption", "", title);
                    return canvas.getContext("2d");
                });
                const bar = part(player, "div", "nst-player-bar");
                const previous = part(bar, "button", "nst-player-previous");
                const play = part(bar, "button", "nst-player-play");
                const next = part(bar, "button", "nst-player-next");
                show(previous, "previous", "Previous frame");
                show(next, "next", "Next frame");
                const slider = part(bar, "input", "nst-player-frame");
                Object.assign(slider, { type: "range", min: 0, max: count - 1, step: 1 });
                slider.setAttribute("aria-label", "Frame");
                const readout = part(bar, "output", "nst-player-readout");
                readout.setAttribute("aria-live", "off");  // the slider says it

                function draw() {
                    const index = model.get("index"), playing = model.get("playing");
                    canvases.forEach((canvas, i) => {
                        const bitmap = pictures[i]?.[index];
                        if (bitmap) canvas.drawImage(bitmap, 0, 0, width, height);
                    });
                    player.dataset.index = index;
                    slider.value = index;
                    const seconds = (index / model.get("rate")).toFixed(2);
                    readout.textContent = `${index + 1} of ${count} · ${seconds} s`;
                    show(play, playing ? "pause" : "play", playing ? "Pause" : "Play");
                    // A screen reader would read out every frame.
                    if (!playing) slider.setAttribute("aria-valuetext", `frame ${index + 1} of ${count}`);
                }
                function go(index) {
                    model.set({ index: (index + count) % count, playing: false });
                    model.save_changes();
                }
                function toggle() {
                    model.set("playing", !model.get("playing"));
                    model.save_changes();
                }
                // Also where the pointer goes down on the frame that is shown: no input comes of that.
                slider.addEventListener("pointerdown", () => model.get("playing") && toggle());
                slider.addEventListener("input", () => go(Number(slider.value)));
                previous.addEventListener("click", () => go(model.get("index") - 1));
                next.addEventListener("click", () => go(model.get("index") + 1));
                play.addEventListener("click", toggle);

                // JupyterLab takes keys from the document on their way down, as commands to the
                // notebook: so they end before that. What a slider and a button do with them, they do.
                function key(event) {
                    if (!player.contains(event.target)) return;
                    if (event.ctrlKey || event.altKey || event.metaKey) return;
                    event.stopPropagation();
                    const onSlider = event.target === slider;
                    if (onSlider && event.key === " ") toggle();
                    else if (!onSlider && event.key in ARROWS) go(model.get("index") + ARROWS[event.key]);
                    else return;
                    event.preventDefault();
                }
                window.addEventListener("keydown", key, true);
                draws.add(draw);
                draw();
                clock.follow();
                return () => {
                    window.removeEventListener("keydown", key, true);
                    draws.delete(draw);
                    clock.follow();
                };
            },
        };
    };
    """)

    _css = """
    .nst-player {
        margin: 4px 2px; color: var(--jp-ui-font-color1, #212121);
        font: 13px/20px var(--jp-ui-font-family, system-ui, sans-serif);
    }
    .nst-player-tracks {
        display: grid; gap: 8px;
        grid-template-columns: repeat(auto-fit, minmax(min(100%, 160px), 1fr));
    }
    .nst-player figure { margin: 0; min-width: 0; }
    .nst-player canvas {
        display: block; width: 100%; height: auto; border-radius: 3px;
        background: var(--jp-layout-color2, #eee);
    }
    .nst-player figcaption { text-align: center; }
    .nst-player-bar { display: flex; flex-flow: row wrap; align-items: center; gap: 4px; }
    .nst-player button {
        width: 32px; height: 28px; padding: 0; border: 0; border-radius: 3px; cursor: pointer;
        color: inherit; background: var(--jp-layout-color2, #eee);
    }
    .nst-player button:hover { background: var(--jp-layout-color3, #bdbdbd); }
    .nst-player button:focus-visible, .nst-player input:focus-visible {
        outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px;
    }
    .nst-player svg { display: block; width: 16px; height: 16px; margin: auto; fill: currentcolor; }
    .nst-player-frame {
        flex: 1 1 70px; min-width: 0; margin: 0 6px; cursor: pointer;
        accent-color: var(--jp-brand-color1, #1976d2);
    }
    .nst-player-readout {
        min-width: 116px; text-align: right; font-variant-numeric: tabular-nums;
    }
    """

    def __init__(
        self,
        tracks: Sequence[tuple[str, Frames]],
        rate: float = 25.0,
        index: int = 0,
        playing: bool = False,
    ) -> None:
        RATE.check("rate", rate)
        titles = _checked_titles([str(title) for title, _ in tracks])
        clips = [_checked_frames(title, frames) for title, frames in tracks]
        count, size = len(clips[0]), _size(clips[0][0])
        for title, clip in zip(titles, clips, strict=True):
            _check_like_the_others(title, clip, count, size)
        # Before the page hears of the widget: so that it begins with all of it.
        given: dict[str, Any] = {
            "titles": titles,
            "count": count,
            "size": size,
            "rate": float(rate),
        }
        given |= {f"frames_{i}": [preview(frame) for frame in clip] for i, clip in enumerate(clips)}
        for name, value in given.items():
            self.set_trait(name, value)
        super().__init__(index=index, playing=playing)
        self.add_class("nst-clip-player")

    def set(self, track: str | int, frames: Frames) -> None:
        """Replace the frames of one clip, in one message; the frame that is shown stays.

        (Several clips change as one within ``with player.hold_sync():``.)

        Args:
            track: its title, or its position from 0.
            frames: as many, of the same size.

        Raises:
            ValueError, TypeError: an argument is wrong; the frames are then as they were.
        """
        position = self._position(track)
        title = self.titles[position]
        clip = _checked_frames(title, frames)
        _check_like_the_others(title, clip, self.count, self.size)
        self.set_trait(f"frames_{position}", [preview(frame) for frame in clip])

    def _position(self, track: str | int) -> int:
        if isinstance(track, str) and track in self.titles:
            return int(self.titles.index(track))
        if type(track) is int and 0 <= track < len(self.titles):
            return track
        raise ValueError(f"track is {track!r}; it takes {', '.join(map(repr, self.titles))}")

    @traitlets.validate("index")
    def _check_index(self, proposal: Any) -> int:
        index: int = proposal["value"]
        if not 0 <= index < self.count:
            raise ValueError(f"index is {index}; it must lie in [0, {self.count - 1}]")
        return index


def _checked_titles(titles: list[str]) -> list[str]:
    if not 1 <= len(titles) <= MOST:
        raise ValueError(f"tracks has {len(titles)} clips; it takes 1 to {MOST}")
    if len(set(titles)) < len(titles):
        raise ValueError(f"tracks has the titles {titles}; each must be another")
    return titles


def _checked_frames(title: str, frames: Frames) -> Sequence[Tensor]:
    """Return the frames one by one, if they are images."""
    parts = torch.split(frames, 1) if isinstance(frames, Tensor) else frames
    if not len(parts):
        raise ValueError(f"{title!r} has no frames; it takes one at least")
    for i, frame in enumerate(parts):
        check_image(f"frame {i} of {title!r}", frame)
    return parts


def _size(frame: Tensor) -> list[int]:
    """Return a frame's width and height."""
    return [frame.shape[3], frame.shape[2]]


def _check_like_the_others(
    title: str, clip: Sequence[Tensor], count: int, size: Sequence[int]
) -> None:
    if len(clip) != count:
        raise ValueError(f"{title!r} has {len(clip)} frames; it takes {count}, as the others")
    for i, frame in enumerate(clip):
        if _size(frame) != list(size):
            width, height = _size(frame)
            raise ValueError(
                f"frame {i} of {title!r} has {width} × {height} px; it takes "
                f"{size[0]} × {size[1]} px, as the others"
            )
