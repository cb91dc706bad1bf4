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

# What asks which system it runs on, or opens a runtime by its name.
ASKING_THE_SYSTEM = (
    "tests/milrun/test_fuzz.py",
    "tests/milrun/test_standin.py",
    "tests/models",
    "tests/planted",
    "tests/test_compare.py",
    "tests/test_compare_modes.py",
    "tests/test_infer.py",
    "tests/test_infer_alignment.py",
    "tests/test_infer_synthesis.py",
    "tests/parity",
    "tests/toolkit/runtimes",
)
