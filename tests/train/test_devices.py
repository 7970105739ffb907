"""Two processes are one: the same steps, gradients, metrics and predictions, one record."""

import json
import os
import socket
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from tests.nn.build import lstm
from tests.train.fresh_process import ROOT, finish_training, start

from unrolled.data.corpus import TokenCorpus
from unrolled.errors import UserError
from unrolled.nn.embedding import Embedding
from unrolled.nn.network import Network
from unrolled.nn.pooling import Concat
from unrolled.tbptt.config import TBPTTConfig
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.train.classifier import Classifier
from unrolled.train.devices import check_launcher

UNEVEN = [4, 9, 0, 1, 7, 3, 3, 12, 5, 2, 8]
TIMEOUT = 120  # seconds; processes that wait for each other wait forever


def fit(corpus: TokenCorpus, schedule: str, **options: Any) -> dict[str, Any]:
    """Two epochs and a test without anything random; batches of two, the last one of a single document."""
    pl.seed_everything(5, verbose=False)
    loss = "every" if schedule == "stream" else "final"
    tbptt = TBPTTConfig(schedule, chunk_len=3, batch_size=2, eval_batch_size=2, loss=loss)
    model = Classifier(
        Network(Embedding(11, 3), lstm(3, 4, bidirectional=schedule == "documents"), Concat(4), 3),
        class_names=["a", "b", "c"],
        tbptt=tbptt,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.2),
    )
    seen: dict[str, Any] = {"loss": []}

    def before_step(optimizer: torch.optim.Optimizer) -> None:
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        seen.setdefault("gradient", gradients)

    def after_step(outputs: Any, batch: Any, batch_idx: int) -> None:
        seen["loss"].append(float(model.trainer.callback_metrics["train/loss"]))

    model.on_before_optimizer_step = before_step
    model.on_train_batch_end = after_step
    prepared = SimpleNamespace(train=corpus, valid=corpus.select(range(5)), test=corpus.select(range(2, 9)))
    data = DocumentsDataModule(prepared, tbptt, seed=7)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=1,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(model, datamodule=data)
    metrics = dict(trainer.callback_metrics)
    metrics |= trainer.test(model, datamodule=data, verbose=False)[0]
    return seen | {
        "steps": trainer.global_step,
        "metrics": {name: float(value) for name, value in metrics.items() if "/" in name},
        "weights": {name: value.clone() for name, value in model.state_dict().items()},
        "predictions": {name: torch.from_numpy(np.asarray(v)) for name, v in model.test_predictions.items()},
    }


def fit_as(rank: int, port: int, corpus: TokenCorpus, folder: Path) -> None:
    """One of two processes, both schedules one after the other."""
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    for schedule in ("documents", "stream"):
        result = fit(corpus, schedule, strategy="ddp", devices=2)
        torch.save(result, folder / f"{schedule}-{rank}.pt")


@pytest.fixture(scope="module")
def both(make_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What each of two processes has found, for each schedule."""
    folder, corpus = tmp_path_factory.mktemp("devices"), make_corpus(UNEVEN)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    processes = [start(fit_as, rank, port, corpus, folder) for rank in (0, 1)]
    for process in processes:
        process.join(TIMEOUT)
    exits = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert exits == [0, 0], "None: the processes wait for each other"
    return {
        schedule: [torch.load(folder / f"{schedule}-{rank}.pt", weights_only=True) for rank in (0, 1)]
        for schedule in ("documents", "stream")
    }


@pytest.mark.parametrize("schedule", ["documents", "stream"])
def test_two_processes_find_what_one_finds(both, make_corpus, schedule) -> None:
    first, second = both[schedule]
    alone = fit(make_corpus(UNEVEN), schedule)
    assert first["steps"] == second["steps"] == alone["steps"]
    for name, gradient in alone["gradient"].items():
        torch.testing.assert_close(first["gradient"][name], gradient, rtol=0, atol=1e-6)
        assert torch.equal(first["gradient"][name], second["gradient"][name])
    assert first["loss"] == pytest.approx(alone["loss"], abs=1e-5)
    for name, value in alone["weights"].items():
        torch.testing.assert_close(first["weights"][name], value, rtol=0, atol=1e-5)
    assert first["metrics"].keys() == alone["metrics"].keys()
    assert first["metrics"] == pytest.approx(alone["metrics"], abs=1e-5)
    assert first["predictions"]["ids"].tolist() == list(range(102, 109)), "each document once, all of them"
    for name, value in alone["predictions"].items():
        torch.testing.assert_close(first["predictions"][name], value, rtol=0, atol=1e-5)


def test_losses_are_means_over_documents_not_over_batches(both, make_corpus) -> None:
    """Five validation documents in batches of two: the oracle is one batch of all."""
    corpus = make_corpus(UNEVEN).select(range(5))
    prepared = SimpleNamespace(train=corpus, valid=corpus, test=corpus)
    data = DocumentsDataModule(prepared, TBPTTConfig(batch_size=2, chunk_len=3, eval_batch_size=5))
    (batch,) = data.val_dataloader()
    model = Classifier(
        Network(Embedding(11, 3), lstm(3, 4, bidirectional=True), Concat(4), 3), class_names=["a", "b", "c"]
    )
    model.load_state_dict(both["documents"][0]["weights"])
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model.eval()(batch), batch.labels)
    assert both["documents"][0]["metrics"]["val/loss"] == pytest.approx(float(loss), abs=1e-5)


SMALL = ("data=book_excerpts", "data.max_tokens=40", "embedding.embedding_dim=5", "model=lstm", "model.hidden_size=7")


def test_a_sweep_over_two_devices_runs_each_job_once(tmp_path) -> None:
    """Each process that Lightning's own launcher starts would begin the sweep again."""
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\n" + "a good one,yes\na bad one,no\n" * 30)
    own = ["data=csv", f"data.train={file}", *SMALL[1:]]
    arguments = [*own, "trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1", f"output_dir={tmp_path}"]
    code = finish_training(["-m", *arguments, "seed=3"], tmp_path / "output.txt")
    output = (tmp_path / "output.txt").read_text()
    assert code == 0, output
    (file,) = tmp_path.rglob("results.json")
    results = json.loads(file.read_text())
    assert (results["status"], results["environment"]["processes"]) == ("ok", 2)
    predicted = (file.parent / "predictions.csv").read_text().splitlines()[1:]
    assert len(predicted) == results["data_summary"]["splits"]["test"]["documents"]
    assert max(Counter(line.split(",")[0] for line in predicted).values()) == 1
    assert output.count("tensorboard --logdir") == output.count("delimiter a comma") == 1
    assert not list(ROOT.glob("*.log"))


def test_a_mistake_in_the_data_is_told_once_and_ends_all(tmp_path) -> None:
    arguments = [*SMALL, "trainer=ddp", "trainer.accelerator=cpu", "tbptt.batch_size=1", f"output_dir={tmp_path}"]
    assert finish_training(arguments, tmp_path / "output.txt") == 2
    assert (tmp_path / "output.txt").read_text().count("error: tbptt.batch_size=1") == 1


def test_a_sweep_over_devices_under_a_parallel_launcher_is_refused(monkeypatch) -> None:
    hydra = OmegaConf.create(
        {
            "mode": RunMode.MULTIRUN,
            "launcher": {"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"},
            "runtime": {"choices": {"hydra/launcher": "joblib"}},
        }
    )
    monkeypatch.setattr(HydraConfig, "get", lambda: hydra)
    with pytest.raises(UserError, match=r"trainer.devices=2.*hydra/launcher=joblib"):
        check_launcher(2)
    check_launcher(1)
    hydra.launcher._target_ = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    check_launcher(2)
