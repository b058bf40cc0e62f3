"""AdaCode's option files of stages 2 and 3; stage 1 is FeMaSR's HQ stage. Its model is FeMaSR's, too."""

from __future__ import annotations

from vqcnir_arch.options.published.common import weights
from vqcnir_arch.options.published.femasr import HQ, LQ, typed
from vqcnir_arch.options.published.project import Project
from vqcnir_arch.options.published.rules import Gone, Means, PartOf, Same, Stage, To

CODEBOOK_SIZES = (
    [512, 256, 512, 256, 256],
    "it stands in no published option: that of the published networks",
)


PROJECT = Project(
    name="AdaCode",
    models=("FeMaSRModel",),
    stages=(
        Stage(
            title="AdaCode's stage 2",
            ours="options/adacode/train_adacode_stage2.yml",
            when={"network_g: type": ("AdaCodeSRNet",), "network_g: LQ_stage": (False,)},
            rules={
                **HQ,
                "network_g: type": Means((("AdaCodeSRNet", {"network_g: type": "AdaCode", "network_g: stage": 2}),)),
                "network_g: scale_factor": Gone("stage 2 does not enlarge"),
                "network_g: AdaCode_stage": Means(((True, {}),)),
                "network_g: LQ_stage": PartOf("network_g: stage"),
                "network_g: weight_softmax": Same(),
                "network_g: frozen_module_keywords": Means(((["quantize"], {}),), "codebooks never train here"),
                "path: pretrain_codebook": To("network_g: prior", lambda files: [weights(file) for file in files]),
                "train: semantic_opt": Gone("it is computed where use_semantic_loss is on, in stage 1"),
            },
            added={"network_g: codebook_size": CODEBOOK_SIZES},
        ),
        Stage(
            title="AdaCode's stage 3",
            ours="options/adacode/train_adacode_x2.yml",
            when={"network_g: type": ("AdaCodeSRNet", "AdaCodeSRNet_Contrast"), "network_g: LQ_stage": (True,)},
            rules={
                **LQ,
                "network_g: type": Means(
                    tuple(
                        (name, {"network_g: type": "AdaCode", "network_g: stage": 3})
                        for name in ("AdaCodeSRNet", "AdaCodeSRNet_Contrast")
                    )
                ),
                "network_g: AdaCode_stage": Means(((True, {}),)),
                "network_g: LQ_stage": PartOf("network_g: stage"),
                "network_g: weight_softmax": Same(),
                "train: before_quant_opt": Gone("its weight is 0", only=({"loss_weight": 0.0},)),
                "train: after_quant_opt": typed("train: merged_opt", "CodeAlignmentLoss", alignment="l2_gram"),
                "train: contrast_opt": typed("train: contrast_opt", "ContrastLoss", temperature=0.5),
            },
            added={"network_g: codebook_size": CODEBOOK_SIZES},
        ),
    ),
    types={
        "AdaCodeSRNet": "AdaCode with stage: 2 or 3",
        "AdaCodeSRNet_Contrast": "AdaCode with stage: 3",
    },
)
