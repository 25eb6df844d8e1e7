"""Keeps what others wrote from controlling a terminal."""

import json


def visible(text: str, stream) -> str:
    """Escapes, as JSON does, what would control a terminal, such as escape sequences and marks of the direction of reading."""
    if not stream.isatty():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else json.dumps(c)[1:-1] for c in text)
