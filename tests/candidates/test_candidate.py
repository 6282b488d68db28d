import json
import shutil

import pytest
import torch

from lensllm.candidates import find_candidate, find_candidates
from lensllm.candidates.load import context_length, load_model, load_tokenizer
from lensllm.errors import InputError


@pytest.fixture
def copy(model_folders, tmp_path):
    """A model folder that a test may break."""
    return shutil.copytree(model_folders["gpt"], tmp_path / "gpt")


@pytest.mark.parametrize(("name", "encoder_decoder"), [("gpt", False), ("llama", False), ("t5", True)])
def test_a_folder_is_a_candidate(model_folders, name, encoder_decoder):
    candidate = find_candidate(str(model_folders[name]))
    assert (candidate.name, candidate.encoder_decoder) == (name, encoder_decoder)
    assert load_model(candidate).dtype == torch.float32
    tokenizer = load_tokenizer(candidate)
    assert context_length(candidate, tokenizer) == (1 << 20 if name == "t5" else 64)


def test_the_fingerprint_follows_the_weights(copy, model_folders):
    before = find_candidate(str(copy)).fingerprint
    assert before == find_candidate(str(model_folders["gpt"])).fingerprint
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert find_candidate(str(copy)).fingerprint != before


def test_no_weights(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no weights: expected a .safetensors file"):
        find_candidate(str(copy))


def test_pickled_weights_are_refused_unopened(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04this would explode if it were opened")
    with pytest.raises(InputError, match="only pickled weights, which can run code"):
        find_candidate(str(copy))


def test_code_of_its_own_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(InputError, match="brings Python code of its own"):
        find_candidate(str(copy))


def test_damaged_files_are_named(copy):
    (copy / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="gpt cannot be loaded"):
        load_model(find_candidate(str(copy)))
    (copy / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"broken config.json"):
        find_candidate(str(copy))
    (copy / "config.json").unlink()
    with pytest.raises(InputError, match=r"it has no config.json"):
        find_candidate(str(copy))


@pytest.mark.parametrize("name", ["nonsense", "../../etc", "/etc/passwd", "a/../b", "org/name/more", "C:\\model", ""])
def test_names_that_are_nothing(name):
    with pytest.raises(InputError):
        find_candidate(name)


def test_a_hub_model_out_of_reach():
    with pytest.raises(InputError, match=r"'org/model' is not in the local cache and the hub cannot be reached"):
        find_candidate("org/model@main")


def test_two_of_one_name(model_folders, copy):
    with pytest.raises(InputError, match="two candidates are named 'gpt'"):
        find_candidates([str(model_folders["gpt"]), str(copy)])
    with pytest.raises(InputError, match="no candidates"):
        find_candidates([])
