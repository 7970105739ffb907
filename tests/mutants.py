"""A test of the tests: each mistake below is made in a copy of the package, and some test must notice it.

    python tests/mutants.py            all of them
    python tests/mutants.py lstm       those whose name or file contains the word

A mistake is a line of the source and what stands there instead. Its tests run against the copy; the mistake survives
if they pass. Exit status 1 if one survives, or if a line is no longer there to be changed.
"""

import contextlib
import io
import multiprocessing
import multiprocessing.pool
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import hypothesis
import pytest
import torch._dynamo  # noqa: F401  imported here once, instead of by every mistake's tests

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "unrolled"
LIMIT = 120  # seconds for one mistake's tests; a mistake that makes them hang is noticed too


@dataclass(frozen=True)
class Mutant:
    """A mistake: in `file` of the package, `right` becomes `wrong`, and `tests` should fail."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


COMPARED = "tests/compare/test_comparison.py"
ENGINE = "tests/nn/engines/test_fused.py"
CELL, RECURRENCE = "tests/nn/cells/test_cell.py", "tests/nn/test_recurrence.py"

MUTANTS = [
    Mutant(
        "texts without blanks that are read as words go unnoticed",
        "data/prepare.py",
        "if text.kind in (AUTO, *BY_BLANKS)",
        "if text.kind == AUTO",
        "tests/data/test_prepare.py",
    ),
    Mutant(
        "an engine for torch.nn's recurrences goes unnoticed",
        "nn/models.py",
        '(implementation == "official" or cell == "memoryless")',
        'cell == "memoryless"',
        "tests/nn/test_models.py",
    ),
    Mutant(
        "a UTF-8 file is read in the encoding that the run's own files have",
        "use/predict.py",
        "if not is_utf8(file, ",
        "if is_utf8(file, ",
        "tests/use/test_predict.py",
    ),
    Mutant(
        "columns by number are looked for by name in a further file",
        "use/predict.py",
        "if same and own.get(key) is not None and not by_name[key]",
        "if same and isinstance(own.get(key), int)",
        "tests/use/test_predict.py",
    ),
    Mutant(
        "marks of few documents are refused as measured numbers",
        "data/prepare.py",
        "len(labels) > max(documents / 2, MARKS)",
        "len(labels) > documents / 2",
        "tests/data/test_prepare.py",
    ),
    Mutant(
        "a pair of tokens on both sides of a chunk's end is not counted",
        "use/predictor.py",
        "self._count(self._counts, self._waiting[:size], self._last)",
        "self._count(self._counts, self._waiting[:size], None)",
        "tests/use/test_predictor.py",
    ),
    Mutant(
        "the scale of the linear model is set by documents that it knows",
        "linear.py",
        "unseen, seen = documents[part], np.delete(documents, part)",
        "unseen, seen = documents[part], documents",
        "tests/test_linear.py",
    ),
    Mutant(
        "of all linear models the one that explains unseen documents worst is taken",
        "linear.py",
        "if best is None or loss < best[0]:",
        "if best is None or loss > best[0]:",
        "tests/test_linear.py",
    ),
    Mutant(
        "the last token of a document and the first of the next are a pair",
        "linear.py",
        "together = rows[1:] == rows[:-1]",
        "together = rows[1:] >= rows[:-1]",
        "tests/test_linear.py",
    ),
    Mutant(
        "a wrong value waits for torch",
        "cli/train.py",
        "            check_early(config)",
        "            pass",
        "tests/cli/test_train.py",
    ),
    Mutant(
        "runs on different documents share a plot",
        "compare/plots.py",
        'comparison.table.groupby("documents", sort=False)',
        'comparison.table.groupby(comparison.table.documents == "", sort=False)',
        "tests/compare/test_plots.py",
    ),
    Mutant(
        "evaluate.py is silent about rows that it leaves out",
        "use/evaluate.py",
        'documents("train", notes))',
        'documents("train", Notes()))',
        "tests/use/test_evaluate.py",
    ),
    Mutant(
        "the first batch decides for all",
        "train/classifier.py",
        "        if needed <= limit or len(batch.shapes) == 1:",
        "        if needed <= limit and not self.recomputed_steps:",
        "tests/train/test_classifier.py",
    ),
    Mutant(
        "a position's activations are counted once for a row",
        "tbptt/budget.py",
        "[[1, rows, steps, steps * rows] for steps, rows in shapes]",
        "[[1, rows, steps, steps + rows * rows] for steps, rows in shapes]",
        "tests/tbptt/test_budget.py",
    ),
    Mutant(
        "a key that nothing reads is let through",
        "arguments.py",
        "if name not in parameters and not open_ended:",
        "if name not in parameters and open_ended:",
        "tests/test_arguments.py",
    ),
    Mutant(
        "true is a whole number",
        "arguments.py",
        "if type(value) is option or",
        "if isinstance(value, option if isinstance(option, type) else ()) or",
        "tests/test_arguments.py",
    ),
    Mutant(
        "whole numbers stay where fractions belong",
        "config.py",
        "type(config[key]) is not type(value)",
        "config[key] != value",
        "tests/test_config.py",
    ),
    Mutant(
        "a row without a gradient keeps its weight from decay",
        "train/row_adamw.py",
        "p.mul_(1 - lr * weight_decay)",
        "p.mul_(1 - 0 * weight_decay)",
        "tests/train/test_row_adamw.py",
    ),
    Mutant(
        "what is left of a row's first moment is forgotten",
        "train/row_adamw.py",
        "left = (b1 / b2**0.5) ** (s - step)",
        "left = 0.0 ** (s - step)",
        "tests/train/test_row_adamw.py",
    ),
    Mutant(
        "a row's root of v is rounded as the processor rounds it, not as torch does",
        "nn/engines/passes.cpp",
        "vmsSqrt(static_cast<int>(count), from, to, 0x140102)",
        "std::transform(from, from + count, to, [](float x) { return std::sqrt(x); })",
        "tests/train/test_row_adamw.py",
    ),
    Mutant(
        "the last elements are rounded as the others are",
        "nn/engines/passes.cpp",
        "elements - elements % 8 - ",
        "elements - ",
        "tests/train/test_row_adamw.py",
    ),
    Mutant(
        "an old moment is taken for a new one",
        "nn/engines/passes.cpp",
        "square = v[first + i] * of_v[u]",
        "square = v[first + i]",
        "tests/train/test_row_adamw.py",
    ),
    Mutant(
        "a row that is brought up to date is so again",
        "train/row_adamw.py",
        "            self.last.zero_()\n            self.now = 0\n            self._enter()",
        "            self.last.zero_()\n            self.now = 0",
        "tests/train/test_row_adamw.py",
    ),
    Mutant(
        "a sparse gradient is clipped before its parts are added up",
        "train/row_adamw.py",
        "parameter.grad = _each_row_once(parameter.grad)",
        "parameter.grad = parameter.grad._coalesced_(True)",
        "tests/train/test_row_adamw.py",
    ),
    Mutant(
        "padding gets a gradient",
        "nn/row_lookup.py",
        "int(padded[0]) if len(padded) else -1",
        "-1",
        "tests/nn/test_row_lookup.py",
    ),
    Mutant(
        "the gradient of the pooled sum is written over",
        "nn/chunk_statistics.py",
        ".expand(ctx.shape).clone(memory_format=torch.contiguous_format)",
        ".expand(ctx.shape).contiguous()",
        "tests/nn/test_chunk_statistics.py",
    ),
    Mutant(
        "the largest output's gradient goes to rows that have none",
        "nn/chunk_statistics.py",
        "by_largest = (by_largest * some).to(ctx.dtype)",
        "by_largest = (by_largest + 1).to(ctx.dtype)",
        "tests/nn/test_chunk_statistics.py",
    ),
    Mutant("LSTM gate order", "nn/cells/lstm.py", "i, f, g, o = affine", "f, i, g, o = affine", CELL),
    Mutant("LSTM candidate and output swapped", "nn/cells/lstm.py", "i, f, g, o = affine", "i, f, o, g = affine", CELL),
    Mutant("LSTM output without tanh", "nn/cells/lstm.py", "o.sigmoid() * c.tanh()", "o.sigmoid() * c", CELL),
    Mutant(
        "LSTM output of the old memory",
        "nn/cells/lstm.py",
        "o.sigmoid() * c.tanh()",
        "o.sigmoid() * state[1].tanh()",
        CELL,
    ),
    Mutant(
        "LSTM memory projected too",
        "nn/cells/lstm.py",
        'h = affine(None, h, w["R"])',
        'h = affine(None, c, w["R"])',
        "tests/nn/cells/test_lstm.py",
    ),
    Mutant(
        "forget bias in the wrong gate",
        "nn/cells/lstm.py",
        "slice(self.hidden_size, 2 * self.hidden_size)",
        "slice(0, self.hidden_size)",
        "tests/nn/cells/test_lstm.py",
    ),
    Mutant(
        "forget bias counted twice",
        "nn/cells/lstm.py",
        "[forget] = 0",
        "[forget] = self.forget_bias",
        "tests/nn/cells/test_lstm.py",
    ),
    Mutant(
        "chrono's gates swapped", "nn/cells/lstm.py", "[-keep, keep]", "[keep, -keep]", "tests/nn/cells/test_chrono.py"
    ),
    Mutant(
        "chrono without its end",
        "nn/cells/chrono.py",
        "uniform_(1, chrono - 1)",
        "uniform_(1, 2 * chrono)",
        "tests/nn/cells/test_chrono.py",
    ),
    Mutant(
        "one bias forgotten", "nn/cells/cell.py", 'weights["bias_ih"] + weights["bias_hh"]', 'weights["bias_ih"]', CELL
    ),
    Mutant(
        "initial bound without the root",
        "nn/cells/cell.py",
        "1 / math.sqrt(self.hidden_size)",
        "1 / self.hidden_size",
        CELL,
    ),
    Mutant("state in the lower precision", "nn/cells/cell.py", ".to(h.dtype)", "", CELL),
    Mutant("GRU gate order", "nn/cells/gru.py", "r_x, z_x, n_x = x", "z_x, r_x, n_x = x", CELL),
    Mutant("GRU reset gate before the bias", "nn/cells/gru.py", "n_x + r * n_h", "n_x + n_h", CELL),
    Mutant(
        "GRU bias outside the reset gate",
        "nn/cells/gru.py",
        'affine(w.get("d"), h, w["U"])',
        'affine(None, h, w["U"])',
        CELL,
    ),
    Mutant("GRU update gate reversed", "nn/cells/gru.py", "torch.lerp(n, h, z)", "torch.lerp(h, n, z)", CELL),
    Mutant(
        "MGU without its gate in the product",
        "nn/cells/mgu.py",
        "affine(n_x, f * h, U_n)",
        "affine(n_x, h, U_n)",
        "tests/nn/cells/test_mgu.py",
    ),
    Mutant("RNN relu for tanh", "nn/cells/rnn.py", '"tanh": torch.tanh', '"tanh": torch.relu', CELL),
    Mutant(
        "layer norm of the memory carried on",
        "nn/cells/layer_norm_lstm.py",
        "return h, c",
        "return h, F.layer_norm(c, c.shape[-1:])",
        "tests/nn/cells/test_layer_norm_lstm.py",
    ),
    Mutant(
        "layer norm over all gates of a GRU",
        "nn/cells/layer_norm_gru.py",
        "rz, n = (2 * self.hidden_size,), (self.hidden_size,)",
        "rz, n = (self.hidden_size,), (2 * self.hidden_size,)",
        "tests/nn/cells/test_layer_norm_gru.py",
    ),
    Mutant(
        "reversed outputs left reversed",
        "nn/unroll.py",
        "        outputs.reverse()\n    return torch.stack",
        "        pass\n    return torch.stack",
        "tests/nn/test_unroll.py",
    ),
    Mutant("the second direction reads forward", "nn/recurrence.py", "k % 2 == 1", "k % 2 == 2", RECURRENCE),
    Mutant("order of final states", "nn/recurrence.py", "after.append(last)", "after.insert(0, last)", RECURRENCE),
    Mutant(
        "final states of packed rows out of order",
        "nn/unroll.py",
        "*reversed(finished)",
        "*finished",
        "tests/nn/test_unroll.py",
    ),
    Mutant("dropout on the input", "nn/recurrence.py", "if layer and self.dropout", "if self.dropout", RECURRENCE),
    Mutant(
        "dropout after the last layer",
        "nn/recurrence.py",
        "        return x, after[0] if",
        "        x = F.dropout(x, self.dropout, self.training)\n        return x, after[0] if",
        RECURRENCE,
    ),
    Mutant(
        "dropout in evaluation",
        "nn/recurrence.py",
        "F.dropout(x, self.dropout, self.training)",
        "F.dropout(x, self.dropout)",
        "tests/nn/test_every_cell.py",
    ),
    Mutant(
        "initial state ignored",
        "nn/recurrence.py",
        "first = tuple(s[0] for s in state)",
        "first = tuple(0 * s[0] for s in state)",
        "tests/nn/test_every_cell.py",
    ),
    Mutant(
        "stale weights",
        "nn/recurrence.py",
        "value: Tensor = getattr(self, name)",
        'value: Tensor = self.__dict__.setdefault("_kept", {}).setdefault(name, getattr(self, name))',
        RECURRENCE,
    ),
    Mutant(
        "weight dropout in the first layer only",
        "nn/recurrence.py",
        "and weight in self._cells[k].recurrent_weights",
        'and weight == "weight_hh" and k == 0',
        "tests/nn/test_regularisers.py",
    ),
    Mutant(
        "weight dropout drawn for every chunk",
        "nn/recurrence.py",
        "if name not in self._weight_masks",
        "if True",
        "tests/nn/test_regularisers.py",
    ),
    Mutant(
        "shared masks drawn for each step",
        "nn/layer.py",
        "x * mask",
        "x * torch.bernoulli(0.7 + 0 * x) / 0.7",
        "tests/nn/test_layer.py",
    ),
    Mutant(
        "the shortcut forgets the inputs of the second direction",
        "nn/layer.py",
        "self.beside(backward, flipped)",
        "self.beside(backward, x)",
        "tests/nn/test_layer.py",
    ),
    Mutant(
        "the gradient is never cut",
        "tbptt/loop.py",
        "tuple(s.detach() for s in state)  # truncated",
        "state  # truncated",
        "tests/tbptt/test_read.py",
    ),
    Mutant(
        "the exact gradient is cut",
        "tbptt/loop.py",
        "elif k and not self.truncation.exact",
        "elif k",
        "tests/tbptt/test_read.py",
    ),
    Mutant(
        "the state is not carried",
        "tbptt/loop.py",
        "if k and not self.truncation.carry",
        "if k",
        "tests/tbptt/test_read.py",
    ),
    Mutant(
        "documents that have ended come back in another order",
        "tbptt/loop.py",
        "*reversed(ended)",
        "*ended",
        "tests/tbptt/test_read.py",
    ),
    Mutant(
        "a chunk computed again drops other elements",
        "tbptt/loop.py",
        "self.seed + k",
        "self.seed + k - first",
        "tests/tbptt/test_read.py",
    ),
    Mutant(
        "the second direction goes on from the first chunk's state",
        "tbptt/read.py",
        "one.initial_state(blocks[0].rows)",
        "own[layer.num_states[0] :]",
        "tests/train/test_classifier.py",
    ),
    Mutant(
        "of two directions computed again only the second adds to the gradient of what they read",
        "tbptt/recompute.py",
        "by_inputs[places] += by_x",
        "by_inputs[places] = by_x",
        "tests/tbptt/test_read.py",
    ),
    Mutant(
        "outputs of the second direction left flipped",
        "tbptt/read.py",
        "given if order is None else given[order]",
        "given",
        "tests/tbptt/test_read.py",
    ),
    Mutant(
        "a row that starts a document keeps the state of the one before",
        "tbptt/stream.py",
        "waiting.renew(batch.fresh, fresh)",
        "waiting",
        "tests/train/test_classifier.py",
    ),
    Mutant(
        "what waits is taken after the tokens that are read again",
        "tbptt/stream.py",
        "blocks[: batch.advance], carried",
        "blocks, carried",
        "tests/train/test_classifier.py",
    ),
    Mutant(
        "batches of one class where length tells the class",
        "tbptt/schedule.py",
        "> TELLING",
        "> 2",
        "tests/tbptt/test_schedule.py",
    ),
    Mutant(
        "checking a config puts a stand-in in place of auto",
        "config.py",
        " and config[key] != AUTO",
        "",
        "tests/train/test_recipe.py",
    ),
    Mutant(
        "small corpora get large batches",
        "train/recipe.py",
        "corpus.documents / self.batches",
        "self.batches / corpus.documents",
        "tests/train/test_recipe.py",
    ),
    Mutant(
        "training metrics forget the documents before an interrupt",
        "train/classifier.py",
        '[] if state["answers"] is None else [state["answers"]]',
        "[]",
        "tests/train/callbacks/test_resume_points.py",
    ),
    Mutant(
        "second derivatives through the fused engine",
        "nn/engines/fused.py",
        "return None, None, *ctx.again(ctx.needs_input_grad[2:], grads)",
        "return (None,) * len(ctx.needs_input_grad)",
        RECURRENCE,
    ),
    Mutant(
        "dropout scales by the rate asked for, not by the share dropped",
        "nn/dropout.py",
        "256 / (256 - of_256)",
        "1 / (1 - 0.3)",
        "tests/nn/test_dropout.py",
    ),
    Mutant(
        "natively one byte in 256 more is dropped",
        "nn/engines/passes.cpp",
        "random[i] >= bound",
        "random[i] > bound",
        "tests/nn/engines/test_passes.py",
    ),
    Mutant(
        "natively the last of equal outputs gets the gradient",
        "nn/engines/passes.cpp",
        "!(from[d] <= best[d])",
        "!(from[d] < best[d])",
        "tests/nn/engines/test_passes.py",
    ),
    Mutant(
        "random bytes of which some bits are not random",
        "nn/dropout.py",
        ".random_(-(2**63), None)",
        ".random_()",
        "tests/nn/test_dropout.py",
    ),
    Mutant(
        "a layout's weights packed in another order",
        "nn/cells/per_gate.py",
        'GATES = "ifgo"',
        'GATES = "igfo"',
        "tests/nn/cells/test_per_gate.py",
    ),
    Mutant(
        "zoneout draws in evaluation",
        "nn/zoneout.py",
        "        if training:",
        "        if True:",
        "tests/nn/test_zoneout.py",
    ),
    Mutant(
        "zoneout of the wrong share",
        "nn/zoneout.py",
        "torch.where(torch.rand_like(new) < rate, old, new)",
        "torch.where(torch.rand_like(new) < rate, new, old)",
        "tests/nn/test_zoneout.py",
    ),
    Mutant(
        "packed states left sorted",
        "nn/recurrence.py",
        "s.index_select(1, packed.unsorted_indices)",
        "s",
        RECURRENCE,
    ),
    Mutant(
        "batch first ignored",
        "nn/recurrence.py",
        "input.transpose(0, 1) if self.batch_first",
        "input if self.batch_first",
        RECURRENCE,
    ),
    Mutant(
        "attention forgets to bring earlier sums to the new scale",
        "nn/pooling.py",
        "kept * count +",
        "count +",
        "tests/nn/test_pooling.py",
    ),
    Mutant(
        "documents counted without the rows that were left out",
        "data/sources/files.py",
        "place.record, group)",
        "0, group)",
        "tests/data/test_prepare.py",
    ),
    Mutant(
        "duplicates looked up among the documents of all splits",
        "data/corpus.py",
        '"groups", "scores", "hashes")',
        '"groups", "scores")',
        "tests/data/test_prepare.py",
    ),
    Mutant(
        "labels with blanks around them taken as equal",
        "data/summary.py",
        "groups.setdefault(label.strip(), [])",
        "groups.setdefault(label, [])",
        "tests/data/test_prepare.py",
    ),
    Mutant(
        "accents and vowel signs torn out of their words",
        "data/tokenizer.py",
        'in "PS"',
        'in "PSM"',
        "tests/data/test_tokenizer.py",
    ),
    Mutant(
        "words that blanks divide already are read as characters",
        "data/text_choice.py",
        " or characters < CHARACTERS_PER_BLANK * blanks:",
        ":",
        "tests/data/test_text_choice.py",
    ),
    Mutant(
        "what text=auto chose is not recorded",
        "train/preparation.py",
        "config.composed.text.kind = config.text.kind = kind",
        "config.text.kind = kind",
        "tests/train/test_run.py::test_texts_without_blanks_are_read_as_characters_and_recorded_as_if_that_had_been_typed",
    ),
    Mutant(
        "bytes that are no text lead to the line before",
        "data/readers/text_file.py",
        "raise DecodingError(number, before,",
        "raise DecodingError(number - 1, before,",
        "tests/data/readers/test_text_file.py",
    ),
    Mutant(
        "the class is read where it is not needed",
        "data/readers/columns.py",
        "return texts, label if self.labelled else None",
        "return texts, label",
        "tests/data/readers/test_columns.py",
    ),
    Mutant(
        "a class may lose its last group to validation",
        "data/split.py",
        "(taken + counts >= sizes)",
        "(taken + counts > sizes)",
        "tests/data/test_split.py",
    ),
    Mutant(
        "documents without a group are one group",
        "data/split.py",
        "groups.max(initial=0) + 1 + np.arange(len(groups))",
        "groups.max(initial=0) + 1",
        "tests/data/test_split.py",
    ),
    Mutant(
        "groups forgotten when documents are selected",
        "data/corpus.py",
        '"ids", "groups",',
        '"ids",',
        "tests/data/test_prepare.py",
    ),
    Mutant(
        "equal accuracies: the first",
        "train/callbacks/checkpoints.py",
        " or (tied and loss < self.best_loss)",
        "",
        "tests/train/callbacks/test_checkpoints.py",
    ),
    Mutant(
        "equal accuracies: results of other weights",
        "train/callbacks/history.py",
        'return -row["val/accuracy"], math.inf if math.isnan(loss) else loss',
        'return -row["val/accuracy"], 0.0',
        "tests/train/callbacks/test_checkpoints.py",
    ),
    Mutant(
        "a full disk hidden by torch",
        "files.py",
        "chain[-1].__cause__ or chain[-1].__context__",
        "chain[-1].__cause__",
        "tests/train/test_checkpoint_io.py",
    ),
    Mutant(
        "threads that go on looking",
        "waiting.py",
        'if Path(file).name.startswith("libgomp"):',
        'if Path(file).name.startswith("libgomp") and "torch" not in file:',
        "tests/test_waiting.py",
    ),
    Mutant(
        "a stop that logs the loss of an earlier batch",
        "train/classifier.py",
        "if self.trainer.should_stop and not self._logged and",
        "if False and",
        "tests/train/test_classifier.py",
    ),
    Mutant(
        "a weight's gradient of the last block alone",
        "nn/engines/by_hand.py",
        "self._share_of_old = 1",
        "self._share_of_old = 0",
        "tests/nn/engines/test_fused.py",
    ),
    Mutant(
        "an average whose steps are not counted",
        "train/callbacks/weight_averaging.py",
        "model.n_averaged += 1",
        "pass",
        "tests/train/callbacks/test_weight_averaging.py",
    ),
    Mutant(
        "a bar that reads the device after each batch",
        "train/callbacks/progress_bar.py",
        "if now - self._looked < self.refresh_seconds:",
        "if False:",
        "tests/train/callbacks/test_progress_bar.py",
    ),
    Mutant(
        "a signal cuts a checkpoint in two",
        "train/checkpoint_io.py",
        "with defer_signals(), new.open",
        "with new.open",
        "tests/train/test_signals.py",
    ),
    Mutant(
        "the test takes the history back to the best checkpoint",
        "train/fit.py",
        "datamodule=data, verbose=False)",
        "datamodule=data, ckpt_path=path, weights_only=True, verbose=False)",
        "tests/train/test_run.py::test_history_and_speed_are_of_the_whole_run_though_the_weights_of_an_earlier_point_are_tested",
    ),
    Mutant(
        "different data are ranked together", "compare/comparison.py", "read.nunique().max() == 1", "True", COMPARED
    ),
    Mutant("float32 decides ties", "compare/comparison.py", ".mean().round(6)", ".mean()", COMPARED),
    Mutant("folds are rows of their own", "compare/comparison.py", '("seed", "data.fold")', '("seed",)', COMPARED),
    Mutant(
        "timings from different places are ranked",
        "compare/comparison.py",
        "(section.timings_comparable.all() or not column.is_timing)",
        "True",
        COMPARED,
    ),
    Mutant(
        "the deviation is that of a population",
        "compare/comparison.py",
        "finished[NAMES].std()",
        "finished[NAMES].std(ddof=0)",
        COMPARED,
    ),
    Mutant(
        "an earlier finished run is kept",
        "compare/comparison.py",
        'drop_duplicates("hash", keep="last")',
        'drop_duplicates("hash", keep="first")',
        COMPARED,
    ),
    Mutant(
        "McNemar's test looks at one fold alone",
        "compare/significance.py",
        "np.sum(of_seed, axis=0)",
        "np.max(of_seed, axis=0)",
        "tests/compare/test_significance.py",
    ),
    Mutant(
        "what users wrote is not escaped in HTML",
        "compare/report.py",
        '"<b>{}</b>", html.escape)',
        '"<b>{}</b>")',
        "tests/compare/test_report.py",
    ),
    Mutant(
        "fused engine: the first step's product with the state before forgotten",
        "nn/engines/by_hand.py",
        "        if first:\n            self.add(h0.unsqueeze(0), parts[1])",
        "        if first and False:\n            self.add(h0.unsqueeze(0), parts[1])",
        ENGINE,
    ),
    Mutant(
        "fused engine: outputs of the wrong step in the gradient of weight_hh",
        "nn/engines/by_hand.py",
        "outputs[max(steps.start - 1, 0) : steps.stop - 1]",
        "outputs[steps.start : steps.stop - 1 + (steps.start == 0)]",
        ENGINE,
    ),
    Mutant(
        "fused engine: a block goes on from its first step",
        "nn/engines/by_hand.py",
        "return 0 if reverse else -1",
        "return -1 if reverse else 0",
        ENGINE,
    ),
    Mutant(
        "fused engine: blocks read in order in reverse, too",
        "nn/engines/by_hand.py",
        "return blocks[::-1] if reverse else blocks",
        "return blocks",
        ENGINE,
    ),
    Mutant(
        "fused engine: gradient of the last state dropped",
        "nn/engines/by_hand.py",
        "return grad_last.clone(memory_format=torch.contiguous_format)",
        "return torch.zeros_like(state, memory_format=torch.contiguous_format)",
        ENGINE,
    ),
    Mutant(
        "fused engine: the last state is a view of the outputs",
        "nn/engines/by_hand.py",
        "return (outputs, h.clone()), ()",
        "return (outputs, h), ()",
        ENGINE,
    ),
    Mutant(
        "fused engine: memory before a block is the first one's",
        "nn/engines/by_hand.py",
        "return values[steps.start - 1] if steps.start > 0 else first.contiguous()",
        "return first.contiguous()",
        ENGINE,
    ),
    Mutant(
        "fused engine: GRU's recurrent gradient in the native order",
        "nn/engines/by_hand.py",
        "recurrent = recurrent.roll(-H, 0)",
        "recurrent = recurrent.roll(H, 0)",
        ENGINE,
    ),
    Mutant(
        "fused engine: GRU's gates go back through each other's weights",
        "nn/engines/by_hand.py",
        "self.loops.pack(weight_hh.roll(H, 0), 1, False)",
        "self.loops.pack(weight_hh, 1, False)",
        ENGINE,
    ),
    Mutant(
        "fused engine: GRU's input gets the candidate's share",
        "nn/engines/by_hand.py",
        "sums.add(steps, da[..., H:],",
        "sums.add(steps, da[..., : 3 * H],",
        ENGINE,
    ),
    Mutant(
        "fused engine: weight_hr's gradient without p",
        "nn/engines/by_hand.py",
        "dR.add(hidden[steps], dp)",
        "dR.add(hidden[steps], dp * 0)",
        ENGINE,
    ),
    Mutant(
        "fused engine: a step without gradients takes the other gate",
        "nn/engines/one_step.py",
        "y = torch.lerp(n, h, z)",
        "y = torch.lerp(h, n, z)",
        ENGINE,
    ),
    Mutant(
        "fused engine: a step without gradients forgets weight_hr",
        "nn/engines/one_step.py",
        "y = m[0] if R is None else torch.mm(m[0], R.t())",
        "y = m[0, :, : h.shape[1]]",
        ENGINE,
    ),
    Mutant(
        "fused engine: a step without gradients takes tanh for relu",
        "nn/engines/one_step.py",
        'y = a.tanh_() if nonlinearity == "tanh"',
        "y = a.tanh_() if True",
        ENGINE,
    ),
    Mutant(
        "fused engine: weights of another dtype let through",
        "nn/engines/fused.py",
        "if number < len(weights):",
        "if False:",
        ENGINE,
    ),
    Mutant(
        "fused engine: autocast lowers its products",
        "nn/engines/fused.py",
        'return torch.autocast("cpu", enabled=False) if',
        "return nullcontext() if",
        ENGINE,
    ),
    Mutant(
        "reference: RNN's derivative of tanh",
        "nn/engines/reference.py",
        "torch.mul(grad_h, 1 - outputs[t].square(), out=grad_gates[t])",
        "torch.mul(grad_h, 1 - outputs[t], out=grad_gates[t])",
        ENGINE,
    ),
    Mutant(
        "reference: RNN's derivative of relu",
        "nn/engines/reference.py",
        "torch.mul(grad_h, outputs[t] > 0,",
        "torch.mul(grad_h, outputs[t] >= 0,",
        ENGINE,
    ),
    Mutant(
        "reference: LSTM's memory gets nothing from the output",
        "nn/engines/reference.py",
        "grad_c.addcmul_(dm * o, 1 - shown.square_())",
        "shown.square_()",
        ENGINE,
    ),
    Mutant(
        "reference: LSTM's forget gate sees the memory after",
        "nn/engines/reference.py",
        "c0 if before is None else cells[before], out=df",
        "cells[t], out=df",
        ENGINE,
    ),
    Mutant(
        "reference: LSTM's memory gradient passes a closed gate",
        "nn/engines/reference.py",
        "        grad_c *= f\n",
        "        grad_c *= 1\n",
        ENGINE,
    ),
    Mutant(
        "reference: LSTM's candidate has a sigmoid's derivative",
        "nn/engines/reference.py",
        "out=dg).mul_(1 - g.square())",
        "out=dg).mul_(g).mul_(1 - g)",
        ENGINE,
    ),
    Mutant(
        "reference: LSTM's input and forget gate swapped",
        "nn/engines/reference.py",
        "i, f, g, o = gates[t].addmm_(h, U).chunk",
        "f, i, g, o = gates[t].addmm_(h, U).chunk",
        ENGINE,
    ),
    Mutant(
        "reference: p is dm",
        "nn/engines/reference.py",
        "            grad_projected[t] = grad_h\n            dm = grad_h @ weight_hr",
        "            dm = grad_h @ weight_hr\n            grad_projected[t] = grad_h * 0.5",
        ENGINE,
    ),
    Mutant(
        "reference: GRU's candidate outside the reset gate",
        "nn/engines/reference.py",
        "n.addcmul_(r, q).tanh_()",
        "n.add_(q).tanh_()",
        ENGINE,
    ),
    Mutant(
        "reference: GRU's gradient to the state without the update gate",
        "nn/engines/reference.py",
        "grad_h.mul_(z).addmm_",
        "grad_h.mul_(1 - z).addmm_",
        ENGINE,
    ),
    Mutant(
        "reference: GRU's update gate compares with the step after",
        "nn/engines/reference.py",
        "(h0 if before is None else outputs[before]) - n",
        "outputs[t] - n",
        ENGINE,
    ),
    Mutant(
        "reference: GRU's q without the reset gate",
        "nn/engines/reference.py",
        "torch.mul(dn, r, out=dq)",
        "dq.copy_(dn)",
        ENGINE,
    ),
    Mutant(
        "reference: reverse walks forward",
        "nn/engines/reference.py",
        "return range(steps - 1, -1, -1) if reverse else range(steps)",
        "return range(steps)",
        ENGINE,
    ),
    Mutant(
        "reference: bias gradient of the last step only",
        "nn/engines/reference.py",
        "total += values.sum(dim=(0, 1))",
        "total += values[-1].sum(dim=0)",
        ENGINE,
    ),
]


def outcome(mutant: Mutant | None, tests: str) -> tuple[int, str]:
    """Run `tests` against a copy of the package with the mistake in it: pytest's exit status and what it printed.

    Runs in a process of its own, forked from one in which torch is imported and the package is not.
    """
    assert "unrolled" not in sys.modules
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as printed:
        shutil.copytree(SOURCE, Path(folder) / "unrolled", ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            file = Path(folder) / "unrolled" / mutant.file
            file.write_text(file.read_text().replace(mutant.right, mutant.wrong))
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = folder
        sys.dont_write_bytecode = True
        hypothesis.settings.register_profile(
            "mutants", phases=[hypothesis.Phase.generate], database=None, derandomize=True
        )  # the first failure will do, it need not be made small
        hypothesis.settings.load_profile("mutants")
        os.chdir(ROOT)
        multiprocessing.current_process().daemon = False  # tests may start processes of their own
        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests.split()])
        found = sys.modules["unrolled"].__file__ if "unrolled" in sys.modules else None
        assert found is not None, "the tests do not import the package"
        assert Path(found).is_relative_to(folder), f"tested {found} instead of the copy"
    return int(status), printed.getvalue()


def survives(mutant: Mutant, run: multiprocessing.pool.AsyncResult) -> str | None:
    """What is wrong with the tests of this mistake, or None if they notice it."""
    try:
        status, printed = run.get(LIMIT)
    except multiprocessing.TimeoutError:
        return None
    if status == pytest.ExitCode.TESTS_FAILED:
        return None
    return f"{mutant.tests} passed" if status == pytest.ExitCode.OK else f"the tests did not run:\n{printed}"


def main(words: list[str]) -> int:
    """Make the mistakes whose name or file contains every word; 1 if one survives."""
    chosen = [m for m in MUTANTS if all(word.lower() in f"{m.name} {m.file}".lower() for word in words)]
    gone = [m for m in chosen if m.right not in (SOURCE / m.file).read_text()]
    for mutant in gone:
        print(f"{mutant.right!r} is no longer in {mutant.file}: bring {mutant.name!r} up to date")
    if gone or not chosen:
        return 1
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        files = " ".join(sorted({m.tests for m in chosen}))
        control = pool.apply_async(outcome, (None, files))  # without a mistake they must pass, or nothing is shown
        runs = [pool.apply_async(outcome, (m, m.tests)) for m in chosen]
        status, printed = control.get()
        if status != pytest.ExitCode.OK:
            print(f"the tests fail without any mistake:\n{printed}")
            return 1
        alive = 0
        for mutant, run in zip(chosen, runs, strict=True):
            why = survives(mutant, run)
            alive += why is not None
            print(f"{'noticed ' if why is None else 'SURVIVES'}  {mutant.file:26}  {mutant.name}", flush=True)
            if why is not None:
                print(f"          {why}", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mistakes noticed")
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
