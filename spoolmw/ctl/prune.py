"""The verb `prune`: remove what is old, now, where retention does not do it by itself."""

from __future__ import annotations

import click

from spoolmw.ctl.durations import DURATION
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import count, size


@verb(
    "prune",
    examples="""
    spoolmw-ctl prune --dry-run --results 30d
    spoolmw-ctl prune --results 30d --story 90d
    """,
)
@click.option(
    "--results", "results_s", type=DURATION, help="Delivered results older than this."
)
@click.option(
    "--story", "story_s", type=DURATION, help="Ended tasks and their events older than this."
)
@click.option(
    "--checkpoints",
    "checkpoints_s",
    type=DURATION,
    help="Checkpoints older than this of tasks that ended or are unknown.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would go.")
def prune_verb(
    session: Session,
    *,
    results_s: float | None,
    story_s: float | None,
    checkpoints_s: float | None,
    dry_run: bool,
) -> None:
    """Remove old results, the story of old tasks, old checkpoints.

    Open tasks and their files are never touched. [retention] in the configuration does the
    same by itself.
    """
    ages = {"results_s": results_s, "story_s": story_s, "checkpoints_s": checkpoints_s}
    if all(age is None for age in ages.values()):
        raise click.UsageError(
            "Say what is too old: --results AGE, --story AGE or --checkpoints AGE."
        )
    asked = {**ages, "dry_run": dry_run}
    answer = session.control().request("prune", asked)
    if session.screen.json:
        session.screen.record(answer)
        return
    would = "would go" if dry_run else "removed"
    if answer.get("more"):
        would += ", and more: these are the first"
    gone = [
        count(int(answer.get("results", 0)), "result"),
        count(int(answer.get("story", 0)), "task's story", "tasks' stories"),
    ]
    if checkpoints_s is not None:
        gone.append(
            count(int(answer.get("checkpoints", 0)), "task's checkpoints", "tasks' checkpoints")
        )
    session.screen.line(f"{', '.join(gone)} {would}; {size(answer.get('bytes', 0))}.")
