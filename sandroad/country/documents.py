"""YAML files of a country, read so that every complaint names file, line and what would be right."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema_rs import Draft202012Validator

from sandroad.contracts import pointer

DEEPEST = 60
YAML = "tag:yaml.org,2002:"
PLAIN = {YAML + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


class CountryError(Exception):
    """A country's file cannot be played. ``complaints`` are lines of the form ``topology.yaml:12: …``."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = list(complaints)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's plain data as JSON knows it: a date stays the text that it is in the file."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != f"{YAML}timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


class Document:
    """One YAML file: its ``data``, and the line of each place in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as defect:
            raise CountryError([f"{path.name}: there is no such file in {path.parent}"]) from defect
        except UnicodeDecodeError as defect:
            line = path.read_bytes()[: defect.start].count(b"\n") + 1
            raise CountryError([f"{path.name}:{line}: byte {defect.start} is not UTF-8"]) from defect
        except OSError as defect:
            raise CountryError([f"{path.name}: {defect.strerror}"]) from defect
        loader = None
        try:
            _refuse_abyss(path.name, text)
            loader = _Loader(text)
            self._node = loader.get_single_node()
            if self._node is None:
                raise CountryError([f"{path.name}:1: the file is empty"])
            if complaints := [*self._unusable(self._node, set())]:
                raise CountryError(complaints)
            self.data: Any = loader.construct_document(self._node)
        except yaml.MarkedYAMLError as defect:
            line = defect.problem_mark.line + 1 if defect.problem_mark else 1
            raise CountryError([f"{path.name}:{line}: not YAML: {defect.problem}"]) from defect
        except yaml.reader.ReaderError as defect:
            line = text[: defect.position].count("\n") + 1
            raise CountryError([f"{path.name}:{line}: not YAML: {defect.reason}"]) from defect
        except (
            RecursionError,
            ValueError,
        ) as defect:  # PyYAML lets these through, for `!!int x` or thousands of brackets
            raise CountryError([f"{path.name}:1: not YAML that can be read: {defect}"]) from defect
        finally:
            if loader is not None:
                loader.dispose()

    def _unusable(self, node: Any, met: set[int]) -> Iterator[str]:
        """Yield what YAML allows and a reader would fall over: a key twice, a key that is no text, a value that JSON has not."""
        place = f"{self.path.name}:{node.start_mark.line + 1}"
        if id(node) in met:
            yield f"{place}: an alias (*) is not read here, as it could stand for itself; write the value out"
            return
        met.add(id(node))
        if node.tag not in PLAIN or (node.tag == f"{YAML}float" and node.value.lower().endswith((".inf", ".nan"))):
            yield f"{place}: {str(node.value)[:40]!r} is no text, number, true, false, null, list or object"
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if key.tag != f"{YAML}str":
                    shown = key.value if isinstance(key, yaml.ScalarNode) else "it"
                    yield f'{self.path.name}:{key.start_mark.line + 1}: a key has to be text: put {shown} in quotes ("…")'
                elif key.value in keys:
                    yield f"{self.path.name}:{key.start_mark.line + 1}: {key.value} stands here twice; the first would be lost"
                keys.add(str(key.value))
                yield from self._unusable(value, met)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                yield from self._unusable(value, met)

    def line(self, *path: Any) -> int:
        """Return the line (from 1) of the deepest part of ``path`` that exists."""
        node = self._node
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            node = found
        return (node.start_mark.line + 1) if node is not None else 1

    def complaint(self, what: str, *path: Any) -> str:
        """Return ``file:line: what``."""
        return f"{self.path.name}:{self.line(*path)}: {what}"

    def check(self, schema: Mapping[str, Any]) -> None:
        """Hold the file to a JSON schema; raise ``CountryError`` with every complaint.

        What would be right is the ``description`` of the schema's part that was broken, where it has one.
        """
        found = [
            (self.line(*error.instance_path), f"{pointer(error.instance_path) or '/'}: {_sentence(error, schema)}")
            for error in Draft202012Validator(dict(schema)).iter_errors(self.data)
        ]
        if found:
            raise CountryError([f"{self.path.name}:{line}: {what}" for line, what in sorted(found)])


def _refuse_abyss(name: str, text: str) -> None:
    """Raise before anything recurses: a few hundred thousand brackets would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise CountryError([f"{name}:{line}: nested more than {DEEPEST} deep"])


def _sentence(error: Any, schema: Any) -> str:
    for part in error.schema_path[:-1]:
        schema = schema[part]
    meant = schema.get("description", "") if isinstance(schema, Mapping) else ""
    said = error.message if len(error.message) <= 240 else error.message[:120] + " … " + error.message[-119:]
    return f"{said}: {meant}" if meant else said


def _child(node: Any, part: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None
