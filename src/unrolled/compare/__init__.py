"""Comparing runs: tables, plots, significance, and curves over seeds for TensorBoard."""
