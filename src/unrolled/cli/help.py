"""The text that `python train.py --help` prints."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from unrolled.cli.conf import choices, default_choices

HELP = """\
Train a recurrent text classifier, test its best weights, record the results.

  python train.py GROUP=CHOICE ... KEY=VALUE ...

  python train.py                                     the default, 20 Newsgroups
  python train.py model=gru data=reuters_r8 seed=1
  python train.py data=csv data.train=reviews.csv     your own texts
  python train.py data=csv data.train=reviews.csv dry_run=true
                                           look at data and model, train nothing
  python train.py -m model=lstm,gru seed=0,1,2        every combination
  python train.py resume=runs/latest                  resume a stopped run

Groups and their choices (* is the default). A choice is a file in conf/GROUP/,
which says what its keys mean.
{groups}

Keys that people change first
  data.train, data.valid, data.test      files; directories with data=folder
  data.text_column, data.label_column    names of the columns of text and class
  data.limit=500                         a quick try on few documents
  data.max_tokens=400                    longer documents are truncated
  trainer.max_epochs=10                  how long to train
  callbacks.early_stopping.patience=3    stop when the validation loss has not
                                         fallen for 3 epochs
  tbptt.batch_size=32                    documents per optimizer step
  tbptt.chunk_len=100                    tokens that a gradient goes back
  optimizer.lr=0.002                     learning rate
  model.hidden_size=256                  size of the memory
  model.num_layers=2, model.bidirectional=true
  model.implementation=official          torch.nn in place of the equations
  pooling.dropout, embedding.dropout     regularisation
  seed, name, threads, output_dir

-m runs all combinations of values separated by commas; hydra/launcher=joblib
runs several at a time, sweep=lr searches. --cfg job prints all settings with
their values, --config-dir DIR adds your own choices, --hydra-help says more.
"""


def help_text(conf: Path, own: Sequence[str] = ()) -> str:
    """The text, with the groups of ``conf`` and their choices there and in the user's ``own`` folders."""
    defaults, lines = default_choices(conf), []
    for group, default in defaults.items():
        found = sorted({name for folder in (conf, *map(Path, own)) for name in choices(folder, group)})
        names = ", ".join(f"{name}*" if name == default else name for name in found)
        lines += textwrap.wrap(names, 80, initial_indent=f"  {group:<12}", subsequent_indent=" " * 14)
    return HELP.format(groups="\n".join(lines))
