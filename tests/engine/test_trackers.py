"""Trackers hold what metrics.jsonl and the evaluations say, each read back with its own reader, also after a stop."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from segshift.engine import train
from segshift.engine.execute import execute
from segshift.engine.logs import Reporter
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's models of its tables, with SQLAlchemy 2.1
]
TEST = "streets::test?size=64x32&count=2"
CHANGES = (
    "data.validation=streets::val?size=64x32&count=2",
    f"data.tests.clear day={TEST}",
    "training.save_every=4",  # checkpoints at 3, 4 and 6 of 6 steps
    "compute.trackers=[tensorboard, wandb, mlflow]",
)
Curves = Mapping[str, list[tuple[int, float]]]


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No account, no server, and no name that is ever looked up."""
    asked: list[Any] = []

    def refuse(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        raise OSError("no network in tests")

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
            patch.delenv(name)
        patch.setenv("WANDB_CONFIG_DIR", str(tmp_path_factory.mktemp("settings")))
        patch.setenv("NETRC", str(tmp_path_factory.getbasetemp() / "no-netrc"))
        for name, value in (("WANDB_ERROR_REPORTING", "false"), ("MLFLOW_DISABLE_TELEMETRY", "true")):
            patch.setenv(name, value)
            del os.environ[name]  # a tracker sets it; put back afterwards
        patch.setattr(socket, "getaddrinfo", refuse)
        yield
    assert asked == []


@pytest.fixture(scope="module")
def whole(tiny: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    """An undisturbed run with every tracker, and what it said."""
    console = Console(record=True, file=StringIO(), width=300)
    run = execute(tiny(*CHANGES), tmp_path_factory.mktemp("whole") / "run", reporter=Reporter(console))
    return run, console.export_text()


@pytest.fixture(scope="module")
def resumed(tiny: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run, which died after the figures of step 6 and before their checkpoint: it went on from step 4."""
    folder, save = tmp_path_factory.mktemp("broken") / "run", train._Session.save

    def dies(session: Any, name: str = "last") -> None:
        if session.stepper.position == 6 and name == "last":
            raise OSError("the disk is gone")
        save(session, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train._Session, "save", dies)
        with pytest.raises(OSError, match="the disk is gone"):
            execute(tiny(*CHANGES), folder)
    assert Run.open(folder).metrics()[-1]["position"] == 6
    return execute(tiny(*CHANGES), folder, resume=True)


def read_tensorboard(run: Run) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def read_mlflow(run: Run) -> Curves:
    client, found = mlflow_run(run)
    return {name: [(p.step, p.value) for p in client.get_metric_history(found.info.run_id, name)] for name in found.data.metrics}


def mlflow_run(run: Run) -> tuple[Any, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run.path.parent}/mlruns/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("segshift").experiment_id])
    return client, found


def wandb_records(run: Run) -> Iterator[Any]:
    """The records of the newest session: a log of LevelDB's format, in blocks of 32 KiB, after seven bytes of its own."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = (run.path / "wandb" / "latest-run").glob("*.wandb")
    content, at, record = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def read_wandb(run: Run) -> Curves:
    """Rows of the history, and what was set in the summary by hand: the tests."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    summary: dict[str, float] = {}
    step = 0
    for record in wandb_records(run):
        if record.WhichOneof("record_type") == "history":
            row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            step = row["_step"]
            for name in row.keys() - {"_step", "_runtime", "_timestamp"}:
                curves[name].append((step, row[name]))
        elif record.WhichOneof("record_type") == "summary":
            summary |= {item.key: json.loads(item.value_json) for item in record.summary.update if item.key.startswith("test/")}
    return {**curves, **{name: [(step, value)] for name, value in summary.items()}}


READERS = {"tensorboard": read_tensorboard, "wandb": read_wandb, "mlflow": read_mlflow}
NAMES = {
    ("step", "loss"): "train/loss",
    ("step", "lr"): "train/lr",
    ("epoch", "loss"): "train/epoch_loss",
    ("epoch", "miou"): "train/miou",
    ("epoch", "images_per_second"): "train/images_per_second",
    ("epoch", "epoch"): "epoch",
    ("validation", "loss"): "validation/loss",
    ("validation", "miou"): "validation/miou",
}


def expected(run: Run) -> Curves:
    """What metrics.jsonl and the evaluation hold, under the documented names."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in run.metrics():
        for key in line:
            if (line["event"], key) in NAMES:
                curves[NAMES[line["event"], key]].append((line["position"], line[key]))
    (evaluation,) = run.evaluations()
    curves["test/clear_day/miou"] = [(6, evaluation.record["miou"])]
    for name, iou in zip(evaluation.record["classes"], evaluation.record["iou"], strict=True):
        if iou is not None:
            curves[f"test/clear_day/iou/{name.replace(' ', '_')}"] = [(6, iou)]
    return curves


def equal(found: Curves, wanted: Curves, single: bool) -> bool:
    """Value by value; `single` where a reader gives numbers of 32 bits."""
    number = np.float32 if single else float
    rounded = {name: [(step, float(number(value))) for step, value in curve] for name, curve in wanted.items()}
    return {name: sorted(curve) for name, curve in found.items()} == rounded


@pytest.mark.parametrize("name", READERS)
def test_a_tracker_holds_what_the_run_folder_holds(name: str, whole: tuple[Run, str]) -> None:
    run, _ = whole
    wanted = expected(run)
    assert {"train/loss", "train/lr", "epoch", "validation/miou", "test/clear_day/miou", "test/clear_day/iou/traffic_light"} <= wanted.keys()
    assert [step for step, _ in wanted["train/loss"]] == [3, 6]
    assert equal(READERS[name](run), wanted, single=name == "tensorboard")


@pytest.mark.parametrize("name", READERS)
def test_a_resumed_run_shows_what_an_undisturbed_one_shows(name: str, whole: tuple[Run, str], resumed: Run) -> None:
    found, other = READERS[name](resumed), READERS[name](whole[0])
    speed = "train/images_per_second"  # no two runs have the same
    assert [step for step, _ in found[speed]] == [3, 6]
    assert {**found, speed: []} == {**other, speed: []}


def test_each_says_where_it_is(whole: tuple[Run, str]) -> None:
    run, said = whole
    assert f"tensorboard: tensorboard --logdir {run.path}/tensorboard\n" in said
    assert re.search(rf"wandb: offline; to upload it: wandb sync {run.path}/wandb/offline-run-\S+-{run.record['identity'][:16]}\n", said)
    assert f"mlflow: mlflow ui --backend-store-uri sqlite:///{run.path.parent}/mlruns/mlflow.db\n" in said
    assert "switched off" not in said


def test_each_knows_the_recipe_and_the_record(whole: tuple[Run, str]) -> None:
    run, _ = whole
    wanted = {
        "seed": 0,
        "optimizer.lr": 0.001,
        "data.size": "[32, 64]",
        "method.name": "supervised",
        "tuning.name": "all",
        "identity": run.record["identity"],
        "protocol": run.record["protocol"],
        "provenance.torch": run.record["provenance"]["torch"],
    }
    _, found = mlflow_run(run)
    assert found.info.run_name == "tiny"
    assert found.info.status == "FINISHED"
    assert {key: found.data.params[key] for key in wanted} == {key: str(value) for key, value in wanted.items()}

    (begun,) = [record.run for record in wandb_records(run) if record.WhichOneof("record_type") == "run"]
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert (begun.project, begun.display_name, begun.run_id) == ("segshift", "tiny", run.record["identity"][:16])
    assert {key: config[key] for key in wanted} == wanted
    assert [record.exit.exit_code for record in wandb_records(run) if record.WhichOneof("record_type") == "exit"] == [0]

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert {key: hparams[key].string_value or hparams[key].number_value for key in wanted} == wanted
