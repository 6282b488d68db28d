"""A tiny random model of every architecture that transformers opens for writing text, through the door and all probes.

    python -m evidence architectures              # builds and tries all, each in a process of its own; some 20 minutes
    python -m evidence architectures --summary    # writes the table of docs/architectures.md from what is there
    python -m evidence architectures gpt2 bloom   # tries these and prints what was found

A model is built from its configuration class with two narrow layers, saved beside a byte-level tokenizer, and then
has to pass what a user's folder has to pass: the check without weights, the comparison of weights, the trial for
reading the past only. Of those that are admitted: does the loss equal the model's own, are the FLOPs counted or
charged by parameters, does the kernel run, does the curvature.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evidence.quiet import one_quiet_thread

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

RESULT = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
SECONDS = 120
VOCABULARY = 300
COLUMNS = ("loads", "causal", "loss", "flops", "kernel", "curvature")
TEXTS = ("12 plus 5 is", " 17, to be sure"), ("7 plus 5 is", " 12"), ("1 plus 2 is", " 3, I think so")

WIDTH, LAYERS, HEADS = 32, 2, 2
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embedding_size", "word_embed_proj_dim", "emb_dim"), WIDTH),
    **dict.fromkeys(("dim_model", "attention_hidden_size", "lru_width", "linear_hidden_size"), WIDTH),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers"), LAYERS),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_encoder_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"), HEADS),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "num_encoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_decoder_attention_heads", "mamba_n_heads", "n_mamba_heads"), HEADS),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads", "num_kv_heads"), HEADS),
    **dict.fromkeys(("intermediate_size", "d_ff", "d_inner", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim"), 64),
    **dict.fromkeys(("n_inner", "dim_ff", "moe_intermediate_size", "shared_expert_intermediate_size"), 64),
    **dict.fromkeys(("feed_forward_size", "ffn_hidden_size", "expert_ffn_hidden_size", "shared_intermediate_size"), 64),
    **dict.fromkeys(("head_dim", "d_kv", "kv_channels", "d_head", "qk_nope_head_dim", "v_head_dim"), 16),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "mamba_d_head", "global_head_dim"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "index_head_dim", "q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk", "top_k_experts"), 2),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length"), 128),
    **dict.fromkeys(("vocab_size", "n_words", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("state_size", "ssm_state_size", "mamba_d_state"), 16),
    "hidden_size_per_layer_input": 16,
    "expand": 1,
    "mamba_expand": 1,
    "n_groups": 1,
    "mamba_n_groups": 1,
    "rotary_dim": 8,
    "is_decoder": True,
}
TOKENS: dict[str, Any] = {
    **dict.fromkeys(("bos_token_id", "eos_token_id", "decoder_start_token_id"), 0),
    "pad_token_id": 1,
    "forced_eos_token_id": None,
}


def kinds() -> list[str]:
    """Every architecture that writes text, alone or from a text that an encoder reads."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    return sorted({*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES})


def tiny(kind: str) -> Any:
    """A small random model of this architecture, in evaluation mode.

    Raises:
        Exception: whatever transformers raises where these sizes do not make a model.
    """
    import torch
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from lensllm.candidates.weights import model_class

    torch.manual_seed(0)
    made = CONFIG_MAPPING[kind]
    config = made(**TOKENS, **_sized(made()))
    found, config = model_class(config)
    model = found(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def _sized(default: Any) -> dict[str, Any]:
    known = default.to_dict()
    sized = {key: value for key, value in SIZES.items() if key in known}
    for key in ("q_lora_rank", "n_inner"):
        if known.get(key, 0) is None:
            sized.pop(key, None)
    if isinstance(known.get("layer_types"), list):
        types = list(dict.fromkeys(known["layer_types"]))
        sized["layer_types"] = (types * LAYERS)[: max(LAYERS, len(types))]
        for key in ("num_hidden_layers", "n_layer"):
            if key in sized:
                sized[key] = len(sized["layer_types"])
    for name in default.sub_configs:
        part = getattr(default, name, None)
        if part is not None:
            sized[name] = _sized(part)
    return sized


def tokenizer() -> Any:
    """Bytes and the end token alone, so that any text comes back."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<end>", "<pad>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<end>", eos_token="<end>", pad_token="<pad>")


def look(kind: str) -> dict[str, str]:
    """What was found of one architecture: "yes" or why not, for each column that was reached."""
    from lensllm.candidates import find_candidate
    from lensllm.candidates.load import load_model, load_tokenizer
    from lensllm.errors import InputError
    from lensllm.tasks import Example
    from lensllm.tasks.encode import encode

    found = {"kind": kind}
    with tempfile.TemporaryDirectory() as folder:
        try:
            tiny(kind).save_pretrained(folder)
            tokenizer().save_pretrained(folder)
        except InputError as error:
            return {**found, "loads": f"refused: {error}"}
        except Exception as error:
            return {**found, "loads": f"not built: {_short(error)}"}
        try:
            candidate = find_candidate(folder)
            model = load_model(candidate)
        except InputError as error:
            text = str(error).split(": ", 1)[-1]
            return {**found, ("causal" if "reads the tokens" in text else "loads"): f"refused: {text}"}
        found |= {"loads": "yes", "causal": "encoder-decoder" if candidate.encoder_decoder else "yes"}
        examples = [Example(*text) for text in TEXTS]
        encoded = encode(examples, load_tokenizer(candidate), encoder_decoder=candidate.encoder_decoder, max_length=64)
        for name, probe in (("loss", _loss), ("flops", _flops), ("kernel", _kernel), ("curvature", _curvature)):
            try:
                found[name] = probe(model, encoded)
            except Exception as error:
                found[name] = _short(error)
    return found


def _loss(model: Any, encoded: Sequence[Any]) -> str:
    """Ours over a padded batch against the model's own, one example at a time."""
    from lensllm.tuning.loss import evaluate

    ours = evaluate(model, encoded).nats
    try:
        reference, what = sum(_own(model, example) for example in encoded), "the model's own"
    except Exception:
        reference, what = sum(evaluate(model, [example]).nats for example in encoded), "its own without padding"
    off = abs(ours - reference) / abs(reference)
    return "yes" if off < 1e-4 else f"{off:.2g} off {what}"


def _own(model: Any, example: Any) -> float:
    import torch

    from lensllm.tasks.encoded import collate

    with torch.no_grad():
        return float(model(**collate([example]), use_cache=False).loss) * example.n_targets


def _flops(model: Any, encoded: Sequence[Any]) -> str:
    from lensllm.tuning.flops import FlopMeter

    meter = FlopMeter(model)
    return f"by parameters: {meter.estimated}" if meter.estimated else "yes"


def _kernel(model: Any, encoded: Sequence[Any]) -> str:
    import numpy as np

    from lensllm.probes.kernel import kernel
    from lensllm.tasks.encoded import collate

    model.set_attn_implementation("eager")
    measured = kernel(model, [collate(encoded)], tokens=4, projection=8)
    return "yes" if np.isfinite(measured.gram).all() else "not finite"


def _curvature(model: Any, encoded: Sequence[Any]) -> str:
    import numpy as np
    import torch

    from lensllm.theory.curvature import LayerHessian, layers

    name, part = list(layers(model).items())[-1]
    hessian = LayerHessian(model, part, list(encoded), name)
    vectors = torch.randn(len(encoded), hessian.size, generator=torch.Generator().manual_seed(0))
    product = hessian.each(vectors, np.arange(len(encoded)))
    return "yes" if torch.isfinite(product).all() else "not finite"


def _short(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:140] if said else ''}"


def _child(kind: str, pipe: Any) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    pipe.send(look(kind))


def tried(kind: str) -> dict[str, str]:
    """`look` in a process of its own, which may die or take too long."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(kind, there), daemon=True)
    process.start()
    there.close()
    try:
        found = here.recv() if here.poll(SECONDS) else {"kind": kind, "loads": f"no answer in {SECONDS} s"}
    except EOFError:
        found = {"kind": kind, "loads": "the process died"}
    process.kill()
    process.join()
    return found


def summary(rows: Sequence[dict[str, str]], version: str) -> str:
    """The page, of three tables: whole, in part, not."""
    admitted = [row for row in rows if row.get("loads") == "yes" and not row.get("causal", "").startswith("refused")]
    whole = [row for row in admitted if all(_good(row, name) for name in COLUMNS)]
    part = [row for row in admitted if row not in whole]
    others = [row for row in rows if row not in admitted]
    refused = [row for row in others if "refused" in "".join(row.values())]
    lines = [
        "# Architectures",
        "",
        "Written by `python -m evidence architectures --summary`; do not edit.",
        "",
        f"A tiny random model of each of the {len(rows)} architectures that transformers {version} opens for writing "
        "text went through the door and the probes. *Loss*: over a padded batch it equals the model's own, one example "
        "at a time, within 1e-4. *FLOPs*: torch's count is within a quarter of 2 N a token; where it is not, 2 N a "
        "token is charged and said. *Kernel*, *curvature*: the probe runs and is finite. Encoders (bert, ...) were "
        "built as decoders (`is_decoder`); as they are published they are refused.",
        "",
        f"**{len(admitted)} are admitted**, of {len(whole)} everything can be measured:",
        "",
        ", ".join(row["kind"] for row in whole) + ".",
        "",
        f"## In part ({len(part)})",
        "",
        "| architecture | loss | FLOPs | kernel | curvature |",
        "|---|---|---|---|---|",
        *(f"| {row['kind']} | " + " | ".join(_cell(row.get(n, "")) for n in COLUMNS[2:]) + " |" for row in part),
        "",
        f"## Refused by name ({len(refused)})",
        "",
        "| architecture | why |",
        "|---|---|",
        *(f"| {row['kind']} | {_cell(row.get('causal') or row.get('loads', ''))} |" for row in refused),
        "",
        f"## Not tried ({len(others) - len(refused)})",
        "",
        "Models of pictures or sound among them, and those that these small sizes do not make.",
        "",
        "| architecture | why |",
        "|---|---|",
        *(f"| {row['kind']} | {_cell(row.get('loads', ''))} |" for row in others if row not in refused),
        "",
    ]
    return "\n".join(lines)


def _good(row: dict[str, str], name: str) -> bool:
    return row.get(name) in ("yes", "encoder-decoder")


def _cell(text: str) -> str:
    return text.removeprefix("refused: ").replace("|", "/").replace("\n", " ")


def _import_all() -> None:
    """Once, before the first process is made: each begins as a copy of this one."""
    for name in ("probes.kernel", "theory.curvature", "tuning.flops", "candidates.load", "tasks.encode"):
        importlib.import_module(f"lensllm.{name}")


def run(kinds_named: Sequence[str] = (), *, summary_only: bool = False) -> None:
    """Try what the result has not got, one process each, and write the table; print those that are named alone."""
    import transformers

    one_quiet_thread()
    _import_all()
    for kind in kinds_named:
        started = time.perf_counter()
        print(json.dumps(tried(kind)), f"{time.perf_counter() - started:.1f} s", flush=True)
    if kinds_named:
        return
    rows = {row["kind"]: row for row in json.loads(RESULT.read_text())["rows"]} if RESULT.exists() else {}
    if not summary_only:
        for kind in kinds():
            if kind not in rows:
                rows[kind] = tried(kind)
                ordered = [rows[name] for name in sorted(rows)]
                stamp = {"transformers": transformers.__version__, "rows": ordered}
                RESULT.write_text(json.dumps(stamp, indent=1) + "\n")
    saved = json.loads(RESULT.read_text())
    PAGE.write_text(summary(saved["rows"], saved["transformers"]))
    print(PAGE.read_text())
