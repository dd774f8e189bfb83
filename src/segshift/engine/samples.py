"""What a few samples and the number of images tell before a model is built or a step is made."""

from __future__ import annotations

from segshift.engine.folder import Plan
from segshift.engine.loading import require_one_size
from segshift.engine.run import Run, evaluate_command
from segshift.errors import UserError
from segshift.methods import Method


def check_samples(plan: Plan) -> None:
    """Reads the first, the middle and the last sample of every domain, so that what is wrong with all of them is told before hours have passed.

    Raises DataError too where those that are learned from are of several sizes and would share a batch. Images that need not all be readable are left to
    the pass over them, which begins at once and counts.
    """
    for role, dataset in (*plan.datasets.items(), *plan.tests.items()):
        if plan.seen.get(role) is dataset and role in skips_unreadable(plan.method):
            continue
        samples = [dataset[index] for index in sorted({0, len(dataset) // 2, len(dataset) - 1})]
        if plan.seen.get(role) is dataset and plan.method.kind == "trains" and plan.recipe.data.size is None and plan.recipe.training.batch_size > 1:
            require_one_size(samples)


def skips_unreadable(method: Method) -> frozenset[str]:
    """The roles of which a method without training leaves out what cannot be read: a target whose labels it does not see."""
    return frozenset({"target"} if method.kind != "trains" and "target_labels" not in method.sees else ())


def describe_small(plan: Plan) -> list[str]:
    """A line for each domain that has fewer images than a batch."""
    batch = plan.recipe.training.batch_size
    labelled = [role for role in plan.seen if f"{role}_labels" in plan.method.sees]
    first = labelled[0] if labelled else list(plan.seen)[-1]  # an epoch is one pass over it
    small = {role: len(dataset) for role, dataset in plan.seen.items() if len(dataset) < batch}
    return [
        f"training.batch_size: {batch} is more than the {count} image{'s' * (count != 1)} of data.{role}: a batch is all of them"
        + (", and an epoch one step" if role == first else "")
        for role, count in small.items()
    ]


def describe_clashes(plan: Plan) -> list[str]:
    """A line for each test whose label an ancestor has for other images, with what its score is then compared with."""
    ancestors: list[Run] = []
    here: Run | None = plan.parent
    while here is not None:
        ancestors.append(here)
        try:
            here = here.parent()
        except UserError:
            here = None
    lines: list[str] = []
    labels = {name: label for label in plan.tests for name in plan.recipe.rounds_of(label)}
    for ancestor in ancestors:
        for other in ancestor.evaluations():
            dataset = plan.tests[labels[other.name]] if other.name in labels else None
            if dataset is None or dataset.fingerprint() == other.record["fingerprint"]:
                continue
            del labels[other.name]
            source = ancestors[-1]
            same = next((each.name for each in source.evaluations() if each.record["fingerprint"] == dataset.fingerprint()), None)
            wanted = evaluate_command(source, [(other.name, str(dataset.domain))])
            lines.append(
                f"test {other.name}: {ancestor.name} has this label for other images ({other.record['domain']}); "
                + (
                    f"compared with the score of {source.name} on the same images, which it calls {same}"
                    if same
                    else f"{source.name} has no score on these to compare with, which `{wanted}` gives"
                )
            )
    return lines
