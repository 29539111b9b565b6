# SPDX-License-Identifier: BSD-2-Clause
"""
A fresh Debian for tests of the package: debootstrap's, with what the package depends on, made once and kept
in ~/.cache/terrace-package until the list below changes. `rootfs.py` alone prepares it.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "../e2e/lib"))
from terraced import Skipped, requires  # noqa: E402

SUITE = "bookworm"
# What the package needs, and what the tests do: an initiator, LVM, a service manager with udev.
PACKAGES = ("systemd systemd-sysv dbus udev kmod procps iproute2 bc lvm2 open-iscsi fuse3 python3-minimal adduser "
            "liburing2 liblmdb0 libisal2 libssl3 libjansson4 libblkid1 libfuse3-3 libnbd0 libmicrohttpd12 "
            "libibverbs1 librdmacm1 needrestart").split()


def cache_folder():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "terrace-package")


def rootfs():
    """Path of the tree, which nobody writes to. Skipped where it can't be made."""
    if os.geteuid() != 0:
        raise Skipped("only root can make a system of its own")
    digest = hashlib.sha256(" ".join([SUITE, *PACKAGES]).encode()).hexdigest()[:16]
    cache = cache_folder()
    path = os.path.join(cache, f"{SUITE}-{digest}")
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            return path
        requires("debootstrap")
        new = os.path.join(cache, "new")
        shutil.rmtree(new, ignore_errors=True)
        print(f"making a Debian {SUITE} in {path}", flush=True)
        r = subprocess.run(["debootstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES), SUITE, new],
                           capture_output=True, text=True, timeout=1800)
        if r.returncode != 0:
            last = (r.stdout + r.stderr).strip().split("\n")[-1]
            raise Skipped(f"debootstrap can't make a system here: {last}")
        shutil.rmtree(os.path.join(new, "var/cache/apt/archives"), ignore_errors=True)
        for name in os.listdir(cache):  # of older lists
            if name.startswith(SUITE + "-"):
                shutil.rmtree(os.path.join(cache, name), ignore_errors=True)
        os.rename(new, path)
    return path


def packages(folder=None):
    """Name → path of the packages that `./dev package` made."""
    folder = folder or os.environ.get("PACKAGES") or os.path.join(ROOT, "build/package")
    names = [n for n in sorted(os.listdir(folder)) if n.endswith(".deb") and "dbgsym" not in n] \
        if os.path.isdir(folder) else []
    found = {n.split("_")[0]: os.path.join(folder, n) for n in names}
    if not {"terrace", "terrace-web"} <= set(found):
        raise Skipped(f"there are no packages in {folder}: ./dev package makes them")
    return found


if __name__ == "__main__":
    try:
        print(rootfs())
    except Skipped as e:
        print(f"skipped: {e}")
        sys.exit(77)
