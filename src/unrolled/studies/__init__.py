"""Shared by the studies in experiments/: their command line, their runs of train.py, and the table in their README."""
