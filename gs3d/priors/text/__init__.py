"""Text of models with several encoders: their embeddings in one tensor, and checks of encoders."""
