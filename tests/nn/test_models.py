"""Every model of conf/model is built, runs, and has as many parameters as the formulas say."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from tests.nn import build
from torch import nn

from unrolled.nn.cells import Cell
from unrolled.nn.encoder import Encoder
from unrolled.nn.models import build_encoder
from unrolled.train.build import without

FILES = (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml")
MODELS = sorted(path.stem for path in FILES if path.stem != "linear")  # which has no encoder
E, H, P, B, K = 3, 5, 2, 4, 6


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("model", MODELS)
def test_every_model_of_conf_reads_a_chunk(compose_config: Callable[..., DictConfig], model: str) -> None:
    encoder = instantiate(without(compose_config(f"model={model}").model, "wide"), input_size=E)
    assert isinstance(encoder, Encoder)
    outputs, state = encoder(torch.randn(K, B, E), encoder.initial_state(B))
    assert outputs.shape == (K, B, encoder.output_size)
    assert all(s.shape[1] == B for s in state)


class WithoutStep(Cell):
    pass


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("no.such.Cell", "cannot be imported: No module named 'no'"),
        ("torch.nn.RNN", "no class derived from unrolled.nn.cells.Cell"),
        (f"{__name__}.WithoutStep", r"the class must define step\(x, state, w\)"),
    ],
)
def test_a_cell_of_ones_own_that_cannot_be_used_is_refused(cell: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^cell={cell}: {said}"):
        build_encoder(E, H, cell)


@pytest.mark.parametrize("implementation", build.IMPLEMENTATIONS)
def test_parameter_counts_are_the_closed_formulas(implementation: str) -> None:
    """Per layer and direction: gates x H x (inputs + H + 2 biases), and P x H for a projection."""
    how = {"implementation": implementation}
    assert count(build.lstm(E, H, **how)) == 4 * H * (E + H + 2) == 200
    assert count(build.gru(E, H, **how)) == 3 * H * (E + H + 2) == 150
    assert count(build.rnn(E, H, **how)) == H * (E + H + 2)
    assert count(build.lstm(E, H, proj_size=P, **how)) == 4 * H * (E + P + 2) + P * H
    assert count(build.lstm(E, H, num_layers=2, **how)) == 200 + 4 * H * (H + H + 2)
    assert count(build.lstm(E, H, bidirectional=True, **how)) == 2 * 200
    two_of_two = 2 * 200 + 2 * 4 * H * (2 * H + H + 2)
    assert count(build.lstm(E, H, num_layers=2, bidirectional=True, **how)) == two_of_two
    assert count(build.memoryless(E, H, **how)) == H * (E + 1)


@pytest.mark.parametrize("make", [build.rnn, build.lstm, build.gru])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_both_implementations_draw_the_same_weights_from_a_seed(
    make: Callable[..., Encoder], bidirectional: bool
) -> None:
    values = []
    for implementation in build.IMPLEMENTATIONS:
        torch.manual_seed(3)
        encoder = make(E, H, num_layers=2, bidirectional=bidirectional, implementation=implementation)
        values.append(torch.cat([parameter.flatten() for parameter in encoder.parameters()]))
    assert torch.equal(*values)


@pytest.mark.parametrize("make", [build.rnn, build.gru])
def test_only_an_lstm_has_a_projection(make: Callable[..., Encoder]) -> None:
    with pytest.raises(ValueError, match="proj_size=2"):
        make(E, H, proj_size=P)


def test_the_linear_control_takes_nothing_of_a_recurrence() -> None:
    with pytest.raises(ValueError, match="one linear layer"):
        build.memoryless(E, H, num_layers=2)
    with pytest.raises(ValueError, match="foo=null: this model has no such option"):
        build.memoryless(E, H, foo=None)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"engine": "fused", "zoneout_hidden": 0.1}, "engine=fused: .* not those of LSTMCell with zoneout"),
        ({"engine": "fused", "implementation": "official"}, "engine=fused: only handwritten recurrences have engines"),
        ({"nonlinearity": "relu", "implementation": "official"}, "nonlinearity=relu: this model has no such option"),
    ],
)
def test_an_engine_or_an_option_that_does_not_fit_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build.lstm(E, H, **keys)


def test_a_cell_of_ones_own_has_no_fused_engine() -> None:
    with pytest.raises(ValueError, match=r"engine=fused: .* not those of MGUCell"):
        build.build_encoder(E, H, "unrolled.nn.cells.MGUCell", engine="fused")
