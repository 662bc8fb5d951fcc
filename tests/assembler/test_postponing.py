"""A signal within the block is handled at its end."""

from __future__ import annotations

import signal
import threading

import pytest

from assembler.postponing import postponed


class Ended(BaseException):
    pass


@pytest.fixture(autouse=True)
def handler():
    def handle(number, _frame):
        raise Ended(number)

    before = signal.signal(signal.SIGTERM, handle)
    yield handle
    signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_for_the_end_of_the_block(handler):
    done = []
    with pytest.raises(Ended) as caught, postponed():
        signal.raise_signal(signal.SIGTERM)
        done.append("all")
    assert caught.value.args == (signal.SIGTERM,)
    assert done == ["all"]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_an_error_in_the_block_goes_before_a_signal(handler):
    with pytest.raises(ZeroDivisionError), postponed():
        signal.raise_signal(signal.SIGTERM)
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is handler


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with postponed():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_have_no_signals_to_wait(handler):
    seen = []

    def work():
        with postponed():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [handler]
