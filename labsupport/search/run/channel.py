"""How a value from the middle of a training reaches the main process, wherever the training is.

In the same process it is put into a queue; from a worker process it comes by a socket of this machine; from a Dask
worker by its scheduler's events. `report` does not return before the value is under way, so it arrives before the
result does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from queue import SimpleQueue
from typing import Any, NamedTuple

from torch import Tensor

from labsupport.search.contract import Trial
from labsupport.values import check_count, number

__all__ = ["Line", "here", "opened", "report", "sending"]

Message = tuple[int, int, float]  # the trial's number, the step, the value


class Line(NamedTuple):
    """What a worker must know to reach the main process: where that is, the line's name, an address and a secret."""

    home: tuple[str, int]
    name: str
    address: Any
    secret: bytes


_INBOXES: dict[str, SimpleQueue] = {}  # of the lines that end in this process
_SEND: ContextVar[tuple[Callable[[Message], Any], set[int]] | None] = ContextVar("send", default=None)
_LAST = 2**63 - 1  # a database knows no step beyond


def report(trial: Trial, step: int, value: float | Tensor) -> None:
    """Send a value from the middle of a trial to the study that asked it; outside of one nothing happens.

    Args:
        step: what the value was found at, in the unit of the trial's resource, >= 0; a step that is reported again
            replaces the value.
        value: a number, or a tensor of one; NaN is a value too.
    Raises:
        ValueError: step is no such integer or above 2⁶³ − 1, or the study asked another trial.
    """
    if (step := check_count("report", "step", step, at_least=0)) > _LAST:
        raise ValueError(f"report: step must be below 2**63, got {step}")
    if (found := _SEND.get()) is not None:
        send, numbers = found
        if trial.number not in numbers:
            raise ValueError(f"report: trial must be one that the objective was given, got {trial!r}")
        send((trial.number, step, number(value) if isinstance(value, Tensor) else float(value)))


def here() -> tuple[str, int]:
    """This machine and process."""
    return socket.gethostname(), os.getpid()


@contextlib.contextmanager
def opened(client: Any = None) -> Iterator[tuple[Line, SimpleQueue]]:
    """A line, and the queue in which its messages arrive; both end with this block.

    Args:
        client: the `distributed.Client` through which Dask's workers are heard; None where there are none.
    """
    arrived: SimpleQueue = SimpleQueue()
    name, secret = secrets.token_hex(16), secrets.token_bytes(32)
    with Listener(("127.0.0.1", 0), authkey=secret) as listener:
        line, ended = Line(here(), name, listener.address, secret), threading.Event()
        answers = threading.Thread(target=_accept, args=(listener, arrived, ended), daemon=True)
        answers.start()
        _INBOXES[name] = arrived
        if client is not None:
            client.subscribe_topic(name, lambda event: arrived.put(tuple(event[1])))
        try:
            yield line, arrived
        finally:
            ended.set()
            del _INBOXES[name]
            with contextlib.suppress(OSError, EOFError, AuthenticationError):
                Client(line.address, authkey=secret).close()  # wakes it
            answers.join(5)
            if client is not None:
                client.unsubscribe_topic(name)


@contextlib.contextmanager
def sending(line: Line | None, trials: tuple[Trial, ...]) -> Iterator[None]:
    """Within this block, `report` sends on this line what concerns these trials."""
    with contextlib.ExitStack() as stack:
        send = _sender(line, stack) if line is not None else None
        token = _SEND.set(send and (send, {trial.number for trial in trials}))
        try:
            yield
        finally:
            _SEND.reset(token)


def _sender(line: Line, stack: contextlib.ExitStack) -> Callable[[Message], Any] | None:
    if line.home == here():
        inbox = _INBOXES.get(line.name)
        return None if inbox is None else inbox.put
    if (worker := _dask_worker()) is not None:
        return lambda message: worker.log_event(line.name, list(message))
    connections: list[Connection] = []

    def send(message: Message) -> None:
        if not connections:
            connections.append(stack.enter_context(Client(line.address, authkey=line.secret)))
        connections[0].send(message)
        connections[0].recv()

    return send


def _dask_worker() -> Any:
    """The Dask worker that runs this; None where none does."""
    if "distributed" not in sys.modules:
        return None
    with contextlib.suppress(ValueError):
        return sys.modules["distributed"].get_worker()
    return None


def _accept(listener: Listener, arrived: SimpleQueue, ended: threading.Event) -> None:
    while not ended.is_set():
        with contextlib.suppress(OSError, EOFError, AuthenticationError):
            threading.Thread(target=_receive, args=(listener.accept(), arrived), daemon=True).start()


def _receive(connection: Connection, arrived: SimpleQueue) -> None:
    with connection, contextlib.suppress(OSError, EOFError):
        while True:
            arrived.put(connection.recv())
            connection.send(None)
