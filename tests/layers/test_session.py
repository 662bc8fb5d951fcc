from __future__ import annotations

import threading
import time

import pytest

from layers.digest import Digest
from layers.errors import Cancelled
from layers.limits import Limits
from layers.session import Session, Silent
from layers.store import ContentStore


@pytest.fixture
def session(tmp_path):
    return Session(ContentStore(tmp_path))


def test_a_session_has_limits_and_tells_nobody(session):
    digest = Digest.of(b"")
    assert session.limits == Limits()
    assert isinstance(session.observer, Silent)
    session.observer.layers_known([])
    session.observer.pulled(digest, 1)
    session.observer.unpacked(digest, 1)
    session.observer.layer_done(digest)
    session.observer.warn("something")


def test_every_session_has_a_brake_of_its_own(session):
    other = Session(session.store)
    session.stop.set()
    other.check()
    with pytest.raises(Cancelled):
        session.check()


def test_waiting_ends_when_the_time_is_over(session):
    began = time.monotonic()
    session.sleep(0.01)
    assert time.monotonic() - began >= 0.01


def test_waiting_ends_at_once_when_the_work_is_told_to_stop(session):
    timer = threading.Timer(0.05, session.stop.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        session.sleep(60)
    assert time.monotonic() - began < 30
    timer.join()
