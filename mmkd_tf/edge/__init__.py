"""Runs an exported file where neither TensorFlow nor Keras is installed."""

from mmkd_tf.edge.classifier import Classifier, Prediction
from mmkd_tf.edge.encoder import Encoder, Retriever
from mmkd_tf.edge.examples import register_reader
from mmkd_tf.edge.index import Index, Match
from mmkd_tf.edge.regressor import Regressor

__all__ = [
    "Classifier",
    "Encoder",
    "Index",
    "Match",
    "Prediction",
    "Regressor",
    "Retriever",
    "register_reader",
]
