import os
import shutil

import pytest
from folders import edit, save, weights

from lensllm.candidates import admit_candidates, find_candidate, find_candidates
from lensllm.candidates.load import load_model, load_tokenizer
from lensllm.errors import InputError


def differ(folder, by=1.0):
    tensors = weights(folder)
    tensors[next(iter(tensors))].view(-1)[0] += by
    save(folder, tensors)
    return folder


@pytest.mark.parametrize(
    "name", ["nonsense", "../../etc", "/etc/passwd", "a/../b", "org/name/more", "C:\\model", "", "a\0b", "x" * 5000]
)
def test_names_that_are_nothing(name):
    with pytest.raises(InputError):
        find_candidate(name)


def test_a_hub_model_out_of_reach():
    with pytest.raises(InputError, match=r"'org/model' is not in the local cache and the hub cannot be reached"):
        find_candidate("org/model@main")


def test_no_models():
    with pytest.raises(InputError, match="no candidates"):
        find_candidates([])


def test_one_odd_model_does_not_end_the_others(copied):
    good, bad = copied("gpt"), copied("llama", "bad")
    (bad / "config.json").write_text("[1, 2]")
    found = admit_candidates([str(bad), str(good), "nonsense"])
    assert [candidate.name for candidate in found.admitted] == ["gpt"]
    assert [one.name for one in found.refused] == [str(bad), "nonsense"]
    assert "expected an object, got list" in found.refused[0].reason
    with pytest.raises(InputError, match=r"expected an object, got list; no model 'nonsense'"):
        admit_candidates([str(bad), "nonsense"])


def test_equal_files_are_one_model(copied):
    first, second = copied("gpt", "first"), copied("gpt", "second")
    found = admit_candidates([str(first), str(second), str(first)])
    assert [candidate.name for candidate in found.admitted] == ["first"]
    assert [one.reason for one in found.refused] == [
        f"{second}: it has the same files as {first}, which stands for both",
        f"{first}: it has the same files as {first}, which stands for both",
    ]


def test_two_of_one_name_are_told_apart(copied, tmp_path):
    a = shutil.move(copied("gpt"), tmp_path / "a" / "deep" / "model")
    b = shutil.move(differ(copied("gpt")), tmp_path / "b" / "deep" / "model")
    other = copied("llama")
    names = [candidate.name for candidate in find_candidates([str(a), str(b), str(other)])]
    assert names == ["a/deep/model", "b/deep/model", "llama"]


def test_checkpoints_are_named_by_their_run(copied, tmp_path):
    one = shutil.move(copied("gpt"), tmp_path / "one" / "checkpoint-500")
    two = shutil.move(differ(copied("gpt")), tmp_path / "two" / "checkpoint-500")
    assert find_candidate(str(one)).name == "one/checkpoint-500"
    assert [c.name for c in find_candidates([str(one), str(two)])] == ["one/checkpoint-500", "two/checkpoint-500"]


def in_the_cache(folder, tmp_path):
    """The folder as `snapshot_download` lays it out: links into blobs."""
    root = tmp_path / "hub" / "models--org--name"
    snapshot = root / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (root / "blobs").mkdir()
    for i, file in enumerate(folder.iterdir()):
        shutil.copy(file, root / "blobs" / f"blob{i}")
        (snapshot / file.name).symlink_to(f"../../blobs/blob{i}")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("0" * 40)
    return snapshot


def test_a_folder_of_the_hub_cache_is_called_as_on_the_hub(copy, tmp_path):
    snapshot = in_the_cache(copy, tmp_path)
    for given in (snapshot, snapshot.parent.parent):
        candidate = find_candidate(str(given))
        assert candidate.name == "org/name"
        assert candidate.fingerprint == find_candidate(str(copy)).fingerprint
        load_model(candidate), load_tokenizer(candidate)


def test_a_name_that_is_not_text(copied, tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/mod\xff")
    shutil.move(copied("gpt"), folder)
    candidate = find_candidate(folder)
    assert candidate.name == "mod\\xff"
    load_model(candidate), load_tokenizer(candidate)


def test_files_in_the_place_of_folders(tmp_path, copy):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match=r"tiny.gguf is a GGUF file, which is not read: give a folder"):
        find_candidate(str(tmp_path / "tiny.gguf"))
    with pytest.raises(InputError, match=r"model.safetensors is a file: give the folder that holds it"):
        find_candidate(str(copy / "model.safetensors"))
    with pytest.raises(InputError, match=r"no model 'models/q4.gguf': there is no such file"):
        find_candidate("models/q4.gguf")
    (tmp_path / "lost").symlink_to("nowhere")
    with pytest.raises(InputError, match="lost is a link to nowhere"):
        find_candidate(str(tmp_path / "lost"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is a file"):
        find_candidate(str(tmp_path / "pipe"))


def test_a_folder_of_model_folders(copy):
    with pytest.raises(InputError, match=rf"is not a model folder, but holds some: give {copy}"):
        find_candidate(str(copy.parent))


def test_a_copy_with_another_setting_is_another_model(copied):
    first, second = copied("gpt", "first"), copied("gpt", "second")
    edit(second / "config.json", layer_norm_epsilon=1e-3)
    assert len(find_candidates([str(first), str(second)])) == 2
