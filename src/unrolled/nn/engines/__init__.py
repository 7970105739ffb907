"""Engines: other ways to execute the recurrences of `unrolled.nn` than the eager unroll."""
