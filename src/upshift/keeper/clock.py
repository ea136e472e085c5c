"""How much time has passed, also while this process or its machine was suspended?"""

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def elapsed() -> float:
        """Seconds since some fixed moment. Goes on while the machine sleeps, and never back."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def elapsed() -> float:
        """Seconds since some fixed moment, never back. This system has no clock that counts its sleep."""
        return time.monotonic()
