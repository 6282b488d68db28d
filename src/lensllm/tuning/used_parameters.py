"""How many parameters a token is multiplied with, and what 2 N a token makes of that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from lensllm.candidates.four_bits import elements

EXPERT = re.compile(r"(^|\.)(\w+_)?experts?\.")
SHARED = re.compile(r"shared")
TOWERS = re.compile(r"(^|\.)(vision|visual|image|audio|speech|multi_modal|multimodal|embed_vision|embed_audio)")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "top_k_experts", "top_k", "moe_k")
WIDTHS = ("head_dim", "qk_head_dim", "v_head_dim", "d_kv", "kv_channels")
CROSS = re.compile(r"(encoder_attn|EncDecAttention|cross_attn|cross_attention)\.(k|v)(_proj)?\.")


@dataclass(frozen=True)
class UsedParameters:
    """Parameters that are multiplied, by what they are multiplied with.

    Attributes:
        read: with every token that is read (for an encoder-decoder its encoder, and the keys and values that the
            decoder forms of it).
        written: with every token that a decoder of its own writes; 0 for a causal model.
        head: with every position whose logits are formed.
        attention: FLOPs of a full attention for each pair of positions, forward, over all layers: an upper bound.
        trained: share of all these that is trained.
    """

    read: float
    written: float
    head: float
    attention: float
    trained: float = 1.0

    @property
    def passes(self) -> float:
        """What a step of training costs, in forward passes: one more for the inputs' gradients, one for weights'."""
        return 2 + self.trained

    def linear(self, length: int, kept: int) -> float:
        """2 N a token: FLOPs of a forward pass without those that grow as the square of the length."""
        return 2 * (self.read * length + (self.written + self.head) * kept)

    @property
    def forward(self) -> tuple[float, ...]:
        """Coefficients of a forward pass as `FlopMeter` counts them: of T, T^2 and K; of K^2 and T K with a decoder.

        Attention of an encoder-decoder is that of three equal parts: within both and across.
        """
        if not self.written:
            return 2 * self.read, self.attention, 2 * self.head
        third = self.attention / 3
        return 2 * self.read, third, 2 * (self.written + self.head), third, third

    def quadratic(self, length: int, kept: int) -> float:
        """The most that attention can add to `linear`."""
        return self.attention * ((length + kept) ** 2 if self.written else length**2)


def used_parameters(model: PreTrainedModel) -> UsedParameters:
    """Count them: no embedding that is only looked up, of the experts as many as a token is sent to, no eye or ear."""
    output = model.get_output_embeddings()
    head = output.weight if output is not None and hasattr(output, "weight") else None
    looked_up = {id(p) for one in model.modules() if isinstance(one, nn.Embedding) for p in one.parameters()}
    encoder = model.get_encoder() if model.config.is_encoder_decoder else None
    of_encoder = {id(p) for p in encoder.parameters()} if encoder is not None else set()
    chosen, said = _chosen(model.config), _said(model.config)
    experts = _numbers(model)
    read = written = trained = 0.0
    for name, parameter in model.named_parameters():
        if parameter is head or id(parameter) in looked_up or parameter.dim() < 2 or TOWERS.search(name):
            continue
        number = float(elements(parameter))
        stacked = parameter.dim() == 3 and parameter.shape[0] in said
        if chosen and not SHARED.search(name) and (stacked or EXPERT.search(name)):
            many = parameter.shape[0] if parameter.dim() == 3 else experts.get(_place(name), 1)
            number *= min(1.0, chosen / many)
        trained += number * parameter.requires_grad
        if encoder is None or id(parameter) in of_encoder or CROSS.search(name):
            read += number
        else:
            written += number
    last = float(elements(head)) if head is not None else 0.0
    trained += last * (head is not None and head.requires_grad)
    share = trained / (read + written + last) if trained else 0.0
    return UsedParameters(read, written, last, _attention(model.config), share)


def _value(config: Any, name: str) -> Any:
    """A setting; None where there is none, or another one for each layer."""
    try:
        return getattr(config, name, None)
    except Exception:
        return None


def _chosen(config: Any) -> int:
    text = config.get_text_config(decoder=True)
    found = [value for name in CHOSEN if isinstance(value := _value(text, name), int) and value > 0]
    return found[0] if found else int(hasattr(text, "num_experts"))


def _said(config: Any) -> set[int]:
    text = config.get_text_config(decoder=True)
    return {value for name in EXPERTS if isinstance(value := _value(text, name), int) and value > 1}


def _place(name: str) -> str:
    found = EXPERT.search(name)
    return name[: found.end()] if found else name


def _numbers(model: nn.Module) -> dict[str, int]:
    """Number of experts in each list of them."""
    seen: dict[str, set[str]] = {}
    for name, _ in model.named_parameters():
        if EXPERT.search(name):
            place = _place(name)
            seen.setdefault(place, set()).add(name[len(place) :].split(".")[0])
    return {place: len(names) for place, names in seen.items()}


def _attention(config: Any) -> float:
    text = config.get_text_config(decoder=True)
    layers = _value(text, "num_hidden_layers") or 0
    if config.is_encoder_decoder:
        layers *= 3
    heads, width = _value(text, "num_attention_heads") or 1, _value(text, "hidden_size") or 0
    a_head = max(_value(text, name) or 0 for name in WIDTHS)
    a_head = max(a_head, sum(_value(text, f"qk_{part}_head_dim") or 0 for part in ("nope", "rope")))
    if isinstance(heads, list):
        heads = max(heads)
    return 4.0 * layers * max(width, heads * a_head)
