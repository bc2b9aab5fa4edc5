"""Tries the files of deploy/ with the real programs that they are for.

usage: tests/deploy/check.py [CHECK...]
    all checks, or those named: systemd, kubernetes, nginx, prometheus, image, traces, trainers

DICAST_PROGRAM names the program (default: target/release/dicast). A check whose tools are missing is skipped by name.
"""

from __future__ import annotations

import importlib
import sys
import time
import traceback

from common import Missing

CHECKS = ["systemd", "kubernetes", "nginx", "prometheus", "image", "traces", "trainers"]


def main() -> int:
    wanted = sys.argv[1:] or CHECKS
    if unknown := set(wanted) - set(CHECKS):
        print(f"check.py: there is no check {', '.join(sorted(unknown))}: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    passed = failed = skipped = 0
    for name in wanted:
        began = time.monotonic()
        try:
            said = importlib.import_module(f"check_{name}").check()
        except Missing as missing:
            skipped += 1
            print(f"SKIPPED {name}: {missing}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}:\n{traceback.format_exc()}", flush=True)
        else:
            passed += 1
            print(f"ok {name} ({time.monotonic() - began:.0f} s): {said}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
