"""Every file type: what is read right, and what is refused in one sentence that names the line or row."""

import bz2
import gzip
import json
import lzma
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensllm.errors import InputError
from lensllm.tasks import Example, read_task
from lensllm.tasks.examples import read_examples, read_part

ROWS = [{"prompt": f"question {i}?", "completion": f"answer {i}"} for i in range(60)]
EXPECTED = [Example(row["prompt"], row["completion"]) for row in ROWS]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "prompt,completion\n" + "".join(f"{row['prompt']},{row['completion']}\n" for row in ROWS)
PACKED = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda raw: pa.Codec("zstd").compress(raw, asbytes=True),
}
DEEP = 100_000
CLASSES = {
    b"huggingface": json.dumps({"info": {"features": {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}}})
}


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def outcome(path):
    """The examples, or the sentence that refuses the file."""
    try:
        return read_examples(path)
    except InputError as error:
        return str(error)


def stream(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.JSONL", LINES),
        ("a.Csv", CSV),
        ("a.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("a.json", b"\xef\xbb\xbf" + json.dumps(ROWS).encode()),
        ("a.jsonl", LINES.encode("utf-16")),
        ("a.csv", CSV.encode("utf-16")),
        ("a.csv", CSV.replace("\n", "\r\n")),
        ("a.csv", CSV.replace(",", ";")),
        ("a.csv", CSV.replace(",", "\t")),
        ("a.csv", "sep=;\n" + CSV.replace(",", ";")),
        ("a.csv", CSV.replace("prompt,completion", " Prompt , Completion ")),
        ("a.csv", CSV.replace("\n", "\n\n")),
        ("a.csv", "".join(f"{line},\n" for line in CSV.splitlines())),
        ("a.json", LINES),
        ("a.jsonl", json.dumps(ROWS, indent=1)),
        ("a.json", json.dumps({"data": ROWS})),
        ("a.json", json.dumps({"version": "1", "rows": ROWS})),
        ("a.tsv", CSV.replace(",", "\t").replace("question 0?", '"question 0?"')),
    ],
)
def test_spellings_of_a_file_give_the_same_examples(tmp_path, name, content):
    assert read_examples(written(tmp_path / name, content)) == EXPECTED


@pytest.mark.parametrize("suffix", list(PACKED))
@pytest.mark.parametrize("name", ["a.jsonl", "a.CSV", "a.json"])
def test_compression(tmp_path, suffix, name):
    raw = {"a.jsonl": LINES, "a.CSV": CSV, "a.json": json.dumps(ROWS)}[name].encode()
    assert read_examples(written(tmp_path / (name + suffix), PACKED[suffix](raw))) == EXPECTED


@pytest.mark.parametrize("suffix", list(PACKED))
def test_cut_and_damaged_archives_are_one_sentence(tmp_path, suffix):
    packed = PACKED[suffix](LINES.encode())
    spoiled = [packed[:-k] for k in (1, 4, 9, 40)] + [packed[:40] + b"\x00\xff\x00" + packed[43:]]
    for raw in spoiled:
        found = outcome(written(tmp_path / ("a.jsonl" + suffix), raw))
        assert found == EXPECTED or ("a.jsonl" in found and "\n" not in found)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", LINES.replace(json.dumps(ROWS[36]), "{broken"), "line 37 is not valid JSON"),
        ("a.json", LINES.replace(json.dumps(ROWS[36]), "{broken"), "line 37 is not valid JSON"),
        (
            "a.jsonl",
            LINES + '{"prompt": "a", "completion": "\\ud83d"}\n',
            r"line 61: 'completion' holds half a character",
        ),
        ("a.jsonl", LINES + '{"prompt": "a\\u0000", "completion": "b"}\n', "line 61: 'prompt' holds a NUL character"),
        ("a.jsonl", LINES + "[" * DEEP + "]" * DEEP + "\n", "line 61 is nested too deeply"),
        ("a.json", "[" * DEEP + "]" * DEEP, "a.json is nested too deeply"),
        ("a.jsonl", LINES + '{"prompt": "a", "completion": ' + "1" * 5000 + "}\n", "line 61 cannot be read: Exceeds"),
        ("a.jsonl", LINES + '{"prompt": "a", "prompt": "b", "completion": "c"}\n', "'prompt' is given twice"),
        ("a.jsonl", LINES + '{"prompt": "a", "completion": Infinity}\n', "line 61: 'completion' must be text"),
        ("a.csv", CSV + "a,b,c\n", "row 62 has 3 cells, the header 2"),
        ("a.csv", CSV.replace("answer", "well, answer"), "row 2 has 3 cells, the header 2"),
        ("a.csv", "prompt,completion,id\na,b,1\nc,d\n", "row 3 has 2 cells, the header 3: a cell is missing"),
        ("a.csv", CSV + '"a,b\n', "row 62: quotation marks do not pair up"),
        ("a.csv", 'prompt,completion\n"5 inch,a\nx",b\n', "row 2 holds a line break and a ','"),
        ("a.csv", "prompt,completion,completion\na,b,c\n", "more than one column 'completion'"),
        ("a.csv", "prompt,Prompt,completion\na,b,c\n", "two columns of one name"),
        ("a.csv", "prompt,completion\ncafé,b\n".encode("latin-1"), "not text in UTF-8"),
        ("a.jsonl", gzip.compress(LINES.encode()), "compressed with gzip: end its name in .gz"),
        ("a.csv", b"PK\x03\x04rest", "a zip archive or a spreadsheet"),
        ("a.json", json.dumps({"train": ROWS, "test": ROWS}), "an object with the keys 'train', 'test'"),
        ("a.arrow", b"", "cut short, or no Arrow stream"),
        ("a.parquet", b"PAR1" + b"x" * 50, "cannot be read as .parquet"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, name, content, message):
    path = written(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as told:
        read_examples(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_inch_marks_in_a_tsv_are_characters(tmp_path):
    path = written(tmp_path / "a.tsv", "prompt\tcompletion\n" + "".join(f'"{i} inch\tok {i}\n' for i in range(60)))
    part = read_part([path])
    assert part.examples == [Example(f'"{i} inch', f"ok {i}") for i in range(60)]
    assert part.notes == ("a.tsv: quotation marks are read as ordinary characters",)


def test_quoted_line_breaks_stay_in_their_cell(tmp_path):
    rows = "".join(f'"line {i}\nand, more",b{i}\n' for i in range(3))
    assert read_examples(written(tmp_path / "a.csv", "prompt,completion\n" + rows))[2].prompt == "line 2\nand, more"


def test_the_names_of_classes_are_read(tmp_path):
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())], metadata=CLASSES)
    table = pa.table({"text": ["a", "b", "c"], "label": [1, 0, -1]}, schema=schema)
    pq.write_table(table, tmp_path / "a.parquet")
    expected = [Example("a\n", "good"), Example("b\n", "bad")]
    assert read_examples(tmp_path / "a.parquet") == expected
    assert read_examples(stream(tmp_path / "a.arrow", table)) == expected
    pq.write_table(pa.table({"text": ["a"], "label": [2]}, schema=schema), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="row 1: 'label' is 2, and there are 2 classes"):
        read_examples(tmp_path / "b.parquet")


def test_damaged_arrow_streams_end_in_a_sentence(tmp_path):
    raw = stream(tmp_path / "a.arrow", pa.table({"text": [f"text {i}" for i in range(200)]})).read_bytes()
    for seed in range(200):
        spoiled = bytearray(raw)
        for _ in range(3):
            spoiled[random.Random(seed).randrange(len(raw))] = seed % 256
        assert "\n" not in outcome(written(tmp_path / "a.arrow", bytes(spoiled)))


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 5000 + ".jsonl", "a\x00b.jsonl", "a/b/c.jsonl", "\ud800.jsonl"])
def test_names_that_are_no_files(name):
    with pytest.raises(InputError) as told:
        read_task(name)
    assert len(str(told.value)) < 500
    assert "\x00" not in str(told.value)


def test_a_name_is_not_cut_at_its_first_dot(tmp_path):
    names = [read_task(written(tmp_path / f"a.{x}.jsonl", LINES)).name for x in "xy"]
    assert names == ["a.x", "a.y"]
    assert read_task(written(tmp_path / "b.v1.jsonl.gz", gzip.compress(LINES.encode()))).name == "b.v1"
