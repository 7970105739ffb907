"""Study of what each model reaches with the default recipe. Run: python experiments/leaderboard/run.py

Every row is `python train.py data=... model=... seed=...`: the linear model, the network without a recurrence, and
three recurrences. The networks mix their logits with the linear model's.
"""

from unrolled.studies.accuracy import Plan, run_accuracy_study
from unrolled.studies.accuracy import Row as Row
from unrolled.studies.accuracy import table as table

WAYS = {
    "linear": ("model=linear",),
    "memoryless": ("model=memoryless",),
    "rnn": ("model=rnn",),
    "gru": ("model=gru",),
    "lstm": ("model=lstm",),
    "lstm of torch.nn": ("model=lstm", "model.implementation=official"),
    "lstm in both directions": ("model=lstm", "model.bidirectional=true"),
    "lstmp": ("model=lstmp",),
}
SEEDS = (1, 2, 3)  # none of those with which the recipe's numbers were looked for
DATA = ("election_tweets", "reuters_r8", "reuters_r52", "newsgroups", "listops")
PLANS = {data: Plan(list(WAYS), SEEDS) for data in DATA}

if __name__ == "__main__":
    run_accuracy_study(
        __file__,
        "Every model with the default recipe on the shipped data sets, against a linear model.",
        WAYS,
        PLANS,
        "Errors on the test documents: mean and range over the seeds, which also draw the validation documents; p: "
        "McNemar's test against the first row of the data set; time: median wall time of a run, with other runs beside "
        "it.",
    )
