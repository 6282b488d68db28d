"""How the zoo is made: what a task uses reaches no corpus, and the same seeds give the same model."""

import gzip
import json
import struct
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import set_seed

from lensllm import zoo
from lensllm.errors import InputError
from lensllm.zoo.build import fetched, models, sources, tasks, tokenizers
from lensllm.zoo.build.sources import Description, RatedText, Source, Synset
from lensllm.zoo.build.tasks import Example

WORDS = ["ash", "bay", "cat", "dew", "elm", "fog", "gum", "hay"]


@given(st.lists(st.sets(st.sampled_from(WORDS), min_size=1, max_size=3), max_size=12))
def test_joined_groups_share_nothing_and_are_connected(keys):
    groups = tasks.joined(keys)
    assert sorted(i for group in groups for i in group) == list(range(len(keys)))
    own = [set().union(*(keys[i] for i in group)) for group in groups]
    assert all(not a & b for n, a in enumerate(own) for b in own[n + 1 :])
    for group in groups:
        reached, grown = {group[0]}, True
        while grown:
            more = {j for i in reached for j in group if keys[i] & keys[j]}
            grown, reached = not more <= reached, reached | more
        assert reached == set(group)


def test_what_define_and_name_use_shares_no_word_and_no_definition_with_the_corpus(monkeypatch):
    monkeypatch.setattr(tasks, "SIZES", {"train": 20, "validation": 5, "test": 5})
    random = np.random.default_rng(0)
    synsets = []
    for i in range(300):
        words = tuple(f"w{w}" if random.random() < 0.5 else f"W{w}" for w in random.integers(900, size=2))
        definition = f"the definition number {random.integers(900)}"
        synsets.append(Synset(words, "noun", definition, f'{definition}; "example {i}"'))
    define, name, rest = tasks.reserve(synsets)
    assert len(define) >= 30
    assert len(name) >= 30
    used = {example.row["completion"].strip() for example in define}
    used |= {example.row["prompt"].removesuffix(" (noun):") for example in name}
    words = {example.row["prompt"].removesuffix(" (noun):").casefold() for example in define}
    words |= {example.row["completion"].strip().casefold() for example in name}
    assert not used & {synset.definition for synset in rest}
    assert not words & {word.casefold() for synset in rest for word in synset.words}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), min_size=60, max_size=90))
def test_a_split_keeps_every_origin_and_every_text_on_one_side(pairs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "SIZES", {"train": 20, "validation": 4, "test": 8})
        examples = [Example(f"o{origin}", {"prompt": f"{origin} {n}", "completion": f" c{n}"}) for origin, n in pairs]
        sides = tasks.split(tasks.DEFINE, examples, [n % 7 > 0 for _, n in pairs])
    for key in (lambda row: row["prompt"].split()[0], lambda row: row["completion"]):
        seen = [{key(row) for row in rows} for rows in sides.values()]
        assert not seen[0] & seen[1]
        assert not seen[0] & seen[2]
        assert not seen[1] & seen[2]
    assert all(int(row["prompt"].split()[1]) % 7 for rows in sides.values() for row in rows)


def test_sentiment_takes_as_many_of_each_label_and_leaves_the_doubtful_out():
    ratings = [-3.0, -1.0, -0.9, -0.4, 0.0, 0.49, 0.5, 1.0, 2.0]
    texts = [RatedText(str(i), f"a text, number {i}", rating) for i, rating in enumerate(ratings)]
    labels = [example.row["completion"].strip() for example in tasks.sentiment(texts)]
    assert sorted(labels) == ["negative"] * 2 + ["neutral"] * 2 + ["positive"] * 2


def test_passages_are_whole_sentences_within_a_paragraph():
    text = 'One. Two is here. "Three!" said Mr. Four. Five?\nSix is the last one here.'
    assert list(tasks.passages(text, at_least=15)) == [
        "One. Two is here.",
        '"Three!" said Mr. Four.',
        "Six is the last one here.",
    ]


def test_a_task_is_written_with_its_card_and_the_same_bytes_again(tmp_path):
    rows = {split: [{"text": f"{split} \u00e9"}] for split in tasks.SIZES}
    for folder in ("a", "b"):
        tasks.write(tmp_path / folder, tasks.AUSTEN, rows, 3.0)
    for file in ("train.jsonl.gz", "card.json", "card.md"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert json.loads(gzip.decompress((tmp_path / "a" / "test.jsonl.gz").read_bytes())) == {"text": "test \u00e9"}


def test_sources_are_read_as_running_text():
    line = "\tThe/at ``/`` jury/nn ''/'' (/( he/pps said/vbd )/) ended/vbd ?/. ?/."
    assert sources._untag(line) == 'The "jury" (he said) ended?'
    words = [b"EMMA", b"", "na\u00efve".encode()]
    vector = b"X\n" + struct.pack(">3i", 3, 0x40201, 0x30500) + struct.pack(">i", 5) + b"UTF-8"
    vector += struct.pack(">2i", 16, len(words)) + b"".join(struct.pack(">2i", 9, len(w)) + w for w in words)
    assert sources._r_character_vector(vector) == ["EMMA", "", "na\u00efve"]
    assert (
        sources._without_marks("see B<a>, C<< $x->y >> and L<the C<sub>|perlsub>X<sub>") == "see a, $x->y and the sub"
    )


def test_descriptions_and_sections_are_read_from_package_lists(tmp_path):
    (tmp_path / "d_i18n_Translation-it").write_text(
        "Package: a\nDescription-md5: 01\nDescription-it: gioco breve\n Prima riga\n continua.\n .\n Seconda.\n\n"
        "Package: b\nDescription-md5: 02\nDescription-it: solo titolo\n"
    )
    (tmp_path / "d_binary_Packages").write_text("Package: a\nSection: games\nDescription-md5: 01\n\nPackage: b\n")
    assert sources.descriptions(tmp_path, "it") == {
        "01": Description("gioco breve", ("Prima riga continua.", "Seconda.")),
        "02": Description("solo titolo", ()),
    }
    assert sources.sections(tmp_path) == {"01": "games"}
    with pytest.raises(InputError, match="Translation-da"):
        sources.descriptions(tmp_path, "da")


def test_tasks_made_of_descriptions():
    english = {"1": Description("strategy game of war", ("A game of old wars for one or more players.", "It is free."))}
    italian = {
        "1": Description(
            "gioco di guerra", ("Un gioco di guerre antiche per uno o pi\u00f9 giocatori.", "\u00c8 libero.")
        )
    }
    (headline,) = fetched.headlines(english)
    assert headline.row == {
        "prompt": "A game of old wars for one or more players.\nSummary:",
        "completion": " strategy game of war",
    }
    (label,) = fetched.section(english, {"1": "games"})
    assert label.row["completion"] == " games"
    pairs = [example.row for example in fetched.translate(english, italian, "Italian")]
    assert pairs[0] == {"prompt": "strategy game of war\nItalian:", "completion": " gioco di guerra"}
    assert len(pairs) == 2  # "È libero." is too short to be worth a row


def test_fetching_says_what_is_unknown_or_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("LENSLLM_HOME", str(tmp_path))
    with pytest.raises(InputError, match="translate-it"):
        zoo.fetch(["../define"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get is needed"):
        zoo.fetch(["headlines"])
    failing = [sys.executable, "-c", "import sys; sys.exit('no route to host')"]
    with pytest.raises(InputError, match=r"within reach\? It said: no route to host"):
        sources.run(failing, tmp_path)
    assert zoo.task_names() == ["austen", "define", "name", "sentiment", "talk"]


def test_what_is_there_is_not_downloaded_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "thing_1_all.deb").touch()
    assert sources.download(Source("apt", "thing", "thing_*.deb", ""), tmp_path).name == "thing_1_all.deb"


@pytest.fixture(scope="module")
def small():
    documents = [f"{a} and {b} are not {c}." for a in WORDS for b in WORDS for c in WORDS]
    return tokenizers.train(documents, 300), documents


def test_blocks_hold_every_token_in_order_with_an_end_after_each_document(small):
    tokenizer, documents = small
    stream = models.blocks(documents, tokenizer).ravel()
    text = "".join(document + tokenizers.END for document in documents)
    assert text.startswith(tokenizer.decode(stream))


def test_token_bytes_add_up_to_the_text(small):
    tokenizer, _ = small
    text = "elm \u00e9 \u65e5\u672c and fog."
    sizes = tokenizers.token_bytes(tokenizer)
    assert sum(sizes[i] for i in tokenizer(text)["input_ids"]) == len(text.encode())


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_the_same_seed_gives_the_same_model_and_it_learns(small, kind):
    tokenizer, documents = small
    rows = models.blocks(documents, tokenizer)
    recipe = models.Recipe("tiny", kind, 1, 32, "mix", 30 * models.BATCH * models.CONTEXT, 1e-2)
    trained = []
    for _ in range(2):
        set_seed(1)
        model = models.architecture(recipe, tokenizer)
        before = models.evaluate(model, rows, tokenizer)
        models.pretrain(model, rows, recipe.tokens, recipe.learning_rate, seed=1)
        trained.append(model)
    after = models.evaluate(model, rows, tokenizer)
    assert after["nats_per_token"] < before["nats_per_token"] - 1
    assert after["nats_per_byte"] < after["nats_per_token"]
    for a, b in zip(trained[0].parameters(), trained[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_measured_loss_is_that_of_the_second_half_alone(small):
    tokenizer, documents = small
    set_seed(2)
    model = models.architecture(models.Recipe("tiny", "gpt2", 1, 32, "mix", 0, 1e-2), tokenizer).eval()
    rows = torch.from_numpy(models.blocks(documents, tokenizer)[:3])
    log_p = model(input_ids=rows).logits.log_softmax(-1)[:, 63:-1]
    truth = -log_p.gather(-1, rows[:, 64:, None]).mean().item()
    assert models.loss(model, rows, 64, 64).item() == pytest.approx(truth, rel=1e-5)
