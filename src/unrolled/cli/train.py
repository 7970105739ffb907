"""The command `train.py`: a run, or the jobs of a sweep."""

import logging
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.cli.command_line import check_options, check_output_dir, quote_names, without_null_choices
from unrolled.cli.conf import PROJECT_VARIABLE, own_folders, register_resolver
from unrolled.cli.explain import explained
from unrolled.cli.help import help_text
from unrolled.cli.terminal import stop
from unrolled.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)


def train_command(conf: Path) -> None:
    """Run `train.py` with the command line of this process and the settings below ``conf``.

    HYDRA_FULL_ERROR=1 shows Hydra's own report of a mistake with its traceback instead of one message.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(help_text(conf, own_folders(sys.argv[1:])))
        return
    in_full = os.environ.get("HYDRA_FULL_ERROR", "0") != "0"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints and exits before we are asked
    os.environ[PROJECT_VARIABLE] = str(conf.parent)
    arguments = sys.argv[1:]
    try:
        check_options(arguments, conf)
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
        if {"-m", "--multirun"} & set(arguments):
            remove_empty_sweep()
        if in_full:
            raise
        stop(UserError(explained(error, arguments, conf)))
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
    except KeyboardInterrupt:  # before the run itself has begun, which answers with the command that resumes it
        logging.disable(logging.INFO)  # or torch, half imported, says goodbye in three lines
        if alone:
            remove_traces()
        raise
    except UserError as error:
        write_to_log(error)
        remove_traces()
        stop(error)
    if alone and config.dry_run:
        remove_traces()
    return value


def _arguments_of_this_process(arguments: list[str]) -> list[str]:
    """With `resume=` those that the run was started with; with those that quiet all of a run's processes but one."""
    if any(text.startswith("resume=") for text in arguments):
        from unrolled.train.resume import resumed_arguments

        arguments = resumed_arguments(arguments)
    if {"RANK", "SLURM_PROCID", "LOCAL_RANK"} & set(os.environ):
        from unrolled.train.devices import overrides_of_rank

        arguments = [*arguments, *overrides_of_rank()]
    return arguments


def write_to_log(error: UserError) -> None:
    """Put the message into the run's log, too; the terminal gets it from `stop`."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, str(error), (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def remove_traces() -> None:
    """Remove what Hydra has written for a command that started no run."""
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


def remove_empty_sweep() -> None:
    """Remove the directory of a sweep whose command was refused, before its first job."""
    from unrolled.compare.sweep_summary import SweepSummary

    if SweepSummary.directory is None:
        return
    directory = Path(SweepSummary.directory)
    if [file.name for file in directory.glob("*")] == ["multirun.yaml"]:
        shutil.rmtree(directory)
        with suppress(OSError):  # there are other sweeps
            directory.parent.rmdir()
