"""Models whose weights come in 4 bits: what is read of them, what is refused, and that they are what they were."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from folders import edit, quantise, save, weights
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from lensllm.bound_pipeline import bound
from lensllm.candidates import Full, Lora, Qlora, cross, find_candidate
from lensllm.candidates.headers import read_headers
from lensllm.candidates.load import load_model
from lensllm.candidates.tensors import tensors_of
from lensllm.errors import InputError
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.training_config import TrainingConfig

QUICK = TrainingConfig(
    num_train_epochs=1, max_test_examples=10, max_validation_examples=10, learning_rate_trials=(0.3,)
)
LAYER = "model.layers.0.mlp.down_proj.weight"
STATE = f"{LAYER}.quant_state.bitsandbytes__nf4"
IDS = torch.arange(12)[None] + 1


def refuses(folder, match):
    with pytest.raises(InputError, match=match) as caught:
        load_model(replace(find_candidate(str(folder)), method=Qlora()))
    assert folder.name in str(caught.value)


@pytest.fixture
def packed(copied_wide):
    return quantise(copied_wide("llama", "packed"))


@pytest.mark.parametrize("name", ["gpt", "llama", "t5"])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [True, False])
def test_a_model_in_four_bits_is_what_transformers_makes_of_it(copied_wide, name, kind, double):
    folder = quantise(copied_wide(name), bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double)
    candidate = replace(find_candidate(str(folder)), method=Qlora())
    more = {"decoder_input_ids": IDS} if name == "t5" else {}
    family = AutoModelForSeq2SeqLM if name == "t5" else AutoModelForCausalLM
    expected = family.from_pretrained(folder)(IDS, **more).logits
    assert torch.equal(load_model(candidate)(IDS, **more).logits, expected)
    unpacked = load_model(candidate.unquantised)
    assert all(parameter.is_floating_point() for parameter in unpacked.parameters())
    assert torch.equal(unpacked(IDS, **more).logits, expected)


@pytest.mark.parametrize("name", ["gpt", "llama", "t5"])
def test_headers_are_those_of_the_model_before(wide_model_folders, copied_wide, name):
    before = read_headers(wide_model_folders[name], ["model.safetensors"])
    found = tensors_of(find_candidate(str(quantise(copied_wide(name)))))
    assert found.keys() == before.keys()
    assert all(sorted(found[key].shape) == sorted(before[key].shape) for key in before)


def test_it_is_tuned_by_qlora_whatever_adapters_were_asked_for(packed, wide_model_folders, sums_file):
    model = find_candidate(str(packed))
    for methods in ([], [Lora()], [Qlora()], [Lora(), Qlora()]):
        found = cross([(model, method) for method in methods or [None]], Lora())
        assert [one.method for one in found.candidates] == [Qlora()]
        assert "comes in 4 bits and is tuned by QLoRA (r 16, alpha 32, all linear layers)" in found.notes[0]
    both = cross([(model, Full()), (model, Lora())], Lora())
    assert [one.name for one in both.candidates] == ["packed qlora r16"]
    assert "weights in 4 bits cannot be trained: --methods qlora" in both.refused["packed full"]
    with pytest.raises(InputError, match="weights in 4 bits cannot be trained"):
        bound(str(packed), str(sums_file), sizes=[10])
    [candidate] = both.candidates
    assert candidate.untuned_name == "packed"
    encoded = EncodedTask(candidate, read_task(sums_file), QUICK)
    untuned, tuned = fine_tune(encoded, 0), fine_tune(encoded, 24)
    whole = sum(p.numel() for p in load_model(find_candidate(str(wide_model_folders["llama"]))).parameters())
    assert untuned.parameters == tuned.parameters == whole
    assert 0 < tuned.trained_parameters < whole
    assert tuned.nats_per_byte < untuned.nats_per_byte


def test_every_part_of_a_weight_must_be_there(packed):
    good = weights(packed)
    parts = [key for key in good if key.startswith(LAYER)]
    assert len(parts) == 6
    for part in parts:
        save(packed, {key: tensor for key, tensor in good.items() if key != part})
        missing = {LAYER: f"lacks {LAYER}$", STATE: f"{LAYER} has the type U8"}
        refuses(packed, missing.get(part, f"its 4-bit weight {LAYER} lacks {part}"))
    save(packed, {**good, "model.layers.0.mlp.up_gate.weight.absmax": torch.zeros(3, dtype=torch.uint8)})
    refuses(packed, "its files hold weights that the model does not have: model.layers.0.mlp.up_gate.weight.absmax")
    save(packed, {key: tensor for key, tensor in good.items() if key != "model.norm.weight"})
    refuses(packed, "1 weight that it needs is in none of its files: model.norm.weight")


@pytest.mark.parametrize("end", ["", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"])
def test_a_part_cut_short_is_refused_before_bitsandbytes_reads_past_it(packed, end):
    good = weights(packed)
    save(packed, {**good, f"{LAYER}{end}": good[f"{LAYER}{end}"][:-1]})
    refuses(packed, f"{LAYER}{end} has [0-9,]+ numbers of the type (U8|F32), and {STATE} tells of")


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": [10**9, 10**9]},
        {"shape": [64]},
        {"shape": [-64, -128]},
        {"shape": [64.0, 128]},
        {"shape": None},
        {"blocksize": 0},
        {"blocksize": 128},
        {"dtype": "load"},
        {"quant_type": "fp4"},
        {"nested_blocksize": 64},
        {"nested_dtype": "load"},
        {"nested_offset": None},
    ],
    ids=str,
)
def test_a_state_that_lies_is_refused(packed, wrong):
    good = weights(packed)
    said = json.loads(bytes(good[STATE].numpy())) | wrong
    save(packed, {**good, STATE: torch.tensor(list(json.dumps(said).encode()), dtype=torch.uint8)})
    refuses(packed, f"{STATE} (is not the state of|describes) a 4-bit weight|{LAYER} has [0-9,]+ numbers")


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{", b"\x80\x04\x95", b"[" * 4000, b" " * 5000])
def test_a_state_that_is_no_object_is_refused(packed, text):
    good = weights(packed)
    save(packed, {**good, STATE: torch.tensor(list(text), dtype=torch.uint8)})
    refuses(packed, f"{STATE} is not the state of a 4-bit weight")


def test_a_weight_of_another_shape(packed):
    good = weights(packed)
    said = json.loads(bytes(good[STATE].numpy())) | {"shape": [128, 64]}
    save(packed, {**good, STATE: torch.tensor(list(json.dumps(said).encode()), dtype=torch.uint8)})
    refuses(packed, rf"{LAYER} has the shape \(128, 64\), config.json says \(64, 128\)")


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"load_in_4bit": False, "load_in_8bit": True}, r"\(bitsandbytes\) in 8 bits, whose products depend on"),
        ({"quant_method": "gptq"}, r"quantised \(gptq\), and only 4 bits of bitsandbytes are trained over"),
        ({"bnb_4bit_quant_type": "int4"}, "describes 4 bits of bitsandbytes that are not known"),
        ({"bnb_4bit_quant_storage": "bfloat16"}, "describes 4 bits of bitsandbytes that are not known"),
        ({"llm_int8_skip_modules": [3]}, "describes 4 bits of bitsandbytes that are not known"),
        ({"llm_int8_skip_modules": ["(a+)+"]}, "describes 4 bits of bitsandbytes that are not known"),
        ({"llm_int8_skip_modules": ["model.layers.0.mlp", "lm_head"]}, "model.layers.0.mlp"),
    ],
)
def test_another_quantisation(packed, said, match):
    was = json.loads((packed / "config.json").read_text())["quantization_config"]
    edit(packed / "config.json", quantization_config=was | said)
    refuses(packed, match)


def test_modules_that_were_left_out_stay_so(copied_wide):
    folder = quantise(copied_wide("llama"), llm_int8_skip_modules=["model.layers.0.mlp", "lm_head"])
    candidate = replace(find_candidate(str(folder)), method=Qlora())
    found = {key for key, p in load_model(candidate).named_parameters() if p.dtype == torch.uint8}
    assert found
    assert not any("layers.0.mlp" in key for key in found)


def test_a_configuration_alone_quantises_nothing(copied_wide):
    folder = copied_wide("llama")
    edit(folder / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    refuses(folder, r"its weights are quantised \(bitsandbytes\) by config.json, and its files hold none so")


def test_bitsandbytes_missing(packed, monkeypatch):
    monkeypatch.setattr("lensllm.candidates.four_bits.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'not installed: pip install "lensllm\[quantized\]"'):
        cross([(find_candidate(str(packed)), None)], Lora())
    refuses(packed, "weights in 4 bits need bitsandbytes")
