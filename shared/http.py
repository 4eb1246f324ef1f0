"""Asking others by HTTP: what can go wrong on the wire."""

from __future__ import annotations

from typing import Final

import httpx

# A peer that vanishes while the connection is being made shows as an AttributeError from deep within anyio,
# which httpx lets through (seen with httpx 0.28 and anyio 4 on uvloop): no answer came, as with the others.
NO_ANSWER: Final = (httpx.HTTPError, AttributeError)
