"""From list to shortlist on a small hub: what it refuses, how long it is waited for, what is kept when it goes away."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from folders import save, weights
from hub_of_many import at_hub, hub_of_many, model

import lensllm
from lensllm import InputError
from lensllm.candidates.hub import look_up
from lensllm.shortlist.patience import Patience
from lensllm.store import Store
from lensllm.tuning.run import Run

NAMES = ("org/a", "org/b", "org/c", "org/d")


@pytest.fixture(scope="module")
def files(model_folders, tmp_path_factory):
    """Four models: two Llama-like that differ in a weight, a GPT-2- and a T5-like."""
    read = {kind: {file.name: file.read_bytes() for file in model_folders[kind].iterdir()} for kind in model_folders}
    folder = tmp_path_factory.mktemp("other")
    for name, body in read["llama"].items():
        (folder / name).write_bytes(body)
    save(folder, {name: 1.5 * one for name, one in weights(folder).items()})
    other = {file.name: file.read_bytes() for file in folder.iterdir()}
    return dict(zip(NAMES, (read["llama"], read["gpt"], read["t5"], other), strict=True))


@pytest.fixture
def hub(files):
    listed = [model(name, downloads=100 - i, days=10 * i + 1) for i, name in enumerate(files)]
    return hub_of_many([*listed, model("org/gated", gated="auto", downloads=1)], files)


@pytest.fixture
def finding(hub, sums_file, tmp_path):
    """Find on this hub."""

    def find(**options):
        with at_hub(hub, tmp_path / "hub"):
            return lensllm.find(str(sums_file), output_dir=str(tmp_path / "out"), max_test_examples=10, **options)

    return find


def outcomes(found):
    return {one.name: one.kind for one in found.dropped}


def test_all_are_kept_where_there_are_places(finding, tmp_path):
    found = finding()
    assert {one.name for one in found.kept} == set(NAMES)
    assert outcomes(found) == {}
    losses = {run.candidate: run.nats_per_byte for _, run in Store(tmp_path / "out", readonly=True).records(Run)}
    assert {one.name: one.nats_per_byte for one in found.kept} == losses
    assert found.kept[0].nats_per_byte == min(losses.values())
    assert found.kept[0].reasons[0] == "1st by loss"
    assert found.sentence == "Kept 4 of 4 models."


def test_without_measuring_no_weight_is_fetched(finding, tmp_path):
    found = finding(measure=False, keep=2)
    assert (found.kept[0].name, found.kept[0].reasons[0]) == ("org/a", "1st by downloads")
    assert all(one.nats_per_byte is None and one.download_bytes > 0 for one in found.kept)
    assert not list((tmp_path / "hub").rglob("*.safetensors"))
    assert outcomes(found) == dict.fromkeys(set(NAMES) - {one.name for one in found.kept}, "no place left")


def test_no_more_is_downloaded_than_may_be(finding, files, tmp_path, caplog):
    sizes = {name: len(files[name]["model.safetensors"]) for name in NAMES}
    most = sizes["org/a"] + max(sizes["org/b"], sizes["org/d"])
    found = finding(max_download=f"{most / 1000}kb")
    fetched = {path.parents[2].name[-1] for path in (tmp_path / "hub").rglob("*.safetensors")}
    assert sum(sizes[f"org/{one}"] for one in fetched) <= most
    assert 0 < len(fetched) < 4
    beyond = {name for name, kind in outcomes(found).items() if kind == "no room for its download"}
    assert beyond == {name for name in NAMES if name[-1] not in fetched}
    assert f"{len(beyond)} models left out, as there is no room for more" in caplog.text.replace("1 models", "1 model")


def test_without_room_for_any_download_places_go_by_downloads(finding):
    found = finding(max_download="1kb", keep=3)
    assert found.kept[0].reasons[0] == "1st by downloads"
    assert "no loss could be measured, so places go by downloads" in found.notes


def test_gated_models_are_asked_for_and_refused_by_name(finding):
    found = finding(gated=True)
    assert outcomes(found) == {"org/gated": "refused"}
    assert "org/gated is gated: ask for access at http://127.0.0.1:" in found.dropped[0].reason


def test_a_repository_that_holds_too_much_is_not_fetched(hub, tmp_path):
    there = [SimpleNamespace(rfilename="tokenizer.json", size=1 << 30, lfs=None, blob_id="1")]
    told = r"tokenizer.json has 1,073,741,824 bytes, which no such file needs"
    with at_hub(hub, tmp_path), pytest.raises(InputError, match=told):
        look_up("org/a", "org/a", "main", SimpleNamespace(sha="0" * 40, siblings=there))
    assert hub.asked == []


def test_no_more_models_are_looked_at_than_five_a_place(sums_file, tmp_path):
    hub = hub_of_many(
        [model(f"org/m{i}", downloads=1000 - i, days=1 + i, parameters=10_000 + i) for i in range(40)], {}
    )
    with at_hub(hub, tmp_path), pytest.raises(InputError, match=r"40 dropped \(not looked at 30, refused 10\)"):
        lensllm.find(str(sums_file), output_dir=str(tmp_path / "out"), keep=2)
    looked = {asked.split("/")[4] for asked in hub.asked if "/revision/" in asked}
    assert len(looked) == len(hub.asked) - 2 == 10
    assert {"m0", "m1", "m2", "m3", "m4"} < looked


def test_a_hub_that_names_no_commit(files, sums_file, tmp_path, monkeypatch):
    monkeypatch.setattr("model_hub.COMMIT", "main")
    hub = hub_of_many([{**model("org/a"), "sha": "main"}], files)
    with at_hub(hub, tmp_path), pytest.raises(InputError, match="the hub names no commit of org/a"):
        lensllm.find(str(sums_file), output_dir=str(tmp_path / "out"))


def test_a_busy_hub_is_waited_for_as_long_as_it_asks(hub, finding, monkeypatch):
    hub.busy, hub.wait = 2, "9"
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    steps = []
    found = finding(watch=lambda *step: steps.append(step))
    assert {one.name for one in found.kept} == set(NAMES)
    assert slept == [9.0, 9.0]
    assert ("the hub asks to wait 9 seconds", 0, 0) in steps


def test_a_hub_that_asks_to_wait_too_long_is_left_alone(hub, finding, monkeypatch):
    hub.busy, hub.wait = 1, "4000"
    monkeypatch.setattr(time, "sleep", pytest.fail)
    with pytest.raises(InputError, match=r"no model is left.*the hub did not answer 4.*asked to wait 4000 seconds"):
        finding()
    assert len([asked for asked in hub.asked if "/revision/" in asked]) == 1


@pytest.fixture
def until(hub, finding, monkeypatch):
    """Find while the hub answers until so much was asked, with no waits."""

    def find(answers):
        hub.answers = answers
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        return finding(keep=3)

    return find


def test_a_hub_that_goes_away_while_it_is_looked_at(hub, until, tmp_path):
    with pytest.raises(
        InputError, match=r"no model is left. Kept 0 of 4 models: 4 dropped \(the hub did not answer 4\)"
    ):
        until(2)
    assert (tmp_path / "out" / "models.csv").read_text().count("the hub did not answer") == 4


def test_what_was_measured_before_a_hub_went_away_is_kept(hub, finding, monkeypatch):
    had = []

    def find_candidate(model):
        hub.answers = None if len(had) < 2 else 0
        had.append(model)
        return lensllm.candidates.find_candidate(model)

    monkeypatch.setattr("lensllm.shortlist.measuring.find_candidate", find_candidate)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    found = finding()
    assert [f"{one.name}@{one.commit}" for one in sorted(found.kept, key=lambda one: one.name)] == sorted(had[:2])
    assert all(one.nats_per_byte is not None for one in found.kept)
    assert set(outcomes(found).values()) == {"the hub did not answer"}


def test_patience_ends():
    calls = []

    def away():
        calls.append(1)
        raise lensllm.errors.HubAway("nobody there")

    patience = Patience(lambda *_: None)
    for _ in range(5):
        with pytest.raises(lensllm.errors.HubAway):
            patience.ask(away)
    assert len(calls) == 3
    assert patience.gone == "the hub went away: nobody there"


def test_progress_is_told_step_by_step(finding, tmp_path):
    steps = []
    finding(watch=lambda *step: steps.append(step))
    kinds = [what.split(" ")[0] for what, *_ in steps]
    order = list(dict.fromkeys(kinds))
    assert order == ["listing", "files", "headers", "memory", "measuring", "downloading"]
    assert all(done <= of for _, done, of in steps)
    assert Path(tmp_path / "out" / "models.csv").is_file()
