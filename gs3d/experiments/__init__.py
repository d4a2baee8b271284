"""Many runs: methods, sweeps, grading and comparisons."""
