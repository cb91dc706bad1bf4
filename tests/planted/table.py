"""All planted faults, and the table of them in docs/debugging-accuracy.md.

`python -m tests.planted.table` prints it.
"""

from collections.abc import Iterator

from tests.planted import features, loading, loops, packages, texts, wrapped

FAULTS = (*features.FAULTS, *wrapped.FAULTS, *packages.FAULTS, *loops.FAULTS, *texts.FAULTS)
BELOW_THE_GATES = packages.BELOW_THE_GATES
LOADING = loading.FAULTS
HEADER = ("| model | what is wrong | stage to blame | shown by |", "|---|---|---|---|")


def table() -> str:
    """The table in Markdown."""
    rows = [*(_row(f, f.stage, f.where) for f in FAULTS), *(_row(f, "none: `--layers`") for f in BELOW_THE_GATES)]
    return "\n".join([*HEADER, *sorted(rows, key=lambda row: row.split("|")[1]), *_of_speech(), *_of_loading()])


def _row(fault, stage, where="") -> str:
    shown = f"*{where.strip(' :_')}*" if where else ""
    if fault.op:
        op = f"`{fault.op.type}` in {f'`{fault.op.module}`' if fault.op.module else 'the wrapper itself'}"
        shown = f"{shown}; {op}" if shown else op
    return f"| {fault.model} | {fault.name} | {stage} | {shown} |"


def _of_speech() -> Iterator[str]:
    """Speech synthesis has its faults in a suite of its own."""
    from tests.models.pocket_tts.test_compare import HOST_FAULTS, WRAPPER_FAULTS

    for name, (_, _, _, stage, where) in HOST_FAULTS.items():
        yield f"| pocket-tts | {name.replace('_', ' ')} | {stage} | *{where}* |"
    for name, (*_, where) in WRAPPER_FAULTS.items():
        yield f"| pocket-tts | {name.replace('_', ' ')} of the wrapper | wrappers | *{where}* |"


def _of_loading() -> Iterator[str]:
    """Every model has the same faults of loading, but for sizes that its class refuses: one row per fault."""
    models: dict[tuple[str, str], list[str]] = {}
    for fault in LOADING:
        models.setdefault((fault.name, fault.shows), []).append(fault.model)
    for (name, shows), found in models.items():
        whose = "every model" if len(found) == len({fault.model for fault in LOADING}) else ", ".join(found)
        yield f"| {whose} | {name} | none: `convert` refuses it | *{shows}* |"


if __name__ == "__main__":
    print(table())
