"""Which tests the matrix runs. Paths are relative to the repository; a test checks that all of them exist."""

# What compares two computations, or one with numbers that are written down: another kernel, another order of a sum or
# another Python may change the result. Everything else in the suite reads, writes, refuses or prints.
COMPUTING = (
    "tests/milrun/ops",  # every op against an oracle
    "tests/milrun/test_executor.py",
    "tests/milrun/test_package.py",
    "tests/toolkit/audio",  # front ends against the references' extractors
    "tests/toolkit/loops",
    "tests/toolkit/text",
    "tests/toolkit/export",  # packages against eager wrappers
    "tests/parity/localise",  # packages op by op
    "tests/parity/measures",
    "tests/toolkit/runtimes",
    "tests/wrappers",  # wrappers against the references' modules
)

# Pipelines and ladders: the same kernels a second time, for minutes. The rows that change the most run them too.
PIPELINES = ("tests/models",)

# Any test may ask which system it runs on, open a runtime by its name or write to the disk.
WHOLE_SUITE = ("tests",)
