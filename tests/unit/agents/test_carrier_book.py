"""What a host was given: which file must go before which attempt."""

from __future__ import annotations

from spoolmw.agents.carrier.book import Book, Given

PATH = "active/ef/array~~t"


def given(book: Book, number: int) -> Given:
    [found] = book.enter([[{}, [f"task.0.{number}\ntoken\n{PATH}\0{number}\0{number}"]]])
    return found


def test_a_file_that_several_attempts_share_goes_once() -> None:
    book = Book()
    assert [book.places(given(book, n)) for n in (1, 2, 1)] == [True, False, False]


def test_it_goes_again_when_all_that_used_it_were_released_or_have_stopped() -> None:
    book = Book()
    for number in (1, 2):
        book.places(given(book, number))
    book.stopped(["task.0.1"])
    book.strike(["task.0.1"])
    assert not book.places(given(book, 3)), "the second one holds it still"
    book.strike(["task.0.2", "task.0.3", "unknown"])
    assert book.places(given(book, 4))


def test_it_goes_again_when_the_host_says_that_it_is_gone() -> None:
    book = Book()
    book.places(given(book, 1))
    book.file_is_gone(PATH)
    assert book.places(given(book, 2))
    book.strike(["task.0.1"])
    assert not book.places(given(book, 3)), "who held the old one does not count for the new"


def test_it_goes_again_on_a_new_connection() -> None:
    book = Book()
    book.places(given(book, 1))
    book.new_connection()
    assert book.places(given(book, 1))


def test_what_was_struck_is_not_known_any_more() -> None:
    book = Book()
    assert book.get(given(book, 1).attempt) is not None
    book.strike(["task.0.1"])
    assert book.get("task.0.1") is None
    assert book.get(["task.0.1"]) is None
