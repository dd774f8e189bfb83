"""The examples of docs/data.md: its trees and mapping files are built in a temporary folder, and every domain on the page is opened there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from segshift.data.catalog import DATASETS, FILTERS
from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.domain import parse_domain
from segshift.data.mapping_file import CAMERA, KEYS, UNITS, read_mapping
from segshift.engine.sections import DataRecipe, StreamRecipe
from segshift.errors import UserError
from segshift.weather import FOG_PRESETS, WEATHER

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "data.md").read_text()
SIZE = (128, 256)
CITYSCAPES_CAMERA = {"intrinsic": {"fx": 400, "fy": 400, "u0": 128, "v0": 64}, "extrinsic": {"baseline": 0.2, "z": 1.2, "pitch": 0.04}}


def blocks(kind: str) -> list[str]:
    """The fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def rows(*heads: str) -> list[tuple[str, ...]]:
    """The rows of the table with these column heads, code marks taken off."""
    table = PAGE.partition(f"| {' | '.join(heads)} |\n")[2].partition("\n\n")[0]
    cells = [tuple(re.sub("^`([^`]*)`$", r"\1", cell.strip()) for cell in line.strip("|").split(" | ")) for line in table.splitlines()[1:]]
    assert cells, heads
    assert all(len(row) == len(heads) for row in cells)
    return cells


FILES = [line for block in blocks("text files") for line in block.split("\n") if line]
DOMAINS = [re.split(r"\s+# ", line) for block in blocks("text domains") for line in block.splitlines()]
MAPPINGS = dict(re.match(r"# (\S+\.yaml)\n(.*)", block, re.DOTALL).groups() for block in blocks("yaml") if re.match(r"# \S+\.yaml", block))
WRITTEN = re.findall(r"`((?:streets|camvid|cityscapes|folder)[:?+][^`]*)`", PAGE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's trees, each picture of the kind that its place and its mapping file say."""
    root = tmp_path_factory.mktemp("page")
    for path, text in MAPPINGS.items():
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
    for path in FILES:
        if not path.endswith(".yaml"):
            write(root / path, path)
    assert {path for path in FILES if path.endswith(".yaml")} == set(MAPPINGS)
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    if text.endswith(".json"):
        path.write_text(json.dumps(CITYSCAPES_CAMERA))
    elif "/depth/" in text or "/disparity/" in text:
        Image.fromarray(random.integers(300, 20000, SIZE).astype(np.uint16)).save(path)
    elif re.search("labels/|annot/|gtFine/|_gt/", text):
        Image.fromarray(random.choice(np.array(label_values(text), np.uint8), SIZE)).save(path)
    else:
        Image.fromarray(random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)


def label_values(text: str) -> list[int]:
    """What label files store, by the mapping file of their tree or the data set of its name."""
    folder = text.partition("/")[0]
    if f"{folder}/mapping.yaml" in MAPPINGS:
        given = yaml.safe_load(MAPPINGS[f"{folder}/mapping.yaml"])
        return [*given.get("ids", range(len(given["classes"]))), 255]
    space = DATASETS["camvid" if "camvid" in text else folder].classes
    assert space is not None
    return [*space.ids]


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    monkeypatch.setenv("SEGSHIFT_DATA", str(place))
    return place


def read(data: DomainDataset) -> None:
    """Reads every image in files, and the first of those that are drawn."""
    for index in range(1 if data.domain.name == "streets" else len(data)):
        sample = data[index]
        if data.labelled:
            assert sample.label is not None
            assert set(sample.label.unique().tolist()) <= {*range(len(data.label_space)), 255}


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain[0])
def test_every_domain_opens_with_the_images_that_the_page_says(domain: list[str], inside: Path) -> None:
    text, says = domain
    data = open_domain(text)
    said = re.fullmatch(r"(\d+) images?(?:: (.*)|, .*)?", says)
    assert said is not None
    assert len(data) == int(said[1])
    if said[2]:
        assert data.names == said[2].split(", ")
    read(data)


@pytest.mark.parametrize("text", WRITTEN)
def test_every_domain_in_a_sentence_is_understood_or_is_in_the_table_of_the_refused(text: str) -> None:
    if text not in dict(rows("written", "answer")):
        assert parse_domain(text)


@pytest.mark.parametrize(("text", "answer"), rows("written", "answer"))
def test_a_refused_domain_gets_the_answer(text: str, answer: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_domain(text)
    assert answer in str(caught.value)


def test_the_mapping_form_opens(inside: Path) -> None:
    forms = [yaml.safe_load(block) for block in blocks("yaml") if block.startswith("# a domain\n")]
    assert [len(open_domain(form)) for form in forms] == [1, 1]
    assert open_domain(forms[0]).domain == parse_domain("folder:trip%2B1/night%3A2")
    read(open_domain(forms[1]))
    assert parse_domain({**forms[1], "weather": {"fog": {"severity": 5}}}).weather[0].severity
    assert parse_domain({**forms[1], "weather": "fog=0.02"}) == parse_domain(forms[1])


def test_the_recipe_is_valid_and_its_domains_open(inside: Path) -> None:
    (given,) = [yaml.safe_load(block) for block in blocks("yaml") if block.startswith("# a recipe\n")]
    data = DataRecipe.model_validate(given["data"])
    assert [len(open_domain(name)) for name in (data.source, data.validation, *data.tests.values()) if name] == [4, 2, 2, 2]
    assert tuple(data.size or ()) == SIZE


def test_every_yaml_block_is_used() -> None:
    heads = [block.partition("\n")[0] for block in blocks("yaml")]
    assert all(head in ("# a domain", "# a recipe") or head.removeprefix("# ") in MAPPINGS for head in heads)
    fences = re.findall(r"^```(.+)$", PAGE, re.MULTILINE)
    assert set(fences) == {"text domains", "text files", "yaml", "python"}


def test_the_code_runs(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(compile(code, "data.md", "exec"), {})
    assert capsys.readouterr().out.startswith("['a_1', 'a_2', 'a_10', 'b_1'] ['a/0', 'a/0', 'a/1', 'b/0'] tensor([")


def test_the_whole_mapping_file_has_every_key_and_so_has_the_table(inside: Path) -> None:
    given = yaml.safe_load(MAPPINGS["city/mapping.yaml"])
    assert tuple(given) == KEYS
    assert set(given["camera"]) == set(CAMERA)
    table = {key: (takes, default) for key, takes, default in rows("key", "takes", "default")}
    assert tuple(table) == KEYS
    assert all(f"`{name}`" in table["camera"][0] for name in CAMERA)
    assert all(f"`{name}`" in table["depth"][0] for name in UNITS)
    entry = read_mapping(inside / "city/mapping.yaml", DATASETS["folder"])
    assert (entry.block, entry.classes.name if entry.classes else "") == (2, "my city")


def test_the_tables_of_data_sets_are_those_of_the_catalogue() -> None:
    table = {row[0].strip("*"): row[1:] for row in rows("data set", "classes", "images", "licence", "source")}
    places = rows("data set", "image", "label")
    expected: list[tuple[str, ...]] = []
    for name, entry in DATASETS.items():
        if entry.layout is None or entry.classes is None:
            continue
        counts = [f"{split} {count}{' (no labels)' if split in entry.unlabelled else ''}" for split, count in entry.counts.items()]
        sizes = ", ".join(entry.spaces) or str(len(entry.classes))
        assert table.pop(name) == (sizes, ", ".join(counts), entry.licence, entry.source.replace("`", ""))
        expected += [(name, layout.images, str(layout.labels)) for layout in (entry.layout, *entry.also)]
    assert not table
    assert places == expected
    lists = {name: entry.layout.listed for name, entry in DATASETS.items() if entry.layout is not None and entry.layout.listed}
    assert {name: pattern.strip("`").partition("`")[0] for name, pattern in rows("data set", "list of a split")} == lists


def test_the_filters_and_keys_are_all_there() -> None:
    own = {row[0]: row[1:] for row in rows("key", "of", "value", "default")}
    choices = {(key, name): choice for name, entry in DATASETS.items() for key, choice in entry.choices.items()}
    assert {key for key, _ in choices} | {"classes"} == set(own)
    for (key, name), choice in choices.items():
        assert re.search(rf"(^|`){name}(`|$)", own[key][0])
        assert own[key][2] == ("all" if choice.several else next(iter(choice.values)))
        assert key == "pattern" or all(f"`{value}`" in own[key][1] for value in choice.values)
    assert [row[0] for row in rows("key", "value", "leaves")] == ["sequence", *FILTERS]
    assert [row[0] for row in rows("key", "value", "default")] == list(DATASETS["streets"].options)
    assert [row[0] for row in rows("key", "value", "otherwise")] == ["depth", "refine"]
    assert all(f"**{name}**" in PAGE for name in DATASETS if name != "folder")


@pytest.mark.parametrize(("text", "stored", "expected"), rows("mapping file", "values in the file", "train ids"))
def test_label_values_become_the_train_ids_of_the_table(text: str, stored: str, expected: str, tmp_path: Path) -> None:
    values = np.array([[int(value) for value in stored.split()]], np.uint8)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        Image.fromarray(values).save(tmp_path / folder / "a.png")
    (tmp_path / "m.yaml").write_text(text)
    data = open_domain(f"folder:{tmp_path}?labels=m.yaml")
    if expected.startswith("label value"):
        with pytest.raises(UserError, match=expected):
            data[0]
    else:
        label = data[0].label
        assert label is not None
        assert label[0].tolist() == [int(value) for value in expected.split()]


@pytest.mark.parametrize(("text", "answer"), rows("mapping file", "answer"))
def test_a_refused_mapping_file_gets_the_answer(text: str, answer: str, inside: Path) -> None:
    (inside / "small/wrong.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        open_domain("folder:small?labels=wrong.yaml")
    assert answer in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_of_fog_is_that_of_the_code() -> None:
    page = (DOCS / "weather.md").read_text()
    found = re.findall(r"\| `fog@(\d)` \| ([\d.]+) \|", page)
    assert [(int(severity), float(beta)) for severity, beta in found] == list(enumerate(WEATHER["fog"].severities, start=1))
    assert all(f"| {name} |" in page for name in FOG_PRESETS)


def test_the_table_of_weathers_is_that_of_the_code() -> None:
    page = (DOCS / "weather.md").read_text()
    found = re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|((?: [\d.]* ?\|){5}) (\w+)", page, re.MULTILINE)
    severities = {name: tuple(float(cell) for cell in cells.split("|") if cell.strip()) for name, _, cells, _ in found}
    own = {name: weather for name, weather in WEATHER.items() if not name.startswith("c_")}
    assert severities == {name: weather.severities for name, weather in own.items()}
    assert [(unit.partition(":")[0], depth) for _, unit, _, depth in found] == [(weather.unit or "none", weather.depth) for weather in own.values()]


def test_the_code_about_weather_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "weather.md").read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "weather.md", "exec"), names)
    assert capsys.readouterr().out == "4 ['test_00000', 'test_00001']\n"
    made = [names[name] for name in ("foggy", "light", "dense", "rainy", "published", "dark", "snowy", "wet", "noisy")]
    assert all(picture.shape == names["image"].shape for picture in made)
    assert not any(bool((picture == names["image"]).all()) for picture in made)


@pytest.mark.parametrize("page", ["tuning.md", "test-time.md"])
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sentinel/summer").mkdir(parents=True)
    for name, size in (("a", (40, 48)), ("b", (48, 40))):
        np.save(tmp_path / f"sentinel/summer/{name}.npy", np.random.default_rng(0).integers(0, 10000, (12, *size), dtype=np.uint16))
    for code in re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(code, page, "exec"), {})


def test_the_stream_of_the_page_is_the_default() -> None:
    (text,) = re.findall(r"^```yaml\n# stream.*?\n(.*?)^```", (DOCS / "test-time.md").read_text(), re.DOTALL | re.MULTILINE)
    assert StreamRecipe(**yaml.safe_load(text)["stream"]) == StreamRecipe()
