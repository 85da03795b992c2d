"""Whether the blocks agree: each fact that several of them keep must be the same everywhere (``agreement.yaml``)."""

from collections.abc import Callable, Iterator, Mapping
from string import Formatter
from typing import Any

from sandroad.country.documents import CountryError, Document
from sandroad.country.topology import Topology
from sandroad.running.client import Sandbox

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["datasets", "rules"],
    "additionalProperties": False,
    "properties": {
        "datasets": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["from", "key"],
                "additionalProperties": False,
                "properties": {
                    "from": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "string",
                            "pattern": "^[^/]+/.+$",
                            "description": "a source is PROCESS/DATASET such as civil-registry/population",
                        },
                    },
                    "key": {"type": "string"},
                },
            },
        },
        "rules": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["of", "by", "says"],
                "additionalProperties": False,
                "properties": {
                    "of": {"type": "string"},
                    "by": {"type": "string"},
                    "present": {"type": "string"},
                    "equal": {"type": "string"},
                    "mine": {"type": "string"},
                    "theirs": {"type": "string"},
                    "where": {"type": "object"},
                    "optional": {"type": "boolean"},
                    "says": {"type": "string"},
                },
                "oneOf": [{"required": ["present"]}, {"required": ["equal", "mine", "theirs"]}],
                "description": "a rule has either `present`, or `equal`, `mine` and `theirs`",
            },
        },
    },
}
Rows = dict[str, Mapping[str, Any]]


def read_rules(topology: Topology) -> Mapping[str, Any]:
    """Read ``agreement.yaml``; raise ``CountryError`` naming file and line of each defect."""
    document = Document(topology.folder / "agreement.yaml")
    document.check(SCHEMA)
    data, complaints = document.data, []
    apps = {app.name for _, app in topology.apps()}
    for name, dataset in data["datasets"].items():
        for i, source in enumerate(dataset["from"]):
            if source.split("/")[0] not in apps:
                complaints.append(
                    document.complaint(f"nobody runs {source.split('/')[0]}", "datasets", name, "from", i)
                )
    for i, rule in enumerate(data["rules"]):
        for key in ("of", "present", "equal"):
            if key in rule and rule[key] not in data["datasets"]:
                complaints.append(document.complaint(f"there is no dataset {rule[key]}", "rules", i, key))
        for key in ("mine", "theirs"):
            if key in rule and not _is_form(rule[key]):
                what = f"{rule[key]!r} is not of the form {{member}} {{member}}"
                complaints.append(document.complaint(what, "rules", i, key))
    if complaints:
        raise CountryError(complaints)
    return data


def _is_form(text: str) -> bool:
    """Tell whether a text can be filled in with a row's members: nothing but names stands in its braces."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        return False
    return all(name is None or (name.isidentifier() and not form and not turned) for _, name, form, turned in parts)


def disagreements(sandbox: Sandbox, say: Callable[[str], None]) -> Iterator[str]:
    """Yield one sentence per disagreement, naming the rule, the row and both values."""
    rules = read_rules(Topology.read(sandbox.country))
    datasets: dict[str, Rows] = {}
    for name, dataset in rules["datasets"].items():
        datasets[name] = _rows(sandbox, dataset)
        say(f"  {name}: {len(datasets[name])} rows from {', '.join(dataset['from'])}")
    for rule in rules["rules"]:
        yield from broken(rule, datasets)


def broken(rule: Mapping[str, Any], datasets: Mapping[str, Rows]) -> Iterator[str]:
    """Yield where one rule is broken. Pure."""
    others = datasets[rule.get("present") or rule["equal"]]
    for key, row in datasets[rule["of"]].items():
        if any(str(row.get(name)) != str(value) for name, value in rule.get("where", {}).items()):
            continue
        if rule.get("optional") and not row.get(rule["by"]):
            continue
        other = others.get(str(row.get(rule["by"], "")))
        if "present" in rule:
            if other is None:
                yield f"{rule['says']}: {rule['of']} {key} ({rule['by']} {row.get(rule['by'])})"
        elif other is not None:
            mine, theirs = rule["mine"].format_map(_Blank(row)), rule["theirs"].format_map(_Blank(other))
            if mine != theirs:
                yield f"{rule['says']}: {rule['of']} {key} has {mine!r}, {rule['equal']} has {theirs!r}"


class _Blank(dict[str, Any]):
    """A row whose missing members read as nothing."""

    def __missing__(self, key: str) -> str:
        return ""


def _rows(sandbox: Sandbox, dataset: Mapping[str, Any]) -> Rows:
    found: Rows = {}
    for source in dataset["from"]:
        app, name = source.split("/", 1)
        if sandbox.process(app).managed:
            for row in sandbox.steward(app).lines(f"/-/export/{name}"):
                if row.get(dataset["key"]):
                    found[str(row[dataset["key"]])] = row
    return found
