"""One place chooses a device, none is taken for granted, and a full one is told of, or spared by tiles.

Apple's GPU is pretended: tensors that say they are there, compute on the CPU, and refuse what it would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run
from test_adain_model import picture, tiny_model
from torch import Tensor, nn
from torch.__future__ import set_overwrite_module_params_on_conversion
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from nstlib import (
    adain,
    adain_training,
    color,
    config,
    fast_training,
    flow,
    gatys,
    images,
    interpolation,
    masks,
    memory,
    training,
    video,
)
from nstlib.adain import AdaIN, load_adain
from nstlib.datasets import Crops
from nstlib.encoders import load_encoder, random_encoder
from nstlib.errors import TilesWarning
from nstlib.kernels.backend import KERNELS
from nstlib.memory import allocation_named, memory_for
from nstlib.stylist import NetStylist, Stylist
from nstlib.transform_net import TransformNet, load_net

PACKAGE = Path(config.__file__).parent

# ------------------------------------------------------------------------- chosen in one place

# Who may ask what there is, or wait for it: the one that chooses, those that weigh its memory or
# measure its time, and who joins processes by what links their GPUs.
MAY_ASK = {
    "config.py", "memory.py", "doctor.py", "training.py",
    "benchmarks", "kernels",
}  # fmt: skip


SOURCES = {path.relative_to(PACKAGE): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}


def test_only_those_ask_for_a_gpu_that_have_a_reason() -> None:
    asks = re.compile(r"torch\.(cuda|mps|accelerator|backends\.mps)\b")
    assert {path.parts[0] for path, text in SOURCES.items() if asks.search(text)} <= MAY_ASK


def test_nothing_is_moved_to_a_device_by_its_name() -> None:
    by_name = re.compile(r"\.cuda\(|\.to\(\s*[\"']|device=[\"'](cuda|mps)")
    assert not [path for path, text in SOURCES.items() if by_name.search(text)]


# ------------------------------------------------------------------------- Apple's GPU, pretended

MPS = torch.device("mps", 0)
# Where a tensor of the CPU may meet one of a GPU: as what is copied, and as an index.
MIXED = (
    "to",
    "copy_",
    "__getitem__",
    "__setitem__",
    "__set__",
    "_has_compatible_shallow_copy_type",
)


class There(Tensor):
    """A tensor that lies on Apple's GPU: so :class:`Pretended` says."""


class Pretended(TorchFunctionMode):
    """What is made on ``mps:0``, or of what is There, is There; what Apple's GPU refuses is refused."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [part for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)]
        learns = torch.is_grad_enabled() and any(part.requires_grad for part in tensors)
        if getattr(function, "namespace", "") == "nstlib" and not learns:
            with self:  # what it is made of, to be looked at
                return KERNELS[function._opname]._init_fn(*args, **kwargs)
        goes_there = any(isinstance(part, There) for part in tensors)
        name = function.__name__
        if goes_there and name not in MIXED:
            strangers = [part for part in tensors if not isinstance(part, There) and part.dim()]
            assert not strangers, (
                f"{name}: all tensors must be on one device, mps:0 and cpu are not"
            )
        if name == "__get__" and function.__self__ is Tensor.device:
            return MPS if goes_there else torch.device("cpu")
        if goes_there and name == "numpy":
            raise TypeError("can't convert mps:0 device type tensor to numpy")
        if name == "__deepcopy__" and goes_there:
            return _copied(args[0])
        if name == "cpu":
            goes_there = False
        elif name == "to" and len(tensors) == 2:  # to another tensor's place and type
            goes_there = isinstance(tensors[1], There)
        else:
            args, kwargs, device = _without_device(name, args, kwargs)
            goes_there = goes_there if device is None else device.type == "mps"
        with torch._C.DisableTorchFunctionSubclass():
            made = function(*args, **kwargs)
            return tree_map(lambda part: _placed(part, goes_there), made)


def _without_device(name: str, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return the arguments of a function with the CPU in place of the device, and the device."""
    device = kwargs.get("device")
    if device is not None:
        return args, kwargs | {"device": "cpu"}, torch.device(device)
    if name == "to" and isinstance(args[1], (str, torch.device)):
        return (args[0], "cpu", *args[2:]), kwargs, torch.device(args[1])
    return args, kwargs, None


def _placed(part: Any, is_there: bool) -> Any:
    if not isinstance(part, Tensor) or isinstance(part, There) == is_there:
        return part
    if is_there and part.dtype == torch.float64:
        raise TypeError("the MPS framework doesn't support float64")
    return part.as_subclass(There if is_there else Tensor)


def _copied(there: Tensor) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        twin: Any = there.detach().clone().as_subclass(There).requires_grad_(there.requires_grad)
    if hasattr(there, "_is_param"):
        twin._is_param = True
    return twin


@pytest.fixture
def mps(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """A machine with Apple's GPU."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    set_overwrite_module_params_on_conversion(True)  # by what is There, not by its numbers alone
    with Pretended():
        yield config.pick_device("mps:0")
    set_overwrite_module_params_on_conversion(False)


def test_the_pretence_refuses_what_apples_gpu_refuses(mps: torch.device) -> None:
    there = torch.rand(1, 3, 4, 4).to(mps)
    assert (there.device, (there + 1).device, there.cpu().device.type) == (MPS, MPS, "cpu")
    assert torch.zeros(2, device=mps).device == there.new_zeros(2).device == MPS
    assert torch.rand(3).to(there).device == nn.Linear(2, 2).to(mps).weight.device == MPS
    for wrong in (there.double, lambda: torch.zeros(2, dtype=torch.float64, device=mps)):
        with pytest.raises(TypeError, match="float64"):
            wrong()
    with pytest.raises(TypeError, match="float64"):
        torch.zeros(2, dtype=torch.float64).to(mps)
    with pytest.raises(AssertionError, match="one device"):
        there + torch.ones(3, 4, 4)
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    there.requires_grad_().square().sum().backward()
    assert there.grad is not None
    assert there.grad.device == MPS


def same(there: Tensor, here: Tensor) -> bool:
    """Say whether a result lies There, and is what the CPU makes."""
    assert there.device == MPS
    return torch.allclose(there.cpu(), here, atol=2e-3)


STYLIZED: dict[str, dict[str, Any]] = {
    "plain": {},
    "alphas": {"alpha": [0.0, 0.3]},
    "mixed": {"weights": [0.3, 0.7]},
    "table": {"weights": torch.eye(2)},
    "whitened": {"match": "whitening"},
    "transported": {"match": "transport", "alpha": 0.5},
    "recoloured": {"keep_color": "match"},
    "light": {"keep_color": "luminance"},
    "large": {"stroke_size": 1.4},
    "small": {"stroke_size": 0.7},
}


@pytest.mark.parametrize("turned", [*STYLIZED, "regions"])
def test_adain_needs_no_float64_of_a_device(turned: str, mps: torch.device) -> None:
    photo, paintings = picture(48, 56), [picture(40, 40, seed=1), picture(44, 36, seed=2)]
    options = STYLIZED.get(turned, {"mask": (torch.arange(2).view(2, 1, 1, 1) + photo[:, :1]) / 2})
    here = Stylist(tiny_model("steered")).stylize(photo, paintings, **options)
    model = tiny_model("steered").to(mps)
    made = Stylist(model).stylize(photo.to(mps), [one.to(mps) for one in paintings], **options)
    assert same(made, here)
    on_cpu = Stylist(model).stylize(photo, paintings, **options)
    assert on_cpu.device.type == "cpu", "where the photo lies"


def test_the_models_that_ship_and_tiles_need_no_float64_of_a_device(mps: torch.device) -> None:
    photo, style = picture(64, 72), picture(48, 48, seed=1)
    here, there = load_adain(precision="float32"), load_adain(device=mps)
    assert there.encoder.mean.device == MPS
    turned: dict[str, Any] = {"alpha": 0.8, "tile": 64, "match": "transport"}
    made = there.stylize(photo.to(mps), style.to(mps), **turned)
    assert same(made, here.stylize(photo, style, **turned))
    net = load_net(device=mps)
    known = load_net(precision="float32")
    names, mixed = ["vortex", "impasto"], {"style_weight": 7.0, "weights": [0.2, 0.8]}
    made = net.stylize(photo.to(mps), names, **mixed)  # type: ignore[arg-type]
    assert same(made, known.stylize(photo, names, **mixed))  # type: ignore[arg-type]
    region = torch.cat([photo[:, :1], 1 - photo[:, :1]])
    painted = NetStylist(net).stylize(photo.to(mps), names, mask=region)
    assert painted.device == MPS


def test_colours_masks_and_maps_of_styles_need_no_float64_of_a_device(mps: torch.device) -> None:
    photo, target = picture(24, 28), picture(20, 20, seed=1)
    assert same(color.match_color(photo.to(mps), target.to(mps)), color.match_color(photo, target))
    regions = torch.cat([photo[:, :1], target[..., :1, :1].mean() * photo[:, 1:2]])
    assert same(
        masks.soften(masks.shares(regions.to(mps)), 1.5), masks.soften(masks.shares(regions), 1.5)
    )
    assert images.to_uint8(photo.to(mps)).shape == (24, 28, 3)
    model = tiny_model().to(mps)
    known = [model.style(picture(32, 32, seed=seed).to(mps)) for seed in range(3)]
    assert interpolation.style_map(known).isfinite().all()
    square = torch.zeros(1, 3, 32, 32)
    square[..., 10:22, 10:22] = 1
    assert masks.foreground(square.to(mps), (0.2, 0.2, 0.8, 0.8)).shape == (1, 1, 32, 32)


def test_motion_needs_no_float64_of_a_device(mps: torch.device) -> None:
    frames = [picture(40, 48).roll(shift, 3).to(mps) for shift in (0, 1)]
    backward = torch.full((1, 2, 40, 48), -1.0).to(mps)
    hidden = torch.zeros(1, 1, 40, 48).to(mps)
    assert not flow.is_cut(frames[1], frames[0], backward, hidden)
    assert flow.is_cut(1 - frames[1], frames[0], backward, hidden)
    assert flow.alike(frames[1], frames[0], backward).device == MPS
    moving = video.motions(frames)
    painted = list(video.steady(frames, moving))
    assert [one.device for one in painted] == [MPS, MPS]


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_gatys_method_needs_no_float64_of_a_device(optimizer: Any, mps: torch.device) -> None:
    photo, paintings = picture(48, 48), [picture(40, 40, seed=1), picture(32, 36, seed=2)]
    chosen: dict[str, Any] = {"optimizer": optimizer, "steps": 2, "weights": (1.0, 2.0)}
    here = gatys.stylize(photo, paintings, random_encoder(), device="cpu", **chosen)
    there = gatys.stylize(photo, paintings, random_encoder(), device=str(mps), **chosen)
    assert torch.allclose(there.cpu(), here, atol=1e-3)


@pytest.mark.parametrize("kind", ["fast", "adain"])
def test_to_train_needs_no_float64_of_a_device(
    kind: str, mps: torch.device, tmp_path: Path
) -> None:
    pictures = [picture(40, 40, seed=seed) for seed in range(3)]
    crops, encoder = Crops(pictures, crop=32), load_encoder("slim")

    def task() -> training.Task[Any]:
        torch.manual_seed(0)
        if kind == "adain":
            return adain_training.AdaINTask(adain.Decoder.of(encoder), encoder, crops, crops)
        net = TransformNet(width=0.25, styles=("a", "b"), dial=(1.0, 10.0))
        return fast_training.FastNetTask(net, pictures[:2], crops, encoder)

    settings = training.Settings(steps=2, batch=2, precision="float32")
    here, there = (
        [step.losses["total"] for step in training.train(task(), settings, path, device=device)]
        for device, path in (("cpu", None), (mps, tmp_path / "net.pt"))
    )
    assert there == pytest.approx(here, rel=1e-3)
    assert {path.suffix for path in tmp_path.iterdir()} == {".pt", ".safetensors"}


# ------------------------------------------------------------------------- a device that is full

FULL = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which "
    "1.00 GiB is free. If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF"
)
FULL_MPS = RuntimeError(
    "MPS backend out of memory (MPS allocated: 1.00 GB, max allowed: 9.07 GB). Tried to allocate "
    "20.00 GB on private pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit"
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FULL, "CUDA out of memory. Tried to allocate 2.00 GiB"),
        (FULL_MPS, "MPS backend out of memory (MPS allocated: 1.00 GB, max allowed: 9.07 GB). Tried to "
         "allocate 20.00 GB on private pool"),
        (RuntimeError("CUDA error: out of memory\nKernel errors might be"), "CUDA error: out of memory"),
    ],
)  # fmt: skip
def test_whatever_device_is_full_it_is_a_memory_error_without_advice(
    error: Exception, said: str
) -> None:
    with pytest.raises(MemoryError) as caught, allocation_named():
        raise error
    assert str(caught.value) == said
    cpu = torch.device("cpu")
    with pytest.raises(MemoryError) as caught, memory_for("content", (300, 400), 1, cpu):
        raise error
    about = "About 212×282 px would fit"  # half its pixels
    assert str(caught.value) == f"content is 300×400 px, and memory ran out: {said}. {about}"


def test_what_is_too_large_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: 100)
    with (
        pytest.raises(MemoryError, match="content is 30×40 px, which needs about .* would fit"),
        memory_for("content", (30, 40), 200, torch.device("cpu")),
    ):
        pytest.fail("the work began")


def full_beyond(monkeypatch: pytest.MonkeyPatch, pixels: int) -> list[int]:
    """Let an encoder have no memory for a picture of more pixels; return what it is asked for."""
    encode, asked = AdaIN._encoded, []

    def or_full(model: AdaIN, image: Tensor) -> adain.Maps:
        asked.append(image.shape[2] * image.shape[3])
        if asked[-1] > pixels:
            raise FULL
        return encode(model, image)

    monkeypatch.setattr(AdaIN, "_encoded", or_full)
    return asked


TILES = r"content is 90×120 px, and memory ran out: .* would fit in one piece. It is made in tiles"


@pytest.mark.parametrize("paints", ["model", "stylist"])
def test_a_picture_that_does_not_fit_is_made_in_tiles_with_a_line_that_says_so(
    paints: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, photo = tiny_model(), picture(90, 120)
    style = model.style(picture(32, 32, seed=1))
    whole = model.stylize(photo, style, alpha=0.7)
    monkeypatch.setattr(adain, "SMALL_TILE", 48)
    asked = full_beyond(monkeypatch, 90 * 120 - 1)
    paint: Callable[..., Tensor] = (Stylist(model) if paints == "stylist" else model).stylize
    with pytest.warns(TilesWarning, match=TILES):
        tiled = paint(photo, style, alpha=0.7)
    assert (tiled - whole).abs().max() < 1e-4
    assert asked[0] == 90 * 120 > max(asked[-10:])


def test_what_is_no_larger_than_a_tile_is_an_error_with_what_would_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, photo = tiny_model(), picture(90, 120)
    style = model.style(picture(32, 32, seed=1))
    full_beyond(monkeypatch, 90 * 120 - 1)
    for paint in (model.stylize, Stylist(model).stylize):
        with pytest.raises(MemoryError, match="content is 90×120 px, .*About 63×84 px would fit"):
            paint(photo, style)


def test_the_command_says_in_a_line_that_it_makes_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(adain, "SMALL_TILE", 128)
    full_beyond(monkeypatch, 220 * 330 - 1)
    words = ["coffee", "vortex", "--size", "220", "--style-size", "32", "-o", tmp_path / "a.png"]
    assert run("adain", *words) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nst: content is 220×330 px, and memory ran out: CUDA out of memory. ")
    assert line.endswith("would fit in one piece. It is made in tiles, which takes longer")
    assert images.load_image(tmp_path / "a.png").shape == (1, 3, 220, 330)


def full(*_: object, **__: object) -> Any:
    raise FULL


FITS = "content is 48×64 px, and memory ran out: .* About 33×45 px would fit"


def test_a_fast_net_on_a_full_device_says_what_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its norms look at the whole picture: tiles would make another."""
    monkeypatch.setattr(TransformNet, "forward", full)
    with pytest.raises(MemoryError, match=FITS):
        TransformNet(width=0.25).stylize(picture(48, 64))


def test_gatys_method_on_a_full_device_says_what_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatys.Objective, "forward", full)
    with pytest.raises(MemoryError, match=FITS):
        gatys.stylize(picture(48, 64), picture(32, 32), random_encoder(), steps=1)


def test_a_training_on_a_full_device_says_which_batch_may_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crops = Crops([picture(40, 40)], crop=32)
    net = TransformNet(width=0.25, styles=("a",))
    task = fast_training.FastNetTask(net, [picture(32, 32)], crops, random_encoder())
    monkeypatch.setattr(fast_training.FastNetTask, "losses", full)
    settings = training.Settings(steps=1, batch=6)
    said = "batch is 6, and memory ran out: CUDA out of memory. .* 3 may fit, or a smaller crop"
    with pytest.raises(MemoryError, match=said):
        list(training.train(task, settings, device="cpu"))
