"""The time loops of RNN, LSTM and GRU with a backward derived by hand, in Python: what recurrences.cpp does natively.

Backpropagation through time (Werbos 1990) for the equations of `unrolled.nn.cells`. Every function takes one layer in
one direction over K steps. Before it, all steps' share of the input has been computed in one product; after it, the
gradients of input and weights are one product each over all steps (by_hand.py). Only what must go step by step is here.

Notation: a is what goes into a gate's nonlinearity, s' = s (1 - s) and tanh' = 1 - tanh^2 are written with the values
themselves, dv is the gradient of the loss with respect to v, dy_t comes from the outside to the output h_t, and
dh and dc are what comes back from step t + 1, at the last step the gradient of the last state. Products without a sign
are elementwise; U is weight_hh, (gates * H, size of h), R is weight_hr.

RNN (Elman 1990): a_t = W x_t + b + U h_{t-1}, h_t = f(a_t). With d = dh + dy_t

    da_t = d f'(a_t)                 1 - h_t^2 for tanh, [h_t > 0] for relu, 1 for the identity
    dh  <- U^T da_t

LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000): (i, f, g, o) are sigmoid, sigmoid, tanh and sigmoid of
a_t = W x_t + b + U h_{t-1}; c_t = f c_{t-1} + i g, m_t = o tanh c_t, and h_t = m_t or, with projection, R m_t (Sak et
al. 2014). With p = dh + dy_t, the gradient of h_t, dm = p or R^T p, and as c_t acts through m_t and through c_{t+1}

    dc  <- dc + dm o (1 - tanh^2 c_t)
    da_i = dc g i (1 - i)
    da_f = dc c_{t-1} f (1 - f)
    da_g = dc i (1 - g^2)
    da_o = dm tanh(c_t) o (1 - o)
    dc  <- dc f,   dh <- U^T da_t

GRU (Cho et al. 2014, in torch's variant): (r, z) = sigmoid of W x_t + b + U h_{t-1} + d, q_t = U_n h_{t-1} + d_n,
n = tanh(W_n x_t + b_n + r q_t), h_t = (1 - z) n + z h_{t-1}. With p = dh + dy_t

    da_n = p (1 - z) (1 - n^2)
    dq   = da_n r
    da_r = da_n q_t r (1 - r)
    da_z = p (h_{t-1} - n) z (1 - z)
    dh  <- p z + U_n^T dq + U_r^T da_r + U_z^T da_z

Gradients of weights are sums over steps and rows, hence single products: dW = sum_t da_t x_t^T, dU = sum_t da_t
h_{t-1}^T (GRU: with dq in place of da_n), dR = sum_t p_t m_t^T, db = sum_t da_t.

In all functions time comes first, K steps of B rows, and results are written into tensors that the caller made.
`reverse` walks from the last step to the first. `bias` holds both biases' sum, or None. In the backward functions
grad_h (and grad_c) are the gradients of the last state and become those of the first; grad_outputs is None or has the
shape of the outputs, and the sum of the gates' gradient over steps and rows is added to grad_bias, if not None.
"""

import torch
from torch import Tensor

NONLINEARITIES = ("tanh", "relu", "identity")
"""What an RNN can have for f; the native code counts them in this order."""


def pack(weight: Tensor, gates: int, transposed: bool) -> Tensor:
    """A recurrent weight as the loops take it, once for all blocks of a chunk: the native ones want it in a layout.

    transposed: in the forward, whose products are with the transposed weight, side by side for each of the gates
    """
    return weight


def rnn_forward(
    outputs: Tensor, bias: Tensor | None, weight_hh: Tensor, h0: Tensor, nonlinearity: int, reverse: bool
) -> None:
    """Turn the input's share of a, given in `outputs` (K, B, H), into h, in place."""
    if bias is not None:
        outputs += bias
    U = weight_hh.t()
    h = h0
    for t in _order(len(outputs), reverse):
        a = outputs[t].addmm_(h, U)
        h = a if nonlinearity == 2 else (a.relu_() if nonlinearity == 1 else a.tanh_())


def rnn_backward(
    outputs: Tensor,
    weight_hh: Tensor,
    grad_outputs: Tensor | None,
    grad_h: Tensor,
    grad_gates: Tensor,
    grad_bias: Tensor | None,
    nonlinearity: int,
    reverse: bool,
) -> None:
    """Write da into grad_gates (K, B, H)."""
    for t in _order(len(outputs), not reverse):
        if grad_outputs is not None:
            grad_h += grad_outputs[t]
        if nonlinearity == 0:
            torch.mul(grad_h, 1 - outputs[t].square(), out=grad_gates[t])
        elif nonlinearity == 1:
            torch.mul(grad_h, outputs[t] > 0, out=grad_gates[t])
        else:
            grad_gates[t] = grad_h
        torch.mm(grad_gates[t], weight_hh, out=grad_h)
    _add_to(grad_bias, grad_gates)


def lstm_forward(
    gates: Tensor,
    bias: Tensor | None,
    weight_hh: Tensor,
    weight_hr: Tensor | None,
    h0: Tensor,
    c0: Tensor,
    outputs: Tensor,
    cells: Tensor,
    hidden: Tensor | None,
    save: bool,
    reverse: bool,
) -> None:
    """Write h into outputs (K, B, P or H), c into cells (K, B, H) and, given a weight_hr, m into hidden (K, B, H).

    `gates` (K, B, 4 H) holds the input's share of a. Afterwards, if `save`, it holds i, f, g, o; if not, what it holds
    is of no use, and the steps of cells and hidden may all be one piece of memory.
    """
    if bias is not None:
        gates += bias
    U = weight_hh.t()
    h, c = h0, c0
    for t in _order(len(gates), reverse):
        i, f, g, o = gates[t].addmm_(h, U).chunk(4, dim=1)
        c = torch.mul(f.sigmoid_(), c, out=cells[t]).addcmul_(i.sigmoid_(), g.tanh_())
        m = torch.tanh(c, out=outputs[t] if hidden is None else hidden[t]).mul_(o.sigmoid_())
        h = m if weight_hr is None else torch.mm(m, weight_hr.t(), out=outputs[t])


def lstm_backward(
    gates: Tensor,
    cells: Tensor,
    c0: Tensor,
    weight_hh: Tensor,
    weight_hr: Tensor | None,
    grad_outputs: Tensor | None,
    grad_h: Tensor,
    grad_c: Tensor,
    grad_gates: Tensor,
    grad_projected: Tensor | None,
    grad_bias: Tensor | None,
    reverse: bool,
) -> None:
    """Write da into grad_gates (K, B, 4 H) and, if there is a weight_hr, p into grad_projected (K, B, P)."""
    order = _order(len(gates), not reverse)
    for t, before in zip(order, [*order[1:], None], strict=True):
        i, f, g, o = gates[t].chunk(4, dim=1)
        di, df, dg, do = grad_gates[t].chunk(4, dim=1)
        if grad_outputs is not None:
            grad_h += grad_outputs[t]
        dm = grad_h
        if weight_hr is not None and grad_projected is not None:
            grad_projected[t] = grad_h
            dm = grad_h @ weight_hr
        shown = cells[t].tanh()
        torch.mul(dm, shown, out=do).mul_(o).mul_(1 - o)
        grad_c.addcmul_(dm * o, 1 - shown.square_())
        torch.mul(grad_c, g, out=di).mul_(i).mul_(1 - i)
        torch.mul(grad_c, c0 if before is None else cells[before], out=df).mul_(f).mul_(1 - f)
        torch.mul(grad_c, i, out=dg).mul_(1 - g.square())
        grad_c *= f
        torch.mm(grad_gates[t], weight_hh, out=grad_h)
    _add_to(grad_bias, grad_gates)


def gru_forward(
    gates: Tensor,
    bias: Tensor | None,
    bias_hn: Tensor | None,
    weight_hh: Tensor,
    h0: Tensor,
    outputs: Tensor,
    candidates: Tensor | None,
    reverse: bool,
) -> None:
    """Write h into outputs (K, B, H) and q into candidates (K, B, H), if given.

    `gates` (K, B, 3 H) holds the input's share and afterwards, if candidates are given, r, z, n. `bias` is b + d for r
    and z and b for n, `bias_hn` is d_n.
    """
    if bias is not None:
        gates += bias
    H = h0.shape[1]
    h = h0
    for t in _order(len(gates), reverse):
        product = h @ weight_hh.t()
        r_z, n = gates[t].split([2 * H, H], dim=1)
        r, z = r_z.add_(product[:, : 2 * H]).sigmoid_().chunk(2, dim=1)
        q = product[:, 2 * H :]
        if bias_hn is not None:
            q = q + bias_hn
        if candidates is not None:
            candidates[t] = q
        n.addcmul_(r, q).tanh_()
        h = torch.lerp(n, h, z, out=outputs[t])


def gru_backward(
    gates: Tensor,
    candidates: Tensor,
    outputs: Tensor,
    h0: Tensor,
    weight_hh: Tensor,
    grad_outputs: Tensor | None,
    grad_h: Tensor,
    grad_gates: Tensor,
    grad_bias: Tensor | None,
    reverse: bool,
) -> None:
    """Write dq, da_r, da_z, da_n, side by side, into grad_gates (K, B, 4 H).

    In this order the first three parts are what the recurrent weights need and the last three what the input's need;
    weight_hh is given with its rows in the order n, r, z.
    """
    H = h0.shape[1]
    order = _order(len(gates), not reverse)
    for t, before in zip(order, [*order[1:], None], strict=True):
        r, z, n = gates[t].chunk(3, dim=1)
        dq, dr, dz, dn = grad_gates[t].chunk(4, dim=1)
        if grad_outputs is not None:
            grad_h += grad_outputs[t]
        torch.mul(grad_h, 1 - z, out=dn).mul_(1 - n.square())
        torch.mul(dn, r, out=dq)
        torch.mul(dn, candidates[t], out=dr).mul_(r).mul_(1 - r)
        torch.mul(grad_h, (h0 if before is None else outputs[before]) - n, out=dz).mul_(z).mul_(1 - z)
        grad_h.mul_(z).addmm_(grad_gates[t, :, : 3 * H], weight_hh)
    _add_to(grad_bias, grad_gates)


def _order(steps: int, reverse: bool) -> range:
    return range(steps - 1, -1, -1) if reverse else range(steps)


def _add_to(total: Tensor | None, values: Tensor) -> None:
    if total is not None:
        total += values.sum(dim=(0, 1))
