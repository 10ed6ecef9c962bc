"""How large the weights of each variant are: counted without building a model, which takes torch and seconds."""

from workspace.spec import Scale

_SIZES: dict[tuple[str, Scale], tuple[int, int]] = {
    ("ssd300", "demo"): (1_373_856, 60_000),
    ("ssd300", "full"): (94_448_984, 534_648),
    ("ssd512", "demo"): (1_443_544, 66_936),
    ("ssd512", "full"): (96_955_344, 589_968),
    ("ssdlite", "demo"): (2_407_440, 37_752),
    ("ssdlite", "full"): (12_245_808, 60_816),
    ("retinanet", "demo"): (3_332_336, 10_404),
    ("retinanet", "full"): (145_449_272, 82_980),
    ("fcos", "demo"): (3_186_440, 1_156),
    ("fcos", "full"): (128_656_592, 9_220),
    ("solov2", "demo"): (3_786_720, 2_308),
    ("solov2", "full"): (185_109_672, 18_436),
}
"""Bytes without any class, and of each class. They follow from the configurations; a test builds each model."""


def weights_bytes(name: str, scale: Scale, classes: int) -> int:
    """Bytes of a detector's weights and buffers, as its ``state_dict`` holds them, for so many classes.

    One of the user's own is taken to be as large as the largest of the verified models.
    """
    if (name, scale) not in _SIZES:
        return max(weights_bytes(known, scale, classes) for known, of in _SIZES if of == scale)
    alone, of_class = _SIZES[name, scale]
    return alone + classes * of_class
