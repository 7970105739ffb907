"""What the scripts that are not Hydra's have in common."""

import sys
from collections.abc import Callable, Sequence

from unrolled.errors import UserError


def run_script(main: Callable[[Sequence[str]], None]) -> None:
    """Call ``main`` with the command line; a UserError becomes one message and exit status 2, Ctrl-C status 130."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader, such as `head`, has gone
        sys.stderr.close()  # or Python complains about standard output at exit
        raise SystemExit(0) from None
