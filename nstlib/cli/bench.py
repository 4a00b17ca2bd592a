"""``nst bench``: how fast each method is, and all of them in one table."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from nstlib.cli.bench_video import add_bench_video
from nstlib.cli.flags import UsageError, make_folder, whole
from nstlib.cli.parsers import add_command

if TYPE_CHECKING:
    from nstlib.benchmarks import Row
    from nstlib.benchmarks.whole import Job

EXAMPLES = """
nst bench --out out/benchmarks
nst bench --quick --size 256
nst bench gatys --profile
"""
NOTES = """Without a subject: every method, beside its plain form in float32, in one table of time,
memory and quality; and the kernels. That takes half an hour on two cores, and a few
minutes with --quick or on a GPU. Quality is judged by VGG-19 where its weights are found
(NSTLIB_WEIGHTS), else by the encoder that ships; the table says by which."""

WHOLE = "whole_"  # before the names of the table's own flags, which subjects have, too


def add_bench(commands: Any) -> None:
    """Add ``nst bench``, alone and with its subjects."""
    summary = "measure speed: ratios in one run, medians; of all methods, or of one subject"
    command = add_command(commands, "bench", summary, EXAMPLES, NOTES)
    _add_flags_of_the_whole(command)
    subjects = command.add_subparsers(metavar="WHAT")
    command.set_defaults(run=_run_whole)
    for what, work, size, help_text in (
        ("gatys", "step", 256, "one step, against VGG-19 as a book has it"),
        ("fast", "pass", 512, "one pass of a fast net, against the plain one"),
        ("adain", "pass", 512, "one pass of AdaIN, against the plain one"),
        ("control", "answer", 384, "one answer of each control, against AdaIN with nothing kept"),
    ):
        examples = f"nst bench {what}\nnst bench {what} --size {size} --repeats 30 --out out"
        subject = add_command(subjects, what, help_text, examples)
        subject.add_argument(
            "--size", type=int, nargs="+", default=[size], help="sides in pixels %(default)s"
        )
        subject.add_argument(
            "--repeats", type=int, default=15, help="timed runs of each (%(default)s)"
        )
        if what == "gatys":
            subject.add_argument("--profile", action="store_true", help="also say where time goes")
        if what == "adain":
            subject.add_argument(
                "--large",
                type=int,
                nargs=2,
                metavar=("HEIGHT", "WIDTH"),
                help="also time a photo in tiles, and weigh its memory",
            )
        subject.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (auto)")
        subject.add_argument("--out", type=Path, help=f"a folder for {what}.json")
        subject.set_defaults(run=_run_bench, what=what, work=work, profile=False, large=None)
    add_bench_video(subjects)
    for subject in subjects.choices.values():
        subject.set_defaults(run=_alone(subject.get_default("run")))


# ---------------------------------------------------------------------------------------- the whole


def _add_flags_of_the_whole(command: argparse.ArgumentParser) -> None:
    """Add the flags of ``nst bench`` by itself; none has a default, so that it is seen if one is given."""

    def add(flag: str, **options: Any) -> None:
        command.add_argument(flag, dest=WHOLE + flag.strip("-"), default=None, **options)

    add("--size", type=whole, nargs="+", metavar="PIXELS", help="sides of the photo (256)")
    add("--repeats", type=whole, metavar="RUNS", help="timed runs of each (7)")
    add(
        "--device",
        metavar="DEVICE",
        help="auto, which is the CPU and a GPU if there is one, cpu, cuda or mps (auto)",
    )
    add(
        "--quick",
        action="store_true",
        help="only the sizes asked for, not those that the field quotes: 512 and 1024 px",
    )
    add(
        "--full",
        action="store_true",
        help="run all 300 steps of Gatys' method: an hour more on two cores",
    )
    add(
        "--out", type=Path, metavar="FOLDER", help="a folder for whole.json, whole.md and whole.png"
    )


def _alone(run: Callable[[argparse.Namespace], Any]) -> Callable[[argparse.Namespace], Any]:
    """Return what runs a subject, and refuses the flags of the whole before it."""

    def checked(options: argparse.Namespace) -> Any:
        given = [name for name, value in vars(options).items() if name.startswith(WHOLE) and value]
        if given:
            flags = ", ".join(f"--{name.removeprefix(WHOLE)}" for name in given)
            raise UsageError(f"{flags} stands before the subject; what is for it comes after it")
        return run(options)

    return checked


def _run_whole(options: argparse.Namespace) -> None:
    from nstlib import benchmarks
    from nstlib.benchmarks import report, whole

    sizes, repeats = options.whole_size or [256], options.whole_repeats or 7
    device = options.whole_device or "auto"
    plan = whole.plan(sizes, device, has_field=not options.whole_quick)
    if options.whole_out:  # now: not after half an hour
        make_folder(options.whole_out / "whole.json")
    bar: tqdm[Job] = tqdm(plan, leave=False, disable=None)
    found = whole.measure_whole(
        bar, repeats, bool(options.whole_full), benchmarks.machine(), bar.set_description
    )
    print(report.as_markdown(found), end="")
    if options.whole_out:
        report.write(options.whole_out, found)


# ---------------------------------------------------------------------------------------- a subject


def _rows_of(what: str) -> Callable[..., list[Row]]:
    """Return what measures a subject; the controls' brings the widgets, which others do without."""
    if what == "control":
        from nstlib.benchmarks import control

        return control.control_rows
    from nstlib.benchmarks import methods

    rows: Callable[..., list[Row]] = getattr(methods, f"{what}_rows")
    return rows


def _run_bench(options: argparse.Namespace) -> None:
    from nstlib import benchmarks
    from nstlib.benchmarks import methods, profiling

    rows_of = _rows_of(options.what)
    out = options.out and options.out / f"{options.what}.json"
    if out:  # now: not after all has been measured
        make_folder(out)
    machine = benchmarks.machine()
    for key, value in machine.items():
        print(f"{key}: {value}")
    sizes: list[dict[str, object]] = []
    for size in options.size:
        rows = rows_of(size, options.repeats, device=options.device)
        print(f"\n{size} × {size} px\n\n{benchmarks.as_table(rows, options.work)}")
        sizes.append({"size": size, "rows": rows})
        if options.profile:
            parts = methods.gatys_parts(size, device=options.device)
            print(f"\n{profiling.parts_table(parts)}")
            sizes[-1]["parts"] = parts
    content: dict[str, object] = {
        "machine": machine,
        "repeats": options.repeats,
        "device": options.device,
        "sizes": sizes,
    }
    if options.large:
        content["large"] = large = methods.adain_large(*options.large)
        print(
            f"\n{large.height} × {large.width} px in tiles: {large.seconds:.0f} s, "
            f"{large.gigabytes:.2f} GB beyond the photo and the result"
        )
    if out:
        benchmarks.write_json(out, content)
