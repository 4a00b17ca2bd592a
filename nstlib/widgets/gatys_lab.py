"""The live lab of notebook 01: optimise a picture, and turn its weights meanwhile.

A long run has its own thread, which writes to widgets that only show something (pictures, text, a
progress bar) and reads from those that the user moves. That division is what makes it safe: no
widget is written from two sides. A task on an event loop would not do: any cell that runs holds up
the kernel's, and JupyterLab sends what the user moves through a second one (a subshell), so there
is no one loop to come back to. What a widget shows leaves through a queue of the kernel's that
takes messages from any thread.
"""

from __future__ import annotations

import atexit
import dataclasses
import threading
import time
import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
from torch import Tensor

from nstlib import gatys, images
from nstlib.config import Range
from nstlib.encoders import Encoder, check_taps, load_encoder
from nstlib.losses import Taps
from nstlib.widgets.controls import (
    Control,
    layer_boxes,
    menu_control,
    number_control,
    range_control,
)
from nstlib.widgets.curves import Record, draw_losses, figure_bytes
from nstlib.widgets.display import add_classes, image_widget, pixels, preview, sentence, told
from nstlib.widgets.menu_keys import MenuKeys
from nstlib.widgets.pictures import photo_picker, save_picture, style_picker
from nstlib.widgets.progress import Throttle, duration, work_done

_WEIGHTS = {"content_weight": "content", "style_weight": "style", "tv_weight": "tv"}  # their terms


class GatysLab:
    """The live lab of notebook 01: optimise a picture, watch it, and turn its weights meanwhile.

    The weights and the learning rate act from the next step of a run; everything else acts at the
    next Run. A cell that ends in a lab shows it; no run begins by itself.

    Args:
        content, style: where to begin: the name of a picture that ships, a file, or an image.
        encoder: a name for :func:`~nstlib.encoders.load_encoder`, or an encoder.
        size: the shorter side of the picture to make; the style is brought to the same.
        folder: where Save puts pictures.
        settings, changes: where the controls begin; see :class:`nstlib.gatys.Settings`. What has no
            control stays as it is there.

    Example:
        >>> lab = GatysLab("coffee", "vortex", size=48, steps=2)
        >>> lab.start()
        >>> lab.wait()
        True
        >>> len(lab.history), tuple(lab.image.shape)
        (2, (1, 3, 48, 72))
    """

    _starting = threading.Lock()
    _latest: weakref.ref[GatysLab] | None = None  # the lab that runs, or ran last

    def __init__(
        self,
        content: str | Path | Tensor = "astronaut",
        style: str | Path | Tensor = "vortex",
        encoder: str | Encoder = "slim",
        size: int = 256,
        folder: str | Path = "out",
        settings: gatys.Settings | None = None,
        **changes: Any,
    ) -> None:
        self._base = gatys.changed(settings or gatys.Settings(), changes)
        self._encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
        self._folder = Path(folder)

        self.history: list[Record] = []
        self.image: Tensor | None = None  # the last good picture, (1, 3, H, W)
        self.error: Exception | None = None  # what ended the last run, if anything went wrong
        self._first = (0.0, 0.0)  # after the run's first step: seconds, and share of the work
        self._recipe: dict[str, Any] = {}  # of ``image``
        self._planned: dict[str, Any] = {}  # of the run under way, until it has a picture
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._drawing = threading.Lock()  # the curves are drawn by the run and by their switch

        self.content, self.style = photo_picker(content), style_picker(style)
        self.moving = {
            name: range_control(name, gatys.RANGES[name], getattr(self._base, name), live=True)
            for name in (*_WEIGHTS, "learning_rate")
        }
        self.setup = _setup_controls(self._base, self._encoder, size)
        self._make_displays()
        self.view = self._laid_out()

    # -------------------------------------------------------------------------- what the user does

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._thread is not None and self._thread.is_alive()

    def settings(self) -> gatys.Settings:
        """Return the settings that the controls stand at.

        Raises:
            ValueError: they do not go together; the message says why.
        """
        chosen = {name: control.read() for name, control in {**self.moving, **self.setup}.items()}
        del chosen["size"]
        if chosen["init"] == "last":
            if self.image is None:
                raise ValueError("there is no last picture yet; begin with the photo, or noise")
            chosen["init"] = self.image
        return gatys.changed(self._base, chosen)

    def start(self, _: Any = None) -> None:
        """Begin a run, as Run does; nothing happens while one is under way."""
        with GatysLab._starting:
            if self.running and self.run_button.disabled:
                return
            self.wait()  # a run that has enabled Run again is at its very end
            other = GatysLab._latest and GatysLab._latest()
            if other and other is not self:  # of a cell that was run again: it is seen no more
                other.stop()
                other.wait()
            GatysLab._latest = weakref.ref(self)
            self._stop.clear()
            self.message.value = ""
            self._set_buttons(running=True)
            # A daemon that is stopped at exit: so the kernel's end does not wait for all its steps,
            # and no step is cut short by an interpreter that is being torn down.
            self._thread = threading.Thread(target=self._run, name="nstlib-lab", daemon=True)
            self._thread.start()

    def stop(self, _: Any = None) -> None:
        """End the run after the step that is under way, as Stop does."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run, at most ``timeout`` seconds; return whether it has ended."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.running

    def save(self, _: Any = None) -> Path | None:
        """Write the picture with its recipe under a name that is free, as Save does."""
        if self.image is None:
            self.message.value = sentence(ValueError("there is no picture yet; press Run first"))
            return None
        stem = f"{Path(self._recipe['content']).stem}-{Path(self._recipe['style']).stem}"
        image, where = self.image, (self._folder, stem, self._recipe)
        return save_picture(lambda: image, where, self.save_button, self.message)

    # ---------------------------------------------------------------------------- the run's thread

    def _run(self) -> None:
        """Run, and say how it ended: the whole life of the run's thread."""
        atexit.register(self._halt)
        began = time.perf_counter()
        self.error, self.history = None, []
        try:
            self._optimise()
        except gatys.PixelDivergenceError as error:
            self.error, self.image = error, error.image.cpu()
            if not self.history:
                self._recipe = self._planned
        except Exception as error:  # whatever it is: in a thread nobody else would hear of it
            self.error = error
        finally:
            self._show_end(time.perf_counter() - began)
            self._set_buttons(running=False)
            atexit.unregister(self._halt)

    def _optimise(self) -> None:
        """Do the steps, each with what the sliders stand at as it begins."""
        self._say("Preparing …")
        settings, size = self.settings(), self.setup["size"].read()
        self._planned = self._first_recipe(settings, size)
        content = images.resize(self.content.image, size)
        style = images.resize(self.style.image, size)
        run = gatys.optimize(content, style, self._encoder, settings)
        picture_throttle, curves_throttle = Throttle(0.1), Throttle(0.5)
        while not self._stop.is_set():
            moving = {name: control.read() for name, control in self.moving.items()}
            for name, value in moving.items():
                setattr(settings, name, value)
            step = next(run, None)
            if step is None:
                break
            self._keep(step, moving)
            picture_throttle(partial(self._draw_step, step, settings.ladder))
            curves_throttle(self._draw_curves)

    def _first_recipe(self, settings: gatys.Settings, size: int) -> dict[str, Any]:
        """Return what a picture says of how it was made, as far as it is known before a step."""
        values = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
        if isinstance(settings.init, Tensor):
            values["init"] = "the picture of the run before"
        return {
            "method": "gatys",
            "content": self.content.name,
            "style": self.style.name,
            "encoder": self._encoder.name,
            "encoder_weights": self._encoder.weights,
            "size": size,
            "settings": values,
            "moved": [],  # [from which step, what, to which value]
            "steps_done": 0,
        }

    def _keep(self, step: gatys.Step, moving: Mapping[str, float]) -> None:
        """Record a step, and in the recipe what was moved since the one before."""
        before = self.history[-1].moving if self.history else moving
        moved = [
            [step.index, name, moving[name]] for name in moving if moving[name] != before[name]
        ]
        if not self.history:  # only now: a run that fails before has left the old picture
            self._recipe = self._planned
        self.image = step.image
        self.history.append(Record(step.index, step.losses, step.weighted, moving))
        self._recipe["moved"] += moved
        self._recipe["steps_done"] = step.index

    def _halt(self) -> None:
        """End the run before the interpreter ends."""
        self.stop()
        self.wait(10)

    # ------------------------------------------------------------------------------- what is shown

    def _say(self, text: str) -> None:
        self.status.value = told(text)

    def _draw_step(self, step: gatys.Step, ladder: int) -> None:
        self._draw_picture(step.image)
        self._draw_terms()
        done = work_done(step.index, step.steps, ladder)
        self.progress.value = done
        if step.index == 1:  # it takes longer, with all that is made ready in it
            self._first = step.seconds, done
        spent, gained = step.seconds - self._first[0], done - self._first[1]
        left = f", about {duration(spent / gained * (1 - done))} left" if gained else ""
        self._say(
            f"Step {step.index} of {step.steps}{left}<br>{pixels(step.image)} · "
            f"loss evaluated {_times(step.evaluations)}, in total {_short(step.weighted['total'])}"
        )

    def _show_end(self, seconds: float) -> None:
        """Show how a run ended, however it did, and its last picture."""
        done = len(self.history)
        steps = self._recipe["settings"]["steps"] if done else 0
        if done:
            assert self.image is not None
            self._draw_picture(self.image)
            self._draw_terms()
            self._draw_curves()
        if self.error is not None:
            self.message.value = sentence(self.error)
            self._say(f"Ended after step {done} of {steps}." if done else "Not run.")
        elif not done:
            self._say("Stopped before the first step.")
        elif done < steps:
            self._say(f"Stopped after step {done} of {steps}, {duration(seconds)}.")
        else:
            self.progress.value = 1
            self._say(f"Done: {steps} steps in {duration(seconds)}.")

    def _draw_picture(self, image: Tensor) -> None:
        self.picture.value = preview(image)

    def _draw_terms(self) -> None:
        last = self.history[-1]
        for name, term in _WEIGHTS.items():
            self.terms[
                name
            ].value = f"× loss {_short(last.losses[term])} = <b>{_short(last.weighted[term])}</b>"

    def _draw_curves(self, _: Any = None) -> None:
        with self._drawing:
            self.curves.value = figure_bytes(draw_losses(self.history, self.weighted.value))

    def _draw_photo(self) -> None:
        """Show the photo where the result will be, unless a result is there."""
        if self.image is None and not self.running:
            self._draw_picture(self.content.image)

    def _set_buttons(self, running: bool) -> None:
        self.run_button.disabled = running
        self.stop_button.disabled = not running
        self.save_button.disabled = running or self.image is None

    # ------------------------------------------------------------------------------ how it is made

    def _make_displays(self) -> None:
        button = partial(ipywidgets.Button, layout={"width": "104px"})
        self.run_button = button(description="Run", icon="play", button_style="primary")
        self.stop_button = button(description="Stop", icon="stop")
        self.save_button = button(description="Save", icon="save")
        self.run_button.tooltip = "Begin a new run"
        self.stop_button.tooltip = "End the run after the step under way"
        self.save_button.tooltip = "Write the picture, at all its pixels, with its recipe"
        self._set_buttons(running=False)
        self.progress = ipywidgets.FloatProgress(max=1, layout={"width": "auto"})
        self.status, self.message = ipywidgets.HTML("Press Run."), ipywidgets.HTML()
        self.terms = {name: ipywidgets.HTML(layout={"width": "170px"}) for name in _WEIGHTS}

        photo = preview(self.content.image)
        self.picture = image_widget(photo, width="100%", max_height="460px")
        self.curves = image_widget(figure_bytes(draw_losses([])), width="100%")
        self.weighted = ipywidgets.ToggleButtons(
            options={"weight × loss": True, "loss": False},
            tooltips=["What each term adds to the total", "The bare losses: compare their trends"],
            style={"button_width": "auto"},
        )
        self.run_button.on_click(self.start)
        self.stop_button.on_click(self.stop)
        self.save_button.on_click(self.save)
        self.weighted.observe(self._draw_curves, names="value")
        self.content.on_change(self._draw_photo)

    def _laid_out(self) -> Any:
        """Put the parts in their places, and name them for style sheets and tests."""
        row, column = ipywidgets.HBox, ipywidgets.VBox
        wrapping = partial(row, layout={"flex_flow": "row wrap"})
        setup = {name: control.view for name, control in self.setup.items()}
        buttons = [self.run_button, self.stop_button, self.save_button]
        layers = [ipywidgets.HTML("Style layers"), setup["style_taps"]]
        menus = [setup[name] for name in ("content_taps", "init", "optimizer")]
        numbers = [setup[name] for name in ("steps", "ladder", "size")]
        view = column(
            [
                wrapping(
                    [
                        column(
                            [self.picture, row(buttons), self.progress, self.status, self.message],
                            layout={"flex": "3 1 330px", "min_width": "0"},
                        ),
                        column(
                            [row([self.content.view, self.style.view]), self.curves, self.weighted],
                            layout={
                                "flex": "2 1 260px",
                                "max_width": "400px",
                                "margin": "0 0 0 10px",
                            },
                        ),
                    ]
                ),
                ipywidgets.HTML("<b>Act from the next step, also during a run</b>"),
                *(row([self.moving[name].view, self.terms[name]]) for name in _WEIGHTS),
                row(
                    [self.moving["learning_rate"].view, ipywidgets.HTML(layout={"width": "228px"})]
                ),
                ipywidgets.HTML("<b>Act at the next Run</b>"),
                wrapping([column(layers), column(menus), column(numbers)]),
                MenuKeys(),
            ],
            layout={"max_width": "1100px"},
        )
        named = {"lab": view, "picture": self.picture, "curves": self.curves}
        named |= {"run": self.run_button, "stop": self.stop_button, "save": self.save_button}
        named |= {"status": self.status, "message": self.message}
        named |= {"photo": self.content.view, "style": self.style.view}
        named |= {name: control.view for name, control in {**self.moving, **self.setup}.items()}
        add_classes(named)
        return view

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def _setup_controls(base: gatys.Settings, encoder: Encoder, size: int) -> dict[str, Control]:
    """Return the controls of what is settled when a run begins, by the names of Settings."""
    content, style = (_names(name, getattr(base, name)) for name in ("content_taps", "style_taps"))
    check_taps(encoder, content, "content_taps")
    check_taps(encoder, style, "style_taps")
    if len(content) != 1 or isinstance(base.init, Tensor):
        raise ValueError("the lab takes one of content_taps, and init 'content' or 'noise'")
    offered = [tap for tap in encoder.taps if tap.startswith("relu") or tap in (*content, *style)]
    layer = menu_control(
        offered, content[0], "Content layer", "Deeper: where things are, not how they look"
    )
    inits = {"the photo": "content", "noise": "noise", "the last picture": "last"}
    optimizers = {"Adam": "adam", "L-BFGS": "lbfgs"}
    sizes = Range(
        gatys.SMALLEST_RUNG, 4096, "shorter side in pixels; twice as many, four times slower"
    )
    return {
        "style_taps": layer_boxes(offered, style),
        "content_taps": dataclasses.replace(layer, read=lambda: (layer.view.value,)),
        "steps": number_control("Steps", gatys.RANGES["steps"], base.steps),
        "init": menu_control(
            inits, base.init, "Begin with", "The last picture goes on where a run ended"
        ),
        "ladder": number_control("Ladder", gatys.RANGES["ladder"], base.ladder),
        "optimizer": menu_control(
            optimizers, base.optimizer, "Optimiser", "L-BFGS takes several evaluations a step"
        ),
        "size": number_control("Size (px)", sizes, size),
    }


def _names(name: str, taps: Taps) -> list[str]:
    """Return the names of layers; the lab has no controls for a weight of each."""
    if isinstance(taps, (str, Mapping)):
        raise ValueError(f"{name} is {taps!r}; the lab takes names, as ('relu1_1', 'relu2_1')")
    return list(taps)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
