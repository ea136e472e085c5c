"""Where are the clients that these tests run?"""

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
GUARD: Final = HERE / "guard.cjs"
BUILT: Final = HERE / ".built"
"""Made by `make test-clients`, kept by nobody."""
MODULES: Final = BUILT / "node_modules"
PYTHON: Final = BUILT / "python" / "bin" / "python"
AIDER: Final = BUILT / "aider" / "bin" / "aider"
NODE: Final = BUILT / "node" / "bin" / "node"
