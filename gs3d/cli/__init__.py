"""The command line: one file a command. The only place with tyro and rich."""
