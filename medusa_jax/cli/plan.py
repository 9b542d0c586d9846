"""How `medusa train --plan` looks."""

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from medusa_jax.cli.opening import results

if TYPE_CHECKING:
    from medusa_jax.runs.plan import GroupPlan, Pace, Plan
    from medusa_jax.runs.prepare import Prepared


def plan_training(prepared: "Prepared", speed: float | None) -> None:
    """Plan what training this run still needs and print it, at `speed` TFLOP/s or at what some real steps reach here."""
    from medusa_jax.runs.plan import Pace, measured_pace, plan_of

    found = plan_of(prepared)
    show_plan(
        found,
        Pace(speed * 1e12) if speed else measured_pace(prepared) if found.groups else Pace(1.0),
        measured=speed is None,
    )


def show_plan(plan: "Plan", pace: "Pace", measured: bool) -> None:
    """Print the groups with their members, the memory against the budget, and the time at this pace."""
    console = results()
    for number, group in enumerate(plan.groups, start=1):
        console.print(_members(group, number, pace.speed))
        console.print(_stream(group), _memory(group, plan), "", sep="\n", highlight=False)
    if not plan.groups:
        console.print("every member is trained already: there is nothing to plan")
        return
    steps, compiling = plan.flops / pace.speed, plan.programs * pace.compiling
    how = (
        "measured just now in a few steps of the first member"
        if measured
        else "as given by --speed"
    )
    device = f"{plan.devices} × {plan.device}" if plan.devices > 1 else plan.device
    compiled = (
        f"{_duration(compiling)} to compile" if measured else "on top of that comes compiling"
    )
    for line in (
        f"[bold]in all {_duration(steps + compiling)}[/bold] at most on {device}; patience may end a stage early",
        f"{_duration(steps)} for {plan.flops:.2e} floating-point operations at {pace.speed / 1e12:.3g} TFLOP/s, {how}",
        f"{compiled} about {plan.programs} training programs and as many that predict, unless they are in the cache",
    ):
        console.print(line, highlight=False)


def _members(group: "GroupPlan", number: int, speed: float) -> Table:
    course = f", {group.course}" if group.course else ""
    table = Table(
        title=f"group {number}{course}: one pass over the data for {len(group.members)} member(s)",
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    for name in ("member", "modalities", "stack"):
        table.add_column(name)
    for name in ("parameters", "state", "step", "time"):
        table.add_column(name, justify="right")
    stack_of = {name: place for place, stack in enumerate(group.stacks, start=1) for name in stack}
    for member in group.members:
        need = member.need
        sizes = (
            f"{need.parameters:,}",
            _size(need.state),
            _size(need.step),
            _duration(member.flops / speed),
        )
        table.add_row(member.id, " + ".join(member.modalities), str(stack_of[member.id]), *sizes)
    return table


def _stream(group: "GroupPlan") -> str:
    """Steps, padding and shapes."""
    stages = [
        f"Stage {stage}: {steps:,} steps of {group.batch_size} × {group.epochs[stage]} epochs, {group.padding[stage]:.0%} padding"
        for stage, steps in group.steps.items()
    ]
    names = list(group.shapes[0])
    shapes = "   ".join(
        f"{'/'.join(str(shape[name]) for name in names)} ({share:.0%})"
        for shape, share in zip(group.shapes, group.shares, strict=True)
    )
    return "\n".join(
        [
            *stages,
            f"padded shapes, frames of {'/'.join(names)}: {shapes}; about {len(group.programs)} training program(s) to compile",
        ]
    )


def _memory(group: "GroupPlan", plan: "Plan") -> str:
    fits = (
        "fits"
        if group.bytes <= plan.budget
        else "[yellow]may not fit: raise training.micro_batches[/yellow]"
    )
    batch = _size(max(member.need.batch for member in group.members))
    each = f" on each of {plan.devices} devices" if plan.devices > 1 else ""
    return f"memory{each}: {_size(group.bytes)} at most of the {_size(plan.budget)} allowed, {batch} of it a batch: {fits}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
