"""Runs of a method that answers a stream: what it learns before the stream, the model that it arrives at (offline), and its tests (online)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from segshift.data.dataset import DomainDataset
from segshift.engine.answers import Answers
from segshift.engine.checkpoint import save_state
from segshift.engine.evaluate import evaluate_run
from segshift.engine.folder import Plan
from segshift.engine.guard import Guard, describe_trouble
from segshift.engine.loading import DomainPool, generator_of
from segshift.engine.logs import Reporter
from segshift.engine.run import Evaluation, Run
from segshift.methods import AdaBN, OnlineMethod
from segshift.methods.target_images import count_targets
from segshift.models import SegmentationModel
from segshift.models.layers import normalization_layers


def prepare_stream(run: Run, plan: Plan, method: OnlineMethod, pool: DomainPool, fresh: Callable[[], SegmentationModel], reporter: Reporter) -> dict[str, Any]:
    """What an online method does before its tests, with the run's last checkpoint as its result; gives what is worth recording.

    `method` has begun with a model; `fresh` builds it as it was before.
    """
    recipe = plan.recipe
    if first := method.sees - {"target"}:
        reporter.say(f"{recipe.method.name} learns from the {' and '.join(sorted(role.replace('_', ' ') for role in first))} first")
    done = dict(method.prepare(pool))
    state: dict[str, Tensor]
    if recipe.online:
        state, prepared = fresh().state_dict(), method.state_dict() if done else None
        done["said"] = f"touches {method.touches}"
        save_state(run.path / "last.safetensors", {"identity": run.record["identity"], "model": dict(state), "predictor": None, "method": prepared})
        return done
    guard = adapt_offline(method, plan, pool, fresh(), reporter)
    arrived = fresh()
    arrived.load_state_dict(method.model_state())
    layers = normalization_layers(arrived) if method.keeps else {}
    trouble = describe_trouble(guard.counts())
    counted, remarks = 0, [f"{trouble}: what they learned is taken back, try a smaller lr"] if trouble else []
    if layers:  # in the stream they followed their batches
        by_adabn = AdaBN(batch_size=recipe.together).adapt(arrived, pool)
        counted, remarks = by_adabn["layers_touched"], remarks + by_adabn["remarks"]
    done |= guard.counts() | {"remarks": remarks}
    statistics = f", then the statistics of {counted} of {len(layers)} batch norms" if layers else ""
    often = "once" if recipe.stream.rounds == 1 else f"{recipe.stream.rounds} times over"
    done["said"] = f"{method.touches} from {count_targets(pool)} target images, {often}{statistics}"
    save_state(run.path / "last.safetensors", {"identity": run.record["identity"], "model": dict(arrived.state_dict()), "predictor": None})
    return done


def adapt_offline(method: OnlineMethod, plan: Plan, pool: DomainPool, began: SegmentationModel, reporter: Reporter) -> Guard:
    """Passes the target through the method."""
    stream = plan.recipe.stream
    guard = Guard(method, began.eval(), stream.least_classes)
    count, batch_size = pool.sizes["target"], plan.recipe.together
    with reporter.task(f"{plan.recipe.method.name} on the target", count * stream.rounds):
        for round_ in range(stream.rounds):
            order = torch.randperm(count, generator=generator_of(plan.recipe.seed, round_)).tolist() if stream.order == "shuffled" else range(count)
            for batch in pool.load([("target", index) for index in order], batch_size):
                if stream.reset == "batch":
                    guard.reset()
                guard(batch.images)
                reporter.advance(len(batch))
    guard.settle(batch.images)
    return guard


def evaluate_stream(
    run: Run, tests: Mapping[str, DomainDataset], device: torch.device | str, reporter: Reporter, workers: int = 0, cache: str | None = None
) -> list[Evaluation]:
    """Tests an online run on domains one after the other, as often as its recipe says; with several rounds each has its own name."""
    answers = Answers(run, device)
    found = []
    for round_ in range(run.recipe.stream.rounds):
        for label, dataset in tests.items():
            name = run.recipe.rounds_of(label)[round_]
            found.append(
                evaluate_run(
                    run,
                    str(dataset.domain),
                    name,
                    device=device,
                    workers=workers,
                    reporter=reporter,
                    overwrite=True,
                    cache=cache,
                    answers=answers,
                    round_=round_,
                )
            )
    return found
