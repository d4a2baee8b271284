"""What an iteration does so that it fits into the memory of a card."""
