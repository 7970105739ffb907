"""An epoch's batches, in order, from wherever a run was interrupted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unrolled.tbptt.batch import Batch
from unrolled.tbptt.schedule import Schedule


class BatchLoader:
    """Iterates over a schedule's batches; its state is the epoch and the batch to come.

    Lightning sets the epoch through ``sampler.set_epoch``. A run that goes on in mid-epoch loads the state and reads
    the very batch that would have come next. Batches are made in the training process: copying token ids from a memory
    map takes under a millisecond, and worker processes cost more than they bring.
    """

    def __init__(self, schedule: Schedule, pin_memory: bool = False) -> None:
        self.schedule = schedule
        self.pin_memory = pin_memory
        self.epoch = 0
        self.next_step = 0  # of the present iteration
        self._first = 0  # where the next iteration begins; one that was broken off leaves no trace

    batch_sampler = None  # Lightning asks every loader that has a sampler for one

    @property
    def sampler(self) -> "BatchLoader":
        """Where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration reads."""
        if epoch != self.epoch:
            self.epoch, self.next_step, self._first = epoch, 0, 0

    def __len__(self) -> int:
        return len(self.schedule)

    def __iter__(self) -> Iterator[Batch]:
        batches = self.schedule.batches(self.epoch)
        first, self._first = self._first, 0
        for i in range(first, len(batches)):
            batch = batches[i].pin_memory() if self.pin_memory else batches[i]
            self.next_step = i + 1 if i + 1 < len(batches) else 0
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "next_step": self.next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.next_step = state["epoch"], state["next_step"]
        self._first = self.next_step


@dataclass(frozen=True)
class ListLoader:
    """Gives the same batches in every epoch; a bare list would be several loaders to Lightning."""

    batches: Sequence[Batch]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)
