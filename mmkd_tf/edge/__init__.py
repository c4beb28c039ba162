"""Runs an exported file where neither TensorFlow nor Keras is installed."""

from mmkd_tf.edge.classifier import Classifier, Prediction
from mmkd_tf.edge.encoder import Encoder
from mmkd_tf.edge.index import Index, Match
from mmkd_tf.edge.regressor import Regressor
from mmkd_tf.edge.retriever import Retriever

__all__ = ["Classifier", "Encoder", "Index", "Match", "Prediction", "Regressor", "Retriever"]
