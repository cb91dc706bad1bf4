"""`convert plan`: where Core ML plans to run each op of a bundle, beside what `convert lint` forecasts."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from commands.terminal import print_json, print_text, progress
from parity.ladder.tables import TitledTable
from parity.report.files import check_page
from parity.report.html.page import html_from_tables
from toolkit.bundle.bundle import open_bundle
from toolkit.compute_units import UnitsChoice
from toolkit.lint.forecast import Finding, forecast
from toolkit.lint.target import Target
from toolkit.output.files import write_text
from toolkit.runtimes.coreml import need_macos
from toolkit.runtimes.measuring import functions_of
from toolkit.runtimes.plans import Device, Plan, PlannedOp, plan_function

_DEVICES: tuple[Device, ...] = ("NE", "GPU", "CPU")
_SHOWN = 6  # kinds of ops listed of a function


@dataclass(frozen=True)
class Compared:
    """A plan beside the forecast.

    Attributes:
        plan: Core ML's.
        forecast_off: names of the ops that lint keeps off the Neural Engine.
    """

    plan: Plan
    forecast_off: frozenset[str]

    @property
    def agreeing(self) -> int:
        """Ops of which plan and forecast say the same: on the Neural Engine, or not."""
        return sum((op.device != "NE") == (op.name in self.forecast_off) for op in self.plan.ops)


def plan_bundle(folder: Path, units: str, *, as_json: bool, report: Path | None = None) -> None:
    """Ask Core ML for the plan of every function, and print it beside the forecast.

    Args:
        folder: of the bundle.
        units: that are allowed; `auto` is each component's own.
        as_json: print JSON, one object per function.
        report: HTML file to write as well.

    Raises:
        UnsupportedError: not on macOS.
        BundleError: it cannot be opened.
    """
    need_macos()
    if report:
        check_page(report)
    bundle = open_bundle(folder)
    choice, findings = UnitsChoice(units), forecast(folder, Target()).findings
    compared = []
    with progress() as bar:
        task = bar.add_task("plan", total=len(functions_of(bundle)))
        for component, function in functions_of(bundle):
            entry = bundle.manifest.component(component)
            assert entry is not None
            plan = plan_function(bundle, component, function, choice.units(component, entry.compute_units))
            off = _forecast_off(plan.ops, findings, component, bundle.locate(component, function)[1])
            compared.append(Compared(plan, off))
            bar.update(task, description=f"plan: {component} ({function})", advance=1)
    if report:
        title = f"Core ML's plan of {bundle.manifest.model}, beside the forecast"
        write_text(report, html_from_tables(title, [shares_of(compared), ops_of(compared)]))
    if as_json:
        print_json([_json(one) for one in compared])
    else:
        print_text(text_of(compared))


def shares_of(compared: Iterable[Compared]) -> TitledTable:
    """Where each function runs, for a page."""
    headers = ("component", "function", "allowed", "ops", "Neural Engine", "GPU", "CPU", "forecast agrees")
    rows = []
    for one in compared:
        plan = one.plan
        shares = [f"{plan.share(device):.0%}" for device in _DEVICES]
        agreeing = str(one.agreeing) if _allows_ne(plan) else ""
        rows.append((plan.component, plan.function, plan.units, str(len(plan.ops)), *shares, agreeing))
    return TitledTable("Functions: share of the ops on each device", headers, tuple(rows))


def ops_of(compared: Iterable[Compared]) -> TitledTable:
    """Ops that Core ML keeps off the Neural Engine, for a page."""
    headers = ("component", "function", "op", "type", "runs on", "could run on", "cost", "forecast")
    rows = [
        (
            one.plan.component,
            one.plan.function,
            op.name,
            op.type,
            op.device,
            ", ".join(op.supported),
            "" if op.cost is None else f"{op.cost:.4f}",
            "off" if op.name in one.forecast_off else "on",
        )
        for one in compared
        if _allows_ne(one.plan)
        for op in one.plan.ops
        if op.device != "NE"
    ]
    return TitledTable("Ops that are not on the Neural Engine, where it is allowed", headers, tuple(rows))


def text_of(compared: Iterable[Compared]) -> str:
    """The plans for a person; the ops that are off the Neural Engine by kind."""
    compared = list(compared)
    lines = [f"{'component':18}{'function':16}{'allowed':14}{'ops':>6}{'NE':>7}{'GPU':>7}{'CPU':>7}{'forecast':>10}"]
    for one in compared:
        plan = one.plan
        shares = "".join(f"{plan.share(device):>7.0%}" for device in _DEVICES)
        agreeing = f"{one.agreeing}/{len(plan.ops)}" if _allows_ne(plan) else "-"
        lines.append(f"{plan.component:18}{plan.function:16}{plan.units:14}{len(plan.ops):>6}{shares}{agreeing:>10}")
        if _allows_ne(plan) and (kinds := Counter(op.type for op in plan.ops if op.device != "NE")):
            more = f" and {len(kinds) - _SHOWN} more kinds" if len(kinds) > _SHOWN else ""
            listed = ", ".join(f"{kind} x{count}" for kind, count in kinds.most_common(_SHOWN))
            lines.append(f"{'':18}not on the Neural Engine: {listed}{more}")
    judged = [one for one in compared if _allows_ne(one.plan)]
    ops, agreeing_all = sum(len(one.plan.ops) for one in judged), sum(one.agreeing for one in judged)
    if ops:
        lines.append(
            f"the forecast of `convert lint` agrees for {agreeing_all} of {ops} ops ({agreeing_all / ops:.0%})"
        )
    return "\n".join(lines)


def _forecast_off(
    ops: Iterable[PlannedOp], findings: Iterable[Finding], component: str, function: str
) -> frozenset[str]:
    """Names of the ops that the forecast keeps off the Neural Engine: those named, or all where the function is."""
    here = [f for f in findings if (f.component, f.function) == (component, function) and f.severity != "info"]
    whole = any(not finding.op and finding.severity == "error" for finding in here)
    return frozenset(op.name for op in ops) if whole else frozenset(finding.op for finding in here if finding.op)


def _allows_ne(plan: Plan) -> bool:
    return plan.units in ("ALL", "CPU_AND_NE")


def _json(one: Compared) -> dict[str, object]:
    plan = asdict(one.plan)
    for op in plan["ops"]:
        op["forecast_off"] = op["name"] in one.forecast_off
    return plan | {"agreeing": one.agreeing if _allows_ne(one.plan) else None}
