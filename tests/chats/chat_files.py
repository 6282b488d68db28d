"""Twenty small files as people have them: one a layout and container, of a made-up support desk."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, DatasetDict

COUNT = 64
TOOLS = [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}]
Turns = list[dict[str, Any]]


def asked(i: int) -> str:
    """What a user asks."""
    return f"Order {1000 + 7 * i}: where is my {['lamp', 'kettle', 'tent', 'clock'][i % 4]}?"


def answered(i: int) -> str:
    """What the assistant answers."""
    return f"Naïve as it sounds, `box {i}` is with you on day {i % 9}."


def turns(i: int) -> Turns:
    """One to three exchanges, some with a system turn."""
    made = [{"role": "system", "content": "Be kind."}] * (i % 2)
    made += [{"role": "user", "content": asked(i)}, {"role": "assistant", "content": answered(i)}]
    for k in range(i % 3):
        made += [{"role": "user", "content": f"And {k}?"}, {"role": "assistant", "content": f"Also {k + i}."}]
    return made


def called(i: int) -> Turns:
    """A call of a tool as OpenAI writes it, its result, and an answer; the first answer of some is not learned."""
    call = {"id": f"call_{i}", "type": "function", "function": {"name": "find_order", "arguments": f'{{"id": {i}}}'}}
    return [
        {"role": "user", "content": asked(i)},
        {"role": "assistant", "content": None, "tool_calls": [call], "weight": i % 2},
        {"role": "tool", "tool_call_id": f"call_{i}", "content": f"day {i % 9}"},
        {"role": "assistant", "content": answered(i)},
    ]


def shared(i: int) -> Turns:
    """ShareGPT's words for the same, ending in a user's turn."""
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    made = [{"from": names[turn["role"]], "value": turn["content"]} for turn in turns(i)]
    return [*made, {"from": "human", "value": "Thanks!"}]


def _lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _json(path: Path, rows: list[Any]) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def _table(path: Path, rows: list[Any], **options: Any) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False, **options)
    return path


def _parquet(path: Path, rows: list[Any]) -> Path:
    Dataset.from_list(rows).to_parquet(str(path))
    return path


def write_files(folder: Path) -> dict[str, Path]:
    """Name -> path of each file or folder."""
    n = range(COUNT)
    messages = [{"messages": turns(i)} for i in n]
    pairs = [{"prompt": asked(i), "completion": " " + answered(i)} for i in n]
    two = [{"role": "assistant", "content": "No."}]
    packed = folder / "pairs.jsonl.gz"
    with gzip.open(packed, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in pairs)
    shards = folder / "shards"
    shards.mkdir()
    alpaca = [{"instruction": "Answer the client.", "input": asked(i), "output": answered(i)} for i in n]
    for k in range(2):
        _parquet(shards / f"train-0000{k}-of-00002.parquet", alpaca[k::2])
    DatasetDict({"train": Dataset.from_list([{"conversations": shared(i)} for i in n])}).save_to_disk(folder / "dict")
    Dataset.from_list(messages).save_to_disk(folder / "saved")
    chosen = [{"chosen": turns(i), "rejected": [*turns(i)[:-1], *two]} for i in n]
    return {
        "messages.jsonl": _lines(folder / "messages.jsonl", messages),
        "messages.json": _json(folder / "messages.json", messages),
        "messages.parquet": _parquet(folder / "messages.parquet", messages),
        "tools.jsonl": _lines(folder / "tools.jsonl", [{"messages": called(i), "tools": TOOLS} for i in n]),
        "sharegpt.json": _json(folder / "sharegpt.json", [{"conversations": shared(i)} for i in n]),
        "dict": folder / "dict",
        "saved": folder / "saved",
        "turns.jsonl": _lines(
            folder / "turns.jsonl", [{"prompt": turns(i)[:-1], "completion": turns(i)[-1:]} for i in n]
        ),
        "pairs.jsonl.gz": packed,
        "pairs.csv": _table(folder / "pairs.csv", pairs),
        "alpaca.json": _json(folder / "alpaca.json", alpaca),
        "shards": shards,
        "questions.csv": _table(folder / "questions.csv", [{"question": asked(i), "answer": answered(i)} for i in n]),
        "responses.jsonl": _lines(
            folder / "responses.jsonl", [{"prompt": asked(i), "response": answered(i)} for i in n]
        ),
        "outputs.tsv": _table(
            folder / "outputs.tsv", [{"input": asked(i), "output": answered(i)} for i in n], sep="\t"
        ),
        "preferences.jsonl": _lines(
            folder / "preferences.jsonl",
            [{"prompt": asked(i), "chosen": answered(i), "rejected": "No idea."} for i in n],
        ),
        "preferences.parquet": _parquet(folder / "preferences.parquet", chosen),
        "text.jsonl": _lines(folder / "text.jsonl", [{"text": f"{asked(i)} {answered(i)}"} for i in n]),
        "labels.csv": _table(folder / "labels.csv", [{"text": asked(i), "label": i % 3} for i in n]),
        "column.csv": _table(folder / "column.csv", [{"messages": json.dumps(turns(i))} for i in n]),
        "system.jsonl": _lines(
            folder / "system.jsonl", [{"system": "Be brief.", "prompt": asked(i), "response": answered(i)} for i in n]
        ),
    }
