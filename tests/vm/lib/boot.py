# SPDX-License-Identifier: BSD-2-Clause
"""
What the VM boots from, made once and kept in ~/.cache/terrace-vm: Debian's kernel package, unpacked
and not installed, and from it an uncompressed kernel (unpacking it in an emulated guest costs
seconds) and an initramfs that does no more than mount the host's root.

Both are made again when what they are made from changes. `boot.py` alone prepares them.
"""

import fcntl
import glob
import hashlib
import io
import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(HERE, "../e2e/lib"))

from terraced import Skipped, requires  # noqa: E402

# To be raised when this file makes something else from the same things.
EDITION = 1
# In the initramfs, with what they need. All others come from the host by `modprobe`, once its root
# is there.
MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "9pnet_virtio", "9p", "overlay")
PACKAGE = "linux-image-amd64"
XZ = b"\xfd7zXZ\0"


def cache_folder():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "terrace-vm")


def output(*command, seconds=60):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds,
                          env={**os.environ, "LC_ALL": "C", "PATH": path()}).stdout


def path():
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def wanted_kernel():
    """Package and version that apt would install; None if it knows none."""
    try:
        for line in output("apt-cache", "depends", PACKAGE).splitlines():
            m = re.match(r"\s*Depends: (linux-image-\d\S*)", line)
            if m:
                policy = output("apt-cache", "policy", m.group(1))
                version = re.search(r"Candidate: (\S+)", policy)
                if version and version.group(1) != "(none)":
                    return m.group(1), version.group(1)
    except (OSError, subprocess.SubprocessError):
        pass
    return None


def folder_of(package, version):
    return f"root-{package}_{re.sub('[^0-9A-Za-z.~+-]', '_', version)}"


def download(cache, package, version, into):
    """Unpacks the package into the folder `into` of the cache."""
    with tempfile.TemporaryDirectory(prefix="new.", dir=cache) as new:
        os.chmod(new, 0o755)
        subprocess.run(["apt-get", "download", "-qq", f"{package}={version}"], cwd=new, check=True,
                       capture_output=True, text=True, timeout=600)
        (deb,) = glob.glob(os.path.join(new, "*.deb"))
        root = os.path.join(new, "root")
        output("dpkg-deb", "-x", deb, root, seconds=300)
        output("depmod", "-b", root, kernel_version(root), seconds=120)
        os.rename(root, os.path.join(cache, into))


def kernel_version(root):
    (version,) = os.listdir(os.path.join(root, "lib/modules"))
    return version


def kernel_root(cache):
    """Name in the cache of the unpacked kernel package."""
    have = sorted((n for n in os.listdir(cache) if n.startswith("root-")),
                  key=lambda n: os.stat(os.path.join(cache, n)).st_mtime)
    wanted = wanted_kernel()
    if wanted is None:
        if have:
            return have[-1]
        raise Skipped(f"apt knows no {PACKAGE}: run apt-get update")
    name = folder_of(*wanted)
    if name in have:
        return name
    try:
        print(f"downloading {wanted[0]} {wanted[1]} for the VM", flush=True)
        download(cache, *wanted, name)
    except (OSError, subprocess.SubprocessError) as e:
        why = (getattr(e, "stderr", None) or str(e)).strip().split("\n")[-1]
        if not have:
            raise Skipped(f"{wanted[0]} can't be downloaded: {why}") from None
        print(f"{wanted[0]} can't be downloaded ({why}); {have[-1]} will do")
        return have[-1]
    return name


def unpacked_kernel(vmlinuz):
    """The ELF image in a bzImage; the file itself if that is compressed in another way than xz."""
    at = vmlinuz.find(XZ)
    while at >= 0:
        try:
            image = lzma.LZMADecompressor().decompress(vmlinuz[at:])
            if image[:4] == b"\x7fELF":
                return image
        except lzma.LZMAError:
            pass
        at = vmlinuz.find(XZ, at + 1)
    return vmlinuz


class Cpio:
    """An archive in the format "newc", which the kernel unpacks."""

    def __init__(self):
        self.out = io.BytesIO()
        self.inode = 0

    def add(self, name, mode, data=b""):
        self.inode += 1
        name = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        self.out.write(b"070701" + b"".join(b"%08x" % f for f in fields) + name)
        self.pad()
        self.out.write(data)
        self.pad()

    def pad(self):
        self.out.write(bytes(-self.out.tell() % 4))

    def folder(self, name):
        self.add(name, 0o40755)

    def file(self, name, data, mode=0o100644):
        self.add(name, mode, data)

    def bytes(self):
        self.add("TRAILER!!!", 0)
        return self.out.getvalue()


def module_files(root):
    """Of MODULES and what they need, in the order of insmod."""
    found = []
    for module in MODULES:
        text = output("modprobe", "-d", root, "-S", kernel_version(root), "--show-depends", module)
        for line in text.splitlines():
            words = line.split()
            if words[0] == "insmod" and words[1] not in found:
                found.append(words[1])
    return found


def initramfs(root, busybox):
    archive = Cpio()
    for name in ("bin", "proc", "sys", "dev", "host", "rw", "new", "m"):
        archive.folder(name)
    archive.file("bin/busybox", busybox, 0o100755)
    with open(os.path.join(HERE, "init"), "rb") as f:
        archive.file("init", f.read(), 0o100755)
    order = []
    for module in module_files(root):
        with open(module, "rb") as f:
            data = f.read()
        name = os.path.basename(module)
        if name.endswith(".xz"):
            name, data = name[:-3], lzma.decompress(data)
        archive.file(f"m/{name}", data)
        order.append(name)
    archive.file("m/order", "".join(f"{n}\n" for n in order).encode())
    return archive.bytes()


def make_boot(cache, root, busybox, name):
    with tempfile.TemporaryDirectory(prefix="new.", dir=cache) as new:
        boot = os.path.join(new, "boot")
        os.mkdir(boot)
        (vmlinuz,) = glob.glob(os.path.join(root, "boot/vmlinuz-*"))
        with open(vmlinuz, "rb") as f, open(os.path.join(boot, "vmlinux"), "wb") as out:
            out.write(unpacked_kernel(f.read()))
        with open(os.path.join(boot, "initrd"), "wb") as out:
            out.write(initramfs(root, busybox))
        os.rename(boot, os.path.join(cache, name))


class BootFiles:
    """Paths: `kernel`, `initrd`, `root` with lib/modules/`version`. As long as it lives they stay."""

    def __init__(self, root, boot):
        self.root, self.version = root, kernel_version(root)
        self.kernel, self.initrd = os.path.join(boot, "vmlinux"), os.path.join(boot, "initrd")
        self.used = [open(os.path.join(folder, ".used"), "w", encoding="ascii")
                     for folder in (root, boot)]
        for f in self.used:
            fcntl.flock(f, fcntl.LOCK_SH)


def remove_others(cache, keep):
    """What is out of date and not used by a VM that runs."""
    for name in os.listdir(cache):
        folder = os.path.join(cache, name)
        if name in keep or not os.path.isdir(folder):
            continue
        try:
            with open(os.path.join(folder, ".used"), "a", encoding="ascii") as f:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass


def boot_files():
    """Makes what is missing or out of date; raises Skipped where that can't be."""
    if platform.machine() != "x86_64":
        raise Skipped(f"the VM is for x86_64, this is {platform.machine()}")
    requires("qemu-system-x86_64", "busybox", "apt-get", "dpkg-deb", "depmod", "modprobe")
    with open(shutil.which("busybox", path=path()), "rb") as f:
        busybox = f.read()
    if b"/ld-linux" in busybox:
        raise Skipped("busybox is not static: install busybox-static")
    cache = cache_folder()
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = kernel_root(cache)
        digest = hashlib.sha256(f"{EDITION} {root} {MODULES}".encode() + busybox)
        with open(os.path.join(HERE, "init"), "rb") as f:
            digest.update(f.read())
        boot = f"boot-{digest.hexdigest()[:16]}"
        if not os.path.exists(os.path.join(cache, boot, "initrd")):
            make_boot(cache, os.path.join(cache, root), busybox, boot)
        files = BootFiles(os.path.join(cache, root), os.path.join(cache, boot))
        remove_others(cache, (root, boot))
    return files


if __name__ == "__main__":
    try:
        made = boot_files()
        print(f"{made.kernel} ({made.version})")
    except Skipped as e:
        print(f"skipped: {e}")
        sys.exit(77)
