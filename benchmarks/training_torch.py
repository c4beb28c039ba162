"""The default teacher and student in PyTorch, a peer of `training.py` where torch is installed.

The same architectures, numbers of parameters, batches, losses and optimiser; PyTorch's own layers.
It works in a process of its own: in one the threads of either library wait in the other's way.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from torch import nn
from torch.nn import functional

TEMPERATURE, SOFT_WEIGHT = 4.0, 0.5
VARIANTS: dict[str, Callable] = {}  # of the process that trains
NAMES = (
    "torch student",
    "torch student, compiled",
    "torch online",
    "torch online, compiled",
    "torch online, compiled, bfloat16",
)


class Model(nn.Module):
    """Convolutions over the picture, an LSTM over the words, a weighted sum, logits."""

    def __init__(self, *, filters, words, units, image_features, num_classes, teacher: bool):
        super().__init__()
        blocks, before = [], 3
        for index, number in enumerate(filters):
            size = 5 if index == 0 else 3
            depth = 0 if teacher else 8 if index == 0 else 1
            blocks += convolution(before, number, size, depth=depth)
            blocks += [nn.BatchNorm2d(number, eps=1e-3, momentum=0.1), nn.ReLU()]
            before = number
        self.convolutions = nn.Sequential(*blocks)
        dense = [nn.Linear(before, image_features), nn.ReLU()] if teacher else []
        self.image_features = nn.Sequential(*dense)
        self.words = nn.Embedding(2000, words, padding_idx=0)
        self.word_dropout = nn.Dropout(0.3 if teacher else 0.0)
        self.lstm = nn.LSTM(words, units, batch_first=True)
        self.image_projection = nn.Linear(image_features, 64)
        self.text_projection = nn.Linear(units, 64)
        self.weights = nn.Parameter(torch.zeros(2))
        self.dropout = nn.Dropout(0.5 if teacher else 0.0)
        self.logits = nn.Linear(64, num_classes)

    def forward(self, pictures, ids):
        """Logits of pictures `[batch, 3, 64, 64]` of 0 to 255 and words `[batch, 32]`."""
        features = self.convolutions(pictures / 127.5 - 1).mean((2, 3))
        image = self.image_projection(self.image_features(features))
        steps, _ = self.lstm(self.word_dropout(self.words(ids)))
        last = (ids != 0).sum(1).clamp(min=1) - 1  # words come first
        text = self.text_projection(steps[torch.arange(len(ids)), last])
        image_share, text_share = torch.softmax(self.weights, 0)
        return self.logits(self.dropout(image_share * image + text_share * text))


def convolution(before: int, number: int, size: int, *, depth: int) -> list[nn.Module]:
    """A convolution that halves the picture, padded as "same" is for even sizes.

    It is separable with `depth` filters for each channel, or whole where `depth` is 0.
    """
    low = (size - 2) // 2
    padding = nn.ZeroPad2d((low, size - 2 - low, low, size - 2 - low))
    if not depth:
        return [padding, nn.Conv2d(before, number, size, stride=2, bias=False)]
    depthwise = nn.Conv2d(before, before * depth, size, stride=2, groups=before, bias=False)
    return [padding, depthwise, nn.Conv2d(before * depth, number, 1, bias=False)]


def student() -> Model:
    """As `build_student` makes it."""
    return Model(
        filters=(24, 48, 80, 96), words=12, units=32, image_features=96, num_classes=9,
        teacher=False,
    )  # fmt: skip


def teacher() -> Model:
    """As `build_teacher` makes it."""
    return Model(
        filters=(32, 64, 128, 256), words=256, units=128, image_features=128, num_classes=9,
        teacher=True,
    )  # fmt: skip


def torch_variants(examples: Mapping, *, batch_size: int, like: Mapping[str, int]) -> dict:
    """A function for each variant, which has a process train it for one epoch.

    Args:
        examples: `image`, uint8, `text` and `labels`, int32.
        batch_size: Examples in a batch.
        like: By name, `student` and `teacher`, parameters of the Keras models that these are
            peers of.

    Raises:
        ValueError: If a model has another number of parameters than its peer, but for the
            LSTM's second bias, which PyTorch has and Keras has not.
    """
    for name, make in {"student": student, "teacher": teacher}.items():
        ours, peer = like[name], make()
        theirs = sum(each.numel() for each in peer.parameters()) - peer.lstm.bias_hh_l0.numel()
        moments = sum(
            each.numel() for name, each in peer.named_buffers() if not name.endswith("tracked")
        )
        if ours != theirs + moments:
            raise ValueError(f"{name}: {ours:,} parameters here, {theirs + moments:,} in PyTorch.")
    context = multiprocessing.get_context("spawn")
    given = dict(examples), batch_size
    process = ProcessPoolExecutor(1, mp_context=context, initializer=begin, initargs=given)
    return {name: lambda name=name: process.submit(epoch_of, name).result() for name in NAMES}


def epoch_of(name: str) -> float:
    """Trains a variant for one epoch; gives its seconds once its threads have come to rest."""
    start = time.perf_counter()
    VARIANTS[name]()
    seconds = time.perf_counter() - start
    time.sleep(0.5)
    return seconds


def begin(examples: Mapping, batch_size: int) -> None:
    """Makes the variants, in the process that trains them."""
    torch.manual_seed(0)

    def variant(*, compiled: bool, bfloat16: bool, online: bool) -> Callable:
        made, expert = student(), teacher().eval().requires_grad_(False)
        optimizer = torch.optim.Adam(made.parameters(), lr=1e-3, eps=1e-7)
        step = training_step(made, expert if online else None, bfloat16=bfloat16)
        step = torch.compile(step) if compiled else step

        def epoch():
            made.train()
            for pictures, ids, labels in batches(examples, batch_size):
                optimizer.zero_grad(set_to_none=True)
                step(pictures, ids, labels).backward()
                optimizer.step()

        return epoch

    compiled = {"compiled": True, "bfloat16": False}
    made = (
        variant(compiled=False, bfloat16=False, online=False),
        variant(**compiled, online=False),
        variant(compiled=False, bfloat16=False, online=True),
        variant(**compiled, online=True),
        variant(compiled=True, bfloat16=True, online=True),
    )
    VARIANTS.update(zip(NAMES, made, strict=True))


def training_step(made: Model, expert: Model | None, *, bfloat16: bool) -> Callable:
    """The loss of a batch: labels, and soft targets where there is a teacher."""

    def loss(pictures, ids, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = made(pictures, ids).float()
            hard = functional.cross_entropy(logits, labels)
            if expert is None:
                return hard
            with torch.no_grad():
                wanted = functional.log_softmax(expert(pictures, ids).float() / TEMPERATURE, 1)
            said = functional.log_softmax(logits / TEMPERATURE, 1)
            soft = functional.kl_div(said, wanted, reduction="batchmean", log_target=True)
            return (1 - SOFT_WEIGHT) * hard + SOFT_WEIGHT * TEMPERATURE**2 * soft

    return loss


def batches(examples, batch_size: int) -> Iterator[tuple]:
    """Shuffled whole batches; pictures are float32 with channels first."""
    order = np.random.permutation(len(examples["labels"]))
    for start in range(0, len(order) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        pictures = torch.from_numpy(examples["image"][chosen]).permute(0, 3, 1, 2).float()
        ids = torch.from_numpy(examples["text"][chosen]).long()
        labels = torch.from_numpy(examples["labels"][chosen]).long()
        yield pictures.contiguous(memory_format=torch.channels_last), ids, labels
