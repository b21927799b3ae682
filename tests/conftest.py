"""What all tests share: `tests/` is on the path, so that `import strategies` works under --import-mode=importlib."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
