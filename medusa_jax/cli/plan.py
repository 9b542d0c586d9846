"""`--plan`: groups of members, memory and time of a training, printed before it starts."""

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from medusa_jax.cli.opening import results

if TYPE_CHECKING:
    from medusa_jax.runs.plan import GroupPlan, Pace, Plan
    from medusa_jax.runs.prepare import Prepared


def plan_training(prepared: "Prepared", speed: float | None) -> None:
    """Print the plan of the training left to do, at `speed` TFLOP/s or the speed of some steps."""
    from medusa_jax.runs.plan import Pace, measured_pace, plan_of

    plan = plan_of(prepared)
    if speed is not None:
        pace = Pace(speed * 1e12)
    else:
        pace = measured_pace(prepared) if plan.groups else Pace(1.0)
    show_plan(plan, pace, measured=speed is None)


def show_plan(plan: "Plan", pace: "Pace", measured: bool) -> None:
    """Print the groups with their members, the memory against the budget, and the time."""
    console = results()
    for number, group in enumerate(plan.groups, start=1):
        console.print(_members(group, number, pace.speed))
        console.print(_stream(group), _memory(group, plan), "", sep="\n", highlight=False)
    lines = _time(plan, pace, measured) if plan.groups else ["every member is trained already"]
    for line in lines:
        console.print(line, highlight=False)


def _time(plan: "Plan", pace: "Pace", measured: bool) -> list[str]:
    """The time of all steps and of compiling, and how it was estimated."""
    steps, compiling = plan.flops / pace.speed, plan.programs * pace.compiling
    source = "measured in a few steps of the first member" if measured else "given by --speed"
    device = f"{plan.devices} × {plan.device}" if plan.devices > 1 else plan.device
    compiled = f"{_duration(compiling)} to compile" if measured else "plus the time to compile"
    total, speed = _duration(steps + compiling), f"{pace.speed / 1e12:.3g} TFLOP/s"
    return [
        f"[bold]at most {total} in all[/bold] on {device}; patience may end a stage early",
        f"{_duration(steps)} for {plan.flops:.2e} floating-point operations at {speed}, {source}",
        f"{compiled} about {plan.programs} training programs and as many for prediction, "
        "unless they are cached",
    ]


def _members(group: "GroupPlan", number: int, speed: float) -> Table:
    split = f", {group.split}" if group.split else ""
    count = f"one pass over the data for {len(group.members)} member(s)"
    title = f"group {number}{split}: {count}"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("member", "modalities", "stack"):
        table.add_column(name)
    for name in ("parameters", "state", "step", "time"):
        table.add_column(name, justify="right")
    stack_of = {name: place for place, stack in enumerate(group.stacks, start=1) for name in stack}
    for member in group.members:
        need = member.need
        sizes = (f"{need.parameters:,}", _size(need.state), _size(need.step))
        head = (member.id, " + ".join(member.modalities), str(stack_of[member.id]))
        table.add_row(*head, *sizes, _duration(member.flops / speed))
    return table


def _stream(group: "GroupPlan") -> str:
    """Steps, padding and shapes of a group's batches."""
    stages = [
        f"Stage {stage}: {steps:,} steps of {group.batch_size} × {group.epochs[stage]} epochs, "
        f"{group.padding[stage]:.0%} padding"
        for stage, steps in group.steps.items()
    ]
    names = list(group.shapes[0])
    shapes = [
        f"{'/'.join(str(shape[name]) for name in names)} ({share:.0%})"
        for shape, share in zip(group.shapes, group.shares, strict=True)
    ]
    programs = f"about {len(group.programs)} training program(s) to compile"
    padded = f"padded shapes, frames of {'/'.join(names)}: {'   '.join(shapes)}; {programs}"
    return "\n".join([*stages, padded])


def _memory(group: "GroupPlan", plan: "Plan") -> str:
    """The largest memory of a group against the budget."""
    fits = "fits"
    if group.bytes > plan.budget:
        fits = "[yellow]may not fit: raise training.micro_batches[/yellow]"
    batch = _size(max(member.need.batch for member in group.members))
    each = f" on each of {plan.devices} devices" if plan.devices > 1 else ""
    used = f"at most {_size(group.bytes)} of the {_size(plan.budget)} allowed"
    return f"memory{each}: {used}, {batch} of it for batches: {fits}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
