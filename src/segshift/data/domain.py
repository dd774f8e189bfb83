"""What a domain name means: data set, folder, split, filters and weather.

    NAME[:ROOT[:SPLIT]][?key=value&key=value][+weather...]

Without ROOT, data that lies in files is looked for in $SEGSHIFT_DATA/NAME.
A weather is `fog=0.02`, its physical parameter, or `fog@3`, a severity from 1 (least) on; several are applied from left to right.
In ROOT, SPLIT and values, `%` followed by two hexadecimal digits stands for one of `% : ? & = +` (`%3A` is a colon).
As a mapping: {name, root, split, any key, weather: {fog: 0.02} or {fog: {severity: 3}} or text}; there ROOT is taken as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segshift.data.catalog import DATASETS, FILTERS, Entry
from segshift.errors import DataError, unknown_name

GRAMMAR = "NAME[:ROOT[:SPLIT]][?key=value&key=value][+weather=value]"
RESERVED = "%:?&=+"


@dataclass(frozen=True)
class Condition:
    """A weather and its strength: the physical parameter, or a severity from 1 on."""

    name: str
    value: float
    severity: bool = False

    def __str__(self) -> str:
        return f"{self.name}{'@' if self.severity else '='}{short(self.value)}"


@dataclass(frozen=True)
class Domain:
    """A domain in parts; `filters` is sorted by key. `str()` gives the canonical name, which `parse_domain` reads back."""

    name: str
    root: str | None = None
    split: str | None = None
    filters: tuple[tuple[str, str], ...] = ()
    weather: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        head = ":".join([self.name, escape(self.root or ""), escape(self.split or "")]).rstrip(":")
        query = "&".join(f"{key}={escape(value)}" for key, value in self.filters)
        return "+".join([f"{head}?{query}" if query else head, *map(str, self.weather)])

    @property
    def entry(self) -> Entry:
        return DATASETS[self.name]


def parse_domain(domain: str | Path | Mapping[str, Any] | Domain) -> Domain:
    """The domain that a name, a folder's Path (`folder:PATH`) or a mapping stands for, checked against the tables of data sets and weathers.

    Raises DataError or UnknownNameError with the nearest name; no file is looked at.

    >>> str(parse_domain("streets::train?look=camera&first=040+fog=2e-2"))
    'streets::train?first=40&look=camera+fog=0.02'
    >>> str(parse_domain({"name": "streets", "look": "camera", "weather": {"fog": 0.02}}))
    'streets?look=camera+fog=0.02'
    >>> str(parse_domain(Path("trips/2:1")))
    'folder:trips/2%3A1'
    """
    if isinstance(domain, Path):
        domain = Domain("folder", root=str(domain))
    if isinstance(domain, Domain):
        return check(domain, str(domain))
    if isinstance(domain, str):
        return check(from_text(domain), domain)
    if isinstance(domain, Mapping):
        return check(from_mapping(domain), str(dict(domain)))
    raise DataError(f"a domain is text such as {GRAMMAR}, a folder's Path or a mapping, not {type(domain).__name__}")


def from_text(text: str) -> Domain:
    head, *weather = text.split("+")
    head, question, query = head.partition("?")
    name, *rest = head.split(":")
    if len(rest) > 2:
        raise DataError(f"domain {text!r}: more than two colons in {GRAMMAR}: write a colon in ROOT as %3A, or the domain as a mapping with `root`")
    filters = []
    for pair in query.split("&") if question else ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise DataError(f"domain {text!r}: {pair!r} after `?` is not key=value: {GRAMMAR}")
        filters.append((key, unescape(value)))
    root, split = ([unescape(part) or None for part in rest] + [None, None])[:2]
    return Domain(name, root, split, tuple(filters), tuple(conditions_of(weather)))


def from_mapping(mapping: Mapping[str, Any]) -> Domain:
    given = dict(mapping)
    name, root, split, weather = (given.pop(key, None) for key in ("name", "root", "split", "weather"))
    where = f"domain {dict(mapping)}"
    if not isinstance(name, str):
        raise DataError(f"{where}: needs `name`, one of {', '.join(sorted(DATASETS))}")
    for key, value in {"root": root, "split": split, **given}.items():
        if not isinstance(key, str) or isinstance(value, bool | Mapping | list) or (value is None and key in given):
            raise DataError(f"{where}: {key!r} takes text or a number, not {value!r}")
    filters = tuple((key, str(value)) for key, value in given.items())
    return Domain(name, str(root) if root else None, str(split) if split else None, filters, tuple(weather_of(weather, where)))


def weather_of(weather: Any, where: str) -> Iterator[Condition]:
    if isinstance(weather, str):
        weather = weather.split("+")
    if isinstance(weather, list) and all(isinstance(text, str) for text in weather):
        yield from conditions_of(weather)
    elif isinstance(weather, Mapping):
        for name, value in weather.items():
            severity = isinstance(value, Mapping) and set(value) == {"severity"}
            number = value["severity"] if severity else value
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise DataError(f"{where}: weather {name!r} takes a number, or {{severity: 3}}, not {value!r}")
            yield Condition(str(name), float(number), severity)
    elif weather is not None:
        raise DataError(f"{where}: `weather` takes {{fog: 0.02}}, {{fog: {{severity: 3}}}} or 'fog=0.02', not {weather!r}")


def conditions_of(texts: list[str]) -> Iterator[Condition]:
    for text in texts:
        found = re.fullmatch(r"([^=@]+)([=@])(.+)", text)
        try:
            value = float(found[3]) if found else math.nan
        except ValueError:
            value = math.nan
        if found is not None and found[1] in {*FILTERS, "depth", "refine", "sequence", "labels"}:
            raise DataError(f"weather {text!r}: {found[1]} is a key of the domain, it stands before the first `+`: {GRAMMAR}")
        if found is None or not math.isfinite(value):
            raise DataError(f"weather {text!r}: takes NAME=VALUE such as fog=0.02, or NAME@SEVERITY such as fog@3")
        yield Condition(found[1], value, found[2] == "@")


def check(domain: Domain, text: str) -> Domain:
    """The same domain with canonical values, or what is wrong with it."""
    if domain.name not in DATASETS:
        if domain.name and Path(domain.name).is_dir():
            raise DataError(f"domain {text!r}: to read the images of the folder {domain.name}, write folder:{domain.name}")
        raise unknown_name("data set", domain.name, DATASETS)
    entry = domain.entry
    if entry.layout is None and domain.root:
        raise DataError(f"domain {text!r}: data set {domain.name!r} has no folder: write {domain.name}::SPLIT")
    if domain.split and entry.splits and domain.split not in entry.splits:
        raise unknown_name(f"split of {domain.name!r}", domain.split, entry.splits)
    filters: list[tuple[str, str]] = []
    for key, value in sorted(domain.filters):
        if key not in entry.keys:
            raise unknown_name(f"key of data set {domain.name!r}", key, entry.keys)
        if filters and filters[-1][0] == key:
            raise DataError(f"domain {text!r}: key {key!r} is given twice: keep one")
        try:
            filters.append((key, entry.keys[key].canonical(value)))
        except ValueError as error:
            raise DataError(f"domain {text!r}: {key}={value} is not understood: {key} {error}") from None
    check_weather(domain.weather)
    return Domain(domain.name, domain.root or None, domain.split or None, tuple(filters), domain.weather)


def check_weather(weather: tuple[Condition, ...]) -> None:
    if not weather:
        return
    from segshift.weather import WEATHER  # imports torch, which a domain in clear weather does not need

    for condition in weather:
        name = condition.name
        if name not in WEATHER:
            raise unknown_name("weather", name, WEATHER)
        entry = WEATHER[name]
        if condition.severity:
            entry.value(condition.value)
        elif entry.unit is None:
            raise DataError(f"weather {condition}: {name} has severities alone, write {name}@1 to {name}@{len(entry.severities)}")
        elif not (math.isfinite(condition.value) and condition.value >= 0):
            raise DataError(f"weather {condition}: the value is a physical amount ({entry.unit}), 0 or above")
        elif condition.value > entry.most:
            raise DataError(f"weather {condition}: at most {entry.most:g} ({entry.unit})")
        elif entry.whole and not condition.value.is_integer():
            raise DataError(f"weather {condition}: the value is a whole number ({entry.unit})")
    names = [condition.name for condition in weather]
    if len(set(names)) < len(names):
        raise DataError(f"weather {'+'.join(map(str, weather))}: each weather once; add the values of the same one")


def short(value: float) -> str:
    """A number in few characters, without `+`, that reads back equal.

    >>> short(3.0), short(0.02), short(1e20)
    ('3', '0.02', '1e20')
    """
    return repr(float(value)).removesuffix(".0").replace("e+", "e")


def escape(text: str) -> str:
    return "".join(f"%{ord(c):02X}" if c in RESERVED else c for c in text)


def unescape(text: str) -> str:
    return re.sub("|".join(f"%{ord(c):02X}" for c in RESERVED), lambda found: chr(int(found[0][1:], 16)), text, flags=re.IGNORECASE)
