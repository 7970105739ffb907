"""Study of what each ingredient of the default recipe is worth. Run: python experiments/ablation/run.py

Every row is the default training of `model=lstmp` with one thing left out or put in the place of another.
"""

import argparse

import torch

from unrolled.studies.accuracy import measure, table
from unrolled.studies.study import Report, run_study

CORPORA = {name: (f"data={name}",) for name in ("book_excerpts", "election_tweets", "reuters_r8")}
WAYS = {
    "the recipe": (),
    "no linear model": ("model.wide=false",),
    "no recurrence": ("model=memoryless",),
    "batches of 64": ("tbptt.batch_size=64",),
    "five epochs": ("trainer.max_epochs=5",),
    "no early stopping": ("callbacks.early_stopping=null",),
    "constant learning rate": ("scheduler=constant",),
    "weights not averaged": ("callbacks.averaging=null",),
    "no word dropout": ("embedding.word_dropout=0",),
    "no dropout of embeddings": ("embedding.dropout=0",),
    "no dropout before the head": ("pooling.dropout=0",),
    "no label smoothing": ("label_smoothing=0",),
    "no shortcut": ("model.shortcut=false",),
    "pooling max": ("pooling=max",),
    "pooling attention": ("pooling=attention",),
    "text=words": ("text=words",),
}
SEEDS = (1, 2, 3)


def study(arguments: argparse.Namespace) -> Report:
    """Train all of them and report."""
    corpora, ways, seeds = CORPORA, WAYS, SEEDS
    if arguments.quick:
        few = ("data=book_excerpts", "data.max_tokens=50", "model=gru", "model.hidden_size=4", "trainer.max_epochs=1")
        corpora, ways, seeds = {"book_excerpts": few}, {"the recipe": (), "pooling max": ("pooling=max",)}, (1, 2)
    rows = measure(corpora, ways, seeds, arguments.runs, arguments.jobs)
    text = (
        f"Made by `python experiments/ablation/run.py --jobs {arguments.jobs}` with torch {torch.__version__}, one "
        f"thread per run. Errors on the test documents: mean and range over {len(seeds)} seeds, which also draw the "
        "validation documents; p: McNemar's test against the recipe on the same data set."
    )
    return Report(table(rows), rows, text, {"jobs": arguments.jobs})


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="The default recipe with one ingredient changed at a time.",
        quick="two poolings on the beginnings of 98 documents, one epoch",
    )
