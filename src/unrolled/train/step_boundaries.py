"""Boundaries between optimizer steps, where training may be saved or stopped, and which steps are logged."""

import math

import pytorch_lightning as pl


def between_steps(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether, before batch ``batch_idx`` (in its epoch), no gradient waits to be used."""
    return batch_idx % trainer.accumulate_grad_batches == 0


def steps_after(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether the optimizer steps after batch ``batch_idx`` (in its epoch), instead of accumulating its gradient."""
    return between_steps(trainer, batch_idx + 1) or batch_idx + 1 >= trainer.num_training_batches


def validation_follows(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether validation or the end of the epoch comes after batch ``batch_idx`` (in its epoch)."""
    if batch_idx + 1 >= trainer.num_training_batches:
        return True
    every = trainer.val_check_batch
    if every is None or math.isinf(every) or not trainer.enable_validation:
        return False
    counted = batch_idx if trainer.check_val_every_n_epoch is not None else trainer.fit_loop.total_batch_idx
    return (counted + 1) % int(every) == 0


def logs_after_this_step(trainer: pl.Trainer) -> bool:
    """Whether the optimizer step that is about to happen is one that Lightning logs (each ``log_every_n_steps``-th)."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and (trainer.global_step + 1) % every == 0


def logged_this_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether batch ``batch_idx`` (in its epoch) has just ended an optimizer step that Lightning logs."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and trainer.global_step % every == 0 and steps_after(trainer, batch_idx)
