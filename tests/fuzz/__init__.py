"""Valid files and model folders with one field changed to a special value."""
