"""Command-line interface, one module per command. Only this package imports tyro and rich."""
