"""TargetMaker: asks a teacher for its outputs, unless a folder holds them already."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import keras

from mmkd_tf.distill.forward import LOGITS
from mmkd_tf.distill.targets.cache import SoftTargetCache
from mmkd_tf.distill.targets.files import (
    DamagedError,
    read_manifest,
    write_manifest,
    write_targets,
)
from mmkd_tf.distill.targets.folder import foreign_files, move_in_place, unfinished_folder
from mmkd_tf.distill.targets.outputs import TeacherOutputs, differ
from mmkd_tf.models.routing import input_names

_MEANINGS = {
    "teacher_weights": "teacher (other weights)",
    "teacher_architecture": "teacher (another architecture)",
    "data": "data (other examples)",
}


class TargetMaker:
    """Makes or opens the cache of one teacher in one folder.

    Args:
        teacher: Functional model that gives logits.
        folder: The cache's folder.
        key: What tells the cache from others, besides the layers.
        layers: Names of layers whose outputs are kept too.

    Raises:
        TypeError: If the names are no names.
        ValueError: If the teacher lacks one of the layers.
    """

    def __init__(self, teacher: keras.Model, folder, key: Mapping, layers: Sequence[str]):
        self.folder = Path(folder)
        self.outputs = TeacherOutputs(teacher, layers)
        self.key = {**key, "layers": sorted(set(self.outputs.names) - {LOGITS})}

    def load(self, *, warn: bool = True) -> SoftTargetCache | None:
        """Opens the cache if it is there and whole; warns if it is there and damaged.

        Raises:
            ValueError: If the folder holds something else.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"`folder`: a folder. Received: the file {self.folder}.")
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return None
        try:
            self._check_key(read_manifest(self.folder)["key"])
            return SoftTargetCache(self.folder)
        except DamagedError as error:
            foreign = foreign_files(self.folder)
            if foreign:
                raise ValueError(
                    "`folder`: a new or empty folder, or a whole cache of soft targets. Received: "
                    f"{self.folder} with {len(foreign)} other files ({', '.join(foreign[:5])}) "
                    "and no whole cache. Choose another folder."
                ) from None
            if warn:
                warnings.warn(f"The cache is made again. {error}", stacklevel=3)
            return None

    def _check_key(self, made: Mapping) -> None:
        differing = [name for name in self.key if made.get(name) != self.key[name]]
        if differing:
            lines = [
                f"- {_MEANINGS.get(name) or f'{name}: {made.get(name)!r} there, now {now!r}'}"
                for name, now in self.key.items()
                if name in differing
            ]
            raise ValueError(
                "`folder`: a new or empty folder, or soft targets of this teacher for these data. "
                f"Received: {self.folder}, which differs in:\n" + "\n".join(lines) + "\n"
                "Choose another folder, or remove this one if nobody needs it."
            )

    def make(self, inputs: Iterable[Mapping], num_examples: int) -> SoftTargetCache:
        """Asks the teacher and writes what it says."""
        folder, names = self.folder.resolve(), input_names(self.outputs.teacher)
        with unfinished_folder(folder) as unfinished:
            parts = self.outputs.of_each(inputs, num_examples)
            files = write_targets(
                unfinished, parts=parts, views=self.key["views"], num_examples=num_examples
            )
            write_manifest(unfinished, {"key": self.key, "inputs": names, "files": files})
            cache = self.load(warn=False)  # another process may have made it meanwhile
            if cache is None:
                move_in_place(unfinished, folder)
        return cache or SoftTargetCache(self.folder)

    def check(self, cache: SoftTargetCache, inputs: Mapping) -> None:
        """Asks the teacher again about the first examples of the last view.

        What it says depends on code too: that of augmentation and of the layers.

        Raises:
            ValueError: If it says something else now.
        """
        again = self.outputs.of(inputs)
        kept = {name: cache.outputs[name][-1, : len(values)] for name, values in again.items()}
        differing = [name for name in kept if differ(kept[name], again[name])]
        if differing:
            raise ValueError(
                f"`folder`: what this teacher says of these data. Received: {self.folder}, "
                f"where {differing} differ from what it says now, because the code of its layers "
                "or of the augmentation has changed. Choose another folder, or remove this one."
            )
