"""What a test needs that may not be here."""

from __future__ import annotations

import os

import pytest


def needs(lacks: str, there: str) -> pytest.MarkDecorator:
    """Marks tests that are skipped where something lacks, which says what, and fail for it in CI."""
    return pytest.mark.skipif(bool(lacks) and "CI" not in os.environ, reason=lacks or there)
