"""Checks of what a loss is given; problems are collected, so that one error lists them all."""

from keras import ops

# Beyond these float32 turns a number, its square or its product with a loss into 0 or infinity.
LEAST, GREATEST = 1e-9, 1e9


def refuse(problems: list[str]) -> None:
    """Raises one ValueError that lists all problems, if there are any."""
    if problems:
        raise ValueError("\n".join(problems))


def temperature_problems(temperature) -> list[str]:
    """A temperature that is no positive finite number; a schedule's tensor can't be read here."""
    if ops.is_tensor(temperature):
        return []
    if isinstance(temperature, int | float) and LEAST <= temperature <= GREATEST:
        return []
    return [
        "`temperature`: a finite number above 0 (1 leaves the probabilities as they are, "
        f"2 to 8 soften them). Received: temperature={temperature!r}.{beyond(temperature)}"
    ]


def weight_problems(**weights) -> list[str]:
    """Weights that are negative, not finite, or all zero; tensors can't be read here."""
    numbers = {name: value for name, value in weights.items() if not ops.is_tensor(value)}
    problems = [
        f"`{name}`: a finite number, 0 or more. Received: {name}={value!r}.{beyond(value)}"
        for name, value in numbers.items()
        if not is_weight(value)
    ]
    if len(numbers) == len(weights) and not any(weights.values()):
        names = ", ".join(f"`{name}`" for name in weights)
        problems.append(f"{names}: at least one above 0. Received: all 0.")
    return problems


def is_weight(value) -> bool:
    """Whether a value is 0, or a positive number that float32 can reckon with."""
    return isinstance(value, int | float) and (value == 0 or LEAST <= value <= GREATEST)


def beyond(value) -> str:
    """What to say of a positive number that float32 can't reckon with."""
    if not isinstance(value, int | float) or not value > 0:
        return ""
    return f" Take {LEAST:g} to {GREATEST:g}: float32 turns others into 0 or infinity."


def logits_problems(teacher_logits, student_logits, *, one_logit: bool = False) -> list[str]:
    """Logits that are not `[batch, num_classes]`, of the same examples and classes.

    A single logit is enough with `one_logit`.
    """
    shapes = {"teacher_logits": teacher_logits.shape, "student_logits": student_logits.shape}
    problems = []
    for name, shape in shapes.items():
        if len(shape) != 2:
            problems.append(
                f"`{name}`: float `[batch, num_classes]`. Received: {name} of shape "
                f"{tuple(shape)}. Reshape it to one row an example."
            )
        elif shape[1] == 1 and not one_logit:
            problems.append(
                f"`{name}`: at least two classes, because a softmax over one logit is always 1. "
                f"Received: {name} of shape {tuple(shape)}. Use sigmoid_soft_target_loss for "
                "heads of one logit."
            )
    if problems:
        return problems
    if differ(teacher_logits.shape[:1], student_logits.shape[:1]):
        problems.append(_other_examples(**shapes))
    if differ(teacher_logits.shape[1:], student_logits.shape[1:]):
        problems.append(
            "`teacher_logits`, `student_logits`: the same number of classes in the same order. "
            f"Received: teacher_logits of shape {tuple(teacher_logits.shape)}, student_logits of "
            f"shape {tuple(student_logits.shape)}. Build the student's last layer with "
            f"{teacher_logits.shape[1]} units."
        )
    return problems


def feature_problems(
    teacher_features, student_features, *, least_rank: int, same_axes: slice
) -> list[str]:
    """Features of too few axes, of other examples, or that can't be compared element by element.

    `least_rank` counts the batch's axis; `same_axes` have the same size in both.
    """
    teacher, student = tuple(teacher_features.shape), tuple(student_features.shape)
    shapes = {"teacher_features": teacher, "student_features": student}
    form = "[batch, ..., channels]" if least_rank > 2 else "[batch, ...]"
    problems = [
        f"`{name}`: float `{form}` with at least {least_rank} axes. Received: {name} of shape "
        f"{shape}. Take the output of a layer that keeps them."
        for name, shape in shapes.items()
        if len(shape) < least_rank
    ]
    if problems:
        return problems
    if differ(teacher[:1], student[:1]):
        problems.append(_other_examples(**shapes))
    if differ(teacher[same_axes], student[same_axes]):
        problems.append(
            "`teacher_features`, `student_features`: equal sizes, because each value is compared "
            f"with its counterpart. Received: teacher_features of shape {teacher}, "
            f"student_features of shape {student}. Project the student's features: a dense layer "
            "or a 1x1 convolution for the width, pooling for height and width."
        )
    return problems


def differ(one, other) -> bool:
    """Whether two shapes differ for certain; a size of None is unknown."""
    if len(one) != len(other):
        return True
    return any(None not in pair and pair[0] != pair[1] for pair in zip(one, other, strict=True))


def _other_examples(**shapes) -> str:
    arguments = ", ".join(f"`{name}`" for name in shapes)
    received = ", ".join(f"{name} of shape {tuple(shape)}" for name, shape in shapes.items())
    return (
        f"{arguments}: the same examples in the same order. Received: {received}. Give both "
        "models the same batch."
    )
