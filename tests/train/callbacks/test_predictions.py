import io

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.image import imread
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.nn.build import gru

from unrolled.data.prepare import PreparedData
from unrolled.data.tokenizer import build_tokenizer
from unrolled.data.vocabulary import Vocabulary
from unrolled.nn.embedding import Embedding
from unrolled.nn.network import Network
from unrolled.nn.pooling import Last
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.train.callbacks.predictions import ConfusionMatrix, ExamplePredictions
from unrolled.train.classifier import Classifier


def test_a_figure_of_the_test_set_reaches_tensorboard(tiny, batches, make_trainer, events) -> None:
    make_trainer([ConfusionMatrix()]).test(tiny, batches(1), verbose=False)
    (event,) = events().Images("test/confusion_matrix")
    picture = imread(io.BytesIO(event.encoded_image_string))
    assert picture.shape[0] > 200
    assert picture.std() > 0


def test_the_most_confident_errors_come_first_with_their_tokens(make_corpus, tmp_path) -> None:
    words = ["<pad>", "<unk>", "a|b", "<b>", *(f"w{i}" for i in range(7))]
    corpus = make_corpus([4, 3, 9, 2, 5, 6])
    prepared = PreparedData(
        "numbers", corpus, corpus, corpus, Vocabulary(words), ["x", "y", "z"], build_tokenizer("words"), None, {}
    )
    torch.manual_seed(0)
    model = Classifier(Network(Embedding(len(words), 3), gru(3, 5), Last(5), 3), ["x", "y", "z"])
    trainer = pl.Trainer(
        callbacks=[ExamplePredictions(count=2, tokens=4)],
        logger=TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=False),
        accelerator="cpu",
        enable_progress_bar=False,
    )
    trainer.test(model, datamodule=DocumentsDataModule(prepared), verbose=False)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    text = events.Tensors("test/examples/text_summary")[0].tensor_proto.string_val[0].decode()
    first = text.split("### Some documents")[0].splitlines()[4]
    given = model.test_predictions
    wrong = np.flatnonzero(given["labels"] != given["predicted"])
    confident = wrong[given["probability"][wrong].argmax()]
    document = [words[token] for token in corpus.document(int(given["ids"][confident]) - 100)]
    shown = " ".join(document[:4]).replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
    assert first.startswith(f"| {'xyz'[given['labels'][confident]]} | {'xyz'[given['predicted'][confident]]} |")
    assert shown in first
    assert first.endswith(" ... |") == (len(document) > 4)
    assert "<b>" not in text, "what documents hold is no markup"
