import shutil
from contextlib import nullcontext

import pytest
import torch
from folders import edit
from transformers import AutoConfig, AutoModelForSeq2SeqLM, XLNetConfig, XLNetLMHeadModel

from lensllm.candidates import find_candidate
from lensllm.candidates.causality import ROUNDING, check_causal, earlier_logits_move, padding_moves
from lensllm.candidates.decoder_inputs import decoder_inputs
from lensllm.candidates.load import load_model
from lensllm.errors import InputError

SIZES = {"layers": 1, "ffn_dim": 32, "attention_heads": 2}
SMALL = {f"{part}_{name}": n for part in ("encoder", "decoder") for name, n in SIZES.items()}
SMALL |= dict(vocab_size=90, d_model=16, max_position_embeddings=32, decoder_start_token_id=2, eos_token_id=2)


def made(kind, **settings):
    torch.manual_seed(0)
    return AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(kind, **{**SMALL, **settings})).eval()


@pytest.mark.parametrize("name", ["gpt", "llama", "t5"])
def test_rounding_is_far_below_the_limit(model_folders, name):
    assert earlier_logits_move(load_model(find_candidate(str(model_folders[name])))) < ROUNDING / 10


def test_a_model_that_sees_the_last_token_is_far_above_it():
    torch.manual_seed(0)
    model = XLNetLMHeadModel(XLNetConfig(vocab_size=90, d_model=16, n_layer=1, n_head=2, d_inner=32)).eval()
    assert earlier_logits_move(model) > 10 * ROUNDING


def test_an_output_that_follows_the_number_of_tokens_is_found(model_folders):
    model = load_model(find_candidate(str(model_folders["gpt"])))
    model.transformer.wte.register_forward_hook(lambda module, inputs, output: output / output.shape[1])
    with pytest.raises(InputError, match="gpt2 reads the tokens that it should predict"):
        check_causal(model)


def test_rounding_in_16_bits_is_no_reading_of_the_future(model_folders):
    """Logits that move by some thousandths are rounding in 16 bits alone; a real reading is found there, too."""
    candidate = find_candidate(str(model_folders["gpt"]))
    for dtype, refused in (("float32", pytest.raises(InputError, match="should predict")), ("bfloat16", nullcontext())):
        model = load_model(candidate, dtype=dtype)
        model.transformer.wte.register_forward_hook(lambda module, inputs, out: out * (1 + 1e-2 * (out.shape[1] % 2)))
        with refused:
            check_causal(model)
    torch.manual_seed(0)
    config = XLNetConfig(vocab_size=90, d_model=16, n_layer=1, n_head=2, d_inner=32, initializer_range=0.3)
    seer = XLNetLMHeadModel(config).eval()
    with pytest.raises(InputError, match="xlnet reads the tokens that it should predict"):
        check_causal(seer.to(torch.bfloat16))


def test_a_decoder_that_sees_the_future_is_found():
    model = made("bart")
    assert earlier_logits_move(model) < ROUNDING
    for layer in model.model.decoder.layers:
        layer.self_attn.register_forward_pre_hook(_without_mask, with_kwargs=True)
    assert earlier_logits_move(model) > 10 * ROUNDING


def _without_mask(module, args, kwargs):
    module.is_causal = False
    return args, {**kwargs, "attention_mask": None}


def test_padding_that_is_read_is_found():
    model = made("bart", pad_token_id=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert padding_moves(model) < ROUNDING
    assert earlier_logits_move(model) < ROUNDING
    for layer in model.model.encoder.layers:
        layer.self_attn.register_forward_pre_hook(_without_mask, with_kwargs=True)
    assert earlier_logits_move(model) < ROUNDING
    with pytest.raises(InputError, match="bart reads the padding behind a short example"):
        check_causal(model)


def test_a_decoder_that_cannot_begin(model_folders, tmp_path):
    folder = shutil.copytree(model_folders["t5"], tmp_path / "t5")
    edit(folder / "config.json", decoder_start_token_id=None, layer_norm_epsilon=1e-5)
    with pytest.raises(InputError, match=r"config.json has no decoder_start_token_id"):
        load_model(find_candidate(str(folder)))


@pytest.mark.parametrize("kind", ["bart", "mbart", "blenderbot", "blenderbot-small", "m2m_100", "pegasus", "marian"])
def test_what_the_decoder_reads_is_what_the_model_makes_of_labels(kind):
    model = made(kind, pad_token_id=1)
    source = torch.arange(3, 9)[None]
    labels = torch.tensor([[5, 6, 7, 2]])
    with torch.no_grad():
        own = model(source, labels=labels).logits
        ours = model(source, decoder_input_ids=decoder_inputs(model, labels)).logits
    assert torch.allclose(own, ours)
    padded = torch.tensor([[5, 6, 7, 2, -100, -100]])
    kept = padded.clone()
    assert torch.equal(decoder_inputs(model, padded)[:, :4], decoder_inputs(model, labels))
    assert (decoder_inputs(model, padded) >= 0).all()
    assert torch.equal(padded, kept)


def test_labels_stay_as_they_are():
    """FSMT shifts its labels in place: padding would be learned and counted."""
    sizes = dict(langs=["en", "de"], src_vocab_size=90, tgt_vocab_size=90, d_model=16)
    model = made("fsmt", **sizes, pad_token_id=1, bos_token_id=0)
    labels = torch.tensor([[5, 6, 2, -100]])
    assert (decoder_inputs(model, labels) >= 0).all()
    assert labels.tolist() == [[5, 6, 2, -100]]
