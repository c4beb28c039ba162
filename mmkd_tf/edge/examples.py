"""Turns pictures and texts, as people have them, into the tensors that a model takes."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmkd_tf.edge.picture import PictureError, read_picture
from mmkd_tf.edge.tokenizer import Tokenizer, split_words

_LISTED_PROBLEMS = 20


class ExampleReader:
    """Reads examples in the form that one model takes.

    Args:
        inputs: By input name, `image` or `text`, shape (the first axis is the batch) and dtype.
            A text of uint8 is one of UTF-8 bytes, of any other dtype one of token ids.
        vocabulary: Words in the order of their ids; None if texts are not to be tokenised here.

    Raises:
        ValueError: If `vocabulary` is none.
    """

    def __init__(
        self,
        inputs: Mapping[str, tuple[tuple[int, ...], np.dtype]],
        *,
        vocabulary: Sequence[str] | None,
    ):
        self._forms = {name: (tuple(shape[1:]), dtype) for name, (shape, dtype) in inputs.items()}
        self._tokenizer = None
        shape, dtype = self._forms.get("text", ((0,), None))
        if vocabulary is not None and dtype not in (None, np.uint8):
            self._tokenizer = Tokenizer(vocabulary, length=shape[0])

    def __call__(
        self, examples: Sequence[Mapping[str, object]], *, numbered: bool = True
    ) -> dict[str, np.ndarray]:
        """Reads examples; what one lacks, or has as None, is zeros.

        Args:
            examples: Dicts of a picture (see `mmkd_tf.edge.picture.read_picture`) as `image`
                and a str as `text`, or of one of them.
            numbered: Whether errors say which example they are about.

        Returns:
            By input name, an array `[len(examples), ...]`.

        Raises:
            ValueError: If an example has neither a picture nor a word, a picture can't be read,
                or the model does not take what is given. Lists the problems of all examples.
            TypeError: If values of another type are all that is wrong.
        """
        tensors = {
            name: np.zeros((len(examples), *shape), dtype)
            for name, (shape, dtype) in self._forms.items()
        }
        problems = []
        for index, example in enumerate(examples):
            row = {name: tensor[index] for name, tensor in tensors.items()}
            place = f"`examples[{index}]`: " if numbered else ""
            problems += [(place, error) for error in self._fill(row, example)]
        if problems:
            raise _joined(problems)
        return tensors

    def _fill(self, row: Mapping[str, np.ndarray], example) -> list[Exception]:
        """Writes one example into its row of the tensors; gives the errors met."""
        if not isinstance(example, Mapping):
            expected = " and ".join(self._forms)
            return [TypeError(f"a dict of {expected}. Received: {type(example).__name__}.")]
        errors = []
        for name, value in example.items():
            if value is None:
                continue
            try:
                row[name][...] = self._read(name, value)
            except PictureError as error:
                errors.append(ValueError(str(error).replace("`source`", "`image`", 1)))
            except TypeError as error:
                errors.append(TypeError(str(error).replace("`source`", "`image`", 1)))
            except ValueError as error:
                errors.append(error)
        if not errors and not any(values.any() for values in row.values()):
            errors.append(
                ValueError(
                    f"{_wanted(self._forms)}. Received: neither a picture nor a word. Give what "
                    "there is; what is absent may be left out. An array of zeros counts as an "
                    "absent picture."
                )
            )
        return errors

    def _read(self, name: str, value) -> np.ndarray | Sequence[int]:
        if name not in self._forms:
            raise ValueError(
                f"`{name}`: nothing, since this model takes {' and '.join(self._forms)} only. "
                f"Received: {name}={str(value)[:40]!r}. Leave it out."
            )
        shape, dtype = self._forms[name]
        if name == "image":
            return read_picture(value, height=shape[0], width=shape[1])
        if not isinstance(value, str):
            raise TypeError(
                f"`text`: a str. Received: text={type(value).__name__}. "
                + ("Decode bytes as UTF-8." if isinstance(value, bytes) else "Convert it by str().")
            )
        if dtype == np.uint8:
            return text_bytes(value, num_bytes=shape[0])
        if self._tokenizer is None:
            raise ValueError(
                "`text`: nothing, since this file was exported without a vocabulary. "
                "Export it with vocabulary=."
            )
        return self._tokenizer(value)


def text_bytes(text: str, *, num_bytes: int) -> np.ndarray:
    """Writes a text as UTF-8, for a model that has its tokenizer inside.

    Args:
        text: As people write it. One without words counts as absent: all zeros.
        num_bytes: Size of the result. A longer text is cut where a character begins.

    Returns:
        uint8 `[num_bytes]`, 0 on the right.
    """
    # U+0000 would end the text, and halves of surrogate pairs have no UTF-8: both separate words,
    # as the space and the question mark do that take their places.
    content = text.replace("\0", " ").encode("utf-8", "replace")[:num_bytes]
    kept = content.decode("utf-8", "ignore")
    content = kept.encode("utf-8") if split_words(kept) else b""
    return np.frombuffer(content.ljust(num_bytes, b"\0"), np.uint8)


def _joined(problems: Sequence[tuple[str, Exception]]) -> Exception:
    """Makes one error of several."""
    lines = [f"{place}{error}" for place, error in problems[:_LISTED_PROBLEMS]]
    if len(problems) > _LISTED_PROBLEMS:
        lines.append(f"and {len(problems) - _LISTED_PROBLEMS:,} more.")
    wrong_types = all(isinstance(error, TypeError) for _, error in problems)
    return (TypeError if wrong_types else ValueError)("\n".join(lines))


def _wanted(names) -> str:
    """Says what an example must have one of."""
    if len(names) == 1:
        return f"`{next(iter(names))}`: what this model reads"
    return f"`{'`, `'.join(names)}`: at least one of them"
