"""Files go from and to the disk: what is large takes no memory."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tests.boincfront.test_one import gets, together
from tests.support import fakework
from tests.support.boinclab import Lab

SIZE = 40 << 20


def memory_of(pid: int) -> int:
    """The most that it ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [each for each in lines if each.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


def with_a_large_file(parcel: bytes, data: bytes) -> bytes:
    """The same with its bytes behind it."""
    head, _, rest = parcel.partition(b"\n")
    told = json.loads(head)
    told["files"].append(["files/0", len(data)])
    return b"".join((json.dumps(told).encode(), b"\n", rest, data))


def test_a_large_input_and_a_large_output_take_no_memory(own: Lab) -> None:
    data = os.urandom(SIZE)
    digest = own.bench.input(data)
    wants = [{"name": "big", "sha256": digest, "bytes": SIZE}]
    work = own.bench.command("true", inputs=wants)
    name = own.launch(work)
    host = own.host()
    before = memory_of(own.pid)

    def spoil(told: dict[str, Any]) -> None:
        told["report"]["files"] = True
        told.update(files=[["big", 0o644, SIZE]], digests=[digest], bytes=SIZE)

    async def serve() -> None:
        job = await gets(host, name)
        files = await host.fetch(job)
        assert files[digest] == data
        errand = fakework.errand_of(files)
        ended = fakework.success(errand, "x")
        ended.files = [{"name": "big", "bytes": SIZE, "sha256": digest}]
        small = fakework.parcel(errand, ended, host="pc", spoil=spoil)
        made = with_a_large_file(small, data)
        assert await host.upload(job, made) == 0
        host.finish(job, made)
        await host.poll(seconds=0.0, instances=0.0)
        await host.close()

    together(serve)
    assert own.end_of(name)["outcome"] == "success"
    [stored] = own.bench.files(work).values()
    assert hashlib.sha256(stored).hexdigest() == digest
    assert memory_of(own.pid) - before < SIZE // 2
