"""Where are the clients that these tests run?"""

import platform
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
GUARD: Final = HERE / "guard.cjs"
SCRIPTS: Final = HERE / "scripts"
BUILT: Final = HERE / ".built"
"""Made by `make test-clients`, kept by nobody."""
MODULES: Final = BUILT / "node_modules"
PYTHON: Final = BUILT / "python" / "bin" / "python"
AIDER: Final = BUILT / "aider" / "bin" / "aider"
NODE: Final = BUILT / "node" / "bin" / "node"
_CHIP = "arm64" if platform.machine() in ("arm64", "aarch64") else "x64"
OPENCODE: Final = MODULES / f"opencode-{sys.platform}-{_CHIP}" / "bin" / "opencode"
CLAUDE: Final = MODULES / "@anthropic-ai" / f"claude-code-{sys.platform}-{_CHIP}" / "claude"
"""Both packages are launchers, made by install scripts that are not run."""
