"""The model card: the numbers of the page, in the form of the hub, without an utterance."""

import re

from huggingface_hub import ModelCard


def test_the_model_card_says_the_numbers_of_the_page(found, shown, written):
    text = written.card.read_text(encoding="utf-8")
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    page = shown.table("test1 of ravdess")
    scores = [row for row in lines if len(row) == 7 and row[0] in {cells[0] for cells in page}]
    for card, (name, kind, macro_f1, bounds, *rest) in zip(scores, page, strict=True):
        assert card == [name, kind, f"{macro_f1} [{bounds.replace(' to ', ', ')}]", *rest]
    for name, count, macro_f1, bounds, accuracy in shown.table("soup by group"):
        assert [name, count, f"{macro_f1} [{bounds.replace(' to ', ', ')}]", accuracy] in lines
    for row in found["tables"]["calibration"]:
        assert [row["system"], f"{row['ece']:.3f}", f"{row['overconfidence']:z.3f}"] in lines
    assert ["one_hot", "0.441 [0.340, 0.540]", "-0.059 [-0.090, -0.030]", "0.002 *"] in lines


def test_the_model_cards_head_is_what_the_hub_reads(found, written):
    text = written.card.read_text(encoding="utf-8")
    head = ModelCard(text).data
    assert (head.license, head.datasets, head.metrics) == (
        "cc-by-nc-sa-4.0",
        ["ravdess"],
        ["f1", "accuracy", "recall"],
    )
    assert "speech-emotion-recognition" in head.tags
    (first, *_) = head.eval_results
    (soup,) = (row for row in found["tables"]["scores"] if row["system"] == "soup")
    assert (first.metric_name, first.metric_value, first.dataset_split) == (
        "Macro-F1",
        round(soup["macro_f1"], 3),
        "test1",
    )


def test_the_model_card_names_limits_licence_and_nobodys_utterance(written, prepared):
    text = written.card.read_text(encoding="utf-8")
    for title in (
        "Intended use",
        "Not for",
        "Limits",
        "Training data",
        "Evaluation",
        "Subgroups",
        "Calibration",
        "Where the numbers come from",
    ):
        assert f"\n## {title}\n" in text
    assert "CC BY-NC-SA 4.0" in text
    assert "in-sample, as in the paper" in text
    assert not re.search(r"utterance-\d+|this is", text)
    assert str(prepared.run.out) not in text
    assert "path: (a local folder)" in text
