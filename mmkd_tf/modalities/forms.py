"""Forms: a batch may hold an input twice, as the student reads it and as its teachers do.

A student may take a smaller picture or a shorter text than its teacher. Its own form has the
modality's name, `image`; the teachers' has `teacher/image`, and is left out where both are one.
"""

from collections.abc import Mapping
from typing import TypeVar

TEACHER_PREFIX = "teacher/"

Value = TypeVar("Value")


def teacher_form(name: str) -> str:
    """The key of the form of an input that teachers read: `teacher/image` for `image`."""
    return TEACHER_PREFIX + name


def student_forms(values: Mapping[str, Value]) -> dict[str, Value]:
    """What the student reads, by modality, of values in both forms."""
    return {name: value for name, value in values.items() if "/" not in name}


def teacher_forms(values: Mapping[str, Value]) -> dict[str, Value]:
    """What teachers read, by modality, of values in both forms."""
    own = {
        name.removeprefix(TEACHER_PREFIX): value
        for name, value in values.items()
        if name.startswith(TEACHER_PREFIX)
    }
    return {**student_forms(values), **own}
