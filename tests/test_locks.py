"""Locks after a fork: the threads that held them are not in the child."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from skchallenge.embed._built import Built
from skchallenge.embed._frame_model import FrameNetwork

from skchallenge._locks import ForkSafeLock
from skchallenge._torch import isolated_rng
from skchallenge.datasets import _catalog
from skchallenge.embed import _database

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    # Python 3.12 warns of any fork beside threads.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]


def status_of_child(work):
    """Return how a fork ends that does `work`: 0, or SIGALRM if it waits for ever."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def enter(lock):
    with lock:
        pass


def of_a_model():
    built = Built()
    return lambda hold: built.get("token", hold)


def of_an_engine():
    network = FrameNetwork(torch.nn.Identity())
    return lambda hold: network.engine("key", hold)


def of_torch():
    def work(hold):
        with isolated_rng(torch.device("cpu"), 0):
            hold()

    return work


def of_the_catalog():
    def work(hold):
        with _catalog._appending:
            hold()

    return work


def of_the_store():
    def work(hold):
        with _database._mutex:
            hold()

    return work


@pytest.mark.parametrize(
    "make", [of_a_model, of_an_engine, of_torch, of_the_catalog, of_the_store]
)
def test_a_child_does_not_wait_for_a_thread_of_its_parent(make):
    work, held, is_over = make(), threading.Event(), threading.Event()

    def hold():
        held.set()
        return is_over.wait(60)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(work, hold)
        assert held.wait(60)
        status = status_of_child(lambda: work(lambda: True))
        is_over.set()
        holder.result()
    assert status == 0
    work(lambda: True)


def test_the_thread_that_forks_keeps_what_it_holds():
    lock = ForkSafeLock()

    def work():
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(enter, lock)
            with pytest.raises(TimeoutError):
                other.result(0.2)
            lock.__exit__()
            other.result()

    with lock:
        assert status_of_child(work) == 0
