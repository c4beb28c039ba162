"""Progress of long steps: told where the work is done, shown by whoever listens.

Who shows it is kept in a context variable, as Python's `decimal` keeps its precision: a step may
lie ten calls below the command, and of these none has to know.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Advance = Callable[[int], None]

# Gives, of a title and a number of steps, a context manager with a function to call with the
# number of steps done.
Listener = Callable[[str, int], AbstractContextManager[Advance]]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def shown_by(listener: Listener | None) -> Iterator[None]:
    """Has a listener told of all long steps within; nobody where it is None."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def is_shown() -> bool:
    """Whether somebody listens."""
    return _listener.get() is not None


@contextmanager
def steps(title: str, total: int) -> Iterator[Advance]:
    """Tells of a long step: gives a function to call with how many more of `total` are done.

    Examples:
        >>> with steps("pictures", total=100) as advance:
        ...     advance(50)
    """
    listener = _listener.get()
    if listener is None or total < 1:
        yield lambda number: None
    else:
        with listener(title, total) as advance:
            yield advance


def each(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """Gives the items one by one, each a step that is done when the next one is asked for."""
    with steps(title, total) as advance:
        for item in items:
            yield item
            advance(1)
