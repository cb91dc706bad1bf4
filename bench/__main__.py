"""`python -m bench [NAME ...]`: run benchmarks and print a Markdown table each.

Every measurement runs in a process of its own (so that peak memory is its own), one after the other, on the same
machine and threads.
"""

import argparse
import importlib
import pkgutil
import platform

import torch

import bench


def main() -> None:
    """Run the benchmarks named on the command line; all of them without a name."""
    names = [m.name for m in pkgutil.iter_modules(bench.__path__) if not m.name.startswith("_")]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Print measurements as Markdown.")
    parser.add_argument("names", nargs="*", choices=[*names, []], help="which: " + ", ".join(names))
    parser.add_argument("--small", action="store_true", help="the demo's size instead of the published one")
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    for name in arguments.names or names:
        importlib.import_module(f"bench.{name}").run(small=arguments.small)


if __name__ == "__main__":
    main()
