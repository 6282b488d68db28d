"""Tokenizers of each kind that people have, made anew on a handful of words."""

from __future__ import annotations

import pytest
from tokenizers import (
    ByteLevelBPETokenizer,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from lensllm.errors import InputError
from lensllm.tasks import Example
from lensllm.tasks.encode import encode_with
from lensllm.tasks.encoded import IGNORED, Reader
from lensllm.tasks.tokens import adds_prefix, continued_tokens, lost_bytes, text_tokens

TEXT = "the red lamp ( boat ) and the boat (lamp) yes no, hello 12 plus 5 is 17: a < b | </s> <|endoftext|>\n"
BYTES = [f"<0x{i:02X}>" for i in range(256)]


def gpt2(**options):
    bpe = ByteLevelBPETokenizer(**options)
    bpe.train_from_iterator([TEXT] * 20, vocab_size=330, special_tokens=["<|endoftext|>"])
    return wrapped(bpe._tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def llama2():
    """Byte fallback, a space put before every text by the normalizer, no pre-tokenizer."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(parts)
    words = [TEXT.replace("</s>", "").replace("<|endoftext|>", "")] * 20
    made.train_from_iterator(
        words, trainers.BpeTrainer(vocab_size=360, special_tokens=["<unk>", "<s>", "</s>", *BYTES])
    )
    return wrapped(made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def t5():
    """Unigram without bytes: a dummy prefix, spaces run together, the end token a word of the vocabulary."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Replace("\n", " ")
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    made.train_from_iterator(
        [TEXT] * 20, trainers.UnigramTrainer(vocab_size=90, special_tokens=special, unk_token="<unk>")
    )
    return wrapped(made, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def lower_case():
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "[SEP]": 1, "the": 2, "lamp": 3, "##s": 4}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    return wrapped(made, eos_token="[SEP]", unk_token="[UNK]")


def wrapped(made, **special):
    return PreTrainedTokenizerFast(tokenizer_object=made, **special)


KINDS = {"gpt2": gpt2, "gpt2 with a space": lambda: gpt2(add_prefix_space=True), "llama2": llama2, "t5": t5}
KINDS["byt5"] = ByT5Tokenizer


@pytest.fixture(scope="module", params=list(KINDS))
def tokenizer(request):
    return KINDS[request.param]()


def written(tokenizer, prompt, completion):
    """The text that a causal model reads, without start and end token."""
    [one] = encode_with([Example(prompt, completion)], Reader(tokenizer, encoder_decoder=False, max_length=200))
    first = 1
    return tokenizer.decode(one.input_ids[first:-1], clean_up_tokenization_spaces=False), one


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [("the lamp (", "boat)"), ("the lamp", " boat"), ("12 plus 5 is", " 17"), ("yes:", "no"), ("", "the boat")],
)
def test_the_text_is_the_users_own(tokenizer, prompt, completion):
    text, one = written(tokenizer, prompt, completion)
    assert text.removeprefix(" ") == prompt + completion
    assert one.n_lost == 0


def test_which_tokenizers_put_a_space_first():
    assert {name: adds_prefix(make()) for name, make in KINDS.items()} == {
        "gpt2": False,
        "gpt2 with a space": True,
        "llama2": True,
        "t5": True,
        "byt5": False,
    }


@pytest.mark.parametrize("text", ["yes</s>", "</s>", " a<|endoftext|> b</s></s>", "<|endoftext|>", "<s> <s>"])
def test_the_end_token_written_in_a_text_is_text(tokenizer, text):
    control = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for tokenise in (text_tokens, continued_tokens):
        [ids] = tokenise(tokenizer, [text])
        assert not control & set(ids)
    [one] = encode_with([Example("no:", text)], Reader(tokenizer, encoder_decoder=False, max_length=200))
    labels = [label for label in one.labels if label != IGNORED]
    assert labels.count(tokenizer.eos_token_id) == 1


def test_unk_written_in_a_text_is_text():
    """As in WikiText: the word stands for itself and is not the tokenizer's own unknown token."""
    kind = llama2()
    [ids] = text_tokens(kind, ["the <unk> lamp"])
    assert kind.unk_token_id not in ids
    kind = t5()
    [ids] = text_tokens(kind, ["the <unk> lamp"])
    assert lost_bytes(kind, ["the <unk> lamp"], [ids], continued=False)[0] < 5


def test_words_that_no_guard_keeps_apart_are_still_whole():
    kind = llama2()
    texts = ["the", "= the", "\n", "0", " ", "", ",", "ethe", "éà漢🙂"]
    tokens = continued_tokens(kind, texts)
    assert lost_bytes(kind, texts, tokens, continued=True) == [0] * len(texts)


def test_what_is_lost_is_counted_in_bytes():
    kind = t5()
    texts = ["the boat", "the {boat}", "the\nboat", "the  boat", "the 🙂 boat", "漢"]
    lost = lost_bytes(kind, texts, text_tokens(kind, texts), continued=False)
    assert lost == [0, 2, 1, 1, 4, 3] or lost == [0, 2, 1, 1, 5, 3]
    kind = lower_case()
    texts = ["the lamp", "The LAMP", "lamps", "unknown", "the  lamp", ""]
    lost = lost_bytes(kind, texts, text_tokens(kind, texts), continued=False)
    assert lost == [0, 5, 0, 7, 1, 0]


def test_a_little_loss_is_kept_and_a_large_one_refused():
    kind = t5()
    fine = [Example("the lamp:", " the boat and the lamp hello")] * 20
    [*others, last] = encode_with(
        [*fine, Example("the lamp:", " {the boat}")], Reader(kind, encoder_decoder=False, max_length=90)
    )
    assert [one.n_lost for one in (others[0], last)] == [0, 2]
    with pytest.raises(InputError, match=r"tokenizer of t5 loses 18.2% of the bytes .*example 1, ' \{the boat\}'"):
        encode_with([Example("", " {the boat}")], Reader(kind, encoder_decoder=True, max_length=90, model_name="t5"))


def test_an_empty_tokenizer_is_refused():
    empty = wrapped(Tokenizer(models.BPE()), eos_token="</s>")
    with pytest.raises(InputError, match=r"loses 100.0% of the bytes"):
        encode_with([Example("a", " b")], Reader(empty, encoder_decoder=False, max_length=90))


def test_ids_without_an_embedding():
    kind = gpt2()
    kind.add_tokens(["->"])
    rows, last = [Example("a ->", " b")], len(kind) - 1
    encode_with(rows, Reader(kind, encoder_decoder=False, max_length=90, vocabulary=len(kind)))
    with pytest.raises(InputError, match=rf"gpt has {last} embeddings and its tokenizer gives .* '->' the id {last}"):
        encode_with(rows, Reader(kind, encoder_decoder=False, max_length=90, vocabulary=last, model_name="gpt"))


def test_every_model_has_to_say_that_it_is_done():
    kind = gpt2()
    kind.eos_token = None
    [one] = encode_with([Example("a", " b")], Reader(kind, encoder_decoder=False, max_length=90))
    assert one.labels[-1] == kind.bos_token_id == one.input_ids[0]
