"""What all settings have in common: no unknown names, no changes, and no switch for a number."""

from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel, ValidationInfo, field_validator


class Settings(BaseModel, extra="forbid", frozen=True):
    """A group of settings."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value, info: ValidationInfo):
        """Python takes true for 1. What may also be values by name has its own check."""
        if isinstance(value, bool) and info.field_name is not None:
            taken = _members(cls.model_fields[info.field_name].annotation)
            if taken & {int, float} and not taken & {bool, dict}:
                raise ValueError(f"a number, not {str(value).lower()}")
        return value


def _members(annotation) -> set:
    """The types of a union, or the one type; of `dict[str, int]` dict."""
    if origin := get_origin(annotation):
        members = (_members(one) for one in get_args(annotation))
        return set().union(*members) if origin in (Union, UnionType, Annotated) else {origin}
    return {annotation} if isinstance(annotation, type) else set()
