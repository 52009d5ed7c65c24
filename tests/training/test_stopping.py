# SPDX-License-Identifier: MIT
"""Ctrl-C asks to stop; asked twice, it stops."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from hypersphere.training.stopping import stop_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_question_and_the_old_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_signals() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
    assert signal.getsignal(number) is before


def test_the_second_signal_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)

    def ask_twice() -> None:
        with stop_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        ask_twice()
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nobody_asks() -> None:
    found: list[bool] = []

    def work() -> None:
        with stop_signals() as asked:
            found.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
