"""The reference of keys, made from the pydantic models that read the files.

python -m tests.docs.reference > docs/reference.md
"""

from typing import Any

from pydantic import BaseModel

HEAD = """# Reference of keys

Made from the code (`python -m tests.docs.reference`); a test holds it to that. Every file is checked strictly: an
unknown key is refused, with the key that was probably meant.
"""


def reference() -> str:
    """The whole page."""
    from pipeline.gate.budget_document import BudgetDocument
    from pipeline.runs.config import Config

    budget = _section("The budget file of `pocketnas check`", BudgetDocument)
    return "\n".join([HEAD, *budget, "", *_section("The configuration of `pocketnas run`", Config), ""])


def _section(title: str, model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()
    lines = [f"## {title}", "", *_table(schema)]
    for name, entry in schema["properties"].items():
        heading, inner = _inner(name, entry, schema.get("$defs", {}))
        if inner is not None:
            lines += ["", f"### `{heading}`", "", *_table(inner)]
    return lines


def _inner(name: str, entry: dict[str, Any], definitions: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The table that a key holds, and how its heading is written in TOML."""
    for heading, place in (
        (f"[{name}]", entry),
        (f"[[{name}]]", entry.get("items", {})),
        (f"[{name}.NAME]", entry.get("additionalProperties", {})),
    ):
        if isinstance(place, dict) and "$ref" in place:
            return heading, definitions[place["$ref"].rsplit("/", 1)[-1]]
    return name, None


def _table(schema: dict[str, Any]) -> list[str]:
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    required = set(schema.get("required", []))
    for name, entry in schema.get("properties", {}).items():
        default = "needed" if name in required else _default(entry.get("default"))
        words = (entry.get("description") or "").replace("|", "\\|")
        lines.append(f"| `{name}` | {_kind(entry)} | {default} | {words} |")
    return lines


def _default(value: Any) -> str:
    if value is None or isinstance(value, dict) or value == []:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(entry: dict[str, Any]) -> str:
    if "anyOf" in entry:
        kinds = [_kind(part) for part in entry["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in entry:
        return " or ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if "$ref" in entry:
        return "table"
    kind = str(entry.get("type", "any"))
    names = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "table"}
    return "list" if kind == "array" else names.get(kind, kind)


if __name__ == "__main__":
    print(reference(), end="")
