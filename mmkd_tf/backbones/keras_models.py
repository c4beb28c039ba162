"""Keras models as backbones: one's own, those of keras.applications, presets of KerasHub."""

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from mmkd_tf.backbones.backbone import Backbone
from mmkd_tf.backbones.encoder import Encoder, PictureEncoder, TextEncoder


def backbone_of(
    model: keras.Model,
    *,
    name: str,
    kind: str,
    licence: str = "unknown",
    credit: str | None = None,
    tokenize: Callable[[Sequence[str]], list[list[int]]] | None = None,
    vocabulary: Iterable[str] = (),
) -> Backbone:
    """Makes a backbone of a Keras model.

    Args:
        model: From pictures `[batch, size, size, 3]` with values 0 to 255, or from token ids
            `[batch, length]` filled with 0, to features `[batch, dim]`. More zeros must not change
            the features, as with `Embedding(mask_zero=True)`.
        name: What it is called.
        kind: "image" or "text".
        licence: Of its weights.
        credit: One line for the model card; name and licence if not given.
        tokenize: For texts; gives for each of some texts its ids, none of them 0.
        vocabulary: For texts; what may be whole words, the most frequent first.

    Raises:
        ValueError: If the model does not have that form; lists all problems.
    """
    problems = _problems(model, kind, tokenize)
    if problems:
        raise ValueError("\n".join(problems))
    words = list(vocabulary)

    def load(backbone: Backbone, files: dict[str, Path]) -> Encoder:
        own = _copied(model)  # since a fine-tuning changes it
        if kind == "image" or tokenize is None:  # of a text refused above
            return PictureEncoder(backbone, own, version=_version(model))
        return TextEncoder(
            backbone,
            own,
            version=_version(model),
            tokenize=tokenize,
            vocabulary=lambda: words,
        )

    return Backbone(
        name=name,
        kind=kind,
        dim=model.output_shape[-1],
        size=model.input_shape[1] if kind == "image" else None,
        licence=licence,
        credit=credit or f"{name}; licence: {licence}",
        parameters=model.count_params(),
        num_bytes=_num_bytes(model),
        loader=load,
    )


def _copied(model: keras.Model) -> keras.Model:
    """The model again, fixed, with the same weights in variables of its own."""

    def anew(layer):
        # A Lambda can't be made again, and may serve both.
        if isinstance(layer, layers.Lambda) or not isinstance(layer, layers.Layer):
            return layer
        return type(layer).from_config(layer.get_config())

    made = keras.models.clone_model(model, clone_function=anew, recursive=True)
    # `set_weights` would leave what a layer derives from its weights, as Normalization does.
    for old, new in zip(model._flatten_layers(), made._flatten_layers(), strict=True):
        store: dict = {}
        old.save_own_variables(store)
        new.load_own_variables(store)
    made.trainable = False
    return made


def _problems(model: keras.Model, kind: str, tokenize: Callable | None) -> list[str]:
    if kind not in ("image", "text"):
        return [f"`kind`: image or text. Received: kind={kind!r}."]
    problems = []
    one_of_each = len(model.inputs) == len(model.outputs) == 1
    before: tuple = model.inputs[0].shape if one_of_each else ()
    after: tuple = model.outputs[0].shape if one_of_each else ()
    if kind == "image":
        fits = len(before) == 4 and before[1] == before[2] and before[1] and before[3] == 3
        form = "[batch, size, size, 3] of a fixed size"
    else:
        fits, form = len(before) == 2, "[batch, length]"
        if tokenize is None:
            problems.append("`tokenize`: a function from texts to ids. Received: None.")
        if fits and len(after) == 2 and before[1] is None and _heeds_zeros(model):
            problems.append(
                "`model`: features that more zeros behind a text do not change. Received: other "
                "ones. Mask them, as with Embedding(mask_zero=True)."
            )
    if not fits or len(after) != 2 or after[-1] is None:
        problems.append(
            f"`model`: one input {form} and one output [batch, dim]. Received: "
            f"{[tuple(one.shape) for one in model.inputs]} to "
            f"{[tuple(one.shape) for one in model.outputs]}. Put a pooling layer on top of maps."
        )
    return problems


def _heeds_zeros(model: keras.Model) -> bool:
    alone, filled = (model(np.array([[1] + zeros * [0]], np.int32)) for zeros in (0, 3))
    return not np.allclose(alone, filled, rtol=1e-3, atol=1e-4)


def _version(model: keras.Model) -> str:
    digest = hashlib.sha256(model.to_json().encode())
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _num_bytes(model: keras.Model) -> int:
    return sum(int(one.nbytes) for one in model.get_weights())


def find(library: str, preset: str) -> Backbone:
    """Gives the backbone `library:preset`; see `find_backbone`."""
    return _application(preset) if library == "keras.applications" else _hub_preset(preset)


# keras.applications


def _application(name: str) -> Backbone:
    known = _applications()
    if name not in known:
        raise ValueError(
            f"`keras.applications`: one of {', '.join(sorted(known))}. Received: {name!r}."
        )
    module, build = known[name]
    try:
        size = inspect.signature(build).parameters["input_shape"].default
        size = size[0] if size else build(weights=None).input_shape[1] or 224
        bare = build(weights=None, include_top=False, pooling="avg", input_shape=[size, size, 3])
    except Exception as error:
        raise ValueError(f"`keras.applications`: a model of one input. {error}") from None

    def load(backbone: Backbone, files: dict[str, Path]) -> Encoder:
        try:
            pooled = build(include_top=False, pooling="avg", input_shape=[size, size, 3])
        except Exception as error:  # Keras raises a plain Exception where a download fails
            raise OSError(
                f"`{backbone.name}`: its weights, which Keras downloads. Received: {error} Try "
                "again with a network, or take a backbone of `mmkd-tf backbones list`."
            ) from None
        pixels = keras.Input([size, size, 3], name="pixels")
        model = keras.Model(pixels, pooled(module.preprocess_input(pixels)), name=name)
        model.trainable = False
        return PictureEncoder(backbone, model, version=_version(pooled))

    return Backbone(
        name=f"keras.applications:{name}",
        kind="image",
        dim=bare.output_shape[-1],
        size=size,
        licence="see keras.io/api/applications",
        credit=f"{name}, trained on ImageNet, of keras.applications",
        parameters=bare.count_params(),
        num_bytes=_num_bytes(bare),
        here=lambda: _is_downloaded(name),
        loader=load,
    )


def _applications() -> dict[str, tuple]:
    """By name, the module of each model and the function that builds it."""
    return {
        name: (sys.modules[build.__module__], build)
        for name, build in inspect.getmembers(keras.applications, inspect.isfunction)
        if "include_top" in inspect.signature(build).parameters
    }


def _is_downloaded(name: str) -> bool:
    folder = Path(keras.config.keras_home() if hasattr(keras.config, "keras_home") else "")
    folder = folder if folder.name else Path.home() / ".keras"
    pattern = re.compile(rf"(weights)?{name.lower()}(?!v\d)")
    names = [path.name.lower() for path in (folder / "models").glob("*no*top*")]
    return any(pattern.match(file.replace("_", "").replace("-", "")) for file in names)


# KerasHub

# As the extra keras-hub has them; with safetensors it reads folders of Hugging Face's form.
HUB_PACKAGES = ("keras-hub>=0.32", "safetensors>=0.4")


def _hub_preset(preset: str) -> Backbone:
    try:
        import keras_hub
    except ImportError as error:
        raise _no_hub(preset, error) from None
    bare = _of_hub(keras_hub.models.Backbone.from_preset, preset, load_weights=False)
    kind = "text" if "token_ids" in _input_names(bare) else "image"
    converter = None
    if kind == "image":
        converter = _of_hub(keras_hub.layers.ImageConverter.from_preset, preset)
        size = (converter.image_size or (224, 224))[0]
    pooled = _pooled(bare, converter, size if kind == "image" else None)

    def load(backbone: Backbone, files: dict[str, Path]) -> Encoder:
        whole = _of_hub(keras_hub.models.Backbone.from_preset, preset)
        model = _pooled(whole, converter, backbone.size)
        model.trainable = False
        if kind == "image":
            return PictureEncoder(backbone, model, version=_version(whole))
        tokenizer = _of_hub(keras_hub.models.Tokenizer.from_preset, preset)
        longest = getattr(whole, "max_sequence_length", None)
        return TextEncoder(
            backbone,
            model,
            version=_version(whole),
            tokenize=lambda texts: _hub_ids(tokenizer, texts, longest),
            vocabulary=lambda: _hub_words(tokenizer),
            max_tokens=longest,
        )

    return Backbone(
        name=f"keras_hub:{preset}",
        kind=kind,
        dim=pooled.output_shape[-1],
        size=size if kind == "image" else None,
        licence="see the preset's page",
        credit=f"Preset {preset} of KerasHub",
        parameters=bare.count_params(),
        num_bytes=_num_bytes(bare),
        here=Path(preset).is_dir,
        loader=load,
    )


def _no_hub(preset: str, error: ImportError) -> ImportError:
    packages = " ".join(f"'{package}'" for package in HUB_PACKAGES)
    return ImportError(
        f"`keras_hub:{preset}`: KerasHub and what it reads presets with. Received: {error}. Run "
        f"`pip install {packages}`."
    )


def _of_hub(make: Callable, preset: str, **arguments):
    try:
        return make(preset, **arguments)
    except ImportError as error:
        raise _no_hub(preset, error) from None
    except Exception as error:  # of KerasHub, of Kaggle's client, of the network
        raise ValueError(
            f"`keras_hub:{preset}`: a preset that KerasHub knows and can download, or a folder "
            f"with one. Received: {str(error).strip() or type(error).__name__}"
        ) from None


def _input_names(model: keras.Model) -> list[str]:
    return list(model.input) if isinstance(model.input, dict) else []


def _pooled(whole: keras.Model, converter, size: int | None) -> keras.Model:
    """Puts the mean over places or tokens on top, and what prepares pixels below."""
    if size is not None:
        inputs = keras.Input([size, size, 3], name="pixels")
        output = whole(converter(inputs))
        output = list(output.values())[-1] if isinstance(output, dict) else output
        if len(output.shape) == 4:
            output = layers.GlobalAveragePooling2D()(output)
        elif len(output.shape) == 3:
            output = layers.GlobalAveragePooling1D()(output)
        return keras.Model(inputs, output)
    ids = keras.Input([None], dtype="int32", name="ids")
    mask = ops.cast(ids > 0, "int32")
    # Ids are one more than those of the tokenizer, whose 0 may be a token.
    values = {"token_ids": ops.maximum(ids - 1, 0), "padding_mask": mask}
    if "segment_ids" in _input_names(whole):
        values["segment_ids"] = ops.zeros_like(ids)
    output = whole({name: values[name] for name in _input_names(whole)})
    output = output["sequence_output"] if isinstance(output, dict) else output
    return keras.Model(ids, _mean(output, mask))


def _mean(x, mask):
    mask = ops.cast(mask, x.dtype)[..., None]
    return ops.sum(x * mask, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1.0)


def _hub_ids(tokenizer, texts: Sequence[str], longest: int | None) -> list[list[int]]:
    first = _special(tokenizer, "cls_token_id", "start_token_id")
    last = _special(tokenizer, "sep_token_id", "end_token_id")
    room = (longest or 512) - len(first) - len(last)
    found = [[int(token) for token in ops.convert_to_numpy(tokenizer(text))] for text in texts]
    return [[token + 1 for token in [*first, *tokens[:room], *last]] for tokens in found]


def _special(tokenizer, *names: str) -> list[int]:
    tokens = [getattr(tokenizer, name, None) for name in names]
    return [token for token in tokens if token is not None][:1]


def _hub_words(tokenizer) -> Iterable[str]:
    """Pieces that begin a word: as SentencePiece marks them, byte pairs, or word pieces."""
    pieces = [str(piece) for piece in tokenizer.get_vocabulary()]
    for mark in ("\u2581", "\u0120"):
        if any(piece.startswith(mark) for piece in pieces):
            return [piece[1:] for piece in pieces if piece.startswith(mark)]
    return [piece for piece in pieces if not piece.startswith("##")]
