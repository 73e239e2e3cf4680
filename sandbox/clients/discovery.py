"""What Google's discovery document says about the methods that the stand-in serves.

Usage: discovery.py prints sandbox/src/api/methods.json, from which the stand-in checks requests; discovery.py --check
says whether that file is still what the document says.
"""

import json
import pathlib
import re
import sys

import googleapiclient

DOCUMENT = pathlib.Path(googleapiclient.__file__).parent / "discovery_cache/documents/calendar.v3.json"
TABLE = pathlib.Path(__file__).parent.parent / "src/api/methods.json"

SERVED = {
    "calendarList": ["get", "list", "watch"],
    "calendars": ["get"],
    "channels": ["stop"],
    "events": [
        "delete",
        "get",
        "import",
        "insert",
        "instances",
        "list",
        "move",
        "patch",
        "quickAdd",
        "update",
        "watch",
    ],
    "freebusy": ["query"],
}
KEPT = ("$ref", "enum", "format", "location", "maximum", "minimum", "repeated", "required", "type")
# The document has the values of these fields only in its prose, as a list of quoted words.
LISTED = {
    "CalendarListEntry": ["accessRole"],
    "Event": ["eventType", "status", "transparency", "visibility"],
    "EventAttendee": ["responseStatus"],
    "Events": ["accessRole"],
}


def load():
    """The whole document, with the values of closed fields as `enum`."""
    document = json.loads(DOCUMENT.read_text())
    for name, fields in LISTED.items():
        for field in fields:
            schema = document["schemas"][name]["properties"][field]
            values = re.findall(r'^- "(\w+)"', schema["description"], re.MULTILINE)
            if len(values) < 2:
                raise SystemExit(f"FAILED: the document does not list the values of {name}.{field}")
            schema["enum"] = values
    return document


def methods(document):
    """The served methods by id."""
    found = {}
    for resource, names in SERVED.items():
        for name in names:
            method = document["resources"][resource]["methods"][name]
            found[method["id"]] = method
    return found


def pruned(schema):
    """A schema or parameter without its prose."""
    kept = {key: schema[key] for key in KEPT if key in schema}
    for key in ("items", "additionalProperties"):
        if key in schema:
            kept[key] = pruned(schema[key])
    if "properties" in schema:
        kept["properties"] = {name: pruned(field) for name, field in schema["properties"].items()}
    return kept


def references(schema):
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for part in schema.values():
            yield from references(part)


def table(document):
    """What is needed to check requests."""
    found, wanted = {}, set()
    for name, method in methods(document).items():
        entry = {"httpMethod": method["httpMethod"], "path": method["path"], "scopes": sorted(method["scopes"])}
        entry["parameters"] = {key: pruned(value) for key, value in method.get("parameters", {}).items()}
        if "request" in method:
            entry["request"] = method["request"]["$ref"]
            wanted.add(entry["request"])
        found[name] = entry
    schemas = {}
    while wanted:
        name = wanted.pop()
        if name not in schemas:
            schemas[name] = pruned(document["schemas"][name])
            wanted.update(references(schemas[name]))
    everywhere = {key: pruned(value) for key, value in document["parameters"].items()}
    return {"revision": document["revision"], "parameters": everywhere, "methods": found, "schemas": schemas}


def text(document):
    return json.dumps(table(document), indent=1, sort_keys=True) + "\n"


def check(document):
    if TABLE.read_text() != text(document):
        raise SystemExit(f"FAILED: {TABLE.name} is not what the document says; write it again with discovery.py")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check(load())
    else:
        sys.stdout.write(text(load()))
