from collections import defaultdict
from pathlib import Path

from setuptools import setup

# Manual pages, completion scripts, documents and examples. They are made from the program, which the build can't
# import: `make dist` writes them into the source distribution, from which the wheel is built. A checkout has none.
shared = defaultdict(list)
for path in sorted(Path("share").rglob("*")):
    if path.is_file():
        shared[str(path.parent)].append(str(path))

setup(data_files=sorted(shared.items()))
