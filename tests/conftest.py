"""Tiny models and a tiny task, made anew: everything real but the size."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from commands import sums
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.utils import logging

from lensllm import progress

torch.set_num_threads(1)
logging.set_verbosity_error()
logging.disable_progress_bar()

VOCABULARY = 320
END = 0


@pytest.fixture(autouse=True, scope="module")
def garbage_of_its_own() -> None:
    """Every training looks for garbage, which takes 0.4 s as long as the libraries' own objects are looked through."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of progress come by the clock; what is printed must not."""
    monkeypatch.setattr(progress, "FIRST", float("inf"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a GPT-2-, a Llama- and a T5-like model with random weights and one tokenizer."""
    return saved_models(tmp_path_factory.mktemp("models"), width=16)


@pytest.fixture(scope="session")
def wide_model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same with matrices that 4 bits can hold: 64 weights share a scale."""
    return saved_models(tmp_path_factory.mktemp("wide"), width=64)


def saved_models(root: Path, width: int) -> dict[str, Path]:
    """Save the three under `root`."""
    bpe = ByteLevelBPETokenizer()
    texts = [row["prompt"] + row["completion"] for row in sums(200)]
    bpe.train_from_iterator(texts, vocab_size=VOCABULARY, special_tokens=["<end>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token="<end>", eos_token="<end>", pad_token="<end>"
    )
    torch.manual_seed(0)
    still = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    ends = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": END}
    models = {
        "gpt": GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCABULARY, n_embd=width, n_layer=2, n_head=2, n_positions=64, **still, **ends)
        ),
        "llama": LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=64,
                tie_word_embeddings=True,
                **ends,
            )
        ),
        "t5": T5ForConditionalGeneration(
            T5Config(
                vocab_size=VOCABULARY,
                d_model=width,
                d_kv=width // 2,
                d_ff=2 * width,
                num_layers=1,
                num_heads=2,
                decoder_start_token_id=END,
                dropout_rate=0.0,
                **ends,
            )
        ),
    }
    folders = {}
    for name, model in models.items():
        folders[name] = root / name
        model.save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def sums_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 160 additions: 137 remain for training once test and validation are held out."""
    path = tmp_path_factory.mktemp("data") / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in sums(160)))
    return path
