"""Text as people type it: what is the same however it is spelt."""

from __future__ import annotations

import unicodedata
from typing import Final

# Letters that Unicode takes for letters of their own, as people without them on their keyboard type them.
_LETTERS: Final = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe"})


def plain(text: str) -> str:
    """Without case, diacritics, and space around it."""
    if text.isascii():
        return text.strip().lower()
    apart = unicodedata.normalize("NFKD", text.strip().casefold()).translate(_LETTERS)
    return "".join(c for c in apart if not unicodedata.combining(c))
