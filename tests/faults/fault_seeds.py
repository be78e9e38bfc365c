"""Where chance comes from: a fixed seed for each test; under `make chaos` any other, which is printed."""

import os
import random

CHAOS = os.environ.get("WOLFSCALE_HYPOTHESIS") == "chaos"


def chance_from(seed: int) -> random.Random:
    """A generator with this seed; under chaos with another one, shown where the test fails."""
    if CHAOS:
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}")
    return random.Random(seed)
