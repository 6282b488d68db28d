"""What models write and which labels they choose, against one example at a time and a plain loop."""

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model
from lensllm.scores.asked import Asked, all_asked
from lensllm.scores.scoring import MARGIN
from lensllm.tasks import Example, Task, read_task
from lensllm.tasks.encode import encode_with
from lensllm.tuning import generate as generation
from lensllm.tuning import measure_scores
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.generate import Prompt, generate
from lensllm.tuning.label_likelihood import likeliest_labels
from lensllm.tuning.loss import example_nats
from lensllm.tuning.measure_scores import completions
from lensllm.tuning.training_config import TrainingConfig

NAMES = ["gpt", "llama", "t5"]
QUICK = TrainingConfig(num_train_epochs=1)
SHOWN = [[5, 9, 12], [44, 7, 201, 33, 18, 90, 6], [8], [100, 101, 102, 103, 104]]


@pytest.fixture
def opened(model_folders, sums_file):
    """A model, with weights spread so that what it writes depends on what it reads, and its meter."""

    def opened(name):
        model = load_model(find_candidate(str(model_folders[name]))).eval()
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        return model, FlopMeter(model)

    return opened


def by_hand(model, prompt):
    """Greedy, every token from a pass over all that stands before it."""
    ids, new = torch.tensor([prompt.ids]), []
    for _ in range(prompt.most):
        with torch.no_grad():
            if model.config.is_encoder_decoder:
                logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[0, *new]])).logits
            else:
                logits = model(input_ids=torch.cat([ids, torch.tensor([new], dtype=torch.long)], dim=1)).logits
        new.append(int(logits[0, -1].argmax()))
        if new[-1] in (0, 7):
            return new[:-1]
    return new


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_writes_what_each_prompt_gets_alone(opened, name):
    model, meter = opened(name)
    prompts = [Prompt(ids, 12) for ids in SHOWN]
    expected = [by_hand(model, prompt) for prompt in prompts]
    assert len({tuple(ids) for ids in expected}) > 2
    assert generate(model, prompts, (0, 7), meter) == expected
    assert generate(model, prompts[::-1], (0, 7), meter, batch_size=2) == expected[::-1]
    limits = [Prompt(prompt.ids, 3 + i) for i, prompt in enumerate(prompts)]
    assert generate(model, limits, (0, 7), meter) == [ids[: 3 + i] for i, ids in enumerate(expected)]


@pytest.mark.parametrize("name", NAMES)
def test_in_bfloat16_prompts_still_share_batches(opened, name, monkeypatch):
    model, meter = opened(name)
    prompts = [Prompt(ids, 4) for ids in SHOWN]
    batches, plain = [], model.generate
    monkeypatch.setattr(model, "generate", lambda **given: batches.append(len(given["input_ids"])) or plain(**given))
    assert [len(ids) <= 4 for ids in generate(model, prompts, (0,), meter, autocast=True)] == [True] * 4
    assert batches == [1, 2, 4]


def test_a_model_that_padding_disturbs_gets_prompts_of_one_length_only(opened, monkeypatch):
    model, meter = opened("gpt")
    prompts = [Prompt(ids, 6) for ids in (*SHOWN, [6, 9, 12], [9])]
    expected = [by_hand(model, prompt) for prompt in prompts]
    shapes, plain = [], generation._inputs

    def blind(model, batch):
        inputs = plain(model, batch)
        shapes.append([len(prompt.ids) for prompt in batch])
        return inputs | {"attention_mask": torch.ones_like(inputs["attention_mask"])}

    monkeypatch.setattr(generation, "_inputs", blind)
    assert generate(model, prompts, (0, 7), meter) == expected
    assert shapes[2:] == [[1, 1], [3, 3], [5], [7]]


def test_settings_of_the_folder_are_not_used_and_stay(opened):
    model, meter = opened("gpt")
    prompts = [Prompt(ids, 6) for ids in SHOWN]
    expected = generate(model, prompts, (0,), meter)
    own = GenerationConfig(do_sample=True, temperature=9.0, min_new_tokens=6, repetition_penalty=5.0, num_beams=3)
    model.generation_config = own
    assert generate(model, prompts, (0,), meter) == expected
    assert model.generation_config is own


@pytest.mark.parametrize("name", NAMES)
def test_flops_of_writing_are_what_torch_counts(opened, model_folders, name):
    kind = AutoModelForSeq2SeqLM if name == "t5" else AutoModelForCausalLM
    plain = kind.from_pretrained(model_folders[name], attn_implementation="eager").eval()
    meter = opened(name)[1]
    for prompts in ([Prompt([5] * 10, 14)], [Prompt([5] * 30, 1)], [Prompt([5, 6, 7], 25)] * 3):
        before = meter.total
        with FlopCounterMode(display=False) as counter:
            written = generate(plain, prompts, (10**6,), meter)
        assert [len(ids) for ids in written] == [prompt.most for prompt in prompts]
        assert meter.total - before == pytest.approx(counter.get_total_flops(), rel=1e-6)


def test_memory_that_does_not_suffice_halves_the_batch(opened, monkeypatch):
    model, meter = opened("gpt")
    prompts = [Prompt(ids, 6) for ids in SHOWN]
    expected, plain = generate(model, prompts, (0,), meter), model.generate

    def small(**inputs):
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("no room for more than two prompts")
        return plain(**inputs)

    monkeypatch.setattr(model, "generate", small)
    assert generate(model, prompts, (0,), meter) == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_likeliest_label_is_the_one_of_a_plain_loop(opened, model_folders, name):
    labels = (" is", " perhaps it is", " plus", " sure")
    examples = tuple(Example(f"{i} plus 1 is", labels[i % 4]) for i in range(24))
    encoded = EncodedTask(find_candidate(str(model_folders[name])), Task("t", examples, (), examples), QUICK)
    model, meter = opened(name)
    found = likeliest_labels(model, all_asked(examples), labels, encoded.reader, meter)
    tokenizer, start = encoded.reader.tokenizer, [] if name == "t5" else [0]
    for example, chosen in zip(examples, found, strict=True):
        totals = {}
        for label in labels:
            prompt, answer = (
                tokenizer(text, add_special_tokens=False)["input_ids"] for text in (example.prompt, label)
            )
            answer = [*answer, 0]
            with torch.no_grad():
                if name == "t5":
                    logits = model(
                        input_ids=torch.tensor([[*prompt, 0]]), decoder_input_ids=torch.tensor([[0, *answer[:-1]]])
                    ).logits[0]
                else:
                    logits = model(input_ids=torch.tensor([start + prompt + answer])).logits[0, len(prompt) : -1]
            totals[label] = float(logits.log_softmax(-1)[range(len(answer)), answer].sum())
        assert chosen == max(totals, key=totals.get)
        rows = encode_with([Asked(example.prompt, "", example).answered(label) for label in labels], encoded.reader)
        assert example_nats(model, rows) == pytest.approx([-total for total in totals.values()], rel=1e-5)
    assert meter.total > 0


def test_an_answer_ends_where_the_model_reads_no_more(opened, model_folders, monkeypatch):
    """64 positions: a prompt that is cut leaves room for its reference and the end token."""
    examples = (Example("plus " * 100, " 4 plus"), Example("1 plus 1 is", " 2"))
    encoded = EncodedTask(find_candidate(str(model_folders["gpt"])), Task("t", examples, (), examples), QUICK)
    model, meter = opened("gpt")
    seen = []
    monkeypatch.setattr(measure_scores, "generate", lambda *given, **rest: seen.extend(given[1]) or generate(*given))
    assert len(completions(model, all_asked(examples), encoded.reader, meter)) == 2
    references = [one.n_targets for one in encoded.split("test")]
    assert [prompt.most for prompt in seen] == [references[0], max(references) + MARGIN]
    assert len(seen[0].ids) + references[0] == 64


def test_what_stands_in_the_chat_template_begins_the_answer(model_folders, opened, monkeypatch):
    """The prompt ends with what the template writes for the assistant to go on from."""
    examples = (Example("1 plus 1 is", " 2"),)
    config = dataclasses.replace(QUICK, chat="on")
    encoded = EncodedTask(find_candidate(str(model_folders["gpt"])), Task("t", examples, (), examples), config)
    seen = []
    monkeypatch.setattr(measure_scores, "generate", lambda model, prompts, *rest, **more: seen.extend(prompts) or [[]])
    model, meter = opened("gpt")
    completions(model, all_asked(examples), encoded.reader, meter)
    assert encoded.reader.tokenizer.decode(seen[0].ids) == "<end>User:\n1 plus 1 is\n\nAssistant:\n"


def test_the_sums_are_read(sums_file):
    assert len(all_asked(read_task(sums_file).test)) == len(read_task(sums_file).test)
