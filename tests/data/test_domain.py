from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segshift.data.catalog import DATASETS, Entry
from segshift.data.domain import Condition, Domain, parse_domain
from segshift.errors import DataError, UnknownNameError, UserError
from segshift.weather import WEATHER

# The forms that the design names, each with what it means.
FORMS = {
    "streets": Domain("streets"),
    "streets?look=camera+fog=0.02": Domain("streets", filters=(("look", "camera"),), weather=(Condition("fog", 0.02),)),
    "camvid:/data/camvid:val": Domain("camvid", "/data/camvid", "val"),
    "camvid:PATH:train?part=1/2&sequence=0001TP": Domain("camvid", "PATH", "train", (("part", "1/2"), ("sequence", "0001TP"))),
    "camvid::val": Domain("camvid", None, "val"),
    "streets::train?first=40": Domain("streets", None, "train", (("first", "40"),)),
    "folder:PATH?labels=mapping.yaml": Domain("folder", "PATH", None, (("labels", "mapping.yaml"),)),
    "streets::test+fog@3": Domain("streets", None, "test", (), (Condition("fog", 3.0, severity=True),)),
    "cityscapes:../city scapes/ü": Domain("cityscapes", "../city scapes/ü"),
}
VALUES = {
    "part": st.integers(1, 9).flatmap(lambda n: st.integers(1, n).map(lambda i: f"{i}/{n}")),
    "every": st.integers(1, 99).map(str),
    "skip": st.integers(2, 99).map(str),
    "first": st.integers(1, 10**6).map(str),
    "count": st.integers(1, 10**6).map(str),
    "seed": st.integers(0, 10**6).map(str),
    "look": st.sampled_from(["game", "camera"]),
    "size": st.tuples(st.integers(1, 4096), st.integers(1, 4096)).map(lambda size: f"{size[0]}x{size[1]}"),
    "labels": st.text(min_size=1),
    "image": st.text(min_size=1),
    "label": st.text(min_size=1),
    "depth": st.sampled_from(["plane", "./network", "some/network"]),
    "refine": st.sampled_from(["guided", "labels", "none"]),
    "sequence": st.lists(st.text(min_size=1).filter(lambda text: "," not in text), min_size=1, max_size=3).map(",".join),
}


def values_of(entry: Entry, key: str) -> st.SearchStrategy[str]:
    if key == "classes":
        return st.sampled_from(list(entry.spaces))
    if key not in entry.choices:
        return VALUES[key]
    values = list(entry.choices[key].values)
    several = st.lists(st.sampled_from(values), min_size=1).map(",".join) | st.just("all")
    return several if entry.choices[key].several else st.sampled_from(values)


@st.composite
def parts(draw: st.DrawFn) -> dict[str, Any]:
    """The parts of a domain; `Domain` is built in the test, because checked annotations draw at random, which strategies must not."""
    name = draw(st.sampled_from(sorted(DATASETS)))
    entry = DATASETS[name]
    root = draw(st.none() | st.text(min_size=1)) if entry.layout is not None else None
    split = draw(st.none() | (st.sampled_from(entry.splits) if entry.splits else st.text(min_size=1)))
    filters = draw(st.fixed_dictionaries({}, optional={key: values_of(entry, key) for key in entry.keys}))
    value = st.tuples(st.floats(0, 1), st.just(False)) | st.tuples(st.integers(1, 5).map(float), st.just(True))
    return {"name": name, "root": root, "split": split, "filters": filters, "fog": draw(st.none() | value)}


def build(parts: dict[str, Any]) -> Domain:
    weather = () if parts["fog"] is None else (Condition("fog", *parts["fog"]),)
    return Domain(parts["name"], parts["root"], parts["split"], tuple(parts["filters"].items()), weather)


@pytest.mark.parametrize("text", FORMS)
def test_the_designed_forms(text: str) -> None:
    assert parse_domain(text) == FORMS[text]
    assert str(FORMS[text]) == text


@given(parts())
def test_the_canonical_name_reads_back(parts: dict[str, Any]) -> None:
    given = build(parts)
    domain = parse_domain(given)
    assert parse_domain(str(domain)) == domain == parse_domain(domain)
    assert str(parse_domain(str(domain))) == str(domain)
    assert parse_domain(str(given)) == domain
    assert pickle.loads(pickle.dumps(domain)) == domain


@given(parts())
def test_the_mapping_form_is_the_same_domain(parts: dict[str, Any]) -> None:
    given = build(parts)
    mapping: dict[str, Any] = {"name": given.name, "root": given.root, "split": given.split, **dict(given.filters)}
    mapping["weather"] = {c.name: {"severity": c.value} if c.severity else c.value for c in given.weather}
    assert parse_domain(mapping) == parse_domain(given)


@given(st.text() | st.text("streetcamvid:?&=+@%/.123"))
def test_any_text_is_a_domain_or_a_clear_error(text: str) -> None:
    try:
        domain = parse_domain(text)
    except UserError:
        return
    assert parse_domain(str(domain)) == domain


@pytest.mark.parametrize(
    ("same", "text"),
    [
        ("streets?look=game&first=03", "streets?first=3&look=game"),
        ("streets::", "streets"),
        ("streets+fog=2e-2", "streets+fog=0.02"),
        ("streets+fog@3.0", "streets+fog@3"),
        ("camvid:a%3ab%2B%25:val", "camvid:a%3Ab%2B%25:val"),
        ("camvid:a?sequence=b,a,b", "camvid:a?sequence=a,b"),
        ("camvid:100%:val", "camvid:100%25:val"),
    ],
)
def test_spellings_of_one_domain(same: str, text: str) -> None:
    assert str(parse_domain(same)) == text


def test_a_mapping_takes_roots_numbers_and_weather_in_words() -> None:
    domain = parse_domain({"name": "camvid", "root": "C:/a+b?c", "split": "val", "first": 40, "weather": "fog=0.02"})
    assert domain == Domain("camvid", "C:/a+b?c", "val", (("first", "40"),), (Condition("fog", 0.02),))
    assert str(domain) == "camvid:C%3A/a%2Bb%3Fc:val?first=40+fog=0.02"
    assert parse_domain({"name": "streets", "weather": ["fog@2"]}) == parse_domain({"name": "streets", "weather": {"fog": {"severity": 2}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("street", r"unknown data set 'street': did you mean 'streets'\? Known: acdc, acdc-reference, .*streets"),
        ("", "unknown data set ''"),
        ("streets?lok=camera", "unknown key of data set 'streets' 'lok': did you mean 'look'"),
        ("camvid:a?look=camera", "unknown key of data set 'camvid' 'look'"),
        ("streets?sequence=a", "unknown key of data set 'streets' 'sequence'"),
        ("streets+fgo=0.02", r"unknown weather 'fgo': did you mean 'fog'\?"),
        ("streets::tets", r"unknown split of 'streets' 'tets': did you mean 'test'\? Known: test, train, val"),
    ],
)
def test_an_unknown_name_is_met_with_the_nearest(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        parse_domain(text)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ("streets:/data", "has no folder: write streets::SPLIT"),
        ("camvid:C:/data:val", "more than two colons in NAME.*as %3A, or the domain as a mapping"),
        ("streets?look", "'look' after `\\?` is not key=value"),
        ("streets?", "'' after `\\?` is not key=value"),
        ("streets?first=1&first=2", "key 'first' is given twice"),
        ("streets?first=0", "first=0 is not understood: first takes a whole number from 1"),
        ("streets?first=²", "first takes a whole number from 1"),
        ("streets?part=3/2", "part takes i/n"),
        ("streets?part=0/2", "part takes i/n"),
        ("streets?size=256", "size takes WIDTHxHEIGHT in pixels, such as 256x128"),
        ("streets?look=film", "look takes game or camera"),
        ("camvid:a?sequence=a,,b", "sequence takes a name, or several"),
        ("streets+fog", "weather 'fog': takes NAME=VALUE such as fog=0.02, or NAME@SEVERITY such as fog@3"),
        ("streets+fog=thick", "weather 'fog=thick': takes NAME=VALUE"),
        ("streets+fog=nan", "takes NAME=VALUE"),
        ("streets+fog=0.02+first=3", "first is a key of the domain, it stands before the first"),
        ("streets+fog=-1", "weather fog=-1: the value is a physical amount .beta per metre., 0 or above"),
        ("streets+fog@6", "severities are 1, 2, 3, 4, 5"),
        ("streets+fog@2.5", "severities are 1, 2, 3, 4, 5"),
        ("streets+rain_cityscapes@4", "rain_cityscapes of severity 4: severities are 1, 2, 3$"),
        ("streets+lens=2.5", "weather lens=2.5: the value is a whole number .drops.$"),
        ("streets+lens=1001", "weather lens=1001: at most 1000 .drops.$"),
        ("streets+fog=0.01+fog=0.02", "each weather once"),
        ("streets+", "weather '': takes NAME=VALUE"),
        ({"root": "a"}, "needs `name`, one of acdc"),
        ({"name": "streets", "first": True}, "'first' takes text or a number, not True"),
        ({"name": "streets", "weather": {"fog": "thick"}}, "weather 'fog' takes a number, or {severity: 3}"),
        ({"name": "streets", "weather": 3}, "`weather` takes {fog: 0.02}"),
    ],
)
def test_what_cannot_be_understood_says_what_can(domain: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_domain(domain)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weather", WEATHER)
def test_every_weather_has_both_forms(weather: str) -> None:
    assert parse_domain(f"streets+{weather}@1").weather == (Condition(weather, 1.0, severity=True),)
    if WEATHER[weather].unit is None:
        with pytest.raises(DataError, match=f"{weather} has severities alone, write {weather}@1 to {weather}@{len(WEATHER[weather].severities)}"):
            parse_domain(f"streets+{weather}=0.5")
    else:
        value = 4.0 if WEATHER[weather].whole else 0.5
        assert parse_domain(f"streets+{weather}={value}").weather == (Condition(weather, value),)
