import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.losses.features import contrastive_loss


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def reference(teacher, student, logit_scale, queue=None):
    candidates = teacher if queue is None else np.concatenate([teacher, queue])
    powers = np.exp(logit_scale * unit(student) @ unit(candidates).T)
    return -np.log(np.diagonal(powers) / powers.sum(1))


def loss(teacher, student, **arguments):
    return np.asarray(
        contrastive_loss(teacher_features=teacher, student_features=student, **arguments)
    )


@pytest.mark.parametrize("logit_scale", [1.0, 1 / 0.07])
@pytest.mark.parametrize("queue_size", [None, 0, 5])
def test_equals_numpy(drawn, logit_scale, queue_size):
    features = drawn.teacher_features, drawn.student_features
    queue = None if queue_size is None else np.cos(np.arange(80.0)).reshape(5, 16)[:queue_size]
    values = loss(*features, logit_scale=logit_scale, queue=queue)
    np.testing.assert_allclose(values, reference(*features, logit_scale, queue), rtol=1e-4)


def test_the_default_scale_is_that_of_the_paper(drawn):
    features = drawn.teacher_features, drawn.student_features
    np.testing.assert_allclose(loss(*features), reference(*features, 1 / 0.07), rtol=1e-4)


def test_gradient_equals_central_differences(drawn, check_gradient):
    teacher, queue = drawn.teacher_features, drawn.student_features[5:]
    check_gradient(
        lambda x: contrastive_loss(
            teacher_features=teacher, student_features=x, logit_scale=5.0, queue=queue
        ),
        lambda x: reference(teacher, x, 5.0, queue),
        drawn.student_features[::-1].copy(),
    )


def test_a_learned_scale_gets_a_gradient(drawn):
    scale = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        value = contrastive_loss(
            teacher_features=drawn.teacher_features,
            student_features=drawn.student_features,
            logit_scale=scale,
        )
    features = drawn.teacher_features, drawn.student_features
    expected = np.sum(reference(*features, 2.001) - reference(*features, 1.999)) / 0.002
    assert float(tape.gradient(value, scale)) == pytest.approx(expected, rel=1e-3)


def test_finds_what_is_alone_in_its_direction_and_nothing_among_equals():
    np.testing.assert_allclose(loss(np.eye(4), 3 * np.eye(4), logit_scale=100.0), 0, atol=1e-6)
    same = np.ones([4, 3])
    np.testing.assert_allclose(loss(same, same), np.full(4, np.log(4)), rtol=1e-5)
    values = loss(same, np.zeros([4, 3]), queue=same)
    np.testing.assert_allclose(values, np.full(4, np.log(8)), rtol=1e-5)


def test_a_queue_is_of_negatives_only(drawn):
    features = drawn.teacher_features, drawn.student_features
    longer = loss(*features, queue=drawn.student_features)
    assert (longer > loss(*features)).all()


def test_a_batch_of_one_has_nothing_to_be_told_from(drawn):
    values = loss(drawn.teacher_features[:1], drawn.student_features[:1])
    np.testing.assert_allclose(values, [0.0], atol=1e-6)


def test_refuses_other_widths_scales_and_queues_in_one_error(drawn):
    with pytest.raises(ValueError) as raised:
        loss(
            drawn.teacher_features,
            drawn.student_features[:, :9],
            logit_scale=0,
            queue=np.zeros([3, 9]),
        )
    for part in ("`logit_scale`: a finite number", "equal sizes", "`queue`: float"):
        assert part in str(raised.value)
