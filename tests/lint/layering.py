#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every #include "module/file.h" points down, and into a module's public headers only."""
import re

from common import end, files, text

# module: where it lives, what it may include, its public headers (None: all)
MODULES = {
    "base": ("target/base/", set(), None),
    "loop": ("target/loop/", {"base"}, {"loop.h"}),
    "store": ("store/", {"base", "loop"}, {"blk.h", "blk_driver.h", "fault.h", "refuse.h"}),
    # Before "cache", whose folder it is in: the first that fits is taken.
    "cache_policy": ("cache/policy/", {"base"}, {"policy.h"}),
    "cache_ram": ("cache/ram/", {"base", "loop", "store", "cache_policy"}, {"ram_tier.h"}),
    "cache": ("cache/", {"base", "loop", "store", "cache_policy"}, {"cache.h", "check.h", "codec.h", "pack_unit.h"}),
    # What a daemon and cachectl have to know of an SSD before it is one.
    "ssd": ("target/ssd/", {"base"}, {"ssd.h"}),
    "scsi": ("target/scsi/", {"base", "loop", "store"}, {"scsi.h"}),
    "iscsi": ("target/iscsi/", {"base", "loop", "scsi"}, {"iscsi.h"}),
    "srp": ("target/srp/", {"base", "loop", "store", "scsi"}, {"srp.h", "backend.h"}),
    "nbd": ("target/nbd/", {"base", "loop", "store"}, {"nbd.h"}),
    "conf": ("target/conf/", {"base"}, {"conf.h"}),
    "ctl": ("target/ctl/", {"base", "loop"}, {"ctl.h"}),
    "health": ("target/health/", {"base", "loop"}, {"health.h"}),
    "daemon": ("target/daemon/",
               {"base", "loop", "store", "ssd", "cache", "cache_ram", "scsi", "iscsi", "srp", "nbd", "conf", "ctl", "health"},
               set()),
    # What answers of the control socket look like: text, JSON, OpenMetrics, SVG.
    "report": ("report/", {"base"}, {"report.h"}),
    # Clients of the sockets: of the target only what is known without a daemon.
    "fuse": ("fuse/", {"base", "report"}, set()),
    "web": ("web/", {"base", "report"}, set()),
    # cachectl's advice comes from the policy's own code; an SSD that no daemon has it checks and formats by
    # the cache's. What reads and writes configurations without a daemon (import-scst) from conf.
    "tools": ("tools/", {"base", "loop", "store", "ssd", "conf", "health", "cache", "cache_policy"}, set()),
    "bench": ("bench/", {"base", "loop", "store", "cache", "cache_policy"}, set()),
}
# Of another module only these headers, where that is narrower than its public ones.
ONLY = {("scsi", "store"): {"blk.h"}, ("iscsi", "scsi"): {"scsi.h"}, ("srp", "scsi"): {"scsi.h"}, ("srp", "store"): {"blk.h"}, ("nbd", "store"): {"blk.h"},
        ("cache", "store"): {"blk.h", "blk_driver.h"},
        ("cache_ram", "store"): {"blk.h", "blk_driver.h"}}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def module_of(path):
    for name, (folder, _, _) in MODULES.items():
        if path.startswith(folder):
            return name
    return "tests" if path.startswith("tests/") else None


def owner(include):
    """Module and file that an include names: relative to target/ or to the root."""
    for name, (folder, _, _) in MODULES.items():
        if folder.count("/") > 1 and include.startswith(folder):
            return name, include[len(folder):]
    head, _, tail = include.partition("/")
    if head == "target":
        head, _, tail = tail.partition("/")
    return head, tail


def wrong(path, include):
    mod = module_of(path)
    head, tail = owner(include)
    if mod is None:
        return "is in no module" if path.endswith((".c", ".h")) else None
    if tail == "":
        return "has no folder" if mod != "tests" else None
    if head == "tests":
        return None if mod == "tests" else "is a test's"
    if head not in MODULES:
        return "names no module"
    if mod == "tests" or head == mod:
        return None
    if head not in MODULES[mod][1]:
        return f"{mod} must not depend on {head}"
    public = ONLY.get((mod, head), MODULES[head][2])
    if public is not None and tail not in public:
        return f"is private to {head}"
    return None


def main():
    problems, checked = [], 0
    for path in files(".c", ".h"):
        for m in INCLUDE.finditer(text(path)):
            checked += 1
            why = wrong(path, m.group(1))
            if why:
                problems.append(f'{path}: #include "{m.group(1)}" {why}')
    end(problems, checked)


main()
