"""What is refused, or ignored, when a model is opened."""

import json

import pytest
import torch
from folders import edit, save, weights
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    GPT2ForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    MptConfig,
    MptForCausalLM,
    XLNetConfig,
    XLNetLMHeadModel,
)

from lensllm.candidates import find_candidate
from lensllm.candidates.load import context_length, load_model, load_tokenizer
from lensllm.errors import InputError

SMALL = dict(vocab_size=320, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)


def refuses(folder, match):
    candidate = find_candidate(str(folder))
    with pytest.raises(InputError, match=match) as caught:
        load_model(candidate)
    assert candidate.name in str(caught.value)


def test_code_beside_a_known_architecture_is_ignored(copy, capfd):
    before = {name: tensor.clone() for name, tensor in load_model(find_candidate(str(copy))).state_dict().items()}
    edit(copy / "config.json", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})
    edit(copy / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Tok", None]}, tokenizer_class="GPT2Tokenizer")
    (copy / "own.py").write_text("raise SystemExit('the code of the folder was run')")
    (copy / "custom_generate").mkdir()
    (copy / "custom_generate" / "generate.py").write_text("raise SystemExit('the code of the folder was run')")
    edit(copy / "generation_config.json", auto_map={"x": "own.X"}, custom_generate="own")
    candidate = find_candidate(str(copy))
    after = load_model(candidate).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert load_tokenizer(candidate)("12 plus 5")["input_ids"]
    assert "custom code" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_the_folder_does_not_choose_the_kernel(copy, key, monkeypatch):
    from transformers.integrations import hub_kernels

    def fetched(*args, **kwargs):
        raise AssertionError(f"a kernel was asked for: {args}")

    for name in ("get_kernel", "load_and_register_attn_kernel"):
        monkeypatch.setattr(hub_kernels, name, fetched, raising=False)
    edit(copy / "config.json", **{key: "evil-org/evil-kernel"})
    assert load_model(find_candidate(str(copy))).config._attn_implementation == "sdpa"
    assert load_model(find_candidate(str(copy)), attn_implementation="eager").config._attn_implementation == "eager"


def test_the_folder_does_not_choose_its_weight_file(copy):
    tensors = weights(copy)
    save(copy, {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, "zeros.safetensors")
    edit(copy / "config.json", transformers_weights="zeros.safetensors")
    loaded = load_model(find_candidate(str(copy))).state_dict()
    assert all(
        torch.equal(loaded[name if name in loaded else f"transformer.{name}"], tensors[name]) for name in tensors
    )


@pytest.mark.parametrize("part", ["mlp.c_fc.weight", "wte.weight", "ln_f.bias"])
def test_a_missing_weight_is_named(copy, part):
    tensors = weights(copy)
    gone = next(name for name in tensors if name.endswith(part))
    del tensors[gone]
    save(copy, tensors)
    refuses(copy, rf"1 weight that it needs is in none of its files: .*{part}|2 weights .*{part}")


def test_an_output_layer_that_is_missing(copied):
    folder = copied("llama")
    edit(folder / "config.json", tie_word_embeddings=False)
    refuses(folder, r"1 weight that it needs is in none of its files: lm_head.weight")


def test_no_name_fits(copied):
    folder = copied("llama")
    save(folder, {f"wrapped.{name}": tensor for name, tensor in weights(folder).items()})
    refuses(folder, r"weights that it needs are in none of its files: .*; the files hold wrapped\.")


def test_half_an_encoder_decoder(copied):
    folder = copied("t5")
    save(folder, {name: tensor for name, tensor in weights(folder).items() if not name.startswith("decoder")})
    refuses(folder, r"in none of its files: decoder\.")


def test_weights_too_many(copy):
    tensors = weights(copy)
    save(copy, {**tensors, "v_head.summary.weight": torch.zeros(1, 16)})
    refuses(copy, r"its files hold weights that the model does not have: v_head.summary.weight")
    save(copy, tensors)
    edit(copy / "config.json", n_layer=1)
    refuses(copy, r"weights that the model does not have: .*h\.1\.")


def test_a_classifier_is_not_a_model_without_a_head(copy):
    model = GPT2ForSequenceClassification.from_pretrained(copy)
    model.save_pretrained(copy)
    edit(copy / "config.json", architectures=None)
    refuses(copy, r"weights that the model does not have: score.weight")


def test_another_shape_is_named(copy):
    edit(copy / "config.json", n_inner=7)
    refuses(copy, r"its weight .*mlp\S+ has the shape \(\d+.*\), config.json says \(")


def test_gigabytes_beside_a_small_file(copy):
    """Nothing of the size that the configuration asks for is ever taken."""
    edit(copy / "config.json", n_embd=1 << 20, n_head=1, vocab_size=1 << 30)
    refuses(copy, r"has the shape \(.*config.json says \(")


def test_buffers_may_be_there_or_not(copied):
    gpt, llama = copied("gpt"), copied("llama")
    mask = torch.ones(1, 1, 64, 64, dtype=torch.uint8)
    save(
        gpt, {**weights(gpt), "transformer.h.0.attn.bias": mask, "transformer.h.0.attn.masked_bias": torch.tensor(-1e4)}
    )
    save(llama, {**weights(llama), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    load_model(find_candidate(str(gpt))), load_model(find_candidate(str(llama)))


def test_a_tied_output_layer_may_be_saved_too(copied):
    folder = copied("llama")
    tensors = weights(folder)
    save(folder, {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()})
    load_model(find_candidate(str(folder)))


def test_a_part_for_text_that_is_none(copied):
    folder = copied("llama")
    edit(folder / "config.json", text_config=[1])
    refuses(folder, "llama cannot be used: its weights do not fit its configuration")


def test_half_precision_is_read(copy):
    save(copy, {name: tensor.to(torch.bfloat16) for name, tensor in weights(copy).items()})
    assert load_model(find_candidate(str(copy))).dtype == torch.float32


def put(folder, model):
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    return folder


def test_models_that_read_the_future(copied):
    torch.manual_seed(0)
    xlnet = XLNetLMHeadModel(XLNetConfig(vocab_size=320, d_model=16, n_layer=2, n_head=2, d_inner=32))
    refuses(put(copied("gpt", "xlnet"), xlnet), r"xlnet reads the tokens that it should predict")
    bert = put(copied("gpt", "bert"), BertForMaskedLM(BertConfig(**SMALL, max_position_embeddings=64)))
    edit(bert / "config.json", architectures=None)
    with pytest.raises(InputError, match="bert reads a text both ways"):
        find_candidate(str(bert))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MistralForCausalLM(MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=4)),
        lambda: MixtralForCausalLM(MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=4)),
        lambda: BertLMHeadModel(BertConfig(**SMALL, is_decoder=True)),
    ],
    ids=["sliding window", "experts", "a decoder of an encoder's kind"],
)
def test_models_that_read_the_past_only(copy, make):
    torch.manual_seed(0)
    load_model(find_candidate(str(put(copy, make()))))


def test_damaged_numbers(copy):
    tensors = weights(copy)
    tensors["transformer.ln_f.bias" if "transformer.ln_f.bias" in tensors else "ln_f.bias"][:] = float("nan")
    save(copy, tensors)
    refuses(copy, "its logits are not finite")


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"n_positions": 48}, 48),
        ({"model_max_length": 40}, 40),
        ({"model_max_length": -1}, 64),
        ({"model_max_length": 1e30}, 64),
    ],
)
def test_context_lengths(copy, settings, length):
    if "n_positions" in settings:
        edit(copy / "config.json", **settings)
    else:
        edit(copy / "tokenizer_config.json", **settings)
    candidate = find_candidate(str(copy))
    assert context_length(candidate, load_tokenizer(candidate)) == length


def test_context_lengths_under_other_names(copied):
    folder = put(
        copied("gpt"), MptForCausalLM(MptConfig(vocab_size=320, d_model=16, n_heads=2, n_layers=1, max_seq_len=24))
    )
    edit(folder / "tokenizer_config.json", model_max_length=None)
    candidate = find_candidate(str(folder))
    assert context_length(candidate, load_tokenizer(candidate)) == 24
    settings = json.loads((folder / "config.json").read_text())
    for kind, wanted in (
        ({"model_type": "gemma3", "text_config": {**SMALL, "max_position_embeddings": 33}}, 33),
        ({"model_type": "xlnet"}, 1 << 20),
        ({"model_type": "rwkv", "context_length": 17}, 17),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1, "is_decoder": True}, 512),
        ({"model_type": "t5", "n_positions": 512}, 1 << 20),
        ({"model_type": "mamba"}, 1 << 20),
    ):
        (folder / "config.json").write_text(json.dumps(kind))
        candidate.__dict__.pop("config", None)
        assert context_length(candidate, None) == wanted, kind
    (folder / "config.json").write_text(json.dumps(settings))
