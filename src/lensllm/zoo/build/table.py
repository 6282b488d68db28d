"""The tables of docs/zoo.md, from the cards: `python -m lensllm.zoo.build.table`."""

from __future__ import annotations

import json
from typing import Any

from lensllm import zoo


def models() -> str:
    """One row a shipped model, in the order of its held-out loss on the mix of all corpora."""
    cards = sorted(_cards("models"), key=lambda card: card["held_out"]["mix"]["nats_per_byte"])
    lines = [
        "| model | parameters | vocabulary | tokens seen | corpus | nats/byte held out, own corpus | the same, mix |",
        "|---|---|---|---|---|---|---|",
    ]
    for card in cards:
        corpus = card["corpus"] if card["tokens"] else "none"
        own, mix = (card["held_out"][text]["nats_per_byte"] for text in (card["corpus"], "mix"))
        lines.append(
            f"| {card['name']} | {card['parameters']:,} | {card['vocabulary']:,} | {card['tokens']:,} | "
            f"{corpus} | {own:.3f} | {mix:.3f} |"
        )
    return "\n".join(lines)


def tasks() -> str:
    """One row a shipped task."""
    lines = [
        "| task | what | training / validation / test | mean tokens | licence |",
        "|---|---|---|---|---|",
    ]
    for card in sorted(_cards("tasks"), key=lambda card: card["name"]):
        counts = " / ".join(f"{count:,}" for count in card["counts"].values())
        lines.append(f"| {card['name']} | {card['summary']} | {counts} | {card['mean_tokens']} | {card['licence']} |")
    return "\n".join(lines)


def _cards(kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (zoo.SHIPPED / kind).glob("*/card.json")]


if __name__ == "__main__":
    print(f"{models()}\n\n{tasks()}")
