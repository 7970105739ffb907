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
    "falling rate and shorter average": ("scheduler=linear", "callbacks.averaging.decay=0.98"),
    "cosine and shorter average": ("scheduler=cosine", "callbacks.averaging.decay=0.98"),
    "one cycle and shorter average": (
        "scheduler=constant",
        "scheduler._target_=torch.optim.lr_scheduler.OneCycleLR",
        "~scheduler.warmup",
        "+scheduler.max_lr=0.01",
        "+scheduler.cycle_momentum=false",
        "callbacks.averaging.decay=0.98",
    ),
    "five epochs": ("trainer.max_epochs=5",),
    "inputs dropped per document": ("embedding.dropout=0", "model.input_dropout=0.3"),
    "recurrent weights dropped": ("model.weight_dropout=0.3",),
    "zoneout": ("model.zoneout_hidden=0.1", "model.zoneout_cell=0.1"),
    "two layers": ("model.num_layers=2", "model.layer_dropout=0.3"),
    "both directions": ("model.bidirectional=true",),
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
