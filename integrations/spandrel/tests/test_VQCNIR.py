from spandrel.architectures.VQCNIR import VQCNIR, VQCNIRArch

from .util import assert_loads_correctly, assert_size_requirements, skip_if_unchanged

skip_if_unchanged(__file__)

SMALL = {"channels": [16, 16, 32, 32], "norm_groups": 8, "codebook_size": 32, "code_dim": 16}
AIEM = {"type": "AIEM", "depth": 1, "splits": 4}
DBCA = {"type": "DBCA", "heads": [2, 2, 1, 1], "offset_groups": 2}


def test_load() -> None:
    assert_loads_correctly(
        VQCNIRArch(),
        lambda: VQCNIR(**SMALL, enhancer=AIEM, fusion=DBCA),
        lambda: VQCNIR(**SMALL, enhancer={**AIEM, "depth": 2}, fusion={"type": "Add"}),
        lambda: VQCNIR(**SMALL, enhancer={"type": "none"}, fusion={"type": "none"}),
        lambda: VQCNIR(**SMALL, enhancer=AIEM, fusion={"type": "SKFF"}),
    )


def test_size_requirements() -> None:
    model = VQCNIR(**SMALL, enhancer=AIEM, fusion=DBCA)
    assert_size_requirements(VQCNIRArch().load(model.state_dict()))
