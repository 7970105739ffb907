"""The command lines: `train.py`, whose settings Hydra composes from conf/, and the other scripts.

A user's mistake is one message and exit status 2; every other exception keeps its traceback. Nothing at the top of this
file imports torch: `--help` and a misspelt key are answered without it.
"""

import logging
import os
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from unrolled.arguments import nearest, quoted
from unrolled.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

SPIN = "GOMP_SPINCOUNT"  # environment variable: how often a waiting thread looks before it sleeps
PROJECT = "UNROLLED_PROJECT"  # environment variable: the directory of train.py, for the processes of a sweep, too
FILE_KEYS = ("data.", "text.", "resume", "output_dir")  # begin the keys whose values are names of files and columns
HYDRAS_OPTIONS = (
    *("--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--shell-completion"),
    *("--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info"),
)
OF_FILES = ("csv", "jsonl", "parquet", "folder")  # choices of `data` whose documents are the user's
NONE = "none"  # the choice of a group that stands for `group=null`

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


# ---- train.py --------------------------------------------------------------------------------------------------------


def train_command(conf: Path) -> None:
    """Run `train.py` with the command line of this process and the settings below ``conf``.

    HYDRA_FULL_ERROR=1 shows Hydra's own report of a mistake with its traceback instead of one message.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(help_text(conf))
        return
    in_full = os.environ.get("HYDRA_FULL_ERROR", "0") != "0"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints and exits before we are asked
    os.environ[PROJECT] = str(conf.parent)
    arguments = sys.argv[1:]
    try:
        check_options(arguments)
        check_output_dir(arguments, conf.parent)
        arguments = without_null_choices(quote_names(arguments), conf)
        sys.argv[1:] = _arguments_of_this_process(arguments)
    except UserError as error:
        stop(error)
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    register_resolver()
    try:
        hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(run_task)()
    except (HydraException, OmegaConfBaseException) as error:
        if in_full:
            raise
        stop(UserError(explained(error, arguments, conf)))
    except KeyboardInterrupt:  # before the run itself has begun, which answers with more than a status
        sys.exit(130)
    except ValueError as error:
        if "No trials are completed" not in str(error):  # what optuna says when it has nothing to choose from
            raise
        stop(UserError("every trial of the search failed; their messages are above"))


def run_task(config: "DictConfig") -> float | None:
    """One run, or one job of a sweep; the value that a search improves, the best validation accuracy.

    A UserError ends a single run with its message and status 2; in a sweep failures are noted and the next job runs.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from unrolled.config import check_early

    alone = HydraConfig.get().mode == RunMode.RUN
    try:
        if alone and config.resume is None:
            check_early(config)
        from unrolled.train.run import train  # imports torch and Lightning, which takes seconds
        from unrolled.train.sweep import run_job

        value = train(config) if alone else run_job(train, config)
    except UserError as error:
        write_to_log(error)
        remove_traces()
        stop(error)
    if alone and config.dry_run:
        remove_traces()
    return value


def remove_traces() -> None:
    """Take away what Hydra has written for a command of which no run came: nobody looks for it there."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    if hydra.output_subdir is None or (directory / "results.json").exists():
        return
    shutil.rmtree(directory / hydra.output_subdir, ignore_errors=True)
    (directory / f"{hydra.job.name}.log").unlink(missing_ok=True)
    with suppress(OSError):  # other files are there
        directory.rmdir()
        directory.parent.rmdir()


def check_options(arguments: Sequence[str]) -> None:
    """Raise UserError for a setting with dashes before it, as ``--dry-run``."""
    for text in arguments:
        option, equals, value = text.partition("=")
        if option.startswith("--") and option not in HYDRAS_OPTIONS:
            name = option[2:].replace("-", "_")
            meant = f"{name}={value if equals else 'true' if name == 'dry_run' else 'VALUE'}"
            raise UserError(f"{text}: there is no such option; settings have no dashes before them, as in {meant}")


def check_output_dir(arguments: Sequence[str], project: Path) -> None:
    """Raise UserError where no directory can be made at `output_dir=`."""
    for given in (argument.partition("=")[2] for argument in arguments if argument.startswith("output_dir=")):
        path = project / given
        existing = next(each for each in (path, *path.parents) if each.exists())
        try:
            with tempfile.TemporaryDirectory(dir=existing):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"output_dir={given}: no directory can be made in {existing} ({reason}); name another one"
            ) from error


def register_resolver() -> None:
    """Let conf/ say ``${root:path}`` for a path below the directory of train.py, and ``${corpus:...}``."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("root", lambda path: str(Path(os.environ.get(PROJECT, ".")) / path), replace=True)
    OmegaConf.register_new_resolver("corpus", corpus_name, replace=True)


def corpus_name(choice: str, file: Any, hub: Any) -> str:
    """What a run's name calls its data: the user's file or data set of the hub, else the ``choice`` of the group.

    Of a file's name it is what stands before the first dot, with ``_`` in place of all that is no letter or digit.
    """
    given = hub or (file if choice in OF_FILES else None)
    name = re.sub(r"[^\w-]+", "_", Path(str(given or "")).name.split(".")[0]).strip("_")[:40]
    return name or choice


def choose_waiting() -> None:
    """Let threads of torch that wait for each other spin for about 0.1 ms before they sleep.

    It bridges what a training step does on one thread between two parallel operators. GNU's OpenMP, told nothing, spins
    for 3 ms, through whole time slices of a core that another program, or the thread waited for, could use; asleep at
    once, threads lose a quarter of their speed to being woken (`python benchmark.py threads`). It reads the variable
    when torch is imported, so that is too late; child processes inherit it. What the user has set stays.
    """
    if not {"OMP_WAIT_POLICY", SPIN} & set(os.environ):
        os.environ[SPIN] = "10000"


choose_waiting()
if PROJECT in os.environ:  # a process that a launcher has started imports this module for `run_task`
    register_resolver()


def _arguments_of_this_process(arguments: list[str]) -> list[str]:
    """With `resume=` those that the run was started with; with those that quiet all of a run's processes but one."""
    if any(text.startswith("resume=") for text in arguments):
        from unrolled.train.resume import resumed_arguments

        arguments = resumed_arguments(arguments)
    if {"RANK", "SLURM_PROCID", "LOCAL_RANK"} & set(os.environ):
        from unrolled.train.devices import overrides_of_rank

        arguments = [*arguments, *overrides_of_rank()]
    return arguments


def quote_names(arguments: Sequence[str]) -> list[str]:
    """The command line with quotes around file and column names that Hydra's grammar cannot read, as ``a (1).csv``.

    Raises UserError for any other setting that it cannot read.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    found = []
    for text in arguments:
        key, equals, value = text.partition("=")
        try:
            if equals and not text.startswith("-"):
                parser.parse_override(text)
        except HydraException as error:
            if not key.startswith(FILE_KEYS):
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"{text}: cannot be read ({reason}); put a value with special characters in quotes twice, "
                    f"as in \"{key}='...'\""
                ) from error
            text = f"{key}={quoted(value)}"
        found.append(text)
    return found


def without_null_choices(arguments: Sequence[str], conf: Path) -> list[str]:
    """The command line with ``GROUP=null`` as Hydra understands it: the choice ``none``, or nothing to be chosen.

    Raises UserError where a group cannot do without, and for a choice with the ending of its file, which Hydra takes.
    """
    defaults, found = default_choices(conf), []
    for text in arguments:
        group, _, value = text.partition("=")
        if group in defaults and value.endswith(".yaml"):
            raise UserError(f"{text}: a choice is named without .yaml; did you mean {text.removesuffix('.yaml')}?")
        if value != "null" or group not in defaults:
            found.append(text)
        elif NONE in (names := choices(conf, group)):
            found.append(f"{group}={NONE}")
        elif defaults[group] is not None:
            raise UserError(f"{text}: a run needs one; choose one of {', '.join(names)}")
    return found


class TerminalLines(logging.Formatter):
    """What is logged, as the terminal shows it: the sentence alone, with ``warning:`` before it where it is one."""

    def format(self, record: logging.LogRecord) -> str:
        said = super().format(record)
        return said if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {said}"


def write_to_log(error: UserError) -> None:
    """Put the message into the run's log, too; the terminal gets it from `stop`."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, str(error), (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def stop(error: UserError) -> NoReturn:
    """End the process with the message and status 2; of several processes on a machine one speaks."""
    if int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))) == 0:
        sys.stderr.write(f"error: {error}\n")
    sys.exit(2)


# ---- what conf/ holds ------------------------------------------------------------------------------------------------


def help_text(conf: Path) -> str:
    """What `--help` prints."""
    defaults, lines = default_choices(conf), []
    for group, default in defaults.items():
        names = ", ".join(f"{name}*" if name == default else name for name in choices(conf, group))
        lines += textwrap.wrap(names, 80, initial_indent=f"  {group:<12}", subsequent_indent=" " * 14)
    return HELP.format(groups="\n".join(lines))


def default_choices(conf: Path) -> dict[str, str | None]:
    """The groups in the order of conf/config.yaml, each with its default choice."""
    listed = re.findall(r"^  - (\w+): (\w+)$", (conf / "config.yaml").read_text(), re.M)
    return {group: None if name == "null" else name for group, name in listed}


def choices(conf: Path, group: str) -> list[str]:
    """The names that ``group`` can be set to."""
    return sorted(file.stem for file in (conf / group).glob("*.yaml"))


def keys_of_choice(conf: Path, group: str, name: str) -> set[str]:
    """The keys at the top of conf/GROUP/NAME.yaml and of the files that it takes its defaults from."""
    text = (conf / group / f"{name}.yaml").read_text()
    parents = [parent for parent in re.findall(r"^  - (\w+)$", text, re.M) if parent in choices(conf, group)]
    own = set(re.findall(r"^(\w+):", text, re.M)) - {"defaults"}
    return own.union(*(keys_of_choice(conf, group, parent) for parent in parents))


def existing_keys(conf: Path, arguments: Sequence[str]) -> list[str]:
    """All groups, and all keys that there are with the choices that ``arguments`` make."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    groups = default_choices(conf)
    chosen = [f"{group}={value.split(',')[0]}" for group, value in _pairs(arguments) if group in groups]
    folders = [f"file://{value}" for key, value in _pairs(arguments) if key == "--config-dir"]
    folders += [f"file://{b}" for a, b in pairwise(arguments) if a in ("--config-dir", "-cd")]
    search = [f"hydra.searchpath=[{','.join(folders)}]"] if folders else []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        try:
            config = compose("config", [*chosen, *search])
        except HydraException:  # a choice is wrong as well
            config = compose("config")
    return [*groups, *_dotted(OmegaConf.to_container(config))]


def _pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, equals, value in (text.partition("=") for text in arguments) if equals]


def _dotted(node: Any, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if prefix or not isinstance(value, Mapping):
            yield key
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{key}.")


# ---- what Hydra finds wrong, in a sentence ---------------------------------------------------------------------------

INTERNAL = ("full_key:", "object_type=", "reference_type=", "Config search path", "provider=", "See https:")


def explained(error: Exception, arguments: Sequence[str], conf: Path) -> str:
    """What is wrong with the command line, and what was probably meant."""
    from hydra.errors import MissingConfigException

    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        close = get_close_matches(name, error.options, n=1)
        hint = f"did you mean {group}={close[0]}? " if close else ""
        return f"{group}={name}: there is no such choice; {hint}There are {', '.join(error.options)}"
    several = re.match(r"Ambiguous value for argument '([^']+)'", str(error))
    if several is not None:
        key, _, value = several[1].partition("=")
        return (
            f"{several[1]}: values separated by commas are a sweep: add -m; a single value with a comma in it needs "
            f"quotes twice, as in \"{key}='{value}'\""
        )
    bare = re.match(r"Error parsing override '([^']+)'\s+missing EQUAL", str(error))
    if bare is not None:
        groups = [f"{group}={bare[1]}" for group in default_choices(conf) if bare[1] in choices(conf, group)]
        return f"{bare[1]}: a setting is written KEY=VALUE, as in {' or '.join(groups) or 'dry_run=true'}"
    missing = re.match(r"Could not (?:override|delete)[^']*'([^']+)'", str(error))
    if missing is not None and not missing[1].startswith("hydra"):
        return _no_such_key(missing[1], arguments, conf)
    there = re.search(r"An item is already at '([^']+)'", str(error))
    if there is not None:
        return f"+{there[1]}: there is such a key already; write {there[1]}=... without +"
    return in_short(error)


def _no_such_key(key: str, arguments: Sequence[str], conf: Path) -> str:
    message = f"{key}: there is no such key"
    existing = existing_keys(conf, arguments)
    group, _, last = key.partition(".")
    if group in existing:
        having = [name for name in choices(conf, group) if last in keys_of_choice(conf, group, name)]
        chosen = dict(_pairs(arguments)).get(group, default_choices(conf)[group])
        if having:
            return f"{message} with {group}={chosen}; there is with {group}={', '.join(having)}"
    meant = [each for each in nearest(key, existing) if each != group]
    value = dict(_pairs(arguments)).get(key)
    shown = [f"{each}={value}" if value in choices(conf, each) else each for each in meant]
    return message + (f"; did you mean {' or '.join(shown)}?" if shown else "; --help lists what people change first")


def in_short(error: Exception) -> str:
    """What Hydra says, and what made it say so, in one line, without its internals and its advice to append with +."""
    parts: list[str] = []
    for line in f"{error}\n{error.__cause__ or ''}".splitlines():
        said = line.strip().rstrip(".")
        if not said or said.startswith((*INTERNAL, "To append to your config")) or said in parts:
            continue
        if line.startswith("\t") and parts:  # a list of choices
            parts[-1] += f"{' ' if parts[-1].endswith(':') else ', '}{said}"
        else:
            parts.append(said)
    return "; ".join(parts)


# ---- the other scripts -----------------------------------------------------------------------------------------------


def run_script(main: Callable[[Sequence[str]], None]) -> None:
    """Call ``main`` with the command line; a UserError becomes one message and exit status 2, Ctrl-C status 130."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader, such as `head`, has gone
        sys.stderr.close()  # or Python complains about standard output at exit
        raise SystemExit(0) from None
