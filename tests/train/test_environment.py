import json
import platform

import torch

from unrolled.train.environment import PARALLEL_VARIABLE, describe_environment, git_commit


def test_the_environment_is_plain_and_names_no_host() -> None:
    environment = describe_environment()
    text = json.dumps(environment)
    assert platform.node() not in text or len(platform.node()) < 4
    assert environment["device"] == "cpu"
    assert environment["threads"] == torch.get_num_threads()
    assert environment["versions"]["torch"] == torch.__version__
    assert environment["precision"] == "32-true"


def test_timings_beside_other_jobs_are_marked(monkeypatch) -> None:
    assert describe_environment()["timed_in_parallel"] is False
    monkeypatch.setenv(PARALLEL_VARIABLE, "2")
    assert describe_environment()["timed_in_parallel"] is True


def test_a_commit_is_forty_hexadecimal_digits_or_there_is_none(monkeypatch, tmp_path) -> None:
    git = git_commit()
    assert git is None or len(git["commit"]) == 40
    monkeypatch.setattr("unrolled.train.environment.__file__", str(tmp_path / "environment.py"))
    assert git_commit() is None, "not in a repository"
