"""Commands about this machine and the built-in prior."""
