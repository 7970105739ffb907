"""A cell over time, in layers and directions, with the interface of torch.nn's recurrences."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypedDict, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.nn.autocast import autocast_dtype
from unrolled.nn.cells import Cell, State
from unrolled.nn.checks import check_arguments, check_input, check_rate, check_state
from unrolled.nn.engines.fused import fused, fused_kind, unsupported, version
from unrolled.nn.unroll import Reads, Step, read_packed, unroll
from unrolled.nn.zoneout import zoned

Engine = Literal["auto", "eager", "fused"]
ENGINES = get_args(Engine)


class Extras(TypedDict, total=False):
    """Arguments that a recurrence takes besides those of torch.nn, by keyword; all but the engine off by default.

    engine (str): how the recurrence is executed. `eager` is autograd through the loop over time, the executable
        specification; `fused` is the backward derived by hand, in native code where a compiler is found, for RNN, LSTM
        and GRU on a CPU; `auto` (default) takes `fused` where it can and `eager` elsewhere.
    orthogonal (bool): the recurrent weights start as random orthogonal matrices, one per gate (Saxe, McClelland &
        Ganguli 2014).
    learned_state (bool): the initial state is a parameter per layer and direction, first zero, instead of zeros
        (Forcada & Carrasco 1995).
    weight_dropout (float): share of the recurrent weights dropped, in every layer and direction, the same ones for a
        whole training step (DropConnect on weight_hh; Merity, Keskar & Socher 2018).
    zoneout_hidden, zoneout_cell (float): probability for a unit of h, or c, to keep its value for a step (Krueger et
        al. 2017).

    What is dropped or kept acts in training only, save zoneout, which in evaluation takes the expectation.
    """

    engine: Engine
    orthogonal: bool
    learned_state: bool
    weight_dropout: float
    zoneout_hidden: float
    zoneout_cell: float


class Recurrence(nn.Module):
    """Any cell over time, in layers and directions, with torch.nn's constructor, inputs, outputs and state forms.

    Layer l reads the outputs of layer l - 1, of both directions side by side. Its weights are parameters of this
    module, named as torch.nn names them: the cell's name of the weight, then `_l0`, `_l1`, ..., then `_reverse` for
    the second direction. They are read anew in every call, so they may be replaced, tied, pruned or parametrized.

    Called, it behaves as torch.nn.LSTM does:

        input  (T, B, E), or (B, T, E) if batch_first, or (T, E) for a single sequence, or a PackedSequence
        hx     the initial state, h or (h, c): (layers * directions, B, H) each, without B for a single sequence;
               zeros if None
        ->     outputs (T, B, D) in the form of the input, D = H (P with projection), doubled if bidirectional,
               and the last state in the form of hx, ordered by layer, then direction

    Documents are read in chunks by a `Layer`, which holds a recurrence with one layer per direction and calls
    `initial_state`, `read` and `draw_weight_masks`, time first throughout.

    Args:
        cell: the class of the cell, e.g. `LSTMCell`, or one of your own
        input_size: E
        hidden_size: H
        num_layers: layers stacked
        bias: whether there are biases
        batch_first: whether inputs and outputs are (B, T, ...); states never are
        dropout: share of the outputs of every layer but the last that is dropped in training, drawn for each step
        bidirectional: also read from the end (Schuster & Paliwal 1997)
        device, dtype: of the weights
        weight_dropout, zoneout_hidden, zoneout_cell, learned_state: see `Extras`
        cell_options: the remaining arguments go to the cell, e.g. `orthogonal`, or `proj_size` for an LSTM

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range, as in torch.nn
    """

    def __init__(
        self,
        cell: type[Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        engine: Engine = "auto",
        weight_dropout: float = 0.0,
        zoneout_hidden: float = 0.0,
        zoneout_cell: float = 0.0,
        learned_state: bool = False,
        **cell_options: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_arguments(name, input_size, hidden_size, num_layers, bias, batch_first, dropout)
        self.mode = cell.mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size: int = cell_options.get("proj_size", 0)
        self.engine = engine
        self.weight_dropout = weight_dropout
        self.zoneout_hidden = zoneout_hidden
        self.zoneout_cell = zoneout_cell
        self.learned_state = learned_state
        for key in ("weight_dropout", "zoneout_hidden", "zoneout_cell"):
            check_rate(f"{name}: {key}", getattr(self, key))

        cells: list[Cell] = []  # one per layer and direction: the equations, and which weights they need
        self._weight_names: list[dict[str, str]] = []  # per layer and direction: the cell's name -> this module's name
        for layer in range(num_layers):
            features = input_size if layer == 0 else self._directions * cells[0].state_sizes[0]
            for _ in range(self._directions):
                suffix = self._suffix(len(cells))
                one = cell(features, hidden_size, bias=bias, device="meta", **cell_options).without_weights()
                cells.append(one)
                self._weight_names.append({weight: f"{weight}{suffix}" for weight in one.weight_shapes()})
                for weight, shape in one.weight_shapes().items():
                    parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(f"{weight}{suffix}", parameter)
        self._fused_kind = fused_kind(cells[0]) if not (zoneout_hidden or zoneout_cell) else None
        if engine not in ENGINES:
            raise ValueError(f"{name}: engine must be one of {', '.join(ENGINES)}, got {engine!r}")
        if engine == "fused" and self._fused_kind is None:
            what = cell.__name__ + (" with zoneout" if zoneout_hidden or zoneout_cell else "")
            raise ValueError(
                "engine=fused: it has the equations of RNNCell, LSTMCell and GRUCell without zoneout, not those of "
                f"{what}; choose engine=auto or eager"
            )
        self.engines_run: set[str] = set()  # which have executed this recurrence: eager, fused (native), fused (python)
        self._cells = tuple(cells)  # in a tuple, so that they are no submodules: the weights live here
        self._state_sizes = cells[0].state_sizes
        if zoneout_cell and len(self._state_sizes) < 2:
            raise ValueError(f"{name}: zoneout_cell={zoneout_cell} needs a memory c, which {cell.__name__} has not")
        if weight_dropout and not cell.recurrent_weights:
            raise ValueError(
                f"{name}: weight_dropout={weight_dropout} needs a recurrent matrix of its own, which "
                f"{cell.__name__} has not"
            )
        self._state_names = [f"initial_{letter}" for letter in "hc"[: len(self._state_sizes)]] if learned_state else []
        for state, size in zip(self._state_names, self._state_sizes, strict=False):
            value = torch.empty(len(cells), size, device=device, dtype=dtype)
            self.register_parameter(state, nn.Parameter(value))
        self._weight_masks: dict[str, Tensor] = {}  # of the training step under way
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """D: features of the outputs."""
        return self._directions * self._state_sizes[0]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction, in torch.nn's order."""
        return [[getattr(self, name) for name in names.values()] for names in self._weight_names]

    def reset_parameters(self) -> None:
        """Draw the weights anew: as torch.nn does, so that the same seed gives the same weights."""
        for cell, names in zip(self._cells, self._weight_names, strict=True):
            cell.initialise({weight: getattr(self, name) for weight, name in names.items()})
        for name in self._state_names:
            nn.init.zeros_(getattr(self, name))

    @torch.no_grad()
    def load_packed(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the state_dict of torch.nn's module of the same shape, whatever layout the cell's weights have."""
        for k, (cell, names) in enumerate(zip(self._cells, self._weight_names, strict=True)):
            suffix = self._suffix(k)
            packed = {name.removesuffix(suffix): value for name, value in weights.items() if name.endswith(suffix)}
            for weight, value in cell.from_packed(packed).items():
                getattr(self, names[weight]).copy_(value)

    def to_packed(self) -> dict[str, Tensor]:
        """The weights as a state_dict that torch.nn's module of the same shape takes."""
        packed: dict[str, Tensor] = {}
        for k, (cell, names) in enumerate(zip(self._cells, self._weight_names, strict=True)):
            own = cell.to_packed({weight: getattr(self, name).detach() for weight, name in names.items()})
            packed |= {f"{name}{self._suffix(k)}": value for name, value in own.items()}
        return packed

    def _suffix(self, k: int) -> str:
        """What torch.nn puts behind the names of one layer's and direction's weights."""
        return f"_l{k // self._directions}" + ("_reverse" if self.bidirectional and k % 2 else "")

    def flatten_parameters(self) -> None:
        """Nothing to do: weights are read where they are. torch.nn's modules have this method, so callers may too."""

    # ---- one layer in one direction, time first ----------------------------------------------------------------------

    def initial_state(self, batch_size: int) -> State:
        """The state before the first token: (layers * directions, B, S) each, zeros or what has been learned."""
        if self._state_names:
            return tuple(getattr(self, name).unsqueeze(1).expand(-1, batch_size, -1) for name in self._state_names)
        like = self._first_weight()
        return tuple(like.new_zeros(len(self._cells), batch_size, size) for size in self._state_sizes)

    def draw_weight_masks(self) -> None:
        """Drop other recurrent weights from now on: once per optimizer step, before its first chunk."""
        self._weight_masks = {}
        if self.training and self.weight_dropout:
            for cell, names in zip(self._cells, self._weight_names, strict=True):
                for name in (names[weight] for weight in cell.recurrent_weights):
                    ones = torch.ones_like(getattr(self, name), requires_grad=False)
                    self._weight_masks[name] = F.dropout(ones, self.weight_dropout)

    def read(
        self, x: Tensor, state: State, k: int = 0, batch_sizes: Sequence[int] | None = None
    ) -> tuple[Tensor, State]:
        """Read one chunk with one layer in one direction.

        x: (K, B, E), or (N, E) packed with `batch_sizes`, the rows at each step; state: what the chunk before returned,
        or `initial_state(B)`: (1, B, S) each; k: which one, counting layers, then directions. Returns outputs (K, B, D)
        or (N, D), and the state after the last step.
        """
        first = tuple(s[0] for s in state)
        weights = self._weights_now(k)
        reverse = self.bidirectional and k % 2 == 1
        reads = self._fused(k, x, first, weights, reverse)
        if not torch.compiler.is_compiling():
            self.engines_run.add(f"fused ({version()})" if reads else "eager")
        reads = reads or self._eager(k, weights, reverse)
        if batch_sizes is None:
            outputs, last = reads(x, first)
        else:
            outputs, last = read_packed(reads, x, batch_sizes, first, reverse)
        return outputs, tuple(s.unsqueeze(0) for s in last)

    def _eager(self, k: int, weights: dict[str, Tensor], reverse: bool) -> Reads:
        """The loop over time, one step of the cell after another."""
        cell = self._cells[k]
        lower = autocast_dtype(next(iter(weights.values())).device.type)
        if lower is not None:  # once here, or autocast would do it again at every step
            weights = {
                name: w.to(lower) if w.dim() == 2 and w.dtype == torch.float32 else w for name, w in weights.items()
            }
        w = cell.prepare(weights)
        step: Step = partial(cell.step, w=w)
        if self.zoneout_hidden or self.zoneout_cell:
            rates = (self.zoneout_hidden, self.zoneout_cell)[: len(self._state_sizes)]
            step = zoned(step, rates, self.training)
        return lambda x, state: unroll(step, cell.from_input(x, w), state, reverse)  # one input product for all steps

    def _fused(self, k: int, x: Tensor, state: State, weights: dict[str, Tensor], reverse: bool) -> Reads | None:
        """The engine `fused`, where it is wanted and can be had."""
        kind = self._fused_kind
        if kind is None or self.engine == "eager":
            return None
        reason = unsupported(x, state, weights)
        if reason:
            if self.engine == "fused":
                raise RuntimeError(f"{type(self).__name__}: engine=fused: {reason}; choose engine=auto")
            return None
        nonlinearity = getattr(self._cells[k], "nonlinearity", "tanh")
        twice = partial(self._eager, k, weights, reverse)
        return lambda x, state: fused(kind, x, state, weights, nonlinearity, reverse, twice)

    # ---- called like torch.nn's modules -----------------------------------------------------------------------------

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Read whole sequences; see the class for the forms of input and state.

        Raises:
            ValueError: input is neither 2-D nor 3-D, or not of the weights' dtype
            RuntimeError: input or state has a wrong size or dtype, or there is no time step
            AttributeError, IndexError: input is no tensor, or the state is not the pair it should be; torch.nn's types
        """
        packed = input if isinstance(input, PackedSequence) else None
        batched = True
        batch_sizes = None
        if packed is not None:
            x = packed.data
            batch_sizes = packed.batch_sizes.tolist()
            steps, batch_size = len(batch_sizes), batch_sizes[0]
        else:
            if not isinstance(input, Tensor):
                raise AttributeError(
                    f"{type(self).__name__}: input must be a tensor or PackedSequence, got {type(input)}"
                )
            if input.dim() not in (2, 3):
                raise ValueError(f"{type(self).__name__}: input must be 2-D or 3-D, got {input.dim()}-D")
            batched = input.dim() == 3
            x = input.unsqueeze(1) if not batched else input.transpose(0, 1) if self.batch_first else input
            steps, batch_size = x.shape[:2]
        check_input(type(self).__name__, x, self.input_size, self._first_weight().dtype, steps)

        if hx is None:
            state = self.initial_state(batch_size)
        else:
            state = self._given_state(hx, x, batched, batch_size)
            if packed is not None and packed.sorted_indices is not None:
                state = tuple(s.index_select(1, packed.sorted_indices) for s in state)
        self.draw_weight_masks()
        outputs, state = self._read_layers(x, state, batch_sizes)

        if packed is not None:
            if packed.unsorted_indices is not None:
                state = tuple(s.index_select(1, packed.unsorted_indices) for s in state)
            result = PackedSequence(outputs, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
            return result, self._form(state)
        if not batched:
            return outputs.squeeze(1), self._form(tuple(s.squeeze(1) for s in state))
        return (outputs.transpose(0, 1) if self.batch_first else outputs), self._form(state)

    def _given_state(self, hx: Any, x: Tensor, batched: bool, batch_size: int) -> State:
        """The caller's initial state as (layers * directions, B, S) each."""
        several = len(self._state_sizes) > 1
        if several and len(hx) < len(self._state_sizes):
            raise IndexError(f"{type(self).__name__}: the initial state must be a pair (h, c), got {len(hx)} tensor(s)")
        if several and not isinstance(hx, (tuple, list)):
            raise RuntimeError(f"{type(self).__name__}: the initial state must be a pair (h, c), got {type(hx)}")
        state: State = tuple(hx) if several else (hx,)
        dims = 3 if batched else 2
        if any(s.dim() != dims for s in state):
            got = ", ".join(f"{s.dim()}-D" for s in state)
            raise RuntimeError(f"{type(self).__name__}: for this input the initial state must be {dims}-D, got {got}")
        if not batched:
            state = tuple(s.unsqueeze(1) for s in state)
        shapes: list[tuple[int, ...]] = [(len(self._cells), batch_size, size) for size in self._state_sizes]
        dtype = self._first_weight().dtype
        check_state(type(self).__name__, state, shapes, dtype, x)
        return tuple(s.to(dtype) for s in state)  # under autocast it may come in the lower precision

    def _form(self, state: State) -> Tensor | State:
        """h for a cell with one state, (h, c) for one with two, as torch.nn returns them."""
        return state if len(state) > 1 else state[0]

    def _read_layers(self, x: Tensor, state: State, batch_sizes: Sequence[int] | None) -> tuple[Tensor, State]:
        """All layers over x: (K, B, E), or (N, E) packed with `batch_sizes`."""
        after: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for k in range(self._directions * layer, self._directions * (layer + 1)):
                own = state if len(self._cells) == 1 else tuple(s[k : k + 1] for s in state)
                y, last = self.read(x, own, k, batch_sizes)
                outputs.append(y)
                after.append(last)
            x = torch.cat(outputs, dim=-1) if self.bidirectional else outputs[0]
        return x, after[0] if len(after) == 1 else tuple(torch.cat(s) for s in zip(*after, strict=True))

    def _weights_now(self, k: int) -> dict[str, Tensor]:
        """The weights of one layer and direction as they are at this moment, recurrent ones with dropped elements."""
        weights = {}
        for weight, name in self._weight_names[k].items():
            registered = self._parameters.get(name)  # ten times as fast as an attribute, which it is when parametrized
            value: Tensor = getattr(self, name) if registered is None else registered
            if self.training and self.weight_dropout and weight in self._cells[k].recurrent_weights:
                if name not in self._weight_masks:
                    self.draw_weight_masks()
                value = value * self._weight_masks[name]
            weights[weight] = value
        return weights

    def _first_weight(self) -> Tensor:
        weight: Tensor = getattr(self, next(iter(self._weight_names[0].values())))
        return weight

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._weight_masks = {}  # drawn for another device or dtype
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        defaults: dict[str, Any] = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0}
        defaults |= {"bidirectional": False, "engine": "auto", "weight_dropout": 0, "learned_state": False}
        defaults |= {"zoneout_hidden": 0, "zoneout_cell": 0}
        parts += [f"{key}={getattr(self, key)}" for key, default in defaults.items() if getattr(self, key) != default]
        return ", ".join(parts)
