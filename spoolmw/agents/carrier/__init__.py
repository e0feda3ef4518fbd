"""The daemon's side of the carrier protocol (docs/carrier-protocol.md), over any stream of bytes."""
