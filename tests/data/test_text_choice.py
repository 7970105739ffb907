"""Which kind of tokens suits texts, on sentences in several scripts."""

# ruff: noqa: RUF001  (the marks of these scripts are meant)

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unrolled.data.config import TextConfig, data_config
from unrolled.data.prepare import prepare
from unrolled.data.sources.source import Document, Notes, Source
from unrolled.data.text_choice import choose_text

ENGLISH = [
    "The hotel was clean and the staff friendly, but breakfast ended far too early.",
    "I couldn't find the station; a kind old man showed me the way :-)",
    "https://example.org/a/very/long/address/" + "which-goes-on-and-on-" * 40,
    "Naïve cafés charge 4 € for a résumé.",
]
CHINESE = [
    "酒店很干净，服务员也很热情，可惜早餐结束得太早了。",
    "我用 iPhone 拍了照片，发给了 Anna。",
    "手机不错",
    "下雨了，我们没有去公园，在家里看了一整天的书。",
]
JAPANESE = ["駅までの道が分からなかったので、おじいさんに聞きました。", "朝ごはんはとてもおいしいです！"]
THAI = ["โรงแรมสะอาดมากและพนักงานก็ใจดี แต่อาหารเช้าหมดเร็วเกินไป", "วันนี้ฝนตกทั้งวัน เราเลยอยู่บ้านอ่านหนังสือ"]
LAO, KHMER, BURMESE = ["ມື້ນີ້ຝົນຕົກໝົດມື້"], ["ថ្ងៃនេះភ្លៀងធ្លាក់ពេញមួយថ្ងៃ"], ["ဒီနေ့တစ်နေ့လုံးမိုးရွာတယ်"]
KOREAN = ["오늘은 하루 종일 비가 와서 집에서 책을 읽었습니다.", "호텔은 깨끗했고 직원들도 친절했어요."]
RUSSIAN = ["Сегодня весь день шёл дождь, и мы остались дома читать книги."]
DIVIDED = ["酒店 很 干净 ， 服务员 也 很 热情 。", "下雨 了 ， 我们 没有 去 公园 ， 在 家里 看 书 。"]
TOKEN = ["x" * 100_000]  # longer than all else together


class Texts(Source):
    name = "texts"

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def fingerprint(self) -> dict[str, Any]:
        return {"texts": self.texts}

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        for number, text in enumerate(self.texts):
            yield Document(text, f"class {number % 2}")


@pytest.mark.parametrize(
    ("texts", "kind", "said"),
    [
        (ENGLISH, "wordpunct", ""),
        ([*ENGLISH, *TOKEN], "wordpunct", ""),
        ([], "wordpunct", ""),
        (["", " \n"], "wordpunct", ""),
        (KOREAN, "wordpunct", ""),
        (RUSSIAN, "wordpunct", ""),
        (DIVIDED, "wordpunct", ""),
        (["I learned that 雨 means rain and 木 means tree."] * 3, "wordpunct", ""),
        (
            CHINESE,
            "characters",
            "text: the texts have no blanks between words (Chinese): read as characters; text=wordp",
        ),
        (["", *CHINESE[2:3]], "characters", "(Chinese)"),
        (JAPANESE, "characters", "(Japanese)"),
        (THAI, "characters", "(Thai)"),
        (LAO, "characters", "(Lao)"),
        (KHMER, "characters", "(Khmer)"),
        (BURMESE, "characters", "(Burmese)"),
        (ENGLISH * 4 + CHINESE * 5, "characters", "text: 56% of the texts have no blanks between words (Chinese): all"),
        (
            ENGLISH * 4 + CHINESE,
            "wordpunct",
            "20% of the texts have no blanks between words (Chinese): all are read as w",
        ),
        (ENGLISH * 10 + JAPANESE, "wordpunct", ""),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_scripts_without_blanks_are_read_as_characters(texts: list[str], kind: str, said: str) -> None:
    chosen, line = choose_text(Texts(texts))
    assert chosen == kind
    assert said in line
    assert bool(said) == bool(line)


def test_no_more_than_the_beginning_is_looked_at() -> None:
    def endless() -> Iterator[Document]:
        while True:
            yield Document(CHINESE[0] * 100, "class")

    source = Texts([])
    source.documents = lambda *_: endless()  # type: ignore[method-assign]
    assert choose_text(source)[0] == "characters"


@pytest.mark.parametrize(("texts", "kind"), [(ENGLISH, "wordpunct"), (CHINESE, "characters")])
def test_auto_gives_the_tokens_of_what_it_chose_from_the_same_entry_of_the_cache(
    texts: list[str], kind: str, tmp_path: Path
) -> None:
    keys = data_config(_target_=f"{__name__}.Texts", texts=texts * 8)
    auto, typed = (prepare(keys, TextConfig(kind=each), 0, tmp_path) for each in ("auto", kind))
    assert auto.tokenizer.kind == kind
    assert auto.vocabulary.tokens == typed.vocabulary.tokens
    assert len([path for path in (tmp_path / "tokens").iterdir() if path.is_dir()]) == 1
