from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segshift.engine.run import Run
from segshift.report.folders import compare_folders

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]


def test_unfinished_runs_are_named_with_the_remedy(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12)})
    folder = source.path.parent
    assert compare_folders([folder]).notes == ()
    for name, status in (("slow", "running"), ("broken", "failed")):
        make_run(name, status=status)
    comparison = compare_folders([folder, folder / ".." / folder.name, source.path])  # each is named once
    assert [row.name for row in comparison.rows] == ["source"]
    (note,) = comparison.notes
    assert note.count("broken (failed), ") == note.count("slow (running);") == 1
    assert "--resume" in note
    assert compare_folders([source.path]).notes == ()  # nothing that was asked for is left out
