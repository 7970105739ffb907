"""What the studies in experiments/ have in common: many runs of train.py, and a table that goes into a README."""
