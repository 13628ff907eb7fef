"""Parts that a person writes and passes as objects: samplers, recipes, criteria."""


def own_name(part: object) -> str:
    """What a part of one's own is called in studies, checkpoints and partitions: its module and its name there.

    An object that is no class and no function is called by its class.
    """
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{getattr(named, '__qualname__', '')}"
