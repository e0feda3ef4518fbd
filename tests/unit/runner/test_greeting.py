"""What a keeper says first: it fits into a frame, however much there is to tell."""

from __future__ import annotations

from spoolmw.runner import greeting, wire


def test_a_hundred_thousand_reports_that_wait_can_be_told() -> None:
    many = range(100_000)
    ids = [f"{number:032x}" for number in many]
    told = {
        "event": "hello",
        "live": [f"{each}.0.1" for each in ids[:5000]],
        "outbox": [f"{each}.0.1" for each in ids],
        "died": [],
        "inputs": [each * 2 for each in ids],
        "values": ids,
        "active": [f"active/00/{each}~{'b' * 20}~{'n' * 200}" for each in ids],
        "checkpoints": {f"{each}/0": ["1-1", "1-2"] for each in ids},
    }
    bounded = greeting.bounded(told)
    assert len(wire.json_frame(bounded)) < wire.MAX_PAYLOAD
    assert all(bounded[key] == told[key] for key in ("live", "outbox", "died", "inputs"))
