"""What is refused by name before a weight is read."""

import json
import os

import pytest
import torch
from folders import edit, save, shard, weights
from transformers import BertConfig, BertForMaskedLM

from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model
from lensllm.errors import InputError


def refuses(folder, match):
    with pytest.raises(InputError, match=match) as caught:
        find_candidate(str(folder))
    assert str(folder) in str(caught.value)


def test_no_weights(copy):
    (copy / "model.safetensors").unlink()
    refuses(copy, r"it has no weights: expected a .safetensors file")


def test_pickled_weights_are_refused_unopened(copy):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04this would explode if it were opened")
    refuses(copy, "only pickled weights, which can run code")


def test_weights_under_another_name(copy):
    (copy / "model.safetensors").rename(copy / "d.safetensors")
    refuses(copy, r"no weights under the name model.safetensors; d.safetensors is not read")


@pytest.mark.parametrize(
    "text",
    [
        b"null",
        b"3",
        b"[1, 2]",
        b"{",
        b"\x80\x04\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"vocab_size": 1' + b"0" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_a_broken_json_file_is_named(copy, name, text):
    (copy / name).write_bytes(text)
    refuses(copy, rf"broken {name}")


@pytest.mark.parametrize(
    "wrong",
    [{"vocab_size": "abc"}, {"n_layer": 2.5}, {"n_layer": [2]}, {"n_layer": 0}, {"n_layer": -1}, {"n_layer": 10**9}],
)
def test_impossible_values(copy, wrong):
    edit(copy / "config.json", **wrong)
    refuses(copy, r"config.json (has a value that gpt2 cannot have|says (n_layer|num_hidden_layers) = )")


def test_a_million_layers_are_not_built(copied):
    folder = copied("llama")
    edit(folder / "config.json", num_hidden_layers=10**6)
    refuses(folder, r"num_hidden_layers = 1,000,000, and its files hold 20 tensors")


def test_an_unknown_architecture(copy):
    edit(copy / "config.json", model_type="llama9")
    refuses(copy, r"its architecture 'llama9' is not known to the installed transformers: a newer transformers may")
    edit(copy / "config.json", auto_map={"AutoModelForCausalLM": "modeling.Model"})
    refuses(copy, r"'llama9' is not known .* and brings Python code of its own, which is not run")
    edit(copy / "config.json", model_type=None)
    refuses(copy, r"config.json names no model_type")


def test_models_that_cannot_write(copied, tmp_path):
    folder = copied("gpt")
    settings = dict(vocab_size=320, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertForMaskedLM(BertConfig(**settings)).save_pretrained(folder)
    refuses(folder, "BertForMaskedLM fills gaps in a text and reads it both ways")
    edit(folder / "config.json", architectures=None)
    refuses(folder, r"bert reads a text both ways \(is_decoder is false\)")
    edit(folder / "config.json", architectures=["BertForSequenceClassification"])
    refuses(folder, "classifier or reward model")
    folder = copied("t5", "encoder")
    edit(folder / "config.json", architectures=["T5EncoderModel"])
    refuses(folder, "T5EncoderModel is the encoder half")
    edit(folder / "config.json", model_type="clip", architectures=None)
    refuses(folder, "clip is not an architecture that writes text")


def test_adapters(copied):
    folder = copied("gpt")
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "org/base", "peft_type": "LORA"})
    )
    refuses(folder, "it is an adapter of org/base and not a whole model")
    (folder / "config.json").unlink()
    (folder / "model.safetensors").unlink()
    refuses(folder, "it is an adapter of org/base and not a whole model")


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq", "fp8", "compressed-tensors"])
def test_quantised_by_its_configuration(copy, method):
    edit(copy / "config.json", quantization_config={"quant_method": method})
    refuses(copy, rf"its weights are quantised \({method}\)")


def test_quantised_by_its_types(copy):
    tensors = weights(copy)
    name = next(name for name in tensors if name.endswith("c_fc.weight"))
    save(copy, {**tensors, name: tensors[name].to(torch.float8_e4m3fn)})
    refuses(copy, rf"its weights are quantised \({name} is F8_E4M3\)")
    save(copy, {**tensors, name: tensors[name].long()})
    refuses(copy, rf"its weight {name} has the type I64")


def test_a_tokenizer_that_is_not_there(copy):
    (copy / "tokenizer.json").unlink()
    refuses(copy, r"no tokenizer files \(tokenizer.json")


@pytest.mark.parametrize("auto_map", [{"AutoTokenizer": ["code.Own", None]}, ["code.Own", None]])
def test_a_tokenizer_that_needs_code(copy, auto_map):
    edit(copy / "tokenizer_config.json", auto_map=auto_map, tokenizer_class="Own")
    (copy / "code.py").write_text("raise SystemExit('the code of the folder was run')")
    refuses(copy, r"its tokenizer \(Own\) brings Python code of its own, which is not run")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_git_lfs_pointers(copy, name):
    (copy / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n")
    refuses(copy, rf"{name} is a Git LFS pointer and not the file: run `git lfs pull`")


@pytest.mark.parametrize(
    ("torn", "match"),
    [
        (b"torn", "not a safetensors file, or the download is not complete"),
        (b"", "not a safetensors file"),
        (b"\xff" * 64, "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"{}", "hold no tensor"),
        ((2).to_bytes(8, "little") + b"[]", "its header cannot be read"),
        ((2).to_bytes(8, "little") + b"{}more", "its header tells of"),
    ],
)
def test_damaged_weights(copy, torn, match):
    (copy / "model.safetensors").write_bytes(torn)
    refuses(copy, match)


def test_a_download_cut_short(copy):
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[:-100])
    refuses(copy, r"model.safetensors has [\d,]+ bytes and its header tells of [\d,]+: the download is not complete")


def test_an_index_names_files_of_its_folder_only(copy, tmp_path):
    shard(copy)
    load_model(find_candidate(str(copy)))
    index = copy / "model.safetensors.index.json"
    good = json.loads(index.read_text())["weight_map"]
    (tmp_path / "outside.safetensors").write_bytes((copy / "model-00001-of-00001.safetensors").read_bytes())
    (copy / "pytorch_model.bin").write_bytes(b"pickle")
    first = next(iter(good))
    for place in (
        "../outside.safetensors",
        str(tmp_path / "outside.safetensors"),
        "sub/x.safetensors",
        "pytorch_model.bin",
        "..",
        3,
    ):
        index.write_text(json.dumps({"weight_map": {**good, first: place}}))
        refuses(copy, "which is not a safetensors file of the folder itself")
    index.write_text(json.dumps({"weight_map": {**good, first: "model-00002-of-00002.safetensors"}}))
    refuses(copy, "which is missing: the download is not complete")
    for empty in ({}, {"weight_map": []}, {"weight_map": {}}):
        index.write_text(json.dumps(empty))
        refuses(copy, "has no weight_map")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_links_out_of_the_folder(copy, tmp_path, name):
    (copy / name).rename(tmp_path / "outside")
    (copy / name).symlink_to(tmp_path / "outside")
    refuses(copy, rf"{name} is a link out of the folder")
    (copy / name).unlink()
    (copy / name).symlink_to("nowhere")
    refuses(copy, rf"{name} is a link to nowhere")
    (copy / name).unlink()
    os.mkfifo(copy / name)
    refuses(copy, rf"{name} is not a regular file")
    (copy / name).unlink()
    (copy / name).mkdir()
    refuses(copy, rf"{name} is not a regular file")


def test_links_within_the_folder(copy):
    (copy / "model.safetensors").rename(copy / "weights.safetensors")
    (copy / "model.safetensors").symlink_to("weights.safetensors")
    load_model(find_candidate(str(copy)))


def test_what_is_not_read_is_not_looked_at(copy):
    os.mkfifo(copy / "zz.json")
    (copy / "yy.json").symlink_to("nowhere")
    (copy / "xx.json").mkdir()
    load_model(find_candidate(str(copy)))
