"""Stores as broken disks leave them: what is read must be what was written, or be refused in one sentence."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from lensllm.errors import InputError
from lensllm.store import FILE_NAME, Store
from lensllm.tuning.run import LearningRateTrial, Run

RUNS = 200
WAYS = ("flip", "zero", "noise", "cut", "swap", "double")


def written(folder: Path) -> dict[str, str]:
    """A store of 200 runs: every key with its record as text."""
    store, records = Store(folder), dict[str, str]()
    for number in range(RUNS):
        trials = [LearningRateTrial(1e-3, 0.5 + number / 1000)] * (number % 4)
        run = Run(f"model {number % 13}", 50 * 2 ** (number % 7), "done", 1.5, 1 + number / 7, trials=trials, flops=1e9)
        store.put(f"{number:064d}", "a task", run)
        records[f"{number:064d}"] = repr(run)
    store.close()
    return records


def damaged(raw: bytes, seed: int) -> bytes:
    """The file with one damage: bits flipped, a stretch zeroed, overwritten, cut off, exchanged or written twice."""
    choice, file = random.Random(seed), bytearray(raw)
    way, start = WAYS[seed % len(WAYS)], choice.randrange(len(file))
    length = choice.choice((1, 16, 512, 4096))
    end = min(start + length, len(file))
    if way == "flip":
        for _ in range(choice.choice((1, 8, 64))):
            file[choice.randrange(len(file))] ^= 1 << choice.randrange(8)
    elif way == "zero":
        file[start:end] = bytes(end - start)
    elif way == "noise":
        file[start:end] = choice.randbytes(end - start)
    elif way == "cut":
        del file[start:]
    else:
        other = choice.randrange(max(len(file) - (end - start), 1))
        here, there = bytes(file[start:end]), bytes(file[other : other + end - start])
        file[start : start + len(there)] = there
        if way == "swap":
            file[other : other + len(here)] = here
    return bytes(file)


def verdict(raw: bytes, records: dict[str, str], seed: int) -> str:
    """`unharmed`, `refused`, `changed in silence`, or the type of what was raised instead of a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE_NAME).write_bytes(damaged(raw, seed))
        try:
            store = Store(folder)
            found = {key: store.find(key, Run) for key in records}
            listed = store.records(Run)
            store.close()
        except InputError as error:
            return "refused" if "\n" not in str(error) else "more than one line"
        except Exception as error:
            return type(error).__name__
        same = {key: repr(run) for key, run in found.items()} == records and len(listed) == len(records)
        return "unharmed" if same else "changed in silence"


def counts(seeds: range) -> dict[str, int]:
    """How many damages of these seeds ended in which verdict."""
    folder = Path(tempfile.mkdtemp())
    records = written(folder)
    raw = (folder / FILE_NAME).read_bytes()
    shutil.rmtree(folder)
    found: dict[str, int] = {}
    for seed in seeds:
        how = verdict(raw, records, seed)
        found[how] = found.get(how, 0) + 1
    return found
