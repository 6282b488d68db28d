"""The model card of what was trained: what it is, what it was trained on, and what was forecast of it."""

from __future__ import annotations

from collections.abc import Mapping

from huggingface_hub import ModelCardData

from lensllm.files import write_whole
from lensllm.handover.trained import Trained
from lensllm.provenance import CandidateOrigin, Provenance
from lensllm.text import visible

LIBRARY = {"full": "transformers", "lora": "peft", "qlora": "peft"}
PIPELINE = {False: "text-generation", True: "text2text-generation"}
QLORA = (
    "The adapter was trained beside a base in 4 bits (NF4), and its losses hold for that base: load it with "
    '`BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)`.'
)
MERGED = {
    "lora": "`merged/` holds the base with the adapter added to its weights",
    "qlora": "`merged/` holds the base that the adapter was trained beside, unpacked from its 4 bits, with the adapter "
    "added to its weights (not the original base, beside which the loss would be another)",
}


def write_card(
    trained: Trained, candidate: CandidateOrigin, origin: Provenance, versions: Mapping[str, str], seq2seq: bool
) -> None:
    """Write `README.md` beside the model.

    Args:
        trained: what was trained.
        candidate: the base and its method.
        origin: of the selection.
        versions: package -> version, of the training.
        seq2seq: whether the model is an encoder-decoder.
    """
    base = base_of(candidate)
    data = ModelCardData(
        base_model=base,
        library_name=LIBRARY[candidate.method],
        pipeline_tag=PIPELINE[seq2seq],
        license=candidate.licence or None,
        tags=["lensllm", *([candidate.method] if candidate.method != "full" else [])],
    )
    text = "\n".join(
        [f"# {visible(trained.candidate)} for {visible(origin.task.name)}", "", *_lines(trained, candidate, origin)]
    )
    made = ", ".join(f"{name} {value}" for name, value in versions.items())
    write_whole(trained.folder / "README.md", f"---\n{data.to_yaml()}\n---\n\n{text}\n- Versions: {made}\n")
    if trained.merged:
        write_whole(trained.merged / "README.md", _merged_card(trained, candidate, origin, seq2seq))


def base_of(candidate: CandidateOrigin) -> str:
    """What an adapter is told to be for: the hub id, or the folder of a model that is not on the hub."""
    return candidate.hub_id or candidate.folder


def _lines(trained: Trained, candidate: CandidateOrigin, origin: Provenance) -> list[str]:
    config, task = origin.training, origin.task
    revision = f" at revision {candidate.revision}" if candidate.revision else ""
    settings = ", ".join(f"{name} {value}" for name, value in candidate.settings.items())
    files = [f"  - `{visible(one.path)}`, SHA-256 {one.sha256}" for one in task.files]
    lines = [
        f"- Base: `{visible(candidate.hub_id or candidate.model)}`{revision}, fingerprint {candidate.fingerprint}",
        f"- Licence of the base: {candidate.licence or 'its model card names none: look before you pass this on'}",
        f"- Method: {candidate.method}{f' ({settings})' if settings else ''}",
        f"- Data: {trained.examples:,} of {task.train:,} training examples ({task.layout or 'examples of a program'}), "
        f"{task.validation:,} validation and {task.test:,} test examples, fingerprint {task.fingerprint}",
        *files,
        f"- Training: {trained.steps:,} steps of {config.train_batch_size} examples, {config.num_train_epochs} epochs, "
        f"peak learning rate {trained.learning_rate:.3g}, {config.lr_scheduler_type} with {config.warmup_ratio:.0%} "
        f"warm-up, {config.optim}, {config.dtype}, at most {config.max_length:,} tokens",
        f"- Seeds: {config.seed} of adapters and order, {config.subset_seed} of the subset",
        f"- Loss on the validation examples: {trained.validation:.4f} nats a byte",
        *(f"- On the test: {one.told}" for one in trained.outcomes),
    ]
    lines += [f"- {QLORA}"] * (candidate.method == "qlora")
    if trained.merged_loss is not None:
        lines.append(f"- {MERGED[candidate.method]}: loss {trained.merged_loss:.3f} nats a byte on the same test")
    return [*lines, *(f"- Note: {visible(note)}" for note in trained.notes)]


def _merged_card(trained: Trained, candidate: CandidateOrigin, origin: Provenance, seq2seq: bool) -> str:
    data = ModelCardData(
        base_model=base_of(candidate),
        library_name="transformers",
        pipeline_tag=PIPELINE[seq2seq],
        license=candidate.licence or None,
        tags=["lensllm", "merged"],
    )
    title = f"# {visible(trained.candidate)} for {visible(origin.task.name)}, merged"
    said = MERGED[candidate.method].replace("`merged/` holds", "This is")
    return (
        f"---\n{data.to_yaml()}\n---\n\n{title}\n\n{said}. Loss on the test: {trained.merged_loss:.4f} nats a byte. "
        "The card of the adapter, in the folder above, tells the rest.\n"
    )
