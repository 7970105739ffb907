import io

from matplotlib.image import imread

from unrolled.train.callbacks.confusion_matrix import ConfusionMatrix


def test_a_figure_of_the_test_set_reaches_tensorboard(tiny, batches, make_trainer, events) -> None:
    make_trainer([ConfusionMatrix()]).test(tiny, batches(1), verbose=False)
    (event,) = events().Images("test/confusion_matrix")
    picture = imread(io.BytesIO(event.encoded_image_string))
    assert picture.shape[0] > 200
    assert picture.std() > 0
