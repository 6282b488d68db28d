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
    """Take every decision of a selection again from its recorded runs; exit code 1 if one comes out differently.

    Decisions that were taken with an earlier version of the forecast may differ, which is said and is no fault.
    """
    from dataclasses import asdict

    from lensllm.probes.record import Probe
    from lensllm.search.log import DecisionLog
    from lensllm.search.replay import replay_folder
    from lensllm.selectors import FORECAST_VERSION

    decisions, version = replay_folder(folder), DecisionLog.read(folder).forecast_version
    earlier = version < FORECAST_VERSION
    agree = all(made.agrees for made in decisions)
    if as_json:
        rows = [
            {
                "records": [[record.kind, record.candidate, record.examples] for record in made.records],
                "pending": made.pending,
                "orders": [asdict(order) for order in made.orders],
                "spent": made.spent,
                "agrees": made.agrees,
                "recorded": asdict(made.recorded),
                "decided": asdict(made.decided),
            }
            for made in decisions
        ]
        print(json.dumps(finite({"agrees": agree, "forecast_version": version, "decisions": rows}), indent=2))
    else:
        table = empty_table("decision", "after", "choice", "P(best)", "expected regret", "spent", "agrees", names=3)
        for number, made in enumerate(decisions, start=1):
            runs = [f"{r.candidate} on {r.examples:,}" for r in made.records if r.kind != Probe.kind]
            probes = len(made.records) - len(runs)
            told = ", ".join([*runs, *[f"{probes} probes"] * bool(probes), *(order.told for order in made.orders)])
            now = made.decided
            sure = ["", ""] if now.p_best != now.p_best else [f"{now.p_best:.0%}", f"{now.expected_regret:.2%}"]
            table.add_row(str(number), told, now.choice, *sure, f"{made.spent:.3g}", "yes" if made.agrees else "NO")
        print_table(table)
        say(f"Stopped: {decisions[-1].decided.stopped}." if decisions[-1].decided.stopped else "Not finished.")
        differing = [str(number) for number, made in enumerate(decisions, start=1) if not made.agrees]
        say(f"{len(decisions)} decisions: " + (f"{', '.join(differing)} differ" if differing else "all agree"))
        if earlier:
            say(f"They were taken with version {version} of the forecast. It is {FORECAST_VERSION} now.")
    if not agree and not earlier:
        raise typer.Exit(1)
