"""DAEFR's files are PyTorch Lightning's, of another form: our counterparts by the classes that they name."""

from __future__ import annotations

from vqcnir_arch.options.published.rules import Source

COUNTERPARTS = (
    # model, training set, our option file
    ("DAEFR.models.vqgan_origin.", "DAEFR.data.ffhq_degradation_dataset_LQ.", "train_daefr_lq_codebook.yml"),
    ("DAEFR.models.vqgan_origin.", "", "train_daefr_hq_codebook.yml"),
    ("DAEFR.models.association_stage.", "", "train_daefr_association.yml"),
    ("DAEFR.models.daefr.", "", "train_daefr.yml"),
)


def counterpart(source: Source) -> str | None:
    """Return our option file for a file of DAEFR; None for a file that is not."""
    model = str(source.at("model: target"))
    data = str(source.at("data: params: train: target"))
    if not model.startswith("DAEFR."):
        return None
    found = (
        ours for of_model, of_data, ours in COUNTERPARTS if model.startswith(of_model) and data.startswith(of_data)
    )
    return f"options/daefr/{next(found, '')}"
