"""VQCNIR-S: how the small network that ships was trained, from folders of photographs on."""
