"""What the registry promises on paper, and what it has in code: the same."""

import inspect
from pathlib import Path

import pytest
import yaml
from openapi_spec_validator import validate

from sandroad.callers import Caller
from sandroad.problems import AccessDenied, Catalogue, Refusal
from sandroad.testing import ROOT
from services.registry import domain
from services.registry.domain import SchemaInvalid
from services.registry.rights import Rights
from services.registry.routes import make_routes
from services.registry.schema import Schema, index_value

CONTRACT = ROOT / "contracts" / "registry" / "openapi.yaml"
REFERENCE_PATHS = {
    "GET /data/{registryName}/{versionNumber}",
    "POST /data/{registryName}/{versionNumber}/create",
    "POST /data/{registryName}/{versionNumber}/createEntries",
    "POST /data/{registryName}/{versionNumber}/exists",
    "POST /data/{registryName}/{versionNumber}/read",
    "PUT /data/{registryName}/{versionNumber}/update",
    "PUT /data/{registryName}/{versionNumber}/updateEntries",
    "POST /data/{registryName}/{versionNumber}/updateOrCreate",
    "DELETE /data/{registryName}/{versionNumber}/{id}/delete",
    "GET /data/{registryName}/{versionNumber}/{uuid}/readValue/{field}.{ext}",
    "GET /data/mypersonalDataUsage",
    "POST /database/modify",
    "GET /database/{id}",
    "DELETE /database/{id}",
    "GET /databases",
}


def test_the_contract_is_valid_openapi_and_every_operation_is_answered():
    validate(yaml.safe_load(CONTRACT.read_text(encoding="utf-8")))
    assert make_routes(ROOT / "contracts").unbound() == []


def test_the_paths_are_govstacks_and_whatever_is_more_is_labelled():
    operations = make_routes(ROOT / "contracts").contract.operations.values()
    assert {f"{each.method} {each.path}" for each in operations} >= REFERENCE_PATHS
    document = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    for each in operations:
        if f"{each.method} {each.path}" not in REFERENCE_PATHS:
            assert "x-extension" in document["paths"][each.path][each.method.lower()]


def test_every_refusal_is_in_the_catalogue():
    catalogue = set(Catalogue.load(ROOT / "contracts" / "problems.yaml"))
    found = [
        cls for _, cls in inspect.getmembers(domain, inspect.isclass) if issubclass(cls, Refusal) and cls is not Refusal
    ]
    assert len(found) > 15
    assert {cls.code for cls in found} <= catalogue


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"properties": {"a b": {"type": "string"}}}, "field name"),
        ({"properties": {"a": {"type": "text"}}}, "type 'text'"),
        ({"properties": {"a": {"primaryKey": True}, "b": {"primaryKey": True}}}, "two primary keys"),
        ({"properties": {"a": {"type": "number", "primaryKey": True}}}, "string or integer"),
        ({"properties": {"a": {"type": "string"}}, "x-subject": "b"}, "x-subject"),
        ({"properties": {"a": {"type": "integer"}}, "x-subject": "a"}, "x-subject"),
        ({"properties": {"a": {"type": "string"}}, "required": ["b"]}, "required"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}, "$ref"),
        ({"properties": {"a": {"type": "array", "items": {"$ref": "#/x"}}}}, "$ref"),
        ({"properties": {"a": {"type": "object", "properties": {"b": {"anyOf": [{"$ref": "#/x"}]}}}}}, "$ref"),
        ({"properties": {"a": {"type": "string", "pattern": "("}}}, "JSON Schema"),
        ({"properties": {"a": {"type": "string", "minLength": "one"}}}, "JSON Schema"),
        ({"properties": {"a": {"type": "string", "triggers": [{"actions": [{"type": "upper-case"}]}]}}}, "trigger"),
        ({"properties": {"a": {"type": "string", "triggers": "x"}}}, "trigger"),
        ({"properties": {"a": {"type": "string", "triggers": [{"actions": ["x"]}]}}}, "trigger"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_and_says_why(schema, says):
    with pytest.raises(SchemaInvalid) as refusal:
        Schema({"type": "object", **schema})
    assert says in refusal.value.detail


def test_index_values_sort_as_numbers_do():
    numbers = [-(2**53), -1e9, -10.5, -2, -1, -0.001, 0, 0.001, 1, 2, 10, 10.5, 1e9, 2**53]
    assert [index_value(each) for each in numbers] == sorted(index_value(each) for each in numbers)
    assert index_value(-0.0) == index_value(0)
    assert index_value(3) == index_value(3.0)
    assert index_value(True) != index_value(1)


@pytest.mark.parametrize(
    ("allow", "method", "path", "allowed"),
    [
        ("POST /data/population/*/read", "POST", "/data/population/1/read", True),
        ("POST /data/population/*/read", "GET", "/data/population/1/read", False),
        ("POST /data/population/*/read", "POST", "/data/population/1/2/read", False),
        ("POST /data/population/*/read", "POST", "/data/population/1/readEntries", False),
        ("POST /data/population/*/read", "POST", "/data/population//read", False),
        ("* /data/social/**", "DELETE", "/data/social/1/x/delete", True),
        ("* /data/social/**", "GET", "/data/socialites/1", False),
        ("GET /data.social/*", "GET", "/data/social/1", False),
        ("**", "POST", "/database/modify", True),
        ("", "GET", "/databases", False),
    ],
)
def test_a_right_covers_what_it_says_and_no_more(allow, method, path, allowed):
    right = {"subject": "GOV/A/B", "service": "GOV/CIVIL/REGISTRY/registry", "allow": [allow]}
    rights = Rights([right], instance="SANDBOX", member="GOV/CIVIL", subsystem="REGISTRY")
    caller = Caller("SANDBOX/GOV/A/B", "gateway")
    if allowed:
        assert not rights.access(caller, method, path).is_own
    else:
        with pytest.raises(AccessDenied):
            rights.access(caller, method, path)


def test_a_right_on_another_subsystem_opens_nothing_here():
    right = {"subject": "GOV/A/B", "service": "GOV/CIVIL/REGISTRY-OLD/registry", "allow": ["**"]}
    rights = Rights([right], instance="SANDBOX", member="GOV/CIVIL", subsystem="REGISTRY")
    with pytest.raises(AccessDenied):
        rights.access(Caller("SANDBOX/GOV/A/B", "gateway"), "GET", "/databases")


def test_a_member_whose_code_begins_like_ours_is_not_ours():
    right = {"subject": "GOV/CIVILIAN/B", "service": "GOV/CIVIL/REGISTRY/registry", "allow": ["**"]}
    rights = Rights([right], instance="SANDBOX", member="GOV/CIVIL", subsystem="REGISTRY")
    assert not rights.access(Caller("SANDBOX/GOV/CIVILIAN/B", "gateway"), "GET", "/databases").is_own


def test_the_readme_fits_one_screen():
    readme = Path(__file__).parent.parent / "README.md"
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 70
