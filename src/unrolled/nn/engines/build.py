"""Builds the native code ahead of its first use: `python -m unrolled.nn.engines.build`, part of set-up."""

import logging

from unrolled.nn.engines import native, passes


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    passes.library()
    if not native.reason_missing():  # if there is a reason, it has been logged, and training works without
        print(f"The native code is in {native.cache_dir()}.")


if __name__ == "__main__":
    main()
