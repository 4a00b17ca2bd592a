"""``nst bench video``: how fast a clip is painted, and how much memory that takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nstlib.cli.flags import add_device, make_folder
from nstlib.cli.parsers import add_command

EXAMPLES = """
nst bench video --frames 30 300
nst bench video --size 144 --repeats 3 --runs 2 --frames 30 --out measured/
"""


def add_bench_video(subjects: Any) -> None:
    """Add the subject to ``nst bench``."""
    summary = "a clip from file to file: each stage, all together, and the memory it takes"
    subject = add_command(subjects, "video", summary, EXAMPLES)
    subject.add_argument(
        "--size", type=int, default=216, help="shorter side of its frames, px (%(default)s)"
    )
    subject.add_argument(
        "--repeats", type=int, default=15, help="timed runs of each stage (%(default)s)"
    )
    subject.add_argument(
        "--runs", type=int, default=5, help="timed runs of the whole clip (%(default)s)"
    )
    subject.add_argument(
        "--frames",
        type=int,
        nargs="*",
        default=[30, 300],
        help="lengths of clips whose memory is weighed, in a process each %(default)s",
    )
    add_device(subject)
    subject.add_argument("--out", type=Path, help="a folder for video.json")
    subject.set_defaults(run=_run_bench_video)


def _run_bench_video(options: argparse.Namespace) -> None:
    from nstlib import benchmarks
    from nstlib.benchmarks import video

    if options.out:
        make_folder(options.out / "video.json")
    machine = benchmarks.machine()
    for key, value in machine.items():
        print(f"{key}: {value}")
    size, device = options.size, options.device
    print(f"\nclips, {size} px high\n", flush=True)
    who = video.painters(device)
    stages = video.stage_rows(who, size, options.repeats)
    print(video.as_table(stages, "stage"), flush=True)
    pipeline = video.pipeline_rows(who, size, options.runs)
    print(f"\n{video.as_table(pipeline, 'file to file')}", flush=True)
    memory = [video.weigh(frames, size, device) for frames in options.frames]
    if memory:
        print(f"\n{video.memory_table(memory)}")
    if options.out:
        content = {
            "machine": machine,
            "size": size,
            "device": device,
            "repeats": options.repeats,
            "runs": options.runs,
            "stages": stages,
            "pipeline": pipeline,
            "memory": memory,
        }
        benchmarks.write_json(options.out / "video.json", content)
