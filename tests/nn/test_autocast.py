import pytest
import torch

from unrolled.nn.autocast import autocast_dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_precision_is_that_of_the_products_made_under_autocast(dtype: torch.dtype) -> None:
    x = torch.ones(2, 3)
    assert autocast_dtype("cpu") is None
    with torch.autocast("cpu", dtype=dtype):
        assert autocast_dtype("cpu") == (x @ x.T).dtype == dtype
        assert autocast_dtype("cuda") is None
        with torch.autocast("cpu", enabled=False):
            assert autocast_dtype("cpu") is None
    assert autocast_dtype("meta") is None
