"""`python train.py --help`."""

from omegaconf import OmegaConf
from tests.conftest import ROOT

from unrolled.cli.conf import choices, default_choices, own_folders
from unrolled.cli.help import help_text

CONF = ROOT / "conf"


def test_help_fits_a_terminal() -> None:
    assert max(map(len, help_text(CONF).splitlines())) <= 80


def test_help_names_every_group_with_every_choice_and_its_default() -> None:
    text = " ".join(help_text(CONF).split())
    defaults = default_choices(CONF)
    assert set(defaults) == {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"hydra"}
    for group, default in defaults.items():
        names = [f"{name}*" if name == default else name for name in choices(CONF, group)]
        assert f"{group} {', '.join(names)}" in text


def test_help_names_the_choices_of_the_users_own_folder(tmp_path) -> None:
    (tmp_path / "pooling").mkdir()
    (tmp_path / "pooling" / "my_sum.yaml").touch()
    for arguments in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        assert "max, mean, my_sum" in help_text(CONF, own_folders(arguments))
    assert "my_sum" not in help_text(CONF)


def test_the_keys_that_help_names_exist(compose_config) -> None:
    config = compose_config("name=x", "data=csv")
    text = help_text(CONF)
    named = text[text.index("Keys that people") :].split("-m runs")[0]
    for line in named.splitlines()[1:]:
        for key in line[:41].replace(",", " ").split():
            node = config
            for part in key.partition("=")[0].split("."):
                assert part in node or OmegaConf.is_missing(node, part), key
                node = None if OmegaConf.is_missing(node, part) else node[part]
