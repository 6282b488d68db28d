import pytest
import torch
from transformers import AutoTokenizer

from lensllm.errors import InputError
from lensllm.tasks import Example
from lensllm.tasks.encode import encode, encode_with
from lensllm.tasks.encoded import IGNORED, Reader, collate

EXAMPLE = Example("12 plus 5 is", " 17, to be sure")


@pytest.fixture(scope="module")
def tokenizer(model_folders):
    return AutoTokenizer.from_pretrained(model_folders["gpt"])


def one(tokenizer, example=EXAMPLE, *, encoder_decoder=False, max_length=64):
    return encode_with(
        [example], Reader(tokenizer, encoder_decoder=encoder_decoder, max_length=max_length, model_name="gpt")
    )[0]


def test_a_causal_model_learns_the_completion_only(tokenizer):
    encoded = one(tokenizer)
    assert tokenizer.decode(encoded.input_ids) == "<end>12 plus 5 is 17, to be sure<end>"
    assert tokenizer.decode([i for i in encoded.labels if i != IGNORED]) == " 17, to be sure<end>"
    assert encoded.labels[-3:] == encoded.input_ids[-3:]
    assert encoded.n_bytes == len(b" 17, to be sure")


def test_plain_text_is_learned_from_its_first_token(tokenizer):
    encoded = one(tokenizer, Example("", "17 to be"))
    assert tokenizer.decode([i for i in encoded.labels if i != IGNORED]) == "17 to be<end>"
    assert encoded.labels[0] == IGNORED


def test_an_encoder_decoder_reads_the_prompt_and_writes_the_completion(tokenizer):
    encoded = one(tokenizer, encoder_decoder=True)
    assert tokenizer.decode(encoded.input_ids) == "12 plus 5 is<end>"
    assert tokenizer.decode(encoded.labels) == " 17, to be sure<end>"


def test_a_long_prompt_loses_its_beginning_and_a_completion_nothing(tokenizer):
    completion = tokenizer(EXAMPLE.completion)["input_ids"]
    encoded = one(tokenizer, max_length=len(completion) + 4)
    assert len(encoded.input_ids) == len(completion) + 4
    assert tokenizer.decode(encoded.input_ids).endswith("is 17, to be sure<end>")
    assert tokenizer.decode([i for i in encoded.labels if i != IGNORED]) == " 17, to be sure<end>"
    assert one(tokenizer, max_length=len(completion) + 2).input_ids[1:-1] == completion


@pytest.mark.parametrize("encoder_decoder", [True, False])
def test_a_completion_longer_than_the_context_is_named(tokenizer, encoder_decoder):
    with pytest.raises(InputError, match=r"completion of example 1 \(' 17.*and gpt has room for"):
        one(tokenizer, encoder_decoder=encoder_decoder, max_length=4)


def test_padding_is_masked(tokenizer):
    short, long = one(tokenizer, Example("", "1")), one(tokenizer)
    batch = collate([short, long])
    assert batch["input_ids"].shape == batch["labels"].shape == (2, len(long.input_ids))
    assert torch.equal(batch["attention_mask"].sum(dim=1), torch.tensor([len(short.input_ids), len(long.input_ids)]))
    assert (batch["labels"][0, len(short.input_ids) :] == IGNORED).all()


def test_a_tokenizer_alone_will_do(tokenizer):
    with_reader = encode_with([EXAMPLE], Reader(tokenizer, False, 64))
    assert encode([EXAMPLE], tokenizer, encoder_decoder=False, max_length=64) == with_reader
