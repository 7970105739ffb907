"""The products that the study of a layer's bound times are all products of a layer, and no others."""

import pytest
from tests.experiments.script import load
from torch.utils.flop_counter import FlopCounterMode

from unrolled.benchmarks.recurrences import Shape, four_kinds

study = load("layer_bound")


@pytest.mark.parametrize("shape", four_kinds(3, 5, 8, 4), ids=str)
@pytest.mark.parametrize("most", [2**22, 600])  # bytes of a piece: one piece, or several of unequal length
def test_the_products_have_the_operations_of_the_floor(
    shape: Shape, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "BLOCK_BYTES", most)
    assert sum(study.pieces(shape, 7)) == 7
    with FlopCounterMode(display=False) as counted:
        study.of_all_steps(shape, 7)()
        study.of_each_step(shape, 7)()
    assert counted.get_total_flops() == shape.operations(7 * shape.B)
