"""AdamW that updates, of an embedding, only the rows that a batch needs, and agrees with the dense step.

Dense AdamW (Loshchilov & Hutter 2019) moves every row of an embedding in every step: a row without a gradient still
loses weight by decay and still goes on by what is left of its first moment. After its last gradient, in step s, the
moments of such a row are m_t = b1^(t-s) m_s and v_t = b2^(t-s) v_s, so step t is

    w_t = (1 - lr_t decay) w_(t-1) - lr_t sqrt(1 - b2^t) / (1 - b1^t) (b1 / sqrt(b2))^(t-s) r
    r   = m_s / (sqrt(v_s) + eps sqrt(1 - b2^(s+1)))

and w_t = p w_s - q r, where p and q are numbers that depend on s and t alone. So is a moving average of the weights,
x_t = d_t x_(t-1) + (1 - d_t) w_t = a x_s + b w_s - c r. Every step moves these numbers on, one set for each s; a row is
changed when it has a gradient, and is brought up to date just before it is looked up.

The only difference from the dense step is in eps, which ought to grow with b2^(-(t-s) / 2) against sqrt(v_s): that
matters where sqrt(v_s) is not far above eps, and then by less than one per cent of the moves after the last gradient.
Without eps both agree to rounding. torch.optim.SparseAdam, in contrast, leaves untouched rows as they are and has no
weight decay.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import AdamW

from unrolled.nn.engines.passes import few_threads, passes, threads

SPAN = 1000  # changes after which every row is brought up to date: bounds the table of numbers
AT_ONCE = 1024  # rows that are worked on together, so that they stay in the processor's cache
TINY = 1e-30  # divides where a row has never had a gradient


class Rows:
    """An embedding's weight w (V, E) with its moments and, once attached, its moving average, row by row up to date.

    `catch_up` before rows are read, `flush` before all of them are.
    """

    def __init__(self, parameter: Tensor, betas: tuple[float, float], eps: float) -> None:
        self.parameter = parameter
        self.betas, self.eps = betas, eps
        self.exp_avg = torch.zeros_like(parameter, requires_grad=False)  # m
        self.exp_avg_sq = torch.zeros_like(parameter, requires_grad=False)  # v
        self.average: Tensor | None = None  # x
        self.steps = 0  # t
        self.now = 0  # changes since the last flush: steps, and moves of the average
        self.last = torch.zeros(len(parameter), dtype=torch.int64)  # the change after which each row was up to date
        self.row_step = torch.zeros(len(parameter), dtype=torch.int64)  # s: the last step in which it had a gradient
        self.table = torch.zeros(6, SPAN + 1, dtype=torch.float64)  # p, q, a, b, c and step of each such change
        self._saved_average: Tensor | None = None  # until the average is attached
        self._enter()

    @property
    def weight(self) -> Tensor:
        """Where the rows are stored, not all of them up to date."""
        return self.parameter.detach()

    def _enter(self) -> None:
        """The numbers of rows that are up to date now."""
        self.table[:, self.now] = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, self.steps])

    def _changed(self) -> None:
        self.now += 1
        self._enter()
        if self.now == SPAN:
            self.flush()

    @torch.no_grad()
    def step(self, gradient: Tensor, lr: float, weight_decay: float) -> None:
        """One step of AdamW: of the rows of the sparse ``gradient`` now, of the others when they are looked up.

        A dense gradient has all rows.
        """
        if gradient.is_sparse:
            gradient = _each_row_once(gradient)
            ids, values = gradient._indices()[0], gradient._values()
        else:
            ids, values = torch.arange(len(gradient)), gradient
        self.catch_up(ids)
        b1, b2 = self.betas
        rows, row_step = ids.numpy(), self.row_step.numpy()  # NumPy starts no threads to gather a few numbers
        age = torch.from_numpy(self.steps - row_step[rows]).double().unsqueeze(1)
        kept = [(b**age).to(self.weight.dtype) for b in self.betas]  # of the moments, by rows
        stored = self.weight, self.exp_avg, self.exp_avg_sq
        if native := passes(*stored, values):
            rates = self.steps + 1, lr, b1, b2, weight_decay, self.eps
            native.adamw(
                *stored, values, ids.contiguous(), *kept, *values.shape, AT_ONCE, *rates, threads(values.numel())
            )
        else:
            for part, given, of_m, of_v in zip(*(t.split(AT_ONCE) for t in (ids, values, *kept)), strict=True):
                w, m, v = (whole.index_select(0, part) for whole in stored)
                torch._fused_adamw_(
                    [w], [given], [m.mul_(of_m)], [v.mul_(of_v)], [], [torch.tensor(self.steps + 1.0)],
                    lr=lr, beta1=b1, beta2=b2, weight_decay=weight_decay, eps=self.eps, amsgrad=False, maximize=False,
                )  # fmt: skip
                for whole, new in zip(stored, (w, m, v), strict=True):
                    whole.index_copy_(0, part, new)
        self.steps += 1
        p, q, _, _, _, s = self.table[:, : self.now + 1]
        p.mul_(1 - lr * weight_decay)
        bias = (1 - b2**self.steps) ** 0.5 / (1 - b1**self.steps)
        q.mul_(1 - lr * weight_decay).add_((b1 / b2**0.5) ** (self.steps - s), alpha=lr * bias)
        row_step[rows], self.last.numpy()[rows] = self.steps, self.now + 1
        self._changed()

    def attach(self, average: Tensor) -> None:
        """From now on ``average`` (V, E), at present that of all steps until now, is kept as the rows are."""
        if self._saved_average is not None:
            average.copy_(self._saved_average)
            self._saved_average = None
        else:
            self.flush()
        self.average = average

    def follow(self, share: float) -> None:
        """Move the attached average by ``share`` towards the weight."""
        p, q, a, b, c, _ = self.table[:, : self.now + 1]
        a.mul_(1 - share)
        b.mul_(1 - share).add_(p, alpha=share)
        c.mul_(1 - share).add_(q, alpha=share)
        self._changed()

    @torch.no_grad()
    def catch_up(self, ids: Tensor) -> None:
        """Bring the rows ``ids``, each of which stands there once, up to date."""
        rows, last = ids.numpy(), self.last.numpy()
        if (last[rows] == self.now).all():
            return
        self._write(ids, self.weight, self.average)
        last[rows] = self.now

    def _write(self, ids: Tensor, weight: Tensor, average: Tensor | None) -> None:
        """Bring the rows ``ids`` of ``weight`` and ``average``, which hold what is stored, up to date."""
        rows, (b1, b2) = ids.numpy(), self.betas
        p, q, a, b, c, s = torch.from_numpy(self.table.numpy().take(self.last.numpy()[rows], axis=1))
        step = torch.from_numpy(self.row_step.numpy()[rows]).double()
        eps = self.eps * (1 - b2 ** (step + 1)).sqrt() + TINY
        left = (b1 / b2**0.5) ** (s - step)  # of r, which is computed from the moments as they were in step
        numbers = torch.empty(6, len(ids), dtype=weight.dtype)
        for row, values in zip(numbers, (p, -q * left, a, b, -c * left, eps), strict=True):
            row.copy_(values)
        m, v, E = self.exp_avg, self.exp_avg_sq, weight.shape[1]
        if native := passes(weight, m, v, *([] if average is None else [average])):
            native.catch_up(weight, average, m, v, ids.contiguous(), numbers, len(ids), E, threads(len(ids) * E))
            return
        for part, given in zip(ids.split(AT_ONCE), numbers.unsqueeze(2).split(AT_ONCE, dim=1), strict=True):
            p, q, a, b, c, eps = given
            w, r = weight.index_select(0, part), m.index_select(0, part)
            r.div_(v.index_select(0, part).sqrt_().add_(eps))
            if average is not None:
                x = average.index_select(0, part)
                average.index_copy_(0, part, x.mul_(a).addcmul_(w, b).addcmul_(r, c))
            weight.index_copy_(0, part, w.mul_(p).addcmul_(r, q))

    def flush(self) -> None:
        """Bring every row up to date."""
        if self.now:
            self.catch_up(torch.arange(len(self.weight)))
            self.last.zero_()
            self.now = 0
            self._enter()

    @torch.no_grad()
    def up_to_date(self) -> tuple[Tensor, Tensor | None]:
        """Weight and average as `flush` would leave them, as copies if that changes anything: nothing is changed here.

        A checkpoint taken in between must not change by a rounding what training goes on from.
        """
        if not self.now:
            return self.weight, self.average
        weight, average = self.weight.clone(), None if self.average is None else self.average.clone()
        self._write(torch.arange(len(weight)), weight, average)
        return weight, average

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: tensors and numbers."""
        state = {"step": self.steps, "exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq, "row_step": self.row_step}
        if self.now:
            state |= {"weight": self.weight, "last": self.last, "table": self.table[:, : self.now + 1].clone()}
            state |= {} if self.average is None else {"average": self.average}
        return state

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave, or from the state of torch.optim.AdamW for this parameter."""
        self.steps = int(state["step"])
        self.exp_avg.copy_(state["exp_avg"])
        self.exp_avg_sq.copy_(state["exp_avg_sq"])
        self.row_step.copy_(state["row_step"]) if "row_step" in state else self.row_step.fill_(self.steps)
        self.last.zero_()
        self.now = 0
        if "table" in state:
            self.weight.copy_(state["weight"])
            self.last.copy_(state["last"])
            self.now = state["table"].shape[1] - 1
            self.table[:, : self.now + 1] = state["table"]
            self._saved_average = state.get("average")
        else:
            self._enter()


class RowAdamW(AdamW):
    """torch.optim.AdamW, fused, that also takes sparse gradients, of parameters named to `rows` beforehand.

    Everything else is torch's own. Without such parameters, as on a GPU or on several devices, it is AdamW itself.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        maximize: bool = False,
        fused: bool = True,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, fused=fused)
        self.only_dense = amsgrad or maximize  # for which rows have no closed form here
        self._rows: dict[Tensor, Rows] = {}

    def rows(self, parameter: Tensor) -> Rows:
        """The rows of ``parameter``, one of the optimizer's; its gradients are to be sparse from now on."""
        group = next(group for group in self.param_groups if any(p is parameter for p in group["params"]))
        if parameter not in self._rows:
            self._rows[parameter] = Rows(parameter, group["betas"], group["eps"])
        return self._rows[parameter]

    def all_rows(self) -> list[Rows]:
        """Of every parameter that has them."""
        return list(self._rows.values())

    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter in self._rows and parameter.grad is not None:
                    self._rows[parameter].step(parameter.grad, float(group["lr"]), group["weight_decay"])
        sparse = {parameter: parameter.grad for parameter in self._rows}
        for parameter in sparse:
            parameter.grad = None  # torch's own step refuses it
        with few_threads([p for group in self.param_groups for p in group["params"] if p.grad is not None]):
            super().step()
        for parameter, gradient in sparse.items():
            parameter.grad = gradient
        return loss

    def state_dict(self) -> dict[str, Any]:
        for parameter, rows in self._rows.items():
            self.state[parameter] = rows.state()
        saved = super().state_dict()
        for parameter in self._rows:
            self.state.pop(parameter)
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        order = [parameter for group in self.param_groups for parameter in group["params"]]
        for number, parameter in enumerate(order):
            if parameter in self._rows and number in state_dict["state"]:
                self._rows[parameter].load(state_dict["state"][number])  # torch has rounded its own copy
                self.state.pop(parameter, None)


def _each_row_once(gradient: Tensor) -> Tensor:
    """``gradient`` coalesced. Autograd forgets that it was; ascending rows tell without sorting."""
    ids = gradient._indices()[0]
    if bool((ids[1:] > ids[:-1]).all()):
        return gradient._coalesced_(True)
    return gradient.coalesce()


def clip_gradients(parameters: Iterable[Tensor], limit: float, by_value: bool = False) -> None:
    """What torch.nn.utils.clip_grad_norm_ and clip_grad_value_ do, with sparse gradients as well."""
    values = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = _each_row_once(parameter.grad)
            values.append(parameter.grad._values())
        elif parameter.grad is not None:
            values.append(parameter.grad)
    if not values:
        return
    if by_value:
        for value in values:
            value.clamp_(-limit, limit)
    else:
        factor = (limit / (get_total_norm(values) + 1e-6)).clamp(max=1.0)
        with few_threads(values):
            torch._foreach_mul_(values, factor)
