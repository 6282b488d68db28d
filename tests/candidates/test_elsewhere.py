"""A candidate is found again on another machine, or the reason is said."""

import shutil
from dataclasses import replace

import pytest

from lensllm.candidates import find_candidate
from lensllm.candidates.elsewhere import Sent, found_here
from lensllm.errors import InputError


@pytest.fixture
def folder(model_folders, tmp_path):
    return shutil.copytree(model_folders["gpt"], tmp_path / "gpt")


@pytest.fixture
def cached(folder, tmp_path, monkeypatch):
    """The model as it lies in a cache of the hub."""
    from huggingface_hub import constants

    place = tmp_path / "hub" / "models--org--gpt"
    snapshot = place / "snapshots" / ("a" * 40)
    shutil.copytree(folder, snapshot)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return snapshot


def test_by_the_same_path(folder):
    sent = Sent.of(find_candidate(str(folder)))
    assert (sent.hub, sent.in_zoo) == (None, False)
    here = found_here(sent)
    assert (here.folder, here.fingerprint) == (folder, sent.fingerprint)


def test_what_was_read_is_not_sent_along(folder):
    candidate = find_candidate(str(folder))
    assert candidate.tensors
    assert set(vars(Sent.of(candidate).candidate)) == set(candidate.__dataclass_fields__)


def test_of_the_zoo_wherever_that_lies(tmp_path):
    sent = Sent.of(find_candidate("gpt2-0.2m-random"))
    moved = replace(sent, candidate=replace(sent.candidate, folder=tmp_path / "not here"))
    assert found_here(moved) == find_candidate("gpt2-0.2m-random")


def test_by_its_name_and_commit_in_the_hubs_cache_wherever_that_lies(cached, tmp_path, monkeypatch):
    sent = Sent.of(find_candidate(str(cached)))
    assert sent.hub == ("org/gpt", "a" * 40)
    from huggingface_hub import constants

    moved = (tmp_path / "hub").rename(tmp_path / "moved")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(moved))
    from lensllm.candidates import elsewhere

    monkeypatch.setattr(elsewhere, "download", lambda name, commit: moved / "models--org--gpt" / "snapshots" / commit)
    assert found_here(sent).folder == moved / cached.relative_to(tmp_path / "hub")


def test_a_folder_that_is_not_there_is_said(folder):
    sent = Sent.of(find_candidate(str(folder)))
    folder.rename(folder.with_name("other"))
    with pytest.raises(InputError, match=r"there is no folder .*gpt: lay it on a disk that all nodes have"):
        found_here(sent)


def test_other_files_in_its_place_are_said(folder):
    sent = Sent.of(find_candidate(str(folder)))
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    with pytest.raises(InputError, match="holds other files there than where the command runs"):
        found_here(sent)
