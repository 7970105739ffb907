"""Callbacks are built before anything else happens, and what is wrong with one is one message."""

from typing import Any

import pytest
from omegaconf import OmegaConf, open_dict
from pytorch_lightning.callbacks import EarlyStopping, Timer

from unrolled.config import stood_in
from unrolled.errors import UserError
from unrolled.train.callbacks.build import build_callbacks

STOPPING = "pytorch_lightning.callbacks.EarlyStopping"


def built(**callbacks: Any) -> list[Any]:
    return build_callbacks(OmegaConf.create({"callbacks": callbacks}))


def test_callbacks_come_in_their_order_and_null_leaves_one_out() -> None:
    timer = {"_target_": "pytorch_lightning.callbacks.Timer", "duration": "00:02:00:00"}
    found = built(stop={"_target_": STOPPING, "monitor": "val/loss", "patience": 7}, none=None, timer=timer)
    assert [type(callback) for callback in found] == [EarlyStopping, Timer]
    assert found[0].patience == 7
    assert build_callbacks(OmegaConf.create({"callbacks": None})) == []


def test_the_callbacks_of_conf_are_built(compose_config) -> None:
    config = stood_in(compose_config("callbacks=diagnostics"))
    with open_dict(config):
        left_out = [name for name, given in config.callbacks.items() if given is None]
    assert len(build_callbacks(config)) == len(config.callbacks) - len(left_out) > 8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"_target_": STOPPING}, r"^callbacks.x \(.*EarlyStopping\): .*missing.*'monitor'"),
        ({"_target_": STOPPING, "monitor": "val/acc"}, r"callbacks.x.monitor=val/acc: .*did you mean val/accuracy\?"),
        (
            {"_target_": "collections.Counter"},
            r"^callbacks.x._target_=collections.Counter: this is not a Lightning callback",
        ),
        ({"_target_": "no.such.Class"}, r"^callbacks.x \(no.such.Class\): "),
    ],
)
def test_a_mistake_is_one_message(given, message) -> None:
    with pytest.raises(UserError, match=message):
        built(x=given)
