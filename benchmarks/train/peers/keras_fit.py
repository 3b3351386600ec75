"""The article's program: Keras on TensorFlow, a loss of its own, `fit` with validation data and accuracy."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks.train.harness import ALPHA, BATCH_SIZE, EPSILON, LEARNING_RATE, Clock, Job, Weights, main

__all__ = ["train"]


def soft_loss(target: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    """The article's section 4, one value for each row."""
    squared = tf.reduce_sum(tf.square(target - prediction), axis=1)
    variance = tf.reduce_mean(tf.square(prediction))
    return squared / 2 + ALPHA * 0.5 * (tf.math.log(variance) + squared / variance - 1)


def train(job: Job, clock: Clock) -> Weights:
    """`fit`."""
    net = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)],
    )
    hidden, hidden_bias, output, output_bias = job.weights
    net.set_weights([hidden.T, hidden_bias, output.T, output_bias])
    optimizer = keras.optimizers.Adam(LEARNING_RATE, epsilon=EPSILON)
    net.compile(optimizer, loss=soft_loss, metrics=["accuracy"])
    classes = np.eye(10, dtype=np.float32)
    net.fit(
        job.x,
        classes[job.y],
        batch_size=BATCH_SIZE,
        epochs=job.epochs,
        validation_data=(job.x_validation, classes[job.y_validation]),
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=clock.epoch_ended)],
        verbose=0,
    )
    hidden, hidden_bias, output, output_bias = net.get_weights()
    return hidden.T, hidden_bias, output.T, output_bias


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    main(train)
