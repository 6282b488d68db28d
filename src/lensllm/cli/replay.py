"""`lensllm replay`: the decisions of a selection, taken again from its store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lensllm.cli.common import Json, empty_table, finite, print_table, say


def replay(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a selection within a budget.")],
    as_json: Json = False,
) -> None:
    """Take every decision of a selection again from its recorded runs; exit code 1 if one comes out differently."""
    from dataclasses import asdict

    from lensllm.search.live import replay_folder

    rounds = replay_folder(folder)
    agree = all(made.agrees for made in rounds)
    if as_json:
        rows = [
            {
                "runs": [[run.candidate, run.examples] for run in made.runs],
                "probes": [probe.candidate for probe in made.probes],
                "spent": made.spent,
                "agrees": made.agrees,
                "recorded": asdict(made.recorded),
                "decided": asdict(made.decided),
            }
            for made in rounds
        ]
        print(json.dumps(finite({"agrees": agree, "rounds": rows}), indent=2))
    else:
        table = empty_table("round", "runs", "choice", "P(best)", "expected regret", "spent", "agrees", names=3)
        for number, made in enumerate(rounds, start=1):
            told = ", ".join(f"{run.candidate} on {run.examples:,}" for run in made.runs)
            told += f", {len(made.probes)} probes" if made.probes else ""
            now = made.decided
            sure = ["", ""] if now.p_best != now.p_best else [f"{now.p_best:.0%}", f"{now.expected_regret:.2%}"]
            table.add_row(str(number), told, now.choice, *sure, f"{made.spent:.3g}", "yes" if made.agrees else "NO")
        print_table(table)
        say(f"Stopped: {rounds[-1].decided.stopped}." if rounds[-1].decided.stopped else "Not finished.")
        differing = [str(number) for number, made in enumerate(rounds, start=1) if not made.agrees]
        say(f"{len(rounds)} decisions: " + (f"round {', '.join(differing)} differ" if differing else "all agree"))
    if not agree:
        raise typer.Exit(1)
