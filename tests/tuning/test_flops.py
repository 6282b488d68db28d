"""The meter against 2 N a token, where torch's counter sees all and where it does not."""

import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from lensllm.tuning import flops
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.used_parameters import used_parameters

SMALL = dict(
    vocab_size=256,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    max_position_embeddings=128,
    pad_token_id=0,
)
DENSE = 4 * 32 * 32 * 2
MLP = 3 * 32 * 64


def made(kind, **settings):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SMALL, **settings}))


def test_parameters_that_a_token_uses():
    used = used_parameters(made("llama"))
    assert (used.read, used.written, used.head) == (DENSE + 2 * MLP, 0, 256 * 32)
    tied = used_parameters(made("llama", tie_word_embeddings=True))
    assert (tied.read, tied.head) == (used.read, used.head)
    experts = used_parameters(made("mixtral", num_local_experts=8, num_experts_per_tok=2))
    assert experts.read == DENSE + 2 * (2 * MLP + 8 * 32)


@pytest.mark.parametrize("chosen", [1, 2, 8])
def test_experts_are_counted(chosen):
    model = made("mixtral", num_local_experts=8, num_experts_per_tok=chosen)
    before = model.config._experts_implementation
    meter = FlopMeter(model)
    assert meter.estimated == ""
    assert model.config._experts_implementation == before
    used = used_parameters(model)
    counted = meter.of(64, 64, training=False)
    assert used.linear(64, 64) < counted < used.linear(64, 64) + used.quadratic(64, 64) * 1.01


def test_all_experts_cost_what_a_wide_layer_does():
    dense = FlopMeter(made("llama", intermediate_size=8 * 64)).of(64, 64, training=True)
    experts = FlopMeter(made("mixtral", num_local_experts=8, num_experts_per_tok=8)).of(64, 64, training=True)
    assert experts == pytest.approx(dense, rel=0.1)


def test_a_cost_is_never_negative_and_an_odd_count_is_not_charged(monkeypatch):
    """As with linear attention in chunks: each of the short probes costs a whole chunk."""
    model = made("llama")
    truth = used_parameters(model).linear(1024, 64)
    monkeypatch.setattr(flops, "_count", lambda model, length, kept: (10**7 - 100 * length, 3 * 10**7 - 300 * length))
    meter = FlopMeter(model)
    assert "torch's counter sees" in meter.estimated
    assert meter.of(1024, 64, training=False) == truth
    assert meter.of(1024, 64, training=True) == 3 * truth


def test_a_model_that_the_counter_cannot_run_is_charged_by_its_parameters(monkeypatch):
    def fails(model, length, kept):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(flops, "_count", fails)
    meter = FlopMeter(made("llama"))
    assert meter.estimated == "torch's counter cannot run it (RuntimeError)"
    meter.charge({"input_ids": torch.ones(2, 8), "labels": torch.ones(2, 8)}, training=False)
    assert meter.total > 0


def test_products_that_the_counter_does_not_see():
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x * 1.0

        @staticmethod
        def backward(context, gradient):
            return gradient

    class Silent(nn.Linear):
        def forward(self, x):
            return Hidden.apply(x[..., :1].expand(*x.shape[:-1], self.out_features))

    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    for layer in model.model.layers:
        for name in ("gate_proj", "up_proj", "down_proj"):
            old = getattr(layer.mlp, name)
            setattr(layer.mlp, name, Silent(old.in_features, old.out_features, bias=False))
    assert FlopMeter(model).estimated


def test_chunked_linear_attention():
    model = made(
        "qwen3_next",
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
        head_dim=16,
    )
    meter, used = FlopMeter(model), used_parameters(model)
    for length in (16, 64, 300, 1024):
        linear = used.linear(length, 8)
        assert 0.75 * linear <= meter.of(length, 8, training=False) <= 1.25 * (linear + used.quadratic(length, 8))


def test_an_encoder_decoder_whose_padding_is_0():
    settings = dict(vocab_size=256, d_model=32, max_position_embeddings=64, pad_token_id=0, decoder_start_token_id=2)
    sizes = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in _SIZES.items()}
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model("mbart", **settings, **sizes))
    meter = FlopMeter(model)
    assert meter.estimated == ""
    assert meter.of(32, 16, training=True) > used_parameters(model).linear(32, 16)


_SIZES = {"layers": 2, "ffn_dim": 64, "attention_heads": 2}
