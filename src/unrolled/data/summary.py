"""The summary of a data set in figures, and warnings about what may spoil a result."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from unrolled.data.cache import TokenCache
from unrolled.data.corpus import Integers, TokenCorpus
from unrolled.data.sources.source import note_lines
from unrolled.data.text_choice import BY_BLANKS, CHARACTERS
from unrolled.data.tokenizer import Tokenizer
from unrolled.data.vocabulary import Vocabulary

QUANTILES = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}

LONGEST_SHARE = 0.1  # of the tokens of train in one document above which we warn,
LONGEST = 5_000  # if it has so many tokens at least
MEASURED = 20  # classes with a decimal point from which on they look like what has been measured
IMBALANCE = 20  # largest class over smallest from which on we warn
UNKNOWN_SHARE = 0.5  # share of unknown tokens in a split from which on we warn
VECTORS_SHARE = 0.5  # share of tokens that pretrained vectors know below which we warn


def summarise(
    name: str,
    parts: dict[str, TokenCorpus],
    uncut: dict[str, TokenCorpus],
    cache: TokenCache,
    counts: dict[str, Integers],
    vocabulary: Vocabulary,
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    """Figures of the three splits as plain values: documents, classes, lengths, unknown and cut-off shares, duplicates.

    Duplicates are documents with the same tokens, so texts that differ in what the tokenizer leaves out are found, too.

    parts: train, valid and test as training will read them; uncut: the same before documents were truncated; counts:
    how often each type stands in each of the parts, [types].
    """
    hashes = {split: part.hashes[part.lengths > 0] for split, part in uncut.items() if part.hashes is not None}
    splits = {}
    for split, part in parts.items():
        tokens = int(counts[split].sum())
        whole = int(uncut[split].lengths.sum())
        splits[split] = {
            "documents": len(part),
            "empty": int((uncut[split].lengths == 0).sum()),
            "tokens": tokens,
            "unknown_share": float(counts[split][part.table == 1].sum() / max(tokens, 1)),
            "cut_share": 1 - tokens / whole if whole else 0.0,
            "mean_length": float(part.lengths.mean()),
            "lengths": {
                label: int(value)
                for label, value in zip(
                    QUANTILES, np.quantile(part.lengths, list(QUANTILES.values()), method="nearest"), strict=True
                )
            },
            "classes": dict(
                zip(cache.labels, np.bincount(part.labels, minlength=len(cache.labels)).tolist(), strict=True)
            ),
            "longest_record": int(part.ids[part.lengths.argmax()]),
            "duplicates": len(hashes[split]) - len(np.unique(hashes[split])),
            "groups_in_train": _groups_in_train(part, parts["train"]) if split != "train" else None,
            "in_train": None if split == "train" else int(np.isin(hashes[split], hashes["train"]).sum()),
        }
    return {
        "name": name,
        "classes": len(cache.labels),
        "tokenizer": tokenizer.kind,
        "vocabulary": len(vocabulary),
        "types_in_train": int((counts["train"] > 0).sum()),
        "notes": cache.notes,
        "splits": splits,
    }


def _groups_in_train(part: TokenCorpus, train: TokenCorpus) -> int:
    """Documents of ``part`` whose group has others in train, as splits that are given may have."""
    if part.groups is None or train.groups is None:
        return 0
    return int((np.isin(part.groups, train.groups) & (part.groups >= 0)).sum())


def find_warnings(summary: dict[str, Any], suits: str) -> list[str]:
    """Sentences about what may spoil a result although training can go on; suits: the kind of tokens that would."""
    found = []
    splits = summary["splits"]
    for split, figures in splits.items():
        if figures["empty"]:
            found.append(
                f"{figures['empty']} of {figures['documents']} documents of {split} have no tokens; they are kept"
            )
        if figures["unknown_share"] > UNKNOWN_SHARE:
            found.append(
                f"{figures['unknown_share']:.0%} of the tokens of {split} are unknown; raise text.max_size or lower "
                f"text.min_count, or choose text=characters"
            )
    counts = splits["train"]["classes"]
    if len(counts) >= MEASURED and all("." in name and is_number(name) for name in counts):
        found.append(
            f"the {len(counts)} classes look like measured numbers, such as {next(iter(counts))}; should "
            "data.label_column be another column?"
        )
    for names in _alike(counts):
        listed = " and ".join(f"{name!r} ({counts[name]} documents of train)" for name in names)
        found.append(f"the classes {listed} differ only by blanks around them; remove the blanks if they are one class")
    longest = splits["train"]["lengths"]["max"]
    share = longest / max(splits["train"]["tokens"], 1)
    if longest >= LONGEST and share > LONGEST_SHARE:
        shorter = min(max(longest // 10_000, 1), 20) * 1000
        found.append(
            f"one document of train (record {splits['train']['longest_record']} of its file) has {longest:,} tokens, "
            f"{share:.0%} of an epoch's; data.max_tokens={shorter} truncates it"
        )
    duplicates = splits["train"]["duplicates"]
    if duplicates:
        found.append(f"{duplicates} of {splits['train']['documents']} texts of train occur more than once")
    for split, name in (("valid", "validation"), ("test", "test")):
        if splits[split]["in_train"]:
            known = f"{splits[split]['in_train']} of {splits[split]['documents']} texts of {split}"
            found.append(f"{known} also occur in train, token for token; {name} figures will be too good")
        if splits[split]["groups_in_train"]:
            known = f"{splits[split]['groups_in_train']} of {splits[split]['documents']} documents of {split}"
            found.append(f"{known} are of groups that also occur in train; {name} figures will be too good")
    if "vectors" in summary and summary["vectors"]["tokens"] < VECTORS_SHARE:
        found.append(
            f"{summary['vectors']['file']} has vectors for only {summary['vectors']['tokens']:.0%} of the known "
            f"tokens of train; check that it is of the same language and that text={summary['tokenizer']} splits words "
            f"as it does"
        )
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] > IMBALANCE * counts[smallest]:
        found.append(
            f"the classes are unbalanced: train has {counts[largest]} documents of {largest!r} and {counts[smallest]} "
            f"of {smallest!r}; look at macro F1 rather than accuracy"
        )
    if summary["tokenizer"] in BY_BLANKS and suits == CHARACTERS:
        found.append(
            f"most texts of train have no blanks between words: text={summary['tokenizer']} does not fit, choose "
            f"text={CHARACTERS}"
        )
    return found


def is_number(label: str) -> bool:
    with suppress(ValueError):
        float(label)
        return True
    return False


def _alike(labels: Iterable[str]) -> list[list[str]]:
    """The labels that are the same without the blanks around them."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(label.strip(), []).append(label)
    return [names for names in groups.values() if len(names) > 1]


def summary_table(summary: dict[str, Any]) -> Table:
    """The summary for a terminal: one column for each split."""
    splits = summary["splits"]
    title = (
        f"{summary['name']}: {summary['classes']} classes, vocabulary of {summary['vocabulary']:,} "
        f"({summary['tokenizer']}; {summary['types_in_train']:,} types in train)"
    )
    if "vectors" in summary:
        share = summary["vectors"]
        title += f"; {share['file']}: {share['types']:.1%} of the vocabulary, {share['tokens']:.1%} of the tokens"
    notes = note_lines(summary["notes"])
    # Text, not str: names may hold square brackets, which a str would have read as markup.
    table = Table(title=Text(title), title_justify="left", caption_justify="left")
    if notes:
        table.caption = Text("\n".join(notes))
    table.add_column("")
    for split in splits:
        table.add_column(split, justify="right")

    def row(name: str, *values: str) -> None:
        table.add_row(Text(name), *values)

    row("documents", *(f"{figures['documents']:,}" for figures in splits.values()))
    row("tokens", *(f"{figures['tokens']:,}" for figures in splits.values()))
    row("mean length", *(f"{figures['mean_length']:.0f}" for figures in splits.values()))
    for quantile in QUANTILES:
        row(f"length, {quantile}", *(f"{figures['lengths'][quantile]:,}" for figures in splits.values()))
    row("unknown tokens", *(f"{figures['unknown_share']:.1%}" for figures in splits.values()))
    row("cut off", *(f"{figures['cut_share']:.1%}" for figures in splits.values()))
    row("without tokens", *(f"{figures['empty']:,}" for figures in splits.values()))
    row("also in train", *("" if (n := figures["in_train"]) is None else f"{n:,}" for figures in splits.values()))
    names = list(splits["train"]["classes"])
    shown = names if len(names) <= 20 else sorted(names, key=lambda name: -splits["train"]["classes"][name])[:19]
    for name in shown:
        row(f"class {name}", *(f"{figures['classes'][name]:,}" for figures in splits.values()))
    if len(shown) < len(names):
        rest = [name for name in names if name not in set(shown)]
        row(
            f"{len(rest)} other classes",
            *(f"{sum(figures['classes'][name] for name in rest):,}" for figures in splits.values()),
        )
    return table
