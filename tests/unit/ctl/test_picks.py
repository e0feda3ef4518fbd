"""Which tasks the words of a command line mean."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner, Result

from spoolmw.ctl import arrivals
from spoolmw.ctl.delivered import delivery_of
from spoolmw.ctl.main import program
from spoolmw.ctl.picks import pick, words_of
from spoolmw.ctl.session import Session
from spoolmw.ctl.show import task_record
from spoolmw.errors import SpoolmwError, UnknownTask
from spoolmw.model.ids import TaskId
from spoolmw.spooldir.layout import Layout, active_name
from tests.unit.ctl.conftest import Enter

ID = "0193f3a1b2c4" + "0" * 20
#: What Python makes of an argument with the bytes `x\\xff`.
NO_TEXT = "x\udcff"


def test_an_id_its_beginning_a_key_and_a_name_mean_the_task(
    session: Session, enter: Enter
) -> None:
    task = enter("fold-17", key="fold/17")
    other = enter("fold-18")
    for word in (task, task[:31] + task[31], "fold/17", "fold-17"):
        assert pick(session, [word]) == [task]
    assert pick(session, ["fold-18", task, "fold-17"]) == [other, task]


def test_a_word_that_means_nothing_says_so(session: Session, enter: Enter) -> None:
    enter()
    with pytest.raises(UnknownTask, match="no task nothing"):
        pick(session, ["nothing"])


@pytest.mark.parametrize("verb", ["show", "why", "tree", "log", "result", "wait", "votes"])
def test_an_argument_that_is_no_text_is_no_task(
    verb: str, layout: Layout, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "NOWHERE_S", 0.0)
    enter()
    told = CliRunner().invoke(program, ["--spool", str(layout.root), verb, NO_TEXT])
    assert told.exit_code == 1
    assert r"There is no task x\udcff." in told.stderr


@pytest.mark.parametrize("option", ["--name", "--box"])
def test_nothing_is_listed_for_an_argument_that_is_no_text(
    option: str, layout: Layout, enter: Enter
) -> None:
    enter()
    told = CliRunner().invoke(program, ["--spool", str(layout.root), "ls", option, NO_TEXT])
    assert (told.exit_code, told.stderr) == (0, "No tasks.\n")


def test_a_dropped_file_whose_name_is_no_text_is_known_by_it(
    session: Session, layout: Layout
) -> None:
    (layout.incoming / NO_TEXT).touch()
    with pytest.raises(UnknownTask, match="is no task yet"):
        pick(session, [NO_TEXT])


def test_a_name_that_several_have_is_no_order_to_change_them(
    session: Session, enter: Enter
) -> None:
    enter("twin")
    enter("twin")
    with pytest.raises(UnknownTask, match="means 2 tasks") as ambiguous:
        pick(session, ["twin"])
    assert "--name twin" in ambiguous.value.fix


def test_a_name_that_several_have_shows_the_newest(
    session: Session, enter: Enter, capsys: pytest.CaptureFixture[str]
) -> None:
    enter("twin", made_at=1.0)
    newest = enter("twin", made_at=2.0)
    assert pick(session, ["twin"], newest=True) == [newest]
    assert "2 tasks" in capsys.readouterr().err


def test_a_beginning_that_several_ids_have_is_never_enough(
    session: Session, enter: Enter
) -> None:
    first = enter()
    enter()
    with pytest.raises(UnknownTask, match="means 2 tasks"):
        pick(session, [first[:20]], newest=True)


def test_a_dropped_file_is_known_by_the_id_in_its_name(
    session: Session, layout: Layout
) -> None:
    (layout.incoming / f"fold-{ID}.task").touch()
    (layout.incoming / "job.sh").touch()
    assert pick(session, [f"fold-{ID}"]) == [ID]
    with pytest.raises(UnknownTask, match=r"job\.sh is no task yet"):
        pick(session, ["job.sh"])


def test_the_name_of_a_dropped_task_tells_of_it_and_changes_nothing(
    session: Session, layout: Layout
) -> None:
    (layout.incoming / f"fold-{ID}.task").touch()
    assert pick(session, ["fold"], newest=True) == [ID]
    with pytest.raises(UnknownTask, match="fold is no task yet"):
        pick(session, ["fold"])


def test_a_refused_task_has_no_result_to_wait_for(session: Session, layout: Layout) -> None:
    (layout.rejected / f"fold-{ID}.task").touch()
    (layout.rejected / f"fold-{ID}.task.reason").write_text("fold has 0 bytes.\n")
    with pytest.raises(SpoolmwError) as told:
        delivery_of(layout, task_record(session, ID))
    assert "fold has 0 bytes" in told.value.why
    assert "drop it again" in told.value.fix


def test_what_a_file_runs_that_was_not_taken_is_not_made_up(
    layout: Layout,
) -> None:
    (layout.incoming / f"fold-{ID}.task").touch()
    shown = CliRunner().invoke(program, ["--spool", str(layout.root), "show", "fold"])
    assert "not taken yet" in shown.stdout
    assert "runs" not in shown.stdout


@pytest.mark.parametrize("words", [["ls"], ["status"], ["show", "fold"], ["why", "fold"]])
def test_a_lost_journal_is_no_empty_one(words: list[str], layout: Layout, enter: Enter) -> None:
    def told() -> Result:
        return CliRunner().invoke(program, ["--spool", str(layout.root), *words])

    assert "missing" not in told().output, "a fresh spool has none yet"
    name = active_name(TaskId(enter("fold")), "", "fold")
    layout.journal.unlink()
    (layout.active / name).touch()
    lost = told()
    assert lost.exit_code == 2
    assert "spoolmw.db is missing" in lost.output
    assert "spoolmwd --rebuild" in lost.output


def test_stdin_gives_ids_or_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('one\n\n{"id": "two", "name": "x"}\n'))
    assert words_of(["zero", "-"]) == ["zero", "one", "two"]


@pytest.mark.parametrize("line", ['{"name": "x"}', "{broken", '{"id": 7}'])
def test_json_without_an_id_is_an_error(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    with pytest.raises(UnknownTask):
        words_of(["-"])


def test_the_name_of_a_result_file_means_its_task(session: Session, enter: Enter) -> None:
    task = enter("fold")
    assert pick(session, [f"fold-{task}.result", f"fold-{task}"]) == [task]
