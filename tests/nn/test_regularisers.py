"""What the further arguments of every recurrence do: what is dropped, for how long it is shared, how it starts."""

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.nn.cells import LayerNormGRUCell

E, H, B, T = 3, 5, 4, 6


@pytest.mark.parametrize("make", [unrolled.RNN, unrolled.LSTM, unrolled.GRU])
def test_weight_dropout_reaches_every_layer_and_both_directions_and_nothing_else(make: type) -> None:
    """Each weight's gradient is zero exactly where the weight was dropped, so gradients show the masks."""
    net = make(10, 12, 2, bidirectional=True, weight_dropout=0.5)
    net(torch.randn(T, 20, 10))[0].square().sum().backward()
    for name, weight in net.named_parameters():
        dropped = weight.grad.eq(0).float().mean().item()
        if name.startswith("weight_hh"):
            assert abs(dropped - 0.5) < 0.22, name  # five standard deviations of 144 draws
        else:
            assert dropped < 0.05, name


def test_dropped_weights_are_shared_by_all_chunks_of_a_batch_until_new_ones_are_drawn() -> None:
    net = unrolled.GRU(E, 20, weight_dropout=0.5)
    x, zero = torch.randn(T, B, E), net.initial_state(B)
    whole, _ = net.read(x, zero)
    first, state = net.read(x[:2], zero)
    torch.testing.assert_close(torch.cat([first, net.read(x[2:], state)[0]]), whole)
    recomputed = torch.utils.checkpoint.checkpoint(lambda x: net.read(x, zero)[0], x, use_reentrant=False)
    torch.testing.assert_close(recomputed, whole)
    net.draw_weight_masks()
    assert not torch.allclose(net.read(x, zero)[0], whole)
    assert not torch.equal(net(x)[0], net(x)[0]), "a plain call draws by itself"


def test_weight_dropout_scales_what_is_kept() -> None:
    net = unrolled.RNN(E, 4, nonlinearity="identity", weight_dropout=0.5)
    with torch.no_grad():
        net.weight_hh_l0.fill_(1.0)
        for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(net, name).zero_()
    outputs, _ = net(torch.zeros(1, 4, E), torch.eye(4).unsqueeze(0))  # rows of U, transposed
    assert set(outputs.unique().tolist()) <= {0.0, 2.0}


def test_a_learned_state_starts_at_zero_is_used_and_gets_a_gradient() -> None:
    torch.manual_seed(0)
    plain = unrolled.LSTM(E, H, 2, bidirectional=True, proj_size=2)
    torch.manual_seed(0)
    net = unrolled.LSTM(E, H, 2, bidirectional=True, proj_size=2, learned_state=True)
    x = torch.randn(T, B, E)
    assert torch.equal(net(x)[0], plain(x)[0])
    net(x)[0].sum().backward()
    assert net.initial_h.shape == (4, 2)
    assert net.initial_c.shape == (4, H)
    for name in ("initial_h", "initial_c"):
        assert getattr(net, name).grad.ne(0).all()
        torch.nn.init.normal_(getattr(net, name))
    given = tuple(s.unsqueeze(1).repeat(1, B, 1) for s in (net.initial_h, net.initial_c))
    torch.testing.assert_close(net(x), plain(x, given))
    torch.testing.assert_close(net.initial_state(B), given)
    torch.testing.assert_close(net(x, given), plain(x, given))


def test_all_of_them_go_through_the_layers_of_every_class() -> None:
    """One call with everything on, in training, gives finite gradients everywhere."""
    on = {"orthogonal": True, "learned_state": True}
    on |= {"weight_dropout": 0.2, "zoneout_hidden": 0.1}
    nets = [
        unrolled.RNN(E, H, 2, bidirectional=True, **on),
        unrolled.Recurrence(LayerNormGRUCell, E, H, 2, bidirectional=True, chrono=100, **on),
        unrolled.LSTM(E, H, 2, bidirectional=True, forget_bias=1.0, zoneout_cell=0.2, **on),
    ]
    for net in nets:
        net(torch.randn(T, B, E))[0].sum().backward()
        assert all(isinstance(w.grad, Tensor) and w.grad.isfinite().all() for w in net.parameters())
        for argument in ("learned_state=True", "weight_dropout=0.2", "zoneout_hidden=0.1"):
            assert argument in repr(net)
    assert torch.equal((nets[2].bias_ih_l1_reverse + nets[2].bias_hh_l1_reverse)[H : 2 * H], torch.ones(H))
    assert (nets[1].bias_ih_l1_reverse[H : 2 * H] >= 0).all(), "chrono reaches all layers and directions"
    block = nets[1].weight_hh_l1_reverse.detach()[H : 2 * H]
    torch.testing.assert_close(block @ block.t(), torch.eye(H), atol=1e-5, rtol=0)
