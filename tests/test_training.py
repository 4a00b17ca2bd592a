"""The training loop: what a step is, runs that resume bit for bit, many processes, what goes wrong."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import math
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from nstlib import ImageError, WeightsError, config, training
from nstlib.datasets import generator_of
from nstlib.training import Batch, DivergenceError, Progress, Settings, Task, train
from nstlib.weights import save_weights

TESTS = Path(__file__).parent
TINY = Settings(steps=6, batch=4, learning_rate=1e-2, warm_up=2, average=0.5, precision="float32")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Add up in the order of the processes that these tests start, which have a thread each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Invert(Task[nn.Sequential]):
    """Learn to turn pictures into their negatives: a step takes a millisecond."""

    def __init__(self, hidden: int = 4, seed: int = 0) -> None:
        self.hidden = hidden
        self.model = nn.Sequential(
            nn.Conv2d(3, hidden, 3, padding=1),
            nn.BatchNorm2d(hidden),  # its running means are buffers, not parameters
            nn.ReLU(),
            nn.Conv2d(hidden, 3, 1),
        )
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.model.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        self.drawn: list[int] = []  # steps

    def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
        self.drawn.append(step)
        return {"content": torch.rand(count, 3, 8, 8, generator=generator_of(seed, step))[share]}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        found = model(batch["content"]).float()
        error = (found - (1 - batch["content"])).square().mean()
        grey = (found.mean() - 0.5).square()
        return {"total": error + grey, "error": error, "grey": grey}

    def samples(self, model: nn.Sequential) -> Tensor:
        with torch.no_grad():
            sheet: Tensor = model(torch.linspace(0, 1, 3 * 64).view(1, 3, 8, 8)).sigmoid()
        return sheet

    def export(self, model: nn.Sequential, path: Path, facts: Mapping[str, Any]) -> None:
        save_weights(model.state_dict(), path, facts)

    @property
    def config(self) -> dict[str, Any]:
        return {"hidden": self.hidden}


class Walk(Task[nn.Linear]):
    """A weight that Adam moves by exactly the learning rate in each step: its slope is always −1."""

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)

    def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
        return {}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"total": -model.get_parameter("weight").sum()}

    def samples(self, model: nn.Linear) -> Tensor:
        raise NotImplementedError

    def export(self, model: nn.Linear, path: Path, facts: Mapping[str, Any]) -> None:
        save_weights(model.state_dict(), path, facts)

    @property
    def config(self) -> dict[str, Any]:
        return {}


def run(
    checkpoint: Path | None,
    settings: Settings = TINY,
    *,
    task: Task[Any] | None = None,
    until: int | None = None,
    every: int = 2,
    log: Path | None = None,
) -> list[Progress]:
    """Train, to the end or until a break after a step, and return what is the same in each run."""
    points = []
    for progress in train(
        task or Invert(), settings, checkpoint, every=every, device="cpu", log=log
    ):
        points.append(dataclasses.replace(progress, seconds_left=0))
        if progress.step == until:
            break
    return points


def files_of(checkpoint: Path) -> list[bytes]:
    return [checkpoint.read_bytes(), checkpoint.with_suffix(".safetensors").read_bytes()]


def assert_same_bits(one: Path, other: Path) -> None:
    """Compare all that two checkpoints hold, and the files of weights beside them."""
    left, right = (torch.load(path, weights_only=True) for path in (one, other))
    assert left.keys() == right.keys() >= {"model", "averaged", "optimizer", "schedule", "step"}
    for name in ("task", "settings", "step"):
        assert left.pop(name) == right.pop(name)
    torch.testing.assert_close(left, right, rtol=0, atol=0)
    shipped = [load_file(path.with_suffix(".safetensors")) for path in (one, other)]
    torch.testing.assert_close(*shipped, rtol=0, atol=0)


# ------------------------------------------------------------------------------------ what a step is


def test_each_step_is_told_of(tmp_path: Path) -> None:
    points = list(train(Invert(), TINY, tmp_path / "net.pt", every=4, device="cpu"))
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    assert {point.steps for point in points} == {6}
    assert [point.saved for point in points] == [False, False, False, True, False, True]
    for point in points:
        assert point.losses.keys() == {"total", "error", "grey"}
        terms = point.losses["error"] + point.losses["grey"]
        assert point.losses["total"] == pytest.approx(terms, rel=1e-6)


def test_the_losses_are_those_of_the_weights_before_the_step() -> None:
    fresh, after_one = Invert(), Invert()
    run(None, dataclasses.replace(TINY, average=0), task=after_one, until=1)  # 0: the last weights
    after_one.model.train()
    wanted = [
        task.losses(task.model, task.draw(step, 4, seed=0))["total"].item()
        for step, task in ((1, fresh), (2, after_one))
    ]
    assert [point.losses["total"] for point in run(None, until=2)] == wanted


def test_training_teaches() -> None:
    task, settings = Invert(), dataclasses.replace(TINY, steps=150, warm_up=5, average=0.9)
    before = task.losses(task.model, task.draw(999, 16, seed=1))["total"].item()
    points = run(None, settings, task=task)
    assert points[-1].losses["total"] < 0.2 * points[0].losses["total"]
    assert not task.model.training, "it is ready for use"
    after = task.losses(task.model, task.draw(999, 16, seed=1))["total"].item()
    assert after < 0.2 * before


def test_the_time_left_is_that_of_the_median_step_for_each_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, durations = [0.0], iter([2, 2, 9, 2, 2, 2])  # seconds; one step is held up

    class Timed(Invert):
        def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            now[0] += next(durations)
            return super().losses(model, batch)

    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    left = [point.seconds_left for point in train(Timed(), TINY, device="cpu")]
    assert left == [10, 8, 6, 4, 2, 0]


def test_the_time_left_counts_the_drawing_too() -> None:
    class SlowToDraw(Invert):
        def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
            time.sleep(0.03)
            return super().draw(step, count, seed, share)

    longest, before = 0.0, time.perf_counter()
    for point in train(SlowToDraw(), TINY, device="cpu"):
        longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
        assert 0.02 * (6 - point.step) <= point.seconds_left <= longest * (6 - point.step)


def test_a_batch_is_drawn_while_the_one_before_is_learned_from() -> None:
    drawn = [threading.Event() for _ in range(8)]

    class Watched(Invert):
        def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
            drawn[step].set()
            return super().draw(step, count, seed, share) | {"step": torch.tensor(step)}

        def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            following = int(batch["step"]) + 1
            assert following > TINY.steps or drawn[following].wait(timeout=10)
            return super().losses(model, batch)

    task = Watched()
    assert len(run(None, task=task)) == 6
    assert task.drawn == [1, 2, 3, 4, 5, 6], "and none that nobody learns from"


def test_what_fails_while_drawing_fails_at_its_step() -> None:
    class Torn(Invert):
        def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
            if step == 3:
                raise ImageError("photo.jpg is torn")
            return super().draw(step, count, seed, share)

    steps = train(Torn(), TINY, device="cpu")
    assert [next(steps).step, next(steps).step] == [1, 2]
    with pytest.raises(ImageError, match=r"photo\.jpg is torn"):
        next(steps)


def test_nothing_is_written_without_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not any(point.saved for point in run(None))
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------- the learning rate and the average


def rates(**changes: Any) -> list[float]:
    """Return the learning rate of each step, as a share of that asked for."""
    settings = dataclasses.replace(TINY, learning_rate=0.5, **changes)
    return [point.learning_rate / 0.5 for point in run(None, settings, task=Walk())]


def test_the_learning_rate_rises_stays_and_falls() -> None:
    found = rates(steps=10, warm_up=3, cool_down=0.4)
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert rates(steps=4, warm_up=0, cool_down=0) == [1, 1, 1, 1]
    assert rates(steps=4, warm_up=0, cool_down=1) == [1, 0.75, 0.5, 0.25]
    assert rates(steps=4, warm_up=3, cool_down=1) == [0.25, 0.5, 0.5, 0.25], "the lower of the two"
    assert rates(steps=2, warm_up=7, cool_down=0.3) == [0.125, 0.25]


def test_a_decay_divides_the_learning_rate_by_one_and_the_steps_done() -> None:
    found = rates(steps=4, warm_up=0, cool_down=0, decay=0.5)
    assert found == pytest.approx([1, 1 / 1.5, 1 / 2, 1 / 2.5])
    risen_and_fallen = rates(steps=10, warm_up=3, cool_down=0.4, decay=0.5)
    plain = [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    divided = [share / (1 + 0.5 * done) for done, share in enumerate(plain)]
    assert risen_and_fallen == pytest.approx(divided)


def test_the_literatures_schedule_of_adain_can_be_asked_for() -> None:
    """Adam at 1e-4 / (1 + 5e-5·t): half of it after 20,000 steps, and a ninth after 160,000."""
    settings = Settings(steps=160_001, learning_rate=1e-4, warm_up=0, cool_down=0, decay=5e-5)
    for done in (0, 1, 20_000, 160_000):
        wanted = 1e-4 / (1 + 5e-5 * done)
        assert 1e-4 * training._rate(done, settings) == pytest.approx(wanted, rel=1e-12)
    assert training._rate(20_000, settings) == pytest.approx(1 / 2)
    assert training._rate(160_000, settings) == pytest.approx(1 / 9)


def test_a_decaying_rate_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = dataclasses.replace(TINY, decay=0.3)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    uninterrupted = run(whole, settings)
    run(parts, settings, until=4)
    assert run(parts, settings) == uninterrupted[4:]
    assert_same_bits(whole, parts)


def test_the_learning_rate_that_is_told_is_the_one_learned_with() -> None:
    """Adam moves a weight whose slope never changes by the learning rate."""
    settings = dataclasses.replace(TINY, steps=10, warm_up=3, cool_down=0.4, average=0)
    task = Walk()
    told = sum(point.learning_rate for point in run(None, settings, task=task))
    assert task.model.weight.item() == pytest.approx(told, rel=1e-5)
    assert told == pytest.approx(1e-2 * (0.25 + 0.5 + 0.75 + 4 + 0.75 + 0.5 + 0.25))


def test_a_group_learns_at_a_rate_of_its_own_on_the_same_schedule() -> None:
    class TwoRates(Invert):
        def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
            first, *others = self.model.parameters()
            return [{"params": others}, {"params": [first], "lr": 10 * learning_rate}]

    task, settings = TwoRates(), dataclasses.replace(TINY, average=0)
    before = [parameter.detach().clone() for parameter in task.model.parameters()]
    run(None, settings, task=task, until=1)  # the first step of a warm-up of two: a third
    moved = [
        (new - old).abs().max().item()
        for new, old in zip(task.model.parameters(), before, strict=True)
    ]
    assert moved[0] == pytest.approx(10 * 1e-2 / 3, rel=1e-3)
    assert max(moved[1:]) == pytest.approx(1e-2 / 3, rel=1e-3)


def averaged_walk(steps: int, memory: float) -> float:
    """Return the averaged weight of a walk that is at k after k steps."""
    task = Walk()
    settings = dataclasses.replace(
        TINY, steps=steps, learning_rate=1, warm_up=0, cool_down=0, average=memory
    )
    run(None, settings, task=task)
    return task.model.weight.item()


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 100])
def test_the_average_lies_at_nine_tenths_of_the_way_at_first(steps: int) -> None:
    """Step n + 1 counts 9/(10 + n); the first weights count fully, and fade with n!·10!/(n + 9)!."""
    beginning = 0.1 * math.factorial(10) * math.factorial(steps) / math.factorial(steps + 9)
    wanted = 0.9 * steps + beginning
    assert averaged_walk(steps, memory=0.99999) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("memory", "lag"), [(0.0, 0), (0.5, 1), (0.75, 3)])
def test_the_average_lags_by_its_memory_later(memory: float, lag: int) -> None:
    """Of a memory m the weights lag m/(1 − m) steps behind: 0 keeps the last ones alone."""
    assert averaged_walk(100, memory) == pytest.approx(100 - lag, rel=1e-5)


def test_the_model_is_the_averaged_one_afterwards_however_it_ends(tmp_path: Path) -> None:
    checkpoint = tmp_path / "net.pt"
    for until in (4, None):
        task = Invert()
        run(checkpoint, task=task, until=until)
        content = torch.load(checkpoint, weights_only=True)
        mean = {
            name.removeprefix("module."): value
            for name, value in content["averaged"].items()
            if name.startswith("module.")
        }
        torch.testing.assert_close(dict(task.model.state_dict()), mean, rtol=0, atol=0)
        assert not torch.equal(mean["0.weight"], content["model"]["0.weight"])
        shipped = load_file(checkpoint.with_suffix(".safetensors"))
        for name, value in shipped.items():
            assert torch.equal(value, mean[name].half()), name
    with safe_open(checkpoint.with_suffix(".safetensors"), framework="pt") as file:
        told = json.loads(file.metadata()["config"])
    assert told == {"steps_done": 6, **dataclasses.asdict(TINY)}


# -------------------------------------------------------------------------------------- going on


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    tmp_path: Path, precision: config.Precision
) -> None:
    settings = dataclasses.replace(TINY, precision=precision)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    uninterrupted = run(whole, settings)
    assert run(parts, settings, until=2) == uninterrupted[:2]
    # Step 3 has no checkpoint: it is done again. What the weights were before does not matter.
    assert run(parts, settings, task=Invert(seed=1), until=3) == uninterrupted[2:3]
    assert run(parts, settings, task=Invert(seed=2)) == uninterrupted[2:]
    assert_same_bits(whole, parts)


def test_precision_is_what_the_model_computes_in() -> None:
    """Not what its weights are kept in: they would round small steps away."""
    seen = []

    class Watched(Invert):
        def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            seen.append(model(batch["content"]).dtype)
            return super().losses(model, batch)

    for precision in ("float32", "bfloat16"):
        task = Watched()
        run(None, dataclasses.replace(TINY, precision=precision), task=task, until=1)
        assert {parameter.dtype for parameter in task.model.parameters()} == {torch.float32}
    assert seen == [torch.float32, torch.bfloat16]


def test_one_task_may_go_on_after_a_break(tmp_path: Path) -> None:
    """Its model holds the averaged weights then, which are not those that go on learning."""
    whole, parts, task = tmp_path / "whole.pt", tmp_path / "parts.pt", Invert()
    run(whole)
    for until in (2, 5, None):
        run(parts, task=task, until=until)
    assert_same_bits(whole, parts)


def test_a_finished_run_does_no_step_and_gives_its_model(tmp_path: Path) -> None:
    first, again = Invert(), Invert(seed=1)
    run(tmp_path / "net.pt", task=first)
    kept = files_of(tmp_path / "net.pt")
    assert run(tmp_path / "net.pt", task=again) == []
    torch.testing.assert_close(again.model.state_dict(), first.model.state_dict(), rtol=0, atol=0)
    assert again.drawn == []
    assert files_of(tmp_path / "net.pt") == kept


def test_the_settings_seed_is_the_only_one() -> None:
    torch.manual_seed(1)
    one = run(None)
    torch.manual_seed(2)
    assert run(None) == one
    assert run(None, dataclasses.replace(TINY, seed=1)) != one


def test_each_batch_is_a_function_of_seed_and_step(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Watched(Invert):
        def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            seen.append(batch["content"])
            return super().losses(model, batch)

    run(None, task=Watched())
    whole = list(seen)
    seen.clear()
    run(tmp_path / "net.pt", task=Watched(), until=4)
    run(tmp_path / "net.pt", task=Watched())
    assert len(seen) == 6
    assert all(map(torch.equal, seen, whole))
    assert all(torch.equal(seen[i], Invert().draw(i + 1, 4, seed=0)["content"]) for i in range(6))


def test_more_steps_take_up_a_shorter_run_on_their_own_schedule(tmp_path: Path) -> None:
    """The shorter run's learning rate had fallen to nothing; the longer one's has not."""
    short = dataclasses.replace(TINY, cool_down=0.5)
    longer = dataclasses.replace(short, steps=12)
    run(tmp_path / "net.pt", short)
    points = run(tmp_path / "net.pt", longer)
    assert [point.step for point in points] == list(range(7, 13))
    assert [point.learning_rate for point in points] == [
        point.learning_rate for point in run(None, longer)
    ][6:]
    # Up to where the shorter run begins to fall, both are one.
    run(tmp_path / "early.pt", dataclasses.replace(short, steps=8), until=2)
    run(tmp_path / "early.pt", longer)
    run(tmp_path / "whole.pt", longer)
    assert_same_bits(tmp_path / "early.pt", tmp_path / "whole.pt")


def test_fewer_steps_than_are_done_are_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "net.pt"
    run(checkpoint, until=4)
    kept = files_of(checkpoint)
    with pytest.raises(ValueError, match=r"steps is 3; the checkpoint '.*net\.pt' has done 4"):
        run(checkpoint, dataclasses.replace(TINY, steps=3))
    assert files_of(checkpoint) == kept
    assert [point.step for point in run(checkpoint, dataclasses.replace(TINY, steps=5))] == [5]


# -------------------------------------------------------------------------------------- kill −9

LONG = dataclasses.replace(TINY, steps=12)

KILLED_WHILE_IT_WRITES = """
import sys, time
from pathlib import Path
from test_training import LONG, Invert, train

write, written = Path.write_bytes, []

def write_half(path, content):
    written.append(path)
    if len(written) < 4:  # the second checkpoint: each is written after its model
        return write(path, content)
    write(path, content[: len(content) // 2])
    print("half of it is written", flush=True)
    time.sleep(60)

Path.write_bytes = write_half
list(train(Invert(), LONG, Path(sys.argv[1]), every=3, device="cpu"))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str, Path], subprocess.Popen[str]]]:
    """Start a script in a process of its own, which ends with the test at the latest."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, checkpoint: Path) -> subprocess.Popen[str]:
        worker = tmp_path / "worker.py"
        worker.write_text(script)
        command = [sys.executable, worker, checkpoint]
        started.append(
            subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def environment() -> dict[str, str]:
    """Return that of a process which finds this file, and takes no GPU and one thread."""
    paths = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return os.environ | hidden | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, "the process ended by itself"
        time.sleep(0.005)


Start = Callable[[str, Path], "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = tmp_path_factory.mktemp("long") / "whole.pt"
    run(checkpoint, LONG, every=6)
    return checkpoint


def test_a_run_killed_while_it_writes_leaves_whole_files(
    tmp_path: Path, start: Start, uninterrupted: Path
) -> None:
    checkpoint = tmp_path / "killed.pt"
    process = start(KILLED_WHILE_IT_WRITES, checkpoint)
    assert process.stdout is not None
    assert process.stdout.readline() == "half of it is written\n"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert torch.load(checkpoint, weights_only=True)["step"] == 3
    assert load_file(checkpoint.with_suffix(".safetensors")).keys()
    assert run(checkpoint, LONG, every=3)[0].step == 4
    assert_same_bits(checkpoint, uninterrupted)


# ---------------------------------------------------------------------------------- many processes

# One file for both: torchrun starts it in two processes, and the fixture below runs it in one. It
# finds a task in the tests of each method.
MANY_PROCESSES = """
import dataclasses, json, sys
from pathlib import Path
import torch
from {tests} import TINY, tiny_task
from nstlib.training import DivergenceError, processes, train

def learn(checkpoint, settings=TINY, until=None, task=None, log=None):
    task, points = task or tiny_task(), []
    for progress in train(task, settings, checkpoint, every=3, device="cpu", log=log):
        points.append([progress.step, *progress.losses.values()])
        if progress.step == until:
            break
    return points, {name: value.tolist() for name, value in task.model.state_dict().items()}

def diverging(rank):
    task = tiny_task()
    draw = task.draw
    def broken(step, *arguments):
        batch = draw(step, *arguments)
        if step == 2 and rank == 1:  # one process alone sees it
            batch["content"][:] = float("nan")
        return batch
    task.draw = broken
    return task

def complaint(error, *arguments, **options):
    try:
        learn(*arguments, **options)
    except error as found:
        return str(found)

def counting(counts):
    task = tiny_task()
    losses = task.losses
    def counted(model, batch):
        counts.append(len(batch["content"]))
        return losses(model, batch)
    task.losses = counted
    return task

def work(folder):
    torch.set_num_threads(1)
    with processes() as rank:
        counts, log = [], folder / "log" if rank else None
        told = {
            "whole": learn(folder / f"whole-{rank}.pt", task=counting(counts), log=log),
            "pictures": counts,
            "begun": learn(folder / f"begun-{rank}.pt", until=4),
            "taken up": learn(folder / "one.pt"),
        }
        if torch.distributed.is_initialized():
            odd = dataclasses.replace(TINY, batch=3)
            told["odd batch"] = complaint(ValueError, None, odd)
            told["diverged"] = complaint(DivergenceError, None, task=diverging(rank))
        (folder / f"told-{rank}.json").write_text(json.dumps(told))

if __name__ == "__main__":
    work(Path(sys.argv[1]))
"""


@dataclasses.dataclass
class Runs:
    """What the same training came to in one process, and in two."""

    one: Path  # a folder with its checkpoints
    two: Path
    alone: dict[str, Any]
    together: list[dict[str, Any]]  # of each rank


# One loop serves every model: AdaIN's is tried in ``make soak``.
@pytest.fixture(
    scope="module",
    params=["test_fast_training", pytest.param("test_adain_training", marks=pytest.mark.soak)],
)
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Runs:
    folder = tmp_path_factory.mktemp("processes")
    one, two, worker = folder / "one", folder / "two", folder / "worker.py"
    one.mkdir(), two.mkdir()
    worker.write_text(MANY_PROCESSES.replace("{tests}", request.param))
    script = runpy.run_path(str(worker), run_name="script")
    script["learn"](two / "one.pt", until=4)  # which the two will take up after step 3
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc_per_node=2", worker, two]
    finished = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=240
    )
    assert finished.returncode == 0, finished.stderr
    script["work"](one)
    alone, *together = (
        json.loads(path.read_text())
        for path in (one / "told-0.json", two / "told-0.json", two / "told-1.json")
    )
    return Runs(one, two, alone, together)


def assert_close_runs(told: Any, wanted: Any) -> None:
    """Compare losses and weights: sums over a batch are added in another order, nothing else.

    Left out is what has no effect, and so a gradient that is nothing but rounding: a shift of all
    positions alike at a residual block's end, which each norm after it takes away.
    """
    (points, state), (wanted_points, wanted_state) = told, wanted
    np.testing.assert_allclose(points, wanted_points, rtol=1e-4)
    assert state.keys() == wanted_state.keys()
    for name in sorted(state.keys() - {"residuals.0.norm2.bias"}):
        value = state[name]
        np.testing.assert_allclose(value, wanted_state[name], rtol=0, atol=1e-4, err_msg=name)


def test_two_processes_learn_what_one_learns_from_the_whole_batch(runs: Runs) -> None:
    for told in runs.together:
        assert [point[0] for point in told["whole"][0]] == [1, 2, 3, 4, 5, 6]
        assert_close_runs(told["whole"], runs.alone["whole"])
    first, second = runs.together
    assert first["whole"] == second["whole"], "and both tell, and have, the same"
    assert first["pictures"] == second["pictures"] == [2] * 6, "of the four of a batch"
    assert runs.alone["pictures"] == [4] * 6


def test_the_shares_matter(runs: Runs) -> None:
    """Were both to learn from the same half, the losses would be others: the tolerance tells."""
    script = runpy.run_path(str(runs.one.parent / "worker.py"), run_name="script")
    task = script["tiny_task"]()
    draw = task.draw
    task.draw = lambda step, count, seed, _: draw(step, count, seed, slice(0, None, 2))
    half = script["learn"](None, task=task)
    with pytest.raises(AssertionError):
        assert_close_runs(half, runs.alone["whole"])


def test_only_the_first_process_writes(runs: Runs) -> None:
    assert {path.name for path in runs.two.iterdir() if path.suffix != ".json"} == {
        f"{name}.{suffix}"
        for name in ("whole-0", "begun-0", "one")
        for suffix in ("pt", "safetensors")
    }


def test_two_processes_take_up_what_one_began(runs: Runs) -> None:
    for told in runs.together:
        points, state = told["taken up"]
        assert [point[0] for point in points] == [4, 5, 6]
        whole_points, whole_state = runs.alone["whole"]
        assert_close_runs((points, state), (whole_points[3:], whole_state))


def test_one_process_takes_up_what_two_began(runs: Runs, tmp_path: Path) -> None:
    content = torch.load(runs.two / "begun-0.pt", weights_only=True)
    alone = torch.load(runs.one / "begun-0.pt", weights_only=True)
    assert content["step"] == 3
    assert content.keys() == alone.keys()
    for part in ("model", "averaged", "optimizer", "schedule"):
        assert content[part].keys() == alone[part].keys()
    assert not any(name.startswith("module.") for name in content["model"])
    script = runpy.run_path(str(runs.one.parent / "worker.py"), run_name="script")
    for suffix in (".pt", ".safetensors"):
        file = (runs.two / "begun-0").with_suffix(suffix)
        (tmp_path / "begun").with_suffix(suffix).write_bytes(file.read_bytes())
    points, state = script["learn"](tmp_path / "begun.pt")
    whole_points, whole_state = runs.alone["whole"]
    assert_close_runs((points, state), (whole_points[3:], whole_state))


def test_a_batch_that_cannot_be_shared_out_is_refused(runs: Runs) -> None:
    for told in runs.together:
        assert told["odd batch"] == "batch is 3, which 2 processes cannot share out evenly"


def test_when_one_process_diverges_all_stop(runs: Runs) -> None:
    for told in runs.together:
        assert told["diverged"].startswith("the loss is nan at step 2; the last checkpoint is as")


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with training.processes() as rank:
        assert rank == 0
        assert not torch.distributed.is_initialized()


# --------------------------------------------------------------------------------- what goes wrong


class Diverging(Invert):
    """Its pictures are no numbers at a step."""

    def __init__(self, step: int, value: float = math.nan) -> None:
        super().__init__()
        self.step, self.value = step, value

    def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
        batch = super().draw(step, count, seed, share)
        if step == self.step:
            batch["content"][0, 0, 0, 0] = self.value
        return batch


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_touches_no_file(
    tmp_path: Path, value: float
) -> None:
    checkpoint, whole = tmp_path / "net.pt", tmp_path / "whole.pt"
    run(checkpoint, until=2)
    kept, task = files_of(checkpoint), Diverging(4, value)
    threads = threading.enumerate()
    with pytest.raises(DivergenceError, match=r"the loss is (nan|inf) at step 4; the last") as held:
        run(checkpoint, task=task)
    assert threading.enumerate() == threads, "also while the error is held"
    assert "learning_rate" in str(held.value)
    assert files_of(checkpoint) == kept
    assert {path.name for path in tmp_path.iterdir()} == {"net.pt", "net.safetensors"}
    assert all(part.isfinite().all() for part in task.model.parameters())
    run(checkpoint)  # with pictures that are numbers
    run(whole)
    assert_same_bits(checkpoint, whole)


def test_the_first_loss_may_be_no_number(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match="the loss is nan at step 1"):
        run(tmp_path / "net.pt", task=Diverging(1))
    assert not list(tmp_path.iterdir())


class RootAt(Invert):
    """A term whose value is 0 and whose slope is infinite at a step: the next loss would tell."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
        return super().draw(step, count, seed, share) | {"root": torch.tensor(step == self.step)}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        terms = super().losses(model, batch)
        if batch["root"]:
            terms["total"] = terms["total"] + (0 * model.get_parameter("0.bias")).sum().sqrt()
        return terms

    def export(self, model: nn.Sequential, path: Path, facts: Mapping[str, Any]) -> None:
        path.write_text("a file whose writer does not look at the weights")


def test_weights_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    checkpoint = tmp_path / "net.pt"
    run(checkpoint, task=RootAt(4), until=2)
    kept = files_of(checkpoint)
    with pytest.raises(DivergenceError, match=r"0\.bias is no number after step 4; the last"):
        run(checkpoint, task=RootAt(4))
    assert files_of(checkpoint) == kept
    with pytest.raises(DivergenceError, match="the loss is nan at step 4"):
        run(checkpoint, task=RootAt(3))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch", 2),
        ("learning_rate", 0.02),
        ("warm_up", 3),
        ("cool_down", 0.4),
        ("decay", 0.1),
        ("average", 0.6),
        ("seed", 1),
        ("precision", "bfloat16"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    checkpoint = tmp_path / "net.pt"
    run(checkpoint, until=2)
    kept = files_of(checkpoint)
    was = getattr(TINY, name)
    message = rf"{name} is {value!r}; the checkpoint '.*net\.pt' was trained with {was!r}"
    with pytest.raises(ValueError, match=message):
        run(checkpoint, dataclasses.replace(TINY, **{name: value}))
    assert files_of(checkpoint) == kept


def test_a_checkpoint_of_another_task_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "net.pt"
    run(checkpoint, until=2)
    kept = files_of(checkpoint)
    with pytest.raises(ValueError, match=r"hidden is 5; the checkpoint '.*' was trained with 4"):
        run(checkpoint, task=Invert(hidden=5))
    assert files_of(checkpoint) == kept


def damage(content: bytes, kind: str) -> bytes:
    whole = torch.load(io.BytesIO(content), weights_only=True)
    if kind == "empty":
        return b""
    if kind == "a page":
        return b"<html>not found</html>"
    if kind == "cut off":
        return content[:-2000]
    if kind == "a list":
        whole = [1, 2]
    elif kind == "of something else":
        whole = {"steps": 3}
    elif kind == "without weights":
        del whole["model"]
    elif kind == "without its step":
        del whole["step"]
    elif kind == "of another shape":
        whole["model"]["0.weight"] = whole["model"]["0.weight"][:2]
    elif kind == "with half an optimiser":
        whole["optimizer"]["param_groups"] = []
    buffer = io.BytesIO()
    torch.save(whole, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "a page",
        "cut off",
        "a list",
        "of something else",
        "without weights",
        "without its step",
        "of another shape",
        "with half an optimiser",
    ],
)
def test_a_damaged_checkpoint_is_named_and_left_alone(tmp_path: Path, kind: str) -> None:
    checkpoint = tmp_path / "net.pt"
    run(checkpoint, until=2)
    checkpoint.write_bytes(damage(checkpoint.read_bytes(), kind))
    kept = files_of(checkpoint)
    with pytest.raises(WeightsError, match=r"net\.pt: is no checkpoint of a training"):
        run(checkpoint)
    assert files_of(checkpoint) == kept


def test_wherever_a_byte_is_wrong_the_checkpoint_is_refused_or_the_same(tmp_path: Path) -> None:
    """torch.load alone would take many of them, and train on from a weight that is wrong."""
    checkpoint = tmp_path / "net.pt"
    run(checkpoint, until=4)
    whole, wanted, refused = checkpoint.read_bytes(), run(tmp_path / "whole.pt")[4:], 0
    for place in range(11, len(whole), len(whole) // 80):
        checkpoint.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert run(checkpoint) == wanted
        except WeightsError:
            refused += 1
    assert refused > 50


def on_a_disk_that_is_full_for(name: str) -> Callable[[Path, bytes], int]:
    """Return what writes a file by half, where it is the model or the checkpoint that comes after."""
    write, written = Path.write_bytes, []

    def writes(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == (1 if name.endswith(".safetensors") else 2):
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    return writes


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
def test_a_full_disk_leaves_the_old_files(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, whole = tmp_path / "net.pt", tmp_path / "whole.pt"
    run(checkpoint, until=2)
    kept = files_of(checkpoint)

    monkeypatch.setattr(Path, "write_bytes", on_a_disk_that_is_full_for(name))
    with pytest.raises(OSError, match=rf"No space left on device: '.*/{name}'"):
        run(checkpoint)
    monkeypatch.undo()
    assert files_of(checkpoint)[0] == kept[0]
    assert {path.name for path in tmp_path.iterdir()} == {"net.pt", "net.safetensors"}
    if name == "net.safetensors":
        assert files_of(checkpoint) == kept
    # The averaged model is written first: what stops in between is done again.
    assert [point.step for point in run(checkpoint)] == [3, 4, 5, 6]
    run(whole)
    assert_same_bits(checkpoint, whole)


@pytest.mark.parametrize("name", ["nowhere/net.pt", "net.safetensors", "net", "folder.pt"])
def test_a_checkpoint_that_cannot_be_written_is_known_before_the_first_step(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ValueError, match=rf"checkpoint is '.*{name}'; it must be a \.pt file in a"):
        next(train(Invert(), TINY, tmp_path / name, device="cpu"))


@pytest.mark.parametrize("every", [0, -1])
def test_every_is_at_least_one(every: int) -> None:
    with pytest.raises(ValueError, match=f"every is {every}; it must be at least 1"):
        run(None, every=every)


@pytest.mark.parametrize("name", config.ranges_of(Settings))
def test_a_setting_out_of_its_range_is_named(name: str) -> None:
    value_range = config.ranges_of(Settings)[name]
    for value in (value_range.low - 1, value_range.high + 1, math.nan):
        with pytest.raises(ValueError, match=rf"{name} is {value!r}; it must lie in \["):
            Settings(**{name: value})
    for value in (value_range.low, value_range.high):
        assert getattr(Settings(**{name: value}), name) == value
    with pytest.raises(TypeError, match=f"{name} is 'many'; it must be a number"):
        Settings(**{name: "many"})


def test_a_precision_or_device_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="precision is 'float16'; it takes 'auto', 'float32', 'b"):
        Settings(precision="float16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="device is 'abacus'"):
        next(train(Invert(), TINY, device="abacus"))


# ------------------------------------------------------------------------------------- the journal


class Recorder:
    """Stands for TensorBoard's writer."""

    scalars: list[tuple[str, float, int]]
    images: list[tuple[str, Tensor, int]]

    def __init__(self, folder: Path, purge_step: int) -> None:
        folder.mkdir(parents=True)
        Recorder.scalars, Recorder.images, Recorder.is_open = [], [], True

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def add_image(self, name: str, image: Tensor, step: int) -> None:
        self.images.append((name, image, step))

    def close(self) -> None:
        Recorder.is_open = False


def stub_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Recorder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)


def test_scalars_and_sheets_are_told_to_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_tensorboard(monkeypatch)
    task, settings = Invert(), dataclasses.replace(TINY, steps=25)
    points = run(None, settings, task=task, every=10, log=tmp_path / "log")
    told = {(name, step): value for name, value, step in Recorder.scalars}
    assert told == {
        (name, step): value
        for step in (10, 20)
        for name, value in {
            **{f"loss/{name}": value for name, value in points[step - 1].losses.items()},
            "learning_rate": points[step - 1].learning_rate,
        }.items()
    }
    assert [(name, step) for name, _, step in Recorder.images] == [
        ("samples", 10),
        ("samples", 20),
        ("samples", 25),
    ]
    assert torch.equal(Recorder.images[-1][1], task.samples(task.model.eval())[0])
    assert not torch.equal(Recorder.images[0][1], Recorder.images[-1][1])
    for step, (_, image, _) in zip((10, 20, 25), Recorder.images, strict=True):
        sheet = np.asarray(Image.open(tmp_path / "log" / f"samples-{step:08d}.png"))
        assert np.abs(sheet / 255 - image.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    assert not Recorder.is_open


def sheets_of(folder: Path) -> list[int]:
    """Return after which steps a folder of a journal has sheets."""
    return [int(path.stem.removeprefix("samples-")) for path in sorted(folder.glob("*.png"))]


def test_there_are_sheets_at_milestones_of_pictures_besides_those_at_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 pictures a step the 500th is in step 13; in one of 500, the 5,000th is the last of 10."""
    stub_tensorboard(monkeypatch)
    for batch, steps, wanted in ((40, 16, [10, 13, 16]), (500, 10, [1, 10])):
        log, settings = tmp_path / str(batch), dataclasses.replace(TINY, steps=steps, batch=batch)
        points = run(log.with_suffix(".pt"), settings, every=10, log=log)
        assert sheets_of(log) == wanted
        assert [step for _, _, step in Recorder.images] == wanted, "and no sheet twice"
        checkpoints = {min(10, steps), steps}
        assert {point.step for point in points if point.saved} == checkpoints, "as without a log"


def test_a_run_taken_up_has_the_sheets_of_the_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_tensorboard(monkeypatch)
    settings = dataclasses.replace(TINY, steps=16, batch=40)
    run(tmp_path / "net.pt", settings, until=12, every=10, log=tmp_path / "first")
    run(tmp_path / "net.pt", settings, every=10, log=tmp_path / "second")
    assert (sheets_of(tmp_path / "first"), sheets_of(tmp_path / "second")) == ([10], [13, 16])


@pytest.mark.parametrize("batch", [1, 8, 40, 40_000])
def test_the_milestones_are_at_500_5000_50000_and_every_100000_pictures(batch: int) -> None:
    milestones = (500, 5_000, 50_000, 100_000, 200_000, 300_000, 1_000_000)
    first_beyond = {-(-milestone // batch) for milestone in milestones}
    run = training._Run.__new__(training._Run)
    run.settings, found = dataclasses.replace(TINY, batch=batch), set()
    for run.step in {step + near for step in first_beyond for near in (-1, 0, 1)} - {0}:
        if run.is_milestone:
            found.add(run.step)
    assert found == first_beyond


def test_the_journal_is_closed_when_the_run_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_tensorboard(monkeypatch)
    run(None, until=2, log=tmp_path / "a")
    assert not Recorder.is_open
    with pytest.raises(DivergenceError):
        run(None, task=Diverging(3), log=tmp_path / "b")
    assert not Recorder.is_open


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed: pip install 'nstlib[train]'",
    )
    task, settings = Invert(), dataclasses.replace(TINY, steps=20)
    points = run(None, settings, task=task, every=10, log=tmp_path)
    events = reader.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "loss/total",
        "loss/error",
        "loss/grey",
        "learning_rate",
    }
    for tag, values in {
        "loss/total": [points[9].losses["total"], points[19].losses["total"]],
        "learning_rate": [points[9].learning_rate, points[19].learning_rate],
    }.items():
        assert [event.step for event in events.Scalars(tag)] == [10, 20]
        assert [event.value for event in events.Scalars(tag)] == pytest.approx(values, rel=1e-6)
    assert [event.step for event in events.Images("samples")] == [10, 20]
    for event in events.Images("samples"):
        shown = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB"))
        sheet = np.asarray(Image.open(tmp_path / f"samples-{event.step:08d}.png"))
        assert np.abs(shown.astype(int) - sheet).max() <= 1


def test_without_tensorboard_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # cannot be imported
    message = r"log needs TensorBoard, which is not installed: pip install 'nstlib\[train\]'"
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "net.pt", log=tmp_path / "log")
    assert not list(tmp_path.iterdir())
