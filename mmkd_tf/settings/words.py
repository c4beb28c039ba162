"""What people read of settings: meaning, default and range, made of the pydantic models."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

_WIDTH = 96
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
_TYPES = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "null": "null",
    "array": "a list",
    "object": "values by name",
}


@dataclass(frozen=True)
class Setting:
    """One setting, for people.

    Attributes:
        name: Its full name, such as `training.epochs`.
        meaning: What it does.
        default: Its default, as YAML; None where there is none.
        allowed: Which values it may have.
    """

    name: str
    meaning: str
    default: str | None
    allowed: str


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """Describes the settings of a model and of the models within, in their order."""
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings_of(inner, f"{prefix}{name}.")
            continue
        default = None if field.default is PydanticUndefined else in_yaml(field.default)
        meaning = field.description or ""
        yield Setting(f"{prefix}{name}", meaning, default, _allowed(schema["properties"][name]))


def in_yaml(value) -> str:
    """Writes a value as `--set` and YAML files take it, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _allowed(schema: Mapping) -> str:
    """Says which values a JSON schema allows."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_allowed, schema["anyOf"])))
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return ", ".join(in_yaml(value) for value in schema["enum"])
    words = _TYPES.get(schema.get("type", ""), "any value")
    bounds = [form.format(f"{schema[key]:,}") for key, form in _BOUNDS.items() if key in schema]
    return ", ".join([words, *bounds])


def commented_yaml(model: BaseModel) -> str:
    """Writes all values as YAML, each under a comment with its meaning and range."""
    return "\n".join(_lines(model, "")) + "\n"


def _lines(model: BaseModel, indent: str) -> Iterator[str]:
    words = {setting.name: setting for setting in settings_of(type(model))}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, dict) and any(
            isinstance(each, BaseModel) for each in value.values()
        ):
            yield f"{indent}{name}:"
            for key, each in value.items():
                yield f"{indent}  {in_yaml(key)}:"
                yield from _lines(each, indent + "    ")
        else:
            setting = words[name]
            comment = f"{setting.meaning} Allowed: {setting.allowed}.".lstrip()
            start = f"{indent}# "
            yield textwrap.fill(comment, _WIDTH, initial_indent=start, subsequent_indent=start)
            plain = model.model_dump(include={name})
            yield f"{indent}{in_yaml(plain)[1:-1]}"
