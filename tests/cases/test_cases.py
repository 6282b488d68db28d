"""What people really brought: each folder holds an input, the command they gave and what it must do.

A case is run as a user runs it, in a copy of its folder. `expected.txt` says what should happen and why; the table
below says how that shows: the exit code of the last command, what must be printed and what must not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from warm import warm_commands

HERE = Path(__file__).parent
RANKED = "Report: out"


class Shows(NamedTuple):
    """How a right answer is recognised in what a case prints."""

    code: int
    printed: tuple[str, ...]
    never: tuple[str, ...] = ()


def refused(*printed: str) -> Shows:
    """Everything is refused: code 2 and nothing is ranked."""
    return Shows(2, printed, never=(RANKED, "P(best)"))


def one_left_out(*printed: str) -> Shows:
    """One candidate is refused by name, and the others are ranked."""
    return Shows(0, (*printed, RANKED, "the best of 1 candidate"))


def ranked(*printed: str) -> Shows:
    """The input is read and the candidates are ranked."""
    return Shows(0, (*printed, RANKED))


CASES = {
    "accuracies_in_the_loss_column": refused("curves.csv", "losses fall", "100 minus an accuracy"),
    "adapter_beside_the_weights": one_left_out("refused: model: it is an adapter", "give the base itself"),
    "auto_map_of_a_known_architecture": ranked("Fine-tune model on all 51 examples"),
    "bom_json": Shows(0, ("Report: out/", "Report: out2/", "all 51 examples")),
    "brackets_in_names": Shows(0, ("oak[/INST]", "oak[bold]", "elm [v2]")),
    "broken_line_number": refused("data.jsonl line 37 is not valid JSON"),
    "candidates_named_by_numbers": Shows(0, ("\n7 ", "\n13 ", "P(best)")),
    "chat_messages": ranked("gpt2-0.2m-random has no chat template", "User:, Assistant:"),
    "context_length_not_found": ranked("model reads 6 of 6 test prompts without their beginning"),
    "csv_columns_shift": refused("data.csv row 2 has 3 cells, the header 2"),
    "encoder_only_bert": one_left_out("refused: model: BertForMaskedLM", "reads it both ways, so it cannot write text"),
    "end_token_written_in_the_text": Shows(0, ("'<', '|', 'end', 'of', 'te', 'xt', '|', '>'", "bytes 17")),
    "experts_not_counted": Shows(0, ("mixtral counted as the product does: 36241408",)),
    "folder_of_shards": ranked("all 51 examples"),
    "folder_renamed_between_runs": ranked("\nrenamed ", "the best of 2 candidates"),
    "gguf_file": refused("models/tiny-q4.gguf is a GGUF file", "safetensors"),
    "gz_cut_short": refused("data.jsonl.gz is cut short"),
    "html_into_a_missing_folder": refused("nowhere/report.html cannot be written: there is no folder"),
    "json_list_inside_an_object": ranked("the list under 'data' is read"),
    "lone_surrogate": refused("data.jsonl line 61", r"\ud83d", "leave the row out"),
    "losses_of_zero_or_less": refused("curves.csv row 12: 'loss' is '-0.5'", "zero.csv row 2: 'loss' is '0'"),
    "missing_output_layer": Shows(2, ("in none of its files: lm_head.weight",), never=(RANKED,)),
    "null_and_empty_completions": Shows(
        0,
        (
            "empty.jsonl: 1 of 61 rows has nothing to learn and is left out",
            "null.jsonl: 1 of 61 rows has nothing to learn and is left out",
            "short.csv: 1 of 61 rows has nothing to learn and is left out",
        ),
    ),
    "one_instruction_for_all": ranked("the 60 rows have 1 different prompt", "all 51 examples"),
    "one_long_completion": ranked("is left out for all candidates (data.jsonl line 41)"),
    "one_spike_spoils_all": Shows(0, ("P(best)", "fir")),
    "one_test_example": ranked("the test has 1 example", "hardly any difference"),
    "quantised_bitsandbytes": one_left_out("refused: model: its weights are quantised (bitsandbytes)"),
    "repeated_point_conflicts": refused("oak at 800 examples", "1.0253 (row 6), 5 (row 12)"),
    "same_model_under_two_names": one_left_out("refused: second: it has the same files as first"),
    "saved_dataset_folder": ranked("all 51 examples"),
    "space_put_between_prompt_and_completion": Shows(0, ("'lamp (boat)' expected 'lamp (boat)'",)),
    "spaces_round_names_and_headers": Shows(0, ("\noak  ", "\nelm  ")),
    "test_file_is_training_file": refused("all 57 training examples are test examples as well"),
    "text_and_label": ranked("read as classification", "2 labels: 0, 1"),
    "token_ids_beyond_the_embeddings": ranked("model has 2,048 embeddings", "'->' the id 2,048"),
    "tokenizer_code_is_run": Shows(
        0, ("its tokenizer (XTok) brings Python code of its own, which is not run", "code was not run"), ("FAULT",)
    ),
    "tokenizer_loses_text": ranked("the tokenizer of model loses 76.6% of the bytes", "Fine-tune llama-0.2m"),
    "tsv_with_inch_marks": ranked("quotation marks are read as ordinary characters", "all 51 examples"),
    "unknown_architecture": one_left_out("refused: model: its architecture 'llama9' is not known"),
    "weights_with_other_names": Shows(2, ("21 weights that it needs are in none of its files",), never=(RANKED,)),
    "wide_sizes_with_separators": Shows(0, ("0.6170", "P(best)")),
}


def test_every_folder_has_its_line():
    assert {path.parent.name for path in HERE.glob("*/run.sh")} == set(CASES)


@pytest.fixture(scope="module")
def lensllm(tmp_path_factory):
    with warm_commands(tmp_path_factory.mktemp("warm")) as folder:
        yield folder / "lensllm"


@pytest.fixture
def printed_by(tmp_path, lensllm):
    """What a case prints, with its exit code."""

    def printed_by(name: str) -> tuple[int, str]:
        folder = shutil.copytree(HERE / name, tmp_path / name)
        process = subprocess.run(
            ["bash", str(folder / "run.sh")],
            env={**os.environ, "LENSLLM": str(lensllm), "COLUMNS": "1000"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=500,
        )
        return process.returncode, process.stdout + process.stderr

    return printed_by


@pytest.mark.parametrize("name", CASES)
def test_case(printed_by, name):
    code, printed = printed_by(name)
    shows = CASES[name]
    assert code == shows.code, printed
    assert [text for text in shows.printed if text not in printed] == [], printed
    assert [text for text in (*shows.never, "Traceback", "Aborted!") if text in printed] == [], printed


def test_a_spike_leaves_the_clean_candidates_where_they_were(printed_by):
    """The clean curves, which would be forecast at 0.79 for oak and from 0.68 to 0.92, keep that."""
    _, printed = printed_by("one_spike_spoils_all")
    point, low, high = map(float, re.search(r"oak +([\d.]+) +([\d.]+) - ([\d.]+)", printed).groups())
    assert abs(point - 0.79) < 0.024  # a tenth of the interval 0.68 to 0.92
    assert high - low < 1.5 * (0.92 - 0.68)


def test_one_test_example_decides_nothing(printed_by):
    _, printed = printed_by("one_test_example")
    assert max(int(share) for share in re.findall(r"(\d+)%  ", printed)) < 60
