"""The data module: the batches of training, validation and test, made of prepared data."""

from dataclasses import dataclass, field

import pytorch_lightning as pl

from unrolled.data.corpus import TokenCorpus
from unrolled.data.prepare import PreparedData
from unrolled.tbptt.config import TBPTTConfig
from unrolled.tbptt.loader import BatchLoader
from unrolled.tbptt.schedule import EVALUATION_CHUNK, DocumentsSchedule, Schedule, StreamSchedule


@dataclass(eq=False)
class DocumentsDataModule(pl.LightningDataModule):
    """Documents of a prepared data set, as a schedule orders them."""

    prepared: PreparedData
    tbptt: TBPTTConfig = field(default_factory=TBPTTConfig)
    seed: int = 0  # of the order

    def __post_init__(self) -> None:
        super().__init__()

    def train_schedule(self, rank: int = 0, world_size: int = 1) -> Schedule:
        """The order in which training meets its documents."""
        train, tbptt = self.prepared.train, self.tbptt
        if tbptt.schedule == "stream":
            assert tbptt.k1 is not None
            return StreamSchedule(
                train, tbptt.batch_size, tbptt.k1, self.seed, rank=rank, world_size=world_size, reach=tbptt.k2
            )
        return DocumentsSchedule(train, tbptt.batch_size, tbptt.chunk_len, self.seed, rank=rank, world_size=world_size)

    def train_dataloader(self) -> BatchLoader:
        return self._loader(self.train_schedule(*self._rank()))

    def val_dataloader(self) -> BatchLoader:
        return self.evaluation_loader(self.prepared.valid)

    def test_dataloader(self) -> BatchLoader:
        return self.evaluation_loader(self.prepared.test)

    def evaluation_loader(self, corpus: TokenCorpus) -> BatchLoader:
        """Every document of ``corpus`` once, the longest first, whole and chunk by chunk, as in training if chopped."""
        rows, chunk_len = self.tbptt.eval_batch_size, EVALUATION_CHUNK if self.tbptt.carry else self.tbptt.chunk_len
        rank, world_size = self._rank()
        return self._loader(DocumentsSchedule(corpus, rows, chunk_len, shuffle=False, rank=rank, world_size=world_size))

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, schedule: Schedule) -> BatchLoader:
        gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return BatchLoader(schedule, pin_memory=gpu)
