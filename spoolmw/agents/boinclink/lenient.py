"""Reads the nearly-XML that BOINC clients write: a bounded tree of whatever was understood.

Clients put a program's stderr into a CDATA section as it is, so no strict parser reads their
reports. Here nothing is an error: what is no tag is text, what is not closed is closed at the end.
"""

from __future__ import annotations
