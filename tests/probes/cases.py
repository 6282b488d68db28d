"""Tiny random models of each family, batches for them, and the kernel by plain autograd to compare with."""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

VOCABULARY = 60
CAUSAL = ("gpt2", "llama", "opt", "gemma")
ENCODER_DECODER = ("t5", "bart")


def tiny(family: str, tied: bool = True, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    tokens = dict(
        vocab_size=VOCABULARY,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        decoder_start_token_id=0,
    )
    two_layers = dict(num_hidden_layers=2, hidden_size=16, num_attention_heads=4)
    feed_forward = dict(num_key_value_heads=2, head_dim=4, intermediate_size=24)
    if family == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, n_positions=32, **tokens))
    elif family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**two_layers, **feed_forward, **tokens))
    elif family == "gemma":
        model = GemmaForCausalLM(GemmaConfig(**two_layers, **feed_forward, **tokens))
    elif family == "opt":
        sizes = dict(ffn_dim=24, word_embed_proj_dim=16, max_position_embeddings=64)
        model = OPTForCausalLM(OPTConfig(**two_layers, **sizes, **tokens))
    elif family == "t5":
        model = T5ForConditionalGeneration(T5Config(num_layers=2, d_model=16, d_ff=24, d_kv=8, num_heads=2, **tokens))
    else:
        ends = {f"{end}_{part}": n for end in ("encoder", "decoder") for part, n in _BART_ENDS.items()}
        model = BartForConditionalGeneration(BartConfig(d_model=16, max_position_embeddings=64, **ends, **tokens))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.3 * torch.randn_like(parameter)
            elif family != "t5":
                parameter *= 4
    return model.to(dtype).eval()


_BART_ENDS = {"layers": 2, "ffn_dim": 24, "attention_heads": 2}


def batch(family: str, examples: int = 5, side: str = "right", seed: int = 1, ending: int = 0) -> dict:
    """Examples of 4 to 12 tokens; the second half of each (or a target of 2 to 5) is the completion."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.zeros(examples, 12 + ending, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i in range(examples):
        length = int(torch.randint(4, 13, (1,), generator=random))
        start = ids.shape[1] - length if side == "left" else 0
        text = torch.randint(3, VOCABULARY, (length,), generator=random)
        ids[i, start : start + length], mask[i, start : start + length] = text, 1
        if family in ENCODER_DECODER:
            target = torch.randint(3, VOCABULARY, (2 + length % 4,), generator=random)
            labels[i, : len(target)] = target
        else:
            labels[i, start + length // 2 : start + length] = text[length // 2 :]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def logits_of(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> tuple:
    """Logits (C, V) that predict the completion of one example, and its tokens (C,)."""
    kept = ids[mask.bool()][None]
    if model.config.is_encoder_decoder:
        targets = labels[labels != -100]
        return model(input_ids=kept, labels=targets[None]).logits[0], targets
    labels = labels[mask.bool()]
    places = (labels[1:] != -100).nonzero()[:, 0]
    return model(input_ids=kept).logits[0][places], labels[1:][places]


def dense_gradients(model: PreTrainedModel, batch: dict, direction: torch.Tensor | None) -> torch.Tensor:
    """One backward pass a row: direction . logits at every completion token, or mean log-probability an example."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rows = []
    for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        logits, targets = logits_of(model, ids, mask, labels)
        if direction is None:
            values = [torch.log_softmax(logits, -1).gather(1, targets[:, None]).mean()]
        else:
            values = list(logits @ direction.to(logits.dtype))
        for value in values:
            found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            flat = [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, parameters, strict=True)]
            rows.append(torch.cat(flat).double())
    return torch.stack(rows)


def dense_gram(model: PreTrainedModel, batch: dict, output: str, seed: int = 0) -> np.ndarray:
    """The kernel from `dense_gradients`, with the first random direction that `kernel` draws from this seed."""
    direction = None
    if output == "pseudo":
        direction = torch.full((VOCABULARY,), VOCABULARY**-0.5)
    elif output == "token":
        signs = np.random.default_rng(seed).integers(0, 2, (1, VOCABULARY)) * 2 - 1
        direction = torch.tensor((signs[0] - signs[0].mean()) / VOCABULARY**0.5)
    rows = dense_gradients(model, batch, direction)
    return (rows @ rows.T).numpy()


def error(gram: np.ndarray, truth: np.ndarray) -> float:
    """Largest error of an entry, relative to the norms of its two gradients."""
    norms = np.sqrt(truth.diagonal())
    return float((np.abs(gram - truth) / np.outer(norms, norms)).max())
