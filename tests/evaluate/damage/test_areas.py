import numpy as np
import pytest

from mmkd_tf.evaluate.damage.areas import effective_robustness, relative_robustness


def test_relative_robustness_by_hand():
    # Trapezoids of width 1/5: (.9 + .8) / 2, (.8 + .6) / 2, ... add up to 2.95.
    curve = [0.9, 0.8, 0.6, 0.5, 0.4, 0.4]
    assert relative_robustness(curve) == pytest.approx(2.95 / 5)
    assert relative_robustness([0.7] * 6) == pytest.approx(0.7)


def test_effective_robustness_by_hand():
    # The losses differ by 0, .1, .2: width 1/2, (0 + .1) / 2 + (.1 + .2) / 2 = .2.
    curve, reference = [0.9, 0.8, 0.7], [0.6, 0.4, 0.2]
    assert effective_robustness(curve, reference=reference) == pytest.approx(0.1)
    assert effective_robustness(reference, reference=curve) == pytest.approx(-0.1)
    assert effective_robustness(curve, reference=curve) == 0
    shifted = np.array(reference) + 0.3
    assert effective_robustness(curve, reference=shifted) == pytest.approx(0.1)
