"""Bytes to model and back. Untrusted input is parsed once, here."""
