"""What makes the rows of a batch: processes on this machine, or a Ray cluster."""
