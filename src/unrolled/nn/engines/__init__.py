"""Engines: other ways to execute the recurrences of `unrolled.nn` than the eager unroll.

fused.py is the way in; by_hand.py holds the products over all steps, and one_step.py the single step, around the time
loops, which stand twice: recurrences.cpp, built by native.py, and reference.py, with the derivation. passes.cpp, called
through passes.py, is for what surrounds the recurrences: dropout, pooling, and the optimizer of an embedding's rows.
"""
