from types import SimpleNamespace
from typing import get_args

import pytest

from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models import build_student, build_teacher
from mmkd_tf.models.named_fusions import FUSION_NAMES, fusion_by_name
from mmkd_tf.settings.groups import FusionName


def test_settings_have_all_names():
    assert get_args(FusionName) == FUSION_NAMES


@pytest.mark.parametrize("name", FUSION_NAMES)
@pytest.mark.parametrize("num_words", [300, 2000])
def test_student_is_20_times_smaller_than_the_teacher_with_any(name, num_words):
    words = ["<pad>", "<unk>", *map(str, range(num_words - 2))]
    modalities = {"image": Image(height=64), "text": Text(vocabulary=words, length=24)}
    task = SimpleNamespace(modalities=modalities, num_classes=10)
    teacher = build_teacher(task, fusion=fusion_by_name(name, "teacher"))
    student = build_student(task, fusion=fusion_by_name(name, "student"))
    assert teacher.count_params() >= 20 * student.count_params()
    assert type(teacher.get_layer("fusion")) is type(student.get_layer("fusion"))
