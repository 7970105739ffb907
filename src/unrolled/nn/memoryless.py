"""A layer without recurrence, the control: a linear map of each token."""

from torch import Tensor, nn

from unrolled.nn.cells import State


class Memoryless(nn.Module):
    """One linear map per token, the same at every position: y_t = W x_t + b, with W (H, E) and b (H,).

    No state: a token's output depends on this token alone, so the order of the tokens changes nothing in a pooled
    vector, and reading a document in chunks changes neither values nor gradients. Whatever a recurrent encoder with
    the same embedding and pooling does better was added by recurrence.

    input_size: E; hidden_size: H, the width of the outputs.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.output_size = hidden_size  # D
        self.linear = nn.Linear(input_size, hidden_size)

    def initial_state(self, batch_size: int) -> State:
        """There is none: ()."""
        return ()

    def draw_weight_masks(self) -> None:
        """Nothing to draw: no weight is dropped."""

    def read(self, x: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """One chunk x (K, B, E): outputs (K, B, H) and ()."""
        return self.linear(x), ()

    def forward(self, x: Tensor) -> Tensor:
        """x (..., E) to (..., H)."""
        return self.read(x)[0]
