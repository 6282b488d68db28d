import shutil

import pytest
import torch
from folders import edit, save, shard, weights

from lensllm.candidates import find_candidate
from lensllm.candidates.load import context_length, load_model, load_tokenizer


@pytest.mark.parametrize(("name", "encoder_decoder"), [("gpt", False), ("llama", False), ("t5", True)])
def test_a_folder_is_a_candidate(model_folders, name, encoder_decoder):
    candidate = find_candidate(str(model_folders[name]))
    assert (candidate.name, candidate.encoder_decoder, candidate.vocabulary) == (name, encoder_decoder, 320)
    assert load_model(candidate).dtype == torch.float32
    tokenizer = load_tokenizer(candidate)
    assert context_length(candidate, tokenizer) == (1 << 20 if name == "t5" else 64)


def test_what_the_architecture_implies_need_not_be_written(copied):
    folder = copied("t5")
    edit(folder / "config.json", is_encoder_decoder=None)
    assert find_candidate(str(folder)).encoder_decoder


def test_the_fingerprint_follows_the_weights(copy, model_folders):
    before = find_candidate(str(copy)).fingerprint
    assert before == find_candidate(str(model_folders["gpt"])).fingerprint
    tensors = weights(copy)
    tensors[next(iter(tensors))].view(-1)[0] += 1
    save(copy, tensors)
    assert find_candidate(str(copy)).fingerprint != before


@pytest.mark.parametrize("name", ["tokenizer.model", "source.spm", "x.tiktoken", "vocab.bpe", "merges.txt"])
def test_the_fingerprint_follows_every_file_that_is_read(copy, name):
    before = find_candidate(str(copy)).fingerprint
    (copy / name).write_bytes(b"x")
    assert find_candidate(str(copy)).fingerprint != before


@pytest.mark.parametrize(
    "name", ["card.json", "README.md", "trainer_state.json", "optimizer.pt", "generation_config.json"]
)
def test_the_fingerprint_does_not_follow_a_file_that_is_not_read(copy, name):
    before = find_candidate(str(copy)).fingerprint
    (copy / name).write_text("{}")
    candidate = find_candidate(str(copy))
    assert candidate.fingerprint == before
    load_model(candidate)


def test_the_fingerprint_follows_the_shards(copy):
    shard(copy)
    before = find_candidate(str(copy)).fingerprint
    load_model(find_candidate(str(copy)))
    (copy / "model.safetensors").symlink_to("model-00001-of-00001.safetensors")
    tensors = weights(copy)
    (copy / "model.safetensors").unlink()
    tensors[next(iter(tensors))].view(-1)[0] += 1
    save(copy, tensors, "model-00001-of-00001.safetensors")
    assert find_candidate(str(copy)).fingerprint != before


def test_a_shipped_models_weights_are_those_of_its_file(copied):
    folder = copied("llama")
    model = load_model(find_candidate(str(folder)))
    kept = model.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in weights(folder).items())
    shutil.rmtree(folder)
    assert torch.isfinite(model(torch.ones(1, 4, dtype=torch.long)).logits).all()
