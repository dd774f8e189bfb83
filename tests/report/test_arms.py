"""Which runs are seeds of one arm, and how arms are told apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segshift.engine.run import Run
from segshift.report.arms import choose_styles, group_seeds

MakeRun = Callable[..., Run]


@pytest.mark.parametrize("names", [["a", "b (x 1)"], ["a (x 1)", "a (x 2)"], ["a (b/c)", "a (d/e)"], [f"{entry} (x {x})" for entry in "ab" for x in range(5)]])
def test_arms_that_no_axis_tells_apart_have_a_style_each(names: list[str]) -> None:
    styles = choose_styles(names)
    assert list(styles.legend) == list(styles.arms) == names
    assert len(set(styles.arms.values())) == len(names)


def test_the_first_axis_that_differs_is_the_dashes() -> None:
    names = [f"a (net n, size {size}, lr {lr})" for size in (1, 2) for lr in (3, 4)]
    assert list(choose_styles(names).legend) == ["a (net n, lr 3)", "a (net n, lr 4)", "size 1", "size 2"]
    assert len(set(choose_styles(names).arms.values())) == 4


def test_runs_of_one_name_and_seed_are_not_seeds(make_run: MakeRun) -> None:
    made = [make_run(f"{seed}{tuning}", seed=seed, tuning=tuning) for seed, tuning in ((0, "all"), (1, "all"), (1, "cl"))]
    for run in made:
        run.update(name="a")
    assert list(group_seeds(made)) == ["a (0all)", "a (1all)", "a (1cl)"]
