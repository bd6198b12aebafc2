"""Executors and their processes; and cases of a recipe, run here or by workers.

What fails is named at the end, what is done is kept.
"""

import contextlib
import importlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from types import ModuleType

from tqdm.auto import tqdm

from labsupport.experiments.recipes import Recipe, is_plain, read

__all__ = ["CaseError", "dumped", "end", "needed", "pool", "start_worker"]


class CaseError(ValueError):
    """Some cases failed, or their worker was killed; the first one's own error is the cause."""


Failed = list[tuple[dict, Exception]]


def run_case(path: Path, sha256: str, case: dict) -> dict:
    """What a case comes to. A worker calls it, in another process or on another machine: it reads the recipe there.

    Raises:
        ValueError: the recipe is another by now, or `run` returned what a table cannot hold.
    """
    recipe = read(path, sha256)
    if recipe.sha256 != sha256:
        raise ValueError(f"make: recipe must stay as it is while it runs, got a changed {path}")
    result = recipe.module.run(dict(case))
    if not isinstance(result, dict) or not all(isinstance(k, str) and is_plain(v) for k, v in result.items()):
        raise ValueError(f"make: run must return a dict of finite JSON scalars or lists of them, got {result!r}")
    if set(case) & set(result):
        raise ValueError(f"make: run must not return the case's own names, got {sorted(set(case) & set(result))}")
    return result


def start_worker() -> None:
    """What a worker process does first: Ctrl-C is left to its parent, and it ends when the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()


def pool(jobs: int, *, preload: str = __name__) -> ProcessPoolExecutor:
    """A new executor of so many processes, which end with this one; see `start_worker`.

    Args:
        preload: a module that the workers need. On Linux they are forked from a server that has imported it, so that a
            pool starts, and is made anew, in a moment; elsewhere they are spawned.
    """
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload([preload])
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=start_worker)


def end(executor: Executor, *, now: bool) -> None:
    """End an executor; with `now` its processes too, in the middle of what they do, and without waiting for threads."""
    children = list((getattr(executor, "_processes", None) or {}).values())
    for child in children if now else ():
        child.terminate()
    executor.shutdown(wait=bool(children) or not now)


def needed(where: str, name: str) -> ModuleType:
    """A package of the extra `cluster`, imported now.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{where}: {name} must be installed: pip install "adaptive-training[cluster]"', name=name
        ) from error


def dumped(where: str, function: Callable) -> bytes:
    """A function pickled for workers; lambdas, closures and what a notebook defines need the extra `cluster`.

    Raises:
        ModuleNotFoundError: they do, and it is not installed.
    """
    try:
        return needed(where, "cloudpickle").dumps(function)
    except ModuleNotFoundError:
        if getattr(function, "__module__", None) == "__main__":
            raise
        try:
            return pickle.dumps(function)
        except (pickle.PicklingError, AttributeError, TypeError):
            pass
        raise


def placed(jobs: int, address: str | None) -> contextlib.AbstractContextManager[Executor | None]:
    """Where cases are run: on so many processes, or on the cluster of that address."""
    if address is None:
        return processes(jobs)
    if jobs != 1:
        raise ValueError(f"table: JOBS must be left out where CLUSTER is given, got {jobs}")
    return cluster(address)


@contextlib.contextmanager
def processes(jobs: int) -> Iterator[Executor | None]:
    """Processes for so many cases at a time; None for one. They end with this block, however it ends."""
    if jobs < 1:
        raise ValueError(f"table: JOBS must be >= 1, got {jobs}")
    if jobs == 1:
        yield None
        return
    executor = pool(jobs)
    try:
        yield executor
    except BaseException:
        end(executor, now=True)
        raise
    executor.shutdown()


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """The workers of a Dask scheduler, which does a lost worker's cases again.

    Raises:
        ModuleNotFoundError: Dask is not installed.
        ValueError: no scheduler answers there.
    """
    distributed = needed("table", "distributed")
    try:
        client = distributed.Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"table: CLUSTER must be the address of a Dask scheduler that answers, got {address} ({error})"
        ) from error
    with client:
        yield client.get_executor()


def run(
    held: Recipe, cases: list[dict], executor: Executor | None, keep: Callable[[dict, dict], None], bar: tqdm
) -> Failed:
    """Runs cases and keeps each result as it comes.

    Args:
        held: the recipe; workers read it by its path.
        cases: those to run.
        executor: None runs them one after the other, here.
        keep: called, here, with each case and its result as it is finished.
        bar: moved on by one with each case.
    Returns:
        The cases that failed, each with its error.
    """
    failed: Failed = []
    if executor is not None:
        return _on(executor, held, cases, keep, bar)
    for case in cases:
        try:
            result = run_case(held.path, held.sha256, case)
        except (Exception, SystemExit) as error:
            failed.append((case, error))
        else:
            keep(case, result)
        bar.update()
    return failed


def _on(executor: Executor, held: Recipe, cases: list[dict], keep: Callable[[dict, dict], None], bar: tqdm) -> Failed:
    failed: Failed = []
    waiting: dict[Future, dict] = {}

    def settle(future: Future) -> None:
        case, error = waiting.pop(future), future.exception()
        if error is not None and not isinstance(error, (Exception, SystemExit)):
            raise error  # a worker's KeyboardInterrupt
        failed.append((case, error)) if error else keep(case, future.result())
        bar.update()

    try:
        for case in cases:
            try:
                waiting[executor.submit(run_case, held.path, held.sha256, case)] = case
            except BrokenExecutor as error:
                failed.append((case, error))
        for future in as_completed(list(waiting)):
            settle(future)
    finally:  # stopped: what is finished is kept, and no other case is begun
        for future in list(waiting):
            if not future.cancel() and future.done():
                settle(future)
    return failed


def refuse_failed(where: str, failed: Failed, rest: str) -> None:
    """Raise CaseError where cases failed: each is named, then `rest` says what is left."""
    if failed:
        killed = [case for case, error in failed if isinstance(error, BrokenExecutor)]
        lines = [f"{case}: {type(error).__name__}: {error}" for case, error in failed if case not in killed]
        lines += [f"a worker was killed (no memory left?) before these were done: {killed}"] if killed else []
        raise CaseError("\n  ".join([f"{where}: {len(failed)} cases failed; {rest}", *lines])) from failed[0][1]
