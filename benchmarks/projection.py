"""Time and disk that MSP-Podcast needs, by encoder: operations counted, all else assumed."""

from typing import Any

import encoders

UTTERANCES = 84_260 + 31_961 + 3_200  # train, development, test3 of the challenge's release
SECONDS = 5.8  # mean of a training utterance, taken for all
EFFICIENCY = 0.35  # assumed share of the peak, not measured on either card
CARDS = {"H200": 989e12, "24 GB card (RTX 4090)": 165e12}  # dense bfloat16, as their maker states


def project() -> dict[str, Any]:
    """Rows for every encoder of the paper, and the table's lines in Markdown."""
    rows, hours = [], UTTERANCES * SECONDS / 3600
    for name in encoders.MEDUSA:
        encoder = encoders.ENCODERS[name]
        frames = SECONDS * (encoders.TOKENS_A_SECOND if encoder.reads == "text" else 50)
        disk = UTTERANCES * frames * encoder.width * 2 / 1e9
        for window in ("full", "real") if encoder.kind == "Whisper" else ("full",):
            cost = encoders.flops(name, SECONDS, window=window)
            times = {
                card: UTTERANCES * cost / (EFFICIENCY * peak) / 3600 for card, peak in CARDS.items()
            }
            label = name if encoder.kind != "Whisper" else f"{name}, `window: {window}`"
            rows.append(
                {
                    "encoder": label,
                    "gflop_a_second": cost / SECONDS / 1e9,
                    "hours": times,
                    "disk_gb": disk,
                }
            )
    amount = f"{UTTERANCES:,} utterances of {SECONDS} s: {hours:.0f} h of audio"
    lines = [
        f"{amount}; {EFFICIENCY:.0%} of the peak assumed",
        "",
        "| encoder | GFLOP a second of audio | " + " | ".join(CARDS) + " | disk, float16 |",
        "|---|---:|" + "---:|" * (len(CARDS) + 1),
    ]
    for row in rows:
        times = " | ".join(_time(value) for value in row["hours"].values())
        cost = f"{row['gflop_a_second']:.1f}"
        lines.append(f"| {row['encoder']} | {cost} | {times} | {row['disk_gb']:.1f} GB |")
    return {
        "utterances": UTTERANCES,
        "hours": hours,
        "efficiency": EFFICIENCY,
        "cards": CARDS,
        "rows": rows,
        "lines": lines,
    }


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"
