"""Which runs are seeds of one arm, and how arms are told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segshift.engine.read_recipe import validate_recipe
from segshift.engine.run import Run
from segshift.report.arms import choose_styles, group_seeds

MakeRun = Callable[..., Run]
SOURCE = {"data": {"source": "streets::train?first=9"}}


def with_recipe(run: Run, seed: int, content: dict[str, Any]) -> Run:
    """The run named `a`, with a recipe of this seed and content."""
    (run.path / "recipe.yaml").write_text(validate_recipe(SOURCE | content | {"seed": seed}).to_yaml())
    run.update(name="a")
    return Run.open(run.path)


@pytest.mark.parametrize("names", [["a", "b (x 1)"], ["a (x 1)", "a (x 2)"], ["a (b/c)", "a (d/e)"], [f"{entry} (x {x})" for entry in "ab" for x in range(5)]])
def test_arms_that_no_axis_tells_apart_have_a_style_each(names: list[str]) -> None:
    styles = choose_styles(names)
    assert list(styles.legend) == list(styles.arms) == names
    assert len(set(styles.arms.values())) == len(names)


def test_the_first_axis_that_differs_is_the_dashes() -> None:
    names = [f"a (net n, size {size}, lr {lr})" for size in (1, 2) for lr in (3, 4)]
    assert list(choose_styles(names).legend) == ["a (net n, lr 3)", "a (net n, lr 4)", "size 1", "size 2"]
    assert len(set(choose_styles(names).arms.values())) == 4


def test_only_runs_that_differ_by_seed_alone_are_seeds(make_run: MakeRun) -> None:
    made = [make_run(f"{seed}{tuning}", seed=seed, tuning=tuning) for seed, tuning in ((0, "all"), (1, "all"), (1, "cl"))]
    for run in made:
        run.update(name="a")
    found = group_seeds(made)
    assert {name: [run.path.name for run in arm] for name, arm in found.items()} == {"a tuning=all": ["0all", "1all"], "a tuning=cl": ["1cl"]}


def test_runs_of_one_recipe_and_seed_are_not_seeds(make_run: MakeRun) -> None:
    made = [make_run(folder, seed=seed) for folder, seed in (("one", 0), ("again", 0), ("two", 1))]
    for run in made:
        run.update(name="a")
    assert list(group_seeds(made)) == ["a (one)", "a (again)", "a (two)"]


def test_another_rate_is_another_arm(make_run: MakeRun) -> None:
    made = [with_recipe(make_run(f"{seed}-{lr}", seed=seed), seed, {"optimizer": {"lr": lr}}) for lr in (1e-3, 1e-4) for seed in (0, 1)]
    found = group_seeds(made)
    assert list(found) == ["a lr=0.001", "a lr=0.0001"]
    assert [[run.record["seed"] for run in arm] for arm in found.values()] == [[0, 1], [0, 1]]


def test_what_the_seed_decides_is_no_difference(make_run: MakeRun) -> None:
    def drawn(seed: int, draw: int) -> Run:
        content = {"tuning": {"name": "random-k", "k": 3, "draw": draw}, "data": {"source": f"streets::train?seed={seed}&first=9"}}
        return with_recipe(make_run(f"{seed}-{draw}", seed=seed, tuning="random-k"), seed, content)

    first = drawn(0, 0)
    assert [len(arm) for arm in group_seeds([first, drawn(1, 1)]).values()] == [2]
    assert [len(arm) for arm in group_seeds([first, drawn(1, 7)]).values()] == [1, 1]


def test_repairs_of_other_parents_are_other_arms(make_run: MakeRun) -> None:
    parents = [with_recipe(make_run(f"p-{lr}-{seed}", seed=seed), seed, {"optimizer": {"lr": lr}}) for lr in (0.1, 0.2) for seed in (0, 1)]
    made = [
        with_recipe(make_run(f"c{place}", parent=parent, seed=place % 2, method="tent"), place % 2, {"method": {"name": "tent"}, "data": {}})
        for place, parent in enumerate(parents)
    ]
    found = group_seeds(made)
    assert list(found) == ["a parent.lr=0.1", "a parent.lr=0.2"]
    assert [[run.path.name for run in arm] for arm in found.values()] == [["c0", "c1"], ["c2", "c3"]]


def repair(make_run: MakeRun, folder: str, seed: int, parent: Run) -> Run:
    return with_recipe(make_run(folder, parent=parent, seed=seed, method="tent"), seed, {"method": {"name": "tent"}, "data": {}})


def test_what_a_parent_is_called_is_no_difference(make_run: MakeRun) -> None:
    parents = [with_recipe(make_run(f"p{seed}", seed=seed), seed, {"optimizer": {"lr": 0.1}}) for seed in (0, 1)]
    for parent in parents:
        parent.update(name=f"source-{parent.record['seed']}")
    made = [repair(make_run, f"c{seed}", seed, parent) for seed, parent in enumerate(parents)]
    assert {name: [run.path.name for run in arm] for name, arm in group_seeds(made).items()} == {"a": ["c0", "c1"]}
    again = repair(make_run, "again", 0, parents[1])
    assert list(group_seeds([made[0], again])) == ["a parent=source-0", "a parent=source-1"]  # of one seed, so each by itself


def test_a_parent_s_name_stands_where_all_of_an_arm_have_it(make_run: MakeRun) -> None:
    rates = {f"source-{lr}-{seed}": (lr, seed) for lr in (0.1, 0.2) for seed in (0, 1)}
    parents = {name: with_recipe(make_run(name, seed=seed), seed, {"optimizer": {"lr": lr}}) for name, (lr, seed) in rates.items()}
    for name, parent in parents.items():
        parent.update(name=name)
    made = [repair(make_run, f"c-{name}", rates[name][1], parent) for name, parent in parents.items()]
    assert list(group_seeds(made)) == ["a parent.lr=0.1", "a parent.lr=0.2"]
    assert list(group_seeds(made[::2])) == ["a parent=source-0.1-0", "a parent=source-0.2-0"]
