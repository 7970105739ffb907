"""What people write in Keras: fit() on batches that are padded. Runs in the environment of `make setup-peers`.

Called by run.py: python keras_loop.py BATCHES.npz THREADS WIDTH PADDED_TO WARM_UP; prints the seconds.
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
path, threads, width, padded_to, warm_up = sys.argv[1], *map(int, sys.argv[2:6])

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(threads)
data = np.load(path)
tokens = np.split(data["tokens"], np.cumsum(data["lengths"])[:-1])
size = int(data["batch_size"])


class Batches(keras.utils.PyDataset):
    """Padded to the longest document of the batch, or all to one length."""

    def __len__(self) -> int:
        return len(tokens) // size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        own = tokens[index * size : (index + 1) * size]
        ids = np.zeros((size, padded_to or max(map(len, own))), dtype=np.int32)
        for row, document in zip(ids, own, strict=True):
            row[: len(document)] = document
        return ids, data["labels"][index * size : (index + 1) * size]


class Clock(keras.callbacks.Callback):
    """Starts after the first batches."""

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if batch == warm_up - 1:
            self.began = time.perf_counter()

    def on_train_end(self, logs: object = None) -> None:
        print("seconds", time.perf_counter() - self.began)


model = keras.Sequential(
    [
        keras.Input((None,), dtype="int32"),
        keras.layers.Embedding(int(data["vocabulary"]), width),
        keras.layers.LSTM(width, return_sequences=True),
        keras.layers.GlobalMaxPooling1D(),
        keras.layers.Dense(int(data["classes"])),
    ]
)
model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(Batches(), shuffle=False, verbose=0, callbacks=[Clock()])
