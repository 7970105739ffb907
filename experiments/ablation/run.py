"""Study of what each ingredient of the default recipe is worth. Run: python experiments/ablation/run.py

Every row is the default training of `model=lstmp` with one thing left out or put in the place of another.
"""

from unrolled.studies.accuracy import Plan, run_accuracy_study
from unrolled.studies.accuracy import Row as Row
from unrolled.studies.accuracy import table as table

WAYS = {
    "the recipe": (),
    "no linear model": ("model.wide=false",),
    "no recurrence": ("model=memoryless",),
    "no shortcut": ("model.shortcut=false",),
    "no word dropout": ("embedding.word_dropout=0",),
    "no dropout of embeddings": ("embedding.dropout=0",),
    "no dropout before the head": ("pooling.dropout=0",),
    "no label smoothing": ("label_smoothing=0",),
    "weights not averaged": ("callbacks.averaging=null",),
    "rate falls to zero, shorter average": ("scheduler=linear", "callbacks.averaging.decay=0.98"),
    "five epochs": ("trainer.max_epochs=5",),
    "max pooling": ("pooling=max",),
    "mean pooling": ("pooling=mean",),
    "attention pooling": ("pooling=attention",),
    "basic_english words": ("text=words",),
}
PLANS = {"election_tweets": Plan(list(WAYS), (1, 2))}

if __name__ == "__main__":
    run_accuracy_study(
        __file__,
        "The default recipe with one ingredient changed at a time.",
        WAYS,
        PLANS,
        "Errors on the test documents: mean and range over the seeds, which also draw the validation documents where "
        "these are random; p: McNemar's test against the recipe on the same data set.",
    )
