"""`lensllm find` from the outside: a hub of hundreds of models, a shortlist, and why each is on it or not."""

from __future__ import annotations

import csv
import json
import shutil
import struct
import subprocess
import sys

import pytest
from commands import refused, run
from folders import edit, save, shard, weights
from hub_of_many import at_hub, hub_of_many, made_up, model
from local_hub import COMMIT, environment, local_hub

from lensllm.store import Store
from lensllm.tuning.run import Run
from lensllm.zoo import model_path

ZOO = ("gpt2-0.2m-mix-5m", "gpt2-0.2m-random", "llama-0.2m-jargon-1.5m", "t5-0.2m-glosses-1.5m", "llama-0.9m-mix-5m")
ASKED = ("--max-parameters", "3B", "--license", "apache-2.0", "mit", "--language", "it", "--task", "text-generation")


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def repositories(model_folders, tmp_path_factory):
    """What the hub has files of: models of the zoo, copies of one, and some that are not what they should be."""
    root = tmp_path_factory.mktemp("repositories")
    held = {f"zoo/{name}": files_of(model_path(name)) for name in ZOO}
    first = held["zoo/gpt2-0.2m-mix-5m"]
    held["again/uploaded"] = {**first, "README.md": b"mine", "config.json": first["config.json"] + b"\n"}
    cut = shutil.copytree(model_path("llama-0.2m-jargon-1.5m"), root / "sharded")
    shard(cut)
    held["zoo/sharded"] = files_of(cut)
    good = files_of(model_folders["gpt"])
    held["odd/cut"] = {**good, "model.safetensors": good["model.safetensors"][:5000]}
    held["odd/huge-header"] = {**good, "model.safetensors": struct.pack("<Q", 1 << 40) + b"{}"}
    held["odd/no-header"] = {**good, "model.safetensors": b"not at all"}
    held["odd/broken-config"] = {**good, "config.json": b"[1, 2]"}
    held["odd/pickled"] = {**{k: v for k, v in good.items() if "safetensors" not in k}, "pytorch_model.bin": b"\x80"}
    short = shutil.copytree(model_folders["llama"], root / "short")
    edit(short / "tokenizer_config.json", model_max_length=32)
    held["odd/short"] = files_of(short)
    held["odd/infinite"] = files_of(_with_nan(shutil.copytree(model_folders["gpt"], root / "infinite")))
    return held


def _with_nan(folder):
    save(folder, {name: one * float("nan") for name, one in weights(folder).items()})
    return folder


@pytest.fixture(scope="module")
def entries(repositories):
    """Three hundred that nobody has, and those with files, which are downloaded most."""
    listed = made_up(300)
    for i, name in enumerate(repositories):
        days = 400 if name == "zoo/gpt2-0.2m-mix-5m" else 10 + i
        listed.append(
            model(
                name,
                downloads=5_000_000 - i,
                days=days,
                config={"model_type": name.partition("/")[2].partition("-")[0]},
            )
        )
    listed.append(model("org/[bold]\x1b[2J", downloads=6_000_000))
    listed.append(model("org/gated", downloads=6_000_001, gated="manual"))
    listed.append(model("sly/tags", downloads=6_000_002, tags=["base_model:merge:a/\x1b[31m[red]"]))
    return listed


@pytest.fixture(scope="module")
def found(entries, repositories, sums_file, tmp_path_factory):
    """What one command printed and wrote, and what was asked of the hub, one that filters nothing."""
    hub, home = hub_of_many(entries, repositories), tmp_path_factory.mktemp("found")
    hub.knows = False
    options = ("--limit", 330, "--keep", 5, "--min-context", 60, "--output-dir", home / "out")
    command = ["find", sums_file, *ASKED, *options]
    with local_hub(hub) as address:
        env = environment(address, home)
        line = [sys.executable, "-m", "lensllm", *map(str, command)]
        done = subprocess.run(line, env=env, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (home / "out" / "models.csv").open() as table:
        outcomes = {row["model"]: (row["outcome"], row["reason"]) for row in csv.DictReader(table)}
    return done, outcomes, hub, home


def test_every_model_has_one_outcome_and_a_reason(found, entries):
    done, outcomes, *_ = found
    assert len(outcomes) == len(entries)
    assert all(reason for _, reason in outcomes.values())
    kinds = {outcome for outcome, _ in outcomes.values()}
    assert kinds >= {"kept", "gated", "GGUF", "adapter", "merge", "quantised copy", "another licence", "same weights"}
    assert kinds >= {"another language", "too many parameters", "refused", "short context", "no name of a model"}
    counts = {kind: sum(outcome == kind for outcome, _ in outcomes.values()) for kind in kinds}
    [sentence] = [line for line in done.stdout.splitlines() if line.startswith("Kept ")]
    assert sentence.startswith(f"Kept {counts['kept']} of {len(entries)} models: ")
    assert all(f"{kind} {count}" in sentence for kind, count in counts.items() if kind != "kept")


def test_why_models_of_the_hub_are_not_kept(found):
    _, outcomes, *_ = found
    assert outcomes["again/uploaded"] == (
        "same weights",
        "its files of weights are those of zoo/gpt2-0.2m-mix-5m, which came first and stands for both",
    )
    for name, said in {
        "odd/cut": "bytes and its header tells of",
        "odd/huge-header": "not safetensors",
        "odd/no-header": "not safetensors",
        "odd/broken-config": "expected an object",
        "odd/pickled": "only pickled weights",
    }.items():
        assert outcomes[name][0] == "refused"
        assert said in outcomes[name][1]
    assert outcomes["odd/short"] == ("short context", "it reads 32 tokens at once, fewer than 60")
    assert outcomes["odd/infinite"][0] == "could not be measured"
    assert "its logits are not finite" in outcomes["odd/infinite"][1]


def test_the_shortlist_is_a_mix_with_reasons_ready_for_select(found):
    done, outcomes, _, home = found
    lines = (home / "out" / "shortlist.txt").read_text().splitlines()
    kept = [line.partition("@")[0] for line in lines]
    assert {name for name, (outcome, _) in outcomes.items() if outcome == "kept"} == set(kept)
    assert 3 <= len(kept) <= 5
    assert all(f"@{COMMIT}  # " in line and "nats/byte; " in line for line in lines)
    assert "1st by loss" in lines[0]
    assert sum("smallest" in line for line in lines) >= 1
    assert sum("newest" in line or "family" in line for line in lines) >= 1
    assert f"--models @{home}/out/shortlist.txt" in done.stdout


def test_names_and_tags_from_outside_are_printed_as_text(found):
    done, outcomes, *_ = found
    assert "\x1b" not in done.stdout + done.stderr
    assert outcomes["org/[bold]\\x1b[2J"][0] == "no name of a model"
    assert outcomes["sly/tags"] == ("merge", "it is a merge of a/\\x1b[31m[red]")


def test_downloads_are_said_before_and_only_of_what_is_measured(found):
    done, outcomes, _, home = found
    [plan] = [line for line in done.stderr.splitlines() if line.startswith("plan: ")]
    fetched = {path.parents[2].name.removeprefix("models--").replace("--", "/") for path in home.rglob("*.safetensors")}
    measured = {name for name, (kind, _) in outcomes.items() if kind in ("kept", "surely behind", "no place left")}
    assert measured <= fetched
    assert {name for name in fetched if name.startswith("odd/")} <= {"odd/infinite"}
    assert f"to download for {len(fetched)} models" in plan


def test_requests_are_bounded(found):
    *_, hub, _ = found
    lists = [asked for asked in hub.asked if "/api/models?" in asked]
    assert len(lists) <= 1 + 2 * (-(-330 // 50) + 1)
    looked = {asked.split()[1].split("/revision/")[0] for asked in hub.asked if "/revision/" in asked}
    assert 0 < len(looked) <= 5 * 5
    assert len(hub.asked) <= 25 * len(looked)


def measured(home):
    """Runs that ended well."""
    return [run for _, run in Store(home / "out", readonly=True).records(Run) if run.status == "done"]


def test_neither_the_same_command_nor_select_measures_again(found, entries, repositories, sums_file, capsys):
    *_, home = found
    hub = hub_of_many(entries, repositories)
    before = measured(home)
    assert before[-1].candidate == "zoo/llama-0.9m-mix-5m"  # the cheapest came first
    first = (home / "out" / "shortlist.txt").read_text()
    options = ["--keep", 5, "--min-context", 60, "--output-dir", home / "out"]
    with at_hub(hub, home / "hub"):
        told = json.loads(run(capsys, "find", sums_file, *ASKED, "--limit", 330, *options, "--json"))
        assert not [asked for asked in hub.asked if "/zoo/" in asked and "safetensors" in asked]
        assert (home / "out" / "shortlist.txt").read_text() == first
        assert measured(home) == before
        few = ["--sizes", 8, "--num-train-epochs", 3, "--max-test-examples", 50, "--workers", 1]
        run(capsys, "select", sums_file, "--models", f"@{home}/out/shortlist.txt", "--output-dir", home / "out", *few)
    assert told["counts"] == {kind: count for kind, count in told["counts"].items() if count}
    assert [one["name"] for one in told["kept"]] == [line.partition("@")[0] for line in first.splitlines()]
    after = measured(home)
    assert [run for run in after if run.examples == 0] == before
    assert len(after) == len(before) + len(told["kept"])


def test_words_that_cannot_be_meant_end_with_a_sentence(sums_file, capsys, tmp_path):
    out = ("--output-dir", tmp_path)
    assert refused(capsys, "find", sums_file, *out, "--max-parameters", "3X").startswith(
        "lensllm: max_parameters is '3X'"
    )
    assert "the hub cannot be reached (HF_HUB_OFFLINE is set)" in refused(capsys, "find", sums_file, *out)
    with at_hub(hub_of_many([model("org/a")], {}), tmp_path):
        told = refused(capsys, "find", sums_file, *out, "--license", "apache2")
        assert "the hub knows no license 'apache2' (near it: apache-2.0)" in told
