/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The conditions, as text. terrace-messages(7) says the same, which a test compares; so does
 * `terracectl explain`. A code is never given a second meaning.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "health/health.h"

static const char *const severities[HEALTH_SEVERITY_COUNT] = {
    [HEALTH_REMARK] = "remark",
    [HEALTH_DEGRADED] = "degraded",
    [HEALTH_FAILED] = "failed",
};

/* clang-format off */
static const struct health_condition conditions[HEALTH_CODE_COUNT] = {
[HEALTH_CONFIG_CHANGED] = {
    "C101", "config-changed", HEALTH_REMARK,
    "the configuration on disk isn't the one that runs",
    "the target goes on with what it has; a restart would take what is on disk",
    "terracectl reload",
    "The configuration file, or a file beside it in conf.d, says something else than what the "
    "target serves: somebody edited it and hasn't had it read yet.\n\n"
    "'terracectl reload --dry-run' prints the difference, 'terracectl reload' applies it. The files "
    "are looked at every few seconds; edits that change no meaning (comments, blanks) don't count."},
[HEALTH_CONFIG_BROKEN] = {
    "C102", "config-broken", HEALTH_DEGRADED,
    "the configuration on disk has errors",
    "the target goes on with what it has, but couldn't be started again with this file",
    "terracectl check",
    "The configuration file, or a file beside it in conf.d, can't be read or has mistakes. Nothing "
    "of it is in use. A restart, also one after a power cut, would fail until it is put right.\n\n"
    "'terracectl check' lists every mistake with its file, line and column."},
[HEALTH_RELOAD_REFUSED] = {
    "C103", "reload-refused", HEALTH_DEGRADED,
    "a reload was refused",
    "nothing of the new configuration is in use",
    "terracectl reload --dry-run",
    "The configuration was to be read again by a signal, and that was refused: it has errors, or it "
    "would take a LUN from a session that uses it. A signal can't confirm; a person can.\n\n"
    "'terracectl reload --dry-run' shows what would change and who would lose what, 'terracectl "
    "reload --yes' does it. The condition ends with the next reload that succeeds."},
[HEALTH_RESTART_NEEDED] = {
    "C104", "restart-needed", HEALTH_REMARK,
    "a changed setting takes effect at the next start",
    "the target goes on with the old value",
    "systemctl restart terraced",
    "Some settings are read once, at the start: the number of event loops, the size of the buffers, "
    "the state directory, the place of the control socket. The configuration has another value for "
    "one of them by now.\n\n"
    "Initiators log in again by themselves after a restart; do it when a pause of some seconds "
    "harms nobody."},
[HEALTH_RUNTIME_CHANGES] = {
    "C105", "runtime-changes", HEALTH_REMARK,
    "changes were made that aren't in the configuration",
    "they are lost with the next restart",
    "terracectl config --effective",
    "Commands were given with --runtime: they changed the running target and nothing on disk.\n\n"
    "The listings mark what was changed so. To keep a change, give the command again without "
    "--runtime."},
[HEALTH_STORE_UNOPENED] = {
    "C201", "store-unopened", HEALTH_FAILED,
    "the store of a LUN couldn't be opened",
    "the LUN isn't there for its initiators; the others are served",
    "bring the store back, or correct it with: terracectl lun set {object} store STORE",
    "At the start, or when the LUN was to come back, its file or device was missing, in use by "
    "somebody else, or not accessible. The sentence says what the system said.\n\n"
    "It is tried again until it opens; nothing needs to be restarted once the cause is gone."},
[HEALTH_STORE_ERRORS] = {
    "C202", "store-errors", HEALTH_DEGRADED,
    "a store answers with errors",
    "initiators got errors for the commands concerned; nothing that was acknowledged is lost",
    "look at the kernel's messages (journalctl -k) and replace the failing disk under {object}",
    "Reads, writes or flushes of the store ended with an error. Each was told to the initiator as "
    "what it was: a medium error, or no space.\n\n"
    "The count grows while the errors go on; the condition ends when there was none for ten minutes. "
    "On a thin store or a full file system the cure is room."},
[HEALTH_STORE_GONE] = {
    "C204", "store-gone", HEALTH_FAILED,
    "the store of a LUN stopped answering",
    "the LUN is NOT READY for its initiators; what was acknowledged is on the store",
    "bring the device or file back; the LUN goes on by itself",
    "The file was removed or replaced, or the device disappeared. Commands are answered with NOT "
    "READY, LOGICAL UNIT NOT READY, so that initiators wait or take another path.\n\n"
    "As soon as the same device or file is there again, the LUN serves it; no command is needed."},
[HEALTH_STORE_VOLATILE] = {
    "C205", "volatile-vmware", HEALTH_REMARK,
    "a VMware initiator uses a volatile LUN",
    "ESXi doesn't flush what it wrote: a power cut loses writes that guests think are safe",
    "terracectl lun set {object} mode writethrough",
    "In mode volatile a write is answered when it is in memory, as on a disk with a volatile write "
    "cache. Systems that send SYNCHRONIZE CACHE where it matters are safe on it; ESXi passes no "
    "flush of its guests on to a LUN.\n\n"
    "Give such a LUN the mode writethrough."},
[HEALTH_STORE_SPACE] = {
    "C206", "store-space", HEALTH_DEGRADED,
    "a thin LUN's store is running out of space",
    "when none is left, writes to blocks that were never written fail; what was written stays",
    "make room where the store of {object} lies: df -h, terracectl lun list",
    "The LUN is larger than what is allocated for it, and less than a tenth of its size is left in the "
    "file system that holds it, for it and for everything else there.\n\n"
    "Initiators were told (THIN PROVISIONING SOFT THRESHOLD REACHED): VMware shows it as a warning of "
    "the datastore. Once nothing is left, such writes end with SPACE ALLOCATION FAILED, on which ESXi "
    "pauses the guests concerned rather than failing their I/O. Deleting in the guests (UNMAP) gives "
    "space back."},
[HEALTH_SANITIZE_FAILED] = {
    "C207", "sanitize-failed", HEALTH_DEGRADED,
    "a LUN is locked since a SANITIZE of it didn't succeed",
    "reads and writes end with SANITIZE COMMAND FAILED, so that nothing of the old data is seen",
    "on an initiator: sg_sanitize --block DEVICE, or --fail to give up where the first one allowed it",
    "An initiator began to erase {object}, and the store failed, or the target was stopped meanwhile. What "
    "the LUN holds is partly erased. It isn't taken up again by itself: an order from before could "
    "otherwise erase what was put there since, for instance when a state directory comes back from a "
    "backup.\n\n"
    "The condition ends with a SANITIZE that succeeds. EXIT FAILURE MODE ends it too, if the command that "
    "failed had AUSE set (sg_sanitize --ause)."},
[HEALTH_MODE_WAITS] = {
    "C208", "mode-waits", HEALTH_REMARK,
    "a weaker mode of a LUN waits for sessions that were told the stronger one",
    "the LUN is what it was before, and safer than it would be",
    "log these initiators out, or take it from them: terracectl lun set {object} mode volatile --yes",
    "The LUN is to be volatile: a write is to be answered before it is durable. Initiators ask once, when "
    "they find a disk, whether it has a volatile cache; those who were told that it has none don't flush "
    "and would lose what they believe to be safe.\n\n"
    "So the new mode takes effect when no session sees the LUN any more: also those who log in "
    "meanwhile find it as it was. With --yes it takes effect at once, as another disk with the same "
    "identity; make sure that the initiators look at it anew."},
[HEALTH_LOGINS_REFUSED] = {
    "C301", "logins-refused", HEALTH_DEGRADED,
    "many logins are being refused",
    "whoever is refused has no disks; the others aren't disturbed",
    "terracectl refused",
    "More than thirty logins were refused within a minute. Mostly that is one initiator with a wrong "
    "secret or one that is in no group, trying for ever; it may be somebody who guesses.\n\n"
    "'terracectl refused' shows who, why, and the command that would admit them. The condition ends "
    "after a minute with fewer."},
[HEALTH_STATE_DIR_FULL] = {
    "C401", "state-dir-full", HEALTH_DEGRADED,
    "the file system of the state directory is nearly full",
    "with no room left, reservations and changes can't be kept, and are refused",
    "make room: df -h {object}",
    "The state directory holds the identities of the LUNs, persistent reservations, events and "
    "history. Less than 16 MiB, or less than a hundredth of a small file system, is free there.\n\n"
    "What can't be kept isn't acknowledged: an initiator whose reservation couldn't be saved gets an "
    "error for it."},
[HEALTH_CATALOG_FAILING] = {
    "C402", "catalog-failing", HEALTH_FAILED,
    "the catalogue can't be written",
    "persistent reservations that must survive a power cut are refused: clusters can't fail over",
    "make room and look at the disk of {object}",
    "A reservation (APTPL), or that a SANITIZE began, was to be saved in the state directory, and that failed. The initiator "
    "got an error; nothing was acknowledged.\n\n"
    "The condition ends when something was saved again."},
[HEALTH_LOG_FAILING] = {
    "C403", "log-failing", HEALTH_DEGRADED,
    "events or history can't be kept on disk",
    "initiators notice nothing; after a restart the latest events or orders may be missing",
    "make room and look at the disk of {object}",
    "events.log or history.log in the state directory can't be read or written. Lines wait in memory "
    "and are tried again every few seconds; when too many wait, the latest are dropped, which the "
    "sentence counts."},
[HEALTH_NO_URING] = {
    "C404", "no-io-uring", HEALTH_REMARK,
    "the kernel refuses io_uring",
    "the target works with epoll and threads instead, several times slower",
    "sysctl kernel.io_uring_disabled=0, and allow io_uring in the container's seccomp profile",
    "io_uring is how Terrace moves data with few system calls. It may be switched off by the sysctl "
    "kernel.io_uring_disabled, by a seccomp profile of a container, or the kernel is too old.\n\n"
    "It is looked at when the target starts."},
[HEALTH_HOOK_REFUSED] = {
    "C501", "hook-refused", HEALTH_DEGRADED,
    "a hook program isn't run",
    "nobody is told of events by this hook",
    "chown root {object} && chmod go-w {object}",
    "A program that is run with the target's rights must be in nobody else's hands: it and every "
    "folder above it must belong to root or the target's user and must not be writable by others. "
    "It must exist and be executable.\n\n"
    "It is looked at before every run; the condition ends when it may be run."},
[HEALTH_HOOK_FAILING] = {
    "C502", "hook-failing", HEALTH_DEGRADED,
    "a hook program failed",
    "whoever it should have told may not know of the event",
    "run it by hand: tail -n 1 /var/lib/terrace/events.log | {object}; echo $?",
    "The program ended with a status other than 0, was ended by a signal, or took longer than 30 s "
    "and was killed. The sentence has the end of what it wrote to its standard error.\n\n"
    "The condition ends when it succeeds the next time."},
[HEALTH_HOOK_DROPPED] = {
    "C503", "hook-events-dropped", HEALTH_DEGRADED,
    "events weren't handed to hooks",
    "whoever the hooks should have told doesn't know of these events; terracectl events has them",
    "terracectl events",
    "Hooks were slower than events came, and the queue was full; or the helper process died with "
    "events in its hands.\n\n"
    "The condition ends ten minutes after the last one that was dropped."},
[HEALTH_HOOK_HELPER] = {
    "C504", "hook-helper", HEALTH_DEGRADED,
    "the helper process that runs the hooks isn't running",
    "events wait; initiators notice nothing",
    "ls -l \"$(command -v terraced)\"; the helper terrace-hook must be installed with it",
    "Hooks are run by a process of its own, terrace-hook, so that no hook can hold up the target. It "
    "couldn't be started, or ended by itself.\n\n"
    "It is started again after a pause, which grows to a minute; the condition ends when it answers."},
[HEALTH_INSPECT_DOWN] = {
    "C505", "inspect-down", HEALTH_REMARK,
    "what is served isn't shown as files",
    "the folder is empty; initiators notice nothing",
    "terrace-fuse {object}",
    "The tree of files is made by a process of its own, terrace-fuse. It couldn't mount it, ended by "
    "itself, or somebody unmounted it; the sentence says which. Mounting needs /dev/fuse, an empty "
    "folder, and for users other than root the program fusermount3 (package fuse3).\n\n"
    "It is started again after a pause, which grows to a minute, unless somebody unmounted it: then with "
    "the next start of terraced. The condition ends when the tree is there."},
[HEALTH_CACHE_ABSENT] = {
    "C601", "cache-absent", HEALTH_FAILED,
    "the SSD of a cache couldn't be opened",
    "LUNs that use it aren't served: it may have their newest data",
    "bring the SSD of {object} back: it is opened again by itself",
    "When the target started, the device or file was missing, in use, not accessible, or not "
    "what it was. The sentence says what the system said.\n\nNothing was changed on the stores. "
    "Without the SSD, what was acknowledged and not yet written to them would be missing, so "
    "their LUNs stay away until it is back."},
[HEALTH_CACHE_SSD_WRITE] = {
    "C602", "cache-ssd-write", HEALTH_DEGRADED,
    "a write to the SSD of a cache failed",
    "nothing is lost: what wasn't acknowledged was written again elsewhere",
    "look at the kernel's messages (journalctl -k) and plan to replace the SSD of {object}",
    "The SSD answered a write with an error. The part of it that was concerned isn't used any "
    "more.\n\nAn SSD that begins so seldom gets better. Take its LUNs off it with 'terracectl "
    "lun set LUN cache --default' before it is replaced: their data then goes to the stores."},
[HEALTH_CACHE_SSD_VOID] = {
    "C603", "cache-ssd-void", HEALTH_FAILED,
    "the SSD of a cache takes no writes any more",
    "writes to its LUNs fail; reads go on, and what waits on it goes to the stores",
    "replace the SSD of {object}; before that: terracectl lun set LUN cache --default",
    "Writes to the SSD failed again and again, also those to its own tables. Nothing can be made "
    "durable on it, so nothing is acknowledged.\n\nWhat was acknowledged is read from it and "
    "written to the stores, as long as it can be read. Taking the cache away from a LUN waits "
    "for that."},
[HEALTH_CACHE_SSD_READ] = {
    "C604", "cache-ssd-read", HEALTH_DEGRADED,
    "blocks of the SSD of a cache couldn't be read",
    "what the store has was read from there; the others are answered with a medium error",
    "look at the kernel's messages (journalctl -k) and plan to replace the SSD of {object}",
    "A read of the SSD failed, or what came back didn't have the checksum that it was written "
    "with. What the store had as well was taken from there. What only the SSD has is read again at "
    "each request until it comes back whole; C605 says when it is known to be lost."},
[HEALTH_CACHE_DATA_LOST] = {
    "C605", "cache-data-lost", HEALTH_FAILED,
    "acknowledged data on the SSD of a cache can't be read",
    "the blocks concerned are answered with a medium error, the others aren't disturbed",
    "restore what is concerned from a backup; the SSD of {object} is to be replaced",
    "The SSD lost blocks that the store doesn't have yet. Initiators get MEDIUM ERROR for "
    "exactly these, until they are written again.\n\nA single SSD is a single copy of what it "
    "has not passed on."},
[HEALTH_CACHE_STORE] = {
    "C606", "cache-store-write", HEALTH_DEGRADED,
    "a store doesn't take the data that waits on a cache",
    "nothing is lost: it stays on the SSD, and writes are answered as long as there is room",
    "look at the disks of the stores behind {object}; it is tried again by itself",
    "What is acknowledged on the SSD is written to its store later; that failed, and is tried "
    "again with growing pauses.\n\nThe condition ends when the store takes it."},
[HEALTH_CACHE_FULL] = {
    "C607", "cache-full", HEALTH_DEGRADED,
    "a cache is full of data that waits for its stores",
    "writes to its LUNs wait, and are answered with BUSY after some seconds",
    "look at the stores behind {object}: terracectl iostat; a larger SSD bridges longer bursts",
    "More was written, for longer, than the stores can take, and the SSD has no room left for "
    "more of it.\n\nIt ends by itself as the stores catch up."},
[HEALTH_CACHE_LIED] = {
    "C608", "cache-ssd-lied", HEALTH_FAILED,
    "the SSD of a cache lost writes that it had called durable",
    "its LUNs aren't served: writes that were acknowledged may be missing",
    "don't use the SSD of {object} any more; restore its LUNs from a backup, or take them as their stores are",
    "At the start the log on the SSD had gaps where data had been made durable. A drive whose "
    "write cache isn't protected, or that ignores flushes, does so when the power goes; so does "
    "a file system that was restored from an old copy.\n\nNothing was changed. What is "
    "lost is listed by 'cachectl accept-loss', as far as it can be told; it goes on without it."},
[HEALTH_CACHE_GONE] = {
    "C609", "cache-ssd-gone", HEALTH_FAILED,
    "the SSD of a cache has disappeared",
    "writes to its LUNs fail, and so do reads of what only it has; all else is read from the stores",
    "bring the SSD of {object} back: it is used again by itself; cachectl status shows what waits on it",
    "The device doesn't answer any more, or its file was removed, replaced or cut off. What was acknowledged "
    "is on it, as far as the stores haven't got it: 'cachectl status' shows for each LUN how much that is.\n\n"
    "When it is back, its tables and its last record are compared with what was left there. "
    "If they fit, all goes on. An older copy of it, or another SSD under the same name, isn't touched. A file that "
    "was removed is still held by terraced: before terraced ends, it can be copied back from /proc/PID/fd.\n\n"
    "If it doesn't come back: end terraced, start it without the cache, and see 'cachectl accept-loss'."},
};
/* clang-format on */

static const char *const events[HEALTH_EVENT_COUNT] = {
    [HEALTH_EVENT_START] = "start",
    [HEALTH_EVENT_STOP] = "stop",
    [HEALTH_EVENT_RAISED] = "raised",
    [HEALTH_EVENT_CLEARED] = "cleared",
    [HEALTH_EVENT_LOGIN] = "login",
    [HEALTH_EVENT_LOGOUT] = "logout",
    [HEALTH_EVENT_LOST] = "lost",
    [HEALTH_EVENT_REFUSED] = "refused",
    [HEALTH_EVENT_CHANGED] = "changed",
    [HEALTH_EVENT_SIZE] = "size",
};

const char *
health_severity_name(enum health_severity s)
{
	ASSERT(s < HEALTH_SEVERITY_COUNT);
	return severities[s];
}

const struct health_condition *
health_condition(enum health_code code)
{
	ASSERT(code < HEALTH_CODE_COUNT);
	return &conditions[code];
}

const struct health_condition *
health_condition_find(const char *word)
{
	for (unsigned i = 0; i < HEALTH_CODE_COUNT; i++)
		if (strcasecmp(conditions[i].code, word) == 0 ||
		    strcasecmp(conditions[i].name, word) == 0)
			return &conditions[i];
	return NULL;
}

const char *
health_event_name(enum health_event_kind kind)
{
	ASSERT(kind < HEALTH_EVENT_COUNT);
	return events[kind];
}

int
health_event_parse(const char *word, enum health_event_kind *ret)
{
	for (unsigned i = 0; i < HEALTH_EVENT_COUNT; i++) {
		if (strcmp(events[i], word) == 0) {
			*ret = (enum health_event_kind)i;
			return 0;
		}
	}
	return -EINVAL;
}
