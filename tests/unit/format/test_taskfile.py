"""The three forms of a dropped file, read from their beginning (threats 14 to 25)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from spoolmw.errors import BadTaskFile
from spoolmw.format.taskfile import (
    HEADER_BYTES,
    MAGIC,
    Incomplete,
    TaskFile,
    Template,
    canonical,
    read_header,
    write,
)
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import (
    Body,
    Checkpoint,
    Files,
    Input,
    Limits,
    Place,
    Resources,
    Retry,
    Run,
    Spec,
)

ID = TaskId("0123456789ab" + "0" * 20)
OTHER_ID = TaskId("f" * 32)
BODY = b"not a pickle, and nobody here looks"
DIGEST = hashlib.sha256(BODY).hexdigest()


def read(data: bytes, dropped: str, *, accepted: bool = False) -> TaskFile:
    return read_header(data[:HEADER_BYTES], size=len(data), dropped=dropped, accepted=accepted)


def refusal(data: bytes, dropped: str) -> BadTaskFile:
    with pytest.raises(BadTaskFile) as caught:
        read(data, dropped)
    assert not isinstance(caught.value, Incomplete)
    assert str(caught.value).replace("\n", "").isprintable()
    return caught.value


def a_task(**header: Any) -> bytes:
    return write({"id": ID, "name": "noop", **header}, BODY)


def raw_task(header: str | bytes, body: bytes = b"") -> bytes:
    line = header if isinstance(header, bytes) else header.encode()
    return MAGIC + line + b"\n" + body


# A .task


def test_a_task_of_the_helper_is_read_whole() -> None:
    data = a_task(
        key="fold/17", priority=3, place={"interpreter": "/v/python", "python": "3.11"}
    )
    taskfile = read(data, f"noop-{ID}.task")
    assert taskfile.spec == Spec(
        name="noop",
        key="fold/17",
        priority=3,
        place=Place(interpreter="/v/python", python="3.11"),
    )
    assert taskfile.id == ID
    assert taskfile.body == Body(codec="pickle", size_bytes=len(BODY), sha256=DIGEST)
    assert data[taskfile.body_offset :] == BODY
    assert taskfile.result_name == f"noop-{ID}"
    assert taskfile.submitted_at is None
    assert taskfile.header["key"] == "fold/17"


def test_all_sections_arrive_in_the_models_units() -> None:
    data = a_task(
        run={"env": {"OMP_NUM_THREADS": "1"}, "result": "safe"},
        resources={"cpus": 2, "memory": "2GB", "gpus": 1},
        limits={"time": "6h", "output": "1MiB"},
        retry={"max": 5, "backoff": "1m", "memory": "x1.5", "on": ["exit:75", "signal"]},
        place={"agents": ["local"], "platform": "linux-x86_64"},
    )
    spec = read(data, "x.task").spec
    assert spec.run == Run(env=(("OMP_NUM_THREADS", "1"),), result="safe")
    assert spec.resources == Resources(cpus=2, memory_bytes=2_000_000_000, gpus=1)
    assert spec.limits == Limits(time_s=21600.0, output_bytes=2**20)
    assert spec.retry == Retry(
        max=5, backoff_s=60.0, memory_factor=1.5, on=("exit:75", "signal")
    )
    assert spec.place == Place(agents=("local",), platform="linux-x86_64")


def test_the_wishes_about_checkpoints_arrive() -> None:
    head = b"[run]\ncommand = ['fold']\n[checkpoint]\n"
    keys = b"every = '1m'\nexit_code = 75\nfiles = ['state.*', 'log/a']\nkeep = true\n"
    assert read(head + keys, "c.toml").spec.checkpoint == Checkpoint(
        asked=True, every_s=60.0, exit_code=75, files=("state.*", "log/a"), keep=True
    )
    assert read(head, "c.toml").spec.checkpoint == Checkpoint(asked=True)
    assert read(a_task(checkpoint={"every": 0}), "x.task").spec.checkpoint.every_s == 0
    assert read(a_task(), "x.task").spec.checkpoint == Checkpoint()


def test_a_script_may_ask_for_checkpoints_in_short() -> None:
    script = b'#!/bin/sh\n#SPOOLMW every = 5m\n#SPOOLMW checkpoint.files = ["state.*"]\n'
    assert read(script, "fold.sh").spec.checkpoint == Checkpoint(
        asked=True, every_s=300.0, files=("state.*",)
    )


def test_a_second_reading_and_a_script_keep_the_wishes_about_checkpoints() -> None:
    template = Template({"name": "noop", "checkpoint": {"every": "7s"}})
    for name, task_id in (("a", ID), ("b", OTHER_ID)):
        data = Template({"name": name, "checkpoint": {"every": "7s"}}).fill(task_id, b"one")
        assert read(data, "a.task").spec.checkpoint.every_s == 7.0
    assert read(template.fill(ID, b"x"), "a.task").spec.checkpoint.asked


def test_equal_tasks_share_their_sections() -> None:
    one = read(write({"id": ID, "name": "a", "limits": {"time": "6h"}}, b"1"), "a.task")
    two = read(write({"id": OTHER_ID, "name": "b", "limits": {"time": "6h"}}, b"22"), "b.task")
    three = read(b"[run]\ncommand = ['x']\n[limits]\ntime = '6h'\n", "c.toml")
    assert one.spec.limits is two.spec.limits is three.spec.limits
    assert one.spec.retry is two.spec.retry


def test_the_second_reading_of_a_like_header_says_the_same_as_the_first() -> None:
    template = Template({"name": "noop", "limits": {"time": "90s"}})
    first = template.fill(ID, b"one")
    second = template.fill(OTHER_ID, b"the second")
    read(first, "a.task")
    again = read(second, "b.task")
    assert again.id == OTHER_ID
    assert again.body.size_bytes == len(b"the second")
    assert again.spec.limits == Limits(time_s=90.0)
    assert again.result_name == "b"
    assert again.header["id"] == OTHER_ID


def test_a_name_alone_is_no_reason_to_confuse_two_tasks() -> None:
    read(write({"id": ID, "name": "first"}, b"1"), "a.task")
    assert read(write({"id": ID, "name": "second"}, b"1"), "a.task").spec.name == "second"


def test_a_command_needs_no_body() -> None:
    data = write({"id": ID, "name": "ls", "run": {"command": ["ls", "-l"]}}, b"")
    taskfile = read(data, "ls.task")
    assert taskfile.spec.run.command == ("ls", "-l")
    assert taskfile.body == Body()


def test_a_script_may_travel_in_a_task() -> None:
    script = b"#!/bin/sh\nexit 3\n"
    taskfile = read(write({"id": ID, "name": "x"}, script, codec="script"), "x.task")
    assert taskfile.spec.run.script
    assert taskfile.body.codec == "script"


def test_without_a_name_the_dropped_files_name_is_taken() -> None:
    taskfile = read(write({"id": ID}, BODY), "fold-17.task")
    assert taskfile.spec.name == "fold-17"


def test_the_name_may_be_left_out_and_the_id_too() -> None:
    data = raw_task('{"run": {"command": ["ls"]}}')
    assert read(data, "by hand.task").id is None


# What may still be arriving


@pytest.mark.parametrize("length", [0, 1, 14, 15, 40, 200])
def test_a_task_that_is_shorter_than_it_says_may_still_arrive(length: int) -> None:
    data = a_task()[:length]
    with pytest.raises(Incomplete, match=r"not whole|empty"):
        read(data, "x.task")


def test_every_beginning_of_a_task_is_incomplete_and_nothing_else() -> None:
    data = a_task()
    for length in range(len(data)):
        with pytest.raises(Incomplete):
            read(data[:length], "x.task")
    read(data, "x.task")


def test_a_task_that_is_longer_than_it_says_is_refused() -> None:
    assert "3 bytes follow the end" in str(refusal(a_task() + b"abc", "x.task"))


def test_a_known_header_does_not_hide_a_wrong_length() -> None:
    read(a_task(), "x.task")
    refusal(a_task() + b"abc", "x.task")
    with pytest.raises(Incomplete):
        read(a_task()[:-1], "x.task")


# What is refused: (header line, what the text must say)

BODY_TREE = {"codec": "pickle", "bytes": len(BODY), "sha256": DIGEST}


def header_with(**changes: Any) -> str:
    return json.dumps({"id": ID, "name": "noop", "body": BODY_TREE, **changes})


BAD_HEADERS: list[tuple[str | bytes, str]] = [
    ("{", "not JSON"),
    ("[]", "not a JSON object"),
    ("null", "not a JSON object"),
    ("[" * 60_000, "nested too deeply"),
    ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
    ('{"priority": ' + "9" * 5000 + "}", "not JSON"),
    ('{"priority": NaN}', "NaN is no number"),
    ('{"priority": -Infinity}', "-Infinity is no number"),
    ('{"name": "a", "name": "b"}', '"name" is there twice'),
    ('{"run": {"command": ["a"], "command": ["b"]}}', '"command" is there twice'),
    (b'{"name": "\xff"}', "not UTF-8"),
    (b'\xef\xbb\xbf{"name": "a"}', "byte-order mark"),
    (b'{"name": "a\x00b"}', "NUL"),
    (header_with(qourum=2), 'did you mean "quorum"'),
    (header_with(redundancy={}), "[redundancy] quorum"),
    (header_with(redundancy={"quorum": 2}, array="0-9"), "not built yet"),
    (header_with(redundancy={"quorum": 2, "validator": "python"}), "function that compares is"),
    (header_with(redundancy={"quorum": 2, "code": 1}), "no validator uses it"),
    (header_with(redundancy={"quorum": 2, "validator": "files"}), "a call leaves no files"),
    (
        header_with(redundancy={"quorum": 2, "validator": "python", "code": 10**6}),
        "does not end with so many bytes",
    ),
    (header_with(after="a"), 'write it as after = ["fold-16"]'),
    (header_with(after=["a", 1]), "value 2: a text was expected"),
    (header_with(after=["a" * 513]), "longer than 512"),
    (header_with(after=["a"] * 1001), "more than 1000"),
    (header_with(after_failed="ignore"), "possible are fail, hold"),
    (header_with(afetr=["a"]), 'did you mean "after"'),
    (header_with(after=["a"], takes=["a"]), "the id of a task was expected"),
    (header_with(takes=["0" * 32]), "not in `after`"),
    (header_with(predecessors=["0" * 32]), 'the key "predecessors" is unknown'),
    (header_with(checkpoint={"evry": "10m"}), 'did you mean "every"'),
    (header_with(checkpoint={"every": "10 minutes"}), "every"),
    (header_with(checkpoint={"exit_code": 0}), "not between 1 and 255"),
    (header_with(checkpoint={"exit_code": 256}), "not between 1 and 255"),
    (header_with(checkpoint={"files": ["../state"]}), "files"),
    (header_with(checkpoint={"files": ["x" * 100] * 41}), "4096 characters"),
    (header_with(checkpoint={"files": ["x"] * 65}), "more than 64 values"),
    (header_with(checkpoint={"keep": 1}), "true or false"),
    (header_with(checkpoint={"files": ["a"]}), "a Python call has no state files"),
    (header_with(checkpoint={"exit_code": 3}), "a Python call has no exit code"),
    (header_with(every="10m"), "write it into [checkpoint]"),
    (header_with(quorum=2), "[redundancy]"),
    (header_with(submitted_at=3), 'the key "submitted_at" is unknown'),
    (header_with(result_name="../x"), 'the key "result_name" is unknown'),
    (header_with(id=["a"]), "32 lowercase"),
    (header_with(id="../../../../etc/passwd"), "32 lowercase"),
    (header_with(id="A" * 32), "32 lowercase"),
    (header_with(id=True), "32 lowercase"),
    (header_with(name=""), "empty"),
    (header_with(name="a\nb"), "control"),
    (header_with(name="a\u202eb"), "control or invisible"),
    (header_with(name=7), "a text was expected, not a whole number"),
    (header_with(name="x" * 129), "longer than 128"),
    (header_with(key=""), "empty"),
    (header_with(priority=True), "not true or false"),
    (header_with(priority=1.0), "not a number with a fraction"),
    (header_with(priority="1"), "not a text"),
    (header_with(priority=10**12), "between"),
    (header_with(priority=None), "not null"),
    (header_with(run=[]), "a section was expected, not a list"),
    (header_with(run={"comand": ["a"]}), 'did you mean "command"'),
    (header_with(run={"result": "pickel"}), 'did you mean "pickle"'),
    (header_with(run={"env": {"A": 1}}), "a text was expected"),
    (header_with(run={"env": {"A=B": "1"}}), "no name of a variable"),
    (header_with(run={"env": {"SPOOLMW_TOKEN": "1"}}), "set by spoolmw itself"),
    (header_with(run={"env": {"A": "a\0b"}}), "NUL"),
    (header_with(run={"command": ["ls"]}), "both a command and a Python call"),
    (header_with(run={"command": "ls -l"}), "write the words apart"),
    (header_with(run={"command": []}), "the command is empty"),
    (header_with(run={"command": [""]}), "the command is empty"),
    (header_with(run={"command": ["a", 1]}), "value 2: a text was expected"),
    (header_with(run={"command": ["a", "b\0c"]}), "NUL"),
    (header_with(files={"outputs": ["a"]}), "a Python call has no output files"),
    (header_with(files={"outputs": ["../a"]}), "cannot be an output pattern"),
    (header_with(files={"inputs": ["a/../../b"]}), "cannot be an input file"),
    (header_with(files={"inputs": [{"name": "a"}]}), "not a section"),
    (header_with(resources={"cpus": 0}), "between 1 and"),
    (header_with(resources={"memory": "8"}), "not a number with a unit"),
    (header_with(resources={"memory": 8}), '"8B"'),
    (header_with(resources={"memory": "8Gb"}), "known are B"),
    (header_with(resources={"memmory": "8GB"}), 'did you mean "memory"'),
    (header_with(limits={"time": "10 minutes"}), "such as"),
    (header_with(limits={"time": 0}), "the time is not 0.001 s or more"),
    (header_with(limits={"time": "-1s"}), "such as"),
    (header_with(retry={"on": ["exit:0"]}), "exit:N"),
    (header_with(retry={"on": ["exit:256"]}), "exit:N"),
    (header_with(retry={"on": ["singal"]}), 'did you mean "signal"'),
    (header_with(retry={"on": "signal"}), "a list was expected"),
    (header_with(retry={"memory": 2}), 'write "x2"'),
    (header_with(retry={"memory": "x0.5"}), 'write "x2"'),
    (header_with(retry={"backoff": "2h"}), "between 0 and 3600"),
    (header_with(place={"python": 3.11}), "put it in double quotes"),
    (header_with(place={"python": "2.7"}), "minor version"),
    (header_with(place={"interpreter": "python3"}), "absolute path"),
    (header_with(place={"agents": ["-x"]}), "an agent's name"),
    (header_with(place={"platform": "Linux"}), "a platform"),
    (header_with(body={**BODY_TREE, "codec": "marshal"}), "possible are pickle, calls, script"),
    (header_with(body={**BODY_TREE, "bytes": -1}), "between"),
    (header_with(body={**BODY_TREE, "bytes": True}), "not true or false"),
    (header_with(body={**BODY_TREE, "sha256": "x"}), "sha256"),
    (header_with(body={**BODY_TREE, "sha265": DIGEST}), 'did you mean "sha256"'),
    (header_with(body={"codec": "pickle"}), '"bytes" is missing'),
    (header_with(body=None), "a section was expected"),
    ('{"name": "nothing"}', "nothing to run"),
]  # fmt: skip


def test_predecessors_are_read_each_once() -> None:
    known, other = "0" * 32, "fold-16"
    header = header_with(after=[other, known, other], after_failed="hold", takes=[known])
    data = raw_task(header, BODY)
    spec = read_header(data, size=len(data), dropped="x.task").spec
    assert spec.after == (other, known)
    assert (spec.after_failed, spec.takes) == ("hold", (known,))


def test_the_copy_in_active_says_whom_after_was_found_to_mean() -> None:
    data = raw_task(header_with(after=["fold-16", "later"]), BODY)
    parsed = read_header(data, size=len(data), dropped="x.task")
    known = (TaskId("a" * 32), TaskId(""))
    head = canonical(
        parsed,
        task_id=TaskId("b" * 32),
        name="x",
        submitted_at=1.0,
        result_name="x",
        predecessors=known,
    )
    copied = head + BODY
    again = read_header(copied, size=len(copied), dropped="x.task", accepted=True)
    assert again.predecessors == known
    assert again.spec.after == ("fold-16", "later")


@pytest.mark.parametrize(("header", "says"), BAD_HEADERS, ids=range(len(BAD_HEADERS)))
def test_a_bad_header_is_refused_and_the_reason_says_it(header: str | bytes, says: str) -> None:
    body = BODY if b'"body"' in raw_task(header) else b""
    error = refusal(raw_task(header, body), "x.task")
    assert says in str(error)
    assert "x.task was refused" in error.what
    assert error.fix


def test_the_reason_names_line_key_and_the_nearest_right_key() -> None:
    error = refusal(raw_task(header_with(limits={"tiem": "6h"}), BODY), "x.task")
    assert str(error) == (
        "x.task was refused, line 2: [limits] tiem.\n"
        'Why: the key "tiem" is unknown\n'
        'To do: did you mean "time"?'
    )


def test_a_hundred_thousand_keys_are_refused_by_the_headers_length() -> None:
    header = json.dumps({f"k{number}": 1 for number in range(100_000)})
    assert "longer than 64 KiB" in str(refusal(raw_task(header), "x.task"))


def test_another_first_line_is_no_task_file() -> None:
    assert "first line" in str(refusal(b"hello\n" + b"x" * 100, "x.task"))
    assert "first line" in str(refusal(b"\x80\x04N.", "x.task"))
    assert "first line" in str(refusal(b"SPOOLMW-TASK 1 \n{}\n", "x.task"))


def test_a_newer_version_is_refused_with_the_versions_that_are_known() -> None:
    error = refusal(b"SPOOLMW-TASK 2\n{}\n", "x.task")
    assert "version 2" in error.why
    assert "knows 1" in error.why


def test_hostile_names_are_escaped_in_the_reason() -> None:
    error = refusal(b"x", "\x1b[2Ja\nb.task")
    assert "\x1b" not in str(error)
    error = refusal(raw_task('{"\\u001b[31mkey": 1}'), "x.task")
    assert "\x1b" not in str(error)


def test_a_known_header_does_not_open_the_door_for_the_daemons_own_keys() -> None:
    tree = {"id": ID, "name": "n", "body": BODY_TREE, "submitted_at": 5.0}
    data = raw_task(json.dumps(tree), BODY)
    assert read(data, "x.task", accepted=True).submitted_at == 5.0
    refusal(data, "x.task")
    escaped = data.replace(b'"submitted_at"', b'"submitted\\u005fat"')
    assert read(escaped, "x.task", accepted=True).submitted_at == 5.0
    refusal(escaped, "x.task")


def test_a_key_that_repeats_one_of_the_fast_ways_beginning_is_refused() -> None:
    line = json.dumps({"id": ID, "name": "n", "body": BODY_TREE})
    doubled = f'{line[:-1]}, "id": "{OTHER_ID}"}}'
    for _ in range(2):  # also when it was seen before
        assert "twice" in str(refusal(raw_task(doubled, BODY), "x.task"))


# A script


def test_a_script_is_a_command_with_settings() -> None:
    script = (
        b"#!/bin/bash\n"
        b"#SPOOLMW name = fold-17\n"
        b'#SPOOLMW key = "fold/2026/17"\n'
        b"#SPOOLMW time = 10m\n"
        b"#SPOOLMW memory = 2GB   # as the last one\n"
        b"#SPOOLMW resources.cpus = 2\n"
        b"#SPOOLMW priority = -5\n"
        b'#SPOOLMW outputs = ["*.csv"]\n'
        b"#SPOOLMW retry.max = 0\n"
        b'#SPOOLMW env.OMP_NUM_THREADS = "1"\n'
        b"echo hello\n"
    )
    taskfile = read(script, "job.sh")
    assert taskfile.spec == Spec(
        name="fold-17",
        key="fold/2026/17",
        priority=-5,
        run=Run(script=True, env=(("OMP_NUM_THREADS", "1"),)),
        files=Files(outputs=("*.csv",)),
        resources=Resources(cpus=2, memory_bytes=2_000_000_000),
        limits=Limits(time_s=600.0),
        retry=Retry(max=0),
    )
    assert taskfile.body == Body(
        codec="script", size_bytes=len(script), sha256=hashlib.sha256(script).hexdigest()
    )
    assert taskfile.body_offset == 0
    assert taskfile.result_name == "job.sh"
    assert taskfile.id is None


def test_a_script_without_settings_has_its_files_name() -> None:
    spec = read(b"#!/bin/sh\nls\n", "job.sh").spec
    assert spec == Spec(name="job.sh", run=Run(script=True))


def test_the_body_of_a_script_may_be_any_bytes() -> None:
    script = b"#!/bin/sh\nexec tail -c 4 $0 | gunzip\n\x00\xff\xfe\x80"
    assert read(script, "archive").body.size_bytes == len(script)


def test_a_long_scripts_digest_is_left_to_who_has_it_all() -> None:
    script = b"#!/bin/sh\n" + b"echo\n" * 20_000
    assert read(script, "long.sh").body == Body(codec="script", size_bytes=len(script))


BAD_SCRIPTS: list[tuple[bytes, str, int]] = [
    (b"", "empty", 0),
    (b"echo hello\n", "its first line is no #!", 1),
    (b"\x7fELF\x02\x01", "its first line is no #!", 1),
    (b"#", "its first line is no #!", 1),
    (b"\xef\xbb\xbf#!/bin/sh\n", "byte-order mark", 1),
    (b"#!/bin/sh\r\nls\r\n", "dos2unix", 1),
    (b"#!\nls\n", "names no interpreter", 1),
    (b"#!/bin/sh\n#SPOOLMW tiem = 10m\n", 'did you mean "time"', 2),
    (b"#!/bin/sh\n\n#SPOOLMW qourum = 2\n", 'did you mean "quorum"', 3),
    (b"#!/bin/sh\n#SPOOLMW qourum = 2\n", 'did you mean "quorum"', 2),
    (b"#!/bin/sh\n#SPOOLMW redundancy.target = 2\n", "[redundancy] quorum", 0),
    (
        b"#!/bin/sh\n#SPOOLMW quorum = 2\n#SPOOLMW validator = 'python'\n",
        "function that compares is missing",
        3,
    ),
    (b"#!/bin/sh\n#SPOOLMW time\n", "no setting", 2),
    (b"#!/bin/sh\n#SPOOLMW: time = 1s\n", "no setting", 2),
    (b"#!/bin/sh\n#SPOOLMW time = 10 minutes\n", "double quotes", 2),
    (b"#!/bin/sh\n#SPOOLMW time = 10 \n", "", 0),
    (b"#!/bin/sh\n#SPOOLMW time = ten\n", "such as", 2),
    (b"#!/bin/sh\n#SPOOLMW cpus = 2\n#SPOOLMW resources.cpus = 4\n", "set twice", 3),
    (b"#!/bin/sh\n#SPOOLMW retry = 3\n", "retry.max", 2),
    (b"#!/bin/sh\n#SPOOLMW retry.max.more = 3\n", "a whole number was expected", 2),
    (b"#!/bin/sh\n#SPOOLMW a.b.c.d = 3\n", "is no key", 2),
    (b"#!/bin/sh\n#SPOOLMW .. = 3\n", "is no key", 2),
    (b"#!/bin/sh\n#SPOOLMW env.A = \"1\"\n#SPOOLMW env = {B = \"1\"}\n", "set twice", 3),
    (b"#!/bin/sh\n#SPOOLMW name = \"\xff\"\n", "not UTF-8", 2),
    (b"#!/bin/sh\n#SPOOLMW name = \"a\0b\"\n", "NUL", 2),
    (b"#!/bin/sh\n#SPOOLMW body = 3\n", 'the key "body" is unknown', 2),
    (b"#!/bin/sh\n#SPOOLMW python = 3.10\n", "double quotes", 2),
    (b"#!/bin/sh\n#SPOOLMW cpus = " + b"9" * 5000 + b"\n", "", 2),
    (b"#!/bin/sh\n#SPOOLMW name = " + b"[" * 20_000 + b"\n", "", 2),
    (b"#!/bin/sh\n" + b"echo\n" * 7000 + b"#SPOOLMW cpus = 2\n", "32 KiB", 7002),
    (b"SPOOLMW-TASK 1\n{}\n", "does not end in .task", 0),
]  # fmt: skip


@pytest.mark.parametrize(("script", "says", "line"), BAD_SCRIPTS, ids=range(len(BAD_SCRIPTS)))
def test_a_bad_script_is_refused_with_its_line(script: bytes, says: str, line: int) -> None:
    if not says and not line:
        read(script, "job.sh")  # a plain number of seconds is a time
        return
    error = refusal(script, "job.sh")
    assert says in str(error)
    assert (f"line {line}" in error.what) == bool(line)


# A .toml

TOML = b"""\
name = "fold-17"
[run]
command = ["./fold", "--seed", "17"]
env = { OMP_NUM_THREADS = "1" }
[files]
inputs = ["fold", "/data/shared.npz"]
outputs = ["*.csv", "out/*.npz"]
[limits]
time = "6h"
"""


def test_a_toml_is_a_command_with_arguments_and_files() -> None:
    taskfile = read(TOML, "fold.toml")
    assert taskfile.spec == Spec(
        name="fold-17",
        run=Run(
            command=("./fold", "--seed", "17"),
            env=(("OMP_NUM_THREADS", "1"),),
        ),
        files=Files(
            inputs=(Input("fold"), Input("/data/shared.npz")), outputs=("*.csv", "out/*.npz")
        ),
        limits=Limits(time_s=21600.0),
    )
    assert taskfile.result_name == "fold.toml"
    assert taskfile.body == Body()


def test_windows_line_ends_are_fine_in_a_toml() -> None:
    assert read(TOML.replace(b"\n", b"\r\n"), "fold.toml").spec.name == "fold-17"


BAD_TOMLS: list[tuple[bytes, str, int]] = [
    (b"", "empty", 0),
    (b"\n", "nothing to run", 0),
    (b"name = fold\n", "not TOML", 1),
    (b"[run]\ncommand = ['a']\n[run]\n", "not TOML", 3),
    (b"name = 'a'\nname = 'b'\n", "not TOML", 2),
    (b"\xef\xbb\xbfname = 'a'\n", "byte-order mark", 0),
    (b"name = 'a\xff'\n", "not UTF-8", 1),
    (b"name = 'a\x00'\n", "NUL", 0),
    (b"[run]\ncommand = ['a']\n[redundancy]\nquorum = 3\ntarget = 2\n", "3 results", 5),
    (b"[run]\ncommand = ['a']\n[redundancy]\nquorum = 2\nlimitt = 2\n", '"limit"', 5),
    (b"[run]\ncommand = ['a']\n\n[resources]\nmemory = '2Gb'\n", "known are B", 5),
    (b"[run]\ncommand = ['a']\n[limits]\ntime = 1979-05-27\n", "a date", 4),
    (b"[run]\ncommand = ['a']\nenv.A = 1\n", "a text was expected", 3),
    (b"[run]\ncommand = 'a'\n", "write the words apart", 2),
    (b"[run]\ncommand = ['a']\n[limits]\ntime = inf\n", "a time is between", 4),
    (b"[run]\ncommand = ['a']\n[limits]\ntime = nan\n", "a time is between", 4),
    (b"time = '10m'\n[run]\ncommand = ['a']\n", "write it into [limits]", 1),
    (b"id = '" + b"0" * 32 + b"'\n[run]\ncommand = ['a']\n", 'the key "id" is unknown', 1),
    (b"a" + b".a" * 30_000 + b" = 1\n", "too many dotted keys", 0),
    (b"x = " + b"[" * 30_000, "nested too deeply", 0),
    (b"priority = " + b"9" * 5000 + b"\n", "impossible value", 0),
    (b"#" * 70_000, "longer than 64 KiB", 0),
]  # fmt: skip


@pytest.mark.parametrize(("data", "says", "line"), BAD_TOMLS, ids=range(len(BAD_TOMLS)))
def test_a_bad_toml_is_refused_with_its_line(data: bytes, says: str, line: int) -> None:
    error = refusal(data, "x.toml")
    assert says in str(error)
    assert (f"line {line}" in error.what) == bool(line)


# The canonical copy


def test_what_lies_in_active_says_all_that_was_decided() -> None:
    dropped = read(TOML, "fold.toml")
    inputs = (Input("fold", "a" * 64, 5, True), Input("shared.npz", "b" * 64, 7))
    head = canonical(
        dropped,
        task_id=ID,
        name="fold-17",
        submitted_at=1763634000.25,
        result_name=f"fold.toml.{ID}",
        inputs=inputs,
    )
    again = read(head, "fold.toml", accepted=True)
    assert again.id == ID
    assert again.submitted_at == 1763634000.25
    assert again.result_name == f"fold.toml.{ID}"
    assert again.spec.files == Files(inputs=inputs, outputs=("*.csv", "out/*.npz"))
    assert again.spec.run == dropped.spec.run
    assert again.spec.limits == dropped.spec.limits


@pytest.mark.parametrize("size", [20, 100_000])
def test_a_script_becomes_a_task_with_its_text_as_body(size: int) -> None:
    script = b'#!/bin/sh\n#SPOOLMW cpus = 2\n#SPOOLMW command = ["one"]\n' + b"#" * size
    digest = hashlib.sha256(script).hexdigest()
    dropped = read(script, "job.sh")
    head = canonical(
        dropped, task_id=ID, name="job.sh", submitted_at=1.0,
        result_name="job.sh", body_sha256=digest,
    )  # fmt: skip
    again = read(head + script, "job.sh", accepted=True)
    assert again.spec == dropped.spec
    assert again.result_name == "job.sh"
    assert again.body == Body(codec="script", size_bytes=len(script), sha256=digest)


def test_a_canonical_copy_of_a_task_is_the_same_task() -> None:
    dropped = read(a_task(key="k", limits={"time": "6h"}), "x.task")
    head = canonical(dropped, task_id=ID, name="noop", submitted_at=2.0, result_name=f"x.{ID}")
    again = read(head + BODY, "x.task", accepted=True)
    assert again.spec == dropped.spec
    assert again.body == dropped.body
    assert again.result_name == f"x.{ID}"


@pytest.mark.parametrize("name", ["../x", ".x", "a/b", "", "x" * 130 + "/../y"])
def test_a_damaged_copy_cannot_name_a_result_elsewhere(name: str) -> None:
    tree = {"id": ID, "body": BODY_TREE, "submitted_at": 5.0, "result_name": name}
    with pytest.raises(BadTaskFile):
        read(raw_task(json.dumps(tree), BODY), "x.task", accepted=True)
