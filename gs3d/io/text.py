"""Text for files: names may hold bytes that are not UTF-8."""


def encodable(text: str) -> str:
    """`text` with an escape in place of what UTF-8 cannot hold.

    That is a byte of a file name in another encoding, which Python reads as a lone surrogate.
    """
    return text.encode("utf-8", "backslashreplace").decode()
