"""Metrics that need no classifier: geometry, residue, appearance and KID."""
