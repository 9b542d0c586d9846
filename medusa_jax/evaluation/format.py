"""Numbers as text: intervals, signed differences, p-values."""

from medusa_jax.evaluation.tables import Row

SIGNIFICANT = 0.05


def interval_text(row: Row, name: str, form: str = "z.3f") -> str | None:
    """`0.317 to 0.470` from the columns `NAME_low` and `NAME_high`; None without an interval."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return None if low is None or high is None else f"{float(low):{form}} to {float(high):{form}}"


def signed_text(value: object) -> str | None:
    """A difference with its sign, such as `+0.013`; None for anything but a number."""
    return f"{value:+z.3f}" if isinstance(value, int | float) else None


def p_text(value: object, *, marked: bool = True) -> str | None:
    """A p-value with three digits, `*` if significant: `0.035 *`, `< 0.001 *`; None without one."""
    if not isinstance(value, int | float):
        return None
    star = " *" if marked and value < SIGNIFICANT else ""
    return ("< 0.001" if value < 0.001 else f"{value:.3f}") + star
