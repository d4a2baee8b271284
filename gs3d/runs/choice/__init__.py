"""Runs that begin with several seeds and keep the best: rounds, scores and their record."""
