"""What a person sees of a study."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from segshift.engine import logs
from segshift.study import view
from segshift.study.forward import ForwardingReporter
from segshift.study.jobs import Message
from segshift.study.runner import Running, Status
from segshift.study.view import StudyView, describe

ENTRY: Any = SimpleNamespace()


def test_a_run_is_described_by_its_task_its_images_and_the_time_left() -> None:
    assert describe(Running()) == "starts"
    assert describe(Running("epoch 2/4, loss 0.5", 30, 40, 125.0)) == "epoch 2/4, loss 0.5, 30/40 images, 2m 05s left"
    assert describe(Running("clear", 40, 40, 0.0)) == "clear, 40/40 images"


def test_time_left_counts_the_epochs_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(logs.time, "perf_counter", lambda: now[0])
    sent: list[Message] = []
    reporter = ForwardingReporter("a", sent.append)
    reporter.begin("epoch 1/3", 100, done=50, later=200)
    now[0] = 5.0
    reporter.advance(10, "loss 1.0")
    now[0] = 5.1
    reporter.advance(10, "loss 0.9")  # too early to be told
    now[0] = 15.0
    reporter.advance(10, "loss 0.8")
    first, second = sent
    assert first == Message("progress", "a", "epoch 1/3, loss 1.0", 60, 100, left=(100 - 60 + 200) * 5.0 / 10)
    assert second == Message("progress", "a", "epoch 1/3, loss 0.8", 80, 100, left=(100 - 80 + 200) * 15.0 / 30)


def test_plain_lines_say_what_begins_ends_and_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(view.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    status = Status(waiting=dict.fromkeys("bcd", ENTRY), running={"a": Running("epoch 1/2", 1, 8, 60.0)})
    with StudyView(Console(file=out, width=200), 4) as shown:
        shown.update(status)
        now[0] = 20.0
        shown.update(status)  # nothing new, and not yet time to repeat
        assert out.getvalue() == "begins: a\n"
        now[0] = 31.0
        shown.update(status)
        assert out.getvalue().splitlines()[1:] == ["a: epoch 1/2, 1/8 images, 1m 00s left"]
        status.running, status.done, status.seconds = {"b": Running()}, ["a"], {"a": 40.0}
        del status.waiting["b"]
        now[0] = 40.0
        shown.update(status)
        assert out.getvalue().splitlines()[2:] == ["begins: b", "done: a (40s); 1 of 4 done, 1 running, 2 waiting, about 2m 00s left"]
        shown.say("failed: [b]: no [bold]markup[/bold]")
    assert out.getvalue().splitlines()[-1] == "failed: [b]: no [bold]markup[/bold]"


def test_the_live_table_shows_what_runs_and_what_failed() -> None:
    out = io.StringIO()
    status = Status(waiting={"c": ENTRY}, running={"a": Running("epoch 1/2, loss 0.7", 1, 8, 60.0)}, failed={"b": "loss is nan"}, blocked={"d": "b"})
    shown = StudyView(Console(file=out, width=120), 4)
    shown.console.print(shown._table(status))
    text = " ".join(out.getvalue().split())
    assert text == "0 of 4 done, 1 running, 1 waiting, 1 failed, 1 blocked a epoch 1/2, loss 0.7, 1/8 images, 1m 00s left b failed: loss is nan"
