"""YAML files of a country, read so that every complaint names file, line and what would be right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema_rs import Draft202012Validator

from sandroad.contracts import pointer


class CountryError(Exception):
    """A country's file cannot be played. ``complaints`` are lines of the form ``topology.yaml:12: …``."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = list(complaints)


class Document:
    """One YAML file: its ``data``, and the line of each place in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as defect:
            raise CountryError([f"{path.name}: there is no such file in {path.parent}"]) from defect
        except UnicodeDecodeError as defect:
            raise CountryError([f"{path.name}: byte {defect.start} is not UTF-8"]) from defect
        except OSError as defect:
            raise CountryError([f"{path.name}: {defect.strerror}"]) from defect
        try:
            self._node = yaml.compose(text, Loader=yaml.SafeLoader)
            self.data: Any = yaml.safe_load(text)
        except yaml.MarkedYAMLError as defect:
            line = defect.problem_mark.line + 1 if defect.problem_mark else 1
            raise CountryError([f"{path.name}:{line}: not YAML: {defect.problem}"]) from defect
        except yaml.YAMLError as defect:
            raise CountryError([f"{path.name}: not YAML: {str(defect).splitlines()[0]}"]) from defect

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
        """Hold the file to a JSON schema; raise ``CountryError`` with every complaint."""
        found = [
            self.complaint(f"{pointer(error.instance_path) or '/'}: {error.message[:240]}", *error.instance_path)
            for error in Draft202012Validator(dict(schema)).iter_errors(self.data)
        ]
        if found:
            raise CountryError(sorted(found))


def _child(node: Any, part: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None
