"""Judges recorded exchanges by Google's discovery document.

Usage: judge.py [--client] [--complete] FILE…

FILE is what `slotd sandbox --record FILE` wrote. Answers must be what the document says, errors one of Google's two
envelopes; a request that the document does not know must have been refused. With --client there may be no such request,
because the client is judged too. With --complete every method must have been called and have answered.
"""

import collections
import json
import re
import sys
import urllib.parse

import jsonschema

import discovery

INT64 = r"^-?\d{1,19}$"
DATE = r"^\d{4}-\d\d-\d\d$"
MOMENT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
WALL = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$"
PATTERNS = {"int64": INT64, "uint64": r"^\d{1,20}$", "date": DATE, "date-time": MOMENT}
JSON_TYPE = "application/json; charset=UTF-8"

TEXT = {"type": "string", "minLength": 1}


def closed(required, **optional):
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


ENTRY = closed({"domain": TEXT, "reason": TEXT, "message": TEXT}, locationType=TEXT, location=TEXT)
ENTRIES = {"type": "array", "items": ENTRY, "minItems": 1}
CODE = {"type": "integer", "minimum": 400, "maximum": 599}
DETAIL = closed({"@type": TEXT, "reason": TEXT, "domain": TEXT}, metadata={"type": "object"})
BACK_END = closed({"error": closed({"errors": ENTRIES, "code": CODE, "message": TEXT})})
FRONT_END = closed(
    {"error": closed({"errors": ENTRIES, "code": CODE, "message": TEXT, "status": TEXT}, details={"type": "array", "items": DETAIL})}
)
# Errors that are raised before the calendar's own servers are reached.
OF_FRONT_END = {"authError", "insufficientPermissions"}
OAUTH_ERROR = closed({"error": TEXT}, error_description=TEXT, error_subtype=TEXT)
TOKENS = closed(
    {"access_token": TEXT, "expires_in": {"type": "integer", "minimum": 1}, "token_type": {"const": "Bearer"}},
    scope=TEXT,
    refresh_token=TEXT,
    refresh_token_expires_in={"type": "integer", "minimum": 1},
    id_token=TEXT,
)
USERINFO = closed({"sub": TEXT}, email=TEXT, email_verified={"type": "boolean"}, name=TEXT)
KEYS = closed({"keys": {"type": "array", "minItems": 1, "items": closed({key: TEXT for key in ("alg", "e", "kid", "kty", "n", "use")})}})
OAUTH_ANSWERS = {
    "oauth2.token": TOKENS,
    "oauth2.revoke": closed({}),
    "oauth2.userinfo": USERINFO,
    "oauth2.certs": KEYS,
    "oauth2.configuration": {"type": "object", "required": ["issuer", "jwks_uri", "token_endpoint"]},
}


def converted(schema, request):
    """A schema of the document as JSON Schema. A request may give null for what is to be deleted."""
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    kind = schema["type"]
    if kind == "any":
        return {}
    result = {"type": [kind, "null"] if request else kind}
    if "enum" in schema:
        result["enum"] = [*schema["enum"], None] if request else schema["enum"]
    if schema.get("format") == "int32":
        result.update(minimum=-(2**31), maximum=2**31 - 1)
    elif "format" in schema:
        # The zone beside it may stand for the offset in requests.
        result["pattern"] = WALL if request and schema["format"] == "date-time" else PATTERNS[schema["format"]]
    if kind == "array":
        result["items"] = converted(schema["items"], request)
    elif kind == "object":
        result["properties"] = {name: converted(part, request) for name, part in schema.get("properties", {}).items()}
        more = schema.get("additionalProperties")
        result["additionalProperties"] = converted(more, request) if more else False
    return result


class Judge:
    def __init__(self):
        document = discovery.load()
        discovery.check(document)
        self.methods = discovery.methods(document)
        self.everywhere = document["parameters"]
        self.answers, self.bodies = (
            {name: converted(schema, request) for name, schema in document["schemas"].items()}
            for request in (False, True)
        )

    @staticmethod
    def faults(schema, value, definitions=None):
        validator = jsonschema.Draft202012Validator({**schema, "$defs": definitions or {}})
        return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]

    def request(self, exchange):
        """What is wrong with a request."""
        method = self.methods.get(exchange["method"])
        if method is None:
            return []
        faults = []
        template = re.sub(r"\\{\w+\\}", "[^/]+", re.escape("/calendar/v3/" + method["path"]))
        if exchange["verb"] != method["httpMethod"] or not re.fullmatch(template, exchange["path"]):
            faults.append(f"{exchange['verb']} {exchange['path']} is not the method's verb and path")
        faults += self.parameters(method, exchange.get("query") or "")
        if "request" in method and exchange["body"]:
            try:
                body = json.loads(exchange["body"])
            except ValueError:
                return [*faults, "the body is no JSON"]
            faults += self.faults({"$ref": f"#/$defs/{method['request']['$ref']}"}, body, self.bodies)
        return faults

    def parameters(self, method, query):
        given = urllib.parse.parse_qsl(query, keep_blank_values=True)
        own = {name: one for name, one in method.get("parameters", {}).items() if one["location"] == "query"}
        for name, count in collections.Counter(name for name, _ in given).items():
            parameter = own.get(name) or self.everywhere.get(name)
            if parameter is None:
                yield f"there is no parameter {name}"
            elif count > 1 and not parameter.get("repeated"):
                yield f"parameter {name} is repeated"
        for name, value in given:
            parameter = own.get(name) or self.everywhere.get(name)
            if parameter and not self.fits(parameter, value):
                yield f"{name}={value} is not {parameter.get('format') or parameter['type']}"
        for name, parameter in own.items():
            if parameter.get("required") and name not in dict(given):
                yield f"parameter {name} is missing"

    @staticmethod
    def fits(parameter, value):
        if parameter["type"] == "boolean":
            return value in ("true", "false")
        if parameter["type"] == "integer":
            if not re.fullmatch(r"[+-]?\d+", value):
                return False
            least, most = int(parameter.get("minimum", -(2**31))), int(parameter.get("maximum", 2**31 - 1))
            return least <= int(value) <= most
        if "format" in parameter:
            return re.fullmatch(PATTERNS[parameter["format"]], value) is not None
        return "enum" not in parameter or value in parameter["enum"]

    def answer(self, exchange):
        """What is wrong with an answer."""
        status, text = exchange["status"], exchange["answer"]
        effect = (exchange.get("fault") or {}).get("kind")
        if status == 0 or exchange["cut"]:
            return [] if effect else ["an answer is missing, and no fault was on"]
        if effect in ("html", "empty") and status == exchange["fault"]["status"]:
            return [] if (effect == "empty") == (text == "") else ["not what the fault says"]
        if effect in ("half_json", "garbage") and status == 200:
            return [] if self.is_broken(text) else [f"{effect} is JSON"]
        if status == 304:
            return ["304 has a body"] if text else []
        if not exchange["method"].startswith("calendar.") and status < 400:
            schema = OAUTH_ANSWERS.get(exchange["method"])
            return self.faults(schema, json.loads(text)) if schema else []
        if status >= 400:
            return self.error(exchange)
        method = self.methods[exchange["method"]]
        if "response" not in method:
            return [] if (status, text) == (204, "") else [f"{status} with {text[:80]!r}, not an empty 204"]
        faults = [] if status == 200 else [f"status {status}"]
        if exchange["answerHeaders"].get("content-type") != JSON_TYPE:
            faults.append(f"content type {exchange['answerHeaders'].get('content-type')}")
        value = json.loads(text)
        faults += self.faults({"$ref": f"#/$defs/{method['response']['$ref']}"}, value, self.answers)
        if isinstance(value, dict) and {"nextPageToken", "nextSyncToken"} <= value.keys():
            faults.append("both a page token and a sync token")
        return faults

    @staticmethod
    def is_broken(text):
        try:
            json.loads(text)
        except ValueError:
            return True
        return False

    def error(self, exchange):
        oauth = exchange["method"] in ("oauth2.authorize", "oauth2.consent", "oauth2.token", "oauth2.revoke")
        if oauth and not exchange["answerHeaders"].get("content-type", "").startswith("application/json"):
            # A page for the user.
            return [] if exchange["method"] in ("oauth2.authorize", "oauth2.consent") else ["no JSON"]
        try:
            value = json.loads(exchange["answer"])
        except ValueError:
            return [f"an error without an envelope: {exchange['answer'][:80]!r}"]
        if oauth:
            return self.faults(OAUTH_ERROR, value)
        front = isinstance(value, dict) and isinstance(value.get("error"), dict) and "status" in value["error"]
        faults = self.faults(FRONT_END if front else BACK_END, value)
        if not faults:
            error = value["error"]
            if error["code"] != exchange["status"]:
                faults.append(f"code {error['code']} under status {exchange['status']}")
            if not front and error["errors"][0]["reason"] in OF_FRONT_END and not exchange.get("fault"):
                faults.append("a front end's error without a status")
        return faults

    def exchange(self, exchange, client=False):
        """Every fault of an exchange, as text."""
        asked = self.request(exchange)
        faults = [f"answer: {fault}" for fault in self.answer(exchange)]
        if asked and (client or exchange["status"] in range(200, 400)):
            # A fault may stand before the check.
            faults += [f"request, answered {exchange['status']}: {fault}" for fault in asked]
        return faults


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main(arguments):
    options = {one for one in arguments if one.startswith("--")}
    files = [one for one in arguments if one not in options]
    if not files or options - {"--client", "--complete"}:
        raise SystemExit(__doc__)
    judge = Judge()
    exchanges = [exchange for path in files for exchange in read(path)]
    wrong = 0
    for exchange in exchanges:
        for fault in judge.exchange(exchange, "--client" in options):
            wrong += 1
            print(f"{exchange['method']} {exchange['path']}?{exchange.get('query') or ''}: {fault}")
            print(f"    body {exchange['body'][:300]}\n    answer {exchange['answer'][:600]}")
    answered = collections.Counter(one["method"] for one in exchanges if one["status"] in range(200, 300))
    missing = sorted(judge.methods.keys() - answered.keys()) if "--complete" in options else []
    if wrong or missing or not exchanges:
        raise SystemExit(f"FAILED: {wrong} deviations in {len(exchanges)} exchanges; never answered: {missing}")
    print(f"discovery document: {len(exchanges)} exchanges with {len(answered)} methods are as Google describes them")


if __name__ == "__main__":
    main(sys.argv[1:])
