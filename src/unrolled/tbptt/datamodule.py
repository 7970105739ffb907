"""The data module: the batches of training, validation and test, made of prepared data."""

from dataclasses import dataclass

import pytorch_lightning as pl

from unrolled.data.corpus import TokenCorpus
from unrolled.data.prepare import PreparedData
from unrolled.tbptt.loader import BatchLoader
from unrolled.tbptt.schedule import EVALUATION_CHUNK, DocumentsSchedule, Schedule, StreamSchedule


@dataclass(eq=False)
class DocumentsDataModule(pl.LightningDataModule):
    """Documents of a prepared data set, as a schedule orders them."""

    prepared: PreparedData
    schedule: str = "documents"  # or `stream`
    batch_size: int = 64  # documents per optimizer step, or stream rows, over all devices
    chunk_len: int | None = 100  # time steps per chunk in training
    carry: bool = True  # whether a chunk goes on with the state of the one before; if not, evaluation chops as training
    eval_batch_size: int = 128
    seed: int = 0  # of the order
    stride: int | None = None  # new tokens per batch of a stream (k1), chunk_len unless given

    def __post_init__(self) -> None:
        super().__init__()

    def train_schedule(self, rank: int = 0, world_size: int = 1) -> Schedule:
        """The order in which training meets its documents."""
        train = self.prepared.train
        if self.schedule == "stream":
            assert self.chunk_len is not None
            stride = self.stride or self.chunk_len
            return StreamSchedule(
                train, self.batch_size, stride, self.seed, rank=rank, world_size=world_size, reach=self.chunk_len
            )
        return DocumentsSchedule(train, self.batch_size, self.chunk_len, self.seed, rank=rank, world_size=world_size)

    def train_dataloader(self) -> BatchLoader:
        return self._loader(self.train_schedule(*self._rank()))

    def val_dataloader(self) -> BatchLoader:
        return self.evaluation_loader(self.prepared.valid)

    def test_dataloader(self) -> BatchLoader:
        return self.evaluation_loader(self.prepared.test)

    def evaluation_loader(self, corpus: TokenCorpus) -> BatchLoader:
        """Every document of ``corpus`` once, the longest first, whole and chunk by chunk."""
        chunk_len = EVALUATION_CHUNK if self.carry else self.chunk_len
        rank, world_size = self._rank()
        return self._loader(
            DocumentsSchedule(corpus, self.eval_batch_size, chunk_len, shuffle=False, rank=rank, world_size=world_size)
        )

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, schedule: Schedule) -> BatchLoader:
        gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return BatchLoader(schedule, pin_memory=gpu)
