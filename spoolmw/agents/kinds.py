"""What an attempt needs, as its runner is told: the attempts of one launch that need the same share it."""

from __future__ import annotations

from typing import Any

from spoolmw.model.agent import Judging, Launch
from spoolmw.model.spec import Limits, Spec

_DEFAULT_OUTPUT_BYTES = Limits().output_bytes

Kind = dict[str, Any]


def kind_of(work: Launch) -> Kind:
    """What an attempt needs, as the runner is told; what has its default is left out."""
    spec = work.spec
    kind: Kind = {}
    if work.judging is not None:
        return {**_python(spec), "judge": _judge(work, work.judging)}
    if spec.run.script or spec.run.command:
        kind["command"] = True
    else:
        kind |= _python(spec)
    kind |= _room(work)
    if spec.limits.time_s:
        kind["time"] = spec.limits.time_s
    if spec.limits.output_bytes != _DEFAULT_OUTPUT_BYTES:
        kind["output"] = spec.limits.output_bytes
    if spec.checkpoint.asked:
        kind["checkpoint"] = _checkpoint(spec)
    if work.since:
        kind["since"] = work.since
    return kind


def _python(spec: Spec) -> Kind:
    return {"interpreter": spec.place.interpreter, "python": spec.place.python}


def _judge(work: Launch, judging: Judging) -> Kind:
    """What a validation compares; of the tolerances and words what its kind has."""
    validator = judging.validator
    told: Kind = {
        "results": [[e.replica, str(e.staged), e.trusted] for e in judging.candidates],
        "kind": validator.kind,
        "step": judging.step_s,
        "total": judging.total_s,
    }
    if validator.kind == "close":
        told |= {"rtol": validator.rtol, "atol": validator.atol}
    if validator.kind == "command":
        told["command"] = list(validator.command)
    if work.memory_bytes:
        told["memory"] = work.memory_bytes
    return told


def _room(work: Launch) -> Kind:
    kind: Kind = {}
    if work.spec.resources.cpus != 1:
        kind["cpus"] = work.spec.resources.cpus
    if work.spec.resources.gpus:
        kind["gpus"] = work.spec.resources.gpus
    if work.memory_bytes:
        kind["memory"] = work.memory_bytes
    return kind


def _checkpoint(spec: Spec) -> dict[str, Any]:
    """The wishes of a task with a [checkpoint] section; the last two are for commands."""
    wish = spec.checkpoint
    told: dict[str, Any] = {"every": wish.every_s}
    if spec.run.script or spec.run.command:
        told |= {"exit_code": wish.exit_code, "files": list(wish.files)}
    return told
