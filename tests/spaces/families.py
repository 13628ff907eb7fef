"""The presets that tests of every kind of network go through: one of each family, none that is another one scaled."""

FAMILIES = (
    "efficientnet-b0",
    "efficientnet-lite0",
    "mobilenet-v3-large",
    "nas-bench-macro",
    "ofa-mbv3-1.0",
    "quickstart",
)
