"""Language models of a few thousand parameters in double precision, with examples for them."""

from __future__ import annotations

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from lensllm.tasks.encoded import IGNORED, Encoded

VOCABULARY = 40
NAMES = ["gpt", "llama", "t5"]


def model(name: str) -> PreTrainedModel:
    """Random weights, larger than usual so that the curvature has both signs."""
    torch.manual_seed(0)
    if name == "gpt":
        config = GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=1, n_head=2, n_positions=16)
        made: PreTrainedModel = GPT2LMHeadModel(config)
    elif name == "llama":
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            tie_word_embeddings=True,
        )
        made = LlamaForCausalLM(config)
    else:
        config = T5Config(
            vocab_size=VOCABULARY, d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, decoder_start_token_id=0
        )
        made = T5ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    made.set_attn_implementation("eager")
    return made.double().eval()


def examples(name: str, count: int = 3) -> list[Encoded]:
    """Of different lengths, prompts masked."""
    rng = torch.Generator().manual_seed(1)
    made = []
    for i in range(count):
        ids = torch.randint(1, VOCABULARY, (7 + 2 * i,), generator=rng).tolist()
        if name == "t5":
            made.append(Encoded(ids[: 3 + i % 2], ids[3:], 9 + i))
        else:
            made.append(Encoded(ids, [IGNORED] * (2 + i) + ids[2 + i :], 9 + i))
    return made
