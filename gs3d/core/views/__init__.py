"""Which way cameras look: in words of prompts, and from inside a scene."""
