"""Tables of losses as people and tools spoil them: what was meant, and what reading must make of it."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass

NAMES = ("oak", "elm [v2]", "[/x]", "7", "NA", "nan", "None", "=HYPERLINK(1)", "@sum", "+x", "-y", "a, b", 'the "best"')
SPELLINGS = (str, lambda n: f"{n:,}", lambda n: f"{n}.0", lambda n: f"{n:_}", lambda n: f" {n} ", lambda n: f"{n:.1e}")
HARMLESS = (
    "plain",
    "bom",
    "utf-16",
    "crlf",
    "semicolons",
    "tabs",
    "spaces",
    "blank lines",
    "spelled sizes",
    "features",
)
NOTED = ("a row twice", "seeds", "an empty loss", "nan", "inf", "seconds")
REFUSED = (
    "a cell more",
    "a cell less",
    "zero",
    "negative",
    "percent",
    "words",
    "a header twice",
    "no name",
    "a conflict",
    "two tasks",
    "two kinds at a point",
    "half an example",
    "decimal comma",
    "scores",
    "huge",
    "nul",
    "an open quotation mark",
)


@dataclass
class Spoiled:
    """A table: its bytes, the losses that were meant by (candidate, size), and what reading must do."""

    kind: str
    raw: bytes
    meant: dict[tuple[str, int], float]
    verdict: str


def spoiled(seed: int) -> Spoiled:
    """The table of this seed; every kind comes in turn."""
    random_ = random.Random(seed)
    kinds = HARMLESS + NOTED + REFUSED
    kind = kinds[seed % len(kinds)]
    verdict = "read" if kind in HARMLESS else "noted" if kind in NOTED else "refused"
    names = random_.sample(NAMES, random_.randint(2, 4))
    sizes = sorted(random_.sample([0, 50, 100, 200, 400, 1000, 2000, 12000], random_.randint(4, 6)))
    meant = {(n, d): round(3.7 - 0.2 * i + random_.uniform(0, 0.05), 4) for n in names for i, d in enumerate(sizes)}
    if kind == "scores":
        meant = {point: round(90 - loss * 10, 3) for point, loss in meant.items()}
    wide = random_.random() < 0.4 and kind not in (*NOTED, "a conflict", "two tasks", "two kinds at a point", "no name")
    wide = wide and kind not in ("half an example", "features")
    rows = _wide(names, sizes, meant) if wide else _tidy(meant)
    _spoil(kind, rows, random_, meant)
    return Spoiled(kind, _written(kind, rows, random_), meant, verdict)


def _tidy(meant: dict[tuple[str, int], float]) -> list[list[str]]:
    return [["candidate", "examples", "loss"], *([n, str(d), str(loss)] for (n, d), loss in meant.items())]


def _wide(names: list[str], sizes: list[int], meant: dict[tuple[str, int], float]) -> list[list[str]]:
    return [["candidate", *map(str, sizes)], *([n, *(str(meant[n, d]) for d in sizes)] for n in names)]


def _spoil(kind: str, rows: list[list[str]], random_: random.Random, meant: dict[tuple[str, int], float]) -> None:
    """Change the rows, and what is meant where a measurement is taken away."""
    row = rows[random_.randrange(1, len(rows))]
    sized = (0, range(1, len(rows[0]))) if rows[0][1] != "examples" else (1, range(1, len(rows)))
    cells = {"zero": "0", "negative": "-0.5", "percent": "61.2%", "words": "low", "huge": "1e400", "nul": "1.2\x00"}
    cells |= {"decimal comma": "1,25", "an empty loss": "", "nan": "nan", "inf": "inf"}
    if kind in ("an empty loss", "nan", "inf"):
        del meant[row[0], int(row[1])]
    if kind in cells:
        row[-1] = cells[kind]
    elif kind == "spelled sizes":
        for i in sized[1]:
            place = (0, i) if sized[0] == 0 else (i, 1)
            rows[place[0]][place[1]] = random_.choice(SPELLINGS[:-1])(int(rows[place[0]][place[1]]))
    elif kind == "spaces":
        rows[0] = [f" {cell} " for cell in rows[0]]
        row[0] = f"{row[0]} "
    elif kind == "a cell more":
        row.insert(random_.randint(0, len(row)), "1.1")
    elif kind == "a cell less":
        row.pop(random_.randrange(len(row)))
    elif kind == "a header twice":
        for other in rows:
            other.append(other[-1])
    elif kind == "no name":
        row[0] = " "
    elif kind == "half an example":
        row[1] = f"{row[1]}.5"
    elif kind == "a row twice":
        rows.append(list(row))
    elif kind == "a conflict":
        rows.append([*row[:2], str(float(row[2]) * 4)])
    else:
        _more_columns(kind, rows, row)


def _more_columns(kind: str, rows: list[list[str]], row: list[str]) -> None:
    if kind == "features":
        for i, other in enumerate(rows):
            other.append("family" if not i else f"of {other[0]}")
    elif kind == "seconds":
        for i, other in enumerate(rows):
            other.append("seconds" if not i else str(i / 8))
    elif kind == "two tasks":
        for i, other in enumerate(rows):
            other.append("task" if not i else ("define", "name")[i % 2])
    elif kind == "two kinds at a point":
        rows.append(list(row))
        for i, other in enumerate(rows):
            other.append("method" if not i else "lora" if i < len(rows) - 1 else "full")
    elif kind == "seeds":
        rows += [[name, size, loss] for name, size, loss in rows[1:]]
        half = len(rows) // 2
        for i, other in enumerate(rows):
            shift = 0.01 if i <= half else -0.01
            other[2] = other[2] if not i else f"{float(other[2]) + shift:.6f}"
            other.append("seed" if not i else str(int(i > half)))


def _written(kind: str, rows: list[list[str]], random_: random.Random) -> bytes:
    delimiter = {"semicolons": ";", "tabs": "\t"}.get(kind, ",")
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\r\n" if kind == "crlf" else "\n").writerows(rows)
    text = file.getvalue()
    if kind == "blank lines":
        text = text.replace("\n", "\n\n", random_.randint(1, 5))
    if kind == "an open quotation mark":
        text += '"birch,50,1.2\n'
    return text.encode({"bom": "utf-8-sig", "utf-16": "utf-16"}.get(kind, "utf-8"))
