"""`lensllm bench ...`: the measurements behind the claims."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lensllm.cli.common import empty_table, print_table

if TYPE_CHECKING:
    from lensllm.probes.record import Probe
    from lensllm.tuning.run import Run


def bench_published(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every number here.")] = None,
    docs: Annotated[Path | None, typer.Option("--docs", help="Write evidence.md and its figures here.")] = None,
) -> None:
    """Compare every selector on the published fine-tuning curves."""
    from lensllm.benchmark.published import run

    result = run(json_file, docs)
    table = empty_table("method", "PearCorr", "RelAcc", "Spearman", "top-1")
    for name, m in result["methods"].items():
        means = [m["pearcorr"], m["rel_acc"], m["spearman"], m["top_1"]]
        table.add_row(name, *(f"{metric['mean']:.2f}" for metric in means))
    print_table(table)


def bench_run_study(config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, in YAML.")]) -> None:
    """Probe and fine-tune every candidate on every task at every size; run again to go on after an interruption."""
    from lensllm.benchmark.study import StudyConfig, run_study
    from lensllm.benchmark.study_probes import run_study_probes

    def told_probe(task: str, probe: Probe) -> None:
        line = f"{task}: {probe.candidate} probed: {probe.status} {probe.zero_shot:.4f}"
        print(line, file=sys.stderr, flush=True)

    def told(task: str, run: Run) -> None:
        line = f"{task}: {run.candidate} on {run.examples:,}, seed {run.seed}: {run.status} {run.nats_per_byte:.4f}"
        print(line, file=sys.stderr, flush=True)

    study = StudyConfig.read(config)
    if study.probes_table:
        print(f"{len(run_study_probes(study, told_probe))} probes in {study.probes_table}")
    print(f"{len(run_study(study, told))} runs in {study.table}")
