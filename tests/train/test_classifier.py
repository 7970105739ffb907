"""Training against loops written out by hand over torch.nn."""

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.precision import MixedPrecision
from tests.nn import build
from tests.nn.build import POOLINGS
from torch import Tensor

from unrolled.data.corpus import TokenCorpus
from unrolled.nn.embedding import Embedding
from unrolled.nn.network import Network
from unrolled.tbptt.budget import Budget
from unrolled.tbptt.config import Loss, TBPTTConfig
from unrolled.tbptt.loader import BatchLoader
from unrolled.tbptt.schedule import DocumentsSchedule, Schedule, StreamSchedule
from unrolled.train.classifier import Classifier
from unrolled.train.mix import fit_mix

E, H, V, C = 3, 5, 11, 3
LENGTHS = [7, 3, 0, 9, 1, 4]
Make = Callable[..., TokenCorpus]


def classifier(
    make: Any = build.lstm, pooling: str = "concat", lr: float = 0.5, dropout: float = 0.0, **how: Any
) -> Classifier:
    torch.manual_seed(0)
    tbptt = {name: how.pop(name) for name in ("schedule", "loss", "gradient", "memory", "memory_mib") if name in how}
    wide = how.pop("wide", False)
    embedding = Embedding(V, E, std=1.0, dropout=dropout, word_dropout=dropout)
    encoder = make(E, H, **how)
    return Classifier(
        Network(embedding, encoder, POOLINGS[pooling](encoder.layers[-1].direction_size), C, wide=wide),
        class_names=["a", "b", "c"],
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=lr),
        tbptt=TBPTTConfig(**tbptt),
    )


def trainer(**options: Any) -> pl.Trainer:
    settings = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(**(settings | options))


def fit(model: Classifier, schedule: Schedule, **options: Any) -> Classifier:
    trainer(**options).fit(model, BatchLoader(schedule))
    return model


def weights(model: Classifier) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


# ---- the definition of TBPTT(k1, k2), token by token ----------------------------------------------------------------


class Alone:
    """One document under way: state and statistics after each of its first tokens, as far as they are still needed."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens
        zero = torch.zeros(1, H, dtype=torch.float64)
        self.kept = {0: (zero, zero, torch.zeros(H).double(), torch.full((H,), -torch.inf).double(), zero[0], 0)}

    def vector(self, model: Classifier, first: int, end: int, keep: int) -> Tensor:
        """Read tokens first .. end from what was kept at ``first``, gradients not reaching further back."""
        cell = model.network.encoder.layers[0].recurrences[0].module
        h, c, last, largest, total, count = self.kept[first]
        for position in range(first, end + 1):
            if position == keep:
                self.kept[keep] = tuple(
                    t.detach() if isinstance(t, Tensor) else t for t in (h, c, last, largest, total, count)
                )
            if position == end:
                break
            x = model.network.embedding.weight[self.tokens[position]].view(1, E)
            y, (h, c) = cell(x, (h, c))
            last, total, count = y[0], total + y[0], count + 1
            largest = torch.where(y[0] > largest, y[0], largest)
        largest = torch.where(largest.isneginf(), 0.0, largest)
        return torch.cat([last, largest, total / max(count, 1)])


def by_definition(model: Classifier, schedule: StreamSchedule, k1: int, k2: int, loss: str, lr: float) -> None:
    """Williams & Peng (1990): a step every k1 tokens, its gradient back through k2; plain SGD on each row's loss."""
    corpus = schedule.corpus
    plan, begins = schedule.plan(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    alone = {i: Alone(corpus.document(i).tolist()) for i in range(len(corpus))}
    for documents, begin in zip(plan.tolist(), begins.tolist(), strict=True):
        total = torch.zeros((), dtype=torch.float64)
        for document, new in zip(documents, begin, strict=True):
            if document < 0:
                continue
            length = int(corpus.lengths[document])
            end = min(new + k1, length)
            vector = alone[document].vector(model, max(new + k1 - k2, 0), end, keep=max(new + 2 * k1 - k2, 0))
            n, k = max(-(-length // k1), 1), new // k1 + 1
            share = {"final": float(k == n), "every": 1 / n, "linear": k / (n * (n + 1) / 2)}[loss]
            label = torch.tensor(int(corpus.labels[document]))
            total = total + share * F.cross_entropy(model.network.head(vector), label)
        optimizer.zero_grad()
        (total / (len(corpus) / len(plan))).backward()
        optimizer.step()


@pytest.mark.parametrize(("k1", "k2"), [(3, 3), (1, 1), (1, 3), (2, 4), (2, 3), (4, 6), (3, 12)])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("implementation", build.IMPLEMENTATIONS)
def test_stream_is_tbptt_of_k1_and_k2_by_its_definition(
    make_corpus: Make, k1: int, k2: int, rows: int, implementation: str
) -> None:
    """With one row and k1 = k2: the documents read one after another, a step after every chunk."""
    schedule = StreamSchedule(make_corpus(LENGTHS), rows, k1, reach=k2)
    model = classifier(schedule="stream", loss="every", implementation=implementation).double()
    theirs = classifier(implementation="official").double()
    before = weights(model)
    fit(model, schedule)
    by_definition(theirs, schedule, k1, k2, "every", lr=0.5)
    names = dict(zip(weights(theirs), weights(model), strict=True))
    assert_same(weights(model), {names[name]: value for name, value in weights(theirs).items()})
    assert all((weights(model)[name] - value).abs().max() > 1e-3 for name, value in before.items())


@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_chunk_loss_of_a_stream(make_corpus: Make, loss: str) -> None:
    schedule = StreamSchedule(make_corpus(LENGTHS), 2, 2)
    model = classifier(schedule="stream", loss=loss, implementation="official").double()
    theirs = classifier(implementation="official").double()
    fit(model, schedule)
    by_definition(theirs, schedule, 2, 2, loss, lr=0.5)
    assert_same(weights(model), weights(theirs))


@pytest.mark.parametrize("loss", get_args(Loss))
def test_a_documents_signal_does_not_depend_on_how_many_end_in_its_step(make_corpus: Make, loss: str) -> None:
    """With a learning rate of zero, the epoch's gradient, each step's times its normalizer, is the documents' sum."""
    sums = []
    for rows in (1, 2, 4, 6):
        schedule = StreamSchedule(make_corpus(LENGTHS), rows, 2)
        model = classifier(schedule="stream", loss=loss, lr=0.0).double()
        total: dict[str, Tensor] = {name: torch.zeros_like(p) for name, p in model.named_parameters()}

        def add(total: dict[str, Tensor] = total, model: Classifier = model, steps: int = len(schedule)) -> None:
            for name, parameter in model.named_parameters():
                total[name] += parameter.grad * (len(LENGTHS) / steps)  # type: ignore[operator]

        class Sum(pl.Callback):
            def on_before_optimizer_step(self, *_: Any, add: Callable[[], None] = add) -> None:
                add()

        fit(model, schedule, callbacks=[Sum()])
        sums.append(total)
    for other in sums[1:]:
        assert_same(other, sums[0])


@pytest.mark.parametrize("kind", ["documents", "stream"])
def test_the_mix_is_fitted_to_the_validation_documents_and_no_loss_sees_it(make_corpus: Make, kind: str) -> None:
    """With a learning rate of nothing the network's logits are those of its first weights."""
    scores = np.random.default_rng(0).normal(size=(len(LENGTHS), C)).astype(np.float32)
    corpus = replace(make_corpus(LENGTHS), scores=scores)
    train = DocumentsSchedule(corpus, 3, 2) if kind == "documents" else StreamSchedule(corpus, 2, 2)
    valid = DocumentsSchedule(corpus, 3, 2, shuffle=False)
    model = classifier(schedule=kind, loss="every" if kind == "stream" else "final", lr=0.0, wide=True)
    model.eval()
    with torch.no_grad():
        batches = list(valid.batches(0))
        logits = torch.cat([model(batch) for batch in batches]).numpy()
    labels = torch.cat([batch.labels for batch in batches])
    given = torch.cat([batch.scores for batch in batches])
    model.train()
    running = trainer(limit_val_batches=1.0)
    running.fit(model, BatchLoader(train), BatchLoader(valid))
    assert model.network.mix is not None
    expected = fit_mix(logits, given.numpy(), labels.numpy())
    np.testing.assert_allclose(model.network.mix, expected, rtol=1e-4)
    assert not np.allclose(expected, 1, atol=0.05)
    mixed = torch.from_numpy(expected).float() @ torch.stack([torch.from_numpy(logits), given]).flatten(1)
    loss = F.cross_entropy(mixed.view(-1, C), labels)
    torch.testing.assert_close(running.callback_metrics["val/loss"], loss, rtol=1e-4, atol=0)
    assert_same(weights(model), weights(classifier(wide=True)))


# ---- documents ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_len", [2, 4, None])
def test_documents_trains_on_the_mean_loss_of_whole_documents(make_corpus: Make, chunk_len: int | None) -> None:
    corpus = make_corpus(LENGTHS)
    schedule = DocumentsSchedule(corpus, 3, chunk_len)
    model = classifier(gradient="exact", implementation="official").double()
    theirs = classifier(implementation="official").double()
    fit(model, schedule)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5)
    for batch in schedule.order(0):
        losses = []
        for document in batch.tolist():
            alone = Alone(corpus.document(document).tolist())
            vector = alone.vector(theirs, 0, int(corpus.lengths[document]), keep=-1)
            losses.append(F.cross_entropy(theirs.network.head(vector), torch.tensor(int(corpus.labels[document]))))
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
    assert_same(weights(model), weights(theirs))


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_recomputing_trains_to_the_same_weights(make_corpus: Make, precision: str, kind: str) -> None:
    found = []
    for memory in ("retain", "recompute"):
        model = classifier(
            getattr(build, kind),
            dropout=0.2,
            gradient="exact",
            memory=memory,
            num_layers=2,
            input_dropout=0.2,
            weight_dropout=0.2,
        )
        torch.manual_seed(1)
        fit(model, DocumentsSchedule(make_corpus(LENGTHS), 3, 2), precision=precision, max_epochs=2)
        found.append(weights(model))
    assert_same(found[1], found[0], 1e-12 if precision == "64-true" else 5e-3)


def test_clipping_and_accumulation_are_lightnings(make_corpus: Make) -> None:
    """Two batches of three accumulated are one of six: the mean of the means."""
    corpus = make_corpus([4] * 6)
    one, two = classifier(), classifier()
    fit(one, DocumentsSchedule(corpus, 6, 2), gradient_clip_val=0.1)
    fit(two, DocumentsSchedule(corpus, 3, 2), gradient_clip_val=0.1, accumulate_grad_batches=2)
    assert_same(weights(two), weights(one), 1e-6)
    moved = torch.cat(
        [(a - b).flatten() for a, b in zip(weights(one).values(), weights(classifier()).values(), strict=True)]
    )
    assert moved.norm().item() == pytest.approx(0.5 * 0.1, rel=1e-3), "learning rate times the clipped norm"


# ---- mixed precision ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["documents", "stream"])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("implementation", build.IMPLEMENTATIONS)
def test_bf16_keeps_states_and_sums_in_float32(
    make_corpus: Make, schedule: str, kind: str, implementation: str
) -> None:
    model = classifier(getattr(build, kind), schedule=schedule, implementation=implementation)
    handed_on: list[torch.dtype] = []

    def note(module: Any, inputs: Any, result: Any) -> None:
        handed_on.extend(s.dtype for s in result[1])

    model.network.encoder.register_forward_hook(note)
    corpus = make_corpus(LENGTHS)
    order = DocumentsSchedule(corpus, 3, 2) if schedule == "documents" else StreamSchedule(corpus, 3, 2)
    fit(model, order, precision="bf16-mixed")
    assert handed_on
    assert set(handed_on) == {torch.float32}
    if schedule == "stream":
        assert model._waiting is not None
        assert {statistic.dtype for statistic in model._waiting.pooled} == {torch.float32}
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("lower", ["bf16-mixed", "16-mixed"])
def test_clipping_goes_with_fused_optimizers_under_mixed_precision(make_corpus: Make, lower: str) -> None:
    """Without scale, and with one: float16's gradients are clipped after the scale is taken out."""
    found = []
    for fused in (False, True):
        model = classifier()
        model._optimizer = lambda parameters, fused=fused: torch.optim.SGD(parameters, lr=0.5, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0) if lower == "16-mixed" else None
        plugin = MixedPrecision(lower, "cpu", scaler)  # type: ignore[arg-type]
        order = DocumentsSchedule(make_corpus([4] * 6), 6, 2)
        fit(model, order, gradient_clip_val=0.1, plugins=[plugin])
        found.append(weights(model))
        before = weights(classifier())
        moved = torch.cat([(found[-1][name] - before[name]).flatten() for name in before])
        assert moved.norm().item() == pytest.approx(0.5 * 0.1, rel=1e-2), "learning rate times the clipped norm"
    assert_same(found[1], found[0], 1e-6)


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_batches_over_the_budget_are_recomputed_with_the_same_result(
    make_corpus: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """All batches are over the budget, the longer one of two, or none; what is dropped is the same."""
    schedule = DocumentsSchedule(make_corpus([90, 90, 30, 30]), 2, 10)

    def trained(**how: Any) -> Classifier:
        model = classifier(dropout=0.3, weight_dropout=0.3, **how).double()
        return fit(model, schedule, max_epochs=3)

    retained, recomputed = trained(memory="retain"), trained(memory="recompute")
    estimates = [Budget().estimate_mib(retained.network, schedule.batches(0)[k]) for k in range(2)]
    assert max(estimates) > 2 * min(estimates)
    for mib, steps in ((0.001, 6), (sum(estimates) / 2, 3), (1000.0, 0)):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            model = trained(memory_mib=mib)
        assert model.recomputed_steps == steps
        assert caplog.text.count("tbptt.memory=retain keeps them") == (steps > 0), "once a run"
        same = steps in (0, 6)
        assert_same(weights(model), weights(retained if steps == 0 else recomputed), 0.0 if same else 1e-10)
    assert_same(weights(recomputed), weights(retained))


# ---- both directions ------------------------------------------------------------------------------------------------


def test_both_directions_of_a_stream_are_labelled_and_the_backward_one_knows_its_chunk_only(
    make_corpus: Make, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = make_corpus([6])
    model = classifier(schedule="stream", bidirectional=True, pooling="last", lr=0.0).double()
    assert model.directions == "forward, and backward within each chunk only"
    assert classifier(bidirectional=True).directions == "forward and backward"
    assert classifier().directions == "forward"
    values: list[Tensor] = []
    model.network.head.register_forward_hook(lambda module, inputs, result: values.append(inputs[0].detach()[0]))
    with caplog.at_level(logging.INFO):
        fit(model, StreamSchedule(corpus, 1, 3))
    assert "within each chunk only" in caplog.text
    second = TokenCorpus(corpus.tokens, corpus.table, corpus.starts + 3, corpus.lengths - 3, corpus.labels, corpus.ids)
    fit(model, StreamSchedule(second, 1, 3))
    _, after_both, alone = values
    torch.testing.assert_close(after_both[H:], alone[H:], rtol=0, atol=1e-12)
    assert (after_both[:H] - alone[:H]).abs().max() > 1e-3, "the forward direction remembers the first chunk"


# ---- evaluation -----------------------------------------------------------------------------------------------------


def test_test_reads_every_document_once_whole_and_in_order_of_its_id(make_corpus: Make) -> None:
    corpus = make_corpus(LENGTHS)
    model = classifier(dropout=0.3)
    found = []
    for chunk_len, batch_size in ((None, 1), (2, 4), (3, 6)):
        loader = BatchLoader(DocumentsSchedule(corpus, batch_size, chunk_len, shuffle=False))
        (metrics,) = trainer().test(model, loader, verbose=False)
        found.append((model.test_predictions, metrics))
        assert model.test_predictions["ids"].tolist() == list(range(100, 106))
        assert model.test_predictions["labels"].tolist() == corpus.labels.tolist()
        right = model.test_predictions["predicted"] == corpus.labels
        assert metrics["test/accuracy"] == pytest.approx(right.mean())
    for predictions, metrics in found[1:]:
        np.testing.assert_allclose(predictions["probability"], found[0][0]["probability"], rtol=1e-5)
        assert metrics["test/loss"] == pytest.approx(found[0][1]["test/loss"], rel=1e-5)


def test_evaluation_ignores_how_training_truncates(make_corpus: Make) -> None:
    loader = BatchLoader(DocumentsSchedule(make_corpus(LENGTHS), 4, 2, shuffle=False))
    losses = []
    for tbptt in ({}, {"gradient": "exact"}, {"gradient": "exact", "memory": "recompute"}):
        (metrics,) = trainer().validate(classifier(**tbptt), loader, verbose=False)
        losses.append(metrics["val/loss"])
    assert losses[0] == losses[1] == losses[2]


class Losses(Logger):
    """What is logged of the training loss, by step."""

    name, version = "losses", 0

    def __init__(self) -> None:
        super().__init__()
        self.logged: dict[int, float] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "train/loss" in metrics and step is not None:
            self.logged[step] = metrics["train/loss"]

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


class StopAfter(Callback):
    """Ends the training after the batch of this number, as Lightning's Timer does when time is up."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        trainer.should_stop |= args[-1] == self.batch


@pytest.mark.parametrize(("batch", "seen"), [(3, [2]), (5, [2, 5]), (None, [2, 5])])
def test_a_logged_loss_is_that_of_its_own_step(make_corpus: Make, batch: int | None, seen: list[int]) -> None:
    """The oracle is the same training that logs every loss. Training that a callback ends logs no earlier loss."""
    schedule, every, some = DocumentsSchedule(make_corpus([*LENGTHS, 2]), 1, 4), Losses(), Losses()
    fit(classifier(), schedule, logger=every, log_every_n_steps=1)
    stop = [] if batch is None else [StopAfter(batch)]
    fit(classifier(), schedule, logger=some, log_every_n_steps=3, callbacks=stop)
    assert len(set(every.logged.values())) == len(every.logged) == 7
    assert some.logged == {step: every.logged[step] for step in seen}


def test_the_terminal_has_a_loss_of_the_last_ten_batches(make_corpus: Make) -> None:
    """However seldom a loss is logged: that of the first batch, of each tenth after it, and of the last."""
    model, seen, losses = classifier(), trainer(log_every_n_steps=1000, max_epochs=1), []
    model.on_train_batch_end = lambda outputs, batch, batch_idx: losses.append(  # type: ignore[method-assign]
        (float(outputs["loss"]), float(seen.callback_metrics["train/loss"]))
    )
    seen.fit(model, BatchLoader(DocumentsSchedule(make_corpus([3] * 25), 1, 4)))
    assert [batch for batch, (own, shown) in enumerate(losses) if own == shown] == [0, 10, 20, 24]


def test_copies_are_independent(make_corpus: Make) -> None:
    """A stream's carried state belongs to one training; another fit starts afresh."""
    schedule = StreamSchedule(make_corpus(LENGTHS), 2, 2)
    model = classifier(schedule="stream", lr=0.0)
    fit(model, schedule)
    again = copy.deepcopy(model)
    losses = []
    for one in (model, again):
        seen = trainer()
        seen.fit(one, BatchLoader(schedule))
        losses.append(seen.callback_metrics["train/loss"])
    assert losses[0] == losses[1]
