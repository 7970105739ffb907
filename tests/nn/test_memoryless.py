"""What is left when recurrence is taken away."""

import torch

from unrolled.nn.layer import OneDirection
from unrolled.nn.memoryless import Memoryless

T, B, E, H = 7, 3, 4, 5


def test_every_token_is_mapped_by_the_same_affine_map() -> None:
    layer = Memoryless(E, H)
    assert isinstance(layer, OneDirection)
    x = torch.randn(T, B, E)
    outputs, state = layer.read(x, layer.initial_state(B))
    assert state == ()
    expected = torch.stack([layer.linear.weight @ token + layer.linear.bias for token in x.reshape(-1, E)])
    torch.testing.assert_close(outputs, expected.reshape(T, B, H))
    assert torch.equal(layer(x), outputs)


def test_the_order_of_tokens_does_not_matter_to_the_mean_of_its_outputs() -> None:
    layer, x = Memoryless(E, H), torch.randn(T, B, E)
    shuffled = x[torch.randperm(T, generator=torch.Generator().manual_seed(1))]
    assert not torch.equal(shuffled, x)
    torch.testing.assert_close(layer(shuffled).mean(0), layer(x).mean(0))


def test_nothing_passes_from_one_token_to_another_forwards_or_backwards() -> None:
    layer, x = Memoryless(E, H), torch.randn(T, B, E, requires_grad=True)
    outputs, _ = layer.read(x)
    (d_x,) = torch.autograd.grad(outputs[4].sum(), x)
    assert d_x[4].any()
    d_x[4] = 0
    assert not d_x.any()


def test_chunks_give_the_values_and_gradients_of_one_pass() -> None:
    layer, x = Memoryless(E, H), torch.randn(T, B, E)
    whole = layer(x)
    of_whole = torch.autograd.grad((whole**2).sum(), list(layer.parameters()))
    cut = torch.cat([layer.read(x[:3])[0], layer.read(x[3:])[0]])
    of_cut = torch.autograd.grad((cut**2).sum(), list(layer.parameters()))
    torch.testing.assert_close(cut, whole)
    torch.testing.assert_close(of_cut, of_whole)
