"""Packaging. `pip install -e ".[test]"` is all that a fresh machine needs."""

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

# pip reads python_requires of a local project only after it has fetched 5 GB and failed to build BasicSR
if not (3, 11) <= sys.version_info[:2] <= (3, 12):
    sys.exit(
        f"vqcnir needs Python 3.11 or 3.12, this is {sys.version_info[0]}.{sys.version_info[1]}: make the virtual "
        "environment with python3.12 -m venv (torch needs 3.11, BasicSR 1.4.2 does not build on 3.13)"
    )

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "vqcnir_arch/__init__.py").read_text(encoding="utf-8")).group(1)
OPTION_FILES = [*sorted(Path("options").rglob("*.yml")), Path("options/schema.json")]
EXPORT = ["onnx>=1.19", "onnxscript", "onnxruntime"]  # for `vqcnir export`
SERVE = ["gradio>=6.31,<6.32"]  # 99 MB with what it needs; serving/page.py relies on a private method of these releases
REPORT = ["jinja2>=3.1", "plotly>=6"]  # for `vqcnir report`
ANALYSIS = ["scikit-learn"]  # for `vqcnir inspect --codebook`
SPANDREL = ["spandrel>=0.4"]
VIDEO = ["av>=14"]
PEERS = ["spandrel_extra_arches>=0.2"]  # networks by others under restrictive licences: compared with in tests alone

setup(
    name="vqcnir",
    version=VERSION,
    description="Image restoration with a vector-quantised prior (VQCNIR) as a BasicSR plugin",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["vqcnir_arch", "vqcnir_arch.*"]),
    package_data={
        "vqcnir_arch": ["weights/*"],
        "vqcnir_arch.evaluation": ["papers.yml"],
        "vqcnir_arch.report": ["assets/*"],
    },
    # outside a checkout the commands find them below sys.prefix
    data_files=[(f"share/vqcnir/{file.parent.as_posix()}", [str(file)]) for file in OPTION_FILES],
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "basicsr==1.4.2",
        "pyiqa>=0.1.13",
        "timm>=1.0",
        "opencv-python>=4.12",
        "numpy",
        "pillow>=10.1",
        "psutil",
        "safetensors",
        "lmdb",
        "pyyaml",
        "pydantic>=2.11",
        "tqdm",
        "scipy>=1.15",
        "scikit-image",
        "tifffile",
        "matplotlib",
        "tensorboard",
    ],
    extras_require={
        "spandrel": SPANDREL,
        "video": VIDEO,
        "report": REPORT,
        "analysis": ANALYSIS,
        "peers": PEERS,
        "export": EXPORT,
        "serve": SERVE,
        "test": [
            "jsonschema",
            "pytest",
            "pytorch-msssim",
            "pytest-xdist",
            "ruff",
            "setuptools>=70.1",  # the first that builds wheels alone
            *ANALYSIS,
            *EXPORT,
            *REPORT,
            *SERVE,
            *SPANDREL,
            *VIDEO,
        ],
    },
    entry_points={"console_scripts": ["vqcnir = vqcnir_arch.cli:main"]},
)
