"""Study of what each model reaches with the default recipe. Run: python experiments/leaderboard/run.py

Every row is `python train.py data=... model=... seed=...`: the linear model, the network without a recurrence, four
recurrences and one in two directions, which mix their logits with the linear model's, and the same without it.
"""

import argparse

import torch

from unrolled.studies.accuracy import Row as Row
from unrolled.studies.accuracy import measure, table
from unrolled.studies.study import Report, run_study

CORPORA = {name: (f"data={name}",) for name in ("election_tweets",)}
WAYS = {
    "linear": ("model=linear",),
    "memoryless": ("model=memoryless",),
    "rnn": ("model=rnn",),
    "gru": ("model=gru",),
    "lstm": ("model=lstm",),
    "official lstm": ("model=lstm", "model.implementation=official"),
    "lstmp": ("model=lstmp",),
    "lstm in two directions": ("model=lstm", "model.bidirectional=true"),
    "lstmp alone": ("model=lstmp", "model.wide=false"),
}
SEEDS = (1, 2, 3)  # the recipe's numbers were looked for with seed 0


def study(arguments: argparse.Namespace) -> Report:
    """Train all of them and report."""
    corpora, ways, seeds = CORPORA, WAYS, SEEDS
    if arguments.quick:
        few = ("data=book_excerpts", "data.max_tokens=50", "model.hidden_size=4", "trainer.max_epochs=1")
        corpora, ways, seeds = {"book_excerpts": few}, {"gru": ("model=gru",), "rnn": ("model=rnn",)}, (1, 2)
    rows = measure(corpora, ways, seeds, arguments.runs, arguments.jobs)
    text = (
        f"Made by `python experiments/leaderboard/run.py --jobs {arguments.jobs}` with torch {torch.__version__}, one "
        f"thread per run and the default recipe. Errors on the test documents: mean and range over {len(seeds)} seeds, "
        "which also draw the validation documents; p: McNemar's test against the first row of the data set; time: "
        "median wall time of a run, with other runs beside it."
    )
    return Report(table(rows), rows, text, {"jobs": arguments.jobs})


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="Every model with the default recipe on the shipped data sets, against a linear model.",
        quick="two small models on the beginnings of 98 documents, one epoch",
    )
