# SPDX-License-Identifier: BSD-2-Clause
"""
A throw-away machine: boots in about five seconds with the host's root as its own (read-only, with
memory for what is written), runs one program as root and ends with its exit status. README.md tells
what the program finds there.
"""

import atexit
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(HERE, "../e2e/lib"))

from boot import boot_files, path  # noqa: E402
from terraced import Failed, check  # noqa: E402

TIMED_OUT, DIED = 124, 125
# Of an emulated machine; 1 where the times in the scripts hold: they are four times what it takes on
# two CPUs with nothing else to do.
SLOW = float(os.environ.get("VM_SLOW", "1"))
# An emulated machine stands still before its first process now and then (one boot in 25 of QEMU 7.2 beside
# other load): it is started again then, as nothing of the test has begun.
BOOT_S, BOOTS = 60, 3
# Who started the test ends it after so long: a machine that takes longer is to be told about before.
MOST_S = float(os.environ.get("VM_MOST", "inf"))
APPEND = ("console=ttyS0 quiet loglevel=4 mitigations=off nopti nokaslr panic=-1 net.ifnames=0 "
          "tsc=reliable no_timer_check random.trust_cpu=on")
# Of a system of its own: what the test runs is one of its services. Modules are there for its script and not
# before: udev would load all that fits, which takes minutes in an emulated machine.
PID1 = """
. /ctl/env
modprobe -d "/host$VM_KERNEL_ROOT" -a fuse virtio_blk dm_mod
mkdir -p /etc/systemd/system/multi-user.target.wants
cat >/etc/systemd/system/vm-job.service <<'END'
[Service]
Type=exec
ExecStart=/bin/bash /ctl/guest-init
StandardOutput=append:/ctl/log
StandardError=append:/ctl/log
LimitMEMLOCK=infinity
END
ln -sf ../vm-job.service /etc/systemd/system/multi-user.target.wants/vm-job.service
exec /lib/systemd/systemd
"""
# In the kernel's messages: it is broken, whatever the script says.
BROKEN = ("BUG: ", "Oops: ", "general protection fault", "Kernel panic", "UBSAN:", "KASAN:")


class Vm:
    """
    One machine. `command` is the program with its arguments, run in the current folder. `verbs` maps
    names to functions of strings: what the guest asks for with `host NAME ARGUMENTS`; their text is
    the answer, Failed its failure. `disks` are files, in the guest /dev/vda and so on. `net` is "user"
    (the host's 127.0.0.1 is 10.0.2.2), or None; `link` a port that two machines share a network by:
    one has ("listen", port), one ("connect", port). `root` is a folder of the host with another system,
    whose systemd is started as the first process and runs `command` as one of its services; the host's
    root is /host then.
    """

    running = []

    def __init__(self, *command, verbs=None, name="vm", memory_mib=1024, cpus=2, seconds=300,
                 disks=(), net="user", link=None, env=None, options=(), root=None):
        self.command, self.verbs, self.name = [str(c) for c in command], verbs or {}, name
        self.memory_mib, self.cpus, self.disks = memory_mib, cpus, list(disks)
        self.net, self.link, self.env, self.options = net, link, dict(env or {}), list(options)
        self.root = root
        self.deadline_s = min(seconds * SLOW, MOST_S)
        self.boot = boot_files()
        self.ctl = tempfile.mkdtemp(prefix="terrace-vm.", dir="/tmp")
        atexit.register(shutil.rmtree, self.ctl, ignore_errors=True)
        self.process = None
        self.began = self.ended = self.booting = 0.0
        self.boots = 0
        self.shown = 0

    def in_ctl(self, name):
        return os.path.join(self.ctl, name)

    def read(self, name):
        try:
            with open(self.in_ctl(name), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def write_guest_files(self):
        shutil.copy(os.path.join(HERE, "guest-init"), self.in_ctl("guest-init"))
        env = {"VM": "1", "VM_NAME": self.name, "VM_NET": self.net or "", "VM_FOLDER": os.getcwd(),
               "VM_KERNEL": self.boot.version, "VM_KERNEL_ROOT": self.boot.root,
               "VM_LIB": os.path.join(HERE, "lib"), "VM_SLOW": str(max(1, round(SLOW)))}
        for key in ("TERRACED", "TERRACECTL", "VM_GO_ON"):
            if key in os.environ:
                env[key] = os.environ[key]
        env.update(self.env)
        if self.root:
            env["VM_ROOT"] = self.root
            with open(self.in_ctl("pid1"), "w", encoding="utf-8") as f:
                f.write(PID1)
        with open(self.in_ctl("env"), "w", encoding="utf-8") as f:
            f.writelines(f"export {k}={shlex.quote(v)}\n" for k, v in env.items())
        with open(self.in_ctl("job"), "w", encoding="utf-8") as f:
            f.write("#!/bin/bash\nexec " + shlex.join(self.command) + "\n")
        os.chmod(self.in_ctl("job"), 0o755)

    def qemu(self):
        accel = os.environ.get("VM_ACCEL", "tcg,thread=multi")
        share = "local,security_model=none"
        words = [
            "qemu-system-x86_64", "-name", self.name, "-accel", accel, "-smp", str(self.cpus),
            "-cpu", os.environ.get("VM_CPU", "Westmere"), "-m", str(self.memory_mib),
            "-machine", "q35", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", self.boot.kernel, "-initrd", self.boot.initrd,
            "-append", APPEND + (f" vm.root={self.root} systemd.mask=serial-getty@ttyS0.service" if self.root else ""),
            "-serial", f"file:{self.in_ctl('console')}",
            "-fsdev", f"{share},id=root,path=/,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=hostroot",
            "-fsdev", f"{share},id=ctl,path={self.ctl}",
            "-device", "virtio-9p-pci,fsdev=ctl,mount_tag=ctl",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-object", "rng-random,id=rng,filename=/dev/urandom",
            "-device", "virtio-rng-pci,rng=rng"]
        words += self.qemu_net()
        for i, disk in enumerate(self.disks):
            words += ["-drive", f"file={disk},if=none,id=disk{i},format=raw,cache=unsafe",
                      "-device", f"virtio-blk-pci,drive=disk{i},serial=disk{i}"]
        return words + self.options

    def qemu_net(self):
        words = []
        if self.net == "user":
            words += ["-netdev", "user,id=user", "-device",
                      "virtio-net-pci,netdev=user,romfile=,mac=52:54:00:12:34:56"]
        if self.link:
            how, port = self.link
            last = 1 if how == "listen" else 2
            words += ["-netdev", f"socket,id=link,{how}=127.0.0.1:{port}", "-device",
                      f"virtio-net-pci,netdev=link,romfile=,mac=52:54:00:aa:00:0{last}"]
        return words or ["-nic", "none"]

    def start(self):
        self.write_guest_files()
        self.power_on()
        self.began = self.booting
        Vm.running.append(self)
        return self

    def power_on(self):
        with open(self.in_ctl("qemu"), "wb") as log:
            self.process = subprocess.Popen(self.qemu(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env={**os.environ, "PATH": path()})
        self.booting = time.monotonic()
        self.boots += 1

    def boot_again(self):
        """Of a machine that doesn't come to its first process. Two that share a network can't: the other one
        would lose it."""
        if (self.boots == BOOTS or self.root or self.link or os.path.exists(self.in_ctl("up"))
                or time.monotonic() - self.booting < BOOT_S * SLOW):
            return
        print(f"vm: {self.name} didn't boot in {BOOT_S * SLOW:.0f} s, and is started again; end of its console:")
        print(self.read("console")[-1000:], flush=True)
        self.process.kill()
        self.process.wait()
        self.power_on()

    def show(self, last=False):
        """What the script printed since, whole lines."""
        try:
            with open(self.in_ctl("log"), "rb") as f:
                f.seek(self.shown)
                new = f.read()
        except FileNotFoundError:
            return
        if not last:
            new = new[:new.rfind(b"\n") + 1]
        if new:
            self.shown += len(new)
            prefix = f"[{self.name}] " if self.name != "vm" else ""
            for line in new.decode("utf-8", "replace").rstrip("\n").split("\n"):
                print(prefix + line, flush=True)

    def answer(self):
        """One request of the guest, if there is one; see `host` in lib/guest.sh."""
        try:
            with open(self.in_ctl("ask"), encoding="utf-8") as f:
                verb, *arguments = f.read().rstrip("\n").split("\n")
        except FileNotFoundError:
            return False
        os.remove(self.in_ctl("ask"))
        status, text = 0, ""
        try:
            if verb not in self.verbs:
                raise Failed(f"the host knows no verb {verb!r}")
            text = self.verbs[verb](*arguments) or ""
        except Exception as e:  # the script in the guest decides what it means
            status, text = 1, f"{type(e).__name__}: {e}"
        with open(self.in_ctl("answer.new"), "w", encoding="utf-8") as f:
            f.write(f"{status}\n{text}\n")
        os.rename(self.in_ctl("answer.new"), self.in_ctl("answer"))
        return True

    def turn(self):
        """Serves the guest once; True as long as the machine runs."""
        self.answer()
        self.show()
        if self.process.poll() is None:
            self.boot_again()
            if time.monotonic() - self.began < self.deadline_s:
                return True
            self.process.kill()
            self.process.wait()
            self.ended = -1
        Vm.running.remove(self)
        return False

    def status(self):
        """After its end: that of the program, or TIMED_OUT, or DIED."""
        self.show(last=True)
        text = self.read("rc").strip()
        status = int(text) if text else TIMED_OUT if self.ended < 0 else DIED
        if not text:
            print(f"---- the VM {'took too long' if self.ended < 0 else 'died'}; end of its console")
            print(self.read("console")[-3000:] + self.read("qemu")[-1000:])
        return status

    def wait(self):
        while self.turn():
            time.sleep(0.02)
        return self.status()

    def messages(self):
        """Of its kernel."""
        return self.read("dmesg")


def run_vms(*vms):
    """Starts them, serves them until they end, and fails if one of them did."""
    for vm in vms:
        vm.start()
        time.sleep(0.5 if len(vms) > 1 else 0)
    live = list(vms)
    while live:
        live = [vm for vm in live if vm.turn()]
        if any(vm not in live and vm.read("rc").strip() != "0" for vm in vms):
            for vm in live:  # they would wait for the one that failed
                vm.deadline_s = 0
        time.sleep(0.02)
    for vm in sorted(vms, key=lambda vm: vm.ended < 0):  # the one that failed by itself first
        status = vm.status()
        check(status == 0, f"{vm.name}: status {status}; its kernel's last messages:\n"
              + "\n".join(vm.messages().split("\n")[-40:]))
        for line in vm.messages().split("\n"):
            check(not any(word in line for word in BROKEN), f"{vm.name}: its kernel says {line}")


def cleanup():
    for vm in Vm.running:
        if vm.process.poll() is None:
            vm.process.kill()
            vm.process.wait()


atexit.register(cleanup)
