from __future__ import annotations

import pickle
import re

import pytest

from segshift.data.catalog import DATASETS, FILTERS, Entry
from segshift.data.domain import parse_domain

EXAMPLES = {
    "part": "1/2",
    "every": "2",
    "skip": "2",
    "first": "3",
    "sequence": "a",
    "look": "camera",
    "size": "64x32",
    "seed": "1",
    "count": "4",
    "labels": "m.yaml",
    "image": "picture",
    "label": "annotation",
    "depth": "plane",
    "refine": "none",
    "classes": None,  # the choices of the entry itself
}

over_entries = pytest.mark.parametrize(("name", "entry"), DATASETS.items(), ids=DATASETS)


@over_entries
def test_an_entry_says_what_a_user_must_know(name: str, entry: Entry) -> None:
    assert re.fullmatch("[a-z0-9_-]+", name)
    assert entry.summary
    assert entry.licence
    assert entry.split == next(iter(entry.splits), None)
    assert entry.source
    assert "\n" not in entry.summary
    assert set(FILTERS) <= set(entry.keys)
    assert all(option.summary for option in entry.keys.values())
    assert not set(entry.keys) & {"name", "root", "split", "weather"}, "a key would hide a part of the mapping form"


@over_entries
def test_an_entry_is_whole(name: str, entry: Entry) -> None:
    assert entry.split in (*entry.splits, None)
    assert entry.block is None or entry.sequence is not None
    assert entry.sequence is None or re.compile(entry.sequence).groups == 1
    assert {*entry.folders, *entry.unlabelled} <= set(entry.splits)
    assert set(entry.counts) == set(entry.splits)
    assert not entry.spaces or entry.classes is next(iter(entry.spaces.values()))
    assert not set(entry.choices) & {"split", "name", "classes", *entry.options, *FILTERS}
    if entry.layout is None:
        assert entry.classes is not None
        assert entry.split is not None
    else:
        for layout in (entry.layout, *entry.also):
            patterns = [pattern for pattern in (layout.images, layout.labels, layout.depth) if pattern]
            assert all(pattern.count("{name}") == 1 for pattern in patterns)
            known = {"split", "name", *(word for choice in entry.choices.values() for words in choice.values.values() for word in words)}
            assert {word for pattern in patterns for word in re.findall(r"{(.*?)}", pattern)} <= known
            assert not layout.rules or set(layout.rules) == set(entry.splits)
    assert pickle.loads(pickle.dumps(entry)).summary == entry.summary, "an entry travels to DataLoader workers"


@over_entries
def test_every_key_is_understood_and_refuses_nonsense(name: str, entry: Entry) -> None:
    root = "" if entry.layout is None else "root"
    for key, option in entry.keys.items():
        value = next(iter(entry.choices[key].values)) if key in entry.choices else EXAMPLES[key] or next(iter(entry.spaces))
        assert option.canonical(option.canonical(value)) == option.canonical(value)
        assert parse_domain(f"{name}:{root}:?{key}={value.replace(':', '%3A')}").filters == ((key, value),)
        with pytest.raises(ValueError, match=r"^takes "):
            option.canonical("")


@pytest.mark.parametrize(
    ("name", "image", "sequence"),
    [
        ("camvid", "0016E5_07959", "0016E5"),
        ("camvid", "0006R0_f00930", "0006R0"),
        ("cityscapes", "aachen/aachen_000000_000019", None),
        ("cityscapes", "hanover/hanover_000000_000164", None),
    ],
)
def test_sequence_rules(name: str, image: str, sequence: str | None) -> None:
    rule = DATASETS[name].sequence
    assert rule is not None
    found = re.search(rule, image)
    assert found is not None
    assert found[1] == (sequence or image.split("/")[0])
