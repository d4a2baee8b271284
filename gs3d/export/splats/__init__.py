"""Splat formats: readers and writers, and what they all ask of splats."""
